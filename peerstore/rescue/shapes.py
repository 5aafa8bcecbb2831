"""What a row of each table looks like: by this it is told from damage, and from the rows of other tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from peerstore.envelope import MAX_SEQUENCE, MAX_SILENCE
from peerstore.rescue.pages import Values
from peerstore.states import DAY
from peerstore.times import EARLIEST, LATEST


class Shape(NamedTuple):
    """A table or an index: whether a row can be one of its, how many columns its key has (if it has no rowid), whether
    its rows have a rowid, and whether this is the first column."""

    fits: Callable[[Values], bool]
    key: int = 0
    with_rowid: bool = False
    rowid_first: bool = False


def _whole(value: Any) -> bool:
    return isinstance(value, int)


def _moment(value: Any) -> bool:
    return isinstance(value, int) and EARLIEST - 1 <= value <= LATEST


def _silence(value: Any) -> bool:
    return isinstance(value, int) and 0 < value <= MAX_SILENCE


def _maybe(check: Callable[[Any], bool], value: Any) -> bool:
    return value is None or check(value)


def _place(at: Any, sequence: Any) -> bool:
    return _moment(at) and _whole(sequence) and 0 <= sequence <= MAX_SEQUENCE


def _is_change(row: Values) -> bool:
    return (
        len(row) == 7
        and _place(row[1], row[2])
        and _whole(row[0])
        and _whole(row[3])
        and _maybe(_whole, row[4])
        and _maybe(_whole, row[5])
        and row[6] == row[1] // DAY
    )


def _is_timeline(row: Values) -> bool:
    return len(row) == 7 and _is_change(change_of_timeline(row))


def _is_logged(row: Values) -> bool:
    return (
        len(row) == 7
        and _place(row[1], row[2])
        and _whole(row[0])
        and _moment(row[3])
        and row[4] in (0, 1)
        and _maybe(_silence, row[5])
        and _maybe(_moment, row[6])
    )


def _is_keyframe(row: Values) -> bool:
    return len(row) == 4 and _whole(row[0]) and _place(row[1], row[2]) and isinstance(row[3], bytes)


def _is_day(row: Values) -> bool:
    return len(row) == 5 and all(map(_whole, row[:4])) and isinstance(row[4], bytes) and len(row[4]) == 16


def _is_observer(row: Values) -> bool:
    return len(row) == 3 and _whole(row[0]) and isinstance(row[1], str) and _whole(row[2])


def _is_key(row: Values) -> bool:
    return len(row) == 2 and isinstance(row[0], str) and _whole(row[1])


def _is_document(row: Values) -> bool:
    return len(row) == 3 and _whole(row[0]) and isinstance(row[1], bytes) and isinstance(row[2], str)


def _is_element(row: Values) -> bool:
    texts = row[3:]
    return len(row) == 7 and _whole(row[0]) and isinstance(row[1], bytes) and row[2] in _KINDS and _texts(texts)


def _texts(values: Values) -> bool:
    return all(value is None or isinstance(value, str) for value in values)


def _is_digest(row: Values) -> bool:
    return len(row) == 2 and isinstance(row[0], bytes) and len(row[0]) == 16 and _whole(row[1])


def _is_ends(row: Values) -> bool:
    return len(row) == 3 and _texts(row[:1]) and row[1] in _KINDS and _whole(row[2])


def _is_end(row: Values) -> bool:
    return len(row) == 2 and _texts(row[:1]) and _whole(row[1])


def _is_reject(row: Values) -> bool:
    return (
        len(row) == 9
        and _whole(row[0])
        and isinstance(row[1], bytes)
        and row[2] in ("rejected", "conflict")
        and isinstance(row[3], str)
        and _whole(row[4])
        and isinstance(row[5], str)
        and _moment(row[6])
        and isinstance(row[7], bytes)
        and row[8] in (0, 1)
    )


def _is_fact(row: Values) -> bool:
    return len(row) == 2 and all(isinstance(value, str) for value in row)


def _is_removal(row: Values) -> bool:
    if len(row) != 12 or row[1] not in _REMOVALS or not all(map(_whole, (row[0], row[2], *row[7:]))):
        return False
    return all(_maybe(_whole, each) for each in row[3:7])


def change_of_timeline(row: Values) -> Values:
    """A row of the timeline index as the change row that it repeats."""
    observer, day, element, at, sequence, document, previous = row
    return observer, at, sequence, element, document, previous, day


_KINDS = ("peer", "connection", "graph")
_REMOVALS = ("prune", "thin", "forget")

SHAPES: dict[str, Shape] = {
    "element_change": Shape(_is_change, 4),
    "ix_element_change_timeline": Shape(_is_timeline, 5),
    "observation_log": Shape(_is_logged, 3),
    "day_digest": Shape(_is_day, 2),
    "keyframe": Shape(_is_keyframe, with_rowid=True),
    "observer": Shape(_is_observer, with_rowid=True, rowid_first=True),
    "document": Shape(_is_document, with_rowid=True, rowid_first=True),
    "element": Shape(_is_element, with_rowid=True, rowid_first=True),
    "reject": Shape(_is_reject, with_rowid=True, rowid_first=True),
    "removal": Shape(_is_removal, with_rowid=True, rowid_first=True),
    "store_info": Shape(_is_fact, with_rowid=True),
}
"""The tables (and the index that repeats one) whose rows are looked for wherever they stand in the file. A page that
was found belongs to the first that it can belong to: rows of the first two are told by their days."""

REPEATING: dict[str, Shape] = {
    "sqlite_autoindex_observer_1": Shape(_is_key, 2),
    "sqlite_autoindex_document_1": Shape(_is_digest, 2),
    "sqlite_autoindex_element_1": Shape(_is_digest, 2),
    "sqlite_autoindex_reject_1": Shape(_is_digest, 2),
    "ix_element_peer1_kind": Shape(_is_ends, 3),
    "ix_element_peer2": Shape(_is_end, 2),
    "forgotten_peer": Shape(_is_digest, 1),
}
"""Indexes that repeat a part of what a table holds, and a table that looks like one; they are read where they stand."""
