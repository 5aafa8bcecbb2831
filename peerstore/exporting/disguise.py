"""What is left out of an export, and what is disguised: observations in, observations out.

* Only some peers: a graph keeps its local peer, those peers, and the connections that have one of them as an end.
* Redaction: attributes at a JSON Pointer, and all below it, are gone, as if the device had never said them.
* Pseudonyms: the keys of peers and observers, device names and the ids of connections become others, made from them
  with a secret key (HMAC-SHA-256, RFC 2104): the same key gives the same pseudonyms, so exports can be joined, and
  without it nobody can find out whose they are by trying. Peer keys inside metadata are replaced too. What is unknown
  (``extra``, ``site_id``) is left out, since it may name the device. Metadata stays: redact what identifies.

What is disguised is recorded into a store of its own, and the export made of that, so that no answer in it, in whatever
format, can rest on what was left out.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping
from typing import Any

from peerstore.canonical import Json, dumps, loads, steps_of
from peerstore.ditto import canonical_peer_key, read_graph, render
from peerstore.ditto_fields import MEMBERS, folded
from peerstore.ditto_peers import GRAPH
from peerstore.errors import InputError
from peerstore.model import Element, Observation, PresenceGraph
from peerstore.peer_keys import ANONYMOUS, bytes_of_key

LEAST_KEY = 16
"""The fewest bytes that a key for pseudonyms must have."""
_MOST_KEPT = 50_000
_DITTO_KEY = bytes.fromhex("0287028243")


class Disguise:
    """How observations are changed on their way out; nothing of what is given is modified."""

    def __init__(
        self, peers: Collection[str] = (), redact: Collection[str] = (), pseudonym_key: bytes | None = None
    ) -> None:
        self._peers = frozenset(map(canonical_peer_key, peers))
        self._redact = [steps_of(path) for path in redact]
        if any(not steps for steps in self._redact):
            raise InputError("the path to redact is empty; a JSON Pointer such as /peer_metadata/owner was expected")
        if pseudonym_key is not None and len(pseudonym_key) < LEAST_KEY:
            raise InputError(
                f"the key for pseudonyms has {len(pseudonym_key)} bytes; at least {LEAST_KEY} were expected:"
                " head -c 32 /dev/urandom > pseudonyms.key makes one"
            )
        self._key = pseudonym_key
        self._texts: dict[tuple[str, str], str] = {}
        self._elements: dict[Element, Element] = {}

    def __bool__(self) -> bool:
        return bool(self._peers or self._redact or self._key is not None)

    def of(self, given: Observation) -> Observation:
        """An observation in disguise."""
        observer = self.peer_key(given.observer)
        if given.graph is None:
            return given._replace(observer=observer)
        elements = {
            self._element(element): self._document(element, text)
            for element, text in given.graph.elements.items()
            if self._stays(element, given.graph.local_peer)
        }
        graph = PresenceGraph(self.peer_key(given.graph.local_peer), elements)
        if self._peers or (self._key is not None and any(map(_is_anonymous, elements))):
            graph = _read_again(graph, observer)
        return given._replace(observer=observer, graph=graph)

    def _stays(self, element: Element, local_peer: str) -> bool:
        if not self._peers or element == GRAPH:
            return True
        return not self._peers.isdisjoint((element.key, element.other)) or (element.kind, element.key) == (
            "peer",
            local_peer,
        )

    def peer_key(self, key: str) -> str:
        """The pseudonym of a peer."""
        return key if self._key is None or not key else self._pseudonym("peer", key)

    def _pseudonym(self, kind: str, text: str) -> str:
        assert self._key is not None
        said = f"{kind}\0{text}".encode(errors="surrogatepass")
        handle = ANONYMOUS if kind == "peer" and text.startswith(ANONYMOUS) else ""
        return f"{handle}{kind}-{hmac.digest(self._key, said, 'sha256').hex()[:24]}{':1' if handle else ''}"

    def _element(self, element: Element) -> Element:
        if self._key is None or element == GRAPH:
            return element
        found = self._elements.get(element)
        if found is None:
            first, second = self.peer_key(element.key), self.peer_key(element.other)
            if element.kind == "connection":
                first, second = sorted((first, second))
            name = self._pseudonym("link", element.id) if element.id else ""
            found = Element(element.kind, first, second, element.type, name)
            if len(self._elements) >= _MOST_KEPT:
                self._elements.clear()
            self._elements[element] = found
        return found

    def _document(self, element: Element, text: str) -> str:
        if element.kind == "peer":
            change: Callable[[Element, dict[str, Any]], dict[str, Json]] = self._peer
        elif self._key is not None:
            change = self._graph if element == GRAPH else self._link
        else:
            return text
        place = (element.key + "\0" + element.other, text) if element.kind == "connection" else ("", text)
        found = self._texts.get(place)
        if found is None:
            document = loads(text)
            assert isinstance(document, dict)
            found = dumps(change(element, document))
            if len(self._texts) >= _MOST_KEPT:
                self._texts.clear()
            self._texts[place] = found
        return found

    def _peer(self, _element: Element, document: dict[str, Json]) -> dict[str, Json]:
        if self._key is not None:
            document = {name: self._renamed(value) for name, value in document.items() if name not in _UNKNOWN}
            if document.get("device_name"):
                document["device_name"] = self._pseudonym("name", str(document["device_name"]))
        for steps in self._redact:
            document = _without(_without_others(document, steps[0]), steps)
        return document

    def _graph(self, _element: Element, document: dict[str, Json]) -> dict[str, Json]:
        return {"local_peer": self.peer_key(str(document["local_peer"]))} if "local_peer" in document else {}

    def _link(self, element: Element, document: dict[str, Any]) -> dict[str, Json]:
        """Who lists it, by the ends as they stand now; its unknown fields are left out."""
        ends = {1: element.key, 2: element.other}
        listers = [self.peer_key(ends.get(entry, entry)) for entry in document["listed_by"]]
        disguised = self._element(element)
        places = {disguised.other: 2, disguised.key: 1}
        listed: list[Json] = sorted(places[lister] for lister in listers if lister in places)
        return {"listed_by": [*listed, *sorted(lister for lister in listers if lister not in places)]}

    def _renamed(self, value: Json) -> Json:
        """A value in which every Ditto peer key is replaced."""
        if isinstance(value, dict):
            return {name: self._renamed(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._renamed(inner) for inner in value]
        if isinstance(value, str) and value.startswith("pk") and (bytes_of_key(value) or b"").startswith(_DITTO_KEY):
            return self.peer_key(value)
        return value


_UNKNOWN = ("extra", "site_id")
_OTHER_NAMES = {
    "site_id": {"address"},
    **{member.name: {folded(name) for name in (*member.given_names, member.repeats) if name} for member in MEMBERS},
}
"""The folded names under which unknown fields may say once more what a member says."""


def _without_others(document: dict[str, Json], member: str) -> dict[str, Json]:
    """A document whose unknown fields say nothing of a member under another of its names."""
    extra, names = document.get("extra"), _OTHER_NAMES.get(member)
    if names is None or not isinstance(extra, dict) or names.isdisjoint(map(folded, extra)):
        return document
    rest: dict[str, Json] = {name: value for name, value in extra.items() if folded(name) not in names}
    return {**document, "extra": rest} if rest else _without(document, ["extra"])


def _without(document: dict[str, Json], steps: list[str]) -> dict[str, Json]:
    """A document without what is at a place."""
    first, rest = steps[0], steps[1:]
    if first not in document:
        return document
    inner = document[first]
    if not rest:
        return {name: value for name, value in document.items() if name != first}
    return {**document, first: _without(inner, rest)} if isinstance(inner, dict) else document


def _is_anonymous(element: Element) -> bool:
    return element.key.startswith(ANONYMOUS) or element.other.startswith(ANONYMOUS)


def _read_again(graph: PresenceGraph, observer: str) -> PresenceGraph:
    """The graph as it would be if it were given as it is now: with its handles, and in the lists of its peers."""
    documents: Mapping[Element, Any] = {element: loads(text) for element, text in graph.elements.items()}
    peers = {element.key: document for element, document in documents.items() if element.kind == "peer"}
    links = [(element, document) for element, document in documents.items() if element.kind == "connection"]
    return read_graph(render(graph.local_peer, documents[GRAPH], peers, links), observer)
