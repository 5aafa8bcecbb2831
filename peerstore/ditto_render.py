"""Canonical documents back into the JSON of a Ditto SDK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from peerstore.canonical import Json, loads
from peerstore.ditto_fields import MEMBERS, Fields, end_names, end_of, folded, read_end, swapped_ends
from peerstore.model import Element, PresenceGraph
from peerstore.peer_keys import ANONYMOUS, bytes_of_key

Shape = Literal["raw-v3", "js-5"]

_CLOUD_OF_JS_5 = "isConnectedToDittoServer"


def render(
    local_peer: str,
    graph_document: Mapping[str, Json],
    peers: Mapping[str, Mapping[str, Json]],
    connections: Iterable[tuple[Element, Mapping[str, Json]]],
    shape: Shape = "raw-v3",
) -> dict[str, Any]:
    """One observer's view as the JSON of a Ditto SDK.

    ``shape``: ``raw-v3`` as the core of 5.1 gives it to every SDK, ``js-5`` as JavaScript 5 gives it to its user.
    ``peers`` maps each key, the local peer's among them, to its document, and ``connections`` pairs each connection
    with its own (:mod:`peerstore.ditto`). Reading the result gives the same graph. A connection stands in the lists of
    the peers that listed it, or, if there is none, in the graph's own ``connections``. Unknown fields come back under
    their given names.
    """
    lists: dict[str, list[dict[str, Any]]] = {key: [] for key in peers}
    own: list[dict[str, Any]] = []
    for element, document in sorted(connections, key=lambda pair: pair[0]):
        for lister, extra in copies_of(element, document):
            lists.get(lister, own).append(render_connection(element, extra, shape))
    graph: dict[str, Any] = {}
    rendered = {key: render_peer(key, peers[key], lists[key], shape) for key in sorted(peers)}
    if local_peer in rendered:
        graph["localPeer"] = rendered.pop(local_peer)
    graph["remotePeers"] = list(rendered.values())
    if own:
        graph["connections"] = by_id(own)
    return {**graph, **graph_document.get("extra", {})}


def render_graph(graph: PresenceGraph, shape: Shape = "raw-v3") -> dict[str, Any]:
    """A graph in canonical form as the JSON of a Ditto SDK."""
    documents: dict[Element, Any] = {element: loads(text) for element, text in graph.elements.items()}
    peers = {element.key: document for element, document in documents.items() if element.kind == "peer"}
    links = [(element, document) for element, document in documents.items() if element.kind == "connection"]
    return render(graph.local_peer, documents[Element("graph")], peers, links, shape)


def copies_of(element: Element, document: Mapping[str, Json]) -> list[tuple[str, Mapping[str, Json]]]:
    """Each lister of a connection ("" for the graph) with the unknown fields of its copy."""
    if "extra_by" in document:
        return list(document["extra_by"].items())
    ends = {1: element.key, 2: element.other}
    listers = [ends[entry] if isinstance(entry, int) else entry for entry in document["listed_by"]]
    return [(lister, document.get("extra", {})) for lister in listers or [""]]


def by_id(connections: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
    """A graph's own connections, as a map where each has an id of its own."""
    ids = {connection.get("id", "") for connection in connections}
    if len(ids) < len(connections) or "" in ids:
        return connections
    return {connection["id"]: connection for connection in connections}


def render_peer(key: str, document: Mapping[str, Json], listed: list[dict[str, Any]], shape: Shape) -> dict[str, Any]:
    """One peer, with the connections that it lists."""
    extra = dict(document.get("extra", {}))
    given = {folded(name) for name in extra}
    peer = _render_key(key, given, shape) if "anonymous" not in document else {}
    address = _render_address(key, document, shape)
    known = extra.get("address")
    if isinstance(known, dict):
        extra["address"] = {**address, **known}
    elif address and known is None:
        peer["address"] = address
    for member in MEMBERS:
        if member.name not in document:
            continue
        name = member.given_names[0]
        if shape == "js-5" and _CLOUD_OF_JS_5 in member.given_names and not given & _folded(member.given_names):
            name = _CLOUD_OF_JS_5
        peer[name] = document[member.name]
        if shape == "raw-v3" and member.repeats and folded(member.repeats) not in given:
            peer[member.repeats] = document[member.name]
    return {**peer, "connections": listed, **extra}


def _folded(names: Iterable[str]) -> set[str]:
    return {folded(name) for name in names}


def _render_key(key: str, given: set[str], shape: Shape) -> dict[str, Any]:
    if shape == "js-5":
        return {"peerKeyString" if given & {"peerkeystring", "peerkey"} else "peerKey": key}
    content = bytes_of_key(key)
    return {**({} if content is None else {"peerKey": list(content)}), "peerKeyString": key}


def _render_address(key: str, document: Mapping[str, Json], shape: Shape) -> dict[str, Any]:
    address: dict[str, Any] = {}
    if "site_id" in document:
        address["siteId"] = document["site_id"]
    if shape == "raw-v3" and "anonymous" not in document and (content := bytes_of_key(key)) is not None:
        address["pubkey"] = list(content)
    return address


def render_connection(element: Element, extra: Mapping[str, Json], shape: Shape) -> dict[str, Any]:
    """One connection, with the unknown fields of the copy of one lister."""
    first, second = element.key, element.other
    if _handle_of_end(first, "2") or _handle_of_end(second, "1"):
        first, second = second, first
        extra = swapped_ends(extra)
    connection: dict[str, Any] = {}
    if not any(_handle_of_end(key, "") and key[:-1].endswith("::") for key in (first, second)):
        connection["id"] = element.id
    unknown = {name: value for name, value in extra.items() if not end_of(name)}
    for end, key in ((1, first), (2, second)):
        of_end = {name: value for name, value in extra.items() if end_of(name) == end}
        connection.update(of_end if key.startswith(ANONYMOUS) else _render_end(end, key, of_end, shape))
    return {**connection, "connectionType": element.type, **unknown}


def _handle_of_end(key: str, end: str) -> bool:
    return key.startswith(ANONYMOUS) and key.endswith(end)


def _render_end(end: int, key: str, unknown: Mapping[str, Json], shape: Shape) -> dict[str, Any]:
    """The members that say the key of an end, and the unknown ones that speak of it.

    The unknown ones may stand under the very name where the key usually does: an address without a key, say, beside a
    key under another name. So the first way to say it that reads as the same is taken.
    """
    content = bytes_of_key(key)
    spelled: Json = key if content is None else list(content)
    text = f"peerKeyString{end}"
    usual: dict[str, Json] = {text if unknown else f"peer{end}": key}
    if shape == "raw-v3":
        usual = {**({} if content is None else {f"peer{end}": spelled}), text: key}
    said = {**usual, **unknown}
    if unknown and not _says(said, end, key, unknown):
        names = end_names(end)
        ways = [{name: key, **unknown} for name in (*names, *map(str.upper, names)) if name not in unknown]
        addresses = {name: value for name, value in unknown.items() if isinstance(value, dict)}
        ways += [{**unknown, name: {"pubkey": spelled, **value}} for name, value in addresses.items()]
        said = next((way for way in ways if _says(way, end, key, unknown)), said)
    return said


def _says(members: Mapping[str, Json], end: int, key: str, unknown: Mapping[str, Json]) -> bool:
    rest: dict[str, Json] = {}
    return read_end(Fields(members, ""), end, rest) == key and rest == unknown
