"""What is left out of an export, and what is disguised: observations in, observations out.

* Only some peers: a graph keeps its local peer, those peers, and the connections that have one of them as an end.
* Redaction: attributes at a JSON Pointer, and all below it, are gone, as if the device had never said them.
* Pseudonyms: the keys of peers and observers, device names and the ids of connections become others, made from them
  with a secret key (HMAC-SHA-256, RFC 2104): the same key gives the same pseudonyms, so exports can be joined, and
  without it nobody can find out whose they are by trying. Keys inside metadata are replaced too: Ditto keys in any
  spelling, names of members and parts of texts among them, and every text that is the key of a peer or an observer.
  What is unknown (``extra``, ``site_id``) is left out, since it may name the device. Other metadata stays, and so do
  the types of connections, operating systems and versions: redact what identifies.

What is disguised is recorded into a store of its own, and the export made of that, so that no answer in it, in whatever
format, can rest on what was left out.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

from peerstore.canonical import Json, dumps, loads, pointer, steps_of
from peerstore.ditto import canonical_peer_key, read_graph
from peerstore.ditto_fields import MEMBERS, folded
from peerstore.ditto_peers import GRAPH
from peerstore.ditto_render import render_graph
from peerstore.errors import InputError
from peerstore.model import Element, Observation, PresenceGraph
from peerstore.peer_keys import ANONYMOUS, spelled_key

LEAST_KEY = 16
"""The fewest bytes that a key for pseudonyms must have."""
_MOST_KEPT = 50_000
_DITTO_KEY = bytes.fromhex("0287028243")
_KEY_LENGTH, _SHORTEST_SPELLING = 38, 51
_DITTO_KEYS = re.compile("pkAocCgk[A-Za-z0-9_-]{45}")


class Disguise:
    """How observations are changed on their way out; nothing of what is given is modified."""

    def __init__(
        self, peers: Collection[str] = (), redact: Collection[str] = (), pseudonym_key: bytes | None = None
    ) -> None:
        self._peers = frozenset(key if key.startswith(ANONYMOUS) else canonical_peer_key(key) for key in peers)
        self._redact = {path: _checked_steps(path) for path in redact}
        self._known: frozenset[str] = frozenset()
        self.redacted = dict.fromkeys(sorted(redact), 0)
        if pseudonym_key is not None and len(pseudonym_key) < LEAST_KEY:
            raise InputError(
                f"the key for pseudonyms has {len(pseudonym_key)} bytes; at least {LEAST_KEY} were expected:"
                " head -c 32 /dev/urandom > pseudonyms.key makes one"
            )
        self._key = pseudonym_key
        self._texts: dict[tuple[str, str], str] = {}
        self._elements: dict[Element, Element] = {}

    def know(self, keys: Iterable[str]) -> None:
        """Keys of peers and observers, which get their pseudonyms wherever a text in metadata is one of them."""
        self._known = frozenset(keys)

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
        if self._peers or any(map(_is_anonymous, elements)):
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
        end = f":{text.rpartition(':')[2]}" if handle else ""  # which of several, or which end
        return f"{handle}{kind}-{hmac.digest(self._key, said, 'sha256').hex()[:24]}{end}"

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
        for path, steps in self._redact.items():
            before, document = document, _without(_without_others(document, steps[0]), steps)
            self.redacted[path] += before is not document
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
            return {self._renamed_text(name): self._renamed(inner) for name, inner in value.items()}
        if isinstance(value, list):
            if len(value) == _KEY_LENGTH and value[: len(_DITTO_KEY)] == list(_DITTO_KEY):
                return self._renamed_text(str(spelled_key(value)))
            return [self._renamed(inner) for inner in value]
        return self._renamed_text(value) if isinstance(value, str) else value

    def _renamed_text(self, text: str) -> str:
        if text in self._known:
            return self.peer_key(text)
        if len(text) >= _SHORTEST_SPELLING:
            with suppress(InputError):
                key = spelled_key(text)
                if key is not None and key != text:
                    return self.peer_key(key)
        return _DITTO_KEYS.sub(lambda found: self.peer_key(found[0]), text)


_UNKNOWN = ("extra", "site_id")
_OTHER_NAMES = {
    "site_id": {"address"},
    **{member.name: {folded(name) for name in (*member.given_names, member.repeats) if name} for member in MEMBERS},
}
"""The folded names under which unknown fields may say once more what a member says."""
_MEMBERS = (*_OTHER_NAMES, "anonymous", "extra")


def _without_others(document: dict[str, Json], member: str) -> dict[str, Json]:
    """A document whose unknown fields say nothing of a member under another of its names."""
    extra, names = document.get("extra"), _OTHER_NAMES.get(member)
    if names is None or not isinstance(extra, dict) or names.isdisjoint(map(folded, extra)):
        return document
    rest: dict[str, Json] = {name: value for name, value in extra.items() if folded(name) not in names}
    return {**document, "extra": rest} if rest else _without(document, ["extra"])


def _checked_steps(path: str) -> list[str]:
    """The steps of a JSON Pointer to an attribute, by the names that attributes have here."""
    steps = steps_of(path)
    if not steps:
        raise InputError("the path to redact is empty; a JSON Pointer such as /peer_metadata/owner was expected")
    if steps[0] not in _MEMBERS:
        meant = [name for name, names in _OTHER_NAMES.items() if folded(steps[0]) in {*names, folded(name)}]
        hint = f"did you mean {pointer('', meant[0])}?" if meant else f"they begin with one of {', '.join(_MEMBERS)}"
        raise InputError(f"no attribute is at {path}: {hint}")
    return steps


def _without(document: dict[str, Json], steps: list[str]) -> dict[str, Json]:
    """A document without what is at a place; the same one if nothing is."""
    first, rest = steps[0], steps[1:]
    if first not in document:
        return document
    if not rest:
        return {name: value for name, value in document.items() if name != first}
    inner = document[first]
    left = _less(inner, rest)
    return document if left is inner else {**document, first: left}


def _less(value: Json, steps: list[str]) -> Json:
    """A value without what is at a place in it; of an array, null stands in the place of what is gone."""
    if isinstance(value, dict):
        return _without(value, steps)
    if not isinstance(value, list) or not steps[0].isdecimal() or int(steps[0]) >= len(value):
        return value
    index = int(steps[0])
    left = None if len(steps) == 1 else _less(value[index], steps[1:])
    return value if left is value[index] else [*value[:index], left, *value[index + 1 :]]


def _is_anonymous(element: Element) -> bool:
    return element.key.startswith(ANONYMOUS) or element.other.startswith(ANONYMOUS)


def _read_again(graph: PresenceGraph, observer: str) -> PresenceGraph:
    """The graph as it would be if it were given as it is now: with its handles, and in the lists of its peers."""
    return read_graph(render_graph(graph), observer)
