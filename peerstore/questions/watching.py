"""When observers were watching, when they were not, and how much of a window that makes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.answers.watching import Coverage, CoverageEnd, CoverageGap, CoverageShare, GapReason
from peerstore.coverage import Scope, Span, is_watching, last_watching, measured_window, spans, watched
from peerstore.states import DAY, Position, at_end_of, last_logged, logged_between
from peerstore.tables import observation_log
from peerstore.times import LATEST, instant

_LONGER = 8  # each look back goes so many times as far as the one before it

Ended = tuple[int, CoverageEnd]
"""When an observer ceased to watch, and why."""


def coverage(connection: Connection, scope: Scope, since: int | None, until: int | None) -> Iterator[Coverage]:
    """The spans of watching that overlap ``[since, until)``, whole, observer by observer."""
    since = scope.begin(since)
    after = scope.before_all if since is None else since
    for key, number in scope.observers.items():
        for span in _whole_spans(connection, number, scope, after, LATEST + 1 if until is None else until):
            yield _of_span(connection, scope, key, number, span)


def _whole_spans(connection: Connection, number: int, scope: Scope, after: int, until: int) -> Iterator[Span]:
    for span in spans(connection, number, scope, after, until):
        if span.start > after:
            yield span
        else:
            yield span._replace(start=_true_start(connection, number, scope, after))


def _true_start(connection: Connection, number: int, scope: Scope, at: int) -> int:
    """Since when an observer that is watching at an instant has been; not from before the horizon."""
    step = DAY
    while True:
        begin = max(at - step, scope.before_all)
        *_, last = spans(connection, number, scope, begin, at + 1)
        if last.start > begin or begin == scope.before_all:
            return scope.told(last.start)
        step *= _LONGER


_log = observation_log.c
_STEPS = sa.select(
    _log.observed_at,
    _log.stopped,
    (_log.observed_at - sa.func.lag(_log.observed_at).over(order_by=(_log.observed_at, _log.sequence))).label("step"),
).where(
    _log.observer_id == sa.bindparam("observer"),
    _log.observed_at >= sa.bindparam("start"),
    _log.observed_at <= sa.bindparam("last"),
)
_KNOWN_STEPS = _STEPS.where(_log.recorded_at <= sa.bindparam("known_at"))


def _counted(steps: sa.Subquery) -> sa.Select[int, Any]:
    graphs = sa.and_(steps.c.stopped == 0, steps.c.observed_at < sa.bindparam("end", type_=sa.BigInteger))
    return sa.select(sa.func.count().filter(graphs), sa.func.max(steps.c.step)).select_from(steps)


_COUNTED, _KNOWN_COUNTED = _counted(_STEPS.subquery("steps")), _counted(_KNOWN_STEPS.subquery("steps"))


def _of_span(connection: Connection, scope: Scope, key: str, number: int, span: Span) -> Coverage:
    end = LATEST + 1 if span.end is None else span.end
    last = end if span.reason == "stopped" else end - 1
    values = {"observer": number, "start": span.start, "last": last, "end": end, "known_at": scope.known_at}
    if scope.known_at is None:
        del values["known_at"]
    count, longest = connection.execute(_COUNTED if scope.known_at is None else _KNOWN_COUNTED, values).one()
    return Coverage(
        key,
        instant(span.start),
        None if span.end is None else instant(span.end),
        span.reason,
        count,
        None if longest is None else timedelta(microseconds=longest),
    )


def gaps(
    connection: Connection,
    scope: Scope,
    since: int | None,
    until: int | None,
    now: int,
    longer_than: int,
    *,
    of_each: bool,
    of_all: bool,
) -> Iterator[CoverageGap]:
    """The gaps of each observer that overlap ``[since, until)``, whole; then those stretches of the measured window in
    which nobody was watching."""
    since = scope.begin(since)
    asked = scope.before_all if since is None else since, now if until is None else until
    for key, number in scope.observers.items() if of_each else ():
        for gap in _gaps_of(connection, scope, key, number, asked, longer_than):
            if gap.duration is None or gap.duration > timedelta(microseconds=longer_than):
                yield gap
    window = measured_window(connection, scope, since, until) if of_all else None
    for start, end, reason in () if window is None else _unwatched(connection, scope, *window):
        if end - start > longer_than:
            yield CoverageGap(None, instant(start), instant(end), reason)


def _gaps_of(
    connection: Connection, scope: Scope, key: str, number: int, window: tuple[int, int], longer_than: int
) -> Iterator[CoverageGap]:
    since, until = window
    if since >= until:
        return
    ended = _ended_before(connection, scope, number, since)
    for span in _whole_spans(connection, number, scope, since, until):
        if ended is not None:
            yield _gap(key, ended, span.start)
        if longer_than:
            yield from _quiet(connection, scope, key, number, span, window, longer_than)
        ended = None if span.end is None or span.reason is None else (span.end, span.reason)
    if ended is not None and ended[0] < until:
        following = next(spans(connection, number, scope, until, LATEST + 1), None)
        yield _gap(key, ended, None if following is None else following.start)


def _gap(key: str, ended: Ended, end: int | None) -> CoverageGap:
    return CoverageGap(key, instant(ended[0]), None if end is None else instant(end), ended[1])


def _ended_before(connection: Connection, scope: Scope, number: int, at: int) -> Ended | None:
    """Where the last span of watching before an instant ended, if it has: ``None`` if it goes on, or there was
    none."""
    if is_watching(last_logged(connection, number, at_end_of(at), scope.known_at), at, scope):
        return None
    last = last_watching(connection, number, scope, at)
    if last is None:
        return None
    logged = last_logged(connection, number, at_end_of(last + 1), scope.known_at)
    stopped = logged is not None and logged.stopped and logged.observed_at == last + 1
    return last + 1, "stopped" if stopped else "silence"


def _quiet(
    connection: Connection,
    scope: Scope,
    key: str,
    number: int,
    span: Span,
    window: tuple[int, int],
    longer_than: int,
) -> Iterator[CoverageGap]:
    """The steps between observations of a span that follow each other, if longer than that and in the window."""
    since, until = window
    begin = span.start
    if begin <= since:  # it may have begun before the horizon
        logged = last_logged(connection, number, at_end_of(since), scope.known_at)
        begin = begin if logged is None else logged.observed_at
    last = LATEST if span.end is None else span.end - (span.reason != "stopped")
    rows = logged_between(connection, number, at_end_of(begin - 1), Position(last, at_end_of(last).sequence))
    known = (row.observed_at for row in rows if scope.known_at is None or row.recorded_at <= scope.known_at)
    for start, end in pairwise(known):
        if start >= until:
            return
        if end - start > longer_than:
            yield CoverageGap(key, instant(start), instant(end), "quiet")


def _unwatched(
    connection: Connection, scope: Scope, since: int, until: int
) -> Iterator[tuple[int, int, GapReason | None]]:
    """The stretches of a window over which nobody of a scope was watching, each with the reason why the last one
    ceased to (a stop marker, if there is one at that instant)."""
    streams = [spans(connection, number, scope, since, until) for number in scope.observers.values()]
    covered: int = since
    reason: CoverageEnd | None = None
    for span in heapq.merge(*streams, key=lambda each: each.start):
        if span.start > covered:
            yield covered, span.start, reason
        end = until if span.end is None else min(span.end, until)
        if end > covered:
            covered, reason = end, span.reason
        elif end == covered and reason is not None and span.reason == "stopped":
            reason = "stopped"
    if covered < until:
        yield covered, until, reason


def shares(connection: Connection, scope: Scope, since: int | None, until: int | None) -> Iterator[CoverageShare]:
    """How much of the measured window each observer watched, then how much anybody did."""
    window = measured_window(connection, scope, since, until)
    if window is None:
        return
    begin, end = window
    for key, number in scope.observers.items():
        found = [
            (max(span.start, begin), end if span.end is None else min(span.end, end))
            for span in spans(connection, number, scope, begin, end)
        ]
        yield _share(key, window, found)
    yield _share(None, window, list(watched(connection, scope, begin, end)))


def _share(key: str | None, window: tuple[int, int], found: list[tuple[int, int]]) -> CoverageShare:
    total = sum(end - start for start, end in found)
    return CoverageShare(key, instant(window[0]), instant(window[1]), timedelta(microseconds=total), len(found))
