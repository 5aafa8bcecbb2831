"""``at`` and ``diff``: one moment, and what is different between two."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import click

from peerstore.answers.changes import INSIDE, Difference
from peerstore.cli.options import (
    MOMENT,
    TimeCommand,
    find_observer,
    open_store,
    output_options,
    path_option,
    view_options,
)
from peerstore.cli.output import Format, Row, print_document, print_rows
from peerstore.cli.people import (
    IF_TOLD,
    Column,
    Names,
    plural,
    print_table,
    print_title,
    show_edit,
    show_text,
    show_time,
    show_truth,
    show_value,
)
from peerstore.cli.program import main
from peerstore.model import Connection, ObserverState, Peer
from peerstore.times import format_duration

if TYPE_CHECKING:
    from peerstore.presence import Presence

SHOWN_OLD_STATES = 3
LONG_AGO = timedelta(days=1)
PEER_FIELDS = (
    *("peer_key", "device_name", "os", "sdk_version", "is_connected_to_cloud", "is_compatible"),
    *("peer_metadata", "identity_service_metadata", "is_observer"),
)
CONNECTION_FIELDS = ("id", "peer1", "peer2", "type", "listed_by")
AT_FIELDS = (
    *("kind", *PEER_FIELDS, *CONNECTION_FIELDS),
    *("seen_by", "observer", "observed_at", "age_seconds", "watching"),
)
DIFF_FIELDS = ("kind", *PEER_FIELDS, *CONNECTION_FIELDS, "seen_by", "path", "before", "after")


@main.command(cls=TimeCommand, short_help="Show who was present at TIME, and who was watching.")
@click.argument("time", type=MOMENT)
@click.option(
    "--ditto",
    type=click.Choice(["raw-v3", "js-5"]),
    help="The graph as the Ditto SDK would have delivered it to one observer (see --observer), as JSON of its own: "
    "not with --json, --ndjson or --csv.",
)
@output_options
@view_options
def at(
    *,
    time: datetime,
    ditto: Literal["raw-v3", "js-5"] | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Show which peers and connections were present at TIME, and who was watching.

    Unobserved is not absent: where nobody was watching, the answer says so.

    \b
    Examples:
      peerstore at "2 hours ago"
      peerstore at 2026-07-08T14:03:30Z
      peerstore at 2026-07-08T14:03:30Z --observer sim-kitchen-1 --json
      peerstore at 2026-07-08T14:03:30Z --observer sim-kitchen-1 --ditto js-5
    """
    if ditto and format:
        raise click.UsageError(f"--ditto gives the JSON of the Ditto SDK, and --{format} that of peerstore: choose one")
    with open_store() as store:
        presence = store.presence_at(
            time, observer=find_observer(store, observer), known_at=known_at, max_silence=max_silence
        )
        names = None if format or ditto else Names(store)
    if ditto:
        print_document(presence.to_ditto(shape=ditto))
    elif format == "json":
        print_document(presence.to_dict())
    elif format:
        print_rows(_presence_rows(presence.to_dict()), format, AT_FIELDS)
    elif names:
        _print_presence(presence, names)


@main.command(cls=TimeCommand)
@click.argument("t1", type=MOMENT)
@click.argument("t2", type=MOMENT)
@path_option
@click.option(
    "--inside",
    is_flag=True,
    help="Tell also who came and went between the two, or left and returned: reads all that changed meanwhile.",
)
@output_options
@view_options
def diff(
    *,
    t1: datetime,
    t2: datetime,
    path: str | None,
    inside: bool,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Show what is different at T2 from what was at T1.

    \b
    Examples:
      peerstore diff "2 hours ago" now
      peerstore diff 2026-07-08T14:02:50Z 2026-07-08T14:03:30Z
      peerstore diff 2026-07-08T10:20:00Z 2026-07-08T10:31:00Z --inside
      peerstore diff 2026-07-08T12:00:00Z 2026-07-08T18:00:00Z --path /sdk_version
      peerstore diff 2026-07-08T14:02:50Z 2026-07-08T14:03:30Z --observer sim-kitchen-1 --csv
    """
    with open_store() as store:
        difference = store.diff(
            t1,
            t2,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
            path=path,
            inside=inside,
        )
        names = None if format else Names(store)
    if format == "json":
        print_document(difference.to_dict())
    elif format:
        print_rows(_difference_rows(difference.to_dict()), format, DIFF_FIELDS)
    elif names:
        _print_difference(difference, names)


def peer_columns(names: Names) -> list[Column[Peer]]:
    """The columns of a table of peers."""
    return [
        Column("peer", lambda peer: names.key(peer.peer_key), keep="whole"),
        Column("name", lambda peer: show_text(peer.device_name), keep="both"),
        Column("os", lambda peer: show_text(peer.os), 2),
        Column("sdk", lambda peer: show_text(peer.sdk_version), 1),
        Column("cloud", lambda peer: show_truth(peer.is_connected_to_cloud)),
        Column("compatible", lambda peer: show_truth(peer.is_compatible), 3),
        Column("seen by", lambda peer: str(len(peer.seen_by)), 4),
        Column("metadata", _metadata, 5, readable=24),
    ]


def connection_columns(names: Names) -> list[Column[Connection]]:
    """The columns of a table of connections."""
    return [
        Column("peer", lambda link: names.name(link.peer1), keep="both"),
        Column("other", lambda link: names.name(link.peer2), keep="both"),
        Column("type", lambda link: show_text(link.type)),
        Column("listed by", lambda link: "both" if len(link.listed_by) == 2 else _ends(names, link), 1),
        Column("seen by", lambda link: str(len(link.seen_by)), 2),
        Column("id", lambda link: show_text(link.id), 3, keep="both", readable=24),
        Column("remarks", lambda link: ", ".join(flag.replace("_", " ") for flag in link.flags), IF_TOLD),
    ]


def warn_of_old_states(observers: tuple[ObserverState, ...], names: Names) -> None:
    """Tell people where an answer counts states that are older than a day: the oldest by name, the rest by number."""
    aged = [(state.age, state.observer) for state in observers if state.watching and state.age is not None]
    old = sorted((each for each in aged if each[0] > LONG_AGO), reverse=True)
    if not old:
        return
    shown = ", ".join(f"{names.name(key)} ({format_duration(age)})" for age, key in old[:SHOWN_OLD_STATES])
    more = f" and {len(old) - SHOWN_OLD_STATES} more" if len(old) > SHOWN_OLD_STATES else ""
    click.echo(
        f"Warning: states older than a day are still counted: {shown}{more} "
        "(--max-silence sets how long a silent observer counts)",
        err=True,
    )


def unwatched(moment: datetime, observers: tuple[ObserverState, ...], names: Names) -> str:
    """The sentence that tells people that nobody was watching, and since when."""
    spoken = [(state.observed_at, state) for state in observers if state.observed_at is not None]
    if not spoken:
        return f"nobody was watching at {show_time(moment)}: there is no observation by then"
    last, state = max(spoken, key=lambda pair: pair[0])
    age = "" if state.age is None else f" ({format_duration(state.age)} before)"
    untils = [each.watched_until for each in observers if each.watched_until is not None]
    since = f", and nobody since {show_time(max(untils))}" if untils else ""
    return (
        f"nobody was watching at {show_time(moment)}{since}: the last observation before is that of "
        f"{names.name(state.observer)} at {show_time(last)}{age}; what came after it is unknown, not absent"
    )


def _metadata(peer: Peer) -> str:
    return show_value(dict(peer.peer_metadata)) if peer.peer_metadata else ""


def _ends(names: Names, link: Connection) -> str:
    return ", ".join(names.name(key) for key in link.listed_by)


def _print_presence(presence: Presence, names: Names) -> None:
    watching = [state for state in presence.observers if state.watching]
    if not watching:
        sys.stdout.write(unwatched(presence.at, presence.observers, names) + "\n")
        return
    sys.stdout.write(
        f"{show_time(presence.at)}: {plural(len(presence.peers), 'peer')}, "
        f"{plural(len(presence.connections), 'connection')}, "
        f"{len(watching)} of {plural(len(presence.observers), 'observer')} watching\n"
    )
    warn_of_old_states(presence.observers, names)
    if presence.peers:
        print_title("Peers")
        print_table(presence.peers.values(), peer_columns(names))
    if presence.connections:
        print_title("Connections")
        print_table(presence.connections, connection_columns(names))


def _presence_rows(document: dict[str, Any]) -> Iterator[Row]:
    for kind in ("observer", "peer", "connection"):
        for values in document[f"{kind}s"]:
            yield Row({"kind": kind, **values})


def _difference_rows(document: dict[str, Any]) -> Iterator[Row]:
    for kind in ("appeared", "disappeared", "connected", "disconnected", "changed", *INSIDE):
        for values in document.get(kind, ()):
            yield Row({"kind": kind, **values})


def _print_difference(difference: Difference, names: Names) -> None:
    _warn_of_stand_ins(difference)
    rows = [
        *(("appeared", names.name(peer.peer_key), "") for peer in difference.appeared),
        *(("disappeared", names.name(peer.peer_key), "") for peer in difference.disappeared),
        *(("connected", names.connection(link), show_text(link.type)) for link in difference.connected),
        *(("disconnected", names.connection(link), show_text(link.type)) for link in difference.disconnected),
        *(
            (
                "changed",
                names.name(each.peer_key),
                show_edit(each.path, each.before, each.after),
            )
            for each in difference.changed
        ),
        *_inside_rows(difference, names),
    ]
    if not rows:
        click.echo(f"nothing differs between {show_time(difference.since)} and {show_time(difference.until)}", err=True)
    columns: list[Column[tuple[str, str, str]]] = [
        Column("change", lambda row: row[0]),
        Column("of", lambda row: row[1], keep="both"),
        Column("what", lambda row: row[2], keep="both"),
    ]
    print_table(rows, columns)


def _inside_rows(difference: Difference, names: Names) -> Iterator[tuple[str, str, str]]:
    words = ("came and went", "left and returned")
    for word, peers in zip(words, (difference.came_and_went, difference.left_and_returned), strict=True):
        yield from ((word, names.name(peer.peer_key), "") for peer in peers or ())
    for word, links in zip(words, (difference.links_came_and_went, difference.links_left_and_returned), strict=True):
        yield from ((word, names.connection(link), show_text(link.type)) for link in links or ())


def _warn_of_stand_ins(difference: Difference) -> None:
    for asked, known in (
        (difference.since, difference.since_known_at),
        (difference.until, difference.until_known_at),
    ):
        if known is None:
            click.echo(f"Warning: nothing was known yet at {show_time(asked)}", err=True)
        elif known != asked:
            click.echo(
                f"Warning: nobody was watching at {show_time(asked)}; what was last known stands in, "
                f"of {show_time(known)}",
                err=True,
            )
