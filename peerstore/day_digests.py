"""Digests of days: what stored history is held against, so that a changed, missing or added row is found and placed.

Of each observer and each day (UTC), ``day_digest`` holds how many rows the log and the change rows have there, and the
sum of their hashes, modulo a prime. A hash is over content: the observer's key and the digests of elements and
documents, not their ids. That of a row of the log is BLAKE2b's; that of a change row, of which there are many more, is
a product of two linear forms of what it says (time and element; document, the one before and observer), as in universal
hashing. Sums make the digest independent of the order of recording, and let a change cost what it changes. They find
every accident; they are no signature against somebody who can write to the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.chain import Edits
from peerstore.prepared import PreparedByIds
from peerstore.states import DAY
from peerstore.tables import document, element

SIZE = 16
"""The bytes of a digest."""
PRIME = 2**127 - 1
ABSENT = 1
"""What stands for a missing document."""
_AT, _SEQUENCE, _BEFORE = 0x9E3779B97F4A7C15F39CC0605CEDC835, 0xC2B2AE3D27D4EB4F165667B19E3779F9, 0xD6E8FEB86659FD93
_MOST_KEPT = 40_000

LogRow = Sequence[int | None]
"""A row of the log in the order of its columns: observer_id, observed_at, sequence, recorded_at, stopped, max_silence,
gap_from."""
Digests = Mapping[int | None, int]
"""The digests of elements or documents by their ids, as numbers."""


class Day(NamedTuple):
    """A day of an observer: the whole days since 1970."""

    observer_id: int
    day: int


class DaySum(NamedTuple):
    """What rows of a day come to; or by how much a day has changed."""

    observations: int = 0
    changes: int = 0
    total: int = 0

    def plus(self, other: DaySum) -> DaySum:
        """Both together."""
        return DaySum(self.observations + other.observations, self.changes + other.changes, self.total + other.total)

    def digest(self) -> bytes:
        """The sum as it is stored."""
        return (self.total % PRIME).to_bytes(SIZE, "big")

    @classmethod
    def of_row(cls, observations: int, changes: int, digest: bytes) -> DaySum:
        """The sum that is stored."""
        return cls(observations, changes, int.from_bytes(digest, "big"))


def number_of(content: bytes) -> int:
    """Bytes as a number."""
    return int.from_bytes(content, "big")


def number_of_observer(key: str) -> int:
    """An observer in the hashes of its change rows."""
    return number_of(blake2b(key.encode(), digest_size=SIZE).digest())


def hash_of_logged(observer: str, row: LogRow) -> int:
    """The hash of a row of the log."""
    _, at, sequence, recorded_at, stopped, max_silence, gap_from = row
    said = f"log|{observer}|{at}|{sequence}|{recorded_at}|{stopped}|{max_silence}|{gap_from}"
    return number_of(blake2b(said.encode(), digest_size=SIZE).digest())


def hash_of_change(observer: int, at: int, sequence: int, item: int, now: int, before: int) -> int:
    """The hash of a change row, before it is taken modulo the prime."""
    return (item + at * _AT + sequence * _SEQUENCE) * (now + before * _BEFORE + observer)


_NOTHING = DaySum()
_LOG_WIDTH, _CHANGE_WIDTH = 7, 7


class DaySums:
    """By how much a transaction changes the sums of days."""

    def __init__(self, known: KnownDigests) -> None:
        self.changed: dict[Day, DaySum] = {}
        self._known = known

    def take(self, connection: Connection, edits: Edits, observers: Mapping[int, str]) -> None:
        """Count what is to be written, of observers with these keys."""
        day, count, total = Day(0, 0), 0, 0
        for start in range(0, len(edits.logged), _LOG_WIDTH):
            row: list[Any] = edits.logged[start : start + _LOG_WIDTH]
            if row[0] != day.observer_id or row[1] // DAY != day.day:
                self._add(day, count, 0, total)
                day, count, total = Day(row[0], row[1] // DAY), 0, 0
            count += 1
            total += hash_of_logged(observers[day.observer_id], row)
        self._add(day, count, 0, total)
        for number, logged, gap in edits.gaps:
            self.add_logged(observers[number], (number, *logged), -1)
            self.add_logged(observers[number], (number, *logged[:-1], gap), 1)
        keys = {number: number_of_observer(key) for number, key in observers.items()}
        self.add_changes(
            connection, [edits.changes[start::_CHANGE_WIDTH] for start in range(_CHANGE_WIDTH - 1)], keys, 1
        )
        gone = [(number, *place, *row) for number, place, *row in edits.deleted]
        if gone:
            self.add_changes(connection, list(map(list, zip(*gone, strict=True))), keys, -1)

    def add_changes(
        self, connection: Connection, columns: list[list[Any]], observers: Mapping[int, int], sign: int
    ) -> None:
        """Change rows, given as columns (those of the table, without the day), come; or, with the sign -1, go. No row
        is kept as a tuple: that would keep the garbage collector busy."""
        items = self._known.elements(connection, columns[3])
        documents = self._known.documents(connection, {*columns[4], *columns[5]} - {None})
        day, observer, count, total = Day(0, 0), 0, 0, 0
        for number, at, sequence, element_id, now, before in zip(*columns, strict=True):
            if number != day.observer_id or at // DAY != day.day:
                self._add(day, 0, sign * count, sign * total)
                day, observer, count, total = Day(number, at // DAY), observers[number], 0, 0
            count += 1
            total += hash_of_change(observer, at, sequence, items[element_id], documents[now], documents[before])
        self._add(day, 0, sign * count, sign * total)

    def add_logged(self, observer: str, row: LogRow, sign: int) -> None:
        """A row of the log of the observer with this key comes; or, with the sign -1, goes."""
        number, at = row[0], row[1]
        assert number is not None
        assert at is not None
        self._add(Day(number, at // DAY), sign, 0, sign * hash_of_logged(observer, row))

    def _add(self, day: Day, observations: int, changes: int, total: int) -> None:
        if not (observations or changes):
            return
        known = self.changed.get(day, _NOTHING)
        self.changed[day] = DaySum(
            known.observations + observations, known.changes + changes, (known.total + total) % PRIME
        )


class KnownDigests:
    """The digests of elements and documents by id, read where they are not known. Bounded in memory."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop what is known: the transaction that made it has failed."""
        self._elements: dict[int | None, int] = {}
        self._documents: dict[int | None, int] = {None: ABSENT}

    def learn_element(self, number: int, digest: bytes) -> None:
        """Note the digest of an element."""
        self._elements[number] = number_of(digest)

    def learn_document(self, number: int, digest: bytes) -> None:
        """Note the digest of a document."""
        self._documents[number] = number_of(digest)

    def elements(self, connection: Connection, ids: Iterable[int]) -> Digests:
        """The digests of at least these elements."""
        self._elements = _known(connection, _ELEMENTS, self._elements, ids)
        return self._elements

    def documents(self, connection: Connection, ids: Iterable[int]) -> Digests:
        """The digests of at least these documents, and of none."""
        self._documents = _known(connection, _DOCUMENTS, self._documents, ids)
        return self._documents


_ELEMENTS = PreparedByIds(sa.select(element.c.id, element.c.digest), element.c.id)
_DOCUMENTS = PreparedByIds(sa.select(document.c.id, document.c.digest), document.c.id)


def _known(
    connection: Connection, statement: PreparedByIds, known: dict[int | None, int], ids: Iterable[int]
) -> dict[int | None, int]:
    asked = set(ids)
    if len(known) + len(asked) > _MOST_KEPT:
        known = {number: known[number] for number in (None, *asked) if number in known}
    missing = [number for number in asked if number not in known]
    known.update((number, number_of(found)) for number, found in statement.all(connection, missing))
    return known
