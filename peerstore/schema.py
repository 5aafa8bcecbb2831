"""The schema's life: which revision a database is at, and bringing it to the newest one.

The revisions are Alembic's, in the top-level folder ``migrations/`` of a checkout and in ``peerstore/migrations`` of
an installed package. All of an upgrade happens in one transaction: it happened or it did not, on both engines; several
processes that open a new database at once wait for each other (SQLite: the write lock; PostgreSQL: an advisory lock).
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.database import APPLICATION_ID, Database, redacted
from peerstore.errors import DatabaseMissing, SchemaError
from peerstore.tables import metadata, store_info
from peerstore.times import iso

HEAD = "0004"
"""The newest revision: the one that this version of the code reads and writes."""

VIEWS = ("attribute_change", "connection_history", "coverage", "observation", "peer_history")
"""The views that the revisions make."""

VERSION_TABLE = "peerstore_revision"
_ADVISORY_LOCK = 0x70656572


def migrations_folder() -> Path:
    """The folder with Alembic's environment: beside this file when installed, beside the package in a checkout."""
    installed = Path(__file__).parent / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "migrations"


def revision(connection: Connection) -> str | None:
    """The revision that a database is at; ``None`` if it holds no peerstore tables."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608 - a constant


def ensure(database: Database) -> None:
    """Make sure that a database is at :data:`HEAD`: create or upgrade it where that is needed; one that cannot be
    used is closed."""
    try:
        found = _found(database)
        if found is None and not database.create:
            raise DatabaseMissing(
                f"there is no peerstore database in {redacted(database.url)}: `peerstore record` or `peerstore upgrade`"
                " makes one"
            )
        if found != HEAD:
            upgrade(database)
    except BaseException:
        database.close()
        raise


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


def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring a database to :data:`HEAD`; the revisions before and after.

    :class:`~peerstore.errors.SchemaError` if it was made by a newer peerstore, or is an SQLite file of something else.
    """
    _found(database)
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            _refuse_encoding(database, connection)
        before = revision(connection)
        if before is None:
            _refuse_foreign(database, connection)
        if before != HEAD:
            _refuse_newer(database, before)
            _run_revisions(connection)
        if before is None:
            _introduce(database, connection)
    if before != HEAD and database.is_sqlite:
        # The schema itself must be on the disk even if the write-ahead log is lost with it.
        with database.without_transaction() as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, HEAD


def _run_revisions(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
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
