"""What is still known of peers from before the horizon of a pruned history.

Of each element that an observer held last before the horizon, and of each peer that it ever held, the last change rows
are kept (``docs/decisions/0014-retention.md``). They tell that a peer is not new, and what it was when it was last
present, so that an answer about the time from the horizon on is what it was before the history was pruned.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.coverage import Scope, last_watching
from peerstore.database import chunks
from peerstore.dictionary import Dictionary
from peerstore.states import BEFORE_ALL, Position, at_end_of
from peerstore.tables import observation_log
from peerstore.timelines import ChangeRow, element_rows, last_row


class LastPresence(NamedTuple):
    """The last presence of a peer before the horizon: its document, and where it ended, as far as that is known."""

    document: int
    end: int


class _Held(NamedTuple):
    """An observer's part in that: until when it held the peer, since when with this document."""

    end: int
    begin: int
    observer: int
    document: int


def held_before_horizon(connection: Connection, scope: Scope, elements: Collection[int]) -> set[int]:
    """Those of some peers that any observer of a scope held before the horizon; none if the history was not pruned."""
    if scope.retention.horizon is None:
        return set()
    return {
        row[2]
        for number in scope.observers.values()
        for part in chunks(elements)
        for row in element_rows(connection, number, part, BEFORE_ALL, at_end_of(scope.before_all))
    }


def first_seen_before_horizon(connection: Connection, scope: Scope, element: int) -> int | None:
    """When a peer was first seen, by what is kept from before the horizon: where it was there earlier still, the
    beginning of all time; ``None`` if it was not there before the horizon."""
    if scope.retention.horizon is None:
        return None
    kept: list[ChangeRow] = []
    for number in scope.observers.values():
        kept += element_rows(connection, number, [element], BEFORE_ALL, at_end_of(scope.before_all))
    if not kept:
        return None
    first = min(kept, key=lambda row: row[0])
    return first[0] if first[4] is None else BEFORE_ALL.observed_at


def last_before_horizon(
    connection: Connection, dictionary: Dictionary, scope: Scope, element: int
) -> LastPresence | None:
    """The last presence before the horizon of a peer that was absent at it; ``None`` if it never was there."""
    if scope.retention.horizon is None:
        return None
    found = [_held(connection, scope, number, element) for number in scope.observers.values()]
    held = [each for each in found if each is not None]
    if not held:
        return None
    end = max(each.end for each in held)
    names = {number: key for key, number in scope.observers.items()}
    key = dictionary.elements(connection, [element])[element].key
    last = min(
        (each for each in held if each.end == end),
        key=lambda each: (names[each.observer] != key, -each.begin, names[each.observer]),
    )
    return LastPresence(last.document, end)


def _held(connection: Connection, scope: Scope, observer: int, element: int) -> _Held | None:
    row = last_row(connection, observer, element, at_end_of(scope.before_all))
    if row is None:
        return None
    at, sequence, _, document, previous = row
    if document is not None:
        last = last_watching(connection, observer, scope, scope.before_all)
        return None if last is None else _Held(last + 1, at, observer, document)
    if previous is None:
        return None
    earlier = last_row(connection, observer, element, Position(at, sequence - 1))
    gap_from = connection.execute(_GAP, {"observer": observer, "at": at, "sequence": sequence}).scalar()
    end = at if gap_from is None else int(gap_from)
    return _Held(end, at if earlier is None else earlier[0], observer, previous)


_log = observation_log.c
_GAP = sa.select(_log.gap_from).where(
    _log.observer_id == sa.bindparam("observer"),
    _log.observed_at == sa.bindparam("at"),
    _log.sequence == sa.bindparam("sequence"),
)
