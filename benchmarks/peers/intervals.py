"""A table of intervals with b-tree indexes, in SQLite: what is designed first, and what most histories are kept in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import peers
from benchmarks.peers import Element, Observation, Peer

_INDEXES = (
    "CREATE INDEX held_from ON held (valid_from)",
    "CREATE INDEX held_to ON held (valid_to)",
    "CREATE INDEX held_element ON held (element, valid_from)",
)
_COVERING = (
    "CREATE INDEX held_from ON held (valid_from, valid_to, element, document)",
    "CREATE INDEX held_to ON held (valid_to, valid_from, element, document)",
    "CREATE INDEX held_element ON held (element, valid_from)",
)
_AT = "SELECT element, document FROM held WHERE valid_from <= ? AND valid_to > ?"


class BtreeIntervals(Peer):
    """Indexes on the beginning, on the end, and on the element and the beginning."""

    title = "intervals in SQLite, b-tree indexes"
    durability = "durable (WAL, `synchronous=FULL`)"
    every = 4
    indexes = _INDEXES

    def __init__(self, folder: Path, elements: Mapping[int, Element]) -> None:  # noqa: ARG002
        self._file = folder / "intervals.db"
        self._connection = sqlite3.connect(self._file, isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-64000;"
            "CREATE TABLE held (id INTEGER PRIMARY KEY, element INTEGER NOT NULL, document INTEGER NOT NULL,"
            " valid_from INTEGER NOT NULL, valid_to INTEGER NOT NULL)"
        )
        for index in self.indexes:
            self._connection.execute(index)
        self._intervals = peers.Intervals()

    def record(self, batch: Sequence[Observation]) -> None:
        """Insert what begins, update what ends."""
        begun, ended = self._intervals.add(batch)
        self._connection.execute("BEGIN")
        self._connection.executemany("UPDATE held SET valid_to = ? WHERE id = ?", ended)
        self._connection.executemany("INSERT INTO held VALUES (?, ?, ?, ?, ?)", begun)
        self._connection.execute("COMMIT")

    def load(self, observations: Iterable[Observation]) -> None:
        """Record, then let SQLite count what its planner goes by."""
        super().load(observations)
        self._connection.execute("ANALYZE")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def at(self, moment: int) -> dict[int, int]:
        """One statement."""
        return dict(self._connection.execute(_AT, (moment, moment)).fetchall())

    def size(self) -> int:
        """The bytes of the file."""
        return self._file.stat().st_size

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class CoveringIntervals(BtreeIntervals):
    """Indexes by beginning and by end that hold whole rows: no row is looked up, though as many entries are read."""

    title = "intervals in SQLite, covering b-tree indexes"
    indexes = _COVERING
