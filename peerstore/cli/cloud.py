"""Commands about links to the cloud: since when, over whom."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

import click

from peerstore.answers.cloud import CloudPresence, CloudSession, CloudStretch, Route
from peerstore.cli.mesh import by_hops, print_headline, print_moment, show_path, show_peers, warn_of_unobserved
from peerstore.cli.options import (
    at_option,
    find_observer,
    find_peer,
    open_store,
    output_options,
    peer_argument,
    view_options,
    window_options,
)
from peerstore.cli.output import Format
from peerstore.cli.people import Column, Listing, Names, plural, print_listing, print_table, print_title, show_time
from peerstore.cli.program import main
from peerstore.times import format_duration

ROUTE_FIELDS = ("peer_key", "hops", "nearest", "bridges", "path_count", "paths")
_ENDS = {"flag": "lost it", "left": "left", "stopped": "stopped", "silence": "silence", None: ""}


@main.command(short_help="List who had a link to the cloud when, and over whom.")
@peer_argument
@at_option
@click.option("--over", is_flag=True, help="The bridges of the whole mesh, stretch by stretch.")
@window_options
@output_options
@view_options
def cloud(
    *,
    peer: str | None,
    moment: datetime | None,
    over: bool,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when PEER (or every peer) had a link of its own to the cloud.

    With --at, show over which bridges PEER (or every peer) reached the cloud at that moment: how many hops away the
    nearest one was. With --over, list who the bridges were, when there was none, and when nobody was watching; from the
    first observation to the last one, or from --since to --until.

    \b
    Examples:
      peerstore cloud
      peerstore cloud sim-till-2 --since 2026-07-08T12:00:00Z
      peerstore cloud --at 2026-07-08T12:45:00Z
      peerstore cloud sim-till-11 --at 2026-07-08T12:45:00Z --json
      peerstore cloud --over
    """
    if moment is not None and (over or since is not None or until is not None):
        raise click.UsageError("give either --at for one moment, or --over, --since and --until for a window")
    if over and peer is not None:
        raise click.UsageError("--over tells of the whole mesh: leave PEER out")
    with open_store() as store:
        key, watcher = find_peer(store, peer), find_observer(store, observer)
        if moment is not None:
            found = store.cloud_at(moment, observer=watcher, known_at=known_at, max_silence=max_silence)
            _print_cloud(_of_peer(found, key), key, format, None if format else Names(store))
        elif over:
            stretches = store.cloud_over(
                since=since, until=until, observer=watcher, known_at=known_at, max_silence=max_silence
            )
            print_listing(stretches, STRETCHES, format, store)
        else:
            if format is None:
                warn_of_unobserved(store, since, until, watcher, known_at, max_silence)
            sessions = store.cloud_sessions(
                peer=key, since=since, until=until, observer=watcher, known_at=known_at, max_silence=max_silence
            )
            print_listing(sessions, SESSIONS, format, store)


def _of_peer(found: CloudPresence, key: str | None) -> CloudPresence:
    """The answer with the routes of one peer alone, if one is named."""
    if key is not None:
        found.routes = {key: found.routes[key]} if key in found.routes else {}
    return found


def _print_cloud(found: CloudPresence, key: str | None, format: Format | None, names: Names | None) -> None:
    if format:
        print_moment(found.to_dict(), {"route": "routes"}, format, ROUTE_FIELDS)
    if names is None or not print_headline(found, _told(found, key), names):
        return
    if key is not None and not found.routes:
        click.echo(f"{names.name(key)} was not present", err=True)
        return
    routes = sorted(found.routes.values(), key=lambda route: by_hops(names, route.peer_key, route.hops))
    print_table(routes, _route_columns(names))
    if key is not None and found.routes[key].path_count > 1:
        _print_paths(found.routes[key], names)


def _told(found: CloudPresence, key: str | None) -> str:
    bridges = plural(len(found.bridges), "bridge") + " to the cloud"
    if key is not None:
        return bridges
    reached = plural(len(found.routes) - len(found.cut_off), "peer")
    return f"{bridges}, {reached} with the cloud, {len(found.cut_off)} without"


def _print_paths(route: Route, names: Names) -> None:
    paths = route.paths
    more = f" (the first {len(paths)} of {route.path_count})" if len(paths) < route.path_count else ""
    print_title(f"Shortest paths{more}")
    for path in paths:
        sys.stdout.write(show_path(names, path) + "\n")


def _route_columns(names: Names) -> list[Column[Route]]:
    return [
        Column("peer", lambda route: names.name(route.peer_key), keep="both"),
        Column("hops", lambda route: "cut off" if route.hops is None else str(route.hops), keep="whole"),
        Column("nearest bridge", lambda route: show_peers(names, route.nearest), keep="both"),
        Column("in reach", lambda route: str(len(route.bridges)), 2),
        Column("paths", lambda route: str(route.path_count or ""), 3),
        Column("path", lambda route: show_path(names, next(iter(route.paths), ())), 1, keep="both", readable=24),
    ]


def _session_columns(names: Names) -> list[Column[CloudSession]]:
    return [
        Column("peer", lambda session: names.name(session.peer_key), keep="both"),
        Column("start", lambda session: show_time(session.start), keep="whole"),
        Column("end", lambda session: show_time(session.end), keep="whole"),
        Column("lasted", _lasted, 1, keep="whole"),
        Column("ended by", lambda session: _ENDS[session.end_reason], keep="whole"),
        Column("observer", lambda session: names.name(session.observer), 2, keep="both"),
    ]


def _lasted(session: CloudSession) -> str:
    return "still holds" if session.end is None else format_duration(session.end - session.start)


def _stretch_columns(names: Names) -> list[Column[CloudStretch]]:
    def bridges(stretch: CloudStretch) -> str:
        if not stretch.known:
            return "(unobserved)"
        return show_peers(names, stretch.bridges) or "(none)"

    return [
        Column("start", lambda stretch: show_time(stretch.start), keep="whole"),
        Column("end", lambda stretch: show_time(stretch.end), keep="whole"),
        Column("lasted", lambda stretch: format_duration(stretch.duration), keep="whole"),
        Column("bridges", bridges, keep="both"),
    ]


SESSIONS: Listing[CloudSession] = Listing(
    ("peer_key", "start", "end", "duration_seconds", "end_reason", "observer"),
    _session_columns,
    "nobody had a link to the cloud",
)
STRETCHES: Listing[CloudStretch] = Listing(
    ("start", "end", "duration_seconds", "known", "bridges"), _stretch_columns, "no history in this window"
)
