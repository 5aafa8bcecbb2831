"""Questions about the shape of the mesh: islands, cut peers, paths."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.cloud import MOST_PATHS
from peerstore.answers.shape import (
    CutLink,
    Cuts,
    Distances,
    Island,
    Islands,
    MeshPath,
    PathState,
    PathStretch,
    Way,
)
from peerstore.coverage import Scope, measured_window
from peerstore.dictionary import Dictionary
from peerstore.model import Connection
from peerstore.presence import Presence
from peerstore.questions.cuts import holding
from peerstore.questions.mesh import (
    Delta,
    Keys,
    Levels,
    Mesh,
    Pair,
    all_shown,
    delta_of,
    graph_library,
    graph_of,
    smallest_path,
    unknown_ends,
)
from peerstore.times import instant
from peerstore.walk import Walk


def islands_of(presence: Presence) -> Islands:
    """The islands of a presence."""
    graph = graph_of(presence, "islands_at")
    components = sorted(map(sorted, graph_library("islands_at").connected_components(graph)), key=_by_size)
    place = {key: number for number, keys in enumerate(components) for key in keys}
    connections = Counter(place[link.peer1] for link in presence.connections if not link.flags)
    islands = tuple(
        Island(tuple(keys), connections[number], tuple(key for key in keys if is_bridge(presence, key)))
        for number, keys in enumerate(components)
    )
    return Islands(presence.at, presence.known_at, presence.observers, islands, unknown_ends(presence))


def _by_size(keys: list[str]) -> tuple[int, list[str]]:
    return -len(keys), keys


def is_bridge(presence: Presence, key: str) -> bool:
    """Whether a present peer says that it has a link of its own to the cloud."""
    return presence.peers[key].is_connected_to_cloud is True


def cuts_of(presence: Presence) -> Cuts:
    """What held the islands of a presence together."""
    found = holding(graph_of(presence, "cuts_at"), "cuts_at")
    links = _links(presence)
    alone = [CutLink(links[pair][0], lost) for pair, lost in sorted(found.pairs) if len(links[pair]) == 1]
    alone.sort(key=lambda each: -len(each.lost))
    peers = sorted(found.peers, key=lambda each: (-sum(map(len, each.lost)), each.peer_key))
    opening = presence.at, presence.known_at, presence.observers
    return Cuts(*opening, tuple(peers), tuple(alone), unknown_ends(presence))


def _links(presence: Presence) -> dict[Pair, list[Connection]]:
    """The connections between each two present peers."""
    found: dict[Pair, list[Connection]] = defaultdict(list)
    for link in presence.connections:
        if not link.flags:
            found[link.peer1, link.peer2].append(link)
    return found


def path_of(presence: Presence, peer: str, other: str) -> MeshPath:
    """The shortest paths between two peers in a presence."""
    graph, there = graph_of(presence, "path_at"), (peer in presence.peers, other in presence.peers)
    opening = presence.at, presence.known_at, presence.observers
    found = MeshPath(*opening, peer, other, *there, None, 0, (), unknown_ends(presence))
    levels = Levels(graph, [other] if all(there) else [], "path_at")
    if peer in levels.steps:
        found.hops, found.path_count = levels.steps[peer], levels.counts()[peer]
        found.ways = _ways(presence, levels, peer)
    return found


def _ways(presence: Presence, levels: Levels, peer: str) -> tuple[Way, ...]:
    links = _links(presence)

    def types(one: str, other: str) -> Keys:
        return tuple(sorted({link.type for link in links[min(one, other), max(one, other)]}))

    paths = islice(levels.paths(peer), MOST_PATHS)
    return tuple(Way(path, tuple(map(types, path, path[1:]))) for path in paths)


def distances_of(presence: Presence, peer: str) -> Distances:
    """How far every peer of a presence was from one of them."""
    graph, there = graph_of(presence, "distances_at"), peer in presence.peers
    steps = Levels(graph, [peer], "distances_at").steps if there else {}
    hops = {key: steps.get(key) for key in presence.peers}
    opening = presence.at, presence.known_at, presence.observers
    return Distances(*opening, peer, there, hops, unknown_ends(presence))


class _Held(NamedTuple):
    """How two peers stand to each other."""

    state: PathState
    path: Keys = ()


def paths_over(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    ends: Pair,
) -> Iterator[PathStretch]:
    """The stretches of the measured window over which two peers were as far from each other, over the same path."""
    window = measured_window(connection, scope, since, until)
    if window is None:
        return
    start, held = window[0], None
    for at, now in _Standing(connection, dictionary, scope, window, ends):
        if held is not None and now != held:
            yield _stretch(start, at, held)
            start = at
        held = now
    if held is not None:
        yield _stretch(start, window[1], held)


def _stretch(start: int, end: int, held: _Held) -> PathStretch:
    hops = len(held.path) - 1 if held.path else None
    return PathStretch(instant(start), instant(end), held.state, hops, held.path)


class _Standing:
    """How two peers stand to each other: at the start, and after every moment of a window.

    Their path is looked for again where that could change it: a step of it was lost, or a connection was made anywhere.
    What was lost elsewhere leaves it the smallest of the shortest ones.
    """

    def __init__(
        self,
        connection: DatabaseConnection,
        dictionary: Dictionary,
        scope: Scope,
        window: tuple[int, int],
        ends: Pair,
    ) -> None:
        self._connection, self._dictionary = connection, dictionary
        self._walk = Walk(connection, dictionary, scope, *window)
        self._start = window[0]
        self._ends = ends
        self._mesh = Mesh("paths_over")
        self._path: Keys = ()

    def __iter__(self) -> Iterator[tuple[int, _Held]]:
        self._follow(delta_of(self._connection, self._dictionary, all_shown(self._walk)))
        yield self._start, self._held()
        for moment in self._walk:
            if moment.changed:
                self._follow(delta_of(self._connection, self._dictionary, moment.changed))
            yield moment.at, self._held()

    def _follow(self, delta: Delta) -> None:
        broken, made = self._mesh.shrink(delta), self._mesh.grow(delta)
        steps = set(zip(self._path, self._path[1:], strict=False))
        lost = any(pair in steps or pair[::-1] in steps for pair in broken)
        if lost or made or not {*delta.come, *delta.gone}.isdisjoint(self._ends):
            there = all(end in self._mesh.graph for end in self._ends)
            self._path = smallest_path(self._mesh.graph.adj, *self._ends) if there else ()

    def _held(self) -> _Held:
        if not self._walk.lit:
            return _Held("unobserved")
        if self._path:
            return _Held("connected", self._path)
        there = all(end in self._mesh.graph for end in self._ends)
        return _Held("apart" if there else "absent")
