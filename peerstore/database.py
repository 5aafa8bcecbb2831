"""Engines and transactions: what is special about SQLite or PostgreSQL stands here alone.

* SQLite: WAL with ``synchronous=FULL``, so that a returned commit is on the disk; writers begin with ``BEGIN
  IMMEDIATE`` (a deferred transaction that turns into a writer fails at once, whatever the timeout); readers are
  ``query_only`` and read one snapshot.
* PostgreSQL: readers read one snapshot (``REPEATABLE READ``, read only); writers lock the observers that they write
  for and are run again as a whole after a deadlock or a serialization failure.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from peerstore.errors import DatabaseBusy, DatabaseError, DatabaseMissing, MissingExtra, PeerstoreError

BUSY_TIMEOUT_SECONDS = 30
OLDEST_SQLITE = (3, 38, 0)  # STRICT tables, and the -> operator of the views
APPLICATION_ID = 0x70656572  # "peer": marks an SQLite file as ours
_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_RETRIED = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available
_ROWS_A_STATEMENT = 500  # by 7 columns: an SQLite statement may have 32766 values
_ARRAY_TYPES = {int: "bigint", str: "text", bytes: "bytea"}
_STEPS_BETWEEN_SIGNALS = 100_000  # of SQLite's virtual machine: some milliseconds
_CACHE, _SMALL_CACHE = -65536, -4096  # KiB: a snapshot is read once, from one end to the other
_SECRET_WORDS = ("pass", "secret", "token", "key")

Result = TypeVar("Result")


def database_url(database: str | Path | URL) -> URL:
    """A path or URL as a SQLAlchemy URL: a text without ``://`` is the path of an SQLite file.

    >>> str(database_url("mesh.db"))
    'sqlite:///mesh.db'
    """
    if isinstance(database, URL):
        url = database
    elif isinstance(database, Path) or "://" not in database:
        url = URL.create("sqlite", database=str(database))
    else:
        try:
            url = make_url(database)
        except (ArgumentError, ValueError):
            raise DatabaseError(
                "the database URL cannot be read: expected a path or dialect://user@host/name"
            ) from None
    if url.drivername not in _DRIVERS:
        raise DatabaseError(
            f"{redacted(url)} names an engine that peerstore does not know: use sqlite:///PATH or"
            " postgresql+psycopg://USER@HOST/NAME"
        )
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return url


def redacted(url: URL) -> str:
    """A URL without its secrets, as messages and ``status`` show it.

    >>> redacted(make_url("postgresql+psycopg://me:canary@host/db?sslpassword=canary"))
    'postgresql+psycopg://me:***@host/db?sslpassword=***'
    """
    query = {
        name: "***" if any(word in name.lower() for word in _SECRET_WORDS) else value
        for name, value in url.query.items()
    }
    return url.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def without_secrets(url: URL) -> URL:
    """A URL without its secrets, for tools that ask for them or find them elsewhere.

    >>> without_secrets(make_url("postgresql+psycopg://me:canary@host/db?sslpassword=canary&sslmode=require"))
    postgresql+psycopg://me@host/db?sslmode=require
    """
    query = {
        name: value for name, value in url.query.items() if not any(word in name.lower() for word in _SECRET_WORDS)
    }
    return URL.create(url.drivername, url.username, None, url.host, url.port, url.database, query)


def _sqlite_url_text(path: str) -> bool:
    return path in ("", ":memory:")


class Database:
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
        if self.is_sqlite:
            self._locate(create)
        try:
            self._writer = self._engine(reading=False)
            self._reader = self._engine(reading=True)
        except ImportError as error:
            raise MissingExtra("PostgreSQL", "postgresql") from error

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
                connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
                pool_size=1 if not reading else 5,
                max_overflow=0 if not reading else 50,
            )
            event.listen(engine, "connect", functools.partial(_connect_sqlite, reading=reading))
            event.listen(engine, "begin", _begin_reading if reading else _begin_immediate)
            return engine
        options = "-c timezone=UTC -c lock_timeout=30000 -c idle_in_transaction_session_timeout=0"
        engine = sa.create_engine(
            self.url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=2 if not reading else 5,
            max_overflow=10 if not reading else 50,
            connect_args={"connect_timeout": 10, "options": options, "application_name": "peerstore"},
            isolation_level="REPEATABLE READ" if reading else "READ COMMITTED",
        )
        if reading:
            engine = engine.execution_options(postgresql_readonly=True)
        return engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that reads one snapshot and cannot write."""
        if self._pinned is not None:
            with self._our_errors():
                yield self._pinned
            return
        with self._our_errors(), self._reader.connect() as connection, connection.begin():
            yield connection

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
            connection.exec_driver_sql(f"PRAGMA cache_size={_SMALL_CACHE}")
            try:
                yield snapshot
            finally:
                connection.exec_driver_sql(f"PRAGMA cache_size={_CACHE}")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that commits, durably, when the block ends without an error."""
        alone = self._writing if self.is_sqlite else nullcontext()
        with alone, self._our_errors(), self._writer.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def without_transaction(self) -> Iterator[Any]:
        """The driver's own connection of an SQLite writer, outside any transaction: for checkpoints and the like."""
        with self._writing, self._our_errors():
            raw = self._writer.raw_connection()
            try:
                yield raw.driver_connection
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

    def _own_connection(self) -> sqlite3.Connection:
        """A connection of SQLite outside the pools and any transaction."""
        uri = f"{Path(self.url.database or '').absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in a write transaction; as a whole again, a few times, where PostgreSQL asks for that."""
        for attempt in range(8):
            try:
                with self.writing() as connection:
                    return work(connection)
            except DatabaseError as error:
                cause = error.__cause__
                if attempt == 7 or getattr(getattr(cause, "orig", None), "sqlstate", None) not in _RETRIED:
                    raise
                time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter, no secret
        raise AssertionError

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._translated(error) from error
        except PoolTimeoutError as error:
            raise DatabaseBusy("too many answers are still being read: finish or close some iterators") from error
        except ImportError as error:
            if isinstance(error, PeerstoreError):
                raise
            raise MissingExtra("PostgreSQL", "postgresql") from error

    def _translated(self, error: DBAPIError) -> DatabaseError:
        # Told apart by the engine's own codes and words, never by class: "locked" and "corrupt" share one class.
        said = str(error.orig).splitlines()[0] if error.orig else type(error).__name__
        name = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
        where = redacted(self.url) if not self.is_sqlite else self.url.database
        if str(name).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or name == "55P03":
            return DatabaseBusy(f"{where} is held by another process for more than {BUSY_TIMEOUT_SECONDS} s: try again")
        if name == "SQLITE_NOTADB":
            return DatabaseError(f"{where} is not an SQLite database")
        if str(name).startswith("SQLITE_CORRUPT"):
            return DatabaseError(
                f"{where} is damaged ({said}): nothing was changed; restore a backup, or run `peerstore verify`"
            )
        return DatabaseError(f"{where} cannot be used: {said}")

    def insert(
        self, connection: Connection, table: sa.Table, values: Sequence[Any], *, leave_known: bool = False
    ) -> None:
        """Insert full rows, given as one flat list of values in the order of the table's columns, as fast as the engine
        can: a flat list costs the garbage collector nothing, and a statement of many rows is cheaper than many of one.
        ``leave_known``: rows whose key is already there are left alone, and are no error.
        """
        ending = " ON CONFLICT DO NOTHING" if leave_known else ""
        names = tuple(table.columns.keys())
        width, step = len(names), _ROWS_A_STATEMENT * len(names)
        if not self.is_sqlite:
            if values:
                columns = tuple(_array(table.c[name], values[start::width]) for start, name in enumerate(names))
                connection.exec_driver_sql(self._insert_text(table, names) + ending, columns)
            return
        whole = len(values) - len(values) % step
        for start in range(0, whole, step):
            text = self._insert_text(table, names, _ROWS_A_STATEMENT) + ending
            connection.exec_driver_sql(text, tuple(values[start : start + step]))
        rows = [tuple(values[start : start + width]) for start in range(whole, len(values), width)]
        if rows:
            connection.exec_driver_sql(self._insert_text(table, names) + ending, rows)

    def insert_new(
        self, connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]], returning: str = "digest"
    ) -> Iterator[tuple[Any, int]]:
        """Insert rows of a dictionary table, leaving alone those whose unique key is already there; of those that were
        not, a column's value and the id."""
        for chunk in chunks(rows, _ROWS_A_STATEMENT):
            names = tuple(chunk[0])
            text = self._insert_text(table, names, len(chunk))
            values: tuple[Any, ...] = tuple(value for row in chunk for value in row.values())
            if not self.is_sqlite:
                values = tuple(_array(table.c[name], [row[name] for row in chunk]) for name in names)
            found = connection.exec_driver_sql(f"{text} ON CONFLICT DO NOTHING RETURNING {returning}, id", values)
            yield from found.all()

    @functools.lru_cache(maxsize=64)  # noqa: B019 - one Database has a handful of tables and lives as long as its store
    def _insert_text(self, table: sa.Table, names: tuple[str, ...], rows: int = 1) -> str:
        into = f"INSERT INTO {table.name} ({', '.join(names)})"
        if self.is_sqlite:
            row = f"({', '.join('?' * len(names))})"
            return f"{into} VALUES {', '.join([row] * rows)}"
        arrays = ", ".join(f"%s::{_ARRAY_TYPES[table.c[name].type.python_type]}[]" for name in names)
        return f"{into} SELECT * FROM unnest({arrays})"  # noqa: S608 - a table of ours

    def size(self, connection: Connection) -> int:
        """Bytes that the database takes on its disk (SQLite: with its write-ahead log)."""
        if self.path is not None:
            names = (self.path, self.path.with_name(self.path.name + "-wal"))
            return sum(name.stat().st_size for name in names if name.exists())
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())

    def durability(self) -> dict[str, str]:
        """The settings on which "a returned commit is on the disk" rests, as the writing connection has them."""
        names = (
            ("journal_mode", "synchronous") if self.is_sqlite else ("fsync", "synchronous_commit", "full_page_writes")
        )
        with self._our_errors(), self._writer.connect() as connection:
            asked = "PRAGMA" if self.is_sqlite else "SHOW"
            values = {name: str(connection.exec_driver_sql(f"{asked} {name}").scalar_one()) for name in names}
            connection.rollback()
        if self.is_sqlite:
            values["synchronous"] = {"0": "OFF", "1": "NORMAL", "2": "FULL", "3": "EXTRA"}[values["synchronous"]]
        return values

    def clock(self, connection: Connection) -> int | None:
        """The server's clock in microseconds since the epoch; ``None`` where there is no server."""
        if self.is_sqlite:
            return None
        asked = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        return int(connection.exec_driver_sql(asked).scalar_one())

    def close(self) -> None:
        """Give every connection back; a private in-memory store is gone afterwards."""
        self._reader.dispose()
        self._writer.dispose()
        if self._temporary is not None:
            self._temporary.cleanup()


def _array(column: sa.Column[Any], values: Sequence[Any]) -> Sequence[Any]:
    """Values of a column as an array for PostgreSQL: integers as its text, which Python writes faster than psycopg."""
    if column.type.python_type is not int:
        return list(values)
    return "{" + str(list(values))[1:-1].replace("None", "NULL") + "}"


def _connect_sqlite(connection: Any, _record: object, *, reading: bool) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise DatabaseError(f"this Python has SQLite {sqlite3.sqlite_version}; peerstore needs {needed} or newer")
    connection.isolation_level = None  # transactions begin where we say so
    cursor = connection.cursor()
    if not reading:
        # Changing the journal mode needs the file to itself for a moment, and ignores the busy timeout while it waits.
        _patiently(lambda: cursor.execute("PRAGMA journal_mode=WAL").fetchone())
    settings = ["synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF", "cell_size_check=ON"]
    settings.append(f"cache_size={_CACHE}")
    for setting in [*settings, "query_only=ON"] if reading else settings:
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _patiently(action: Callable[[], object]) -> None:
    until = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if not str(error.sqlite_errorname).startswith("SQLITE_BUSY") or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def chunks(values: Iterable[Result], size: int = 500) -> Iterator[list[Result]]:
    """The values in lists of at most ``size``: engines bound the number of values in one statement."""
    chunk: list[Result] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
