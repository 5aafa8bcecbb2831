"""A history as one SQLite file of plain tables, for Datasette, sqlite-utils, and anything else that speaks SQL.

The file holds every table of :data:`peerstore.exporting.tables.TABLES` with its keys, and beside them:

* ``meanings``: what every table and column means, so that the file explains itself;
* views with device names and durations in seconds (:data:`VIEWS`);
* full-text search on device names and on metadata (FTS5), and indexes for what people ask.

Times are texts such as ``2026-07-08T18:00:05.123456Z``, which sort as the instants do; booleans are 0 and 1; JSON is
text. The bytes depend on the history, on the release of SQLite, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.db import Table

from peerstore.exporting.source import Source
from peerstore.exporting.tables import TABLES, ExportTable, Kind, Row
from peerstore.times import iso

TYPES: dict[Kind, type] = {"integer": int, "boolean": int, "seconds": float}
"""The types of columns; those of other kinds are texts."""

INDEXES = {
    "connections": (("peer1", "peer2"), ("peer2",)),
    "peer_sessions": (("start",), ("end",)),
    "connection_sessions": (("peer1", "start"), ("peer2", "start"), ("start",), ("end",)),
    "attribute_changes": (("observed_at",), ("path", "observed_at")),
    "metadata": (("path",),),
    "observations": (("observed_at",),),
}
"""What is indexed beside the keys of the tables, which serve for the sessions and changes of a peer."""

SEARCHED = {"peers": ("device_name",), "metadata": ("text", "value")}
"""What full-text search looks through."""

_MOST_ROWS = 1_000
_MOST_CHARACTERS = 2_000_000
_CACHE_KIBIBYTES = 8_000


def micros_in_sql(time: str) -> str:
    """An expression for the microseconds since 1970 of a time of the file: exact, where SQLite's own functions round to
    milliseconds."""
    return (
        f"(CAST(strftime('%s', substr({time}, 1, 19)) AS INTEGER) * 1000000 + CAST(substr({time}, 21, 6) AS INTEGER))"
    )


_SECONDS = f"({micros_in_sql('s.end')} - {micros_in_sql('s.start')}) / 1000000.0"

VIEWS = {
    "peer_sessions_named": """
SELECT s.peer_key, p.device_name, s.start, s.end, {seconds} AS seconds, s.end_reason, s.gaps
FROM peer_sessions s JOIN peers p ON p.peer_key = s.peer_key""",
    "connections_named": """
SELECT c.connection_key, a.device_name AS name1, b.device_name AS name2, c.type, c.id, c.peer1, c.peer2
FROM connections c JOIN peers a ON a.peer_key = c.peer1 JOIN peers b ON b.peer_key = c.peer2""",
    "connection_sessions_named": """
SELECT a.device_name AS name1, b.device_name AS name2, s.type, s.start, s.end, {seconds} AS seconds, s.end_reason,
  s.gaps, s.peer1, s.peer2, s.connection_key
FROM connection_sessions s JOIN peers a ON a.peer_key = s.peer1 JOIN peers b ON b.peer_key = s.peer2""",
}
"""The views: sessions and connections for people to read; ``{seconds}`` stands for how long a session lasted."""


def write(source: Source, path: Path) -> dict[str, int]:
    """Write a history into the empty file at ``path``; gives how many rows each table got.

    Rows stream: memory holds a batch of them. Nothing is synced to the disk, and no file is left beside this one. What
    the file system refuses raises :class:`sqlite3.OperationalError`; the file is then of no use.
    """
    with closing(Database(path, recursive_triggers=False, execute_plugins=False)) as database:
        return _filled(database, source)


def _filled(database: Database, source: Source) -> dict[str, int]:
    for setting in (
        "page_size = 4096",
        f"cache_size = -{_CACHE_KIBIBYTES}",
        "journal_mode = OFF",  # the file is thrown away when this fails
        "synchronous = OFF",
        "locking_mode = EXCLUSIVE",
    ):
        database.execute(f"PRAGMA {setting}")
    with database.atomic():  # one transaction: the file's header counts them
        _create(database)
        _explain(database)
        rows = {name: _fill(database.table(name), table, source) for name, table in TABLES.items()}
        _finish(database)
    return rows


def _create(database: Database) -> None:
    for table in TABLES.values():
        database.table(table.name).create(
            {column.name: TYPES.get(column.kind, str) for column in table.columns},
            pk=table.key,
            not_null=[column.name for column in table.columns if column.required],
            foreign_keys=[(column.name, *column.refers_to) for column in table.columns if column.refers_to],
            strict=True,
        )


def _explain(database: Database) -> None:
    named: list[Row] = [("table_name", "column_name", "kind", "meaning")]
    for table in TABLES.values():
        named.append((table.name, "", "table", table.meaning))
        named.extend((table.name, column.name, column.kind, column.meaning) for column in table.columns)
    meanings = database.table("meanings")
    meanings.create(dict.fromkeys(named[0], str), pk=named[0][:2], not_null=named[0], strict=True)
    meanings.insert_all(named)


def _fill(table: Table, described: ExportTable, source: Source) -> int:
    names = [column.name for column in described.columns]
    count = 0
    for batch in _batches(_in_sql(described, source)):
        table.insert_all([names, *batch], batch_size=_MOST_ROWS)
        count += len(batch)
        source.progress(len(batch))
    return count


def _in_sql(table: ExportTable, source: Source) -> Iterator[list[Any]]:
    """The rows of a table in the terms of SQLite."""
    converted: list[tuple[int, Callable[[Any], Any]]] = [
        (place, iso if column.kind == "time" else int)
        for place, column in enumerate(table.columns)
        if column.kind in ("time", "boolean")
    ]
    for row in table.rows(source):
        values = list(row)
        for place, convert in converted:
            if values[place] is not None:
                values[place] = convert(values[place])
        yield values


def _batches(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    """The rows by so many as memory can hold, however long their texts are."""
    batch: list[list[Any]] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += sum(len(value) for value in row if isinstance(value, str))
        if len(batch) == _MOST_ROWS or characters >= _MOST_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _finish(database: Database) -> None:
    """What is made of the rows once they are there."""
    for name, indexes in INDEXES.items():
        for columns in indexes:
            database.table(name).create_index(columns)
    for name, columns in SEARCHED.items():
        database.table(name).enable_fts(columns, tokenize="unicode61 remove_diacritics 2")
        database.table(name).optimize()
    for name, query in VIEWS.items():
        database.create_view(name, query.strip().replace("{seconds}", _SECONDS))
