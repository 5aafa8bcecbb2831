"""Verification: what is stored, held against itself. Never writes.

Documents and elements against their digests; the rows of each observer and day against the digest of the day, so that
a changed, missing or added row is found and placed; each observer's chain of change rows against itself (what a row
calls the document before must be it); keyframes against the changes; ``gap_from`` against the log; the documents that
peers ever had against the changes; the engine's own checks of structure and of foreign keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore import events
from peerstore.chain import gap_before
from peerstore.database import Database
from peerstore.day_digests import (
    DaySum,
    KnownDigests,
    hash_of_change,
    hash_of_logged,
    number_of_observer,
)
from peerstore.errors import DatabaseError
from peerstore.interning import digest, element_digest
from peerstore.keyframes import State, unpack
from peerstore.model import Element
from peerstore.retention import retention
from peerstore.states import AFTER_ALL, BEFORE_ALL, DAY, Logged, logged_between
from peerstore.tables import day_digest, document, element, element_change, keyframe, observer, peer_document, removal
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
    checks: list[tuple[str, Callable[[], None]]] = [
        ("the structure", lambda: _structure(database, connection, result, full))
    ]
    if full:
        checks += [
            ("the documents", lambda: _documents(connection, result)),
            ("the elements", lambda: _elements(connection, result)),
            ("the observers", lambda: _observers(connection, result)),
            ("the documents of peers", lambda: _peer_documents(connection, result)),
        ]
    for what, check in checks:
        _guarded(result, what, check)
    for finding in result.findings:
        events.verification_finding(finding)
    events.verification_ended(full, result.total_findings, result.checked)
    return result


def _guarded(result: Verification, what: str, check: Callable[[], None]) -> None:
    """Make a check; if it breaks off, that is a finding: damage takes any form."""
    try:
        check()
    except Exception as error:
        said = getattr(error, "orig", None) or error
        result._find(f"{what} cannot be read to the end ({' '.join(str(said).split())})")


def _observers(connection: Connection, result: Verification) -> None:
    digests = KnownDigests()
    for number, key in connection.execute(sa.select(observer.c.id, observer.c.observer_key)).all():
        chain = _Chain(connection, number, key, result, digests)
        _guarded(result, f"observer {key}", chain.check)


def _structure(database: Database, connection: Connection, result: Verification, full: bool) -> None:
    if not database.is_sqlite:
        return
    check = "integrity_check" if full else "quick_check"
    for (said,) in connection.exec_driver_sql(f"PRAGMA {check}").all():
        if said != "ok":
            result._find(f"SQLite: {said}")
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        result._find(f"row {row} of {table} refers to a row of {parent} that is not there")


def _documents(connection: Connection, result: Verification) -> None:
    for row in connection.execute(sa.select(document), execution_options={"yield_per": 1000}):
        result._count("documents")
        if not isinstance(row.body, str) or digest(row.body.encode()) != row.digest:
            result._find(f"document {row.id} does not match its digest")


def _elements(connection: Connection, result: Verification) -> None:
    for row in connection.execute(sa.select(element), execution_options={"yield_per": 1000}):
        result._count("elements")
        item = Element(row.kind, row.peer1 or "", row.peer2 or "", row.type or "", row.source_id or "")
        if element_digest(item) != row.digest:
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
    checks = [
        (seen.except_(told), "peer_document does not tell that peer {} had document {}"),
        (told.except_(seen), "peer_document tells that peer {} had document {}: no change row does"),
    ]
    if connection.execute(sa.select(removal.c.id).where(removal.c.finished_at.is_(None)).limit(1)).first():
        del checks[1]  # one that was broken off: these go last
    for statement, problem in checks:
        ordered = statement.order_by("element_id", "document_id")
        for pair in connection.execute(ordered, execution_options={"yield_per": 1000}):
            result._find(problem.format(*pair))


class _Chain:
    """The check of one observer's chain: a replay from its beginning."""

    def __init__(
        self, connection: Connection, number: int, key: str, result: Verification, digests: KnownDigests
    ) -> None:
        self._connection = connection
        self._number = number
        self._key = key
        self._result = result
        self._state: State = {}
        self._digests = digests
        self._days: dict[int, DaySum] = {}
        self._before_all = retention(connection).before_all

    def check(self) -> None:
        """Replay the log, the change rows and the keyframes side by side."""
        changes = _Groups(self._rows(element_change))
        keyframes = _Groups(self._rows(keyframe))
        previous: Logged | None = None
        for logged in logged_between(self._connection, self._number, BEFORE_ALL, AFTER_ALL):
            self._result._count("observations")
            if self._is_whole(logged) and gap_before(previous, logged.observed_at) != logged.gap_from:
                self._find(logged, "its gap_from is wrong")
            rows = changes.take(logged)
            self._sum_up(logged, rows)
            self._apply(logged, rows)
            self._compare(logged, keyframes.take(logged))
            previous = logged
        if changes.rest() or keyframes.rest():
            self._result._find(f"observer {self._key}: rows stand at times at which it has no observation")
        self._compare_days()

    def _sum_up(self, logged: Logged, rows: list[Any]) -> None:
        day, observer = logged.observed_at // DAY, number_of_observer(self._key)
        items = self._digests.elements(self._connection, [row.element_id for row in rows])
        told = [document for row in rows for document in (row.document_id, row.previous_id) if document is not None]
        documents = self._digests.documents(self._connection, told)
        total = hash_of_logged(self._key, (self._number, *logged)) + sum(
            hash_of_change(
                observer,
                *logged.position,
                items.get(row.element_id, 0),
                documents.get(row.document_id, 0),
                documents.get(row.previous_id, 0),
            )
            for row in rows
        )
        self._days[day] = self._days.get(day, DaySum()).plus(DaySum(1, len(rows), total))

    def _compare_days(self) -> None:
        stored = sa.select(day_digest).where(day_digest.c.observer_id == self._number).order_by(day_digest.c.day)
        for row in self._connection.execute(stored):
            self._result._count("days")
            found = self._days.pop(row.day, DaySum())
            recorded = DaySum.of_row(row.observations, row.changes, bytes(row.digest))
            if found.digest() != recorded.digest() or found[:2] != recorded[:2]:
                self._result._find(self._of_day(row.day, found, recorded))
        for day, found in sorted(self._days.items()):
            self._result._find(self._of_day(day, found, DaySum()))

    def _of_day(self, day: int, found: DaySum, recorded: DaySum) -> str:
        where = f"observer {self._key} on {iso(day * DAY)[:10]}"
        if found[:2] == recorded[:2]:
            return (
                f"{where}: a row of its {found.observations} observations or {found.changes} changes is not as recorded"
            )
        return (
            f"{where}: {found.observations} observations and {found.changes} changes are there,"
            f" {recorded.observations} and {recorded.changes} were recorded"
        )

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
            if self._is_whole(logged) and (row.previous_id != before or row.document_id == before):
                self._find(logged, f"the change row of element {row.element_id} does not follow from the one before it")
            if row.document_id is None:
                self._state.pop(row.element_id, None)
            else:
                self._state[row.element_id] = row.document_id

    def _is_whole(self, logged: Logged) -> bool:
        """Whether what was before an observation is still there: of a pruned history a prune left parts."""
        return logged.observed_at > self._before_all

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
