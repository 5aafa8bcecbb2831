"""Commands about the connections of pairs: contacts, flapping, transports, degree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import click

from peerstore.answers.links import (
    Contact,
    Degree,
    DegreeStretch,
    Flapping,
    TransportChange,
    TransportMix,
)
from peerstore.cli.options import (
    DURATION,
    find_observer,
    find_peer,
    grace_option,
    open_store,
    output_options,
    peer_argument,
    view_options,
    window_options,
)
from peerstore.cli.output import Format, Row, print_rows
from peerstore.cli.people import IF_TOLD, Column, Listing, Names, print_listing, print_table, show_text, show_time
from peerstore.cli.program import main
from peerstore.model import Connection
from peerstore.times import format_duration

Measured = TypeVar("Measured", Contact, Degree)


@main.command(short_help="List how often and how long pairs were connected.")
@peer_argument
@click.argument("other", required=False)
@grace_option
@window_options
@output_options
@view_options
def contacts(
    *,
    peer: str | None,
    other: str | None,
    grace: timedelta,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List how often and how long pairs were connected, by type: all, those of PEER, or PEER and OTHER alone.

    Measured from --since to --until, or from the first observation to the last one. An episode is a stretch without a
    break; "total" leaves out the gaps that --grace joins. What nobody watched counts neither way.

    \b
    Examples:
      peerstore contacts
      peerstore contacts sim-till-5 sim-till-4
      peerstore contacts sim-till-5 --grace 60s --since 2026-07-08T10:00:00Z --until 2026-07-08T11:00:00Z
      peerstore contacts --csv
    """
    with open_store() as store:
        found = store.contacts(
            peer=find_peer(store, peer),
            other=find_peer(store, other),
            since=since,
            until=until,
            observer=find_observer(store, observer),
            grace=grace,
            known_at=known_at,
            max_silence=max_silence,
        )
        print_listing(_warned(found, format), CONTACTS, format, store)


@main.command(short_help="List connections, or peers, that came and went often or shortly.")
@peer_argument
@click.option("--count", type=click.IntRange(1), default=3, show_default=True, help="At least so many episodes ...")
@click.option(
    "--within",
    type=DURATION,
    metavar="DURATION",
    default="60s",
    show_default=True,
    help="... that begin in less than this.",
)
@click.option("--shorter-than", type=DURATION, metavar="DURATION", help="Also what had an episode shorter than this.")
@click.option("--peers", is_flag=True, help="Peers that came and went, instead of connections.")
@window_options
@output_options
@view_options
def flapping(
    *,
    peer: str | None,
    count: int,
    within: timedelta,
    shorter_than: timedelta | None,
    peers: bool,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List connections that came and went again and again: all, or those of PEER.

    What came or went only because observers began or ceased to watch is counted apart ("cut") and makes nothing flap.
    A Ditto SDK tells what happens about once a second: what flaps faster is not seen.

    \b
    Examples:
      peerstore flapping --count 4 --within 3m
      peerstore flapping sim-till-5 --shorter-than 30s --since 2026-07-08T10:00:00Z --until 2026-07-08T11:00:00Z
      peerstore flapping --peers --count 2 --within 1h --json
    """
    with open_store() as store:
        found = store.flapping(
            count=count,
            within=within,
            shorter_than=shorter_than,
            of="peer" if peers else "connection",
            peer=find_peer(store, peer),
            since=since,
            until=until,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
        )
        print_listing(found, FLAPPING_PEERS if peers else FLAPPING_CONNECTIONS, format, store)


@main.command(short_help="Show over what peers were connected, over time.")
@peer_argument
@click.option("--every", type=DURATION, metavar="DURATION", help="A bucket for each so long [default: one for all].")
@window_options
@output_options
@view_options
def transports(
    *,
    peer: str | None,
    every: timedelta | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Show over what peers (or PEER alone) were connected: the connections of each type, and their times.

    "only" is the time, summed over peers, in which all connections of a peer were of that type, and its share of the
    time in which it had any. Buckets begin at multiples of --every in UTC. In --json and --ndjson the types stand
    within their buckets; --csv has a row for each bucket and type.

    \b
    Examples:
      peerstore transports
      peerstore transports --every 1h --since 2026-07-08T07:00:00Z --until 2026-07-08T12:00:00Z
      peerstore transports sim-till-4 --every 1h --csv
    """
    with open_store() as store:
        found = store.transports(
            every=every,
            peer=find_peer(store, peer),
            since=since,
            until=until,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
        )
        if format == "csv":
            print_rows(_transport_rows(found), format, TRANSPORT_FIELDS)
        elif format is not None:
            print_rows(found, format, ())
        elif not print_table(_transport_rows(found), _transport_columns()):
            click.echo("nothing was observed", err=True)


@main.command(short_help="List when pairs became connected over other types than before.")
@peer_argument
@click.argument("other", required=False)
@click.option("--from", "from_type", metavar="TYPE", help="Only changes that left this type.")
@click.option("--to", "to_type", metavar="TYPE", help="Only changes after which this type is there.")
@click.option("--peers", is_flag=True, help="The types of all connections of a peer, instead of those of a pair.")
@click.option("--ends", is_flag=True, help="Also changes from and to no connection at all.")
@grace_option
@window_options
@output_options
@view_options
def fallbacks(
    *,
    peer: str | None,
    other: str | None,
    from_type: str | None,
    to_type: str | None,
    peers: bool,
    ends: bool,
    grace: timedelta,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when pairs became connected over other types than before: all, those of PEER, or PEER and OTHER alone.

    With --grace, what had no connection for less than that is compared with what it had before.

    \b
    Examples:
      peerstore fallbacks
      peerstore fallbacks --from AccessPoint --to Bluetooth --grace 30s
      peerstore fallbacks sim-till-4 --peers --since 2026-07-08T08:00:00Z --until 2026-07-08T10:00:00Z
      peerstore fallbacks sim-till-4 sim-hub --ends --ndjson
    """
    if peers and other is not None:
        raise click.UsageError("--peers regards all connections of a peer: name no OTHER")
    with open_store() as store:
        found = store.fallbacks(
            peer=find_peer(store, peer),
            other=find_peer(store, other),
            from_type=from_type,
            to_type=to_type,
            of="peer" if peers else "pair",
            ends=ends,
            grace=grace,
            since=since,
            until=until,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
        )
        print_listing(found, FALLBACKS, format, store)


@main.command(short_help="Show how many connections peers had, and who was at a limit.")
@peer_argument
@click.option(
    "--cap",
    "caps",
    metavar="TYPES=NUMBER",
    multiple=True,
    help="A limit on connections; types joined by + count together; may be given more than once "
    "[default: AccessPoint+WebSocket=6, Bluetooth=4, P2PWiFi=4].",
)
@window_options
@output_options
@view_options
def degree(
    *,
    peer: str | None,
    caps: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Show how many connections each peer had, and for how long it was at a limit; of PEER, how many when.

    Measured from --since to --until, or from the first observation to the last one, over the time for which each peer
    was present.

    \b
    Examples:
      peerstore degree
      peerstore degree --cap AccessPoint=3 --cap Bluetooth=2 --csv
      peerstore degree sim-till-4 --since 2026-07-08T08:00:00Z --until 2026-07-08T10:00:00Z
    """
    limits = dict(map(_cap, caps)) or None
    if peer is not None and limits is not None:
        raise click.UsageError("--cap is for the list of all peers: of PEER, its connections over time are shown")
    with open_store() as store:
        key, watcher = find_peer(store, peer), find_observer(store, observer)
        if key is not None:
            stretches = store.degree_over(
                key, since=since, until=until, observer=watcher, known_at=known_at, max_silence=max_silence
            )
            print_listing(stretches, DEGREE_STRETCHES, format, store)
        else:
            found = store.degrees(
                caps=limits, since=since, until=until, observer=watcher, known_at=known_at, max_silence=max_silence
            )
            print_listing(_warned(found, format), DEGREES, format, store)


def _cap(text: str) -> tuple[str, int]:
    types, sign, number = text.rpartition("=")
    if not (sign and types.strip() and number.strip().isdecimal()):
        raise click.BadParameter(f"{text!r} is no limit: expected TYPES=NUMBER, as in Bluetooth=4", param_hint="--cap")
    return types, int(number)


def _warned(found: Iterable[Measured], format: Format | None) -> Iterator[Measured]:
    """The rows, of which each tells the same window; people are told first how much of it nobody watched."""
    for place, row in enumerate(found):
        if not place and format is None:
            _warn(row.unobserved, row.unobserved + row.known)
        yield row


def _warn(unobserved: timedelta, window: timedelta) -> None:
    if unobserved:
        click.echo(
            f"Warning: nobody was watching for {format_duration(unobserved)} of {format_duration(window)}; "
            "what happened then is unknown, and counts for nothing here",
            err=True,
        )


def _transport_rows(found: Iterable[TransportMix]) -> Iterator[Row]:
    """A row for each bucket and type, or one for a bucket without any."""
    for mix in found:
        values = mix.to_dict()
        for share in values.pop("transports") or [{}]:
            yield Row({**values, **share})


def _transport_columns() -> list[Column[Row]]:
    return [
        Column("from", lambda row: _show_iso(row.values["start"]), keep="whole"),
        Column("until", lambda row: _show_iso(row.values["end"]), 3, keep="whole"),
        Column("type", lambda row: show_text(row.values.get("type"))),
        Column("links", lambda row: show_text(row.values.get("links"))),
        Column("link time", lambda row: _show_seconds(row.values.get("link_seconds")), keep="whole"),
        Column("only", lambda row: _show_seconds(row.values.get("only_seconds")), 1, keep="whole"),
        Column("share", lambda row: _show_share(row.values.get("only_share")), 2, keep="whole"),
        Column("unobserved", lambda row: _show_seconds(row.values["unobserved_seconds"] or None), IF_TOLD),
    ]


def _show_iso(text: str) -> str:
    return show_time(datetime.fromisoformat(text))


def _show_seconds(seconds: float | None) -> str:
    return "" if seconds is None else format_duration(timedelta(seconds=seconds))


def _show_share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _contact_columns(names: Names) -> list[Column[Contact]]:
    return [
        Column("peer", lambda row: names.name(row.peer1), keep="both", least=6),
        Column("other", lambda row: names.name(row.peer2), keep="both", least=6),
        Column("type", lambda row: show_text(row.type), 1),
        Column("episodes", lambda row: str(row.episodes)),
        Column("total", lambda row: format_duration(row.total), keep="whole"),
        Column("share", lambda row: _show_share(row.share), 2, keep="whole"),
        Column("longest", lambda row: format_duration(row.longest), 3, keep="whole"),
        Column("mean", lambda row: format_duration(row.mean), 5, keep="whole"),
        Column("last end", lambda row: show_time(row.last_end) or "still holds", 4, keep="whole"),
        Column("first start", lambda row: show_time(row.first_start), 6, keep="whole"),
    ]


def _flapping_columns(subject: list[Column[Flapping]]) -> list[Column[Flapping]]:
    return [
        *subject,
        Column("episodes", lambda row: str(row.episodes)),
        Column("most", lambda row: str(row.most)),
        Column("from", lambda row: show_time(row.window_start), 1, keep="whole"),
        Column("shortest", lambda row: "" if row.shortest is None else format_duration(row.shortest), keep="whole"),
        *(
            Column(title, lambda row, place=place: str(row.durations[place] or ""), 3)  # type: ignore[misc]
            for place, title in enumerate(("<1 s", "<5 s", "<30 s", "<5 min", "longer"))
        ),
        Column("open", lambda row: str(row.open or ""), IF_TOLD),
        Column("cut", lambda row: str(row.cut or ""), IF_TOLD),
    ]


def _flapping_connection_columns(names: Names) -> list[Column[Flapping]]:
    def link(row: Flapping) -> Connection:
        assert row.connection is not None
        return row.connection

    subject: list[Column[Flapping]] = [
        Column("peer", lambda row: names.name(link(row).peer1), keep="both", least=6),
        Column("other", lambda row: names.name(link(row).peer2), keep="both", least=6),
        Column("type", lambda row: show_text(link(row).type), 2),
    ]
    end = Column[Flapping]("id", lambda row: show_text(link(row).id), 4, keep="both", readable=24)
    return [*_flapping_columns(subject), end]


def _flapping_peer_columns(names: Names) -> list[Column[Flapping]]:
    return _flapping_columns([Column("peer", lambda row: names.name(row.peer_key), keep="both")])


def _fallback_columns(names: Names) -> list[Column[TransportChange]]:
    return [
        Column("time", lambda row: show_time(row.observed_at), keep="whole"),
        Column("peer", lambda row: names.name(row.peer1), keep="both"),
        Column("other", lambda row: names.name(row.peer2), IF_TOLD, keep="both"),
        Column("before", lambda row: _show_types(row.before), readable=24),
        Column("after", lambda row: _show_types(row.after), readable=24),
        Column("remarks", lambda row: "across gap" if row.across_gap else "", IF_TOLD),
    ]


def _show_types(types: tuple[str, ...]) -> str:
    return show_text(", ".join(types)) if types else "(none)"


def _degree_columns(names: Names) -> list[Column[Degree]]:
    return [
        Column("peer", lambda row: names.name(row.peer_key), keep="both"),
        Column("present", lambda row: format_duration(row.present), 2, keep="whole"),
        Column("mean", lambda row: f"{row.mean:.1f}", keep="whole"),
        Column("most", lambda row: str(row.most)),
        Column("first at", lambda row: show_time(row.most_at), 3, keep="whole"),
        Column("most by type", lambda row: _show_counts(row.most_by_type), 1, readable=40),
        Column("at the limit", lambda row: _show_caps(row.at_cap), IF_TOLD, readable=40),
    ]


def _show_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{show_text(name)} {count}" for name, count in counts.items())


def _show_caps(times: Mapping[str, timedelta]) -> str:
    return ", ".join(f"{show_text(name)} for {format_duration(time)}" for name, time in times.items() if time)


def _stretch_columns(_names: Names) -> list[Column[DegreeStretch]]:
    return [
        Column("from", lambda row: show_time(row.start), keep="whole"),
        Column("until", lambda row: show_time(row.end), 2, keep="whole"),
        Column("lasted", lambda row: format_duration(row.end - row.start), 1, keep="whole"),
        Column("state", lambda row: row.state, keep="whole"),
        Column("connections", lambda row: "" if row.state != "present" else str(row.links)),
        Column("by type", lambda row: _show_counts(row.by_type), readable=24),
    ]


_WATCHING = ("known_seconds", "unobserved_seconds")
CONTACTS = Listing(
    (
        *("peer1", "peer2", "type", "episodes", "total_seconds", "share", "longest_seconds", "mean_seconds"),
        *("first_start", "last_end", "connections", *_WATCHING),
    ),
    _contact_columns,
    "no connections",
)
_FLAPPING = (
    *("episodes", "most", "window_start", "window_end", "shortest_seconds"),
    *("lasted_under_1_s", "lasted_1_to_5_s", "lasted_5_to_30_s", "lasted_30_s_to_5_min", "lasted_5_min_or_more"),
    *("open", "cut"),
)
FLAPPING_CONNECTIONS = Listing(
    ("id", "peer1", "peer2", "type", *_FLAPPING), _flapping_connection_columns, "no connection flapped"
)
FLAPPING_PEERS = Listing(("peer_key", *_FLAPPING), _flapping_peer_columns, "no peer flapped")
TRANSPORT_FIELDS = (
    *("start", "end", *_WATCHING, "peer_seconds", "connected_peer_seconds"),
    *("type", "links", "link_seconds", "only_seconds", "only_share"),
)
FALLBACKS = Listing(
    ("observed_at", "peer1", "peer2", "before", "after", "across_gap"), _fallback_columns, "no type changed"
)
DEGREES = Listing(
    (
        *("peer_key", "present_seconds", "mean", "most", "most_at", "most_by_type", "at_cap_seconds"),
        *_WATCHING,
    ),
    _degree_columns,
    "no peers",
)
DEGREE_STRETCHES = Listing(
    ("start", "end", "duration_seconds", "state", "links", "by_type"), _stretch_columns, "nothing was observed"
)
