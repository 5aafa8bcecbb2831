"""The shape of the mesh by brute force: plain breadth-first searches, islands by flooding, cut peers by taking each one
away. Written from the definitions; on graphs of the model (:mod:`tests.model`), which are tiny."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import hypothesis.strategies as st

from tests.machine import START, STEP, Envelope, Question, asked_silences
from tests.model import Graph, Link, Moment, View
from tests.worlds import World, pieces

Keys = tuple[str, ...]
PEERS = tuple("abcdefghijz")
PAIRS = tuple((one, other) for one in PEERS for other in PEERS if one <= other)


class Net(NamedTuple):
    """A simple graph, and the connections behind each joined pair."""

    near: dict[str, set[str]]
    links: dict[tuple[str, str], list[Link]]

    def without(self, peer: str) -> Net:
        near = {key: others - {peer} for key, others in self.near.items() if key != peer}
        return Net(near, {pair: links for pair, links in self.links.items() if peer not in pair})

    def parted(self, pair: tuple[str, str]) -> Net:
        return Net(
            {key: others - set(pair) if key in pair else others for key, others in self.near.items()}, self.links
        )


def net(moment: Moment) -> Net:
    near: dict[str, set[str]] = {peer: set() for peer in moment.peers}
    links: dict[tuple[str, str], list[Link]] = {}
    for link in moment.connections:
        one, other = link[:2]
        if one != other and one in near and other in near:
            near[one].add(other)
            near[other].add(one)
            links.setdefault((one, other), []).append(link)
    return Net(near, links)


def unknown_ends(moment: Moment) -> int:
    return sum(one != other and not {one, other} <= moment.peers.keys() for one, other, *_ in moment.connections)


def hops(near: dict[str, set[str]], start: str) -> dict[str, int]:
    found, rim = {start: 0}, [start]
    while rim:
        outer = {other: found[key] + 1 for key in rim for other in near[key] if other not in found}
        found |= outer
        rim = list(outer)
    return found


def islands(near: dict[str, set[str]]) -> list[Keys]:
    """Largest first, then by the smallest key."""
    found = {tuple(sorted(hops(near, key))) for key in near}
    return sorted(found, key=lambda keys: (-len(keys), keys))


def shortest_paths(near: dict[str, set[str]], start: str, goal: str) -> list[Keys]:
    """All of them, in the order of their keys."""
    if start not in near or goal not in near or goal not in (steps := hops(near, start)):
        return []
    paths: list[Keys] = [(start,)]
    for _ in range(steps[goal]):
        paths = [(*path, other) for path in paths for other in near[path[-1]]]
    return sorted(path for path in paths if path[-1] == goal)


def lost_without(net: Net, peer: str) -> list[Keys]:
    """The groups but the largest into which the island of a peer falls without it."""
    island = set(hops(net.near, peer)) - {peer}
    return [part for part in islands(net.without(peer).near) if set(part) <= island][1:]


def lost_between(net: Net, pair: tuple[str, str]) -> list[Keys]:
    """The side but the larger one that falls off where a pair is parted."""
    island = set(hops(net.near, pair[0]))
    return [part for part in islands(net.parted(pair).near) if set(part) <= island][1:]


def bridges(moment: Moment) -> set[str]:
    return {peer for peer, (attributes, *_) in moment.peers.items() if attributes.get("is_connected_to_cloud") is True}


# Over time.


class Reshaped(NamedTuple):
    """A change of islands."""

    at: int
    kind: str
    peers: Keys
    before: tuple[Keys, ...]
    after: tuple[Keys, ...]
    gap: bool


def reshapings(view: View) -> Iterator[Reshaped]:
    """Every change of the islands, by comparing the islands before and after every instant."""
    for t in view.change_points():
        now, before = view.presence(t), view.last_known(t - 1)
        if now.watching:
            gap = before is not None and not view.presence(t - 1).watching
            old = [] if before is None else islands(net(before).near)
            yield from (Reshaped(t, *each, gap) for each in _compared(old, islands(net(now).near)))


def _compared(old: list[Keys], new: list[Keys]) -> Iterator[tuple[str, Keys, tuple[Keys, ...], tuple[Keys, ...]]]:
    old_peers, new_peers = {key for keys in old for key in keys}, {key for keys in new for key in keys}
    for island in old:
        after = [other for other in new if set(island) & set(other)]
        if set(island) - new_peers:
            yield "left", _keys(set(island) - new_peers), (island,), tuple(after)
        if len(after) > 1:
            yield "split", _keys(set(island) & new_peers - set(after[0])), (island,), tuple(after)
    for island in new:
        before = [other for other in old if set(island) & set(other)]
        if len(before) > 1:
            yield "merged", _keys(set(island) & old_peers - set(before[0])), tuple(before), (island,)
        if set(island) - old_peers:
            yield "joined", _keys(set(island) - old_peers), tuple(before), (island,)


def _keys(keys: set[str]) -> Keys:
    return tuple(sorted(keys))


def stretches(view: View, window: tuple[int, int], state: Any) -> list[tuple[int, int, Any]]:
    """A function of a presence over a window, neighbouring equal pieces joined."""
    joined: list[tuple[int, int, Any]] = []
    for start, end in pieces(view, *window):
        value = state(view.presence(start))
        if joined and joined[-1][2] == value:
            joined[-1] = (joined[-1][0], end, value)
        else:
            joined.append((start, end, value))
    return joined


def measured(view: View, since: int | None, until: int | None) -> tuple[int, int] | None:
    """The window; its open ends are the first and the last observation."""
    every = [said.observed_at for stored in view.said.values() for said in stored]
    if not every and None in (since, until):
        return None
    window = (min(every) if since is None else since, max(every) if until is None else until)
    return window if window[0] < window[1] else None


# Worlds of larger meshes than those of tests/worlds.py.


def _changed(chance: random.Random, before: Graph | None, observer: str) -> Graph:
    """A graph anew, or one with few differences from another."""
    document: dict[str, Any] = {"device_name": "n"}
    peers: dict[str, Any]
    if before is None or chance.random() < 0.1:
        peers = {key: document for key in PEERS if chance.random() < 0.8} | {observer: document}
        links = {_link(chance, pair) for pair in PAIRS if chance.random() < 0.18}
    else:
        peers, links = dict(before.peers), set(before.connections)
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        peer, pair = chance.choice(PEERS), chance.choice(PAIRS)
        what = chance.random()
        if what < 0.15 and peer != observer:
            peers.pop(peer, None)
        elif what < 0.3:
            peers.setdefault(peer, document)
        elif what < 0.45:
            peers[peer] = {**document, "is_connected_to_cloud": chance.choice((True, True, False, None))}
        elif what < 0.7 and links:
            links.discard(chance.choice(sorted(links)))
        else:
            links.add(_link(chance, pair))
    listed = {link: frozenset({link[0], link[1]} & peers.keys()) for link in sorted(links)}
    return Graph(observer, peers, {link: listed_by for link, listed_by in listed.items() if listed_by})


def _link(chance: random.Random, pair: tuple[str, str]) -> Link:
    return (*pair, chance.choice(("Bluetooth", "AccessPoint")), "1")


@st.composite
def meshes(draw: st.DrawFn) -> World:
    """Two observers of meshes of up to eleven peers, with sparse connections that come and go."""
    chance = random.Random(draw(st.integers(0, 2**32)))  # drawn throw by throw, most would be at the edges
    watching = draw(st.sampled_from(("a", "az")))
    last: dict[str, Graph | None] = dict.fromkeys(watching)
    envelopes: list[Envelope] = []
    at = START
    for sequence in range(draw(st.integers(2, 14))):
        observer, graph = chance.choice(watching), None
        if chance.random() < 0.95:
            graph = last[observer] = _changed(chance, last[observer], observer)
        silence = chance.choice((None, None, None, STEP, 2 * STEP))
        envelopes.append(Envelope(observer, at, sequence, graph, silence))
        at += chance.choice((0, 1, STEP // 2, STEP, STEP))
    return World(envelopes, Question(draw(st.sampled_from((None, None, "a"))), None, draw(asked_silences)))
