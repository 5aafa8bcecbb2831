"""The schema's life: which revision a database is at, and bringing it to the newest one.

The revisions are Alembic's, in the top-level folder ``migrations/`` of a checkout and in ``peerstore/migrations`` of
an installed package. All of an upgrade happens in one transaction: it happened or it did not, on both engines; several
processes that open a new database at once wait for each other (SQLite: the write lock; PostgreSQL: an advisory lock).
The same locks part an upgrade from those who write: they look, in each of their transactions, whether the database is
still at the revision that their code knows.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore import events, postgresql_link
from peerstore.database import APPLICATION_ID, Database
from peerstore.database_url import redacted
from peerstore.errors import DatabaseMissing, PeerstoreError, SchemaError
from peerstore.prepared import FIRST, run
from peerstore.tables import metadata, store_info
from peerstore.times import iso
from peerstore.upgrade_backup import back_up, check_room
from peerstore.upgrade_steps import Steps, UpgradeStep

HEAD = "0006"
"""The newest revision: the one that this version of the code reads and writes."""

VIEWS = ("attribute_change", "connection_history", "coverage", "observation", "peer_history")
"""The views that the revisions make."""

VERSION_TABLE = "peerstore_revision"
_WRITERS_LOCK = 0x70656572  # of PostgreSQL: shared by those who write, and an upgrade's alone


def migrations_folder() -> Path:
    """The folder with Alembic's environment: beside this file when installed, beside the package in a checkout."""
    installed = Path(__file__).parent / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "migrations"


def revision(connection: Connection) -> str | None:
    """The revision that a database is at; ``None`` if it holds no peerstore tables."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608 - a constant


class Upgraded(tuple[str | None, str]):
    """What an upgrade did: the revisions before (``None``: there was no database) and after.

    ``backup`` is the file with the database as it was before; ``None`` if none was made: on PostgreSQL, of a database
    that held nothing or needed no upgrade, or where it was left out.
    """

    backup: Path | None

    def __new__(cls, before: str | None, after: str, backup: Path | None = None) -> Self:
        """The two revisions, and the backup."""
        made = super().__new__(cls, (before, after))
        made.backup = backup
        return made


def ensure(database: Database) -> Upgraded | None:
    """Make sure that a database is at :data:`HEAD`: create or upgrade it where that is needed, and tell what was done;
    one that cannot be used is closed."""
    try:
        found = _found(database) if database.create else existing(database)
        upgraded = upgrade(database) if found != HEAD else None
        database.before_writing = functools.partial(_check_revision, database)
    except BaseException:
        database.close()
        raise
    events.database_opened(redacted(database.url), HEAD)
    return upgraded


def existing(database: Database) -> str:
    """The revision that a database is at, which is left there; :class:`~peerstore.errors.DatabaseMissing` if there is
    none, :class:`~peerstore.errors.SchemaError` if it is not one that can be brought to :data:`HEAD`."""
    found = _found(database)
    if found is None:
        raise DatabaseMissing(
            f"there is no peerstore database in {redacted(database.url)}: `peerstore record` or `peerstore upgrade`"
            " makes one"
        )
    return found


def _found(database: Database) -> str | None:
    """The revision of a database that can be brought to :data:`HEAD`; without a lock and without a trace in it."""
    if database.path is not None and not database.path.exists():
        return None
    with database.reading() as connection:
        found = revision(connection)
        if found is None:
            _refuse_foreign(database, connection)
        elif found != HEAD:
            _refuse_newer(database, found)
    return found


def upgrade(database: Database, *, backup: bool = True, tell: Callable[[UpgradeStep], None] | None = None) -> Upgraded:
    """Bring a database to :data:`HEAD`.

    An SQLite database that holds anything is backed up before the first step, unless ``backup`` is false; nobody writes
    between the two. ``tell`` is called now and then while the steps run.

    :class:`~peerstore.errors.SchemaError` if it was made by a newer peerstore, or is an SQLite file of something else;
    :class:`~peerstore.errors.DatabaseError` if there is no room for the upgrade, or the backup cannot be made. The
    database is then as it was.
    """
    _found(database)
    made: Path | None = None
    before: str | None = None
    try:
        with database.writing() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
                _refuse_encoding(database, connection)
            before = revision(connection)
            if before is None:
                _refuse_foreign(database, connection)
            if before != HEAD:
                _refuse_newer(database, before)
                if database.is_sqlite and _holds_anything(connection):
                    check_room(database, connection, backup=backup)
                    made = back_up(database, HEAD) if backup else None
                _run_revisions(connection, before, tell)
            if before is None:
                _introduce(database, connection)
    except BaseException:
        if made is not None and _is_as_it_was(database, before):
            made.unlink(missing_ok=True)  # or a program that is started again and again would fill the disk
        raise
    if before != HEAD and database.is_sqlite:
        # The schema itself must be on the disk even if the write-ahead log is lost with it.
        with database.without_transaction() as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if before != HEAD:
        events.database_upgraded(redacted(database.url), before, HEAD)
    return Upgraded(before, HEAD, made)


def _check_revision(database: Database, connection: Connection) -> None:
    """In a transaction that writes: :class:`~peerstore.errors.SchemaError` if somebody upgraded the database since it
    was opened. Nobody does before the transaction ends."""
    asked = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant
    if database.is_sqlite:
        [found] = run(connection, asked, (), FIRST) or (None,)
    else:
        lock = f"SELECT pg_advisory_xact_lock_shared({_WRITERS_LOCK})"
        [[found]] = postgresql_link.ask_in_turn(connection, lock, asked)
    if found != HEAD:
        raise SchemaError(
            f"{redacted(database.url)} is at schema {found} now, and was at {HEAD}, which this process writes, when it"
            " was opened: nothing is recorded into it; end this process, and start it with the peerstore of the others"
        )


def _holds_anything(connection: Connection) -> bool:
    """Whether there is more in a database than what it says of itself."""
    there = set(sa.inspect(connection).get_table_names())
    tables = [table for name, table in metadata.tables.items() if name in there and table is not store_info]
    one = sa.select(sa.literal(1)).limit(1)  # no columns: older tables may lack some
    return any(connection.execute(one.select_from(table)).first() is not None for table in tables)


def _is_as_it_was(database: Database, before: str | None) -> bool:
    try:
        with database.reading() as connection:
            return revision(connection) == before
    except PeerstoreError:
        return False


def _run_revisions(
    connection: Connection, before: str | None, tell: Callable[[UpgradeStep], None] | None = None
) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config).iterate_revisions(HEAD, before or "base")
    steps = Steps([(script.revision, script.doc) for script in reversed(list(scripts))], tell)
    config.attributes.update(connection=connection, applied=steps.applied, advance=steps.advance)
    command.upgrade(config, HEAD)


def _introduce(database: Database, connection: Connection) -> None:
    facts = {
        "store_id": str(uuid.uuid4()),
        "created_at": iso(datetime.now(UTC)),
        "created_by": f"peerstore {_version()}",
    }
    connection.execute(sa.insert(store_info), [{"name": name, "value": value} for name, value in facts.items()])
    if database.is_sqlite:
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")


def _version() -> str:
    try:
        return version("peerstore")
    except PackageNotFoundError:
        return "(not installed)"


def _refuse_foreign(database: Database, connection: Connection) -> None:
    if database.is_sqlite and connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        raise SchemaError(f"{database.path} is an SQLite database of something else: name another file")
    there = sa.inspect(connection)
    taken = sorted({*metadata.tables, *VIEWS} & {*there.get_table_names(), *there.get_view_names()})
    if taken:
        raise SchemaError(
            f"{redacted(database.url)} already has tables of its own named {', '.join(taken)}: give peerstore a"
            " database or a schema to itself (?options=-csearch_path%3Dpeerstore)"
        )


def _refuse_encoding(database: Database, connection: Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise SchemaError(f"{redacted(database.url)} is encoded in {encoding}: peerstore needs a database in UTF8")


def _refuse_newer(database: Database, found: str | None) -> None:
    from alembic.script import ScriptDirectory

    if found is not None and found not in {
        script.revision for script in ScriptDirectory(str(migrations_folder())).walk_revisions()
    }:
        raise SchemaError(
            f"{redacted(database.url)} is at schema {found}, made by a newer peerstore; this one knows up to {HEAD}:"
            " pip install --upgrade peerstore"
        )
