"""Changes as they are recorded: what is new since the last look, and what a late observation made of the past.

What was told reaches up to an instant, the *edge*. New observations beyond it are told as they come. Those at or before
it are late: they change what was told. To find out how, the answer as known when late observations were last looked
for, and what was told since, are held against the answer now; over the time from the first late observation on, since
one changes nothing before it (rule 4 of the time model).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from heapq import merge
from itertools import chain, groupby
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.changes import Change
from peerstore.canonical import dumps
from peerstore.coverage import Scope, silence_end
from peerstore.dictionary import Dictionary
from peerstore.questions.changes import OF_OBSERVERS, Question
from peerstore.states import AFTER_ALL, last_logged
from peerstore.tables import observation_log, observer
from peerstore.times import EARLIEST, micros
from peerstore.walk import Walk

_SHARE = 20  # looking for late observations takes at most one part in so many of the time
_MOST_KEPT = 10_000  # changes told since late observations were last looked for

_log = observation_log.c
_STANDING = sa.select(observer.c.id, observer.c.last_recorded_at)
_LATE = sa.select(sa.func.min(_log.observed_at), sa.func.min(_log.recorded_at)).where(
    _log.observer_id == sa.bindparam("observer"),
    _log.observed_at <= sa.bindparam("edge"),
    _log.recorded_at > sa.bindparam("recorded"),
)


class Wanted(NamedTuple):
    """Which changes are asked for."""

    peer: str | None
    kinds: frozenset[str] | None
    path: str | None


class Late(NamedTuple):
    """The first instant that late observations are of, and when the first of them was recorded."""

    observed_at: int
    recorded_at: int


class Following:
    """What was told, and up to when."""

    def __init__(self, dictionary: Dictionary, now: Callable[[], int], wanted: Wanted, since: int | None) -> None:
        self._dictionary = dictionary
        self._now = now
        self._wanted = wanted
        self._since = EARLIEST - 1 if since is None else since
        self._edge = self._settled_edge = EARLIEST - 1 if since is None else since - 1
        self._from_now_on = since is None
        self._standing: dict[int, int] = {}
        self._settled: dict[int, int] = {}
        self._told_since: list[Change] = []
        self._due: int | None = None
        self._look_at = 0.0

    def begin(self, connection: DatabaseConnection, scope: Scope) -> None:
        """Where nothing of the past is asked for, take all that is recorded for told."""
        self._standing = self._settled = _standing(connection)
        if self._from_now_on:
            self._edge = self._settled_edge = self._reached(connection, scope)
            self._due = self._next_silence(connection, scope)
        else:
            self._due = EARLIEST

    def _reached(self, connection: DatabaseConnection, scope: Scope) -> int:
        """The newest observation, or the last silence after it until now."""
        newest = max(_newest(connection, scope), scope.before_all)
        now = self._now()
        turns = Walk(connection, self._dictionary, scope, newest, now + 1, ()) if now > newest else ()
        return max((moment.at for moment in turns), default=newest)

    def _next_silence(self, connection: DatabaseConnection, scope: Scope) -> int | None:
        """When the next observer will have been silent for too long, if none speaks."""
        last = (last_logged(connection, number, AFTER_ALL) for number in scope.observers.values())
        ends = (silence_end(logged, scope) for logged in last if logged is not None and not logged.stopped)
        return min((end for end in ends if end is not None and end > self._edge), default=None)

    def has_news(self, connection: DatabaseConnection, last: bool) -> bool:
        """Whether something was recorded since the last look, an observer has fallen silent, or late observations are
        still to be looked for."""
        if self._due is not None and self._due <= self._now():
            return True
        if self._standing != self._settled and (last or time.monotonic() >= self._look_at):
            return True
        return _standing(connection) != self._standing

    def told(self, connection: DatabaseConnection, scope: Scope, last: bool) -> Iterator[Change]:
        """What is to be told now, all of one snapshot; with ``last``, late observations are looked for at once."""
        self._standing = _standing(connection)
        if last or time.monotonic() >= self._look_at or len(self._told_since) >= _MOST_KEPT:
            yield from self._revised(connection, scope)
        until = max(_newest(connection, scope), self._now())
        for change in self._asked(connection, scope, self._edge + 1, until + 1):
            self._told_since.append(change)
            yield change
        reached = [micros(self._told_since[-1].observed_at)] if self._told_since else []
        self._edge = max(self._edge, _newest(connection, scope), *reached)
        if self._settled == self._standing:
            self._settled_edge = self._edge
            self._told_since.clear()
        self._due = self._next_silence(connection, scope)

    def _asked(self, connection: DatabaseConnection, scope: Scope, since: int, until: int) -> Iterator[Change]:
        since = scope.told(since)  # it may have been pruned meanwhile
        if since < until:
            peer, kinds, path = self._wanted
            yield from Question(connection, self._dictionary, scope, since, until, peer, path=path).changes(kinds)

    def _revised(self, connection: DatabaseConnection, scope: Scope) -> Iterator[Change]:
        """What late observations add to what was told, and what they take away from it."""
        began = time.monotonic()
        late = self._late(connection, scope)
        self._look_at = time.monotonic() + _SHARE * (time.monotonic() - began)
        told: Iterable[Change] = self._told_since
        start = self._settled_edge + 1
        if late is not None:
            start = max(late.observed_at, self._since)
            known = scope._replace(known_at=late.recorded_at - 1)
            told = chain(self._asked(connection, known, start, self._settled_edge + 1), self._told_since)
        now = self._asked(connection, scope, start, self._edge + 1)
        self._settled = self._standing
        yield from _differing(told, now)
        self._settled_edge = self._edge
        self._told_since.clear()

    def _late(self, connection: DatabaseConnection, scope: Scope) -> Late | None:
        """The first of the late observations that came since they were last looked for."""
        found = []
        for number in scope.observers.values():
            recorded = self._settled.get(number, EARLIEST - 2**60)
            if self._standing.get(number, recorded) > recorded:
                values = {"observer": number, "edge": self._settled_edge, "recorded": recorded}
                found.append(connection.execute(_LATE, values).one())
        came = [row for row in found if row[0] is not None]
        if not came:
            return None
        late, known_from = Late(min(row[0] for row in came), min(row[1] for row in came)), scope.retention.known_from
        # What was told before a removal that they came before is not known any more.
        return None if known_from is not None and late.recorded_at <= known_from else late


def _standing(connection: DatabaseConnection) -> dict[int, int]:
    """When something of each observer was last recorded."""
    return {row.id: row.last_recorded_at for row in connection.execute(_STANDING)}


def _newest(connection: DatabaseConnection, scope: Scope) -> int:
    last = (last_logged(connection, number, AFTER_ALL) for number in scope.observers.values())
    return max((logged.observed_at for logged in last if logged is not None), default=EARLIEST - 1)


def _differing(told: Iterable[Change], now: Iterable[Change]) -> Iterator[Change]:
    """What of one answer the other lacks, instant by instant: taken back first, then added."""
    marked = merge(
        ((each, True) for each in told), ((each, False) for each in now), key=lambda pair: pair[0].observed_at
    )
    for _, group in groupby(marked, key=lambda pair: pair[0].observed_at):
        pairs = list(group)
        held = {side: Counter(_meaning(change) for change, was in pairs if was is side) for side in (True, False)}
        gone, new = held[True] - held[False], held[False] - held[True]
        for change, was in pairs:
            lacking, meaning = (gone if was else new), _meaning(change)
            if lacking[meaning]:
                lacking[meaning] -= 1
                yield replace(change, late=not was, withdrawn=was)


def _meaning(change: Change) -> str:
    """A change without what only tells who reported it first."""
    told = change.to_dict()
    if change.kind not in OF_OBSERVERS:
        del told["observer"]
    return dumps(told)
