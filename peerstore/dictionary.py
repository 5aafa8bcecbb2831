"""The dictionaries, read: from ids to observers, elements and documents. What was read once is kept, since ids never
change meaning."""

from __future__ import annotations

from collections.abc import Iterable
from sys import intern

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.canonical import Document
from peerstore.database import chunks
from peerstore.model import Element
from peerstore.tables import document, element, observer

_MOST_KEPT = 50_000

_ELEMENTS = sa.select(
    element.c.id, element.c.kind, element.c.peer1, element.c.peer2, element.c.type, element.c.source_id
).where(element.c.id.in_(sa.bindparam("ids", expanding=True)))
_DOCUMENTS = sa.select(document.c.id, document.c.body).where(document.c.id.in_(sa.bindparam("ids", expanding=True)))


class Dictionary:
    """What ids stand for. Safe for several threads; bounded in memory."""

    def __init__(self) -> None:
        self._elements: dict[int, Element] = {}
        self._documents: dict[int, Document] = {}

    def forget(self) -> None:
        """Drop what was kept (after something was erased from the database)."""
        self._elements, self._documents = {}, {}

    def elements(self, connection: Connection, ids: Iterable[int]) -> dict[int, Element]:
        """The elements with these ids; the answer may hold more than was asked for. Do not modify it."""
        ids, kept = list(ids), self._elements
        missing = [number for number in ids if number not in kept]
        found = {
            # Keys and types stand in many elements: one text for all of them is a third of the memory.
            row.id: Element(
                row.kind, intern(row.peer1 or ""), intern(row.peer2 or ""), intern(row.type or ""), row.source_id or ""
            )
            for chunk in chunks(missing)
            for row in connection.execute(_ELEMENTS, {"ids": chunk})
        }
        if len(kept) + len(found) > _MOST_KEPT:
            # A new mapping: another thread may still be reading the old one.
            kept = self._elements = {number: kept[number] for number in ids if number in kept}
        kept.update(found)
        return kept

    def documents(self, connection: Connection, ids: Iterable[int]) -> dict[int, Document]:
        """The documents with these ids; the answer may hold more than was asked for. Do not modify it."""
        ids, kept = list(ids), self._documents
        missing = [number for number in ids if number not in kept]
        found = {
            row.id: Document(row.body)
            for chunk in chunks(missing)
            for row in connection.execute(_DOCUMENTS, {"ids": chunk})
        }
        if len(kept) + len(found) > _MOST_KEPT:
            # A new mapping: another thread may still be reading the old one.
            kept = self._documents = {number: kept[number] for number in ids if number in kept}
        kept.update(found)
        return kept


def observer_ids(connection: Connection, key: str | None = None) -> dict[str, int]:
    """Every observer of the store by its key, in byte order; or the one asked for (empty if there is none)."""
    statement = sa.select(observer.c.observer_key, observer.c.id).order_by(observer.c.observer_key)
    if key is not None:
        statement = statement.where(observer.c.observer_key == key)
    return {row.observer_key: row.id for row in connection.execute(statement)}
