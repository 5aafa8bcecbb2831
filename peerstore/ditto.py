"""Ditto presence graphs: every JSON shape of presence v3 into one canonical form, and back.

:func:`read_graph` and :class:`GraphReader` read what any Ditto SDK from 3.0 to 5.1 gives, with any language's names of
fields, into a :class:`~peerstore.model.PresenceGraph`; :func:`render` gives it back as an SDK would. The order of
arrays means nothing.

Documents are canonical JSON; a member that was not given is missing.

* A peer: ``device_name``, ``os``, ``sdk_version``, ``is_connected_to_cloud``, ``is_compatible``, ``peer_metadata``,
  ``identity_service_metadata``; ``site_id``, the integer of ``address.siteId``; ``anonymous``, which is ``true`` for a
  peer that came without a key; ``extra``, which holds the unknown fields by their given names, and known ones that say
  something else than the member they should repeat.
* A connection: ``listed_by`` says in whose lists it stands: 1 for its first end, 2 for its second (1 alone for a link
  of a peer to itself), and the key of a peer that is neither; it is ``[]`` if only the graph's own list has it.
  ``extra`` holds the unknown fields; where the copies in the lists disagree, ``extra_by`` holds those of each copy by
  the key of the lister, ``""`` for the graph's own list.
* The graph: ``local_peer``, its key, and ``extra``, its unknown fields.

A connection without an id goes by ``<peer1><-><peer2>:<type>``. A peer without a key goes by a handle,
``anonymous:<observer>:<device name>:<ordinal>``, and an end without a key by
``anonymous:<observer>:connection:<id>:<1 or 2>``.

Dropped on purpose: ``approximateDistanceInMeters``, ``rssi`` and ``queryOverlapGroup`` of peers and connections, fields
that repeat another one, and empty ones where a key, an address, an id or a type belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from peerstore.canonical import MAX_DEPTH, Json, dumps, loads, normal, pointer
from peerstore.ditto_fields import Fields, Link, OpenLink
from peerstore.ditto_peers import GRAPH, Cache, ParsedPeer, PeerReader, PlainElements, exact_bytes, holds_json
from peerstore.ditto_render import render
from peerstore.errors import InputError, InvalidGraph
from peerstore.model import Element, PresenceGraph
from peerstore.peer_keys import anonymous_peer, canonical_peer_key, kind_of

__all__ = ["GRAPH_DEPTH", "GraphReader", "canonical_peer_key", "read_graph", "render"]

GRAPH_DEPTH = MAX_DEPTH + 2
"""How deep the JSON of a graph may nest: each peer up to the limit, in an array, in the graph."""

_PLAIN_KEY = attrgetter("plain_key")
_FRAME = len('{"localPeer":,"remotePeers":}')
_SHORTEST_REPEAT = len('"localPeer":1,')
_FEW = 32  # so few peers are looked up as fast as they are compared
_MOST_LAST = 32 * 2**20  # bytes of JSON


def read_graph(graph: Mapping[str, Any] | bytes | str, observer: str | None = None) -> PresenceGraph:
    """Read one presence graph, given as JSON text or as what a JSON parser made of it.

    ``observer`` is the key of whoever recorded it, the local peer's if ``None``; it names the handles of what has no
    key, and a graph whose local peer is missing or has no key needs it. :class:`~peerstore.errors.InvalidGraph` or
    :class:`~peerstore.errors.InputError` names what is wrong, and where.

    >>> graph = read_graph('{"localPeer": {"peerKey": "pkAQID", "deviceName": "till"}, "remotePeers": []}')
    >>> graph.local_peer, graph.elements[Element("peer", "pkAQID")]
    ('pkAQID', '{"device_name":"till"}')
    """
    return GraphReader(observer).read(graph)


class _Parts(NamedTuple):
    """A graph taken apart: its local peer, its remote peers, the connections in its own list, its unknown fields."""

    local: ParsedPeer | None
    remotes: list[ParsedPeer]
    links: list[Link]
    open_links: list[OpenLink]
    extra: dict[str, Json]


class _RawGraph(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    local_peer: msgspec.Raw
    remote_peers: msgspec.Raw


_RAW_GRAPH = msgspec.json.Decoder(_RawGraph)
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class _Last(NamedTuple):
    """A graph that was read: the text of its peers, the peers, who recorded it, and what it is."""

    contents: list[msgspec.Raw]
    peers: list[ParsedPeer]
    observer: str | None
    graph: PresenceGraph


class _Lasts:
    """The last graphs of so many local peers as fit."""

    def __init__(self) -> None:
        self._kept: dict[str | None, _Last] = {}
        self._size = 0

    def find(self, local: ParsedPeer) -> _Last | None:
        """The last graph of a local peer."""
        return self._kept.get(local.key)

    def keep(self, local: ParsedPeer, last: _Last) -> None:
        """Keep a graph instead of the one before it, and let the oldest ones go."""
        self._forget(local.key)
        self._kept[local.key] = last
        self._size += _weight(last)
        while self._size > _MOST_LAST and len(self._kept) > 1:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: str | None) -> None:
        forgotten = self._kept.pop(key, None)
        if forgotten is not None:
            self._size -= _weight(forgotten)


def _weight(last: _Last) -> int:
    return sum(map(len, last.contents))


class GraphReader:
    """Reads many graphs; a peer that is given again, byte for byte, is not parsed again.

    ``observer`` is as in :func:`read_graph`. The memory that a reader keeps is bounded. Not for several threads at
    once.
    """

    def __init__(self, observer: str | None = None) -> None:
        self._observer = None if observer is None else canonical_peer_key(observer)
        self._reader = PeerReader()
        self._texts: Cache[ParsedPeer] = Cache()
        self._values: Cache[ParsedPeer] = Cache()
        self._lasts = _Lasts()

    def read(self, graph: Mapping[str, Any] | bytes | str, observer: str | None = None) -> PresenceGraph:
        """Read one graph; ``observer`` stands in for the reader's. Graphs share what is equal: do not modify them."""
        observer = self._observer if observer is None else canonical_peer_key(observer)
        if isinstance(graph, str):
            return self._read_value(loads(graph, GRAPH_DEPTH), observer)
        if isinstance(graph, bytes | bytearray | memoryview):
            return self._read_text(bytes(graph), observer)
        return self._read_value(graph, observer)

    def read_peers(self, contents: list[msgspec.Raw], observer: str | None = None) -> PresenceGraph:
        """Read a graph that has nothing but a local peer, whose JSON text comes first, and remote peers.

        What is wrong is said without its place in the graph. ``observer`` must be in canonical form.
        """
        local = self._text_peer(bytes(contents[0]))
        last = self._lasts.find(local)
        peers = self._looked_up(contents) if last is None or len(contents) < _FEW else self._aligned(contents, last)
        if last is not None and last.peers == peers and last.observer == observer:
            return last.graph
        graph = _assembled_plainly(peers)
        if graph is None:
            graph = _assembled(_Parts(peers[0], peers[1:], [], [], {}), observer)
        self._lasts.keep(local, _Last(contents, peers, observer, graph))
        return graph

    def _looked_up(self, contents: list[msgspec.Raw]) -> list[ParsedPeer]:
        texts = list(map(bytes, contents))
        found = zip(map(self._texts.get, texts), texts, strict=True)
        return [peer or self._text_peer(text) for peer, text in found]

    def _aligned(self, contents: list[msgspec.Raw], last: _Last) -> list[ParsedPeer]:
        """The same where most stand as in the last graph: comparing the bytes of a peer with those that stood in its
        place takes a third of the time that looking them up takes."""
        read, before = self._text_peer, zip(contents, last.contents, last.peers, strict=False)
        peers = [known if content == old else read(bytes(content)) for content, old, known in before]
        return peers + self._looked_up(contents[len(peers) :])

    def _read_text(self, content: bytes, observer: str | None) -> PresenceGraph:
        graph = self._read_quickly(content, observer)
        return self._read_value(loads(content, GRAPH_DEPTH), observer) if graph is None else graph

    def _read_quickly(self, content: bytes, observer: str | None) -> PresenceGraph | None:
        """Read a graph that has a local peer, remote peers and nothing else; None for others and for wrong ones."""
        try:
            raw = _RAW_GRAPH.decode(content)
            if len(content) - len(raw.local_peer) - len(raw.remote_peers) >= _FRAME + _SHORTEST_REPEAT:
                return None  # there is room for a member that is given twice
            return self.read_peers([raw.local_peer, *_RAW_LIST.decode(raw.remote_peers)], observer)
        except (msgspec.MsgspecError, UnicodeDecodeError, InputError, RecursionError):
            return None

    def _text_peer(self, content: bytes) -> ParsedPeer:
        peer = self._texts.find(content)
        if peer is None:
            peer = self._reader.read_text(content)
            self._texts.keep(content, peer)
        return peer

    def _read_value(self, graph: object, observer: str | None) -> PresenceGraph:
        if not isinstance(graph, Mapping):
            raise _no_graph(graph)
        if len(graph) == 2 and "remotePeers" in graph and isinstance(graph.get("localPeer"), dict):
            remotes = _remote_peers(graph, "remotePeers")
            peers = list(self._peers((graph["localPeer"], *remotes), _usual_place))
            return _assembled(_Parts(peers[0], peers[1:], [], [], {}), observer)
        fields = Fields(_with_text_keys(graph), "")
        local_name, remote_name = fields.take_only("localPeer"), fields.take_only("remotePeers")
        links_name = fields.take_only("connections")
        _check_version(graph, local_name, remote_name)
        local = None if local_name is None else graph[local_name]
        remotes = _remote_peers(graph, remote_name)
        links: tuple[list[Link], list[OpenLink]] = ([], [])
        if links_name is not None:
            links = self._reader.read_links(graph[links_name], pointer("", links_name), 3, keep=False)
        parts = _Parts(
            None if local is None else next(self._peers((local,), lambda _: pointer("", local_name or ""))),
            list(self._peers(remotes, lambda index: f"/{remote_name}/{index}")),
            *links,
            {name: normal(graph[name], pointer("", name), 2) for name in fields.rest()},
        )
        return _assembled(parts, observer)

    def _peers(self, values: Sequence[Any], path: Callable[[int], str]) -> Iterator[ParsedPeer]:
        for index, value in enumerate(values):
            content = exact_bytes(value)
            peer = self._values.get(content) or self._values.find(content)
            if peer is None:
                keep = content != b"" and holds_json(value)
                peer = self._reader.read(value, path(index), keep)
                if keep:
                    self._values.keep(content, peer)
            yield peer


def _usual_place(index: int) -> str:
    return f"/remotePeers/{index - 1}" if index else "/localPeer"


def _remote_peers(graph: Mapping[str, Any], name: str | None) -> Sequence[Any]:
    value = None if name is None else graph[name]
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise InvalidGraph(f"the remote peers are {kind_of(value)}; an array was expected", pointer("", name or ""))
    return value


def _with_text_keys(graph: Mapping[Any, Any]) -> Mapping[str, Any]:
    for name in graph:
        if not isinstance(name, str):
            raise InvalidGraph(f"a presence graph has the key {name!r:.40}; names of fields were expected")
    return graph


_EXPECTED = "a presence-v3 graph, with localPeer and remotePeers, as observe or presence.graph gives it, was expected"


def _no_graph(graph: object) -> InvalidGraph:
    if isinstance(graph, list | tuple):
        return InvalidGraph(f"this is an array of peers, which is presence v1, as observePeers gives it; {_EXPECTED}")
    return InvalidGraph(f"a presence graph is {kind_of(graph)}; {_EXPECTED}")


def _check_version(graph: Mapping[str, Any], local_name: str | None, remote_name: str | None) -> None:
    local = None if local_name is None else graph[local_name]
    if isinstance(local, str | int | float) or (remote_name is None and local is None and "peers" in graph):
        raise InvalidGraph(f"this graph has peers and an edge list, which is presence v2; {_EXPECTED}")
    if local is not None and not isinstance(local, Mapping):
        raise InvalidGraph(f"the local peer is {kind_of(local)}; an object was expected", pointer("", local_name or ""))
    if remote_name is None and local is None:
        raise InvalidGraph(f"this object has neither localPeer nor remotePeers; {_EXPECTED}")


def _assembled(parts: _Parts, observer: str | None) -> PresenceGraph:
    local = parts.local
    if observer is None:
        if local is None or local.key is None:
            found = "has no local peer" if local is None else "has a local peer without a key"
            raise InvalidGraph(f"this graph {found}; a graph with a local peer's key, or an observer, was expected")
        observer = local.key
    peers = parts.remotes if local is None else [local, *parts.remotes]
    if local is not None and not (parts.links or parts.open_links or parts.extra):
        graph = _assembled_plainly(peers)
        if graph is not None:
            return graph
    handles = _handles(peers, observer)
    local_peer = "" if local is None else local.key or handles[0]
    document: dict[str, Json] = {} if local is None else {"local_peer": local_peer}
    if parts.extra:
        document["extra"] = parts.extra
    elements = {GRAPH: dumps(document)}
    _add_peers(elements, peers, handles)
    links = parts.links + [link.close(observer) for link in parts.open_links]
    _add_links(elements, _copies(peers, handles, links, observer))
    return PresenceGraph(local_peer, elements)


def _assembled_plainly(peers: list[ParsedPeer]) -> PresenceGraph | None:
    """The graph of plain peers, the local one first, each with a key of its own; None if they are not."""
    keys = set(map(_PLAIN_KEY, peers))
    if len(keys) < len(peers) or None in keys:
        return None
    return PresenceGraph(peers[0].key or "", PlainElements(peers))


def _handles(peers: list[ParsedPeer], observer: str) -> dict[int, str]:
    """The handles of the peers without a key, by their index: numbered by what they say, never by where they stand."""
    keyless = [index for index, peer in enumerate(peers) if peer.key is None]
    if not keyless:
        return {}
    keyless.sort(key=lambda index: (peers[index].text, sorted(set(peers[index].all_links(observer)))))
    counts: dict[str, int] = {}
    handles: dict[int, str] = {}
    for index in keyless:
        name = peers[index].name
        counts[name] = counts.get(name, 0) + 1
        handles[index] = anonymous_peer(observer, name, counts[name])
    return handles


def _add_peers(elements: dict[Element, str], peers: list[ParsedPeer], handles: Mapping[int, str]) -> None:
    for index, peer in enumerate(peers):
        element = peer.element if peer.key is not None else Element("peer", handles[index])
        if elements.setdefault(element, peer.text) != peer.text:
            raise InvalidGraph(
                f"the peer {element.key} is given twice with different fields; each key once was expected"
            )


def _copies(
    peers: list[ParsedPeer], handles: Mapping[int, str], links: Iterable[Link], observer: str
) -> dict[Element, dict[str, str]]:
    """The unknown fields of each copy of each connection, by lister."""
    copies: dict[Element, dict[str, str]] = {}
    _add_copies(copies, "", links)
    for index, peer in enumerate(peers):
        lister = peer.key if peer.key is not None else handles[index]
        _add_copies(copies, lister, peer.all_links(observer))
    return copies


def _add_copies(copies: dict[Element, dict[str, str]], lister: str, links: Iterable[Link]) -> None:
    for element, extra in links:
        if copies.setdefault(element, {}).setdefault(lister, extra) != extra:
            whose = f"by {lister}" if lister else "by the graph"
            raise InvalidGraph(f"the connection {element.id} is listed twice {whose} with different fields")


def _add_links(elements: dict[Element, str], copies: Mapping[Element, Mapping[str, str]]) -> None:
    for element, extras in copies.items():
        ends = {element.other: 2, element.key: 1}
        listed_by: list[Json] = sorted(ends[lister] for lister in extras if lister in ends)
        listed_by += sorted(lister for lister in extras if lister and lister not in ends)
        document: dict[str, Json] = {"listed_by": listed_by}
        different = set(extras.values())
        if len(different) > 1:
            document["extra_by"] = {lister: loads(extra or "{}") for lister, extra in extras.items()}
        elif (extra := different.pop()) != "":
            document["extra"] = loads(extra)
        elements[element] = dumps(document)
