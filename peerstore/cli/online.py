"""Commands about how long peers were there, away, or not looked at: uptime, timeline, seen."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, groupby
from typing import NamedTuple

import click

from peerstore.answers.online import Seen, Stretch, Uptime
from peerstore.cli.chart import Marks, Scale, axis, chart, marks, scale
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
from peerstore.cli.output import Format, print_rows
from peerstore.cli.people import (
    IF_TOLD,
    Column,
    Listing,
    Names,
    display_width,
    print_listing,
    print_table,
    print_title,
    screen_width,
    show_text,
    show_time,
)
from peerstore.cli.program import main
from peerstore.times import format_duration, micros

NOBODY_SEEN = "no peer was seen before the end of that window"
WIDEST_NAME, ROOM_FOR_A_SHARE, BETWEEN_COLUMNS = 28, len("unknown"), 2


@main.command(short_help="List how much of the time peers were present.")
@peer_argument
@window_options
@output_options
@view_options
def uptime(
    *,
    peer: str | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List how much of the time PEER (or every peer) was present: time known present by time known.

    Measured from --since to --until, or from the first observation to the last one. Time at which nobody was watching
    counts neither as present nor as absent: it is reported beside them.

    \b
    Examples:
      peerstore uptime
      peerstore uptime sim-till-7 --since 2026-07-08T12:00:00Z --until 2026-07-08T14:00:00Z
      peerstore uptime --observer sim-till-3 --csv
    """
    with open_store() as store:
        found = store.uptime(
            peer=find_peer(store, peer),
            since=since,
            until=until,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
        )
        if format is not None:
            print_rows(found, format, UPTIMES.fields)
        else:
            _print_uptimes(found, Names(store))


@main.command(short_help="Draw when peers were present, absent, or not looked at.")
@peer_argument
@window_options
@output_options
@view_options
def timeline(
    *,
    peer: str | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Draw when PEER (or every peer) was present, absent, or not looked at; of one PEER, list these stretches too.

    From --since to --until, or from the first observation to the last one, cut there. Times are in UTC. With --json,
    --ndjson and --csv, the stretches of each peer in the order of time.

    \b
    Examples:
      peerstore timeline
      peerstore timeline sim-till-7 --since 2026-07-08T12:00:00Z --until 2026-07-08T14:00:00Z
      peerstore timeline sim-till-3 --observer sim-till-3 --csv
    """
    with open_store() as store:
        key = find_peer(store, peer)
        found = store.timeline(
            peer=key,
            since=since,
            until=until,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
        )
        if format is not None:
            print_rows(found, format, STRETCHES.fields)
        elif key is None:
            groups = (list(each) for _, each in groupby(found, lambda stretch: stretch.peer_key))
            _print_charts(groups, Names(store), store.peer_keys())
        else:
            _print_timeline(key, list(found), Names(store))


@main.command(short_help="List when peers were first and last seen, and by whom.")
@peer_argument
@at_option
@output_options
@view_options
def seen(
    *,
    peer: str | None,
    moment: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when PEER (or every peer) was first and last seen: by anyone, then by each observer.

    "confirmed" is the last observation that held the peer, "until" the end of its last presence; the last link is that
    of the peer with the observer itself. With --at, as of that moment.

    \b
    Examples:
      peerstore seen sim-till-7
      peerstore seen sim-manager-tablet --at 2026-07-08T17:00:00Z
      peerstore seen --ndjson
    """
    with open_store() as store:
        key = find_peer(store, peer)
        found = store.seen(
            peer=key,
            at=moment,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
        )
        print_listing(found, SEEN if key is None else SEEN_OF_ONE, format, store)


def _print_uptimes(found: Iterator[Uptime], names: Names) -> None:
    first = next(found, None)
    if first is None:
        click.echo(NOBODY_SEEN, err=True)
        return
    sys.stdout.write(f"{show_time(first.since)} to {show_time(first.until)}\n\n")
    print_table(chain([first], found), _uptime_columns(names))
    if first.unobserved:
        click.echo(
            f"Warning: for {format_duration(first.unobserved)} nobody was watching; that time counts neither as "
            "present nor as absent",
            err=True,
        )


class ChartLine(NamedTuple):
    """A line of the chart: a peer, its states, and time known present by time known."""

    peer_key: str
    chart: str
    share: float | None


def _print_charts(groups: Iterator[list[Stretch]], names: Names, keys: Iterable[str]) -> None:
    """A line for each of the peers, which are some of ``keys``."""
    first = next(groups, None)
    if first is None:
        click.echo(NOBODY_SEEN, err=True)
        return
    since, until = first[0].start, first[-1].end
    over = scale(micros(since), micros(until), _room(names, keys))
    cell = (until - since) / over.cells
    sys.stdout.write(f"{show_time(since)} to {show_time(until)}, {format_duration(cell)} a character\n\n")
    shown = marks()
    print_table(_lines(chain([first], groups), over, shown), _chart_columns(names, axis(over)))
    sys.stdout.write(f"\n{shown.legend()}\n")


def _print_timeline(key: str, stretches: list[Stretch], names: Names) -> None:
    _print_charts(iter([stretches] if stretches else []), names, [key])
    if stretches:
        print_title("Stretches")
        print_table(stretches, _stretch_columns(names)[1:])


def _room(names: Names, keys: Iterable[str]) -> int:
    """The columns that are left for the chart beside names and shares."""
    widest = max((display_width(names.name(key)) for key in keys), default=0)
    return screen_width() - max(min(widest, WIDEST_NAME), len("peer")) - ROOM_FOR_A_SHARE - 2 * BETWEEN_COLUMNS


def _lines(groups: Iterable[list[Stretch]], over: Scale, shown: Marks) -> Iterator[ChartLine]:
    for stretches in groups:
        known = sum((each.duration for each in stretches if each.state != "unobserved"), timedelta())
        present = sum((each.duration for each in stretches if each.state == "present"), timedelta())
        yield ChartLine(stretches[0].peer_key, chart(stretches, over, shown), present / known if known else None)


def show_share(share: float | None) -> str:
    """A share of time in percent; only what is all or nothing reads as 100 or 0.

    >>> [show_share(share) for share in (None, 0.0, 0.0001, 0.5, 0.99999, 1.0)]
    ['unknown', '0 %', '0.1 %', '50.0 %', '99.9 %', '100 %']
    """
    if share is None:
        return "unknown"
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{min(max(100 * share, 0.1), 99.9):.1f} %"


def _uptime_columns(names: Names) -> list[Column[Uptime]]:
    return [
        Column("peer", lambda row: names.name(row.peer_key), keep="both"),
        Column("uptime", lambda row: show_share(row.share), keep="whole"),
        Column("present", lambda row: format_duration(row.present), keep="whole"),
        Column("absent", lambda row: format_duration(row.absent), keep="whole"),
        Column("unobserved", lambda row: format_duration(row.unobserved) if row.unobserved else "", IF_TOLD),
        Column("sessions", lambda row: str(row.sessions), 1),
        Column("longest absence", lambda row: format_duration(row.longest_absence), 2, keep="whole"),
    ]


def _chart_columns(names: Names, times: str) -> list[Column[ChartLine]]:
    return [
        Column("peer", lambda line: names.name(line.peer_key), keep="both"),
        Column(times, lambda line: line.chart, keep="whole"),
        Column("uptime", lambda line: show_share(line.share), keep="whole"),
    ]


def _stretch_columns(names: Names) -> list[Column[Stretch]]:
    return [
        Column("peer", lambda stretch: names.name(stretch.peer_key), keep="both"),
        Column("state", lambda stretch: stretch.state, keep="whole"),
        Column("start", lambda stretch: show_time(stretch.start), keep="whole"),
        Column("end", lambda stretch: show_time(stretch.end), keep="whole"),
        Column("lasted", lambda stretch: format_duration(stretch.duration), keep="whole"),
        Column("ended by", lambda stretch: show_text(stretch.end_reason), IF_TOLD, keep="whole"),
    ]


def _seen_columns(names: Names) -> list[Column[Seen]]:
    def last_link(row: Seen) -> str:
        if row.link_since is None:
            return ""
        return "holds" if row.link_until is None else show_time(row.link_until)

    return [
        Column("peer", lambda row: names.name(row.peer_key), keep="both"),
        Column("by", lambda row: "anyone" if row.observer is None else names.name(row.observer), keep="both"),
        Column("first seen", lambda row: show_time(row.first_seen), 4, keep="whole"),
        Column("confirmed", lambda row: show_time(row.last_confirmed), 2, keep="whole"),
        Column("until", lambda row: show_time(row.present_until) or "still present", keep="whole"),
        Column("linked until", last_link, 1, keep="whole"),
        Column("linked since", lambda row: show_time(row.link_since), 5, keep="whole"),
        Column("linked to", lambda row: names.name(row.linked_to), 3, keep="both"),
    ]


UPTIMES: Listing[Uptime] = Listing(
    (
        *("peer_key", "since", "until", "present_seconds", "absent_seconds", "unobserved_seconds"),
        *("percent", "sessions", "longest_absence_seconds"),
    ),
    _uptime_columns,
    NOBODY_SEEN,
)
STRETCHES: Listing[Stretch] = Listing(
    ("peer_key", "state", "start", "end", "duration_seconds", "end_reason"), _stretch_columns, NOBODY_SEEN
)
SEEN: Listing[Seen] = Listing(
    (
        *("peer_key", "observer", "first_seen", "last_confirmed", "present_until"),
        *("link_since", "link_until", "linked_to"),
    ),
    _seen_columns,
    "never seen until then",
)
SEEN_OF_ONE: Listing[Seen] = replace(SEEN, columns=lambda names: _seen_columns(names)[1:])
