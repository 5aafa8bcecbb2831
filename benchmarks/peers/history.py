"""The history that all of them keep: a built database of one observer, and the lines that it was recorded from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.churn import Churn
from benchmarks.peers import Line, Observation, changes_of, elements_of, opened
from peerstore import PeerStore
from peerstore.presence import Presence
from peerstore.times import instant

DICTIONARIES = ("document", "element", "observer", "peer_document")
"""The tables of texts: whoever keeps a history by ids needs them once more."""


class History:
    """A database as :func:`benchmarks.built.database` made it of so many changes, and what that said of it."""

    def __init__(self, file: Path, told: str, asked_for: int) -> None:
        self.file = file
        self.told = told
        self.elements = elements_of(file)
        self._asked_for = asked_for
        with closing(opened(file)) as connection:
            self._bodies: dict[int, str] = dict(connection.execute("SELECT id, body FROM document").fetchall())
            log = "SELECT MIN(observed_at), MAX(observed_at), COUNT(*) FROM observation_log"
            self.begin, self.end, self.observations = connection.execute(log).fetchone()
            [self.changes] = connection.execute("SELECT COUNT(*) FROM element_change").fetchone()
            [self.observer_id, self.observer] = connection.execute("SELECT id, observer_key FROM observer").fetchone()

    def beginning(self, changes: int) -> list[Observation]:
        """The first observation, which tells of all that is there, and those of so many changes after it."""
        found: list[Observation] = []
        count = 0
        for observation in changes_of(self.file):
            count += len(observation.changes) if found else 0
            found.append(observation)
            if count >= changes:
                break
        return found

    def lines(self, until: int) -> Iterator[Line]:
        """The lines that it was recorded from, until a time (microseconds since 1970)."""
        for seen in Churn(self._asked_for):
            if seen.at > until:
                return
            yield Line(seen.at, seen.line)

    def is_said_by(self, found: Mapping[str, Any], held: Mapping[int, int]) -> bool:
        """Whether parts of JSON (:func:`benchmarks.peers.snapshots.parts`) are what ids of documents stand for: the
        same peers with the same metadata, and the same connections."""
        expected: dict[str, Any] = {}
        for number, document in held.items():
            element = self.elements[number]
            if element.kind == "peer":
                expected[element.peer1] = json.loads(self._bodies[document])["peer_metadata"]
            elif element.kind == "connection":
                expected[element.source_id] = None
        return expected == {key: value.get("peerMetadata") for key, value in found.items()}

    def bytes_by_table(self) -> dict[str, int]:
        """What each table takes with its indexes; nothing where SQLite was built without ``dbstat``."""
        statement = "SELECT tbl_name, SUM(pgsize) FROM dbstat JOIN sqlite_schema USING (name) GROUP BY tbl_name"
        with closing(opened(self.file)) as connection:
            try:
                return dict(connection.execute(statement).fetchall())
            except sqlite3.OperationalError:
                return {}


class Ours:
    """A store's answers about the one observer of a history."""

    def __init__(self, store: PeerStore, history: History) -> None:
        self._store = store
        self._history = history

    def presence(self, moment: int) -> Presence:
        """The whole public answer at an instant (microseconds since 1970)."""
        return self._store.presence_at(instant(moment), observer=self._history.observer)

    def ids(self, moment: int) -> dict[int, int]:
        """The same as the document id of each element id."""
        return self._store.ids_at(instant(moment), observer=self._history.observer)

    def is_presence(self, answer: Presence, held: dict[int, int]) -> bool:
        """Whether a whole answer has the peers and the connections that ids stand for."""
        elements = [self._history.elements[number] for number in held]
        names = {each.peer1 if each.kind == "peer" else each.source_id for each in elements if each.kind != "graph"}
        return names == {*answer.peers, *(link.id for link in answer.connections)}
