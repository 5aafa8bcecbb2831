"""Peers as they were read, and the caches that spare reading the same one again."""

from __future__ import annotations

import functools
import json
import marshal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from peerstore.canonical import MAX_DEPTH, Json, dumps, loads, normal, pointer
from peerstore.ditto_fields import Link, OpenLink, folded, listed, read_link, read_peer, read_plain_link
from peerstore.errors import InvalidGraph
from peerstore.model import Element
from peerstore.peer_keys import kind_of

T = TypeVar("T")

_CONNECTIONS = b'"connections"'
_encoded = json.JSONEncoder().encode

GRAPH = Element("graph")
FIRST, SECOND, BOTH = (f'{{"listed_by":{ends}}}' for ends in ("[1]", "[2]", "[1,2]"))
"""The documents of connections that their first end, their second end or both list, with no unknown fields."""

_MAX_CACHE = 6 * 2**20  # bytes of a cache's younger half: a mesh of 5,000 peers fits
_COST = 400  # roughly what a cached object takes beside its key
_MAX_ELEMENTS = 20_000


class _Body(NamedTuple):
    """A peer without its connections; ``text`` is its document, ``name`` its device name or ""."""

    key: str | None
    element: Element
    text: str
    name: str


class ParsedPeer(msgspec.Struct, eq=False, gc=False):
    """A peer as it was read, apart from the graph around it; it is cached, so nothing in it changes.

    A peer is plain, and has a ``plain_key``, if it has a key and its connections have nothing to say but that it lists
    them, being one of their ends.
    """

    key: str | None
    element: Element
    text: str
    name: str
    links: Sequence[Link]
    open_links: Sequence[OpenLink]
    plain_key: str | None

    def all_links(self, observer: str) -> list[Link]:
        """Every connection in its list, with handles for the ends that have no key."""
        return [*self.links, *(link.close(observer) for link in self.open_links)]


class PlainElements(Mapping[Element, str]):
    """The elements of a graph of plain peers, each with a key of its own.

    They are put together when they are first looked at, which recording need not do: it knows the ids of the
    elements of each peer (:mod:`peerstore.interning`).
    """

    __slots__ = ("_elements", "graph_text", "peers")

    def __init__(self, peers: list[ParsedPeer]) -> None:
        self.peers = peers
        self.graph_text = _graph_text(peers[0].key or "")
        self._elements: dict[Element, str] | None = None

    def _assembled(self) -> dict[Element, str]:
        if self._elements is None:
            elements, seconds = {GRAPH: self.graph_text}, set()
            for peer in self.peers:
                elements[peer.element] = peer.text
                for element, _ in peer.links:
                    if element.key == peer.key:
                        elements[element] = FIRST
                    else:
                        seconds.add(element)
            for element in seconds:
                elements[element] = BOTH if element in elements else SECOND
            self._elements = elements
        return self._elements

    def __getitem__(self, element: Element) -> str:
        return self._assembled()[element]

    def __iter__(self) -> Iterator[Element]:
        return iter(self._assembled())

    def __len__(self) -> int:
        return len(self._assembled())


@functools.lru_cache(maxsize=1024)
def _graph_text(local_peer: str) -> str:
    return dumps({"local_peer": local_peer})


def _parsed(body: _Body, links: list[Link | OpenLink]) -> ParsedPeer:
    """A peer with its connections."""
    key = body.key
    closed, open_links = _sorted_out(links)
    plain = not open_links and all(not extra and key in (element.key, element.other) for element, extra in closed)
    return ParsedPeer(*body, tuple(closed), tuple(open_links), key if plain else None)


class Cache(dict[bytes, T]):
    """What was read, by the exact bytes it was read from, in two generations: when the young is full, the old goes.

    The dict itself is the young generation, so that ``get`` costs nothing more; ``find`` asks both.
    """

    def __init__(self) -> None:
        super().__init__()
        self._old: dict[bytes, T] = {}
        self._size = 0

    def find(self, content: bytes) -> T | None:
        """What was kept under these bytes, or None."""
        found = self.get(content)
        if found is None and (found := self._old.get(content)) is not None:
            self.keep(content, found)
        return found

    def keep(self, content: bytes, found: T) -> None:
        """Keep it, at least until as much again was kept as the cache holds."""
        self._size += len(content) + _COST
        if self._size > _MAX_CACHE:
            self._old = dict(self)
            self.clear()
            self._size = len(content) + _COST
        self[content] = found


class PeerReader:
    """Reads peers; of one that is new, the body and most of the connections were read before."""

    def __init__(self) -> None:
        self._bodies: Cache[_Body] = Cache()
        self._links: Cache[Link | OpenLink] = Cache()
        self._text_bodies: Cache[_Body] = Cache()
        self._text_links: Cache[Link | OpenLink] = Cache()
        self._elements: dict[Element, Element] = {}

    def read_text(self, content: bytes) -> ParsedPeer:
        """Read one peer, given as JSON text."""
        parts = _split(content)
        if parts is None:
            return self.read(loads(content), "", keep=True)
        key, links = parts
        body = self._text_bodies.find(key)
        if body is None:
            value = loads(content)
            if sum(folded(name) == "connections" for name in value) > 1:
                return self.read(value, "", keep=True)
            del value["connections"]
            body = _read_body(value, "")
            self._text_bodies.keep(key, body)
        return _parsed(body, list(map(self._text_link, links)))

    def _text_link(self, content: bytes) -> Link | OpenLink:
        link = self._text_links.find(content)
        if link is None:
            link = self._shared(read_plain_link(content) or read_link(loads(content, MAX_DEPTH - 2), ""))
            self._text_links.keep(content, link)
        return link

    def read(self, value: object, path: str, keep: bool) -> ParsedPeer:
        """Read one peer as a JSON parser or Python code made it; ``keep`` if it holds nothing but types of JSON."""
        if not isinstance(value, Mapping):
            raise InvalidGraph(f"a peer is {kind_of(value)}; an object was expected", path)
        names = [name for name in value if isinstance(name, str) and folded(name) == "connections"]
        if not names:
            return _parsed(self._body(value, path, keep), [])
        if len(names) > 1:
            raise InvalidGraph(f"both {names[0]} and {names[1]} are given; one of them was expected", path)
        body = {name: member for name, member in value.items() if name != names[0]}
        links = self._links_of(value[names[0]], pointer(path, names[0]), 3, keep)
        return _parsed(self._body(body, path, keep), links)

    def read_links(self, value: object, path: str, depth: int, keep: bool) -> tuple[list[Link], list[OpenLink]]:
        """Read a list or map of connections, each at level ``depth``: those with two keys, and the others."""
        return _sorted_out(self._links_of(value, path, depth, keep))

    def _links_of(self, value: object, path: str, depth: int, keep: bool) -> list[Link | OpenLink]:
        return [self._link(item, path, name, depth, keep) for name, item in listed(value, path)]

    def _body(self, value: Mapping[str, Any], path: str, keep: bool) -> _Body:
        content = exact_bytes(value) if keep else b""
        body = self._bodies.find(content)
        if body is None:
            body = _read_body(normal(value, path), path)
            if content:
                self._bodies.keep(content, body)
        return body

    def _link(self, value: object, path: str, name: int | str, depth: int, keep: bool) -> Link | OpenLink:
        content = exact_bytes(value) if keep and isinstance(name, int) else b""
        link = self._links.find(content)
        if link is None:
            path = pointer(path, name)
            link = self._shared(read_link(normal(value, path, depth), path, "" if isinstance(name, int) else name))
            if content:
                self._links.keep(content, link)
        return link

    def _shared(self, link: Link | OpenLink) -> Link | OpenLink:
        """The link with the one object that stands for its element, so that graphs which hold it compare fast."""
        if isinstance(link, OpenLink):
            return link
        if len(self._elements) >= _MAX_ELEMENTS:
            self._elements.clear()
        return Link(self._elements.setdefault(link.element, link.element), link.extra)


def _read_body(value: Mapping[str, Json], path: str) -> _Body:
    key, document = read_peer(value, path)
    return _Body(key, Element("peer", key or ""), dumps(document), document.get("device_name") or "")


def _sorted_out(links: list[Link | OpenLink]) -> tuple[list[Link], list[OpenLink]]:
    closed = [link for link in links if isinstance(link, Link)]
    return closed, [] if len(closed) == len(links) else [link for link in links if isinstance(link, OpenLink)]


class _RawPeer(msgspec.Struct):
    connections: list[msgspec.Raw]


class _RawConnections(msgspec.Struct):
    connections: msgspec.Raw


_RAW_PEER = msgspec.json.Decoder(_RawPeer)
_RAW_CONNECTIONS = msgspec.json.Decoder(_RawConnections)


def _split(content: bytes) -> tuple[bytes, list[bytes]] | None:
    """A peer's JSON text without the array of its connections, and the text of each; None where that is not plain.

    The name of the array stands there once, and nothing is escaped, so that this can be no other array. The NUL that
    stands for it is in no JSON text, so two peers have the same text without it only if they differ in it alone.
    """
    if content.count(_CONNECTIONS) != 1 or b"\\" in content:
        return None
    try:
        links = list(map(bytes, _RAW_PEER.decode(content).connections))
        before, _, after = content.partition(_CONNECTIONS)
        array = b":[" + b",".join(links) + b"]"
        if after.startswith(array):
            return before + b"\0" + after[len(array) :], links
        array = bytes(_RAW_CONNECTIONS.decode(content).connections)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return before + b"\0" + after[after.index(array) + len(array) :], links


def exact_bytes(value: Any) -> bytes:
    """Bytes that no other value has, among those that :func:`holds_json`; b"" for one that has none."""
    try:
        return marshal.dumps(value, 2)
    except (ValueError, TypeError):
        return b""


def holds_json(value: object) -> bool:
    """Whether it holds nothing but types of JSON: :mod:`marshal` also writes other things, as if they were bytes."""
    try:
        _encoded(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
