"""``replay``: what an observer saw, given again in the rhythm in which it saw it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import click

from peerstore.answers.replaying import ObservedGraph
from peerstore.cli.options import (
    DURATION,
    database_option_again,
    find_observer,
    known_at_option,
    max_silence_option,
    open_store,
    window_options,
)
from peerstore.cli.people import Names, plural, show_time
from peerstore.cli.program import main
from peerstore.pacing import in_pieces, paced
from peerstore.times import format_duration

if TYPE_CHECKING:
    from peerstore.store import PeerStore

NO_WAITING = math.inf
MOST_SECONDS = 8e13  # that a timedelta can hold


class Speed(click.ParamType[float]):
    """How many seconds of the history pass in one: a number above 0, or "max"."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The speed, or a usage error that says what is accepted."""
        if value == "max":
            return NO_WAITING
        try:
            speed = float(value)
        except ValueError:
            speed = math.nan
        if not 0 < speed < math.inf:
            self.fail(
                f"{value!r} is no speed: give a number above 0, as 60 for an hour in a minute, or max", param, ctx
            )
        return speed


@main.command(short_help="Give again what an observer saw, in real time or faster, as Ditto's JSON.")
@window_options
@click.option("--speed", type=Speed(), metavar="X|max", default="1", show_default=True, help="So many times as fast.")
@click.option("--longest-wait", type=DURATION, metavar="DURATION", help="Cut every wait that would be longer.")
@click.option(
    "--shape",
    type=click.Choice(["raw-v3", "js-5"]),
    default="raw-v3",
    show_default=True,
    help="As the core of the SDK gives a graph, or as its JavaScript version 5.",
)
@click.option(
    "--envelope",
    is_flag=True,
    help="Every observation as `peerstore record` takes it, also those that changed nothing, and stops.",
)
@click.option("--observer", metavar="KEY", help="Whose graphs [default: the only one that has any in the window].")
@known_at_option
@max_silence_option
@database_option_again
def replay(
    *,
    since: datetime | None,
    until: datetime | None,
    speed: float,
    longest_wait: timedelta | None,
    shape: Literal["raw-v3", "js-5"],
    envelope: bool,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Give again what an observer saw: its presence graphs as Ditto's own JSON, a line each, when their time has come.

    What an app was given that observed presence: the graph in force when the window begins, then each that differs from
    the one before. Where the observer was not watching nothing comes. The history is read a little at a time, so that a
    long replay holds up nobody.

    \b
    Examples:
      peerstore replay --since "1 hour ago" --speed 60
      peerstore replay --observer sim-kitchen-1 --speed max --shape js-5
      peerstore replay --observer sim-kitchen-1 --speed 36000 --longest-wait 1s
      peerstore replay --observer sim-kitchen-1 --speed max --envelope | peerstore --db other.db record -
    """
    with open_store() as store:
        key = find_observer(store, observer)

        def ask(begin: datetime | None, whose: str | None) -> Iterator[ObservedGraph]:
            return store.graphs(begin, until, whose, known_at, max_silence, shape, every=envelope)

        in_time = speed < NO_WAITING
        graphs = in_pieces(ask, since, key) if in_time else ask(since, key)
        first = next(graphs, None)
        if first is None:
            click.echo("there is no graph to replay: nobody was watching", err=True)
            return
        if sys.stderr.isatty():
            _say(store, first, since, until, known_at, None if not in_time else (speed, longest_wait))
        lines = _again(first, graphs)
        for each in paced(lines, speed, time.sleep, time.monotonic, since, longest_wait) if in_time else lines:
            sys.stdout.write(f"{each.to_json() if envelope else each.text}\n")
            sys.stdout.flush()


def _again(first: ObservedGraph, rest: Iterator[ObservedGraph]) -> Iterator[ObservedGraph]:
    yield first
    yield from rest


def _say(
    store: PeerStore,
    first: ObservedGraph,
    since: datetime | None,
    until: datetime | None,
    known_at: datetime | None,
    rhythm: tuple[float, timedelta | None] | None,
) -> None:
    """Tell whoever waits at a terminal what comes, and how long it will take."""
    begin = first.observed_at if since is None else max(first.observed_at, since)
    count, end, waits, before = 0, begin, 0.0, begin
    for each in store.observation_log(since, until, first.observer, known_at):
        count, end = count + 1, max(each.observed_at, begin)
        if rhythm:
            speed, longest = rhythm
            waits += min(
                (end - before).total_seconds() / speed, math.inf if longest is None else longest.total_seconds()
            )
        before = end
    took = f", in at most {format_duration(timedelta(seconds=min(waits, MOST_SECONDS)))}" if rhythm else ""
    what = f"{show_time(begin)} to {show_time(end)}: {plural(count, 'observation')}"
    click.echo(f"replaying what {Names(store).name(first.observer)} saw from {what}{took}", err=True)
