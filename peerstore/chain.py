"""How new observations enter an observer's chain of stored ones: what must be written, worked out without a database.

A chain is walked in order of position. Two chains are in step: the stored one, and the one that it becomes.
``Chain.state`` is the state of the latter; ``Chain._stored`` holds, for the few elements in which the former differs,
what they were in it. A stored graph ends every difference, since what a graph was does not change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain as joined
from itertools import repeat
from typing import Any

import msgspec

from peerstore.keyframes import State
from peerstore.model import Recorded
from peerstore.states import DAY, Logged, Position
from peerstore.times import EARLIEST

NEVER_WATCHED = EARLIEST - 1
"""``gap_from`` of an observer's first observation: it had not been watching since before all time."""

Rows = Mapping[int, tuple[int | None, int | None]]
"""The change rows of one observation: element to its document and the one before."""


class Item(msgspec.Struct, gc=False):
    """A new observation on its way into the chain; ``state`` is ``None`` for a stop marker. If it has a ``base``,
    another state, then both differ at most in what is ``touched``."""

    observed_at: int
    sequence: int
    state: State | None
    max_silence: int | None
    result: Recorded
    recorded_at: int | None = None
    base: State | None = None
    touched: Collection[int] = ()

    def changed_from(self, before: State) -> dict[int, int | None]:
        """The elements in which its state differs from another one, with their document in it (``None``: absent)."""
        assert self.state is not None
        if before is not self.base:
            return differences(before, self.state)
        get, was = self.state.get, before.get
        return {element: document for element in self.touched if (document := get(element)) != was(element)}

    @property
    def position(self) -> Position:
        """Its place in the chain."""
        return Position(self.observed_at, self.sequence)


class Edits:
    """What must be written. New rows (``logged``, ``changes``, ``keyframes``) stand in flat lists, one value after the
    other in the order of the table's columns, since a tuple a row would keep the garbage collector busy.

    ``gaps`` are new values of ``gap_from``, each with the stored row of its observation; ``deleted`` are stored change
    rows: observer, place, element, document and the one before.
    """

    __slots__ = ("changes", "deleted", "gaps", "keyframes", "logged")

    def __init__(self) -> None:
        self.logged: list[int | None] = []
        self.changes: list[int | None] = []
        self.keyframes: list[int | bytes] = []
        self.gaps: list[tuple[int, Logged, int | None]] = []
        self.deleted: list[tuple[int, Position, int, int | None, int | None]] = []

    def clear(self) -> None:
        """Everything is written."""
        for waiting in (self.logged, self.changes, self.keyframes, self.gaps, self.deleted):
            waiting.clear()


def gap_before(previous: Logged | None, moment: int) -> int | None:
    """Since when an observer had not been watching just before an observation; ``None`` if it had."""
    if previous is None:
        return NEVER_WATCHED
    if previous.stopped:
        start = previous.observed_at if previous.gap_from is None else previous.gap_from
    elif previous.max_silence is not None and moment - previous.observed_at > previous.max_silence:
        start = previous.observed_at + previous.max_silence + 1
    else:
        return None
    return start if start < moment else None


def differences(before: State, after: State) -> dict[int, int | None]:
    """The elements in which two states differ, with their document in the second (``None``: absent).

    >>> differences({1: 10, 2: 20, 3: 30}, {1: 10, 2: 21, 4: 40})
    {2: 21, 4: 40, 3: None}
    """
    if before is after or before == after:
        return {}
    get = before.get
    changed: dict[int, int | None] = {e: document for e, document in after.items() if get(e) != document}
    gone = before.keys() - after.keys()
    if gone:
        changed.update(dict.fromkeys(gone))
    return changed


class Chain:
    """A walk along one observer's chain, from the state and the log row before its first step.

    ``late``: stored observations may follow new ones. What must be written goes into ``edits``.
    """

    def __init__(
        self,
        observer_id: int,
        state: State,
        previous: Logged | None,
        recorded_at: int,
        graph_element: int,
        edits: Edits,
        *,
        late: bool,
    ) -> None:
        self.state = state
        self.edits = edits
        self.previous = previous
        self.in_step = True
        self._observer_id = observer_id
        self._graph_element = graph_element
        self._late = late
        self._recorded_at = recorded_at
        self._stored: dict[int, int | None] = {}
        self._shared = not late  # whether someone else holds the state too, so that it must be copied to be changed

    def add(self, item: Item) -> int:
        """Step to a new observation; how many change rows that makes."""
        state, at, sequence = item.state, item.observed_at, item.sequence
        gap = gap_before(self.previous, at)
        recorded_at = self._recorded_at if item.recorded_at is None else item.recorded_at
        self.previous = Logged(at, sequence, recorded_at, int(state is None), item.max_silence, gap)
        self.edits.logged += (self._observer_id, *self.previous)
        self.in_step = False
        if state is None:
            return 0
        changed = item.changed_from(self.state)
        if changed:
            self._write(at, sequence, changed)
            if self._late:
                self._diverge(changed)
            self.state, self._shared = state, True
        item.result.changes = len(changed) - (self._graph_element in changed)
        return len(changed)

    def _write(self, at: int, sequence: int, changed: Mapping[int, int | None]) -> None:
        place = (repeat(self._observer_id), repeat(at), repeat(sequence))
        values = (changed, changed.values(), map(self.state.get, changed), repeat(at // DAY))
        self.edits.changes += joined.from_iterable(zip(*place, *values, strict=False))

    def _diverge(self, changed: Mapping[int, int | None]) -> None:
        """Note what the stored chain, in which the change is not, has instead."""
        for element, document in changed.items():
            stored = self._stored.pop(element, self.state.get(element))
            if stored != document:
                self._stored[element] = stored

    def pass_stored(self, logged: Logged, rows: Rows) -> None:
        """Step over a stored observation with its change rows, mending them."""
        gap = gap_before(self.previous, logged.observed_at)
        if gap != logged.gap_from:
            self.edits.gaps.append((self._observer_id, logged, gap))
        self.previous = logged._replace(gap_from=gap) if gap != logged.gap_from else logged
        if not logged.stopped:
            self._mend(logged.position, rows)
        self.in_step = not self._stored and (not logged.stopped or gap == logged.gap_from)

    def skip(self, logged: Logged, rows: Iterable[Sequence[Any]]) -> None:
        """Step over stored observations, up to this one, on which nothing new bears, with all their change rows:
        (observed_at, sequence, element, document, previous), in order."""
        self._apply((element, document) for _, _, element, document, _ in rows)
        self.previous = logged

    def _mend(self, position: Position, rows: Rows) -> None:
        documents = {element: document for element, (document, _) in rows.items()}
        if self._stored:
            documents = {**self._stored, **documents}
            self._rewrite(position, rows, documents)
            self._stored.clear()
        self._apply(documents.items())

    def _apply(self, documents: Iterable[tuple[int, int | None]]) -> None:
        if self._shared:
            self.state, self._shared = dict(self.state), False
        state = self.state
        for element, document in documents:
            if document is None:
                state.pop(element, None)
            else:
                state[element] = document

    def _rewrite(self, position: Position, rows: Rows, documents: Mapping[int, int | None]) -> None:
        """Bring the change rows of a stored graph, which has these documents, to what they are after the new state."""
        for element, document in documents.items():
            before, row = self.state.get(element), rows.get(element)
            wanted = None if before == document else (document, before)
            if wanted == row:
                continue
            if row is not None:
                self.edits.deleted.append((self._observer_id, position, element, *row))
            if wanted is not None:
                day = position.observed_at // DAY
                self.edits.changes += (self._observer_id, *position, element, *wanted, day)

    def standing_at(self, item: Item) -> Logged | None:
        """The observation just passed, if it has the place of a new one."""
        previous = self.previous
        if previous is None or previous.observed_at != item.observed_at or previous.sequence != item.sequence:
            return None
        return previous

    def meet(self, item: Item, logged: Logged) -> None:
        """Judge a new observation that stands at the place of the one just passed."""
        same = logged.stopped == 1 if item.state is None else not logged.stopped and item.state == self.state
        item.result.status = "duplicate" if same else "conflict"
