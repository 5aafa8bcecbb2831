"""Cut peers and cut links: what holds the islands of the mesh together, and who would be lost without it.

By the tree of blocks and peers: a block is a part of the mesh that no single peer's loss would part; a peer in several
blocks is a cut peer. Below each place of the tree stands one stretch of the peers, in the order in which the tree is
gone through, so that who would be lost is cut out of that order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from peerstore.answers.shape import CutPeer
from peerstore.questions.mesh import Keys, Pair, graph_library


class Holding(NamedTuple):
    """What holds islands together: cut peers, and pairs of peers that are a block of their own with those who would be
    lost without it."""

    peers: list[CutPeer]
    pairs: list[tuple[Pair, Keys]]


def holding(graph: Any, purpose: str) -> Holding:
    """The cut peers and cut pairs of a simple graph."""
    library = graph_library(purpose)
    tree, found = library.Graph(), Holding([], [])
    for number, block in enumerate(library.biconnected_components(graph)):
        tree.add_edges_from((number, key) for key in block)
    for component in library.connected_components(tree):
        island = _Island(tree, min(place for place in component if isinstance(place, str)), library)
        found.peers.extend(island.cut_peers())
        found.pairs.extend(island.cut_pairs())
    return found


class _Island:
    """The tree of one island, from the peer with its smallest key: a peer is its key, a block is its number."""

    def __init__(self, tree: Any, root: str, library: Any) -> None:
        edges = list(library.dfs_edges(tree, root))
        self._order: list[str | int] = [root, *(child for _, child in edges)]
        self._blocks: dict[str | int, list[str | int]] = {place: [] for place in self._order}
        for parent, child in edges:
            self._blocks[parent].append(child)
        self._keys: list[str] = []
        self._first: dict[str | int, int] = {}
        for place in self._order:
            self._first[place] = len(self._keys)
            if isinstance(place, str):
                self._keys.append(place)
        self._size: dict[str | int, int] = {}
        for place in reversed(self._order):
            below = sum(self._size[child] for child in self._blocks[place])
            self._size[place] = below + isinstance(place, str)

    def _below(self, place: str | int) -> list[str]:
        first = self._first[place]
        return self._keys[first : first + self._size[place]]

    def _beside(self, place: str | int) -> list[str]:
        first = self._first[place]
        return self._keys[:first] + self._keys[first + self._size[place] :]

    def cut_peers(self) -> Iterator[CutPeer]:
        for place in self._order:
            if isinstance(place, str):
                groups = self._groups(place)
                if len(groups) > 1:
                    _rest, *lost = sorted(groups, key=lambda keys: (-len(keys), keys))
                    yield CutPeer(place, tuple(lost))

    def _groups(self, key: str) -> list[Keys]:
        """The parts into which the island would fall without a peer."""
        groups = [self._below(block) for block in self._blocks[key]]
        if self._first[key]:
            groups.append(self._beside(key))
        return [tuple(sorted(group)) for group in groups] if len(groups) > 1 else []

    def cut_pairs(self) -> Iterator[tuple[Pair, Keys]]:
        """The blocks of two peers: the one below, and the one beside it."""
        parents = {block: key for key in self._order if isinstance(key, str) for block in self._blocks[key]}
        for block, parent in parents.items():
            if len(self._blocks[block]) == 1:
                below, beside = self._below(block), len(self._keys) - self._size[block]
                lost = below if len(below) <= beside else self._beside(block)
                one, other = sorted((parent, str(self._blocks[block][0])))
                yield (one, other), tuple(sorted(lost))
