"""Late observations: the walk through the stored chain on which they are merged into it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.chain import Chain, Item
from peerstore.keyframes import State
from peerstore.states import BEFORE_ALL, CHANGES_BETWEEN, LOGGED_AFTER, Logged, Position, last_logged, state_at

SPARSE = 48
"""How many stored observations there must be for each new one, that jumping from one to the next costs less than
walking."""

_PAGE_SIZE = 128
_SHORT_PAGE_SIZE = 2
_PLACE = itemgetter(0, 1)

_PAGE = LOGGED_AFTER.limit(sa.bindparam("size"))


def fetched(connection: Connection, statement: sa.Executable, values: dict[str, int]) -> list[tuple[Any, ...]]:
    """All rows of an answer of integers, as the driver's own tuples: where they are many, SQLAlchemy's cost more than
    the reading."""
    with connection.execute(statement, values) as result:
        return list(result.cursor.fetchall())


class LateWalk:
    """A walk through a stretch of an observer's stored chain, from just before a place on.

    ``chain_at`` makes the chain of the observer that goes on from a state and a log row. What is stored is read ahead,
    a page at a time: a short one where new observations are ``sparse``, since of what is stored only what follows a new
    one is needed then. ``added`` are the places of the first and the last new observation.
    """

    def __init__(
        self,
        connection: Connection,
        observer_id: int,
        position: Position,
        chain_at: Callable[[State, Logged | None], Chain],
        *,
        sparse: bool,
    ) -> None:
        before = last_logged(connection, observer_id, Position(position.observed_at, position.sequence - 1))
        self.chain = chain_at({} if before is None else state_at(connection, observer_id, before.position)[0], before)
        self.added: tuple[Position, Position] | None = None
        self._connection = connection
        self._observer_id = observer_id
        self._sparse = sparse
        self._log: list[tuple[Any, ...]] = []
        self._rows: list[tuple[Any, ...]] = []
        self._next, self._next_row = 0, 0
        self._ended = False

    def reaches(self, position: Position) -> bool:
        """Whether a place is near enough to walk there."""
        if self._is_beyond(position) and not (self._sparse and self._next < len(self._log)):
            self._read_page()
        return not self._is_beyond(position)

    def _is_beyond(self, position: Position) -> bool:
        return not self._ended and (self._next == len(self._log) or _PLACE(self._log[-1]) < position)

    def merge(self, item: Item, add: Callable[[Chain, Item], object]) -> None:
        """Walk to the place of a new observation, and add it, or judge it if that place is taken."""
        position = item.position
        while (following := self._following()) is not None and following <= position:
            if self.chain.in_step:
                self._skip(position)
            else:
                self._pass()
        if (taken := self.chain.standing_at(item)) is not None:
            self.chain.meet(item, taken)
            return
        add(self.chain, item)
        self.added = (self.added[0] if self.added else position), position

    def mend(self) -> None:
        """Walk on until nothing that follows differs from what is stored."""
        while not self.chain.in_step and self._following() is not None:
            self._pass()

    def _following(self) -> tuple[int, int] | None:
        """The place of the next stored observation."""
        if self._next == len(self._log) and not self._ended:
            self._read_page()
        return _PLACE(self._log[self._next]) if self._next < len(self._log) else None

    def _pass(self) -> None:
        logged = Logged._make(self._log[self._next])
        self._next += 1
        self.chain.pass_stored(logged, {row[2]: (row[3], row[4]) for row in self._take_rows(logged.position)})

    def _skip(self, until: Position) -> None:
        """Pass all that is stored up to a place, at once."""
        self._next = bisect_right(self._log, until, self._next, key=_PLACE)
        logged = Logged._make(self._log[self._next - 1])
        self.chain.skip(logged, self._take_rows(logged.position))

    def _take_rows(self, until: Position) -> list[tuple[Any, ...]]:
        start = self._next_row
        self._next_row = bisect_right(self._rows, until, start, key=_PLACE)
        return self._rows[start : self._next_row]

    def _read_page(self) -> None:
        ahead, rows_ahead = self._log[self._next :], self._rows[self._next_row :]
        after = BEFORE_ALL if self.chain.previous is None else self.chain.previous.position
        if ahead:
            after = Position(*_PLACE(ahead[-1]))
        size = _SHORT_PAGE_SIZE if self._sparse else _PAGE_SIZE
        values = {"observer": self._observer_id, "after_at": after.observed_at, "after_sequence": after.sequence}
        found = fetched(self._connection, _PAGE, {**values, "size": size})
        self._log, self._rows, self._next, self._next_row = ahead + found, rows_ahead, 0, 0
        self._ended = len(found) < size
        if found:
            values |= {"until_at": found[-1][0], "until_sequence": found[-1][1]}
            self._rows = rows_ahead + fetched(self._connection, CHANGES_BETWEEN, values)
