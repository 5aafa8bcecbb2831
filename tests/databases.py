"""Databases looked at from outside: their schema as plain values, and all their rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
import sqlite_utils
from alembic import command
from alembic.config import Config

from peerstore.schema import migrations_folder
from peerstore.tables import metadata

Described = dict[str, Any]


@contextlib.contextmanager
def plain(url: str) -> Iterator[sa.Connection]:
    """A connection as anybody's program would open it, committed at the end."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def upgrade_to(url: str, revision: str) -> None:
    """Bring a database to a revision by Alembic's own command."""
    config = Config(migrations_folder().parent / "alembic.ini")
    config.set_main_option("script_location", str(migrations_folder()))
    config.cmd_opts = type("Given", (), {"x": [f"database={url}"]})()
    command.upgrade(config, revision)


def relations(url: str) -> set[str]:
    """The names of all tables and views."""
    with plain(url) as connection:
        there = sa.inspect(connection)
        return {*there.get_table_names(), *there.get_view_names()}


def rows(url: str) -> dict[str, list[Any]]:
    """All rows of those of our tables that are there."""
    there = relations(url)
    with plain(url) as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
            if table.name in there
        }


def described(url: str) -> Described:
    """Our tables, in every respect that the engine knows."""
    return sqlite_described(url) if url.startswith("sqlite") else postgresql_described(url)


def sqlite_described(url: str) -> Described:
    database = sqlite_utils.Database(sa.make_url(url).database)
    try:
        return {name: _sqlite_table(database, name) for name in metadata.tables}
    finally:
        database.close()


def _sqlite_table(database: sqlite_utils.Database, name: str) -> Described:
    table = database.table(name)
    listed = database.execute("SELECT wr, strict FROM pragma_table_list WHERE name = ?", [name]).fetchone()
    indexes = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", [name])
    return {
        "without_rowid, strict": listed,
        "columns": list(table.columns),
        "checks": sorted((check.name, check.check) for check in table.checks),
        "foreign_keys": sorted(map(repr, table.foreign_keys)),
        "triggers": list(table.triggers),
        "indexes": sorted((index.unique, index.partial, index.origin, index.columns) for index in table.indexes),
        "statements": {each: None if sql is None else " ".join(sql.split()) for each, sql in indexes if sql},
    }


_POSTGRESQL = {
    "columns": """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation::text,
               pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, col_description(a.attrelid, a.attnum)
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = '{0}'::regclass AND a.attnum > 0 ORDER BY a.attnum""",
    "constraints": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '{0}'::regclass",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = '{0}'",
    "triggers": "SELECT tgname FROM pg_trigger WHERE tgrelid = '{0}'::regclass AND NOT tgisinternal",
    "comment": "SELECT obj_description('{0}'::regclass)",
}


def postgresql_described(url: str) -> Described:
    with plain(url) as connection:
        return {
            name: {
                what: sorted(map(tuple, connection.exec_driver_sql(query.format(name))), key=repr)
                for what, query in _POSTGRESQL.items()
            }
            for name in metadata.tables
        }


def emptied(url: str) -> None:
    """Delete every row of our tables but for what the store says of itself."""
    with plain(url) as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name != "store_info":
                connection.execute(sa.delete(table))
