"""``changes``, ``metadata``, ``sessions`` and ``connections``: what happened over time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, get_args

import click

from peerstore.answers.changes import AttributeChange, Change, ChangeKind
from peerstore.answers.sessions import ConnectionSession, Session
from peerstore.cli.moments import CONNECTION_FIELDS, connection_columns, unwatched, warn_of_old_states
from peerstore.cli.options import (
    DURATION,
    at_option,
    find_observer,
    find_peer,
    grace_option,
    open_store,
    output_options,
    path_option,
    peer_argument,
    view_options,
    window_options,
)
from peerstore.cli.output import Format, print_rows
from peerstore.cli.people import (
    IF_TOLD,
    Column,
    Listing,
    Names,
    print_listing,
    show_edit,
    show_text,
    show_time,
    show_value,
)
from peerstore.cli.program import INTERRUPTED, main
from peerstore.model import Connection
from peerstore.times import format_duration

if TYPE_CHECKING:
    from peerstore.store import PeerStore

OF_OBSERVERS = ("observer_started", "observer_stopped")
ROOM_FOR_A_KIND, ROOM_FOR_A_REMARK = len("disconnected"), len("across absence")
_WIDTHS = (len("2026-07-08T14:03:00.000000Z"), len("observer started"), 32, 24, 0, 0)
_SPAN = ("start", "end", "duration_seconds", "end_reason", "gaps", "observer", "cut_start", "cut_end", "began_before")


@main.command(short_help="List everything that changed, in the order of time.")
@peer_argument
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(get_args(ChangeKind)),
    help="Only changes of this kind; may be given more than once.",
)
@path_option
@click.option("--follow", is_flag=True, help="Go on with new changes as they are recorded, until interrupted.")
@click.option(
    "--interval", type=DURATION, metavar="DURATION", default="1s", show_default=True, help="How often to look for them."
)
@window_options
@output_options
@view_options
def changes(
    *,
    peer: str | None,
    kinds: tuple[ChangeKind, ...],
    path: str | None,
    follow: bool,
    interval: timedelta,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List everything that changed, in the order of time: peers, connections, attributes, observers.

    With --follow, what changed since --since (by default: nothing of the past), then what is recorded from now on. What
    an observation that was recorded late adds to the past is marked "late", what it takes back of what was shown,
    "withdrawn".

    \b
    Examples:
      peerstore changes --since "1 hour ago"
      peerstore changes --since 2026-07-08T14:03:00Z --until 2026-07-08T14:05:00Z
      peerstore changes --peer sim-till-6 --kind changed --ndjson
      peerstore changes --path /peer_metadata/role
      peerstore changes --kind observer_stopped --csv
      peerstore changes --follow --ndjson | head -n 5
    """
    if follow and (until is not None or known_at is not None or format == "json"):
        raise click.UsageError("--follow has no end: it goes with neither --until, --known-at nor --json (--ndjson)")
    with open_store() as store:
        if follow:
            told = store.follow(
                since=since,
                interval=interval,
                kinds=kinds or None,
                peer=find_peer(store, peer),
                path=path,
                observer=find_observer(store, observer),
                max_silence=max_silence,
            )
            print_as_it_comes(told, CHANGES, format, store)
            return
        found = store.changes(
            since=since,
            until=until,
            peer=find_peer(store, peer),
            observer=find_observer(store, observer),
            kinds=kinds or None,
            known_at=known_at,
            max_silence=max_silence,
            path=path,
        )
        print_listing(found, CHANGES, format, store)


@main.command(short_help="List how the attributes of peers changed.")
@peer_argument
@path_option
@window_options
@output_options
@view_options
def metadata(
    *,
    peer: str | None,
    path: str | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List how the attributes of PEER (or of every peer) changed: metadata, name, SDK version, cloud link.

    \b
    Examples:
      peerstore metadata
      peerstore metadata sim-till-6 --since 2026-07-08T14:00:00Z
      peerstore metadata --path /sdk_version
      peerstore metadata sim-till-6 --json
    """
    with open_store() as store:
        found = store.metadata_changes(
            peer=find_peer(store, peer),
            since=since,
            until=until,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
            path=path,
        )
        print_listing(found, ATTRIBUTE_CHANGES, format, store)


@main.command(short_help="List when peers were present without a break.")
@peer_argument
@grace_option
@click.option("--connections", is_flag=True, help="The sessions of connections instead of those of peers.")
@click.option("--clip", is_flag=True, help="Cut the sessions to the window of --since and --until.")
@window_options
@output_options
@view_options
def sessions(
    *,
    peer: str | None,
    grace: timedelta,
    connections: bool,
    clip: bool,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when PEER (or every peer) was present without a break.

    \b
    Examples:
      peerstore sessions
      peerstore sessions sim-till-5 --grace 60s
      peerstore sessions sim-till-5 --connections --since 2026-07-08T10:00:00Z --until 2026-07-08T11:00:00Z
      peerstore sessions --since 2026-07-08T12:00:00Z --until 2026-07-08T13:00:00Z --clip
      peerstore sessions --ndjson
    """
    with open_store() as store:
        key, watcher = find_peer(store, peer), find_observer(store, observer)
        if connections:
            links = store.connection_sessions(
                peer=key,
                since=since,
                until=until,
                observer=watcher,
                grace=grace,
                known_at=known_at,
                max_silence=max_silence,
                clip=clip,
            )
            print_listing(links, CONNECTION_SESSIONS, format, store)
        else:
            found = store.sessions(
                peer=key,
                since=since,
                until=until,
                observer=watcher,
                grace=grace,
                known_at=known_at,
                max_silence=max_silence,
                clip=clip,
            )
            print_listing(found, SESSIONS, format, store)


@main.command(short_help="List when connections held, or those of one moment.")
@peer_argument
@click.argument("other", required=False)
@at_option
@grace_option
@window_options
@output_options
@view_options
def connections(
    *,
    peer: str | None,
    other: str | None,
    moment: datetime | None,
    grace: timedelta,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when connections held: all, those of PEER, or those between PEER and OTHER.

    With --at, list the connections that were present at that moment.

    \b
    Examples:
      peerstore connections
      peerstore connections sim-till-4 --since 2026-07-08T08:00:00Z --until 2026-07-08T10:00:00Z
      peerstore connections sim-till-1 sim-till-2 --grace 60s
      peerstore connections --at 2026-07-08T14:03:30Z
    """
    if moment is not None and (since is not None or until is not None or grace):
        raise click.UsageError("give either --at for one moment, or --since, --until and --grace for a window")
    with open_store() as store:
        key, far = find_peer(store, peer), find_peer(store, other)
        watcher = find_observer(store, observer)
        if moment is None:
            found = store.connection_sessions(
                peer=key,
                other=far,
                since=since,
                until=until,
                observer=watcher,
                grace=grace,
                known_at=known_at,
                max_silence=max_silence,
            )
            print_listing(found, CONNECTION_SESSIONS, format, store)
            return
        presence = store.presence_at(moment, observer=watcher, known_at=known_at, max_silence=max_silence)
        if format is None:
            names = Names(store)
            warn_of_old_states(presence.observers, names)
            if not any(state.watching for state in presence.observers):
                click.echo(unwatched(moment, presence.observers, names), err=True)
        ends = {end for end in (key, far) if end is not None}
        links = (link for link in presence.connections if ends <= {link.peer1, link.peer2})
        print_listing(links, PRESENT_CONNECTIONS, format, store)


def print_as_it_comes(
    items: Iterator[Change], listing: Listing[Change], format: Format | None, store: PeerStore
) -> None:
    """Print each row when it comes, until interrupted; then end quietly."""
    columns: list[Column[Change]] = []
    stale = 0.0
    try:
        if format is not None:
            print_rows(_flushed(items), format, listing.fields)
        for change in items:
            if time.monotonic() >= stale:  # new peers get their names meanwhile
                columns, stale = listing.columns(Names(store)), time.monotonic() + 1
            cells = [column.cell(change) for column in columns]
            sys.stdout.write(
                "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip() + "\n"
            )
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


def _flushed(items: Iterator[Change]) -> Iterator[Change]:
    for item in items:
        yield item
        sys.stdout.flush()


def _change_columns(names: Names) -> list[Column[Change]]:
    def subject(change: Change) -> str:
        if change.connection:
            return names.connection(change.connection)
        return names.name(change.observer if change.kind in OF_OBSERVERS else change.peer_key)

    def what(change: Change) -> str:
        if change.kind == "changed":
            return show_edit(change.path, change.before, change.after)
        return show_text(change.connection.type) if change.connection else show_text(change.reason)

    return [
        Column("time", lambda change: show_time(change.observed_at), keep="whole"),
        Column("change", lambda change: change.kind.replace("_", " "), keep="both", least=ROOM_FOR_A_KIND),
        Column("of", subject, keep="both", readable=24),
        Column("what", what, keep="both", readable=32),
        Column("remarks", _remarks, IF_TOLD, least=ROOM_FOR_A_REMARK),
        Column("observer", lambda change: names.name(change.observer), 1, keep="both"),
    ]


def _attribute_columns(names: Names) -> list[Column[AttributeChange]]:
    return [
        Column("time", lambda change: show_time(change.observed_at), keep="whole"),
        Column("peer", lambda change: names.name(change.peer_key), keep="both"),
        Column("path", lambda change: show_text(change.path), keep="end"),
        Column("before", lambda change: show_value(change.before)),
        Column("after", lambda change: show_value(change.after)),
        Column("remarks", _remarks, IF_TOLD, least=ROOM_FOR_A_REMARK),
    ]


def _session_columns(names: Names) -> list[Column[Session]]:
    return [
        Column("peer", lambda session: names.name(session.peer_key), keep="both"),
        Column("start", lambda session: show_time(session.start), keep="whole"),
        Column("end", lambda session: show_time(session.end), keep="whole"),
        Column("lasted", _lasted, 1, keep="whole"),
        Column("ended by", lambda session: show_text(session.end_reason), keep="whole"),
        Column("gaps", lambda session: str(session.gaps or ""), 3),
        Column("cut at", _cuts, IF_TOLD, keep="whole"),
        Column("observer", lambda session: names.name(session.observer), 2, keep="both"),
    ]


def _connection_session_columns(names: Names) -> list[Column[ConnectionSession]]:
    return [
        Column("peer", lambda session: names.name(session.connection.peer1), keep="both", least=6),
        Column("other", lambda session: names.name(session.connection.peer2), keep="both", least=6),
        Column("type", lambda session: show_text(session.connection.type), 1),
        Column("start", lambda session: show_time(session.start), keep="whole"),
        Column("end", lambda session: show_time(session.end), keep="whole"),
        Column("lasted", _lasted, 2, keep="whole"),
        Column("ended by", lambda session: show_text(session.end_reason), IF_TOLD, keep="whole"),
        Column("gaps", lambda session: str(session.gaps or ""), 3),
        Column("cut at", _cuts, IF_TOLD, keep="whole"),
        Column("id", lambda session: show_text(session.connection.id), 4, keep="both", readable=24),
    ]


def _remarks(change: Change | AttributeChange) -> str:
    marks = {
        "learned": change.learned,
        "across absence": change.across_absence,
        "across gap": change.across_gap,
        "late": isinstance(change, Change) and change.late,
        "withdrawn": isinstance(change, Change) and change.withdrawn,
    }
    return ", ".join(mark for mark, holds in marks.items() if holds)


def _cuts(session: Session | ConnectionSession) -> str:
    cuts = {"start": session.cut_start, "end": session.cut_end, "horizon": session.began_before}
    return ", ".join(end for end, cut in cuts.items() if cut)


def _lasted(session: Session | ConnectionSession) -> str:
    return "still holds" if session.end is None else format_duration(session.end - session.start)


CHANGES = Listing(
    (
        *("observed_at", "kind", "peer_key", "peer1", "peer2", "type", "id", "path", "before", "after"),
        *("learned", "across_absence", "across_gap", "reason", "observer", "late", "withdrawn"),
    ),
    _change_columns,
    "nothing changed",
)
ATTRIBUTE_CHANGES = Listing(
    (
        *("observed_at", "peer_key", "path", "before", "after"),
        *("observer", "learned", "across_absence", "across_gap"),
    ),
    _attribute_columns,
    "no attribute changed",
)
SESSIONS: Listing[Session] = Listing(("peer_key", *_SPAN), _session_columns, "no sessions")
CONNECTION_SESSIONS: Listing[ConnectionSession] = Listing(
    ("id", "peer1", "peer2", "type", *_SPAN), _connection_session_columns, "no connections"
)
PRESENT_CONNECTIONS: Listing[Connection] = Listing(
    (*CONNECTION_FIELDS, "seen_by"), connection_columns, "no connections"
)
