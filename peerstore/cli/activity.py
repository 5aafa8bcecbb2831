"""``activity``: how much changed, per time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta

import click

from peerstore.answers.activity import Activity
from peerstore.cli.history import OF_OBSERVERS
from peerstore.cli.options import (
    DURATION,
    find_observer,
    find_peer,
    open_store,
    output_options,
    peer_argument,
    view_options,
    window_options,
)
from peerstore.cli.output import Format
from peerstore.cli.people import Column, Listing, Names, print_listing, show_time
from peerstore.cli.program import main
from peerstore.times import format_duration

KINDS = ("appeared", "disappeared", "connected", "disconnected", "changed")


@main.command(short_help="Count what changed per minute, or per any time.")
@peer_argument
@click.option(
    "--every", type=DURATION, metavar="DURATION", default="1m", show_default=True, help="How long each bucket is."
)
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the N busiest buckets, the busiest first.")
@window_options
@output_options
@view_options
def activity(
    *,
    peer: str | None,
    every: timedelta,
    top: int | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Count how much changed per minute (or --every), of all or of PEER and its connections.

    Buckets are aligned to whole minutes, hours, days of UTC; without --since and --until, they reach from the first
    observation to the last. Those in which nobody was watching for some time say so.

    \b
    Examples:
      peerstore activity --every 1h
      peerstore activity --top 5
      peerstore activity sim-till-5 --since 2026-07-08T10:15:00Z --until 2026-07-08T10:35:00Z
      peerstore activity --every 10m --csv
    """
    with open_store() as store:
        found = store.activity(
            every,
            since=since,
            until=until,
            peer=find_peer(store, peer),
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
        )
        if top is not None:
            found = iter(heapq.nlargest(top, found, key=lambda bucket: bucket.total))
        print_listing(found, ACTIVITY, format, store)


def _columns(_: Names) -> list[Column[Activity]]:
    def number(kind: str) -> Callable[[Activity], str]:
        return lambda bucket: str(bucket.counts[kind] or "")

    return [
        Column("from", lambda bucket: show_time(bucket.start), keep="whole"),
        Column("changes", lambda bucket: str(bucket.total)),
        *(Column(kind, number(kind), 1) for kind in KINDS),
        Column("observers", lambda bucket: str(sum(bucket.counts[kind] for kind in OF_OBSERVERS) or ""), 2),
        Column("unobserved", lambda bucket: format_duration(bucket.unobserved) if bucket.unobserved else "", 1),
    ]


ACTIVITY: Listing[Activity] = Listing(
    ("start", "end", "total", *KINDS, *OF_OBSERVERS, "known_seconds", "unobserved_seconds"),
    _columns,
    "there is no observation in that window",
)
