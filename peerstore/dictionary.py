"""The dictionaries, read: from ids to observers, elements and documents. What was read once is kept: ids change
their meaning only where a peer is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import intern

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.canonical import Document
from peerstore.model import Connection as ShownConnection
from peerstore.model import Element, Peer
from peerstore.prepared import Prepared, PreparedByIds, Row
from peerstore.retention import STORE_INFO, Retention, retention_of
from peerstore.tables import document, element, observer

FORGOTTEN_OBSERVER = "anonymous::forgotten-"
"""How the key of an observer begins that was erased: no observer that is given can have it."""

_MOST_KEPT = 50_000
FEW = 10_000
"""So many are kept of each kind where little memory is to be taken: a walk over a long history asks for few again."""

_ELEMENTS = PreparedByIds(
    sa.select(element.c.id, element.c.kind, element.c.peer1, element.c.peer2, element.c.type, element.c.source_id),
    element.c.id,
)
_DOCUMENTS = PreparedByIds(sa.select(document.c.id, document.c.body), document.c.id)


Shown = Peer | ShownConnection | Document
"""What an answer shows of an element: of the graph itself its document."""


Ranked = tuple[str, Shown]
"""The same with the :func:`rank` of the element."""


def rank(item: Element) -> str:
    """A text by which elements sort as they do themselves, several times faster: connections, the graph, peers. No part
    of an identity holds a NUL (:func:`~peerstore.peer_keys.checked_text`)."""
    return "\0".join(item)


class Dictionary:
    """What ids stand for, until something more is removed on purpose: another ``generation``
    (:class:`~peerstore.retention.Retention`) needs another dictionary. Safe for several threads; bounded in memory: of
    each kind it keeps ``most`` at the most."""

    def __init__(self, generation: int = 0, most: int = _MOST_KEPT) -> None:
        self.generation = generation
        self._most = most
        self._elements: dict[int, Element] = {}
        self._documents: dict[int, Document] = {}
        self._shown: dict[tuple[str, ...], dict[tuple[int, int], Ranked]] = {}
        self._observers: dict[str, int] = {}

    def of_generation(self, generation: int) -> Dictionary:
        """One that holds nothing yet, after a removal."""
        return Dictionary(generation, self._most)

    def shown(self, seen_by: tuple[str, ...]) -> dict[tuple[int, int], Ranked]:
        """What answers have shown so far of what these observers saw, by element and document; whoever shows something
        else adds it."""
        if sum(map(len, self._shown.values())) + len(self._shown) > self._most:
            self._shown = {}
        return self._shown.setdefault(seen_by, {})

    def observer(self, connection: Connection, key: str) -> dict[str, int]:
        """As :func:`observer_ids` of one observer, which is not asked again for one that was found."""
        if key not in self._observers:
            self._observers.update(observer_ids(connection, key))
        return {key: self._observers[key]} if key in self._observers else {}

    def elements(self, connection: Connection, ids: Iterable[int]) -> dict[int, Element]:
        """The elements with these ids; the answer may hold more than was asked for. Do not modify it."""
        ids, kept = list(ids), self._elements
        missing = [number for number in ids if number not in kept]
        if not missing:
            return kept
        found = {
            # Keys and types stand in many elements: one text for all of them is a third of the memory.
            number: Element(kind, intern(key or ""), intern(other or ""), intern(link_type or ""), link_id or "")
            for number, kind, key, other, link_type, link_id in _ELEMENTS.all(connection, missing)
        }
        if len(kept) + len(found) > self._most:
            # A new mapping: another thread may still be reading the old one.
            kept = self._elements = {number: kept[number] for number in ids if number in kept}
        kept.update(found)
        return kept

    def documents(self, connection: Connection, ids: Iterable[int]) -> dict[int, Document]:
        """The documents with these ids; the answer may hold more than was asked for. Do not modify it."""
        ids, kept = list(ids), self._documents
        missing = [number for number in ids if number not in kept]
        if not missing:
            return kept
        found = {number: Document(body) for number, body in _DOCUMENTS.all(connection, missing)}
        if len(kept) + len(found) > self._most:
            # A new mapping: another thread may still be reading the old one.
            kept = self._documents = {number: kept[number] for number in ids if number in kept}
        kept.update(found)
        return kept


_observers = sa.select(observer.c.observer_key, observer.c.id).order_by(observer.c.observer_key)
_OBSERVERS = Prepared(_observers)
_OBSERVER = Prepared(_observers.where(observer.c.observer_key == sa.bindparam("observer_key")))


def observer_ids(connection: Connection, key: str | None = None) -> dict[str, int]:
    """Every observer of the store by its key, in byte order; or the one asked for (empty if there is none)."""
    if key is None:
        return _not_forgotten(_OBSERVERS.all(connection, {}))
    return dict(_OBSERVER.all(connection, {"observer_key": key}))


def _not_forgotten(found: Iterable[Row]) -> dict[str, int]:
    return {each: number for each, number in found if not each.startswith(FORGOTTEN_OBSERVER)}


TOLD_AND_OBSERVERS = Prepared(
    sa.union_all(
        STORE_INFO.add_columns(sa.null().label("id")),
        sa.select(observer.c.observer_key, sa.null(), observer.c.id),
    )
)
"""What a question of all observers begins with: see :func:`retention_and_observers`."""


def retention_and_observers(rows: Sequence[Row]) -> tuple[Retention, dict[str, int]]:
    """What of the history is kept, and :func:`observer_ids`, of the rows of :data:`TOLD_AND_OBSERVERS`."""
    told = [(name, value) for name, value, number in rows if number is None]
    # Texts sort as their bytes in UTF-8 do.
    observers = sorted((key, number) for key, _, number in rows if number is not None)
    return retention_of(told), _not_forgotten(observers)
