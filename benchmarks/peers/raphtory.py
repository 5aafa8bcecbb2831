"""Raphtory (0.17, in Rust): a temporal graph in memory, whose views at an instant are lazy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import Element, Missing, Observation, Peer

_GONE = 0


class Raphtory(Peer):
    """A ``PersistentGraph``: peers are nodes, connections are edges, in a layer for each type.

    The document is a temporal property; a connection's element id is metadata of its edge. Nodes cannot be deleted,
    so a peer that is gone has the document 0. Of the ways to read a view, a walk over its edges that asks each for
    its values was the fastest: columns of properties (``edges.properties.get``) walk over all edges once for each.
    """

    title = "Raphtory `PersistentGraph`, in memory"
    durability = "nothing durable"
    every = 4

    def __init__(self, folder: Path, elements: Mapping[int, Element]) -> None:
        try:
            import raphtory
        except ImportError as error:
            raise Missing("Raphtory is left out: pip install -e '.[benchmarks]'") from error
        self._graph: Any = raphtory.PersistentGraph()  # its stubs deny that add_edge returns the edge
        self._file = folder / "raphtory"
        peers = {each.peer1: number for number, each in elements.items() if each.kind == "peer"}
        self._edges: dict[int, tuple[int, int, str]] = {}
        for number, each in elements.items():
            if each.kind == "connection":
                # An end that was never described is no peer of the answer: it gets a number that is no element's.
                ends = [peers.setdefault(key, -1 - len(peers)) for key in (each.peer1, each.peer2)]
                self._edges[number] = (ends[0], ends[1], each.type)
        if len(set(self._edges.values())) < len(self._edges):
            raise ValueError("two connections of one type between the same peers: they would be one edge here")
        self._known: set[int] = set()

    def record(self, batch: Sequence[Observation]) -> None:
        """An update for each change: of so few, no data frame is faster."""
        graph = self._graph
        for at, changes in batch:
            for element, document in changes:
                if element not in self._edges:
                    graph.add_node(at, element, {"document": document or _GONE})
                elif document is None:
                    graph.delete_edge(at, *self._edges[element])
                else:
                    source, target, layer = self._edges[element]
                    edge = graph.add_edge(at, source, target, {"document": document}, layer)
                    if element not in self._known:
                        self._known.add(element)
                        edge.add_metadata({"element": element}, layer)

    def at(self, moment: int) -> dict[int, int]:
        """Walk over the edges, layer by layer, and read the nodes' documents as a column."""
        view = self._graph.at(moment)
        held = {edge.metadata.get("element"): edge.properties.get("document") for edge in view.edges.explode_layers()}
        nodes = view.nodes
        documents = nodes.properties.get("document")
        held.update((number, document) for number, document in zip(nodes.id, documents, strict=True) if document)
        return held

    def size(self) -> int:
        """The bytes of the graph saved to a file; it is used in memory, where it takes several times as much."""
        self._graph.save_to_file(str(self._file))
        files = [self._file, *self._file.rglob("*")]
        return sum(each.stat().st_size for each in files if each.is_file())

    def close(self) -> None:
        """Let go of the graph."""
        del self._graph
