"""GEXF 1.3, the format of Gephi: over a window it is dynamic, each node and edge with its spells.

Times are ISO 8601 in UTC, to the microsecond, ends exclusive; a spell without an end still holds. They are declared as
``date`` since networkx reads no other text as a time; Gephi reads the same times under either name, and shows their
hours once its timeline is set to "datetime". Attributes whose values changed in the window have a second, dynamic
column ``NAME_over_time`` (those of :data:`FOLLOWED`). Edges have the transport as their ``kind``, so that Gephi keeps
connections over different transports apart. An end of a connection that is no peer has no spells: it is always shown.
Characters that XML cannot hold stand by escapes: :func:`peerstore.exporting.graphs.escaped`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from peerstore.canonical import ABSENT, Json
from peerstore.exporting.graphs import Columns, Edge, Graph, Kind, Node, Spell, as_text, graph_of, told
from peerstore.exporting.markup import DECLARATION, element, opened
from peerstore.exporting.sorting import Row, Sorter, beside
from peerstore.exporting.source import Source
from peerstore.times import iso, micros

NAMESPACE = "http://gexf.net/1.3"
TYPES: dict[Kind, str] = {
    "text": "string",
    "boolean": "boolean",
    "integer": "long",
    "number": "double",
    "json": "string",
}
FOLLOWED: dict[str, Kind] = {
    "device_name": "text",
    "is_compatible": "boolean",
    "is_connected_to_cloud": "boolean",
    "os": "text",
    "sdk_version": "text",
}
"""The attributes of peers that are told over time, where one of them changed in the window."""

Values = dict[str, list[tuple[Json, int | None, int | None]]]
"""By attribute: the values that it had one after the other, each with its beginning and end."""


def write(source: Source, path: Path) -> dict[str, int]:
    """Write the graph; gives how many nodes (``peers``) and edges (``connections``) it has."""
    counts: dict[str, int] = {}
    with ExitStack() as stack:
        changes = _Changes(source, stack.enter_context(Sorter())) if source.selection.at is None else None
        graph = stack.enter_context(graph_of(source))
        file = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        file.writelines(_document(source, graph, changes, counts))
    return counts


class _Changes:
    """What the followed attributes of every peer were, one value after the other."""

    def __init__(self, source: Source, rows: Sorter) -> None:
        self._rows = rows
        self.names: set[str] = set()
        for change in source.attribute_changes():
            name = change.path.removeprefix("/")
            if name in FOLLOWED:
                self.names.add(name)
                values = (_stored(change.before), _stored(change.after))
                rows.add((change.peer_key, name, micros(change.observed_at), *values))

    def of(self, nodes: Iterable[Node]) -> Iterator[tuple[Node, Values]]:
        """Each node, which come by key, with its values."""
        for _, (node,), rows in beside(((node.key, node) for node in nodes), self._rows):
            changed = {name: list(found) for name, found in groupby(rows, itemgetter(1))}
            yield node, {name: _values(changed.get(name, ()), node, name) for name in sorted(self.names)}


def _values(rows: Iterable[Row], node: Node, name: str) -> list[tuple[Json, int | None, int | None]]:
    """The values between the changes; where nothing changed, the one that it always had."""
    pieces: list[tuple[Json, int | None, int | None]] = []
    since, value = None, node.attributes.get(name)
    for _, _, at, before, after in rows:
        pieces.append((json.loads(before), since, at))
        since, value = at, json.loads(after)
    return [piece for piece in (*pieces, (value, since, None)) if piece[0] is not None]


def _stored(value: Json) -> str:
    return json.dumps(None if value is ABSENT else value)


def _document(source: Source, graph: Graph, changes: _Changes | None, counts: dict[str, int]) -> Iterator[str]:
    nodes, edges = Columns(node.attributes for node in graph.nodes()), graph.edge_columns
    yield DECLARATION + opened("gexf", {"xmlns": NAMESPACE, "version": "1.3"}) + "\n"
    yield from _meta(graph.about)
    mode = {"mode": "dynamic", "timeformat": "date", "timezone": "UTC"} if graph.is_dynamic else {"mode": "static"}
    yield opened("graph", {"defaultedgetype": "undirected", "idtype": "string", **mode}) + "\n"
    yield from _declared("node", "n", nodes.kinds)
    if changes is not None:
        yield from _declared("node", "t", {f"{name}_over_time": FOLLOWED[name] for name in sorted(changes.names)}, True)
    yield from _declared("edge", "e", edges.kinds)
    ids, moving = _ids("n", nodes.kinds), _ids("t", changes.names if changes else ())
    yield "<nodes>\n"
    counted = told(source, graph.nodes(), counts, "peers")
    for node, values in changes.of(counted) if changes else ((node, {}) for node in counted):
        cells = [*_static(ids, nodes, node.attributes), *_moving(moving, values)]
        yield _thing("node", {"id": node.key, "label": node.label}, cells, node.spells)
    yield "</nodes>\n<edges>\n"
    ids = _ids("e", edges.kinds)
    for edge in told(source, graph.edges(), counts, "connections"):
        yield _thing("edge", _ends(edge), _static(ids, edges, edge.attributes), edge.spells)
    yield "</edges>\n</graph>\n</gexf>\n"


def _meta(about: Mapping[str, Json]) -> Iterator[str]:
    of = ", ".join(f"{name} {value}" for name, value in about.items())
    yield "<meta><creator>peerstore</creator>"
    yield element("description", {}, f"presence in a Ditto mesh: {of or 'the whole history'}")
    yield "</meta>\n"


def _ids(letter: str, names: Iterable[str]) -> dict[str, str]:
    return {name: f"{letter}{number}" for number, name in enumerate(sorted(names))}


def _declared(of: str, letter: str, kinds: Mapping[str, Kind], dynamic: bool = False) -> Iterator[str]:
    if kinds:
        yield opened("attributes", {"class": of, "mode": "dynamic" if dynamic else "static"}) + "\n"
        for name, number in _ids(letter, kinds).items():
            yield opened("attribute", {"id": number, "title": name, "type": TYPES[kinds[name]]}, "/>\n")
        yield "</attributes>\n"


def _ends(edge: Edge) -> dict[str, str | None]:
    link = edge.connection
    given = {"id": edge.key, "source": link.peer1, "target": link.peer2, "kind": link.type, "label": link.type}
    return {name: value or None for name, value in given.items()}


def _static(ids: Mapping[str, str], columns: Columns, attributes: Mapping[str, Json]) -> list[str]:
    cells = columns.cells(attributes)
    return [opened("attvalue", {"for": ids[name], "value": text}, "/>") for name, text in cells]


def _moving(ids: Mapping[str, str], values: Values) -> Iterator[str]:
    for name, pieces in values.items():
        for value, start, end in pieces:
            given = {"for": ids[name], "value": as_text(value, FOLLOWED[name]), **_bounds(start, end)}
            yield opened("attvalue", given, "/>")


def _thing(name: str, given: Mapping[str, str | None], cells: list[str], spells: list[Spell]) -> str:
    values = f"<attvalues>{''.join(cells)}</attvalues>" if cells else ""
    times = "".join(opened("spell", _bounds(*spell), "/>") for spell in spells)
    return f"{opened(name, given)}{values}{f'<spells>{times}</spells>' if times else ''}</{name}>\n"


def _bounds(start: int | None, end: int | None) -> dict[str, str | None]:
    return {"start": None if start is None else iso(start), "end": None if end is None else iso(end)}
