"""When an observer was watching.

An observer watches from an observation on; until a stop marker, or until it has been silent for longer than its limit:
the question's, else the one that its observation in force declares, else none. Silent for *longer* than the limit:
watching still holds at the limit, so a span ends one microsecond after it. (Rule 2 of the time model.)
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.retention import Retention
from peerstore.states import AFTER_ALL, Logged, at_end_of, before_lead_in, last_logged, logged_between
from peerstore.tables import observation_log
from peerstore.times import LATEST


class Scope(NamedTuple):
    """Of whom and how a question is asked: observers by key, as known when, the question's own limit of silence, and
    how much of the history is kept."""

    observers: dict[str, int]
    known_at: int | None = None
    max_silence: int | None = None
    retention: Retention = Retention()

    @property
    def before_all(self) -> int:
        """The instant just before the history begins."""
        return self.retention.before_all

    @property
    def opening(self) -> int:
        """The instant after which a walk over all of the history tells what happened; what is there at this instant was
        there from the horizon on, and if the history was not pruned, nothing is."""
        return self.retention.before_all if self.retention.horizon is None else self.retention.horizon

    def begin(self, since: int | None) -> int | None:
        """Where a window begins: at ``since``; if that is open, at the horizon (``None``: there is none)."""
        return self.retention.horizon if since is None else since

    def told(self, beginning: int) -> int:
        """A beginning as it is told: what was there already is told from the horizon on."""
        return max(beginning, self.before_all + 1)


class Span(NamedTuple):
    """An observer was watching over ``[start, end)``; ``end`` ``None``: it still holds."""

    start: int
    end: int | None
    reason: Literal["stopped", "silence"] | None


def silence_end(logged: Logged, scope: Scope) -> int | None:
    """The first instant at which silence since this observation would be too long; ``None``: never."""
    limit = logged.max_silence if scope.max_silence is None else scope.max_silence
    end = None if limit is None else logged.observed_at + limit + 1
    return None if end is None or end > LATEST else end


def is_watching(logged: Logged | None, moment: int, scope: Scope) -> bool:
    """Whether an observer with this observation in force is watching at a moment."""
    if logged is None or logged.stopped:
        return False
    end = silence_end(logged, scope)
    return end is None or moment < end


def spans(connection: Connection, observer_id: int, scope: Scope, after: int, until: int) -> Iterator[Span]:
    """The spans of watching that overlap ``(after, until)``, in order. A span that began at or before ``after`` is
    given with ``after`` as its start.

    By the stored ``gap_from`` this costs the number of gaps; a question with its own limit, or as known at some time,
    reads the log.
    """
    assert after >= scope.before_all, "what lies before the horizon is no history"
    opening = last_logged(connection, observer_id, at_end_of(after), scope.known_at)
    if scope.known_at is None and scope.max_silence is None:
        found = _spans_by_gaps(connection, observer_id, scope, opening, after)
    else:
        logged = logged_between(connection, observer_id, at_end_of(after), AFTER_ALL)
        found = _spans_by_log(_known(logged, scope), opening, scope, after)
    for span in found:
        if span.start >= until:
            return
        if span.end is None or span.end > span.start:
            yield span


def _known(logged: Iterable[Logged], scope: Scope) -> Iterator[Logged]:
    return (each for each in logged if scope.known_at is None or each.recorded_at <= scope.known_at)


def _spans_by_log(logged: Iterable[Logged], opening: Logged | None, scope: Scope, after: int) -> Iterator[Span]:
    start = after if is_watching(opening, after, scope) else None
    last = opening
    for moment, group in groupby(logged, key=lambda each: each.observed_at):
        *_, final = group  # of observations of one instant the last one counts
        end = silence_end(last, scope) if last is not None else None
        if start is not None and end is not None and end < moment:
            yield Span(start, end, "silence")
            start = None
        if final.stopped and start is not None:
            yield Span(start, moment, "stopped")
            start = None
        elif not final.stopped and start is None:
            start = moment
        last = final
    if start is not None and last is not None:
        end = silence_end(last, scope)
        yield Span(start, end, None if end is None else "silence")


def _gaps(hint: str) -> sa.TextClause:
    return sa.text(f"""
        SELECT gap.observed_at, gap.gap_from, gap.stopped, EXISTS (
            SELECT 1 FROM observation_log AS stop
            WHERE stop.observer_id = gap.observer_id AND stop.observed_at = gap.gap_from AND stop.stopped = 1
        )
        FROM observation_log AS gap {hint}
        WHERE gap.observer_id = :observer AND gap.observed_at > :after AND gap.gap_from IS NOT NULL
        ORDER BY gap.observed_at, gap.sequence
    """)  # noqa: S608 - one of the two hints below


# Without statistics SQLite prefers the primary key, which reads the log from there on; Core has no words for the hint.
_GAPS = {"sqlite": _gaps("INDEXED BY ix_observation_log_gap"), "postgresql": _gaps("")}


def _spans_by_gaps(
    connection: Connection, observer_id: int, scope: Scope, opening: Logged | None, after: int
) -> Iterator[Span]:
    start = after if is_watching(opening, after, scope) else None
    rows = connection.execute(
        _GAPS[connection.dialect.name], {"observer": observer_id, "after": after}, execution_options={"yield_per": 500}
    )
    for moment, gap_from, stopped, by_stop in rows:
        if start is not None:
            yield Span(start, max(gap_from, start), "stopped" if by_stop else "silence")
            start = None
        if not stopped:
            start = moment
    last = last_logged(connection, observer_id, AFTER_ALL)
    if start is None or last is None:
        return
    if last.stopped:
        yield Span(start, max(last.observed_at if last.gap_from is None else last.gap_from, start), "stopped")
    else:
        end = silence_end(last, scope)
        yield Span(start, end, None if end is None else "silence")


def last_watching(connection: Connection, observer_id: int, scope: Scope, moment: int) -> int | None:
    """The last instant at or before a moment at which an observer was watching; ``None``: it never was."""
    until = at_end_of(moment)
    while True:
        logged = last_logged(connection, observer_id, until, scope.known_at)
        if logged is None:
            return None
        if not logged.stopped:
            end = silence_end(logged, scope)
            return min(until.observed_at, moment if end is None else end - 1)
        until = at_end_of(logged.observed_at - 1)


def watched(connection: Connection, scope: Scope, since: int, until: int) -> Iterator[tuple[int, int]]:
    """The stretches of ``[since, until)`` over which anybody of a scope was watching, in order, apart from each
    other."""
    streams = [spans(connection, number, scope, since, until) for number in scope.observers.values()]
    start: int | None = None
    end = since
    for span in heapq.merge(*streams, key=lambda each: each.start):
        if start is not None and span.start > end:
            yield start, end
            start = None
        if start is None:
            start, end = max(span.start, since), since
        end = max(end, until if span.end is None else min(span.end, until))
    if start is not None and start < end:
        yield start, end


def measured_window(
    connection: Connection, scope: Scope, since: int | None, until: int | None
) -> tuple[int, int] | None:
    """The window of an answer that measures time: where the question leaves an end open, from the first observation of
    the scope (or the horizon) to its last one (what came after is no history yet). ``None`` if there is no observation,
    or nothing of the history is in the window."""
    since = scope.begin(since)
    if since is None:
        since = min(_edges(connection, scope, sa.func.min), default=None)
    if until is None:
        until = max(_edges(connection, scope, sa.func.max), default=None)
    if since is None or until is None or since >= until:
        return None
    return since, until


def _edges(connection: Connection, scope: Scope, edge: Any) -> list[int]:
    """The first or last observation of each observer of a scope."""
    log = observation_log.c
    statement = sa.select(edge(log.observed_at)).where(log.observer_id == sa.bindparam("observer"))
    if scope.known_at is not None:
        statement = statement.where(log.recorded_at <= scope.known_at)
    found = (connection.execute(statement, {"observer": number}).scalar() for number in scope.observers.values())
    return [moment for moment in found if moment is not None]


def from_horizon(connection: Connection, number: int, kept: Retention, known_at: int | None = None) -> dict[str, int]:
    """The place after which an observer's history begins: before what was in force at the horizon; nothing if there is
    none."""
    if kept.horizon is None:
        return {}
    place = before_lead_in(connection, number, at_end_of(kept.before_all), known_at)
    return {"after_at": place.observed_at, "after_sequence": place.sequence}
