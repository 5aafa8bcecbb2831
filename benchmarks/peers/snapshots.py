"""The naive way: every observation's JSON, compressed, under its time."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers import Line

_AT = "SELECT line FROM snapshot WHERE at <= ? ORDER BY at DESC LIMIT 1"


class Snapshots:
    """A row for each observation, with its line as zlib packs it (level 6).

    It is given lines, not changes, and answers with what they say (:func:`parts`).
    """

    title = "every graph as zlib-packed JSON in SQLite"
    durability = "durable (WAL, `synchronous=FULL`)"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "snapshots.db"
        self._connection = sqlite3.connect(self._file, isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE snapshot (at INTEGER PRIMARY KEY, line BLOB NOT NULL)"
        )

    def record(self, batch: Iterable[Line]) -> None:
        """Pack and insert, in one transaction."""
        self._connection.execute("BEGIN")
        packed = ((line.at, zlib.compress(line.text, 6)) for line in batch)
        self._connection.executemany("INSERT INTO snapshot VALUES (?, ?)", packed)
        self._connection.execute("COMMIT")

    def at(self, moment: int) -> dict[str, Any]:
        """The graph of the last observation at or before an instant (microseconds since 1970)."""
        [packed] = self._connection.execute(_AT, (moment,)).fetchone()
        return parts(json.loads(zlib.decompress(packed)))

    def size(self) -> int:
        """The bytes of the file."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._file.stat().st_size

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Differences:
    """What whoever is given whole graphs has to do before anything can be stored as changes: parse, and compare."""

    def __init__(self) -> None:
        self.found = 0
        self._last: dict[str, Any] = {}

    def add(self, batch: Iterable[Line]) -> None:
        """Count in ``found`` what differs in each graph from the one before."""
        for line in batch:
            envelope = json.loads(line.text)
            if envelope["graph"] is not None:
                graph = parts(envelope)
                last, self._last = self._last, graph
                self.found += sum(last.get(key) != value for key, value in graph.items()) + len(last.keys() - graph)


def parts(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """The peers of an observation by their keys, and its connections by their ids, as they are in the JSON; but a
    peer's list of connections is taken out."""
    graph = envelope["graph"]
    peers = [graph["localPeer"], *graph["remotePeers"]]
    found = {peer["peerKey"]: peer for peer in peers}
    for peer in peers:
        found.update((link["id"], link) for link in peer.pop("connections"))
    return found
