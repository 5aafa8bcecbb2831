"""How new observations enter an observer's chain of stored ones: what must be written, worked out without a database.

A chain is walked in order of position. Two chains are in step: the stored one, and the one that it becomes.
``Chain.state`` is the state of the latter; ``Chain._stored`` holds, for the few elements in which the former differs,
what they were in it. A stored graph ends every difference, since what a graph was does not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from peerstore.keyframes import State
from peerstore.model import Recorded
from peerstore.states import DAY, Logged, Position
from peerstore.times import EARLIEST

NEVER_WATCHED = EARLIEST - 1
"""``gap_from`` of an observer's first observation: it had not been watching since before all time."""

ChangeRow = tuple[int, int, int, int, int | None, int | None, int]
"""A row of ``element_change``: (observer, observed_at, sequence, element, document, previous, day)."""


@dataclass(slots=True)
class Item:
    """A new observation on its way into the chain; ``state`` is ``None`` for a stop marker."""

    position: Position
    state: State | None
    max_silence: int | None
    result: Recorded = field(default_factory=lambda: Recorded("recorded"))


@dataclass(slots=True)
class Edits:
    """What must be written: new log rows, changed ``gap_from`` of stored ones, change rows to delete and to insert."""

    logged: list[Logged] = field(default_factory=list)
    gaps: list[tuple[Position, int | None]] = field(default_factory=list)
    deleted: list[tuple[Position, int]] = field(default_factory=list)
    changes: list[ChangeRow] = field(default_factory=list)


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
    """The elements in which two states differ, with their document in the second (``None``: absent)."""
    changed: dict[int, int | None] = {
        element: document for element, document in after.items() if before.get(element) != document
    }
    if len(before) + len(changed) != len(after) or any(element in before for element in changed):
        changed.update((element, None) for element in before.keys() - after.keys())
    return changed


class Chain:
    """A walk along one observer's chain, from the state and the log row before its first step.

    ``late``: stored observations may follow new ones.
    """

    def __init__(
        self,
        observer_id: int,
        state: State,
        previous: Logged | None,
        recorded_at: int,
        graph_element: int,
        *,
        late: bool,
    ) -> None:
        self.state = state
        self.edits = Edits()
        self.previous = previous
        self._observer_id = observer_id
        self._graph_element = graph_element
        self._late = late
        self._recorded_at = recorded_at
        self._stored: dict[int, int | None] = {}

    def add(self, item: Item) -> None:
        """Step to a new observation."""
        position = item.position
        gap = gap_before(self.previous, position.observed_at)
        stopped = int(item.state is None)
        self.previous = Logged(*position, self._recorded_at, stopped, item.max_silence, gap)
        self.edits.logged.append(self.previous)
        if item.state is not None:
            changed, get = differences(self.state, item.state), self.state.get
            observer_id, at, sequence, day = self._observer_id, *position, position.observed_at // DAY
            self.edits.changes += [
                (observer_id, at, sequence, element, document, get(element), day)
                for element, document in changed.items()
            ]
            if self._late:
                self._diverge(changed)
            self.state = item.state
            item.result.changes = len(changed) - (self._graph_element in changed)

    def _diverge(self, changed: Mapping[int, int | None]) -> None:
        """Note what the stored chain, in which the change is not, has instead."""
        for element, document in changed.items():
            stored = self._stored.pop(element, self.state.get(element))
            if stored != document:
                self._stored[element] = stored

    def pass_stored(self, logged: Logged, rows: Mapping[int, tuple[int | None, int | None]]) -> None:
        """Step over a stored observation with its change rows (element to document and previous), mending them."""
        gap = gap_before(self.previous, logged.observed_at)
        if gap != logged.gap_from:
            self.edits.gaps.append((logged.position, gap))
        self.previous = logged._replace(gap_from=gap)
        if not logged.stopped:
            self._mend(logged.position, rows)

    def _mend(self, position: Position, rows: Mapping[int, tuple[int | None, int | None]]) -> None:
        state = dict(self.state)
        for element in rows.keys() | self._stored.keys():
            row = rows.get(element)
            document = self._stored[element] if row is None else row[0]
            before = state.get(element)
            wanted = None if before == document else (document, before)
            if wanted != row:
                if row is not None:
                    self.edits.deleted.append((position, element))
                if wanted is not None:
                    day = position.observed_at // DAY
                    self.edits.changes.append((self._observer_id, *position, element, *wanted, day))
            if document is None:
                state.pop(element, None)
            else:
                state[element] = document
        self._stored.clear()
        self.state = state

    def meet(self, item: Item, logged: Logged) -> None:
        """Judge a new observation that stands at the place of the stored one just passed."""
        same = logged.stopped == 1 if item.state is None else not logged.stopped and item.state == self.state
        item.result.status = "duplicate" if same else "conflict"
