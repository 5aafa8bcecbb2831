"""Parquet: a folder with one folder a table, for DuckDB, pandas, Polars, Spark.

A table is ``peers/part-0.parquet``. What happens in time is parted by day in UTC, as Hive does it:
``peer_sessions/day=2026-07-08/part-0.parquet``; the column ``day`` is in the path alone. Columns have the types and the
meanings of :mod:`peerstore.exporting.arrow`. A table without rows has one file without rows, so that every reader
finds its columns; where a day parts it, that of the end of what was asked for.

Sessions come as they end, so the days on which they began come in any order: rows are set aside in a file within the
folder, compressed, those of a day together, and then day after day is written. So a long history takes little memory,
few open files, and one file a day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from peerstore.errors import MissingExtra
from peerstore.exporting.source import Source
from peerstore.exporting.tables import TABLES, ExportTable, Row

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtra("a Parquet export", "arrow") from error

from peerstore.exporting.arrow import batch_of, batches, rows_at_once, schema_of

ROWS_IN_A_GROUP = 16_384
BYTES_IN_A_GROUP = 2_000_000


def write(source: Source, path: Path) -> dict[str, int]:
    """Write every table into the folder; how many rows of each."""
    return {table.name: _write_table(source, path / table.name, table) for table in TABLES.values()}


def _write_table(source: Source, folder: Path, table: ExportTable) -> int:
    folder.mkdir()
    if table.by_day is None:
        return _write_file(folder, table, batches(source, table))
    return _write_days(source, folder, table, table.by_day)


def _write_file(folder: Path, table: ExportTable, parts: Iterable[pa.RecordBatch]) -> int:
    count = 0
    schema = schema_of(table)
    file = (folder / "part-0.parquet").open("xb")
    with file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _grouped(parts):
            rows = pa.Table.from_batches(group, schema)
            writer.write_table(rows, row_group_size=rows.num_rows)
            count += rows.num_rows
    return count


def _grouped(parts: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """The batches put together to row groups, which readers like long and memory short."""
    group: list[pa.RecordBatch] = []
    for part in parts:
        group.append(part)
        many = sum(each.num_rows for each in group) >= ROWS_IN_A_GROUP
        if many or sum(each.nbytes for each in group) >= BYTES_IN_A_GROUP:
            yield group
            group = []
            pa.default_memory_pool().release_unused()
    if group:
        yield group


def _write_days(source: Source, folder: Path, table: ExportTable, column: str) -> int:
    aside = folder / "rows-by-day.arrow"
    days = _set_aside(source, table, column, aside)
    count = 0
    with aside.open("rb") as file, pa.ipc.open_file(file) as rows:
        for day, places in sorted(days.items()):
            parts = (rows.get_batch(place) for place in places)
            count += _write_file(_day_folder(folder, day), table, parts)
    aside.unlink()
    return count if days else _write_file(_day_folder(folder, source.end.date()), table, ())


def _day_folder(folder: Path, day: date) -> Path:
    inside = folder / f"day={day.isoformat()}"
    inside.mkdir()
    return inside


def _set_aside(source: Source, table: ExportTable, column: str, aside: Path) -> dict[date, list[int]]:
    """Write the rows to a file of batches, each of one day; which batches are those of each day."""
    days: dict[date, list[int]] = defaultdict(list)
    schema, place = schema_of(table), 0
    in_row = [each.name for each in table.columns].index(column)
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with aside.open("xb") as file, pa.ipc.new_file(file, schema, options=options) as writer:
        for rows in rows_at_once(source, table):
            for day, of_day in _parted(rows, in_row).items():
                writer.write_batch(batch_of(of_day, schema))
                days[day].append(place)
                place += 1
    return days


def _parted(rows: list[Row], place: int) -> dict[date, list[Row]]:
    """The rows by the day, in UTC, of what stands at a place; those of a day in the order in which they came."""
    days: dict[date, list[Row]] = defaultdict(list)
    for row in rows:
        days[row[place].date()].append(row)
    return days
