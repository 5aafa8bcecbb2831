"""GraphML, for yEd, igraph, networkx, Gephi, Cytoscape.

GraphML knows no time: over a window, ``first``, ``last``, ``total_seconds`` and ``sessions`` tell of each node and
edge when it was there. Characters that XML cannot hold stand by escapes: :func:`peerstore.exporting.graphs.escaped`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from peerstore.exporting.graphs import Columns, Edge, Graph, Kind, Node, graph_of, told
from peerstore.exporting.markup import DECLARATION, element, opened
from peerstore.exporting.source import Source

NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
TYPES: dict[Kind, str] = {
    "text": "string",
    "boolean": "boolean",
    "integer": "long",
    "number": "double",
    "json": "string",
}


def write(source: Source, path: Path) -> dict[str, int]:
    """Write the graph; gives how many nodes (``peers``) and edges (``connections``) it has."""
    counts: dict[str, int] = {}
    with graph_of(source) as graph, path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_document(source, graph, counts))
    return counts


def _document(source: Source, graph: Graph, counts: dict[str, int]) -> Iterator[str]:
    about = Columns([graph.about])
    nodes, edges = Columns({"label": "", **node.attributes} for node in graph.nodes()), graph.edge_columns
    keys = [_Keys("graph", "g", about), _Keys("node", "n", nodes), _Keys("edge", "e", edges)]
    yield DECLARATION + opened("graphml", {"xmlns": NAMESPACE}) + "\n"
    for each in keys:
        yield from each.declared()
    yield opened("graph", {"id": "peerstore", "edgedefault": "undirected"}) + "\n"
    yield from (f"{data}\n" for data in keys[0].data(graph.about))
    for node in told(source, graph.nodes(), counts, "peers"):
        yield _node(node, keys[1])
    for edge in told(source, graph.edges(), counts, "connections"):
        yield _edge(edge, keys[2])
    yield "</graph>\n</graphml>\n"


class _Keys:
    """The attributes that are declared for one kind of thing."""

    def __init__(self, of: str, letter: str, columns: Columns) -> None:
        self._of, self._columns = of, columns
        self._ids = {name: f"{letter}{number}" for number, name in enumerate(columns.kinds)}

    def declared(self) -> Iterator[str]:
        for name, kind in self._columns.kinds.items():
            given = {"id": self._ids[name], "for": self._of, "attr.name": name, "attr.type": TYPES[kind]}
            yield opened("key", given, "/>\n")

    def data(self, attributes: dict[str, object]) -> Iterator[str]:
        for name, text in self._columns.cells(attributes):
            yield element("data", {"key": self._ids[name]}, text)


def _node(node: Node, keys: _Keys) -> str:
    data = "".join(keys.data({"label": node.label, **node.attributes}))
    return f"{opened('node', {'id': node.key})}{data}</node>\n"


def _edge(edge: Edge, keys: _Keys) -> str:
    given = {"id": edge.key, "source": edge.connection.peer1, "target": edge.connection.peer2}
    return f"{opened('edge', given)}{''.join(keys.data(edge.attributes))}</edge>\n"
