"""DuckDB: a table of intervals in columns, which it scans with all cores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import Element, Interval, Intervals, Missing, Observation, Peer

_AT = "SELECT element, document FROM held WHERE valid_from <= ? AND valid_to > ?"


class Duckdb(Peer):
    """One table without indexes: the least and greatest of each of its blocks tell which are to be read."""

    title = "DuckDB, table of intervals"
    durability = "durable"

    def __init__(self, folder: Path, elements: Mapping[int, Element]) -> None:  # noqa: ARG002
        try:
            import duckdb
            import pyarrow
        except ImportError as error:
            raise Missing("DuckDB is left out: pip install -e '.[benchmarks]'") from error
        self._arrow = pyarrow
        self._file = folder / "intervals.duckdb"
        self._connection = duckdb.connect(str(self._file))
        self._connection.execute(
            "CREATE TABLE held (id BIGINT NOT NULL, element BIGINT NOT NULL, document BIGINT NOT NULL,"
            " valid_from BIGINT NOT NULL, valid_to BIGINT NOT NULL)"
        )
        self._intervals = Intervals()

    def record(self, batch: Sequence[Observation]) -> None:
        """Insert what begins and update what ends, each in one statement, as Arrow tables."""
        begun, ended = self._intervals.add(batch)
        connection = self._connection
        connection.execute("BEGIN")
        connection.register("ended", self._table(("valid_to", "id"), ended))
        connection.execute("UPDATE held SET valid_to = ended.valid_to FROM ended WHERE held.id = ended.id")
        connection.register("begun", self._table(Interval._fields, begun))
        connection.execute("INSERT INTO held SELECT * FROM begun")
        connection.execute("COMMIT")

    def load(self, observations: Iterable[Observation]) -> None:
        """All in one statement, in the order in which they begin: what DuckDB does best."""
        begun, _ = self._intervals.add(observations)
        self._connection.register("begun", self._table(Interval._fields, begun))
        self._connection.execute("INSERT INTO held SELECT * FROM begun")
        self._connection.execute("CHECKPOINT")

    def at(self, moment: int) -> dict[int, int]:
        """One statement."""
        return dict(self._connection.execute(_AT, (moment, moment)).fetchall())

    def size(self) -> int:
        """The bytes of the file."""
        self._connection.execute("CHECKPOINT")
        return self._file.stat().st_size

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _table(self, names: Sequence[str], rows: Sequence[tuple[int, ...]]) -> Any:
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        integers = self._arrow.int64()
        return self._arrow.table(
            {name: self._arrow.array(column, integers) for name, column in zip(names, columns, strict=True)}
        )
