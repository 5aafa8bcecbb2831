"""``disagreements``: where the views of several observers do not fit together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import get_args

import click

from peerstore.answers.disagreements import Disagreement, DisagreementKind, Disagreements
from peerstore.answers.watching import CoverageGap
from peerstore.cli.moments import unwatched, warn_of_old_states
from peerstore.cli.options import (
    DURATION,
    at_option,
    find_observer,
    find_peer,
    open_store,
    output_options,
    peer_argument,
    view_options,
    window_options,
)
from peerstore.cli.output import Format, print_document
from peerstore.cli.people import (
    IF_TOLD,
    Column,
    Listing,
    Names,
    print_listing,
    show_text,
    show_time,
    show_value,
)
from peerstore.cli.program import main
from peerstore.times import format_duration

SHOWN_OBSERVERS = 3


@main.command(short_help="List where the views of observers did not fit together.")
@peer_argument
@at_option
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(get_args(DisagreementKind)),
    help="Only disagreements of this kind; may be given more than once.",
)
@click.option("--longer-than", type=DURATION, metavar="DURATION", help="Only those that held for longer than this.")
@window_options
@output_options
@view_options
def disagreements(
    *,
    peer: str | None,
    moment: datetime | None,
    kinds: tuple[DisagreementKind, ...],
    longer_than: timedelta | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List where the views of watching observers did not fit together, and for how long: about PEER and its
    connections, or about all. With --at, those of one moment.

    \b
    Kinds:
      peer        some saw the peer, others did not
      attribute   several saw the peer, with different values
      connection  some saw the connection, others did not
      listing     one end listed the connection, the other was there and did not

    An observer is named on the side that it took for longest. Islands see different things, and rightly so; and news
    takes a while: --longer-than leaves out what was settled soon.

    \b
    Examples:
      peerstore disagreements --at 2026-07-08T12:20:20Z
      peerstore disagreements sim-till-7 --since 2026-07-08T12:00:00Z --until 2026-07-08T13:00:00Z
      peerstore disagreements --longer-than 1m --kind listing
      peerstore disagreements --since 2026-07-08T14:00:00Z --until 2026-07-08T14:15:00Z --longer-than 5s --json
    """
    if moment is not None and (since is not None or until is not None or longer_than is not None):
        raise click.UsageError("give either --at for one moment, or --since, --until and --longer-than for a window")
    with open_store() as store:
        key, watcher, wanted = find_peer(store, peer), find_observer(store, observer), kinds or None
        if moment is not None:
            answer = store.disagreements_at(moment, key, wanted, watcher, known_at, max_silence)
            if format == "json":
                print_document(answer.to_dict())
                return
            if format is None:
                _tell_who_watched(answer, Names(store))
            if format is not None or answer.watched:
                print_listing(answer, OF_A_MOMENT, format, store)
            return
        if format is None:
            _warn_of_unobserved(store.coverage_gaps(0, "nobody", watcher, since, until, known_at, max_silence))
        shortest = longer_than or 0
        found = store.disagreements(since, until, key, wanted, shortest, watcher, known_at, max_silence)
        print_listing(found, OVER_TIME, format, store)


def _warn_of_unobserved(gaps: Iterable[CoverageGap]) -> None:
    dark = sum((gap.duration for gap in gaps if gap.duration is not None), timedelta(0))
    if dark:
        click.echo(
            f"Warning: nobody was watching for {format_duration(dark)} of that time: what was then is unknown", err=True
        )


def _tell_who_watched(answer: Disagreements, names: Names) -> None:
    watching = [state.observer for state in answer.observers if state.watching]
    warn_of_old_states(answer.observers, names)
    if not watching:
        click.echo(unwatched(answer.at, answer.observers, names), err=True)
    elif len(watching) == 1:
        click.echo(f"Warning: {names.name(watching[0])} alone was watching: there was no other view", err=True)


def _about_columns(names: Names) -> list[Column[Disagreement]]:
    def about(each: Disagreement) -> str:
        return names.name(each.peer_key) if each.connection is None else names.connection(each.connection)

    return [
        Column("about", lambda each: each.kind, keep="whole"),
        Column("of", about, keep="both", readable=24),
        Column(
            "what",
            lambda each: show_text(each.connection.type if each.connection else each.path),
            1,
            keep="end",
            readable=20,
        ),
        Column("seen by", lambda each: _seen(each, names), readable=24),
        Column("not by", lambda each: _few(each.not_seen_by, names), IF_TOLD),
    ]


def _span_columns(names: Names) -> list[Column[Disagreement]]:
    return [
        Column("start", lambda each: show_time(each.start), keep="whole"),
        Column("lasted", _lasted, keep="whole"),
        *_about_columns(names),
        Column("ended by", lambda each: show_text(each.end_reason), 2, keep="whole"),
        Column("remarks", lambda each: "began before" if each.held_before else "", IF_TOLD, keep="whole"),
    ]


def _lasted(each: Disagreement) -> str:
    return "still held" if each.duration is None else format_duration(each.duration)


def _seen(each: Disagreement, names: Names) -> str:
    if each.kind == "attribute":
        return ", ".join(f"{show_value(value)} ({_few(observers, names)})" for value, observers in each.values)
    if each.kind == "listing":
        return f"{_few(each.seen_by, names)}: by {names.name(each.listed_by)} alone"
    return _few(each.seen_by, names)


def _few(keys: Sequence[str], names: Names) -> str:
    shown = ", ".join(names.name(key) for key in keys[:SHOWN_OBSERVERS])
    return f"{shown} and {len(keys) - SHOWN_OBSERVERS} more" if len(keys) > SHOWN_OBSERVERS else shown


_ABOUT = ("kind", "peer_key", "peer1", "peer2", "type", "id", "path", "values", "listed_by", "seen_by", "not_seen_by")
OF_A_MOMENT = Listing(_ABOUT, _about_columns, "no disagreement")
OVER_TIME = Listing(
    ("start", "end", "duration_seconds", "held_before", "end_reason", *_ABOUT), _span_columns, "no disagreement"
)
