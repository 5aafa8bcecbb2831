"""The dictionaries, written: from observers, elements and documents to ids, making those that are new.

Only :mod:`peerstore.recording` uses it, inside its transaction. Ids that were made in a transaction that failed may be
given again to something else, so after a failure :meth:`Interning.forget` drops what was kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.database import Database, chunks
from peerstore.keyframes import State
from peerstore.model import Element, PresenceGraph
from peerstore.tables import document, element, observer

_MOST_KEPT = 200_000


def digest(content: bytes) -> bytes:
    """The first 16 bytes of SHA-256: the unique key of dictionary rows."""
    return hashlib.sha256(content).digest()[:16]


def element_digest(item: Element) -> bytes:
    """The unique key of an element: the digest of its identity as a JSON array."""
    return digest(json.dumps(item, separators=(",", ":")).encode())


class Interning:
    """Ids of elements, documents and observers; new ones are inserted. Bounded in memory; used by one thread at a
    time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._elements: dict[Element, int] = {}
        self._documents: dict[str, int] = {}

    def forget(self) -> None:
        """Drop every kept id: the transaction that made them has failed."""
        self._elements, self._documents = {}, {}

    def states(self, connection: Connection, graphs: Iterable[PresenceGraph]) -> list[State]:
        """Each graph as a state: element id to document id."""
        graphs = list(graphs)
        unknown = [graph for graph in graphs if not self._knows(graph)]
        if unknown:
            self._learn(connection, graphs, unknown)
        elements, documents = self._elements, self._documents
        return [{elements[item]: documents[text] for item, text in graph.elements.items()} for graph in graphs]

    def _knows(self, graph: PresenceGraph) -> bool:
        return graph.elements.keys() <= self._elements.keys() and self._documents.keys() >= set(graph.elements.values())

    def _learn(self, connection: Connection, graphs: list[PresenceGraph], unknown: list[PresenceGraph]) -> None:
        if len(self._elements) > _MOST_KEPT or len(self._documents) > _MOST_KEPT:
            self.forget()
            unknown = graphs
        new_elements = {item for graph in unknown for item in graph.elements if item not in self._elements}
        self._learn_elements(connection, new_elements)
        new_documents = {text for graph in unknown for text in graph.elements.values() if text not in self._documents}
        self._learn_documents(connection, new_documents)

    def element_id(self, connection: Connection, item: Element) -> int:
        """The id of one element."""
        if item not in self._elements:
            self._learn_elements(connection, {item})
        return self._elements[item]

    def observers(self, connection: Connection, keys: Iterable[str]) -> dict[str, int]:
        """Ids of observers by their keys."""
        rows = {key: {"observer_key": key, "last_recorded_at": -(2**62)} for key in keys}
        return self._ids(connection, observer, observer.c.observer_key, rows)

    def _learn_elements(self, connection: Connection, items: Collection[Element]) -> None:
        by_digest = {element_digest(item): item for item in items}
        rows = {key: _element_row(key, item) for key, item in by_digest.items()}
        for key, number in self._ids(connection, element, element.c.digest, rows).items():
            self._elements[by_digest[key]] = number

    def _learn_documents(self, connection: Connection, texts: Collection[str]) -> None:
        by_digest = {digest(text.encode()): text for text in texts}
        rows = {key: {"digest": key, "body": text} for key, text in by_digest.items()}
        for key, number in self._ids(connection, document, document.c.digest, rows).items():
            self._documents[by_digest[key]] = number

    def _ids(
        self, connection: Connection, table: sa.Table, unique: sa.Column[Any], rows: Mapping[Any, dict[str, Any]]
    ) -> dict[Any, int]:
        found = self._found(connection, table, unique, rows)
        new = [rows[key] for key in sorted(rows.keys() - found.keys())]  # sorted: two writers never wait for each other
        if new:
            self._database.insert_new(connection, table, new)
            found |= self._found(connection, table, unique, rows.keys() - found.keys())
        return found

    def _found(
        self, connection: Connection, table: sa.Table, unique: sa.Column[Any], keys: Iterable[Any]
    ) -> dict[Any, int]:
        found = {}
        for chunk in chunks(keys):
            for key, number in connection.execute(sa.select(unique, table.c.id).where(unique.in_(chunk))):
                found[bytes(key) if isinstance(key, memoryview) else key] = number
        return found


def _element_row(key: bytes, item: Element) -> dict[str, Any]:
    is_connection = item.kind == "connection"
    return {
        "digest": key,
        "kind": item.kind,
        "peer1": None if item.kind == "graph" else item.key,
        "peer2": item.other if is_connection else None,
        "type": item.type if is_connection else None,
        "source_id": item.id if is_connection else None,
    }
