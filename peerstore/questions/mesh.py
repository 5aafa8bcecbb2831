"""The mesh as a simple graph: the present peers, two of them joined where at least one connection between them is
present. Of one moment, or kept up to date while a walk goes on; and the paths through it.

The graph theory is networkx's, of the extra ``graph``. What stands here beside it is what it does not have: the
smallest shortest path in the order of the keys, and all of them in that order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.dictionary import Dictionary
from peerstore.errors import MissingExtra
from peerstore.model import Element
from peerstore.presence import Presence
from peerstore.walk import Walk

Adjacency = Mapping[str, Collection[str]]
Keys = tuple[str, ...]
Pair = tuple[str, str]


def graph_library(purpose: str) -> ModuleType:
    """networkx; :class:`~peerstore.errors.MissingExtra` where it is not installed."""
    try:
        import networkx
    except ImportError as error:
        raise MissingExtra(purpose, "graph") from error
    library: ModuleType = networkx
    return library


def graph_of(presence: Presence, purpose: str) -> Any:
    """The simple graph of a presence, as a networkx graph of keys."""
    graph = graph_library(purpose).Graph()
    graph.add_nodes_from(presence.peers)
    graph.add_edges_from((link.peer1, link.peer2) for link in presence.connections if not link.flags)
    return graph


def unknown_ends(presence: Presence) -> int:
    """How many connections are no part of the graph since an end is not among the present peers."""
    return sum("unknown_peer" in link.flags and "self_link" not in link.flags for link in presence.connections)


@dataclass(slots=True)
class Delta:
    """What came to the mesh and went from it at one moment: peers by key, and for pairs of peers how many connections
    more or fewer there are between them."""

    come: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    links: Counter[Pair] = field(default_factory=Counter)

    def add(self, element: Element, before: int | None, after: int | None) -> None:
        """Take note of one element's change of documents (``None``: absent)."""
        if (before is None) == (after is None):
            return
        if element.kind == "peer":
            (self.come if before is None else self.gone).append(element.key)
        elif element.kind == "connection" and element.key != element.other:
            self.links[element.key, element.other] += 1 if before is None else -1


def delta_of(
    connection: DatabaseConnection, dictionary: Dictionary, changed: Mapping[int, tuple[int | None, int | None]]
) -> Delta:
    """What came and went, of a walk's changes of documents by element."""
    elements, delta = dictionary.elements(connection, changed), Delta()
    for number, documents in changed.items():
        delta.add(elements[number], *documents)
    return delta


def all_shown(walk: Walk) -> dict[int, tuple[None, int]]:
    """What a walk shows before its first step, as changes from nothing."""
    return {number: (None, document) for number, document in walk.shown.items()}


class Mesh:
    """The graph of a walk's merged presence, kept up to date: first shrunk by what went, then grown by what came."""

    def __init__(self, purpose: str) -> None:
        self.graph: Any = graph_library(purpose).Graph()
        self._links: dict[str, dict[str, int]] = {}

    def shrink(self, delta: Delta) -> list[Pair]:
        """Take away what went; the pairs that are no longer joined."""
        broken = []
        for pair, more in delta.links.items():
            if more < 0 and self._count(pair, more) == 0 and self.graph.has_edge(*pair):
                self.graph.remove_edge(*pair)
                broken.append(pair)
        for key in delta.gone:
            broken += [(key, other) for other in self.graph.adj[key]]
            self.graph.remove_node(key)
        return broken

    def grow(self, delta: Delta) -> list[Pair]:
        """Add what came; the pairs that are joined now."""
        for key in delta.come:
            self.graph.add_node(key)
        made = [(key, other) for key in delta.come for other in self._links.get(key, ()) if self._join(key, other)]
        for pair, more in delta.links.items():
            if more > 0:
                self._count(pair, more)
                if self._join(*pair):
                    made.append(pair)
        return made

    def _join(self, key: str, other: str) -> bool:
        if key not in self.graph or other not in self.graph or self.graph.has_edge(key, other):
            return False
        self.graph.add_edge(key, other)
        return True

    def _count(self, pair: Pair, more: int) -> int:
        """Count connections between two peers, present or not; how many there are now."""
        for key, other in (pair, pair[::-1]):
            links = self._links.setdefault(key, {})
            count = links.get(other, 0) + more
            if count:
                links[other] = count
            else:
                links.pop(other, None)
                if not links:
                    del self._links[key]
        return count


class Levels:
    """How many steps every peer is from the nearest one of some goals, and the shortest paths there."""

    def __init__(self, graph: Any, goals: Iterable[str], purpose: str) -> None:
        self._adjacency: Adjacency = graph.adj
        layers = graph_library(purpose).bfs_layers(graph, list(goals))
        self.steps: dict[str, int] = {key: level for level, layer in enumerate(layers) for key in layer}

    def nearer(self, key: str) -> Iterator[str]:
        """The neighbours that are one step nearer."""
        level = self.steps[key] - 1
        return (other for other in self._adjacency[key] if self.steps[other] == level)

    def counts(self) -> dict[str, int]:
        """How many shortest paths lead from each peer to its nearest goals."""
        counts: dict[str, int] = {}
        for key, level in self.steps.items():  # the nearest ones first
            counts[key] = sum(counts[other] for other in self.nearer(key)) if level else 1
        return counts

    def nearest(self) -> dict[str, frozenset[str]]:
        """The goals that are nearest to each peer."""
        found: dict[str, frozenset[str]] = {}
        for key, level in self.steps.items():
            nearer = {found[other] for other in self.nearer(key)}
            found[key] = frozenset().union(*nearer) if level else frozenset((key,))
        return found

    def paths(self, key: str) -> Iterator[Keys]:
        """The shortest paths from a peer to its nearest goals, one by one, in the order of their keys."""
        path: list[str] = []
        waiting = [(key, 0)]
        while waiting:
            here, depth = waiting.pop()
            path[depth:] = [here]
            if self.steps[here] == 0:
                yield tuple(path)
            else:
                waiting += [(other, depth + 1) for other in sorted(self.nearer(here), reverse=True)]


def smallest_path(adjacency: Adjacency, start: str, goal: str) -> Keys:
    """The shortest path between two peers, both included, of several the smallest in the order of the keys; empty if
    there is none. The search goes out from both ends, so it reads little of the mesh where they are near."""
    near, far = {start: 0}, {goal: 0}
    sides = [near, far]
    rims = [[start], [goal]]
    meeting = [start] if start == goal else []
    while not meeting:
        side = 0 if len(rims[0]) <= len(rims[1]) else 1
        rims[side] = _next_rim(adjacency, sides[side], rims[side])
        if not rims[side]:
            return ()
        meeting = [key for key in rims[side] if key in sides[1 - side]]
    return _smallest_through(adjacency, near, far, start, meeting)


def _next_rim(adjacency: Adjacency, seen: dict[str, int], rim: list[str]) -> list[str]:
    """The peers one step further out than a rim, noted as seen."""
    level = seen[rim[0]] + 1
    outer = []
    for key in rim:
        for other in adjacency[key]:
            if other not in seen:
                seen[other] = level
                outer.append(other)
    return outer


def _smallest_through(
    adjacency: Adjacency, near: dict[str, int], far: dict[str, int], start: str, meeting: list[str]
) -> Keys:
    """The smallest path that begins at ``start``, goes through one of the peers where two searches met, and ends where
    the second search began."""
    good = [set(meeting)]  # those on a shortest path, by their level of the first search, the outermost first
    for level in range(near[meeting[0]] - 1, -1, -1):
        good.append({other for key in good[-1] for other in adjacency[key] if near.get(other) == level})
    path = [start]
    for allowed in reversed(good[:-1]):
        path.append(min(other for other in adjacency[path[-1]] if other in allowed))
    for level in range(far[path[-1]] - 1, -1, -1):
        path.append(min(other for other in adjacency[path[-1]] if far.get(other) == level))
    return tuple(path)
