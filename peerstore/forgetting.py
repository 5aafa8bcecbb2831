"""Forgotten peers: what of an observation may still be recorded, and whether a text speaks of one.

The store does not know whom it has forgotten: it knows digests of their keys (:mod:`peerstore.retention`). To forget a
peer is a filter over observations, whether they came before or come after (``docs/decisions/0015-forgetting.md``):

* what the peer itself observed is refused;
* of what others observed, the peer and every connection with an end at it is left out; where it is the graph's local
  peer, a pseudonym stands for its key in the graph's document.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping

from peerstore.canonical import dumps, loads
from peerstore.ditto_fields import Link
from peerstore.ditto_peers import GRAPH, ParsedPeer, PlainElements
from peerstore.errors import InputError
from peerstore.model import Element, Observation, PresenceGraph
from peerstore.peer_keys import canonical_peer_key, key_of_bytes, spelled_bytes
from peerstore.retention import forgotten_digest

REFUSED = "it was observed by a peer that was forgotten on request: nothing of it is kept"
"""Why an observation is refused; what is kept aside of it holds nothing that was said."""
UNREAD = "it could not be recorded, and it speaks of a peer that was forgotten on request: nothing of it is kept"

_MOST_KEPT = 50_000
_MOST_TEXTS = 200_000
_LONGEST_TEXT = 4_000
_TEXT = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_WORD = re.compile(r"[A-Za-z0-9+/_=-]{2,}")
_NAME = re.compile(r"[A-Za-z0-9_-]{2,}")
_SPOKEN = re.compile(r"[^\s,;:.]+")
_BYTES = re.compile(r"\[\s*(\d{1,3}(?:\s*,\s*\d{1,3})*)\s*\]")
_NUMBERED = re.compile(r'\{\s*("\d{1,3}"\s*:\s*\d{1,3}(?:\s*,\s*"\d{1,3}"\s*:\s*\d{1,3})*)\s*\}')
_NUMBER = re.compile(r"\d+")
_PYTHON_BYTES = re.compile(r"b'(?:[^'\\]|\\.)*'|b\"(?:[^\"\\]|\\.)*\"", re.DOTALL)

Asked = Callable[[str], bool]
"""Whether a key is one that is asked about."""


class Forgotten:
    """The peers that must not be recorded any more; false if there are none. Bounded in memory; for one thread."""

    def __init__(self, digests: frozenset[bytes] = frozenset(), secret: bytes = b"") -> None:
        self._digests = digests
        self._secret = secret
        self._known: dict[str, bool] = {}
        self._peers: dict[ParsedPeer, ParsedPeer | None] = {}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def holds(self, key: str) -> bool:
        """Whether the peer with this key was forgotten."""
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KEPT:
                self._known = {}
            found = self._known[key] = forgotten_digest(key, self._secret) in self._digests
        return found

    def without(self, given: Observation) -> Observation | None:
        """What of an observation may be recorded; ``None``: nothing, since a forgotten peer observed it."""
        if self.holds(given.observer):
            return None
        if given.graph is None:
            return given
        graph = self._graph(given.graph)
        return given if graph is given.graph else given._replace(graph=graph)

    def _graph(self, graph: PresenceGraph) -> PresenceGraph:
        elements, local = graph.elements, graph.local_peer
        if not self.holds(local):
            if isinstance(elements, PlainElements):
                return self._plain(graph, elements)
            kept = {item: text for item, text in elements.items() if not self._touches(item)}
            return graph if len(kept) == len(elements) else PresenceGraph(local, kept)
        name = pseudonym(forgotten_digest(local, self._secret))
        kept = {item: text for item, text in elements.items() if not self._touches(item)}
        kept[GRAPH] = with_local_peer(elements[GRAPH], name)
        return PresenceGraph(name, kept)

    def _touches(self, item: Element) -> bool:
        if item.kind == "peer":
            return self.holds(item.key)
        return item.kind == "connection" and (self.holds(item.key) or self.holds(item.other))

    def _plain(self, graph: PresenceGraph, elements: PlainElements) -> PresenceGraph:
        """The same for a graph of plain peers, which stays one: recording knows each peer by its object."""
        if len(self._peers) >= _MOST_KEPT:
            self._peers = {}
        known = self._peers
        kept = [known[peer] if peer in known else self._peer(peer) for peer in elements.peers]
        if kept == elements.peers:
            return graph
        return PresenceGraph(graph.local_peer, PlainElements([peer for peer in kept if peer is not None]))

    def _peer(self, peer: ParsedPeer) -> ParsedPeer | None:
        links: list[Link] = [link for link in peer.links if not self._touches(link.element)]
        found: ParsedPeer | None = peer
        if self.holds(peer.element.key):
            found = None
        elif len(links) < len(peer.links):
            found = ParsedPeer(peer.key, peer.element, peer.text, peer.name, tuple(links), (), peer.plain_key)
        self._peers[peer] = found
        return found

    def mentioned(self, content: bytes) -> bool:
        """Whether a text speaks of a forgotten peer by its key."""
        return bool(self) and mentions(content, self.holds)


def pseudonym(digest: bytes) -> str:
    """What stands for the key of a forgotten peer where a graph names its local peer.

    >>> pseudonym(bytes(16))
    'forgotten-00000000000000000000000000000000'
    """
    return f"forgotten-{digest.hex()}"


def with_local_peer(document: str, local_peer: str) -> str:
    """The document of a graph with another local peer."""
    return dumps({**loads(document), "local_peer": local_peer})


def mentions(content: bytes, asked: Asked) -> bool:
    """Whether a text speaks of a peer by its key: as a string or a word of it in any spelling of the key's bytes (text,
    base64, base64url, hex), or as an array of bytes. The text need not be JSON, nor whole. One with more different
    words than can be looked at is taken to do so.

    >>> mentions(b'{"peer": [1, 2, 3], "n": "010203"', lambda key: key == "pkAQID")
    True
    >>> mentions(b'{"peer": [1, 2, 3, 4]', lambda key: key == "pkAQID")
    False
    """
    text = content.decode("utf-8", "replace")
    seen = set[str]()
    for found in _texts(text):
        if found in seen or len(found) > _LONGEST_TEXT:
            continue
        if len(seen) >= _MOST_TEXTS:
            return True
        seen.add(found)
        if any(map(asked, _readings(found))):
            return True
    return any(asked(key_of_bytes(found)) for found in _listed(text) if found)


def _texts(text: str) -> Iterator[str]:
    """Whatever in a text may be a key in letters: its strings, the strings in these, and all words."""
    for found in _TEXT.finditer(text):
        yield (whole := _unescaped(found[1]))
        if '"' in whole:
            yield from (_unescaped(inner[1]) for inner in _TEXT.finditer(whole))
        if "\\" in found[1]:
            yield from _WORD.findall(whole)
    yield from _WORD.findall(text)
    yield from _NAME.findall(text)
    yield from _SPOKEN.findall(text)
    yield text


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def _readings(text: str) -> Iterator[str]:
    """The keys that a text may spell."""
    yield text
    for read in (canonical_peer_key, spelled_bytes):
        try:
            key = read(text)
        except (InputError, ValueError):
            continue
        if key is not None and key != text:
            yield key


def _listed(text: str) -> Iterator[bytes]:
    """The bytes that a text lists as numbers, or as Python shows them."""
    for found in _BYTES.finditer(text):
        numbers = list(map(int, _NUMBER.findall(found[1])))
        if max(numbers) < 256:
            yield bytes(numbers)
    for found in _NUMBERED.finditer(text):
        read = list(map(int, _NUMBER.findall(found[1])))
        by_place: Mapping[int, int] = dict(zip(read[::2], read[1::2], strict=True))
        if sorted(by_place) == list(range(len(by_place))) and max(by_place.values()) < 256:
            yield bytes(by_place[place] for place in range(len(by_place)))
    for found in _PYTHON_BYTES.finditer(text.replace("\\\\", "\\")):
        try:
            read_bytes = ast.literal_eval(found[0])
        except (ValueError, SyntaxError):
            continue
        if isinstance(read_bytes, bytes):
            yield read_bytes
