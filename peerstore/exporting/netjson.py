"""NetJSON NetworkGraph (https://netjson.org/rfc.html), for OpenWISP and netjsongraph.js.

``properties`` of nodes and links hold the attributes by their paths, with their exact JSON values. Every link costs 1,
and the metric is ``hops``: Ditto tells no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from peerstore.canonical import Json, dumps
from peerstore.exporting.graphs import Edge, Graph, Node, graph_of, told
from peerstore.exporting.source import Source
from peerstore.times import iso


def write(source: Source, path: Path) -> dict[str, int]:
    """Write the graph; gives how many nodes (``peers``) and links (``connections``) it has."""
    counts: dict[str, int] = {}
    with graph_of(source) as graph, path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_document(source, graph, counts))
    return counts


def _document(source: Source, graph: Graph, counts: dict[str, int]) -> Iterator[str]:
    head = {"type": "NetworkGraph", "protocol": "ditto", "version": "", "metric": "hops", "properties": graph.about}
    if source.selection.observer is not None:
        head["router_id"] = source.selection.observer
    yield "{\n" + "".join(f"{dumps(name)}: {dumps(value)},\n" for name, value in head.items())
    yield '"nodes": ['
    yield from _listed(_node(node) for node in told(source, graph.nodes(), counts, "peers"))
    yield '],\n"links": ['
    yield from _listed(_link(edge) for edge in told(source, graph.edges(), counts, "connections"))
    yield "]\n}\n"


def _listed(items: Iterator[dict[str, Json]]) -> Iterator[str]:
    separator = "\n"
    for item in items:
        yield separator + dumps(item)
        separator = ",\n"
    if separator != "\n":
        yield "\n"


def _node(node: Node) -> dict[str, Json]:
    return {"id": node.key, "label": node.label, "properties": {**node.attributes, **_spells(node)}}


def _link(edge: Edge) -> dict[str, Json]:
    ends = {"source": edge.connection.peer1, "target": edge.connection.peer2, "cost": 1}
    return {**ends, "properties": {**edge.attributes, **_spells(edge), "connection_key": edge.key}}


def _spells(thing: Node | Edge) -> dict[str, Json]:
    spells = [[iso(start), None if end is None else iso(end)] for start, end in thing.spells]
    return {"spells": spells} if spells else {}
