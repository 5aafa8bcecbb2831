"""By how much observers' clocks differ, estimated from what several report of the same change.

A report is one observer's view of one element taking one document (or going), at one instant of the observer's clock;
what an observer finds there when it begins to watch is none. Two observers' reports are matched if they are of the same
element and document, at most ``within`` apart, and neither observer has another such report within ``within`` of the
other's: so a match is one to one and nearest in time by itself, and what flaps, where any match might be wrong, is left
out. Of each pair of observers the median of the differences is taken: half of the matches may be chance ones before it
goes astray. Pairs stand for themselves, since a common reference (the median of a change's reports, say) would be made
of other observers for each change, and with few of them a wrong clock moves it.

Reports are held for as long as they may still match; of the differences of a pair, at most a fixed number is kept (a
uniform sample); and a change that very many report is matched between some of them.
"""

from __future__ import annotations

import heapq
import random
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import NamedTuple

from sqlalchemy.engine import Connection

from peerstore.answers.watching import ClockSkew
from peerstore.coverage import Scope, measured_window
from peerstore.dictionary import Dictionary
from peerstore.times import LATEST
from peerstore.walk import Walk

_RECENT = 6 * 3_600_000_000
FEWEST_SAMPLES = 3
MOST_SAMPLES = 1000  # of a pair: the median of so many is as near as the delays allow
MOST_PARTNERS = 16  # of a report: else a change that n observers report would cost n squared

What = tuple[int, int | None]
"""An element, and the document that it took (``None``: it went)."""


class Report(NamedTuple):
    """One observer reported one change at one instant of its clock."""

    at: int
    rank: int
    what: What


def clock_skew(
    connection: Connection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    within: int,
    reference: str | None,
) -> Iterator[ClockSkew]:
    """The estimate of each pair with enough matches, in the order of the keys; or of those with one observer, which is
    then the reference."""
    if reference is not None and reference not in scope.observers:
        return
    keys = list(scope.observers)
    begin = _newest(connection, scope, until) if since is None else since
    after, end = begin - 1, LATEST + 1 if until is None else until
    streams = [
        _reports(Walk(connection, dictionary, scope._replace(observers={key: number}), after, end), rank)
        for rank, (key, number) in enumerate(scope.observers.items())
    ]
    matches = _Matches(within, None if reference is None else keys.index(reference))
    for report in heapq.merge(*streams, key=lambda each: (each.at, each.rank)):
        matches.add(report)
    matches.settle(None)
    for one, other in sorted(matches.pairs):
        sample = matches.pairs[one, other]
        if sample.count >= FEWEST_SAMPLES:
            turned = keys[one] == reference
            yield _estimate(keys[other if turned else one], keys[one if turned else other], sample, turned)


def _newest(connection: Connection, scope: Scope, until: int | None) -> int:
    """Where the last six hours of the history begin that lie before ``until``."""
    window = measured_window(connection, scope, None, None)
    if window is None:
        return scope.before_all + 1
    last = window[1] if until is None else min(window[1], until)
    return max(last - _RECENT, scope.before_all + 1)


def _reports(walk: Walk, rank: int) -> Iterator[Report]:
    for moment in walk:
        if moment.lit and moment.lit_before:
            for element, (_, document) in sorted(moment.changed.items()):
                yield Report(moment.at, rank, (element, document))


def _estimate(observer: str, reference: str, sample: _Sample, turned: bool) -> ClockSkew:
    differences = [-each if turned else each for each in sample.values]
    middle = median(differences)
    spread = median(abs(each - middle) for each in differences)
    return ClockSkew(observer, reference, timedelta(microseconds=middle), timedelta(microseconds=spread), sample.count)


@dataclass(slots=True)
class _Sample:
    """A uniform sample of numbers that come one by one, and how many came."""

    values: array[int] = field(default_factory=lambda: array("q"))
    count: int = 0

    def add(self, value: int, chance: random.Random) -> None:
        self.count += 1
        if len(self.values) < MOST_SAMPLES:
            self.values.append(value)
        elif (place := chance.randrange(self.count)) < MOST_SAMPLES:
            self.values[place] = value


class _Matches:
    """Matches reports as they come in the order of time; ``pairs`` holds the differences, first rank less second."""

    def __init__(self, within: int, reference: int | None) -> None:
        self.pairs: dict[tuple[int, int], _Sample] = {}
        self._within = within
        self._reference = reference
        self._chance = random.Random(0)  # noqa: S311 - fixed, so that the same question has the same answer
        self._held: dict[What, dict[int, list[int]]] = {}
        self._waiting: deque[Report] = deque()
        self._kept: deque[Report] = deque()

    def add(self, report: Report) -> None:
        """One more report, none earlier than any before."""
        self.settle(report.at)
        self._held.setdefault(report.what, {}).setdefault(report.rank, []).append(report.at)
        self._waiting.append(report)

    def settle(self, now: int | None) -> None:
        """Match the reports which nothing that comes from now on can be near, and forget those that can match no
        more."""
        while self._waiting and (now is None or self._waiting[0].at + self._within < now):
            report = self._waiting.popleft()
            self._match(report)
            self._kept.append(report)
            self._forget(report.at - 2 * self._within)

    def _forget(self, before: int) -> None:
        while self._kept and self._kept[0].at < before:
            report = self._kept.popleft()
            by_rank = self._held[report.what]
            del by_rank[report.rank][0]
            if not by_rank[report.rank]:
                del by_rank[report.rank]
            if not by_rank:
                del self._held[report.what]

    def _match(self, report: Report) -> None:
        """Match a report with the earlier ones (at one instant: those of smaller rank)."""
        by_rank = self._held[report.what]
        if len(by_rank) == 1:
            return
        for rank in self._partners(by_rank, report.rank):
            near = self._near(by_rank[rank], report.at)
            if len(near) != 1 or (near[0], rank) > (report.at, report.rank):
                continue
            if len(self._near(by_rank[report.rank], near[0])) == 1:
                pair = (min(rank, report.rank), max(rank, report.rank))
                difference = report.at - near[0] if report.rank < rank else near[0] - report.at
                self.pairs.setdefault(pair, _Sample()).add(difference, self._chance)

    def _partners(self, by_rank: dict[int, list[int]], rank: int) -> list[int]:
        others = [other for other in by_rank if other != rank]
        if self._reference is not None and rank != self._reference:
            return [self._reference] if self._reference in by_rank else []
        return others if len(others) <= MOST_PARTNERS else self._chance.sample(others, MOST_PARTNERS)

    def _near(self, times: list[int], at: int) -> list[int]:
        return times[bisect_left(times, at - self._within) : bisect_right(times, at + self._within)]
