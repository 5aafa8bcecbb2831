"""Verification: what is stored, held against itself. Never writes.

Documents and elements against their digests; each observer's chain of change rows against itself (what a row calls the
document before must be it); keyframes against the changes; ``gap_from`` against the log; the documents that peers ever
had against the changes; the engine's own checks of structure and of foreign keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.chain import gap_before
from peerstore.database import Database
from peerstore.errors import DatabaseError
from peerstore.interning import digest, element_digest
from peerstore.keyframes import State, unpack
from peerstore.model import Element
from peerstore.states import AFTER_ALL, BEFORE_ALL, Logged, logged_between
from peerstore.tables import document, element, element_change, keyframe, observer, peer_document
from peerstore.times import iso

_MOST_FINDINGS = 100


@dataclass(slots=True)
class Verification:
    """What was checked, and what was found wrong; at most a hundred findings are spelled out."""

    checked: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    total_findings: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.total_findings == 0

    def to_dict(self) -> dict[str, Any]:
        """The verification as JSON."""
        return {
            "ok": self.ok,
            "checked": self.checked,
            "findings": self.findings,
            "total_findings": self.total_findings,
        }

    def _count(self, what: str) -> None:
        self.checked[what] = self.checked.get(what, 0) + 1

    def _find(self, finding: str) -> None:
        self.total_findings += 1
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(finding)


def verify(database: Database, connection: Connection, full: bool = True) -> Verification:
    """Check the whole store; ``full=False`` leaves out what takes time in proportion to the history."""
    result = Verification()
    for problem in _structure(database, connection, full):
        result._find(problem)
    if full:
        _digests(connection, result)
        for number, key in connection.execute(sa.select(observer.c.id, observer.c.observer_key)).all():
            _Chain(connection, number, key, result).check()
        _peer_documents(connection, result)
    return result


def _structure(database: Database, connection: Connection, full: bool) -> Iterator[str]:
    if not database.is_sqlite:
        return
    check = "integrity_check" if full else "quick_check"
    for (said,) in connection.exec_driver_sql(f"PRAGMA {check}").all():
        if said != "ok":
            yield f"SQLite: {said}"
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        yield f"row {row} of {table} refers to a row of {parent} that is not there"


def _digests(connection: Connection, result: Verification) -> None:
    rows = connection.execute(sa.select(document), execution_options={"yield_per": 1000})
    for row in rows:
        result._count("documents")
        if digest(row.body.encode()) != bytes(row.digest):
            result._find(f"document {row.id} does not match its digest")
    rows = connection.execute(sa.select(element), execution_options={"yield_per": 1000})
    for row in rows:
        result._count("elements")
        item = Element(row.kind, row.peer1 or "", row.peer2 or "", row.type or "", row.source_id or "")
        if element_digest(item) != bytes(row.digest):
            result._find(f"element {row.id} does not match its digest")


def _peer_documents(connection: Connection, result: Verification) -> None:
    told = sa.select(peer_document.c.element_id, peer_document.c.document_id)
    change = element_change.c
    seen = (
        sa.select(change.element_id, change.document_id)
        .select_from(element_change.join(element, element.c.id == change.element_id))
        .where(element.c.kind == "peer", change.document_id.is_not(None))
    )
    count = connection.execute(sa.select(sa.func.count()).select_from(peer_document)).scalar_one()
    if count:
        result.checked["peer_documents"] = count
    for statement, problem in (
        (seen.except_(told), "peer_document does not tell that peer {} had document {}"),
        (told.except_(seen), "peer_document tells that peer {} had document {}: no change row does"),
    ):
        ordered = statement.order_by("element_id", "document_id")
        for pair in connection.execute(ordered, execution_options={"yield_per": 1000}):
            result._find(problem.format(*pair))


class _Chain:
    """The check of one observer's chain: a replay from its beginning."""

    def __init__(self, connection: Connection, number: int, key: str, result: Verification) -> None:
        self._connection = connection
        self._number = number
        self._key = key
        self._result = result
        self._state: State = {}

    def check(self) -> None:
        """Replay the log, the change rows and the keyframes side by side."""
        changes = _Groups(self._rows(element_change))
        keyframes = _Groups(self._rows(keyframe))
        previous: Logged | None = None
        for logged in logged_between(self._connection, self._number, BEFORE_ALL, AFTER_ALL):
            self._result._count("observations")
            if gap_before(previous, logged.observed_at) != logged.gap_from:
                self._find(logged, "its gap_from is wrong")
            self._apply(logged, changes.take(logged))
            self._compare(logged, keyframes.take(logged))
            previous = logged
        if changes.rest() or keyframes.rest():
            self._result._find(f"observer {self._key}: rows stand at times at which it has no observation")

    def _rows(self, table: sa.Table) -> Iterator[Any]:
        columns = table.c
        statement = (
            sa.select(table).where(columns.observer_id == self._number).order_by(columns.observed_at, columns.sequence)
        )
        return iter(self._connection.execute(statement, execution_options={"yield_per": 1000}))

    def _apply(self, logged: Logged, rows: list[Any]) -> None:
        if rows and logged.stopped:
            self._find(logged, "it is a stop marker and has change rows")
        for row in rows:
            self._result._count("changes")
            before = self._state.get(row.element_id)
            if row.previous_id != before or row.document_id == before:
                self._find(logged, f"the change row of element {row.element_id} does not follow from the one before it")
            if row.document_id is None:
                self._state.pop(row.element_id, None)
            else:
                self._state[row.element_id] = row.document_id

    def _compare(self, logged: Logged, rows: list[Any]) -> None:
        for row in rows:
            self._result._count("keyframes")
            try:
                same = unpack(bytes(row.body)) == self._state
            except DatabaseError:
                same = False
            if not same:
                self._find(logged, "its keyframe differs from what the change rows give")

    def _find(self, logged: Logged, problem: str) -> None:
        where = f"observer {self._key} at {iso(logged.observed_at)}, sequence {logged.sequence}"
        self._result._find(f"{where}: {problem}")


class _Groups:
    """Rows grouped by their place in an observer's chain, taken in its order."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self._groups = ((place, list(group)) for place, group in groupby(rows, key=lambda row: (row[1], row[2])))
        self._next = next(self._groups, None)
        self._strays = 0

    def take(self, logged: Logged) -> list[Any]:
        """The rows at a place; those at places that were passed over are strays."""
        place = (logged.observed_at, logged.sequence)
        while self._next is not None and self._next[0] < place:
            self._strays += 1
            self._next = next(self._groups, None)
        if self._next is None or self._next[0] != place:
            return []
        rows = self._next[1]
        self._next = next(self._groups, None)
        return rows

    def rest(self) -> bool:
        """Whether any rows belong to no place."""
        return self._next is not None or self._strays > 0
