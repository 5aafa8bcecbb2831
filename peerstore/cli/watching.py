"""``coverage`` and ``skew``: when observers were watching, and how their clocks differ."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain

import click

from peerstore.answers.watching import ClockSkew, Coverage, CoverageGap, CoverageShare
from peerstore.cli.options import (
    DURATION,
    database_option_again,
    find_observer,
    known_at_option,
    max_silence_option,
    now,
    open_store,
    output_options,
    view_options,
    window_options,
)
from peerstore.cli.output import Format
from peerstore.cli.people import Column, Listing, Names, print_listing, print_table, print_title, show_text, show_time
from peerstore.cli.program import main
from peerstore.times import format_duration

NOBODY, ANYBODY = "(nobody)", "(anybody)"


@main.command(short_help="List when observers were watching, or were not.")
@click.argument("watcher", metavar="[OBSERVER]", required=False)
@click.option("--gaps", is_flag=True, help="When they were not watching, and when nobody was.")
@click.option(
    "--longer-than",
    type=DURATION,
    metavar="DURATION",
    help="With --gaps: only gaps longer than this; and where an observer said nothing for longer, although it still "
    "counted as watching (quiet).",
)
@click.option("--totals", is_flag=True, help="Only how much of the window each watched, and anybody.")
@window_options
@output_options
@view_options
def coverage(
    *,
    watcher: str | None,
    gaps: bool,
    longer_than: timedelta | None,
    totals: bool,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when OBSERVER (or every observer) was watching, and how much of the window that makes.

    Where --since or --until is left out, totals are those from the first observation to the last one.

    \b
    Examples:
      peerstore coverage
      peerstore coverage sim-till-3
      peerstore coverage --gaps
      peerstore coverage --gaps --longer-than 30s --since 2026-07-08T14:00:00Z --until 2026-07-08T15:00:00Z
      peerstore coverage --totals --json
    """
    if watcher is not None and observer is not None:
        raise click.UsageError("name the observer once: either by its place or with --observer")
    if gaps and totals:
        raise click.UsageError("give either --gaps or --totals")
    if longer_than is not None and not gaps:
        raise click.UsageError("--longer-than goes with --gaps")
    with open_store() as store:
        key = find_observer(store, watcher if observer is None else observer)
        if gaps:
            found = store.coverage_gaps(longer_than or 0, None, key, since, until, known_at, max_silence)
            print_listing(found, GAPS, format, store)
            return
        shares = store.coverage_shares(key, since, until, known_at, max_silence)
        if totals:
            print_listing(shares, SHARES, format, store)
            return
        print_listing(store.coverage(key, since, until, known_at, max_silence), SPANS, format, store)
        first = next(shares, None) if format is None else None
        if first is not None:
            print_title(f"Of the time from {show_time(first.since)} to {show_time(first.until)}")
            print_table(chain([first], shares), SHARES.columns(Names(store)))


@main.command(short_help="Estimate by how much the observers' clocks differ.")
@click.argument("reference", metavar="[OBSERVER]", required=False)
@click.option(
    "--within",
    type=DURATION,
    metavar="DURATION",
    default="120s",
    show_default=True,
    help="How far apart two reports of one change may be.",
)
@window_options
@output_options
@known_at_option
@max_silence_option
@database_option_again
def skew(
    *,
    reference: str | None,
    within: timedelta,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Estimate by how much the observers' clocks differ, from their reports of the same changes: of each pair, or of
    each other observer against OBSERVER.

    A positive offset: the first one's clock is ahead, or its reports come later. Delays are in it too: news takes up to
    a minute over several hops. Without --since, of the last six hours of the history.

    \b
    Examples:
      peerstore skew
      peerstore skew sim-office-1 --since 2026-07-08T08:00:00Z --until 2026-07-08T19:00:00Z
      peerstore skew --within 10m --json
    """
    with open_store() as store:
        found = list(
            store.clock_skew(find_observer(store, reference), within, since, until, known_at, max_silence),
        )
        if found and format is None:
            click.echo(
                "Note: the time that news takes through the mesh (up to a minute over several hops) is in the offsets "
                "too: one of few seconds, or not far beyond the spread, is no evidence of a wrong clock",
                err=True,
            )
        print_listing(found, SKEWS, format, store)


def _lasted(item: Coverage | CoverageGap) -> str:
    return "" if item.end is None else format_duration(item.end - item.start)


def _span_columns(names: Names) -> list[Column[Coverage]]:
    moment = now()

    def ended(span: Coverage) -> bool:
        return span.end is not None and span.end <= moment

    return [
        Column("observer", lambda span: names.name(span.observer), keep="both"),
        Column("start", lambda span: show_time(span.start), keep="whole"),
        Column("end", lambda span: show_time(span.end) if ended(span) else "still watching", keep="whole"),
        Column("lasted", lambda span: _lasted(span) if ended(span) else "", 2, keep="whole"),
        Column("ended by", lambda span: show_text(span.end_reason) if ended(span) else "", 1, keep="whole"),
        Column("observations", lambda span: str(span.observations), 3),
        Column("longest silence", lambda span: _duration(span.longest_silence), 4),
    ]


def _gap_columns(names: Names) -> list[Column[CoverageGap]]:
    return [
        Column("observer", lambda gap: NOBODY if gap.observer is None else names.name(gap.observer), keep="both"),
        Column("start", lambda gap: show_time(gap.start), keep="whole"),
        Column("end", lambda gap: show_time(gap.end) or "not back yet", keep="whole"),
        Column("lasted", _lasted, 1, keep="whole"),
        Column("reason", lambda gap: show_text(gap.reason), keep="whole"),
    ]


def _share_columns(names: Names) -> list[Column[CoverageShare]]:
    return [
        Column("observer", lambda each: ANYBODY if each.observer is None else names.name(each.observer), keep="both"),
        Column("watched", lambda each: format_duration(each.watched), keep="whole"),
        Column("unobserved", lambda each: format_duration(each.unobserved), keep="whole"),
        Column("share", lambda each: f"{each.share:.1%}", keep="whole"),
        Column("spans", lambda each: str(each.spans), 1),
    ]


def _skew_columns(names: Names) -> list[Column[ClockSkew]]:
    return [
        Column("observer", lambda each: names.name(each.observer), keep="both"),
        Column("against", lambda each: names.name(each.reference), keep="both"),
        Column("offset", lambda each: _signed(each.offset), keep="whole"),
        Column("spread", lambda each: format_duration(each.spread), keep="whole"),
        Column("samples", lambda each: str(each.samples), keep="whole"),
    ]


def _duration(duration: timedelta | None) -> str:
    return "" if duration is None else format_duration(duration)


def _signed(duration: timedelta) -> str:
    return f"{'+' if duration > timedelta(0) else ''}{format_duration(duration)}"


SPANS = Listing(
    (
        *("observer", "start", "end", "duration_seconds", "end_reason"),
        *("observations", "longest_silence_seconds"),
    ),
    _span_columns,
    "nobody was watching",
)
GAPS = Listing(("observer", "start", "end", "duration_seconds", "reason"), _gap_columns, "no gaps")
SHARES = Listing(
    ("observer", "since", "until", "watched_seconds", "unobserved_seconds", "share", "spans"),
    _share_columns,
    "there is no observation in that time",
)
SKEWS = Listing(
    ("observer", "reference", "offset_seconds", "spread_seconds", "samples"),
    _skew_columns,
    "no two observers reported three of the same changes",
)
