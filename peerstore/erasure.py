"""Erasing a forgotten peer from what is stored: the other module, beside recording, that writes to the history.

It goes step by step, a transaction each in which nobody else writes; after each the store is sound, and none is much
longer than what it removes takes:

1. the peer's digest is noted, so that nothing new of it is recorded, and a pseudonym takes its place in the documents
   of others' graphs;
2. its own observations are removed, from the last day back, and at last its name as an observer;
3. its rows, and those of its connections, are removed from each other observer's history, keyframes and all;
4. what no history holds any more is emptied: elements and documents keep their rows, since ids are never given again;
5. what was kept aside and speaks of it is removed;
6. the database is written anew, so that its bytes are gone from the files too.

A step that finds its work done does nothing, so that erasing can be broken off anywhere and begun again. Each step
makes another generation (:mod:`peerstore.removing`), and gives the row of the ``removal`` a new id, so that a prune
which goes on meanwhile with what it has planned breaks off.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.answers.forgetting import Erased
from peerstore.chain import Edits
from peerstore.chain_rows import DELETE_CHANGE, UPDATE_KEYFRAME, place_values, write_day_sums
from peerstore.database import Database, chunks
from peerstore.day_digests import DaySums, KnownDigests
from peerstore.dictionary import FORGOTTEN_OBSERVER
from peerstore.ditto import canonical_peer_key
from peerstore.errors import DatabaseBusy, DatabaseError, InputError, UnknownPeer
from peerstore.forgetting import pseudonym, with_local_peer
from peerstore.interning import digest
from peerstore.inventory import connection_elements, resolve_peer
from peerstore.keyframes import pack, unpack
from peerstore.removing import (
    Counts,
    Turns,
    empty_documents,
    empty_elements,
    raise_generation,
    remove_pairs,
)
from peerstore.retention import forgotten_digest, retention, store_secret
from peerstore.states import AFTER_ALL, DAY, Position, after_bound, between, state_at, until_bound
from peerstore.store_clock import store_time
from peerstore.tables import (
    day_digest,
    document,
    element_change,
    forgotten_peer,
    keyframe,
    observation_log,
    observer,
    reject,
    removal,
)
from peerstore.timelines import ChangeRow
from peerstore.traces import (
    NOTHING,
    Unused,
    as_observer,
    change_rows,
    change_rows_by_day,
    documents_as_local_peer,
    elements_of,
    graph_element,
    mentions_elsewhere,
    rejects_that_speak,
    unused_rows,
)

_MOST_ROWS = 20_000
"""About so many rows of history are removed in one transaction; of the peer's own observations, a day at least."""
_TRIES = 3

_TEXTS = ("element", "document", "reject", "observer")
_OTHERS = ("element_change", "keyframe", "observation_log", "peer_document", "day_digest")


def key_to_forget(connection: Connection, name: str, *, in_advance: bool = False) -> str:
    """The key of the peer that goes by a name: one that is stored, also as a mere end of connections, or one whose
    forgetting was begun. ``in_advance``: any key; else :class:`~peerstore.errors.UnknownPeer`."""
    try:
        return resolve_peer(connection, name)
    except UnknownPeer:
        try:
            key = canonical_peer_key(name)
        except InputError:
            key = name
        if in_advance or _removal_of(connection, _digest_of(connection, key)) is not None:
            return key
        if connection_elements(connection, [key]):
            return key
        raise


def foreseen(database: Database, connection: Connection, key: str) -> Erased:
    """What erasing a peer would come to."""
    found = Erased(key, dry_run=True, out_of_reach=_out_of_reach(database, vacuumed=True))
    number, others = as_observer(connection, key)
    items = elements_of(connection, key)
    found.bytes_before = found.bytes_after = database.size(connection)
    if number is not None:
        found.observations = _count(connection, observation_log, number)
        found.changes = _count(connection, element_change, number)
    for other in others:
        for rows in change_rows_by_day(connection, other, items):
            found.changes += len(rows)
            found.altered += len({row[:2] for row in rows})
    unused = unused_rows(connection, number, set(items))
    found.elements, found.documents = len(unused.elements), len(unused.documents)
    found.documents += len(documents_as_local_peer(connection, key, others))
    found.rejects = len(rejects_that_speak(connection, key))
    found.mentions = mentions_elsewhere(connection, key, unused)
    return found


class Erasure:
    """One peer's erasing; ``clock`` is the store's where it has one of its own."""

    def __init__(self, database: Database, key: str, clock: Callable[[], datetime] | None) -> None:
        self._database = database
        self._key = key
        self._clock = clock
        self._done = Erased(key, dry_run=False)
        self._turns = Turns(database)

    def run(self, *, vacuum: bool) -> Erased:
        """Erase the peer, whether or not it was begun before; what that came to."""
        done = self._done
        with self._database.reading() as connection:
            done.bytes_before = self._database.size(connection)
        self._step(self._begin)
        while self._step(self._last_days):
            pass
        with self._database.reading() as connection:
            _, others = as_observer(connection, self._key)
        for number in others:
            self._strip(number)
        self._sweep()
        self._drop_rejects()
        with self._database.reading() as connection:
            done.mentions = mentions_elsewhere(connection, self._key, NOTHING)
        if vacuum:
            self._vacuum()
        self._step(self._finish)
        with self._database.reading() as connection:
            done.bytes_after = self._database.size(connection)
        done.finished = True
        done.out_of_reach = _out_of_reach(self._database, vacuumed=vacuum)
        return done

    def _step(self, work: Callable[[Connection], Erased | None]) -> bool:
        """Do a part in a transaction, and note what it came to; whether there was anything to do."""

        def noted(connection: Connection) -> Erased | None:
            found = work(connection)
            if found is not None:
                _note(connection, _digest_of(connection, self._key), found)
            return found

        self._turns.give()
        found = self._database.erase(noted)
        if found is None:
            return False
        for name in ("altered", *Counts._fields):
            setattr(self._done, name, getattr(self._done, name) + getattr(found, name))
        return True

    def _part(self) -> Erased:
        return Erased(self._key, dry_run=False)

    def _now(self, connection: Connection) -> int:
        return store_time(self._database, connection, self._clock)

    def _begin(self, connection: Connection) -> Erased | None:
        told = _digest_of(connection, self._key)
        if _removal_of(connection, told) is not None:
            return self._part()
        values = {"kind": "forget", "performed_at": self._now(connection), **Counts()._asdict()}
        number = connection.execute(sa.insert(removal).values(values).returning(removal.c.id)).scalar_one()
        connection.execute(sa.insert(forgotten_peer).values(digest=told, removal_id=number))
        found = self._part()
        found.documents = self._rename_local_peer(connection, pseudonym(told))
        return found

    def _rename_local_peer(self, connection: Connection, name: str) -> int:
        """Let a pseudonym stand for the peer where it is the local peer of graphs that others observed."""
        number, others = as_observer(connection, self._key)
        bodies = documents_as_local_peer(connection, self._key, others)
        if not bodies:
            return 0
        bodies = {each: with_local_peer(body, name) for each, body in bodies.items()}
        digests = {each: digest(body.encode()) for each, body in bodies.items()}
        taken = sa.select(document.c.id).where(document.c.digest.in_(sa.bindparam("digests", expanding=True)))
        if connection.execute(taken, {"digests": list(digests.values())}).first() is not None:
            raise DatabaseError(
                f"graphs of {name} are recorded already, though that peer was not forgotten here: they came from a copy"
                " of this store that forgot it; forget the peer there, and use the copy"
            )
        everybody = dict(others) if number is None else {**others, number: self._key}
        graph = graph_element(connection)
        rows = {
            each: [row for row in change_rows(connection, each, graph) if row[3] in bodies or row[4] in bodies]
            for each in everybody
        }
        before = self._sums(connection, everybody, rows, gone=True)
        for each, body in bodies.items():
            connection.execute(sa.update(document).where(document.c.id == each).values(body=body, digest=digests[each]))
        after = self._sums(connection, everybody, rows, gone=False)
        write_day_sums(self._database, connection, before)
        write_day_sums(self._database, connection, after)
        return len(bodies)

    def _sums(
        self, connection: Connection, observers: dict[int, str], rows: dict[int, list[ChangeRow]], *, gone: bool
    ) -> DaySums:
        """By how much the sums of days change if change rows come or go."""
        edits = Edits()
        for number, of_observer in rows.items():
            for at, sequence, item, now, before in of_observer:
                if gone:
                    edits.deleted.append((number, Position(at, sequence), item, now, before))
                else:
                    edits.changes += (number, at, sequence, item, now, before, at // DAY)
        sums = DaySums(KnownDigests())
        sums.take(connection, edits, observers)
        return sums

    def _last_days(self, connection: Connection) -> Erased | None:
        """Remove the last days of what the peer observed: what is left is as it was when they had not come yet."""
        number, _ = as_observer(connection, self._key)
        if number is None:
            return None
        rows = sa.select(day_digest.c.day, day_digest.c.observations + day_digest.c.changes)
        days = connection.execute(
            rows.where(day_digest.c.observer_id == number).order_by(day_digest.c.day.desc())
        ).all()
        first, count = 0, 0
        for day, of_day in days:
            if count and count + of_day > _MOST_ROWS:
                break
            first, count = day, count + of_day
        whole = not days or first == days[-1][0]
        found = self._part()
        for table in (element_change, keyframe, observation_log, day_digest):
            statement = sa.delete(table).where(table.c.observer_id == number)
            if not whole:
                bound = table.c.day if table is day_digest else table.c.observed_at
                statement = statement.where(bound >= (first if table is day_digest else first * DAY))
            removed = connection.execute(statement).rowcount
            if table is element_change:
                found.changes = removed
            elif table is observation_log:
                found.observations = removed
        if whole:
            nobody = {"observer_key": f"{FORGOTTEN_OBSERVER}{number}", "last_recorded_at": self._now(connection)}
            connection.execute(sa.update(observer).where(observer.c.id == number).values(nobody))
        return found

    def _strip(self, number: int) -> None:
        """Remove the peer and its connections from what another observed, from the end back."""
        start: Position | None = AFTER_ALL
        while start is not None:
            before, start = start, None

            def work(connection: Connection, before: Position = before) -> Erased | None:
                nonlocal start
                items = elements_of(connection, self._key)
                rows, start = _last_rows(connection, number, items, before)
                return self._strip_rows(connection, number, set(items), rows, start, before) if rows else None

            self._step(work)

    def _strip_rows(
        self,
        connection: Connection,
        number: int,
        items: set[int],
        rows: list[ChangeRow],
        start: Position | None,
        before: Position,
    ) -> Erased:
        """Remove these rows, the last ones of these elements. If they are not all, from ``start`` on, the elements go
        away there: what is left is sound, and the next rows to be removed are those up to there, ``before``."""
        leaving: list[ChangeRow] = []
        if start is not None:
            state = state_at(connection, number, Position(start.observed_at, start.sequence - 1))[0]
            leaving = [(*start, item, None, state[item]) for item in sorted(items & state.keys())]
        key = connection.execute(sa.select(observer.c.observer_key).where(observer.c.id == number)).scalar_one()
        for some, is_gone in ((rows, True), (leaving, False)):
            sums = self._sums(connection, {number: key}, {number: some}, gone=is_gone)
            write_day_sums(self._database, connection, sums)
        gone = [{**place_values(number, Position(*row[:2])), "element": row[2]} for row in rows]
        connection.execute(DELETE_CHANGE, gone)
        values = [each for row in leaving for each in (number, *row, row[0] // DAY)]
        self._database.insert(connection, element_change, values)
        self._strip_keyframes(connection, number, items, Position(*rows[0][:2]), before)
        connection.execute(
            sa.update(observer).where(observer.c.id == number).values(last_recorded_at=self._now(connection))
        )
        found = self._part()
        found.changes = len(rows) - len(leaving)
        found.altered = len({row[:2] for row in rows} - {tuple(before)})
        return found

    def _strip_keyframes(
        self, connection: Connection, number: int, items: set[int], start: Position, before: Position
    ) -> None:
        after = Position(start.observed_at, start.sequence - 1)
        while rows := connection.execute(_KEYFRAMES, between(number, after, before)).all():
            for at, sequence, body in rows:
                after = Position(at, sequence)
                state = unpack(bytes(body))
                if items & state.keys():
                    stripped = pack({item: told for item, told in state.items() if item not in items})
                    connection.execute(UPDATE_KEYFRAME, {**place_values(number, after), "packed": stripped})

    def _sweep(self) -> None:
        """Empty what no history holds any more. To find it takes reading all: that is done before, and again meanwhile
        only if somebody keeps recording."""
        for tries in range(_TRIES):
            with self._database.reading() as connection:
                mark, unused = _mark(connection), unused_rows(connection, None, set())
            if self._swept(mark, unused, insist=tries == _TRIES - 1):
                return

    def _swept(self, mark: _Mark, unused: Unused, *, insist: bool) -> bool:
        stale = False

        def work(connection: Connection) -> Erased | None:
            nonlocal stale
            found = unused
            stale = _mark(connection) != mark
            if stale:
                if not insist:
                    return None
                found = unused_rows(connection, None, set())
            return self._empty(connection, found)

        self._step(work)
        return insist or not stale

    def _empty(self, connection: Connection, unused: Unused) -> Erased | None:
        if not any(unused):
            return None
        remove_pairs(connection, sorted(unused.pairs))
        empty_elements(connection, sorted(unused.elements))
        empty_documents(connection, sorted(unused.documents))
        found = self._part()
        found.elements, found.documents = len(unused.elements), len(unused.documents)
        return found

    def _drop_rejects(self) -> None:
        """Remove what was kept aside and speaks of the peer: nothing that does is kept aside any more."""
        with self._database.reading() as connection:
            numbers = rejects_that_speak(connection, self._key)
        for some in chunks(numbers):

            def work(connection: Connection, some: list[int] = some) -> Erased | None:
                found = self._part()
                found.rejects = connection.execute(sa.delete(reject).where(reject.c.id.in_(some))).rowcount
                return found

            self._step(work)

    def _vacuum(self) -> None:
        if not self._database.is_sqlite:
            self._database.erase(_analyze_empty_rejects)
        try:
            self._database.scrub(_TEXTS, _OTHERS)
        except DatabaseBusy as error:
            raise DatabaseBusy(
                f"{self._key} is forgotten and nothing tells of it any more, but its bytes are not gone from the files:"
                f" {error}. `peerstore forget` of the same key finishes it"
            ) from error

    def _finish(self, connection: Connection) -> Erased | None:
        told = _digest_of(connection, self._key)
        of = removal.c
        connection.execute(
            sa.update(removal)
            .where(of.id == _removal_of(connection, told), of.finished_at.is_(None))
            .values(finished_at=self._now(connection))
        )
        return None


def _analyze_empty_rejects(connection: Connection) -> None:
    """Let PostgreSQL forget what it knew of the values in a table that is empty now: it only learns from rows."""
    if connection.execute(sa.select(reject.c.id).limit(1)).first() is not None:
        return
    row = {"digest": b"", "kind": "rejected", "source": "", "line": 0, "reason": "", "recorded_at": 0}
    connection.execute(sa.insert(reject).values(**row, content=b"", complete=0))
    connection.exec_driver_sql("ANALYZE reject")
    connection.execute(sa.delete(reject).where(reject.c.digest == b""))


class _Mark(NamedTuple):
    """What is another one as soon as anything was recorded or removed."""

    generation: int
    last_recorded_at: int | None


def _mark(connection: Connection) -> _Mark:
    return _Mark(
        retention(connection).generation,
        connection.execute(sa.select(sa.func.max(observer.c.last_recorded_at))).scalar(),
    )


def _digest_of(connection: Connection, key: str) -> bytes:
    return forgotten_digest(key, store_secret(connection))


def _removal_of(connection: Connection, told: bytes) -> int | None:
    statement = sa.select(forgotten_peer.c.removal_id).where(forgotten_peer.c.digest == told)
    return connection.execute(statement).scalar_one_or_none()


def _note(connection: Connection, told: bytes, found: Erased) -> None:
    """Add to what a removal came to, under a new id: another removal that goes on meanwhile breaks off."""
    raise_generation(connection)
    number = _removal_of(connection, told)
    row = dict(connection.execute(sa.select(removal).where(removal.c.id == number)).mappings().one())
    del row["id"]
    for name in Counts._fields:
        row[name] += getattr(found, name)
    row["finished_at"] = None
    new = connection.execute(sa.insert(removal).values(**row).returning(removal.c.id)).scalar_one()
    connection.execute(sa.update(forgotten_peer).where(forgotten_peer.c.digest == told).values(removal_id=new))
    connection.execute(sa.delete(removal).where(removal.c.id == number))


def _last_rows(
    connection: Connection, observer_id: int, items: Collection[int], before: Position
) -> tuple[list[ChangeRow], Position | None]:
    """The last change rows of some elements, as many as may be removed at once, and from where on they are, which is
    ``before`` a place; all that there are, and None."""
    rows: list[ChangeRow] = []
    for of_day in change_rows_by_day(connection, observer_id, items):
        rows = of_day + rows
        starts = [Position(*row[:2]) for row in rows[: -_MOST_ROWS + 1]]
        earlier = [start for start in starts if start < before] if len(rows) > _MOST_ROWS else []
        if earlier:
            return [row for row in rows if row[:2] >= earlier[-1]], earlier[-1]
    return rows, None


def _count(connection: Connection, table: sa.Table, observer_id: int) -> int:
    statement = sa.select(sa.func.count()).select_from(table).where(table.c.observer_id == observer_id)
    return int(connection.execute(statement).scalar_one())


def _out_of_reach(database: Database, *, vacuumed: bool) -> tuple[str, ...]:
    told = ["backups, exports and other copies of this database"]
    if database.is_sqlite:
        told.append("blocks of the disk that the file system has freed, and its snapshots")
    else:
        told.append("the server's write-ahead log, its archive, and replicas until they have followed")
        told.append("what the server knows of tables' values (pg_statistic), if this role does not own the database")
    if not vacuumed:
        told.append("free room in the database's own files, which only a vacuum clears")
    return tuple(told)


_KEYFRAMES = (
    sa.select(keyframe.c.observed_at, keyframe.c.sequence, keyframe.c.body)
    .where(keyframe.c.observer_id == sa.bindparam("observer"), after_bound(keyframe), until_bound(keyframe))
    .order_by(keyframe.c.observed_at, keyframe.c.sequence)
    .limit(200)
)
