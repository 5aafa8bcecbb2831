"""A removal on its way: transactions in which nobody records, and its row in ``removal``.

Removals are the only transactions that take from the history. Each raises ``removal_generation`` in ``store_info``, by
which everybody who records learns that what they know by id may be gone. Dictionary rows are emptied, not removed: an
id is never given to something else, and no engine must look for what refers to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.answers.removals import Removal, RemovalKind
from peerstore.database import Database, chunks
from peerstore.dictionary import observer_ids
from peerstore.errors import DatabaseError
from peerstore.interning import digest, element_digest
from peerstore.model import Element
from peerstore.retention import NAMES, Retention, retention
from peerstore.store_clock import store_time
from peerstore.tables import document, element, forgotten_peer, observation_log, peer_document, removal, store_info
from peerstore.times import instant

Result = TypeVar("Result")
Clock = Callable[[], datetime]

_LONGEST_HOLD, _PAUSE = 0.25, 0.15  # seconds

_EMPTIED = '{"removed":'
_SHARED = ('{"listed_by":', '{"local_peer":')
"""How the documents of connections and graphs begin, which are few and never emptied."""


class Removed(NamedTuple):
    """What was removed from another store on purpose: its ``facts`` by their names in ``store_info``, its rows of
    ``removal`` and of ``forgotten_peer``."""

    facts: Mapping[str, str]
    removals: Sequence[Sequence[Any]]
    forgotten: Sequence[Sequence[Any]]

    @property
    def horizon(self) -> int | None:
        """Where its history begins, if it was pruned."""
        return int(self.facts["horizon"]) if "horizon" in self.facts else None


def keep_removed(database: Database, removed: Removed) -> None:
    """Let a new store keep what another one kept: its horizon, its removals, whom it must not record (by its id, since
    it knows them by that)."""
    facts = {name: value for name, value in removed.facts.items() if name in NAMES}
    if not facts and not removed.forgotten:
        return
    if removed.forgotten and "store_id" in removed.facts:
        facts["store_id"] = removed.facts["store_id"]
    removals = [dict(zip(removal.c.keys(), row, strict=True)) for row in removed.removals]
    lost = {number for _, number in removed.forgotten} - {row["id"] for row in removals}
    nothing = {"kind": "forget", "performed_at": 0, **Counts()._asdict()}
    removals += [dict.fromkeys(removal.c.keys()) | nothing | {"id": number} for number in sorted(lost)]
    forgotten = [dict(zip(forgotten_peer.c.keys(), row, strict=True)) for row in removed.forgotten]

    def kept(connection: Connection) -> None:
        connection.execute(sa.delete(store_info).where(store_info.c.name.in_(facts)))
        connection.execute(sa.insert(store_info), [{"name": name, "value": value} for name, value in facts.items()])
        for table, rows in ((removal, removals), (forgotten_peer, forgotten)):
            if rows:
                connection.execute(sa.insert(table), rows)

    database.write(kept)


class Counts(NamedTuple):
    """How much was removed or emptied."""

    observations: int = 0
    changes: int = 0
    documents: int = 0
    elements: int = 0
    rejects: int = 0

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(*(one + another for one, another in zip(self, other, strict=True)))


class Turns:
    """Lets those who record have their turn between the transactions of a removal.

    SQLite gives its lock to whoever asks while it is free, and who waits asks ten times a second at the most
    (``sqliteDefaultBusyCallback`` in https://sqlite.org/src/file/src/main.c): one transaction right after the other
    would keep them out for as long as the removal lasts. PostgreSQL gives locks in the order in which they are asked
    for.
    """

    def __init__(self, database: Database) -> None:
        self._are_needed = database.is_sqlite
        self._since = time.monotonic()

    def give(self) -> None:
        """Before a transaction: pause if those before it have taken long, all in all."""
        if self._are_needed and time.monotonic() - self._since > _LONGEST_HOLD:
            time.sleep(_PAUSE)
            self._since = time.monotonic()


class Removing:
    """One removal: begin it, take its steps, finish it.

    A step is a transaction, run again where PostgreSQL asks for that: it must do no harm the second time.
    """

    def __init__(self, database: Database, kind: RemovalKind, clock: Clock | None, **told: int) -> None:
        self._database = database
        self._kind = kind
        self._clock = clock
        self._told = told
        self._id = 0
        self._turns = Turns(database)

    def begin(self, closed: Callable[[Retention], Retention], before: int | None = None) -> None:
        """Note it, and what is kept from now on: nobody records what is to go any more. What was known before anything
        that was observed ``before`` an instant cannot be told from now on."""

        def noted(connection: Connection) -> int:
            told = dict(self._told)
            kept = closed(retention(connection))
            if before is not None and (known_from := _last_recorded(connection, before)) is not None:
                told["known_from"] = known_from
                kept = kept._replace(known_from=max(known_from, kept.known_from or known_from))
            _keep(connection, kept)
            row = {"kind": self._kind, "performed_at": self._now(connection), **told, **Counts()._asdict()}
            return int(connection.execute(sa.insert(removal).returning(removal.c.id), row).scalar_one())

        self._id = self._transaction(noted)

    def step(self, work: Callable[[Connection], Counts]) -> None:
        """Take a step, and note what it removed."""

        def whole(connection: Connection) -> None:
            newest = connection.execute(sa.select(sa.func.max(removal.c.id))).scalar_one()
            if newest != self._id:
                raise DatabaseError(
                    "another removal began meanwhile, and this one was broken off: ask for it again once that one is"
                    " finished (`peerstore removals`)"
                )
            raise_generation(connection)
            counts = work(connection)
            added = {name: removal.c[name] + count for name, count in counts._asdict().items() if count}
            if added:
                connection.execute(sa.update(removal).where(removal.c.id == self._id).values(added))

        self._transaction(whole)

    def finish(self) -> Removal:
        """Note that it is done; how it is listed."""

        def done(connection: Connection) -> None:
            now = self._now(connection)
            connection.execute(sa.update(removal).where(removal.c.id == self._id).values(finished_at=now))

        self._transaction(done)
        with self._database.reading() as connection:
            return next(removals(connection, self._id))

    def _now(self, connection: Connection) -> int:
        return store_time(self._database, connection, self._clock)

    def _transaction(self, work: Callable[[Connection], Result]) -> Result:
        def alone(connection: Connection) -> Result:
            self._database.hold_off_recording(connection)
            return work(connection)

        self._turns.give()
        return self._database.write(alone)


def _last_recorded(connection: Connection, before: int) -> int | None:
    """When the last of the observations that were made before an instant was recorded."""
    log = observation_log.c
    statement = sa.select(sa.func.max(log.recorded_at)).where(
        log.observer_id == sa.bindparam("observer"), log.observed_at < before
    )
    numbers = observer_ids(connection).values()
    found = (connection.execute(statement, {"observer": number}).scalar() for number in numbers)
    return max((each for each in found if each is not None), default=None)


def _keep(connection: Connection, kept: Retention) -> None:
    """Write down what is kept, as another generation."""
    told = zip(NAMES, kept._replace(generation=kept.generation + 1), strict=True)
    for name, value in told:
        if value is None:
            continue
        row = {"name": name, "value": str(value)}
        changed = connection.execute(sa.update(store_info).where(store_info.c.name == name).values(row))
        if not changed.rowcount:
            connection.execute(sa.insert(store_info), row)


def raise_generation(connection: Connection) -> None:
    """Let everybody know, once this transaction is committed, that what they know by id may be gone."""
    _keep(connection, retention(connection))


def removals(connection: Connection, number: int | None = None) -> Iterator[Removal]:
    """What was removed so far, in the order in which it was; or one of them."""
    statement = sa.select(removal).order_by(removal.c.id)
    if number is not None:
        statement = statement.where(removal.c.id == number)
    for row in connection.execute(statement).all():
        yield Removal(
            row.kind,
            instant(row.performed_at),
            None if row.finished_at is None else instant(row.finished_at),
            None if row.before_at is None else instant(row.before_at),
            None if row.every is None else instant(row.every) - instant(0),
            row.observations,
            row.changes,
            row.documents,
            row.elements,
            row.rejects,
        )


def remove_pairs(connection: Connection, pairs: Collection[tuple[int, int | None]]) -> None:
    """Remove these peers and documents, which no change row has together, from ``peer_document``."""
    if pairs:
        connection.execute(_REMOVE_PAIR, [{"element": one, "document": another} for one, another in pairs])


def empty_elements(connection: Connection, ids: Collection[int]) -> int:
    """Empty elements that nothing refers to; how many."""
    rows = []
    for number in ids:
        name = f"removed-{number}"
        rows.append({"number": number, "name": name, "new": element_digest(Element("graph", id=name))})
    if rows:
        connection.execute(_EMPTY_ELEMENT, rows)
    return len(rows)


def empty_unused_documents(connection: Connection, ids: Collection[int]) -> int:
    """Empty those of these documents that no peer has any more (``peer_document`` tells); how many. Those of
    connections and graphs are left."""
    emptied = 0
    for chunk in chunks(ids):
        had = sa.select(peer_document.c.document_id).where(peer_document.c.document_id.in_(chunk))
        unused = sa.select(document.c.id, document.c.body).where(document.c.id.in_(chunk), document.c.id.not_in(had))
        told = connection.execute(unused).all()
        numbers = [number for number, body in told if not body.startswith((_EMPTIED, *_SHARED))]
        empty_documents(connection, numbers)
        emptied += len(numbers)
    return emptied


def empty_documents(connection: Connection, ids: Collection[int]) -> None:
    """Empty documents that nothing refers to: also those of connections and graphs."""
    rows = []
    for number in ids:
        new = f"{_EMPTIED}{number}}}"
        rows.append({"number": number, "text": new, "new": digest(new.encode())})
    if rows:
        connection.execute(_EMPTY_DOCUMENT, rows)


def is_emptied(body: sa.Column[str]) -> sa.ColumnElement[bool]:
    """Whether a document was emptied."""
    return sa.func.substr(body, 1, len(_EMPTIED)) == _EMPTIED


_REMOVE_PAIR = sa.delete(peer_document).where(
    peer_document.c.element_id == sa.bindparam("element"), peer_document.c.document_id == sa.bindparam("document")
)
_EMPTY_ELEMENT = (
    sa.update(element)
    .where(element.c.id == sa.bindparam("number"))
    # Its peer is not null: else it would be taken for the graph itself.
    .values(kind="graph", peer1="", peer2=None, type=None, source_id=sa.bindparam("name"), digest=sa.bindparam("new"))
)
_EMPTY_DOCUMENT = (
    sa.update(document)
    .where(document.c.id == sa.bindparam("number"))
    .values(body=sa.bindparam("text"), digest=sa.bindparam("new"))
)
