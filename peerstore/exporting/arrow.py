"""The tables of an export as Arrow: schemas, batches as a stream, and whole tables in memory.

A ``text`` is a ``string``, ``json`` is a ``string`` of canonical JSON, an ``integer`` an ``int64``, a ``boolean`` a
``bool``, a ``time`` a ``timestamp`` in microseconds with the zone UTC, ``seconds`` a ``double``. A column that always
has a value is not nullable. The metadata of a schema names the table and says what it means, that of each field what it
means.
"""

from __future__ import annotations

from collections.abc import Iterator

from peerstore.errors import MissingExtra, QuestionError
from peerstore.exporting.source import Source
from peerstore.exporting.tables import TABLES, ExportTable, Kind, Row

try:
    import pyarrow as pa
except ImportError as error:
    raise MissingExtra("an Arrow table", "arrow") from error

ROWS_AT_ONCE = 4_096
CHARACTERS_AT_ONCE = 4_000_000
"""A batch has no more rows than this, and ends once its texts are as long as that: one text may have megabytes."""

TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "json": pa.string(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "time": pa.timestamp("us", "UTC"),
    "seconds": pa.float64(),
}


def schema_of(table: ExportTable) -> pa.Schema:
    """The schema of a table.

    >>> schema_of(TABLES["metadata"]).field("text").type
    DataType(string)
    """
    fields = [
        pa.field(column.name, TYPES[column.kind], not column.required, {"meaning": column.meaning})
        for column in table.columns
    ]
    return pa.schema(fields, {"table": table.name, "meaning": table.meaning})


def rows_at_once(source: Source, table: ExportTable, size: int = ROWS_AT_ONCE) -> Iterator[list[Row]]:
    """The rows of a table, up to ``size`` of them at once, fewer where they hold long texts; tells ``source.progress``
    of each such lot once it is done with."""
    texts = [place for place, column in enumerate(table.columns) if column.kind in ("text", "json")]
    rows: list[Row] = []
    room = CHARACTERS_AT_ONCE
    for row in table.rows(source):
        rows.append(row)
        room -= sum(len(row[place] or "") for place in texts)
        if len(rows) >= size or room <= 0:
            yield rows
            source.progress(len(rows))
            rows, room = [], CHARACTERS_AT_ONCE
    if rows:
        yield rows
        source.progress(len(rows))


def batch_of(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    """Some rows of the table with this schema, at least one, as a record batch."""
    columns = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.record_batch(columns, schema)


def batches(source: Source, table: ExportTable, size: int = ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
    """The rows of a table as a stream of record batches of up to ``size`` rows, fewer where they hold long texts."""
    schema = schema_of(table)
    for rows in rows_at_once(source, table, size):
        yield batch_of(rows, schema)


def reader(source: Source, table: ExportTable, size: int = ROWS_AT_ONCE) -> pa.RecordBatchReader:
    """The rows of a table as what DuckDB, Polars and others read a stream of batches from; once, while the source's
    snapshot is open."""
    return pa.RecordBatchReader.from_batches(schema_of(table), batches(source, table, size))


def to_arrow(source: Source, name: str) -> pa.Table:
    """A table of the export by its name, whole, in memory; :class:`~peerstore.errors.QuestionError` if none has it."""
    if name not in TABLES:
        raise QuestionError(f"there is no table {name!r}: choose from {', '.join(TABLES)}")
    table = TABLES[name]
    return pa.Table.from_batches(batches(source, table), schema_of(table))
