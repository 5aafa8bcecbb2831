"""Rows into tables, as fast as each engine takes them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.prepared import ALL, run

_ROWS_A_STATEMENT = 500  # by 7 columns: an SQLite statement may have 32766 values
_ARRAY_TYPES = {int: "bigint", str: "text", bytes: "bytea"}

Value = TypeVar("Value")


class Inserting:
    """The part of a database that rows are given to."""

    is_sqlite: bool

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
                run(connection, self._insert_text(table, names) + ending, columns)
            return
        whole = len(values) - len(values) % step
        for start in range(0, whole, step):
            text = self._insert_text(table, names, _ROWS_A_STATEMENT) + ending
            run(connection, text, tuple(values[start : start + step]))
        rows = [tuple(values[start : start + width]) for start in range(whole, len(values), width)]
        if rows:
            run(connection, self._insert_text(table, names) + ending, rows, many=True)

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
            yield from run(connection, f"{text} ON CONFLICT DO NOTHING RETURNING {returning}, id", values, ALL)

    @functools.lru_cache(maxsize=64)  # noqa: B019 - one Database has a handful of tables and lives as long as its store
    def _insert_text(self, table: sa.Table, names: tuple[str, ...], rows: int = 1) -> str:
        into = f"INSERT INTO {table.name} ({', '.join(names)})"
        if self.is_sqlite:
            row = f"({', '.join('?' * len(names))})"
            return f"{into} VALUES {', '.join([row] * rows)}"
        arrays = ", ".join(f"%s::{_ARRAY_TYPES[table.c[name].type.python_type]}[]" for name in names)
        return f"{into} SELECT * FROM unnest({arrays})"  # noqa: S608 - a table of ours


def _array(column: sa.Column[Any], values: Sequence[Any]) -> Sequence[Any]:
    """Values of a column as an array for PostgreSQL: integers as its text, which Python writes faster than psycopg."""
    if column.type.python_type is not int:
        return list(values)
    return "{" + str(list(values))[1:-1].replace("None", "NULL") + "}"


def chunks(values: Iterable[Value], size: int = 500) -> Iterator[list[Value]]:
    """The values in lists of at most ``size``: engines bound the number of values in one statement."""
    chunk: list[Value] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
