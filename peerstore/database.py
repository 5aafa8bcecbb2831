"""Engines and transactions: what is special about SQLite or PostgreSQL stands here, in :mod:`peerstore.sqlite_file` and
:mod:`peerstore.postgresql_link`, and nowhere else.

* SQLite: WAL with ``synchronous=FULL``, so that a returned commit is on the disk; writers begin with ``BEGIN
  IMMEDIATE`` (a deferred transaction that turns into a writer fails at once, whatever the timeout); readers are
  ``query_only`` and read one snapshot.
* PostgreSQL: readers read one snapshot (``REPEATABLE READ``, read only); writers lock the observers that they write
  for and are run again as a whole after a deadlock, a serialization failure or the loss of the connection. A dead
  server or network is noticed within a minute; so is one that only keeps silent, by those who record (readers wait for
  a slow answer as long as it takes).
* A file that was replaced or removed is noticed by the next transaction, before anything is acknowledged that nobody
  would find again.
"""

from __future__ import annotations

import copy
import errno
import functools
import os
import random
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from peerstore import events, postgresql_link, sqlite_file
from peerstore.database_url import database_url, holds_secret, redacted
from peerstore.errors import DatabaseBusy, DatabaseError, DatabaseMissing, MissingExtra, PeerstoreError
from peerstore.inserting import Inserting, chunks
from peerstore.postgresql_link import connect_impatiently, patiently_waiting
from peerstore.prepared import Prepared, Row, run
from peerstore.sqlite_file import CACHE, SMALL_CACHE, SQLiteFile

__all__ = ["APPLICATION_ID", "RETRY_SECONDS", "Database", "chunks"]

RETRY_SECONDS = 30
"""So long a transaction that PostgreSQL could not finish is begun again."""
APPLICATION_ID = 0x70656572  # "peer": marks an SQLite file as ours
_STEPS_BETWEEN_SIGNALS = 100_000  # of SQLite's virtual machine: some milliseconds
_REMOVAL_LOCK = 0x70656573

Result = TypeVar("Result")


def _sqlite_url_text(path: str) -> bool:
    return path in ("", ":memory:")


class Database(Inserting):
    """One database: a pool of readers, one writer at a time in this process, and the errors of both in our words.

    ``create`` tells whether a missing one may be made.
    """

    def __init__(self, database: str | Path | URL, *, create: bool = True) -> None:
        self.url = database_url(database)
        self.create = create
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._pinned: Connection | None = None
        self._writing = threading.RLock()
        self.before_writing: Callable[[Connection], None] = lambda _connection: None
        """What is done first in each transaction that writes."""
        if self.is_sqlite:
            self._locate(create)
            self._file = SQLiteFile(Path(self.url.database or "").absolute())
        try:
            self._writer = self._engine(reading=False)
            self._reader = self._engine(reading=True)
        except ImportError as error:
            raise MissingExtra("PostgreSQL", "postgresql") from error
        _open_databases.add(self)

    def _locate(self, create: bool) -> None:
        path = self.url.database or ""
        if _sqlite_url_text(path):
            # A private store that vanishes on close. A file, so that readers and the writer have their own connections.
            self._temporary = tempfile.TemporaryDirectory(prefix="peerstore-")
            self.url = self.url.set(database=str(Path(self._temporary.name) / "memory.db"))
            return
        if path.startswith("file:"):
            raise DatabaseError("an SQLite database is named by its path, not by a file: URI")
        if not Path(path).exists():
            if not create:
                raise DatabaseMissing(
                    f"there is no database at {path}: `peerstore record` or `peerstore upgrade` makes one"
                )
            if not Path(path).absolute().parent.is_dir():
                raise DatabaseMissing(
                    f"there is no folder {Path(path).absolute().parent} to make the database {path} in"
                )

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database; ``None`` on PostgreSQL."""
        return Path(self.url.database or "") if self.is_sqlite else None

    def _engine(self, *, reading: bool) -> Engine:
        if self.is_sqlite:
            engine = sa.create_engine(
                self.url,
                hide_parameters=True,
                connect_args={"timeout": sqlite_file.BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
                pool_size=1 if not reading else 5,
                pool_reset_on_return="rollback" if not reading else None,  # a reader's transaction has ended by then
                max_overflow=0 if not reading else 50,
            )
            event.listen(engine, "do_connect", functools.partial(self._open_file, reading=reading))
            event.listen(engine, "connect", functools.partial(sqlite_file.settle, reading=reading))
            return engine
        engine = sa.create_engine(
            self.url,
            hide_parameters=True,
            pool_pre_ping=not reading,  # to begin reading finds out too
            pool_size=2 if not reading else 5,
            max_overflow=10 if not reading else 50,
            connect_args=postgresql_link.arguments(self.url.query, reading=reading),
            isolation_level="AUTOCOMMIT" if reading else "READ COMMITTED",
        )
        if reading:
            return engine
        event.listen(engine, "do_connect", connect_impatiently)
        return engine

    def _open_file(
        self, _dialect: object, _record: object, _place: object, named: dict[str, Any], *, reading: bool
    ) -> sqlite3.Connection:
        return self._file.connect(named, reading=reading)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that reads one snapshot and cannot write."""
        with self.reading_first(None) as (connection, _):
            yield connection

    @contextmanager
    def reading_first(self, first: Prepared | None) -> Iterator[tuple[Connection, list[Row]]]:
        """The same, and the rows of the statement that is asked first, which has no values: PostgreSQL begins with
        it."""
        if self._pinned is not None:
            with self._our_errors():
                yield self._pinned, _rows(first, self._pinned)
            return
        if not self.is_sqlite:
            with self._our_errors(), self._server_snapshot(first) as found:
                yield found
            return
        with self._our_errors(), self._reader.connect() as connection:
            self._file.check()
            run(connection, "BEGIN", ())  # SQLAlchemy's own transaction takes as long as a short answer
            try:
                yield connection, _rows(first, connection)
            finally:
                if connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
                    run(connection, "COMMIT", ())  # SQLite has ended it itself where memory ran out
            self._file.check_unchanged()

    @contextmanager
    def _server_snapshot(self, first: Prepared | None) -> Iterator[tuple[Connection, list[Row]]]:
        with closing(self._reader.connect()) as connection:
            try:
                rows = postgresql_link.begin_reading(connection, first)
            except DBAPIError:
                if not postgresql_link.is_lost(connection):
                    raise
                # Lost while it was idle, and others of the pool likely with it.
                connection.invalidate()
                self._reader.dispose()
                rows = postgresql_link.begin_reading(connection, first)
            try:
                yield connection, rows
            finally:
                postgresql_link.end_reading(connection)

    @contextmanager
    def pinned(self) -> Iterator[Database]:
        """This database as it is now, for one thread: every ``reading`` of it is of the same snapshot. Little of an
        SQLite file is kept in memory."""
        with self.reading() as connection:
            snapshot = copy.copy(self)
            snapshot._pinned = connection
            if not self.is_sqlite:
                yield snapshot
                return
            connection.exec_driver_sql(f"PRAGMA cache_size={SMALL_CACHE}")
            try:
                yield snapshot
            finally:
                connection.exec_driver_sql(f"PRAGMA cache_size={CACHE}")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that commits, durably, when the block ends without an error."""
        with self._transaction() as connection:
            if self.is_sqlite:
                yield connection
            else:
                with patiently_waiting(connection):
                    yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if not self.is_sqlite:
            with self._our_errors(), self._writer.begin() as connection:
                self.before_writing(connection)
                yield connection
            return
        with self._writing, self._our_errors(), self._writer.connect() as connection:
            try:
                with connection.begin():
                    begun = time.monotonic()
                    run(connection, "BEGIN IMMEDIATE", ())
                    events.writer_waited_for(str(self.path), time.monotonic() - begun)
                    self.before_writing(connection)
                    yield connection
                    self._file.check()  # before the log of another database gets what is ours
                self._file.check_log()
            except DBAPIError as error:
                if _sqlite_name(error).startswith("SQLITE_IOERR"):
                    connection.invalidate()  # what it holds to be written may not be
                raise

    @contextmanager
    def without_transaction(self) -> Iterator[Any]:
        """The driver's own connection of an SQLite writer, outside any transaction: for checkpoints and the like."""
        with self._writing, self._our_errors():
            raw = self._writer.raw_connection()
            try:
                yield raw.driver_connection
            except sqlite3.Error as error:
                raise DBAPIError("outside any transaction", None, error) from error
            finally:
                raw.close()

    def vacuum_into(self, path: Path) -> None:
        """Write all that is committed, as one snapshot, to ``path`` as an SQLite database: there must be no file, or an
        empty one. Nobody is held up who writes meanwhile. ``OSError`` if it cannot be written."""
        with self._our_errors(), closing(self._own_connection()) as connection:
            # Python sees to signals only while it runs, so that Ctrl-C would wait for the end of the statement.
            connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_SIGNALS)
            try:
                connection.execute("VACUUM INTO ?", (str(path),))
            except sqlite3.OperationalError as error:
                name = str(error.sqlite_errorname)
                if name == "SQLITE_INTERRUPT":
                    raise KeyboardInterrupt from None
                if name == "SQLITE_FULL":
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and "READ" not in name:
                    raise OSError(errno.EIO, str(error)) from error
                raise DBAPIError("VACUUM INTO", None, error) from error
        with closing(sqlite3.connect(path)) as written:
            written.execute("PRAGMA journal_mode=WAL")  # as ours are: the copy begins its life without it

    def vacuum(self) -> None:
        """Give the room that removed rows took back to the disk. SQLite writes the file anew, which takes as much room
        again meanwhile and holds up those who write; PostgreSQL only what is at the ends of its files, and holds up
        nobody."""
        if not self.is_sqlite:
            with self._our_errors(), self._writer.connect() as connection, patiently_waiting(connection):
                connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM")
            return
        self._scrub_file()

    def _own_connection(self) -> sqlite3.Connection:
        """A connection of SQLite outside the pools and any transaction."""
        named = {"timeout": sqlite_file.BUSY_TIMEOUT_SECONDS, "isolation_level": None}
        return self._file.connect(named, reading=True)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in a write transaction; as a whole again, for :data:`RETRY_SECONDS`, where PostgreSQL asks for
        that or the connection to it is lost.

        Where the connection is lost while it commits, nobody knows whether it did: ``work`` must do no harm the second
        time. (To record again is none; what the first try did record, the second one finds to be a duplicate.)
        """
        until, longest = time.monotonic() + RETRY_SECONDS, 0.02
        while True:
            try:
                with self._transaction() as connection:
                    return work(connection)
            except DatabaseError as error:
                if time.monotonic() > until or not postgresql_link.worth_another_try(
                    error.__cause__ or error.__context__
                ):
                    raise
                events.transaction_retried(redacted(self.url), error)
                time.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, no secret
                longest = min(2 * longest, 2.0)

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if holds_secret(self.url, str(error.orig)):
                raise self._translated(error, "what was said of it repeats a secret of the URL") from None
            raise self._translated(error) from error
        except UnicodeDecodeError as error:  # from what SQLite says of its own damaged schema
            raise DatabaseError(
                f"{redacted(self.url)} is damaged ({error.reason}): nothing was changed; restore a backup, or see"
                " `peerstore repair`"
            ) from error
        except PoolTimeoutError as error:
            raise DatabaseBusy("too many answers are still being read: finish or close some iterators") from error
        except ImportError as error:
            if isinstance(error, PeerstoreError):
                raise
            raise MissingExtra("PostgreSQL", "postgresql") from error

    def _translated(self, error: DBAPIError, instead: str = "") -> DatabaseError:
        # Told apart by the engine's own codes and words, never by class: "locked" and "corrupt" share one class.
        said = instead or ((str(error.orig).splitlines() or [""])[0] if error.orig else type(error).__name__)
        name = _sqlite_name(error) or getattr(error.orig, "sqlstate", None) or ""
        where = redacted(self.url) if not self.is_sqlite else self.url.database
        if str(name).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or name == "55P03":
            return DatabaseBusy(
                f"{where} is held by another process for more than {sqlite_file.BUSY_TIMEOUT_SECONDS} s: try again"
            )
        if name == "SQLITE_NOTADB":
            return DatabaseError(f"{where} is not an SQLite database")
        if str(name).startswith("SQLITE_CORRUPT"):
            return DatabaseError(
                f"{where} is damaged ({said}): nothing was changed; restore a backup, or see what can be"
                " rescued: `peerstore repair --to NEW`"
            )
        if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and self._file.is_disk_full()):
            return DatabaseError(
                f"{where} cannot be used: the disk is full. Nothing that was acknowledged is lost: make room, and run"
                " it again"
            )
        if name.startswith("SQLITE_READONLY") or (name == "SQLITE_CANTOPEN" and self._file.is_read_only()):
            return DatabaseError(f"{where} is read-only: it can be asked, and nothing can be recorded into it")
        if name.startswith("SQLITE_IOERR"):
            return DatabaseError(
                f"{where} cannot be used: the disk does not read or write as it should ({said}). Nothing that was"
                " acknowledged is changed"
            )
        return DatabaseError(f"{where} cannot be used: {said}")

    def size(self, connection: Connection) -> int:
        """Bytes that the database takes on its disk (SQLite: with its write-ahead log)."""
        if self.path is not None:
            names = (self.path, self.path.with_name(self.path.name + "-wal"))
            return sum(name.stat().st_size for name in names if name.exists())
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())

    def durability(self, connection: Connection) -> dict[str, str]:
        """The settings on which "a returned commit is on the disk" rests, as a connection finds them that has read;
        all are ``read-only`` where an SQLite file cannot be written to."""
        names = (
            ("journal_mode", "synchronous") if self.is_sqlite else ("fsync", "synchronous_commit", "full_page_writes")
        )
        if self.is_sqlite and self._file.is_read_only():
            return {"journal_mode": "read-only", "synchronous": "read-only"}
        asked = "PRAGMA" if self.is_sqlite else "SHOW"
        values = {name: str(connection.exec_driver_sql(f"{asked} {name}").scalar_one()) for name in names}
        if self.is_sqlite:
            values["synchronous"] = {"0": "OFF", "1": "NORMAL", "2": "FULL", "3": "EXTRA"}[values["synchronous"]]
        return values

    def clock(self, connection: Connection) -> int | None:
        """The server's clock in microseconds since the epoch; ``None`` where there is no server."""
        if self.is_sqlite:
            return None
        asked = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        return int(connection.exec_driver_sql(asked).scalar_one())

    def hold_off_removals(self, connection: Connection) -> None:
        """Let nothing be removed while the transaction of a connection lasts; others may record meanwhile."""
        if not self.is_sqlite:  # where a transaction that writes is alone
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({_REMOVAL_LOCK})")

    def hold_off_recording(self, connection: Connection) -> None:
        """Let nobody else write while the transaction of a connection lasts."""
        if not self.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_REMOVAL_LOCK})")

    def erase(self, work: Callable[[Connection], Result]) -> Result:
        """As :meth:`write`, while nobody else writes. What is deleted is overwritten in an SQLite file, and a statement
        takes as long as it takes."""

        def alone(connection: Connection) -> Result:
            self.hold_off_recording(connection)
            if not self.is_sqlite:
                with patiently_waiting(connection):
                    return work(connection)
            before = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one()
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
            try:
                return work(connection)
            finally:
                connection.exec_driver_sql(f"PRAGMA secure_delete={before}")

        return self.write(alone)

    def scrub(self, texts: Sequence[str], others: Sequence[str]) -> None:
        """Write the database anew, without what was deleted: nothing of it is left in its files.

        On PostgreSQL, the tables with ``texts`` and what the server knows of their values are; of the ``others`` the
        room is given back. :class:`~peerstore.errors.DatabaseBusy` if others read or write for so long that it cannot
        be done.
        """
        if self.is_sqlite:
            self._scrub_file()
            return
        with self._our_errors(), self._writer.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            with patiently_waiting(alone):
                _outwait_snapshots(alone, redacted(self.url))
                alone.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {', '.join(texts)}")
                alone.exec_driver_sql(f"VACUUM {', '.join(others)}")
                alone.exec_driver_sql("VACUUM FULL pg_statistic")

    def _scrub_file(self) -> None:
        try:
            with self.without_transaction() as raw:
                raw.execute("VACUUM")
                [busy, *_] = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise self._translated(DBAPIError("VACUUM", None, error)) from error
        if busy:
            raise DatabaseBusy(
                f"{self.path} is being read or written for more than {sqlite_file.BUSY_TIMEOUT_SECONDS} s, so its"
                " write-ahead log still holds what was deleted: try again"
            )

    def _leave_to_parent(self) -> None:
        """In a process that was forked off: begin anew, and leave to the parent what is the parent's."""
        pools = (self._reader.pool, self._writer.pool)
        if self.is_sqlite and any(pool.checkedout() for pool in pools):  # type: ignore[attr-defined]
            self._file.refuse("was being read or written when this process was forked off")
        if not self.is_sqlite:
            _of_parents.extend(pools)
        # SQLite takes what it has open for locked, though a child inherits no lock: so nothing may stay open.
        self._reader.dispose(close=self.is_sqlite)
        self._writer.dispose(close=self.is_sqlite)
        if self._temporary is not None:
            self._temporary._finalizer.detach()  # type: ignore[attr-defined]
            self._temporary = None

    def close(self) -> None:
        """Give every connection back; a private in-memory store is gone afterwards."""
        self._reader.dispose()
        self._writer.dispose()
        if self._temporary is not None:
            self._temporary.cleanup()


def _rows(first: Prepared | None, connection: Connection) -> list[Row]:
    return [] if first is None else first.all(connection, {})


def _sqlite_name(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlite_errorname", None) or "")


def _outwait_snapshots(connection: Connection, where: str) -> None:
    """Wait until nobody reads a snapshot from before now: what it may see, a vacuum keeps."""
    now = connection.exec_driver_sql("SELECT mod(txid_current(), 4294967296)::text").scalar_one()
    older = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_xmin IS NOT NULL AND age(backend_xmin) > age(%s::text::xid)"
    )
    until = time.monotonic() + sqlite_file.BUSY_TIMEOUT_SECONDS
    while connection.exec_driver_sql(older, (now,)).scalar_one():
        if time.monotonic() > until:
            raise DatabaseBusy(
                f"{where} is being read for more than {sqlite_file.BUSY_TIMEOUT_SECONDS} s by somebody who may still"
                " see what was deleted, so it cannot be cleared away: try again"
            )
        time.sleep(0.1)


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_of_parents: list[object] = []  # a connection to a server that is closed in a child ends the parent's: kept, unused
_forking = threading.local()


def _wait_for_writers() -> None:
    """Before a fork: no other thread may be in the midst of writing to a file, or the child would inherit a half."""
    _forking.held = [each._writing for each in sorted(_open_databases, key=id) if each.is_sqlite]
    for lock in _forking.held:
        lock.acquire()


def _let_writers_go_on() -> None:
    for lock in _forking.held:
        lock.release()
    _forking.held = []


def _leave_all_to_parent() -> None:
    _let_writers_go_on()
    for database in list(_open_databases):
        database._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_wait_for_writers, after_in_parent=_let_writers_go_on, after_in_child=_leave_all_to_parent
    )
