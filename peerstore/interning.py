"""The dictionaries, written: from observers, elements and documents to ids, making those that are new; and which
documents a peer ever had.

Only :mod:`peerstore.recording` uses it, inside its transaction. Ids that were made in a transaction that failed may be
given again to something else, so after a failure :meth:`Interning.forget` drops what was kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.database import Database, chunks
from peerstore.day_digests import KnownDigests
from peerstore.ditto_peers import BOTH, FIRST, GRAPH, SECOND, ParsedPeer, PlainElements
from peerstore.keyframes import State
from peerstore.model import Element, PresenceGraph
from peerstore.tables import document, element, observer, peer_document

_MOST_KEPT = 20_000
_MOST_DOCUMENTS = 15_000
_MOST_PEERS = 10_000
_MOST_PAIRS = 60_000
_MOST_STATES = 500_000  # elements in the last states of local peers
_identity = json.JSONEncoder(separators=(",", ":")).encode


def digest(content: bytes) -> bytes:
    """The first 16 bytes of SHA-256: the unique key of dictionary rows."""
    return hashlib.sha256(content).digest()[:16]


def element_digest(item: Element) -> bytes:
    """The unique key of an element: the digest of its identity as a JSON array."""
    return digest(_identity(item).encode())


class Interned(NamedTuple):
    """A graph as a state. If it has a ``base``, another state, then both differ at most in what is ``touched``."""

    state: State
    base: State | None = None
    touched: Collection[int] = ()


class _PlainState:
    """The last graph of plain peers of some local peer: the peers, its state, and of that the graph itself, what the
    first ends of connections and what their second ends say."""

    __slots__ = ("firsts", "graph", "peers", "seconds", "state")

    def __init__(self, graph: State) -> None:
        self.graph = self.state = graph
        self.peers = set[ParsedPeer]()
        self.firsts: State = {}
        self.seconds: State = {}


class Interning:
    """Ids of elements, documents and observers; new ones are inserted. Bounded in memory; used by one thread at a
    time."""

    def __init__(self, database: Database) -> None:
        self.digests = KnownDigests()
        self._database = database
        self._elements: dict[Element, int] = {}
        self._documents: dict[str, int] = {}
        self._observers: dict[str, int] = {}
        self._peers: set[int] = set()
        self._pairs: set[tuple[int, int]] = set()
        self._firsts: dict[ParsedPeer, State] = {}
        self._seconds: dict[ParsedPeer, State] = {}
        self._lasts: dict[str, _PlainState] = {}

    def forget(self) -> None:
        """Drop every kept id: the transaction that made them has failed."""
        self._elements, self._documents, self._observers = {}, {}, {}
        self._peers, self._pairs = set(), set()
        self._firsts, self._seconds, self._lasts = {}, {}, {}
        self.digests.forget()

    def states(self, connection: Connection, graphs: Sequence[PresenceGraph]) -> list[Interned]:
        """Each graph as a state: element id to document id. States may be shared: do not modify them."""
        self._learn(connection, [graph.elements for graph in graphs])
        return [self._interned(graph.elements) for graph in graphs]

    def _learn(self, connection: Connection, graphs: Sequence[Mapping[Element, str]]) -> None:
        """Make sure that everything in these graphs has an id."""
        if len(self._elements) > _MOST_KEPT:
            self.forget()
        if len(self._documents) > _MOST_DOCUMENTS:
            lists = [text for text in (FIRST, SECOND, BOTH) if text in self._documents]
            self._documents = {text: self._documents[text] for text in lists}  # which no graph needs to name anew
        if len(self._firsts) > _MOST_PEERS:
            self._firsts, self._seconds, self._lasts = {}, {}, {}
        firsts = self._firsts
        plain = [elements for elements in graphs if isinstance(elements, PlainElements)]
        peers = {peer for elements in plain for peer in elements.peers if peer not in firsts}
        items = {GRAPH, *(peer.element for peer in peers), *(item for peer in peers for item, _ in peer.links)}
        texts = {*(elements.graph_text for elements in plain), *(peer.text for peer in peers)}
        if any(peer.links for peer in peers):
            texts |= {FIRST, SECOND, BOTH}
        if len(plain) < len(graphs):
            for elements in graphs:
                if not isinstance(elements, PlainElements):
                    items.update(elements)
                    texts.update(elements.values())
        # Not by the difference of sets: that takes as long as there are known ones.
        self._learn_elements(connection, [item for item in items if item not in self._elements])
        self._learn_documents(connection, [text for text in texts if text not in self._documents])
        for peer in peers:
            self._split(peer)

    def _split(self, peer: ParsedPeer) -> None:
        """Note the parts of a plain peer in a state: itself with the connections whose first end it is, and the
        others."""
        elements, documents = self._elements, self._documents
        firsts, seconds = {elements[peer.element]: documents[peer.text]}, {}
        for item, _ in peer.links:
            if item.key == peer.key:
                firsts[elements[item]] = documents[FIRST]
            else:
                seconds[elements[item]] = documents[SECOND]
        self._firsts[peer] = firsts
        if seconds:
            self._seconds[peer] = seconds

    def _interned(self, graph: Mapping[Element, str]) -> Interned:
        elements, documents = self._elements, self._documents
        if not isinstance(graph, PlainElements):
            return Interned({elements[item]: documents[text] for item, text in graph.items()})
        last = self._lasts.get(graph.graph_text)
        if last is not None:
            return self._next(last, set(graph.peers))
        last = _PlainState({elements[GRAPH]: documents[graph.graph_text]})
        if sum(len(each.state) for each in self._lasts.values()) > _MOST_STATES:
            self._lasts = {}
        self._lasts[graph.graph_text] = last
        return self._next(last, set(graph.peers))

    def _next(self, last: _PlainState, peers: set[ParsedPeer]) -> Interned:
        """The state of a graph of plain peers, by the peers in which it differs from the last one of its local peer."""
        gone, come = last.peers - peers, peers - last.peers
        if len(come) > len(peers) // 4:
            return self._whole(last, peers)
        base, firsts, seconds = last.state, last.firsts, last.seconds
        touched = set[int]()
        for peer in gone:
            for part, of_peer in ((firsts, self._firsts[peer]), (seconds, self._seconds.get(peer, {}))):
                touched.update(of_peer)
                for element_id in of_peer:
                    del part[element_id]
        for peer in come:
            for part, of_peer in ((firsts, self._firsts[peer]), (seconds, self._seconds.get(peer, {}))):
                touched.update(of_peer)
                part.update(of_peer)
        last.peers = peers
        if touched:
            last.state = dict(base)
            self._touch(last, touched)
        return Interned(last.state, base, touched)

    def _touch(self, last: _PlainState, touched: Iterable[int]) -> None:
        """Bring elements of a state to what the ends of connections say of them."""
        state, firsts, seconds = last.state, last.firsts, last.seconds
        for element_id in touched:
            first, second = firsts.get(element_id), seconds.get(element_id)
            found = second if first is None else first if second is None else self._documents[BOTH]
            if found is None:
                state.pop(element_id, None)
            else:
                state[element_id] = found

    def _whole(self, last: _PlainState, peers: set[ParsedPeer]) -> Interned:
        """The same where so much differs that it is quicker to begin anew."""
        last.peers, last.firsts, last.seconds = peers, {}, {}
        for part in map(self._firsts.__getitem__, peers):
            last.firsts |= part
        for part in filter(None, map(self._seconds.get, peers)):
            last.seconds |= part
        last.state = last.graph | last.firsts | last.seconds
        both = last.firsts.keys() & last.seconds.keys()
        if both:
            last.state |= dict.fromkeys(both, self._documents[BOTH])
        return Interned(last.state)

    def element_id(self, connection: Connection, item: Element) -> int:
        """The id of one element."""
        if item not in self._elements:
            self._learn_elements(connection, {item})
        return self._elements[item]

    def observers(self, connection: Connection, keys: Iterable[str]) -> dict[str, int]:
        """Ids of observers by their keys; the answer may hold more than was asked for. Do not modify it."""
        if len(self._observers) > _MOST_KEPT:
            self._observers = {}
        rows = {key: {"observer_key": key, "last_recorded_at": -(2**62)} for key in keys if key not in self._observers}
        self._observers |= self._ids(connection, observer, observer.c.observer_key, rows)
        return self._observers

    def new_pairs(self, elements: Iterable[int | None], documents: Iterable[int | None]) -> set[tuple[int, int]]:
        """The peers among these elements, each with its document, in pairs that may be new to ``peer_document``."""
        peers = self._peers
        pairs = {pair for pair in zip(elements, documents, strict=True) if pair[0] in peers and pair[1] is not None}
        return pairs - self._pairs  # type: ignore[return-value]

    def pair(self, connection: Connection, pairs: Collection[tuple[int, int]]) -> None:
        """Make sure that these peers and documents stand in ``peer_document``."""
        # Sorted, as above; and once a transaction, after all else that two writers may wait for.
        rows = [number for pair in sorted(pairs) for number in pair]
        self._database.insert(connection, peer_document, rows, leave_known=True)
        if len(self._pairs) > _MOST_PAIRS:
            self._pairs = set()
        self._pairs.update(pairs)

    def _learn_elements(self, connection: Connection, items: Collection[Element]) -> None:
        by_digest = {element_digest(item): item for item in items}
        rows = {key: _element_row(key, item) for key, item in by_digest.items()}
        for key, number in self._ids(connection, element, element.c.digest, rows).items():
            item = by_digest[key]
            self._elements[item] = number
            self.digests.learn_element(number, key)
            if item.kind == "peer":
                self._peers.add(number)

    def _learn_documents(self, connection: Connection, texts: Collection[str]) -> None:
        by_digest = {digest(text.encode()): text for text in texts}
        rows = {key: {"digest": key, "body": text} for key, text in by_digest.items()}
        for key, number in self._ids(connection, document, document.c.digest, rows).items():
            self._documents[by_digest[key]] = number
            self.digests.learn_document(number, key)

    def _ids(
        self, connection: Connection, table: sa.Table, unique: sa.Column[Any], rows: Mapping[Any, dict[str, Any]]
    ) -> dict[Any, int]:
        if not rows:
            return {}
        new = [rows[key] for key in sorted(rows)]  # sorted: two writers never wait for each other in a circle
        found = _by_key(self._database.insert_new(connection, table, new, unique.name))
        if len(found) < len(rows):
            known = sa.select(unique, table.c.id).where(unique.in_(sa.bindparam("keys", expanding=True)))
            for chunk in chunks(rows.keys() - found.keys()):
                found |= _by_key(connection.execute(known, {"keys": chunk}))
        return found


def _by_key(rows: Iterable[Any]) -> dict[Any, int]:
    return {bytes(key) if isinstance(key, memoryview) else key: number for key, number in rows}


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
