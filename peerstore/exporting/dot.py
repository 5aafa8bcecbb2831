"""Graphviz DOT: the graph to be drawn, by ``dot -Tsvg``.

A box for each peer with its name, doubled where it said that it has a link to the cloud, dashed where it is known only
as the end of a connection; a line for each connection, coloured and dashed by its transport. Names are shortened, and
what cannot be shown stands by its code; the ids are the whole peer keys, with every backslash doubled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

from peerstore.exporting.graphs import Edge, Graph, Node, escaped, graph_of, told
from peerstore.exporting.source import Source

LONGEST_LABEL = 32
SHORTEST_KEY = 14  # all keys of Ditto peers share their first ten characters
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff0-\ufffb\ufffe\uffff]"
)


class Look(NamedTuple):
    """How the connections of a transport are drawn, and how that is shown in the legend."""

    color: str
    style: str
    sample: str


LOOKS = {
    "AccessPoint": Look("#0072b2", "solid", "\u2501\u2501\u2501"),
    "Bluetooth": Look("#d55e00", "dashed", "\u2501 \u2501"),
    "P2PWiFi": Look("#009e73", "dotted", "\u00b7\u00b7\u00b7\u00b7\u00b7"),
    "WebSocket": Look("#cc79a7", "bold", "\u2588\u2588\u2588"),
}
"""Each transport of Ditto: colours that colour-blind people can tell apart, and lines that do without."""
OTHER = Look("#555555", "solid", "\u2501\u2501\u2501")


def write(source: Source, path: Path) -> dict[str, int]:
    """Write the graph; gives how many nodes (``peers``) and edges (``connections``) it has."""
    counts: dict[str, int] = {}
    with graph_of(source) as graph, path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_document(source, graph, counts))
    return counts


def _document(source: Source, graph: Graph, counts: dict[str, int]) -> Iterator[str]:
    types: set[str] = set()
    yield 'graph peerstore {\n  graph [layout=neato, overlap=false, splines=true, sep="+12", fontname="sans-serif"];\n'
    yield '  node [shape=box, style="rounded", fontname="sans-serif", fontsize=11, color="#222222"];\n'
    yield "  edge [penwidth=1.5, len=1.6];\n"
    names = Counter(node.label for node in graph.nodes())
    for node in told(source, graph.nodes(), counts, "peers"):
        yield _node(node, names[node.label] > 1)
    for edge in told(source, graph.edges(), counts, "connections"):
        types.add(edge.connection.type)
        yield _edge(edge)
    yield f"  label=<{_title(graph, counts)}{_legend(types)}>;\n}}\n"


def _node(node: Node, is_ambiguous: bool) -> str:
    name = shown(node.label) + (f"\\n{shown(node.key[:SHORTEST_KEY])}" if is_ambiguous else "")
    given = {"label": name, "tooltip": shown(node.key, len(node.key))}
    if node.attributes.get("is_connected_to_cloud") is True:
        given["peripheries"] = "2"
    if not node.attributes["is_listed"]:
        given["style"] = "rounded,dashed"
    return f"  {quoted(node.key)} [{_list(given)}];\n"


def _edge(edge: Edge) -> str:
    link = edge.connection
    look = LOOKS.get(link.type, OTHER)
    given = {"color": look.color, "style": look.style, "tooltip": shown(link.type), "key": edge.key}
    return f"  {quoted(link.peer1)} -- {quoted(link.peer2)} [{_list(given)}];\n"


def _list(given: dict[str, str]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in given.items())


def _title(graph: Graph, counts: dict[str, int]) -> str:
    about = [
        str(graph.about[name]).replace(".000000Z", "Z") for name in ("at", "since", "until") if name in graph.about
    ]
    return f"{' to '.join(about) or 'the whole history'}: {counts['peers']} peers, {counts['connections']} connections"


def _legend(types: Iterable[str]) -> str:
    """The transports that are there."""
    known = sorted(set(types) & set(LOOKS))
    others = sorted(set(types) - set(LOOKS))
    looks = [(name, LOOKS[name]) for name in known] + ([(_html(", ".join(others)), OTHER)] if others else [])
    samples = [f'<font color="{look.color}">{look.sample}</font> {name}' for name, look in looks]
    return f"<br/>{' &#160; '.join(samples)}" if samples else ""


def _html(text: str) -> str:
    return escape(_visible(text))


def quoted(key: str) -> str:
    r"""An id; DOT knows no escape of a backslash, and it must not come before the closing quote: each is doubled.

    >>> print(quoted('a"b'), quoted("c\\"))
    "a\"b" "c\\"
    """
    return '"' + escaped(key).replace("\\", "\\\\").replace('"', '\\"') + '"'


def shown(text: str, longest: int = LONGEST_LABEL) -> str:
    r"""A text to be read in a label: in one line, shortened in its middle, nothing in it taken for an escape or an
    entity.

    >>> print(shown('"till"\n\\N &amp;'), shown("a" * 40, 9))
    \"till\"\\u000a\\N &amp;amp; aaa…aaaaa
    """
    if len(text) > longest:
        text = f"{text[: longest // 3]}…{text[longest // 3 + 1 - longest :]}"
    return _visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def _visible(text: str) -> str:
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
