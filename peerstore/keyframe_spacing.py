"""Where keyframes stand in an observer's chain, and which are missing once rows were added in its midst."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.keyframes import pack
from peerstore.late import fetched
from peerstore.states import (
    AFTER_ALL,
    BEFORE_ALL,
    Position,
    after_bound,
    between,
    changes_between,
    keyframe_after,
    keyframe_before,
    until_bound,
)
from peerstore.tables import element_change, keyframe

KEYFRAME_FLOOR = 64
"""A keyframe follows once the change rows since the last one are half as many as the live elements, but at least this
many: a reader then applies a quarter of the state on average, for 2 bytes a change more than keyframes half as dense
(docs/performance.md)."""


def spacing(live: int) -> int:
    """After so many change rows a keyframe follows, where so many elements are live."""
    return max(KEYFRAME_FLOOR, live // 2)


class Stretch(NamedTuple):
    """A stretch of an observer's chain to which rows were added; about so many elements were ``live`` there."""

    observer_id: int
    first: Position
    last: Position
    live: int

    def long_ways(self, connection: Connection) -> list[Position]:
        """The keyframes from which on the way to the next is long."""
        ends = between(self.observer_id, self.first, self.last)
        places = [Position._make(row) for row in connection.execute(_KEYFRAMES_AROUND, ends)]
        before = places.pop(0) if places and places[0] <= self.first else BEFORE_ALL
        after = places[-1] if places and places[-1] > self.last else AFTER_ALL
        values = between(self.observer_id, before, after)
        rows = fetched(connection, _COUNT_CHANGES, values)
        long: list[Position] = []
        start, length = before, 0
        waiting = iter([*places, AFTER_ALL])
        end = next(waiting)
        for at, sequence, count in rows:
            while (at, sequence) > end:
                start, end, length = end, next(waiting), 0
            length += count
            if length > 2 * spacing(self.live) and start not in long[-1:]:
                long.append(start)
        return long

    def keyframes_after(self, connection: Connection, start: Position) -> list[int | bytes]:
        """The keyframes that are missing between one and the next, as one flat list of the values of their rows."""
        values: list[int | bytes] = []
        position, state = keyframe_before(connection, self.observer_id, start)
        until = keyframe_after(connection, self.observer_id, start)
        since, at = 0, position
        for observed_at, sequence, element, document, _ in changes_between(
            connection, self.observer_id, position, until
        ):
            here = Position(observed_at, sequence)
            if here != at and since >= spacing(len(state)):
                values += (self.observer_id, *at, pack(state))
                since = 0
            at, since = here, since + 1
            if document is None:
                state.pop(element, None)
            else:
                state[element] = document
        return values


_change, _keyframe = element_change.c, keyframe.c
_COUNT_CHANGES = (
    sa.select(_change.observed_at, _change.sequence, sa.func.count())
    .where(_change.observer_id == sa.bindparam("observer"), after_bound(element_change), until_bound(element_change))
    .group_by(_change.observed_at, _change.sequence)
    .order_by(_change.observed_at, _change.sequence)
)


def _keyframe_places(*where: sa.ColumnElement[bool]) -> sa.Select[tuple[int, int]]:
    return sa.select(_keyframe.observed_at, _keyframe.sequence).where(
        _keyframe.observer_id == sa.bindparam("observer"), *where
    )


_KEYFRAMES_AROUND = sa.union_all(
    sa.select(
        _keyframe_places(sa.not_(after_bound(keyframe)))
        .order_by(_keyframe.observed_at.desc(), _keyframe.sequence.desc())
        .limit(1)
        .subquery()
    ),
    _keyframe_places(after_bound(keyframe), until_bound(keyframe)),
    sa.select(
        _keyframe_places(sa.not_(until_bound(keyframe)))
        .order_by(_keyframe.observed_at, _keyframe.sequence)
        .limit(1)
        .subquery()
    ),
).order_by("observed_at", "sequence")
