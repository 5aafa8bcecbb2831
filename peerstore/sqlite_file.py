"""The file of an SQLite database: which one it is, who may read it, and how SQLite opens it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from peerstore.errors import DatabaseError

BUSY_TIMEOUT_SECONDS = 30
OLDEST_SQLITE = (3, 38, 0)  # STRICT tables, and the -> operator of the views
CACHE, SMALL_CACHE = -65536, -4096  # KiB: a snapshot is read once, from one end to the other
_WRITERS_CACHE = -8192


class SQLiteFile:
    """The file of an SQLite database: which one it is, and whether it still stands at its path.

    SQLite never asks again. It would go on in a file that was removed or replaced, and acknowledge what nobody will
    find.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._log_path = f"{path}-wal"
        self._folder = str(path.parent)
        self._identity: _Identity | None = None
        self._log: _Identity | None = None
        self._frozen: object = None  # how it was when it was opened as one that nobody can write to
        self._refused = ""

    def connect(self, named: dict[str, Any], *, reading: bool) -> sqlite3.Connection:
        """A new connection to the file that was opened first, or :class:`~peerstore.errors.DatabaseError`."""
        if self._refused:
            raise DatabaseError(f"{self._path} {self._refused}: open it in the new process, or start that one anew")
        before = _identity(self._path)
        if self._identity is not None and before != self._identity:
            raise self._gone()
        if before is None:
            _make_private(self._path)
        if reading and before is not None and not os.access(self._folder, os.W_OK):
            connection = self._connect_where_nothing_can_be_made(named)
        else:
            connection = _plain_connection(self._path, **named)
        after = _identity(self._path)
        if after is None or (before is not None and after != before):
            connection.close()
            raise self._gone()
        self._identity = after
        if not reading:
            self._log = None
        return connection

    def _connect_where_nothing_can_be_made(self, named: dict[str, Any]) -> sqlite3.Connection:
        """SQLite makes a file beside a database to read it; where none can be made, it reads one that nobody writes."""
        frozen = self._state()
        address = Path(self._path).as_uri()
        connection = _plain_connection(f"{address}?mode=ro", uri=True, **named)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if not str(error.sqlite_errorname).startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR")):
                raise
        else:
            return connection
        for log in (self._log_path, f"{self._path}-journal"):
            if _size(log):
                raise DatabaseError(
                    f"{self._path} cannot be read where nothing can be written: what was recorded last is in {log}"
                    " alone. Copy both to a folder that can be written to, and open the copy"
                )
        self._frozen = frozen
        return _plain_connection(f"{address}?immutable=1", uri=True, **named)

    def refuse(self, reason: str) -> None:
        """Let nobody connect to it any more."""
        self._refused = reason

    def check(self) -> None:
        """:class:`~peerstore.errors.DatabaseError` if the file at the path is not the one that is open."""
        if _identity(self._path) != self._identity:
            raise self._gone()
        self.check_unchanged()

    def check_log(self) -> None:
        """The same, of the file and its write-ahead log, once a transaction has been committed to both."""
        self.check()
        log = _identity(self._log_path)
        if self._log is not None and log != self._log:
            raise self._gone()
        self._log = log

    def check_unchanged(self) -> None:
        """:class:`~peerstore.errors.DatabaseError` if somebody wrote to what was opened as one that nobody writes."""
        if self._frozen is not None and self._state() != self._frozen:
            raise DatabaseError(
                f"{self._path} was opened where nothing can be written, and somebody has written to it since: open it"
                " again"
            )

    def is_read_only(self) -> bool:
        """Whether it is there, and it or its folder cannot be written to."""
        return os.path.exists(self._path) and not (  # noqa: PTH110 - as the others
            os.access(self._folder, os.W_OK) and os.access(self._path, os.W_OK)
        )

    def is_disk_full(self) -> bool:
        """Whether there is no room beside it."""
        try:
            return os.statvfs(self._folder).f_bavail == 0
        except (OSError, AttributeError):
            return False

    def _state(self) -> object:
        return _identity(self._path, times=True), _size(self._log_path)

    def _gone(self) -> DatabaseError:
        return DatabaseError(
            f"{self._path} was removed or replaced while it was open, or its -wal was: what was being recorded is not"
            " acknowledged, since nobody would find it there. Open the database again, and record it again"
        )


_Identity = tuple[int, ...]
_plain_connection: Callable[..., sqlite3.Connection] = sqlite3.connect


def _identity(path: str, *, times: bool = False) -> _Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path takes half as long again, twice a transaction
    except OSError:
        return None
    identity = (found.st_dev, found.st_ino)
    return (*identity, found.st_size, found.st_mtime_ns) if times else identity


def _make_private(path: str) -> None:
    """Make an empty file, which its owner alone may read and write, where there is none: SQLite takes it for a new
    database, and gives its mode to the files that it makes beside it. Where none can be made, SQLite says why."""
    path = os.path.realpath(path)  # SQLite follows a link to nothing, and makes what it names
    with suppress(OSError):
        if hasattr(os, "mknod"):
            # No descriptor: closing one would take away the locks that another thread got meanwhile.
            with suppress(PermissionError):  # on macOS only root may
                os.mknod(path, 0o600)
                return
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))


def _size(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_size  # noqa: PTH116 - as above
    return 0


def settle(connection: Any, _record: object, *, reading: bool) -> None:
    """Set a new connection up for those who read or those who write."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise DatabaseError(f"this Python has SQLite {sqlite3.sqlite_version}; peerstore needs {needed} or newer")
    connection.isolation_level = None  # transactions begin where we say so
    cursor = connection.cursor()
    if not reading:
        # Changing the journal mode needs the file to itself for a moment, and ignores the busy timeout while it waits.
        _patiently(lambda: cursor.execute("PRAGMA journal_mode=WAL").fetchone())
    settings = ["synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF", "cell_size_check=ON"]
    settings.append(f"cache_size={CACHE if reading else _WRITERS_CACHE}")
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
