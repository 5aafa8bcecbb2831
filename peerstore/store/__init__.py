"""The public face: a store, and what it can be told and asked: one module a topic, one line a method where one does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy.engine import URL

from peerstore import health, schema
from peerstore.answers.health import Status
from peerstore.database import Database
from peerstore.schema import Upgraded
from peerstore.store.backing_up import BackingUp
from peerstore.store.copying import Copying
from peerstore.store.exports import Exports
from peerstore.store.forgetting import Forgetting
from peerstore.store.retaining import Retaining
from peerstore.times import micros
from peerstore.upgrade_steps import UpgradeStep


class PeerStore(Copying, Forgetting, BackingUp, Exports, Retaining):
    """A persistent history of presence. Open one with :func:`peerstore.open`; close it, or use it as a context
    manager.

    Safe to use from several threads; several processes may use one database at once. Iterators that questions return
    read one snapshot of the database, and hold a connection until they are exhausted or closed.

    Arguments that mean the same everywhere: ``observer``, one observer's key (``None``: the merged presence of all);
    ``known_at``: answer from what was recorded by then; ``max_silence`` (a timedelta or seconds): how long an observer
    may be silent and still count as watching, instead of what it declared (``timedelta.max``: for ever); ``since`` and
    ``until``: a half-open range ``[since, until)``. Times are aware datetimes. An observer or peer that was never
    recorded is no error: it is unobserved, or absent.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back every connection. The store cannot be used afterwards."""
        self._database.close()


def open(  # noqa: A001 - the name of the contract
    database: str | Path | URL, *, create: bool = True, clock: Callable[[], datetime] | None = None
) -> PeerStore:
    """Open a store: a path of an SQLite file, or a SQLAlchemy URL (``postgresql+psycopg://...``).

    Creates the database if there is none (unless ``create`` is false: then :class:`~peerstore.errors.DatabaseMissing`)
    and upgrades an older one as :func:`peerstore.upgrade` does (``upgraded`` of the store tells what was done).
    ``:memory:`` is a private store that vanishes on close. ``clock`` gives the store's time (``recorded_at``); by
    default the system's, on PostgreSQL the server's.

    >>> with open(":memory:") as store:
    ...     store.status().observations
    0
    """
    return PeerStore(Database(database, create=create), clock)


def upgrade(
    database: str | Path | URL, *, backup: bool = True, tell: Callable[[UpgradeStep], None] | None = None
) -> Upgraded:
    """Create a database or bring it to the newest schema; gives the revisions before (``None``: there was none) and
    after, and the file of the backup.

    An SQLite database that holds anything is backed up beside itself before the first step; ``backup=False`` leaves
    that out. ``tell`` is called as the steps begin, go on and end. After any error the database is as it was.

    >>> upgrade(":memory:")[0] is None
    True
    """
    opened = Database(database)
    try:
        return schema.upgrade(opened, backup=backup, tell=tell)
    finally:
        opened.close()


def status(database: str | Path | URL) -> Status:
    """The status of a database as it is: unlike :func:`open` this neither makes nor upgrades one.
    :class:`~peerstore.errors.DatabaseMissing` if there is none."""
    opened = Database(database, create=False)
    try:
        schema.existing(opened)
        with opened.reading() as connection:
            return health.status(opened, connection, micros(datetime.now(UTC)))
    finally:
        opened.close()
