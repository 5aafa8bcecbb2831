"""Sessions: unbroken presences of peers and connections, as a stream.

A session ends where the merged presence loses the element, and where nobody watches any more; it is joined with the
next if the gap between them is shorter than the grace. Each is given once it cannot be joined any more; those that
still hold come last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from peerstore.answers.sessions import EndReason
from peerstore.coverage import Scope
from peerstore.dictionary import Dictionary
from peerstore.model import ElementKind
from peerstore.times import LATEST
from peerstore.walk import Moment, Walk

_LOOK_BACK = 86_400_000_000


@dataclass(slots=True)
class Stay:
    """A session in the making: an element was present over ``[start, end)``; ``began_before``: the horizon cuts it, or
    may do so."""

    element: int
    start: int
    end: int | None = None
    reason: EndReason | None = None
    gaps: int = 0
    observer: int | None = None
    began_before: bool = False


class Sessions:
    """The stays of elements in a stretch of the merged presence."""

    def __init__(
        self,
        connection: Connection,
        dictionary: Dictionary,
        scope: Scope,
        kind: ElementKind,
        elements: Collection[int] | None,
        grace: int,
    ) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._scope = scope
        self._kind = kind
        self._elements: Collection[int] | ElementKind = kind if elements is None else elements
        self._grace = grace
        self._open: dict[int, Stay] = {}
        self._closed: OrderedDict[int, Stay] = OrderedDict()  # in the order of their ends; may yet be joined

    def over(self, since: int | None, until: int | None) -> Iterator[Stay]:
        """The stays that overlap ``[since, until)``, whole: their true starts and ends, wherever those lie."""
        since, first = self._scope.begin(since), self._scope.before_all
        after = first if since is None else max(since - 1 - self._grace, first)
        for stay in self._walked(after, LATEST + 1 if until is None else until):
            if since is None or stay.end is None or stay.end > since:
                yield self._cut(stay)

    def _cut(self, stay: Stay) -> Stay:
        """A stay as it is told: the horizon cuts one that was there just before it, and one that may have to be joined
        to what was."""
        first = self._scope.before_all
        if self._scope.retention.horizon is not None and (stay.start == first or stay.start - first < self._grace):
            stay.start, stay.began_before = self._scope.told(stay.start), True
        return stay

    def _walked(self, after: int, until: int) -> Iterator[Stay]:
        walk = Walk(self._connection, self._dictionary, self._scope, after, until, self._elements)
        if walk.lit:
            self._begin_all(walk, after)
        if self._open:
            self._mend_starts(list(self._open), after, after)
        for moment in walk:
            yield from self._settled(moment.at)
            fresh = self._step(walk, moment)
            if after > self._scope.before_all:
                doubtful = [number for number in fresh if moment.at - self._grace <= after]
                self._mend_starts(doubtful, after, moment.at)
        yield from self._followed(until)

    def _followed(self, until: int) -> Iterator[Stay]:
        """The stays that have not ended, or may yet be joined, when the range ends: followed to their ends."""
        waiting = set(self._open) | set(self._closed)
        if waiting and until <= LATEST:
            walk = Walk(self._connection, self._dictionary, self._scope, until - 1, LATEST + 1, waiting)
            for moment in walk:
                for stay in self._settled(moment.at):
                    if stay.start < until:
                        yield stay
                self._step(walk, moment)
                held = (*self._open.values(), *self._closed.values())
                if not any(stay.start < until for stay in held):
                    return
        yield from (stay for stay in self._settled(None) if stay.start < until)
        last = sorted((self._open[number] for number in self._in_order(self._open)), key=lambda stay: stay.start)
        yield from (stay for stay in last if stay.start < until)

    def _begin_all(self, walk: Walk, at: int) -> list[int]:
        of_kind = self._of_kind(walk.shown)
        for number in of_kind:
            self._begin(number, at)
        return of_kind

    def _of_kind(self, numbers: Collection[int]) -> list[int]:
        elements = self._dictionary.elements(self._connection, numbers)
        return [number for number in numbers if elements[number].kind == self._kind]

    def _in_order(self, numbers: Collection[int]) -> list[int]:
        """Elements in the order of their keys, which unlike their ids does not depend on the order of recording."""
        elements = self._dictionary.elements(self._connection, numbers)
        return sorted(numbers, key=lambda number: elements[number])

    def _begin(self, number: int, at: int) -> None:
        stay = self._closed.get(number)
        if stay is not None and stay.end is not None and at - stay.end < self._grace:
            del self._closed[number]
            stay.end, stay.reason, stay.gaps = None, None, stay.gaps + 1
        else:
            stay = Stay(number, at)
        self._open[number] = stay

    def _end(self, number: int, moment: Moment) -> None:
        stay = self._open.pop(number)
        stay.end, stay.reason = moment.at, moment.end_reason(number)
        self._closed[number] = stay

    def _step(self, walk: Walk, moment: Moment) -> list[int]:
        """Follow one moment; the elements whose stays began."""
        if moment.lit_before and not moment.lit:
            for number in self._in_order(self._open):
                self._end(number, moment)
            return []
        if moment.lit and not moment.lit_before:
            return self._begin_all(walk, moment.at)
        began = []
        for number in self._in_order(self._of_kind(moment.changed)):
            before, after = moment.changed[number]
            if before is None:
                self._begin(number, moment.at)
                began.append(number)
            elif after is None:
                self._end(number, moment)
        return began

    def _settled(self, at: int | None) -> Iterator[Stay]:
        while self._closed:
            number, stay = next(iter(self._closed.items()))
            assert stay.end is not None
            if at is not None and at - stay.end < self._grace:
                return
            del self._closed[number]
            yield stay

    def _mend_starts(self, numbers: list[int], after: int, at: int) -> None:
        """Give stays that may have begun before the walk did (in progress, or within the grace of an earlier end)
        their true starts."""
        step = max(_LOOK_BACK, 4 * self._grace)
        first = self._scope.before_all
        while numbers and after > first:
            start = max(after - step, first)
            earlier = Sessions(self._connection, self._dictionary, self._scope, self._kind, numbers, self._grace)
            found = earlier._before(start, at)
            numbers = [number for number in numbers if not self._mend(number, found.get(number), start)]
            if start == first:
                return
            step *= 8

    def _mend(self, number: int, found: Stay | None, start: int) -> bool:
        """Take over a start found by looking back to ``start``; whether it is certain."""
        if found is None:
            return True
        stay = self._open[number]
        stay.start, stay.gaps = found.start, found.gaps
        return found.start - self._grace > start

    def _before(self, start: int, at: int) -> dict[int, Stay]:
        """The stays that hold at ``at``, walked from ``start``."""
        walk = Walk(self._connection, self._dictionary, self._scope, start, at + 1, self._elements)
        if walk.lit:
            self._begin_all(walk, start)
        for moment in walk:
            for _ in self._settled(moment.at):
                pass
            self._step(walk, moment)
        return self._open
