"""Hypothesis strategies for Ditto presence graphs: as values in many shapes, as documents, and broken."""

from __future__ import annotations

import base64
import random
from typing import Any

from hypothesis import strategies as st

DITTO_PREFIX = bytes.fromhex("0287028243")
OBSERVER = "observer-1"

text = st.text(st.characters(codec="utf-8"), max_size=8)
any_text = st.text(st.characters(codec=None, categories=None), max_size=8)
identity_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
identity_text = identity_text.filter(lambda key: not key.startswith("anonymous:"))

flags: st.SearchStrategy[bool] = st.booleans()
numbers = st.one_of(
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 1, 1.0, -0.0, 1e21, 2**63, 10**30]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, any_text)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(any_text, inner, max_size=3)),
    max_leaves=8,
)
"""JSON values of every kind, in Python's terms, not yet in normal form."""
metadata = st.dictionaries(any_text, values, max_size=3)

ditto_keys = st.binary(min_size=1, max_size=1).map(lambda last: DITTO_PREFIX + b"\x02" + last * 32)
key_bytes = st.one_of(ditto_keys, st.binary(min_size=1, max_size=4))


def pk(content: bytes) -> str:
    """The canonical text of a key's bytes."""
    return "pk" + base64.urlsafe_b64encode(content).decode().rstrip("=")


def spellings(content: bytes) -> st.SearchStrategy[Any]:
    """Every spelling of a key's bytes in a place where the canonical key is bytes or clearly a Ditto key."""
    listed: list[Any] = [list(content), {str(index): byte for index, byte in enumerate(content)}, pk(content)]
    if content.startswith(DITTO_PREFIX) and len(content) == 38:
        standard = base64.b64encode(content).decode()
        listed += [standard, standard.rstrip("="), base64.urlsafe_b64encode(content).decode(), content.hex()]
        listed += [content.hex().upper(), "pk" + standard]
    return st.sampled_from(listed)


def field(*names: str) -> st.SearchStrategy[str]:
    """A field's name in camelCase, PascalCase or snake_case."""
    snaked = ["".join("_" + letter.lower() if letter.isupper() else letter for letter in name) for name in names]
    return st.sampled_from([*names, *(name[0].upper() + name[1:] for name in names), *snaked])


_MEMBERS: tuple[tuple[tuple[str, ...], st.SearchStrategy[Any]], ...] = (
    (("deviceName",), st.one_of(st.none(), text, any_text)),
    (("os",), st.one_of(st.none(), st.sampled_from(["Linux", "iOS", "", 76]))),
    (("dittoSdkVersion", "dittoSDKVersion"), st.one_of(st.none(), st.sampled_from(["5.1.0", ""]))),
    (
        ("isConnectedToDittoCloud", "isConnectedToDittoServer", "isDittoCloudConnected"),
        st.one_of(st.none(), st.booleans()),
    ),
    (("isCompatible",), st.one_of(st.none(), st.booleans())),
    (("peerMetadata",), st.one_of(st.none(), metadata)),
    (("peerInfo",), st.one_of(st.none(), metadata)),
    (("identityServiceMetadata",), st.one_of(st.none(), metadata)),
    (("identityServiceInfo",), st.just({})),
    (("queryOverlapGroup",), st.just(0)),
    (("rssi",), st.floats(-90, 0)),
)


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a peer but for its key and its connections; each may come under one name or several."""
    peer: dict[str, Any] = {}
    for names, strategy in _MEMBERS:
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
            peer[draw(field(*names))] = draw(strategy)
    peer.update(draw(st.dictionaries(st.sampled_from(["future", "x/y", "extra", "anonymous", ""]), values, max_size=2)))
    return peer


@st.composite
def keyed(draw: st.DrawFn, content: bytes | None) -> dict[str, Any]:
    """The fields that give a peer its key, in one way or in several; ``None``: no key at all."""
    if content is None:
        return draw(st.sampled_from([{}, {"peerKeyString": ""}, {"peerKey": []}, {"address": None}]))
    own = draw(spellings(content))
    ways: list[dict[str, Any]] = [
        {draw(field("peerKeyString")): own if isinstance(own, str) else pk(content)},
        {draw(field("peerKey")): own},
        {"address": {"pubkey": list(content)}, "peerKeyString": ""},
        {"peerKeyString": pk(content), "peerKey": list(content), "address": {"pubkey": list(content)}},
        {"peerKeyString": pk(content), "peerKey": [1, 2, 3], "address": {"pubkey": base64.b64encode(b"zz").decode()}},
    ]
    result: dict[str, Any] = dict(draw(st.sampled_from(ways)))
    if draw(st.booleans()):
        address = dict(result.get("address") or {})
        result["address"] = {**address, **draw(st.sampled_from([{"siteId": 2**64 - 1}, {"siteId": "x"}, {"ip": [1]}]))}
    return result


@st.composite
def connections(draw: st.DrawFn, ends: tuple[bytes | None, bytes | None]) -> dict[str, Any]:
    """One connection between two keys (``None``: an end without a key)."""
    connection: dict[str, Any] = {}
    for number, content in zip("12", ends, strict=True):
        if content is not None:
            connection.update(draw(_ends(number, content)))
    kind = st.sampled_from(["Bluetooth", "P2PWifi", "WebSocket", "other", "", None, 0, 3, 9])
    if draw(st.booleans()):
        connection[draw(field("connectionType", "type"))] = draw(kind)
    if draw(st.integers(0, 3)):
        connection["id"] = draw(st.sampled_from(["a", "b", "c", "", None]))
    connection.update(draw(st.sampled_from([{}, {}, {"future": 1}, {"rssi": -3, "approximateDistanceInMeters": 1.5}])))
    return connection


def _ends(number: str, content: bytes) -> st.SearchStrategy[dict[str, Any]]:
    address = {"pubkey": list(content), "siteId": 7}
    return st.one_of(
        spellings(content).map(lambda own: {f"peer{number}": own}),
        st.just({f"peerKeyString{number}": pk(content), f"peer{number}": list(content)}),
        st.just({f"PeerKey{number}": pk(content)}),
        st.just({f"peer_key_string{number}": pk(content), f"peer{number}": address}),
        st.just({f"peer{number}": address}),
        st.just({f"peerKeyString{number}": pk(content), f"peer{number}": "another"}),
    )


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """A valid presence-v3 graph in a mixture of shapes; reading it needs :data:`OBSERVER`."""
    keys: list[bytes | None] = list(draw(st.lists(key_bytes, max_size=4, unique=True)))
    keys += [None] * draw(st.integers(0, 2))
    peers: list[dict[str, Any]] = [{**draw(fields()), **draw(keyed(key))} for key in keys]
    pool = draw(st.lists(st.tuples(st.sampled_from([*keys, b"zz"]), st.sampled_from([*keys, None])), max_size=3))
    copies = [draw(connections(ends)) for ends in pool]
    for peer in peers:
        if draw(flags):
            peer["connections"] = draw(st.lists(st.sampled_from(copies), max_size=4)) if copies else []
    graph: dict[str, Any] = {draw(field("remotePeers")): peers[1:]}
    if draw(flags) and peers:
        graph[draw(field("localPeer"))] = peers[0]
    if draw(flags) and copies:
        graph["connections"] = draw(st.lists(st.sampled_from(copies), max_size=2))
    graph.update(draw(st.sampled_from([{}, {}, {"future": {"a": [1, 2]}}, {"rssi": 1}])))
    return graph


def shuffled(value: Any, seed: int) -> Any:
    """A graph with its peers, its connections and the members of every object in another order."""
    chance = random.Random(seed)

    def shuffle(item: Any, is_set: bool) -> Any:
        if isinstance(item, dict):
            names = list(item)
            chance.shuffle(names)
            return {name: shuffle(item[name], _is_set(name, item[name])) for name in names}
        if isinstance(item, list):
            items = [shuffle(member, False) if is_set else member for member in item]
            if is_set:
                chance.shuffle(items)
            return items
        return item

    return shuffle(value, False)


def _is_set(name: str, value: Any) -> bool:
    folded = name.replace("_", "").lower()
    return folded in ("remotepeers", "connections") and isinstance(value, list)


@st.composite
def broken(draw: st.DrawFn) -> Any:
    """A graph in which one place, anywhere, holds something else."""
    graph = draw(graphs())
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        names = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for name in names:
            places.append((value, name))
            walk(value[name])

    walk(graph)
    for _ in range(draw(st.integers(1, 3))):
        container, name = draw(st.sampled_from(places))
        container[name] = draw(values)
    return graph
