"""CSV: a folder with one file a table, for spreadsheets and for whatever reads nothing else.

RFC 4180: UTF-8, lines end in CR LF, the first one names the columns, a cell with a comma, a quote or a line break is
quoted. Times are ISO 8601 in UTC with microseconds, booleans ``true`` and ``false``, JSON is canonical JSON text. A
cell with nothing in it is none.

A text or JSON cell that begins as a formula (:func:`peerstore.spreadsheets.may_be_run`) or with an apostrophe has an
apostrophe put before it, and an empty text is an apostrophe alone. To get the text back from a cell that is not empty,
drop one leading apostrophe: :func:`read_table` does. With the option ``raw_csv`` texts stand as they are, and an empty
one looks like none.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from peerstore.errors import InputError
from peerstore.exporting.source import Source
from peerstore.exporting.tables import TABLES, ExportTable, Kind, Row
from peerstore.spreadsheets import guarded, unguarded
from peerstore.times import instant, iso, parse_iso

ROWS_AT_ONCE = 1_000
LARGEST_CELL = min(sys.maxsize, 2**31 - 1)
_BOOLEANS = {"true": True, "false": False}

_WRITTEN: dict[Kind, Callable[[Any], str]] = {
    "text": guarded,
    "json": guarded,
    "integer": str,
    "boolean": lambda value: "true" if value else "false",
    "time": iso,
    "seconds": repr,
}
_READ: dict[Kind, Callable[[str], Any]] = {
    "text": unguarded,
    "json": unguarded,
    "integer": int,
    "boolean": _BOOLEANS.__getitem__,
    "time": lambda cell: instant(parse_iso(cell)),
    "seconds": float,
}


def write(source: Source, path: Path) -> dict[str, int]:
    """Write every table into the folder, each to a file of its name; how many rows of each."""
    counts = {}
    for table in TABLES.values():
        with _file(path, table).open("x", encoding="utf-8", newline="") as file:
            counts[table.name] = _write_table(source, table, file)
    return counts


def read_table(path: Path, table: ExportTable) -> Iterator[Row]:
    """The rows of a table in a folder that :func:`write` wrote (not with ``raw_csv``), with the values that they had.

    :class:`~peerstore.errors.InputError` for a file with other columns, or with a cell that is no value of its column.
    To read long texts, the limit that Python's ``csv`` module sets on the length of a cell is raised, in the whole
    process.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LARGEST_CELL))
    with _file(path, table).open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, strict=True)
        names = [column.name for column in table.columns]
        if next(lines, None) != names:
            raise InputError(f"{table.name}.csv has other columns than {', '.join(names)}")
        for number, cells in enumerate(lines, 1):
            yield _values(table, number, cells)


def _file(path: Path, table: ExportTable) -> Path:
    return path / f"{table.name}.csv"


def _write_table(source: Source, table: ExportTable, file: TextIO) -> int:
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(column.name for column in table.columns)
    rows, count = _cells(source, table), 0
    while some := list(islice(rows, ROWS_AT_ONCE)):
        writer.writerows(some)
        count += len(some)
        source.progress(len(some))
    return count


def _cells(source: Source, table: ExportTable) -> Iterator[list[str]]:
    as_they_are: dict[Kind, Callable[[Any], str]] = {"text": str, "json": str} if source.options.raw_csv else {}
    written = [{**_WRITTEN, **as_they_are}[column.kind] for column in table.columns]
    for row in table.rows(source):
        yield ["" if value is None else shown(value) for shown, value in zip(written, row, strict=True)]


def _values(table: ExportTable, number: int, cells: list[str]) -> Row:
    if len(cells) != len(table.columns):
        raise InputError(f"row {number} of {table.name}.csv has {len(cells)} cells, not {len(table.columns)}")
    values = []
    for column, cell in zip(table.columns, cells, strict=True):
        try:
            values.append(_READ[column.kind](cell) if cell else None)
        except (ValueError, KeyError):
            raise InputError(f"{column.name} in row {number} of {table.name}.csv is no {column.kind}") from None
    return tuple(values)
