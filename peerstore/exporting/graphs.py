"""The graph that every graph format writes: peers as nodes, connections as edges, at a moment or over a window.

At a moment it is the presence. Over a window it holds every peer and connection that was present in it, each with its
*spells*: its sessions, cut to the window, the last one without an end where it still holds. Ends of connections that
were no peers of the graph are nodes too, with ``is_listed`` false. Between two nodes there are as many edges as there
were connections, each known by its :func:`~peerstore.exporting.tables.connection_key`.

The attributes of a node are those of the peer, as they were last known, by their JSON Pointers without the first
slash (``device_name``, ``peer_metadata/role``): see :func:`attributes_of`. Formats with one type an attribute write
them as :class:`Columns` says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from peerstore.answers.sessions import AnySession, clipped
from peerstore.canonical import Json, dumps
from peerstore.errors import MissingExtra
from peerstore.exporting.sorting import Row, Sorter, beside
from peerstore.exporting.source import Source
from peerstore.exporting.tables import connection_key, leaves
from peerstore.model import Connection, Peer
from peerstore.times import instant, iso, micros

if TYPE_CHECKING:
    import networkx

Spell = tuple[int, int | None]
"""``[start, end)`` in microseconds; no end: it still holds."""
_Known = tuple[dict[str, Json], list[Spell]]
Kind = Literal["text", "boolean", "integer", "number", "json"]

BATCH = 1000

_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]|\\(?=u[0-9a-f]{4})")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")


def escaped(text: str) -> str:
    r"""A text as XML can hold it: what XML 1.0 does not allow (control characters, lone surrogates, U+FFFE, U+FFFF) by
    its JSON escape, and a backslash that would be taken for the beginning of one too. :func:`unescaped` undoes it.

    >>> print(escaped("till\x1b 9"), escaped("a\\u0000"), escaped("C:\\users"))
    till\u001b 9 a\u005cu0000 C:\users
    """
    return _NOT_IN_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def unescaped(text: str) -> str:
    r"""What :func:`escaped` made this text of.

    >>> unescaped("till\\u001b 9"), unescaped("a\\u005cu0000")
    ('till\x1b 9', 'a\\u0000')
    """
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


@dataclass(slots=True)
class Node:
    """A peer, or the end of a connection that is none (``is_listed`` is false)."""

    key: str
    attributes: dict[str, Json]
    spells: list[Spell] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What people call it: its device name, else its key."""
        return self.attributes.get("device_name") or self.key


@dataclass(slots=True)
class Edge:
    """A connection."""

    connection: Connection
    attributes: dict[str, Json]
    spells: list[Spell] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Its key in every export."""
        return connection_key(self.connection)


def attributes_of(peer: Peer) -> dict[str, Json]:
    """The attributes of a peer by their paths: what is in objects under a name of its own, arrays whole.

    As everywhere in peerstore's answers, a missing member of the peer itself is not told from one that is null, or
    from metadata without members: none of them is there. The operating system is a text even where it was a number.
    """
    attributes: dict[str, Json] = {}
    for path, value in leaves(dict(peer.document)):
        name = path.removeprefix("/")
        if "/" in name or (value is not None and value != {}):
            attributes[name] = str(value) if name == "os" else value
    return attributes


class Columns:
    """Attributes for formats in which one has one type: each by name with its kind.

    A name whose values are all texts, all booleans, all integers of 64 bits or all numbers is of that kind. Every
    other value (arrays, nulls, objects without members, larger integers), and every value where peers differ in kind,
    stands as JSON text under ``NAME~json``, which no path can be.

    >>> columns = Columns([{"a": 1, "b": "x"}, {"a": 0.5, "b": [True], "c": "1"}, {"c": 1}])
    >>> columns.kinds
    {'a': 'number', 'b': 'text', 'b~json': 'json', 'c~json': 'json'}
    >>> list(columns.cells({"a": 1, "b": [True], "c": "1"}))
    [('a', '1.0'), ('b~json', '[true]'), ('c~json', '"1"')]
    """

    def __init__(self, rows: Iterable[Mapping[str, Json]]) -> None:
        found: dict[str, set[str]] = {}
        for row in rows:
            for name, value in row.items():
                found.setdefault(name, set()).add(_kind(value))
        self._kinds = {name: _common(kinds) for name, kinds in found.items()}
        fitting = {name: kind for name, kind in self._kinds.items() if kind != "json"}
        others = {_json_name(name): "json" for name, kinds in found.items() if name not in fitting or "json" in kinds}
        self.kinds: dict[str, Kind] = dict(sorted({**fitting, **others}.items()))  # type: ignore[arg-type]

    def cells(self, attributes: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
        """The attributes of a node or an edge as (column, text)."""
        for name in sorted(attributes):
            value, kind = attributes[name], self._kinds[name]
            if kind == "json" or _kind(value) == "json":
                yield _json_name(name), dumps(value)
            else:
                yield name, as_text(value, kind)


def as_text(value: Json, kind: Kind) -> str:
    """A value of a kind other than JSON, as XML writes it."""
    if kind == "text":
        return str(value)
    return repr(float(value)) if kind == "number" else dumps(value)


def _json_name(name: str) -> str:
    return f"{name}~json"


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, float):
        return "number"
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return "integer" if abs(value) <= 2**53 else "large"  # no number holds a large one exactly
    return "json"


def _common(kinds: set[str]) -> Kind:
    kinds = kinds - {"json"}
    for kind, fitting in _FITTING.items():
        if kinds and kinds <= fitting:
            return kind
    return "json"


_FITTING: dict[Kind, set[str]] = {
    "text": {"text"},
    "boolean": {"boolean"},
    "integer": {"integer", "large"},
    "number": {"integer", "number"},
}


class MomentGraph:
    """The presence at a moment."""

    is_dynamic = False

    def __init__(self, source: Source) -> None:
        at = source.selection.at
        assert at is not None
        self.about = _about(source)
        self._presence = source.store.presence_at(at, **source.selection.scope)

    @property
    def edge_columns(self) -> Columns:
        """The columns of its edges."""
        return Columns(edge.attributes for edge in self.edges())

    def nodes(self) -> Iterator[Node]:
        """Its nodes, by key."""
        peers = self._presence.peers
        ends = {end for link in self._presence.connections for end in (link.peer1, link.peer2)}
        for key in sorted({*peers, *ends}):
            peer = peers.get(key)
            if peer is None:
                yield Node(key, {"is_listed": False, "is_observer": False})
            else:
                seen = {"is_listed": True, "is_observer": peer.is_observer, "seen_by": list(peer.seen_by)}
                yield Node(key, {**attributes_of(peer), **seen})

    def edges(self) -> Iterator[Edge]:
        """Its edges, by their ends, type and id."""
        for link in self._presence.connections:
            seen = {"listed_by": list(link.listed_by), "seen_by": list(link.seen_by)}
            flags = {"flags": list(link.flags)} if link.flags else {}
            given = {"extra": dict(link.extra), "extra_by": dict(link.extra_by)}
            unknown = {path.removeprefix("/"): value for path, value in leaves(given) if value != {} or "/" in path[1:]}
            yield Edge(link, {**_identity(link), **seen, **flags, **unknown})


class WindowGraph:
    """All that was present in a window."""

    is_dynamic = True

    def __init__(self, source: Source, peers: Sorter, stays: Sorter, links: Sorter) -> None:
        self.about = _about(source)
        self._source, self._peers, self._stays, self._links = source, peers, stays, links
        self._ends: set[str] = set()
        self._until = micros(source.end)
        for known in source.peers():
            peers.add((known.peer.peer_key, json.dumps(attributes_of(known.peer))))
        for session in self._cut(source.sessions()):
            stays.add((session.peer_key, *_bounds(session)))
        for stay in self._cut(source.connection_sessions()):  # last: it leaves most behind in memory
            link = stay.connection
            links.add((link.peer1, link.peer2, link.type, link.id, *_bounds(stay)))
            self._ends |= {link.peer1, link.peer2}

    def _cut(self, sessions: Iterable[AnySession]) -> Iterator[AnySession]:
        return (clipped(session, *self._source.selection.window) for session in sessions)

    @property
    def edge_columns(self) -> Columns:
        """The columns of its edges."""
        return Columns([{**_identity(Connection("", "", "", "")), **self._summary([(0, 0)])}])

    def nodes(self) -> Iterator[Node]:
        """Its nodes, by key."""
        observers = self._source.observer_keys()
        unlisted: Iterator[tuple[str, _Known | None]] = ((key, None) for key in sorted(self._ends))
        for key, found in groupby(merge(self._listed(), unlisted, key=itemgetter(0)), itemgetter(0)):
            _, known = next(found)
            attributes, spells = known or ({}, [])
            listed = {"is_listed": known is not None, "is_observer": key in observers}
            yield Node(key, {**attributes, **listed}, spells)

    def _listed(self) -> Iterator[tuple[str, _Known | None]]:
        for key, (document,), stays in beside(self._peers, self._stays):
            spells = _spells(stays)
            if spells:
                yield key, ({**json.loads(document), **self._summary(spells)}, spells)

    def edges(self) -> Iterator[Edge]:
        """Its edges, by their ends, type and id."""
        for (peer1, peer2, kind, name), group in groupby(self._links, itemgetter(0, 1, 2, 3)):
            link, spells = Connection(name, peer1, peer2, kind), _spells(group)
            yield Edge(link, {**_identity(link), **self._summary(spells)}, spells)

    def _summary(self, spells: list[Spell]) -> dict[str, Json]:
        """The spells for formats that know no time: the first beginning, the last end, all together, how many."""
        total = sum(max((self._until if end is None else end) - start, 0) for start, end in spells)
        last = {} if spells[-1][1] is None else {"last": iso(spells[-1][1])}
        return {"first": iso(spells[0][0]), **last, "total_seconds": total / 1e6, "sessions": len(spells)}


Graph = MomentGraph | WindowGraph


@contextmanager
def graph_of(source: Source) -> Iterator[Graph]:
    """The graph that was asked for: at the moment, or over the window."""
    if source.selection.at is not None:
        yield MomentGraph(source)
        return
    with ExitStack() as stack:
        peers, stays, links = (stack.enter_context(Sorter()) for _ in range(3))
        yield WindowGraph(source, peers, stays, links)


Thing = TypeVar("Thing", Node, Edge)


def told(source: Source, things: Iterable[Thing], counts: dict[str, int], name: str) -> Iterator[Thing]:
    """The same nodes or edges; counts them under a name, and tells how far it is."""
    counts[name] = 0
    for thing in things:
        yield thing
        counts[name] += 1
        if counts[name] % BATCH == 0:
            source.progress(BATCH)
    source.progress(counts[name] % BATCH)


def to_networkx(source: Source) -> networkx.MultiGraph:
    """The graph as a networkx multigraph: nodes by peer key, edges by (type, id), attributes as they are.

    Over a window each node and edge has ``spells``, a list of (start, end) as aware datetimes, ``None`` for an end
    that has not come. What the graph is of stands in its own attributes. :class:`~peerstore.errors.MissingExtra`
    where networkx is not installed.
    """
    try:
        import networkx
    except ImportError as error:
        raise MissingExtra("to_networkx", "graph") from error
    with graph_of(source) as graph:
        made: networkx.MultiGraph = networkx.MultiGraph(**graph.about)
        for node in graph.nodes():
            made.add_node(node.key, **node.attributes, **_times(graph, node))
        for edge in graph.edges():
            link = edge.connection
            made.add_edge(link.peer1, link.peer2, (link.type, link.id), **edge.attributes, **_times(graph, edge))
    return made


def _times(graph: Graph, thing: Node | Edge) -> dict[str, Any]:
    spells = [(instant(start), None if end is None else instant(end)) for start, end in thing.spells]
    return {"spells": spells} if graph.is_dynamic else {}


def _about(source: Source) -> dict[str, Json]:
    """What the graph is of."""
    return {name: value for name, value in source.selection.to_dict().items() if value is not None}


def _identity(link: Connection) -> dict[str, Json]:
    return {"connection_id": link.id, "type": link.type}


def _bounds(session: Any) -> Spell:
    return micros(session.start), None if session.end is None else micros(session.end)


def _spells(rows: Iterable[Row]) -> list[Spell]:
    return [(row[-2], row[-1]) for row in rows]
