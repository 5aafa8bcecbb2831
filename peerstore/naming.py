"""What peers are called: the names that documents tell, and the newest of a peer, without reading its history."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.database import chunks
from peerstore.states import BEFORE_ALL, DAY, at_end_of
from peerstore.tables import document, element, element_change, observer
from peerstore.timelines import days_with_rows, element_rows

_LONGER = 8  # each step back goes so many times as far as the one before it

_change = element_change.c
_BODIES = sa.select(document.c.id, document.c.body).where(document.c.id.in_(sa.bindparam("ids", expanding=True)))


def device_name(body: str) -> str:
    """The device name in a peer's document (its JSON text); an empty one if there is none.

    >>> device_name('{"device_name":"Till","os":"Android"}'), device_name('{"device_name":null}')
    ('Till', '')
    """
    return json.loads(body).get("device_name") or ""


def newest_names(connection: Connection, elements: Collection[int]) -> dict[int, str]:
    """The newest device name of each of these peers that ever had one: of the version with a name that began last, in
    whoever's view.

    Each observer's days are looked at from the last one back, as far as may yet hold something newer.
    """
    found: dict[int, tuple[int, str]] = {}
    unnamed = (BEFORE_ALL.observed_at, "")
    for observer_id, first, last in connection.execute(_DAYS_OF_OBSERVERS).all() if elements else ():
        end, length = last, 1
        while end >= first:
            older = [number for number in elements if found.get(number, unnamed)[0] < (end + 1) * DAY]
            if not older:
                break
            for number, at, name in _newest_within(connection, observer_id, older, end - length + 1, end):
                found[number] = max(found.get(number, unnamed), (at, name))
            end, length = end - length, length * _LONGER
    return {number: name for number, (_, name) in found.items()}


def _days_of_observers() -> sa.Select[Any]:
    of_observer = element_change.c.observer_id == observer.c.id
    first = sa.select(sa.func.min(_change.day)).where(of_observer).scalar_subquery().label("first_day")
    last = sa.select(sa.func.max(_change.day)).where(of_observer).scalar_subquery().label("last_day")
    days = sa.select(observer.c.id, first, last).subquery("observer_days")
    return sa.select(days).where(days.c.last_day.is_not(None)).order_by(days.c.last_day.desc(), days.c.id)


_DAYS_OF_OBSERVERS = _days_of_observers()
"""The first and the last day on which each observer saw a change, the one that saw the last first."""


def _last_versions() -> sa.Select[Any]:
    days = days_with_rows()
    last = (
        sa.select(_change.observed_at)
        .where(
            _change.observer_id == sa.bindparam("observer", type_=sa.BigInteger),
            _change.day == days.c.day,
            _change.element_id == element.c.id,
            _change.document_id.is_not(None),
        )
        .correlate(days, element)
        .order_by(_change.observed_at.desc(), _change.sequence.desc())
        .limit(1)
    )
    return (
        sa.select(
            element.c.id,
            last.scalar_subquery(),
            last.with_only_columns(_change.document_id).scalar_subquery(),
        )
        .select_from(days.join(element, sa.true()))
        .where(
            element.c.id.in_(sa.bindparam("ids", expanding=True)),
            days.c.day <= sa.bindparam("to_day", type_=sa.BigInteger),
        )
    )


_LAST_VERSIONS = _last_versions()
"""Of each of the elements ``ids`` on each day from ``from_day`` to ``to_day``: when its last version began, and its
document."""


def _newest_within(
    connection: Connection, observer_id: int, elements: Iterable[int], first: int, last: int
) -> Iterator[tuple[int, int, str]]:
    """Of each element with a version in an observer's view that began on these days: when its newest with a name did
    (it may be older), and that name."""
    newest: dict[int, tuple[int, int]] = {}
    for ids in chunks(elements):
        values = {"observer": observer_id, "ids": ids, "from_day": first, "to_day": last}
        for number, at, version in connection.execute(_LAST_VERSIONS, values):
            if at is not None and at >= newest.get(number, (at, 0))[0]:
                newest[number] = at, version
    names = _names(connection, {version for _, version in newest.values()})
    for number, (at, version) in newest.items():
        if names[version]:
            yield number, at, names[version]
        else:
            yield from _last_named(connection, observer_id, number, last)


def _last_named(connection: Connection, observer_id: int, number: int, day: int) -> Iterator[tuple[int, int, str]]:
    """The newest version with a name of one whose newest has none: seldom needed, so it may read all its rows."""
    rows = element_rows(connection, observer_id, [number], BEFORE_ALL, at_end_of((day + 1) * DAY - 1))
    versions = [(at, version) for at, _, _, version, _ in rows if version is not None]
    names = _names(connection, {version for _, version in versions})
    named = [(number, at, names[version]) for at, version in versions if names[version]]
    yield from named[-1:]


def _names(connection: Connection, documents: Iterable[int]) -> dict[int, str]:
    return {
        number: device_name(body)
        for ids in chunks(documents)
        for number, body in connection.execute(_BODIES, {"ids": ids})
    }
