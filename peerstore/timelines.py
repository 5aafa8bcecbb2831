"""The change rows of few elements, by the timeline index, without reading those of the others.

The index is led by the day, so that recording writes to few of its pages at a time; a reader hops from day to day that
has rows, by a recursive query (a loose index scan), and within each day to the element.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.states import DAY, Position, at_end_of, until_bound
from peerstore.tables import element_change

_change = element_change.c
_observer = sa.bindparam("observer", type_=sa.BigInteger)
_from_day = sa.bindparam("from_day", type_=sa.BigInteger)
_to_day = sa.bindparam("to_day", type_=sa.BigInteger)
_ids: sa.BindParameter[int] = sa.bindparam("ids", expanding=True)

ChangeRow = tuple[int, int, int, int | None, int | None]


def days_with_rows() -> sa.CTE:
    """The days, from ``from_day`` to about ``to_day``, on which the observer ``observer`` has change rows."""
    first, following = element_change.alias("first"), element_change.alias("following")
    days = (
        sa.select(sa.func.min(first.c.day).label("day"))
        .where(first.c.observer_id == _observer, first.c.day >= _from_day)
        .cte("days", recursive=True)
    )
    next_day = sa.select(sa.func.min(following.c.day)).where(
        following.c.observer_id == _observer, following.c.day > days.c.day
    )
    return days.union_all(sa.select(next_day.scalar_subquery()).where(days.c.day < _to_day))


def _rows() -> sa.Select[Any]:
    days = days_with_rows()
    return (
        sa.select(_change.observed_at, _change.sequence, _change.element_id, _change.document_id, _change.previous_id)
        .select_from(days.join(element_change, _change.day == days.c.day))
        .where(_change.observer_id == _observer, _change.element_id.in_(_ids), days.c.day <= _to_day)
    )


ROWS = _rows()
"""Rows of the elements ``ids`` on the days from ``from_day`` to ``to_day``, in no order."""


def element_rows(
    connection: Connection, observer_id: int, elements: Collection[int], after: Position, until: Position
) -> Sequence[ChangeRow]:
    """The change rows of some elements in ``(after, until]``: (observed_at, sequence, element, document, previous), in
    order."""
    if not elements:
        return []
    days = {"from_day": max(after.observed_at // DAY, -(2**40)), "to_day": min(until.observed_at // DAY, 2**40)}
    found = connection.execute(ROWS, {"observer": observer_id, "ids": list(elements), **days}).all()
    rows = [row for row in found if after < (row[0], row[1]) <= until]
    rows.sort(key=lambda row: (row[0], row[1], row[2]))
    return rows


def last_row(connection: Connection, observer_id: int, element: int, until: Position) -> ChangeRow | None:
    """The last change row of an element at or before a position. Looks back in steps that grow, so costs what lies
    between."""
    end, step = until, 4 * DAY
    while True:
        start = at_end_of(max(end.observed_at - step, -(2**62)))
        rows = element_rows(connection, observer_id, [element], start, end)
        if rows:
            return rows[-1]
        if start.observed_at <= -(2**62) or not _rows_before(connection, observer_id, start):
            return None
        end, step = start, step * 8


def _rows_before(connection: Connection, observer_id: int, until: Position) -> bool:
    statement = (
        sa.select(_change.day)
        .where(
            _change.observer_id == _observer,
            until_bound(element_change),
        )
        .limit(1)
    )
    values = {"observer": observer_id, "until_at": until.observed_at, "until_sequence": until.sequence}
    return connection.execute(statement, values).first() is not None
