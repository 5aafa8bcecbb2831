"""Commands about the shape of the mesh: islands, cut peers, paths."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from peerstore.answers.shape import (
    CutLink,
    CutPeer,
    Cuts,
    Distances,
    Island,
    IslandChange,
    Islands,
    MeshPath,
    PathStretch,
    Way,
)
from peerstore.cli.mesh import by_hops, natural, print_headline, print_moment, show_path, show_peers, warn_of_unobserved
from peerstore.cli.options import (
    MOMENT,
    TimeCommand,
    at_option,
    find_observer,
    find_peer,
    named_peer,
    open_store,
    output_options,
    peer_argument,
    view_options,
    window_options,
)
from peerstore.cli.output import Format
from peerstore.cli.people import (
    IF_TOLD,
    Column,
    Listing,
    Names,
    plural,
    print_listing,
    print_table,
    print_title,
    show_text,
    show_time,
)
from peerstore.cli.program import main
from peerstore.times import format_duration

ISLAND_FIELDS = ("size", "connections", "peers", "bridges")
CUT_FIELDS = ("peer_key", "id", "peer1", "peer2", "type", "lost_count", "lost")
WAY_FIELDS = ("peers", "types")
DISTANCE_FIELDS = ("peer_key", "hops")


@main.command(short_help="List the islands of a moment, or when the mesh split and merged.")
@peer_argument
@at_option
@click.option("--members", is_flag=True, help="Also when peers joined an island or left it.")
@window_options
@output_options
@view_options
def islands(
    *,
    peer: str | None,
    moment: datetime | None,
    members: bool,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when the mesh split into islands, and when they merged: any, or that of PEER.

    An island is a group of peers that can reach each other, over any connections, and nobody else. With --at, list the
    islands of that moment. While nobody is watching nothing changes; what was found different afterwards is marked
    "across gap".

    \b
    Examples:
      peerstore islands
      peerstore islands --at 2026-07-08T14:05:00Z
      peerstore islands sim-manager-tablet --since 2026-07-08T15:30:00Z --until 2026-07-08T16:30:00Z
      peerstore islands --members --since 2026-07-08T14:00:00Z --until 2026-07-08T14:05:00Z --ndjson
    """
    if moment is not None and (members or since is not None or until is not None):
        raise click.UsageError("give either --at for one moment, or --since, --until and --members for a window")
    with open_store() as store:
        key, watcher = find_peer(store, peer), find_observer(store, observer)
        if moment is not None:
            found = store.islands_at(moment, observer=watcher, known_at=known_at, max_silence=max_silence)
            _print_islands(found, key, format, None if format else Names(store))
            return
        if format is None:
            warn_of_unobserved(store, since, until, watcher, known_at, max_silence)
        changes = store.islands_over(
            since=since,
            until=until,
            peer=key,
            members=members,
            observer=watcher,
            known_at=known_at,
            max_silence=max_silence,
        )
        print_listing(changes, ISLAND_CHANGES, format, store)


def _print_islands(found: Islands, key: str | None, format: Format | None, names: Names | None) -> None:
    told = f"{plural(len(found.islands), 'island')} of {plural(sum(len(each.peers) for each in found.islands), 'peer')}"
    if key is not None:
        own = found.of(key)
        found.islands = () if own is None else (own,)
    if format:
        print_moment(found.to_dict(), {"island": "islands"}, format, ISLAND_FIELDS)
    if names is None or not print_headline(found, told, names):
        return
    if key is not None and not found.islands:
        click.echo(f"{names.name(key)} was not present", err=True)
    elif found.islands:
        print_table(found.islands, _island_columns(names))
    if key is not None and found.islands:
        print_title("Peers")
        print_table(sorted(map(names.name, found.islands[0].peers), key=natural), [Column("peer", str, keep="whole")])


def _island_columns(names: Names) -> list[Column[Island]]:
    return [
        Column("size", lambda island: str(len(island.peers)), keep="whole"),
        Column("connections", lambda island: str(island.connections), 2),
        Column("bridges to the cloud", lambda island: show_peers(names, island.bridges) or "(none)", 1, keep="both"),
        Column("peers", lambda island: show_peers(names, island.peers), readable=40),
    ]


def _island_change_columns(names: Names) -> list[Column[IslandChange]]:
    def sizes(change: IslandChange) -> str:
        sides = (" + ".join(str(len(island)) for island in side) or "0" for side in (change.before, change.after))
        return " -> ".join(sides)

    return [
        Column("time", lambda change: show_time(change.observed_at), keep="whole"),
        Column("change", lambda change: change.kind, keep="whole"),
        Column("islands", sizes, keep="both"),
        Column("who", lambda change: show_peers(names, change.peers), keep="both", readable=24),
        Column("remarks", lambda change: "across gap" if change.across_gap else "", IF_TOLD, keep="whole"),
    ]


@main.command(cls=TimeCommand, short_help="Show what alone held the mesh together at TIME.")
@click.argument("time", type=MOMENT)
@output_options
@view_options
def cuts(
    *,
    time: datetime,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Show which peers and connections alone held parts of the mesh together at TIME, and who would be lost with each:
    if this device leaves, all parts of its island but the largest.

    \b
    Examples:
      peerstore cuts 2026-07-08T13:30:00Z
      peerstore cuts 2026-07-08T14:05:00Z --json
    """
    with open_store() as store:
        found = store.cuts_at(time, observer=find_observer(store, observer), known_at=known_at, max_silence=max_silence)
        names = None if format else Names(store)
    if format:
        print_moment(found.to_dict(), {"cut_peer": "peers", "cut_link": "links"}, format, CUT_FIELDS)
    elif names:
        _print_cuts(found, names)


def _print_cuts(found: Cuts, names: Names) -> None:
    told = f"{plural(len(found.peers), 'cut peer')}, {plural(len(found.links), 'cut link')}"
    if not print_headline(found, told, names):
        return
    if found.peers:
        print_title("Peers")
        print_table(found.peers, _cut_peer_columns(names))
    if found.links:
        print_title("Connections")
        print_table(found.links, _cut_link_columns(names))


def _cut_peer_columns(names: Names) -> list[Column[CutPeer]]:
    return [
        Column("if this leaves", lambda cut: names.name(cut.peer_key), keep="both"),
        Column("lost", lambda cut: " + ".join(str(len(group)) for group in cut.lost), keep="both"),
        Column("who", lambda cut: "; ".join(show_peers(names, group) for group in cut.lost), keep="both", readable=40),
    ]


def _cut_link_columns(names: Names) -> list[Column[CutLink]]:
    return [
        Column("if this breaks", lambda cut: names.connection(cut.connection), keep="both", readable=24),
        Column("type", lambda cut: show_text(cut.connection.type), 1),
        Column("lost", lambda cut: str(len(cut.lost)), keep="both"),
        Column("who", lambda cut: show_peers(names, cut.lost), keep="both", readable=24),
    ]


@main.command(short_help="Show the shortest path between two peers, then or over time.")
@click.argument("peer")
@click.argument("other")
@at_option
@window_options
@output_options
@view_options
def path(
    *,
    peer: str,
    other: str,
    moment: datetime | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List how many hops PEER and OTHER were from each other over time, and over which path: from the first observation
    to the last one, or from --since to --until. Where several paths were as short, one of them is shown.

    With --at, list all the shortest paths of that moment (the first 100), with the types of their connections.

    \b
    Examples:
      peerstore path sim-till-1 sim-till-12 --at 2026-07-08T13:30:00Z
      peerstore path sim-till-1 sim-till-12 --since 2026-07-08T14:00:00Z --until 2026-07-08T14:30:00Z
      peerstore path sim-till-9 sim-office-1 --json
    """
    if moment is not None and (since is not None or until is not None):
        raise click.UsageError("give either --at for one moment, or --since and --until for a window")
    with open_store() as store:
        ends = named_peer(store, peer), named_peer(store, other)
        view: dict[str, Any] = {
            "observer": find_observer(store, observer),
            "known_at": known_at,
            "max_silence": max_silence,
        }
        if moment is not None:
            _print_path(store.path_at(*ends, moment, **view), format, None if format else Names(store))
        else:
            print_listing(store.paths_over(*ends, since, until, **view), PATHS, format, store)


def _print_path(found: MeshPath, format: Format | None, names: Names | None) -> None:
    if format:
        print_moment(found.to_dict(), {"way": "ways"}, format, WAY_FIELDS)
    if names is None or not print_headline(found, _told(found, names), names):
        return
    if found.ways and found.hops:
        print_table(found.ways, _way_columns(names))
    if len(found.ways) < found.path_count:
        click.echo(f"the first {len(found.ways)} of {found.path_count} shortest paths", err=True)


def _told(found: MeshPath, names: Names) -> str:
    present = {found.peer: found.peer_present, found.other: found.other_present}
    absent = [names.name(key) for key, there in present.items() if not there]
    if absent:
        return " and ".join(absent) + (" were" if len(absent) > 1 else " was") + " not present"
    pair = f"{names.name(found.peer)} and {names.name(found.other)}"
    if found.hops is None:
        return f"{pair} were in two islands"
    return f"{pair} were {plural(found.hops, 'hop')} apart ({plural(found.path_count, 'shortest path')})"


def _way_columns(names: Names) -> list[Column[Way]]:
    return [
        Column("over", _show_types, keep="whole"),
        Column("path", lambda way: show_path(names, way.peers), keep="whole"),
    ]


def _show_types(way: Way) -> str:
    """The types of the connections, step by step; once if they are all the same."""
    steps = ["/".join(map(show_text, step)) for step in way.types]
    return " - ".join(steps if len(set(steps)) > 1 else steps[:1])


def _path_columns(names: Names) -> list[Column[PathStretch]]:
    return [
        Column("start", lambda stretch: show_time(stretch.start), keep="whole"),
        Column("end", lambda stretch: show_time(stretch.end), keep="whole"),
        Column("lasted", lambda stretch: format_duration(stretch.duration), 1, keep="whole"),
        Column("state", lambda stretch: stretch.state, keep="whole"),
        Column("hops", lambda stretch: "" if stretch.hops is None else str(stretch.hops), keep="whole"),
        Column("path", lambda stretch: show_path(names, stretch.path), keep="both", readable=24),
    ]


@main.command(cls=TimeCommand, short_help="Show how far every peer was from PEER at TIME.")
@click.argument("peer")
@click.argument("time", type=MOMENT)
@output_options
@view_options
def reach(
    *,
    peer: str,
    time: datetime,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Show how many hops every present peer was from PEER at TIME: whom it had a connection to, whom it could reach
    through others, and whom not at all.

    \b
    Examples:
      peerstore reach sim-till-1 2026-07-08T13:30:00Z
      peerstore reach sim-kitchen-1 2026-07-08T14:05:00Z --observer sim-kitchen-1
      peerstore reach sim-till-1 2026-07-08T14:05:00Z --csv
    """
    with open_store() as store:
        found = store.distances_at(
            named_peer(store, peer),
            time,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
        )
        names = None if format else Names(store)
    if format:
        print_moment(found.to_dict(), {"distance": "hops"}, format, DISTANCE_FIELDS)
    elif names:
        _print_distances(found, names)


def _print_distances(found: Distances, names: Names) -> None:
    hops = [each for each in found.hops.values() if each]
    direct, out = hops.count(1), sum(each is None for each in found.hops.values())
    told = f"{direct} direct, {len(hops) - direct} through others, {out} out of reach"
    if not print_headline(found, told, names):
        return
    if not found.present:
        click.echo(f"{names.name(found.peer)} was not present", err=True)
        return
    rows = sorted(found.hops.items(), key=lambda row: by_hops(names, *row))
    columns: list[Column[tuple[str, int | None]]] = [
        Column("peer", lambda row: names.name(row[0]), keep="both"),
        Column("hops", lambda row: "" if row[1] is None else str(row[1]), keep="whole"),
        Column("how", lambda row: _HOW.get(row[1], "through others"), keep="whole"),
    ]
    print_table(rows, columns)


_HOW = {None: "out of reach", 0: "itself", 1: "direct"}

ISLAND_CHANGES: Listing[IslandChange] = Listing(
    ("observed_at", "kind", "peers", "before", "after", "across_gap"),
    _island_change_columns,
    "no island split or merged",
)
PATHS: Listing[PathStretch] = Listing(
    ("start", "end", "duration_seconds", "state", "hops", "path"), _path_columns, "no history in this window"
)
