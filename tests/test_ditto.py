"""Reading Ditto's presence graphs in every shape, and giving them back."""

from __future__ import annotations

import base64
import json
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstore import ditto_peers
from peerstore.ditto import GraphReader, canonical_peer_key, read_graph
from peerstore.ditto_render import Shape, render_graph
from peerstore.errors import InputError, InvalidGraph
from peerstore.model import Element
from tests import strategies as ditto

CAPTURES = Path(__file__).parents[2] / "shared" / "data" / "ditto-captures"
with_captures = pytest.mark.skipif(not CAPTURES.exists(), reason="the captures of the SDK are not here")
SHAPES: tuple[Shape, ...] = ("raw-v3", "js-5")
KEY = bytes.fromhex("0287028243") + b"\x02" + bytes(range(32))
PK = ditto.pk(KEY)


rendered = render_graph


def peer_document(peer: dict[str, Any], observer: str = "o") -> tuple[str, Any]:
    graph = read_graph({"remotePeers": [peer]}, observer)
    ((element, text),) = ((element, text) for element, text in graph.elements.items() if element.kind == "peer")
    return element.key, json.loads(text)


def connection_of(connection: dict[str, Any], lister: str = "a") -> tuple[Element, Any]:
    graph = read_graph({"localPeer": {"peerKey": lister, "connections": [connection]}}, "o")
    ((element, text),) = ((element, text) for element, text in graph.elements.items() if element.kind == "connection")
    return element, json.loads(text)


def refusal(graph: Any, observer: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_graph(graph, observer)
    return str(caught.value)


@given(ditto.graphs(), st.sampled_from(SHAPES))
def test_a_rendered_graph_reads_as_the_same_graph(given_graph: dict[str, Any], shape: Shape) -> None:
    try:
        graph = read_graph(given_graph, ditto.OBSERVER)
    except InvalidGraph as error:
        assert "twice" in str(error) or "filed" in str(error) or "both" in str(error)  # noqa: PT017
        return
    again = rendered(graph, shape)
    assert read_graph(again, ditto.OBSERVER) == graph
    assert read_graph(json.dumps(again), ditto.OBSERVER) == graph
    assert rendered(read_graph(again, ditto.OBSERVER), shape) == again


@given(ditto.graphs(), st.integers())
def test_the_order_of_arrays_and_objects_means_nothing(graph: dict[str, Any], seed: int) -> None:
    assert outcome(graph) == outcome(ditto.shuffled(graph, seed))


@given(ditto.graphs())
def test_text_and_values_in_any_layout_read_alike(graph: dict[str, Any]) -> None:
    expected = outcome(graph)
    reader = GraphReader(ditto.OBSERVER)
    compact = json.dumps(graph, separators=(",", ":"))
    for _ in range(2):
        for spelling in (graph, compact.encode(), compact, json.dumps(graph), json.dumps(graph, indent=1).encode()):
            assert outcome(spelling, reader) == expected


@given(st.lists(st.one_of(ditto.graphs(), ditto.broken()), min_size=2, max_size=4))
def test_a_reader_that_has_read_others_reads_alike(graphs: list[Any]) -> None:
    reader = GraphReader(ditto.OBSERVER)
    for graph in graphs + graphs:
        text = json.dumps(graph, separators=(",", ":")).encode()
        assert outcome(text, reader) == outcome(text) == outcome(graph, reader) == outcome(graph)


@given(
    st.lists(st.tuples(st.permutations(range(7)), st.integers(1, 7), st.integers(0, 6)), max_size=8),
    st.sampled_from([1, 3]),
)
def test_peers_that_moved_came_or_went_are_read_alike(graphs: list[tuple[list[int], int, int]], observers: int) -> None:
    """Most peers stand as in the last graph of their observer, whose bytes are then compared in place."""
    reader = GraphReader()
    for turn, (order, count, renamed) in enumerate(graphs):
        local, *others = [f"observer {turn % observers}", *(f"peer {number}" for number in order[:count])]
        names = {f"peer {renamed}": f"renamed {turn}"}
        peers = [f'{{"peerKey":"{key}","deviceName":"{names.get(key, key)}","connections":[]}}' for key in others]
        first = f'{{"peerKey":"{local}","connections":[]}}'
        text = f'{{"localPeer":{first},"remotePeers":[{",".join(peers)}]}}'.encode()
        assert outcome(text, reader) == outcome(text, GraphReader())


def outcome(graph: Any, reader: GraphReader | None = None) -> Any:
    """What reading gives, or that it is refused: anything but an InputError fails the test."""
    try:
        return (reader or GraphReader(ditto.OBSERVER)).read(graph)
    except InputError:
        return None


@given(ditto.broken())
def test_a_broken_graph_is_refused_or_read_and_never_crashes(graph: Any) -> None:
    read = outcome(graph)
    for shape in SHAPES if read is not None else ():
        assert read_graph(rendered(read, shape), ditto.OBSERVER) == read


def test_a_connection_that_a_list_repeats_does_not_number_the_peers_without_a_key() -> None:
    once: dict[str, Any] = {"connections": [{}]}
    twice: dict[str, Any] = {"connections": [{}, {}]}
    graphs = [{"localPeer": local, "remotePeers": [remote]} for local in (once, twice) for remote in (once, twice)]
    (graph,) = {read_graph(graph, "o").local_peer: read_graph(graph, "o") for graph in graphs}.values()
    assert [read_graph(given, "o") for given in graphs] == [graph] * 4
    assert read_graph(rendered(graph, "raw-v3"), "o") == graph


@pytest.mark.parametrize("key", [list(KEY), "till", "abcd"])
@pytest.mark.parametrize(
    "unknown",
    [
        {"peerKeyString1": {"": None}},
        {"peerKeyString1": {"note": 1}, "peerKey1": "another"},
        {"peerKeyString1": {"note": 1}, "peer1": {"note": 2}},
        {"PEERKEYSTRING1": {"note": 1}, "peer_key_string_1": "another"},
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_stands_where_a_key_is_usual_does_not_drive_the_key_away(
    key: Any, unknown: dict[str, Any], shape: Shape
) -> None:
    names = [name for name in ("peerKeyString1", "peerKey1", "peer1") if name not in unknown]
    links = [{"id": f"link {name}", name: key, **unknown} for name in names]
    links += [{"id": "address", **unknown, "peerKeyString1": {"pubkey": key, "note": 3}}]
    graph = read_graph({"remotePeers": [{"peerKey": "lister", "connections": links}]}, "o")
    assert read_graph(rendered(graph, shape), "o") == graph


@given(st.one_of(st.binary(), st.text()))
def test_arbitrary_text_never_crashes(content: bytes | str) -> None:
    assert outcome(content) is None


@with_captures
@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.json")), ids=lambda path: path.stem)
def test_every_capture_of_the_sdk_survives(path: Path) -> None:
    if "-dql-" in path.name:
        pytest.skip("a DQL result, no presence graph")
    graph = read_graph(path.read_bytes())
    assert graph == read_graph(json.loads(path.read_text()))
    for shape in SHAPES:
        assert read_graph(rendered(graph, shape)) == graph


@with_captures
def test_two_shapes_of_one_moment_are_one_graph_and_come_back_as_they_were() -> None:
    raw = CAPTURES / "js-5.1.0-lone-raw-after-open.json"
    cleaned = CAPTURES / "js-5.1.0-lone-cleaned-after-open.json"
    assert read_graph(raw.read_bytes()) == read_graph(cleaned.read_bytes())
    assert rendered(read_graph(raw.read_bytes()), "raw-v3") == json.loads(raw.read_text())
    assert rendered(read_graph(raw.read_bytes()), "js-5") == json.loads(cleaned.read_text())


def test_every_spelling_of_a_key_is_one_key() -> None:
    standard = base64.b64encode(KEY).decode()
    spelled: list[Any] = [KEY, bytearray(KEY), memoryview(KEY), list(KEY), tuple(KEY), PK, "pk" + standard, standard]
    spelled += [standard.rstrip("="), base64.urlsafe_b64encode(KEY).decode(), KEY.hex(), KEY.hex().upper()]
    spelled += [{str(index): KEY[index] for index in reversed(range(len(KEY)))}]
    assert {canonical_peer_key(value) for value in spelled} == {PK}


@pytest.mark.parametrize(
    "own",
    ["000024cd3954", "nn-2", "pk-foo", "000004ACBB9D29BCBA17256BB35928DDBFC8ABA9", "AocC", "pkAQID", " ", "a" * 512],
)
def test_the_key_of_another_source_stays_as_it_is(own: str) -> None:
    assert canonical_peer_key(own) == own


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        [],
        {},
        None,
        "a" * 513,
        "é" * 257,
        "a\0",
        "\ud800",
        "anonymous:o::1",
        [256],
        [-1],
        [True],
        [1.5],
        {"1": 2},
        5,
    ],
)
def test_what_is_no_key_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError):
        canonical_peer_key(wrong)


def test_where_a_key_comes_from() -> None:
    assert peer_document({"peerKeyString": "", "peerKey": list(KEY)}) == (PK, {})
    assert peer_document({"peerKey": PK}) == (PK, {})
    assert peer_document({"address": {"pubkey": list(KEY), "siteId": 2**64 - 1}}) == (PK, {"site_id": 2**64 - 1})
    assert peer_document({"address": {"pubkey": "AQID"}}) == ("pkAQID", {})
    assert peer_document({"peerKeyString": "a", "peerKey": "b", "address": {"pubkey": [1], "ip": 2}}) == (
        "a",
        {"extra": {"peerKey": "b", "address": {"pubkey": [1], "ip": 2}}},
    )


def test_the_four_kinds_of_nothing_stay_four() -> None:
    documents = [peer_document({"peerKey": "a", **given})[1] for given in ({}, {"os": None}, {"os": ""})]
    assert documents == [{}, {"os": None}, {"os": ""}]
    assert peer_document({"peerKey": "a", "peerMetadata": {}, "x": {}})[1] == {"peer_metadata": {}, "extra": {"x": {}}}
    assert peer_document({"peerKey": "a", "peerMetadata": None, "x": None})[1] == {
        "peer_metadata": None,
        "extra": {"x": None},
    }


def test_a_repeat_goes_and_what_only_looks_like_one_stays() -> None:
    told = {"peerMetadata": {"n": 1}, "peerInfo": {"n": 1.0}, "isConnectedToDittoCloud": True, "is_compatible": None}
    assert peer_document({"peerKey": "a", **told})[1] == {
        "peer_metadata": {"n": 1},
        "is_connected_to_cloud": True,
        "is_compatible": None,
    }
    other = {**told, "peerInfo": {"n": True}, "isConnectedToDittoServer": False, "rssi": -3, "queryOverlapGroup": 0}
    assert peer_document({"peerKey": "a", **other})[1]["extra"] == {
        "peerInfo": {"n": True},
        "isConnectedToDittoServer": False,
    }


def test_peers_without_a_key_get_handles_by_what_they_say() -> None:
    one, two = {"deviceName": "till", "os": "iOS"}, {"deviceName": "till", "os": "Linux"}
    graph = read_graph({"localPeer": {"peerKey": "obs"}, "remotePeers": [two, one, {}, one]})
    keys = [element.key for element in graph.elements if element.kind == "peer"]
    assert sorted(keys) == ["anonymous:obs::1", *(f"anonymous:obs:till:{n}" for n in (1, 2, 3)), "obs"]
    assert json.loads(graph.elements[Element("peer", "anonymous:obs:till:1")])["os"] == "Linux"
    long = read_graph({"remotePeers": [{"deviceName": ":\0é" * 300}, {"deviceName": ":\0é" * 299}]}, "o" * 512)
    keys = [element.key for element in long.elements if element.kind == "peer"]
    assert len(set(keys)) == 2
    assert all(len(key.encode()) <= 512 and "\0" not in key for key in keys)


def test_the_identity_of_a_connection() -> None:
    assert connection_of({"peer1": "b", "peer2": "a", "id": "x", "type": 0})[0] == Element(
        "connection", "a", "b", "Bluetooth", "x"
    )
    assert connection_of({"peer1": "a", "peer2": "b", "connectionType": "p2pwifi"})[0] == Element(
        "connection", "a", "b", "P2PWiFi", "a<->b:P2PWiFi"
    )
    assert connection_of({"peer1": "a", "id": "x"})[0] == Element(
        "connection", "a", "anonymous:o:connection:x:2", "Unknown", "x"
    )
    assert connection_of({"peer1": "a", "peer2": "a", "id": "x", "type": "tin can"}) == (
        Element("connection", "a", "a", "tin can", "x"),
        {"listed_by": [1]},
    )
    ends = {"peer1": {"pubkey": list(KEY), "siteId": 5}, "peer2": {"pubkey": "AQID"}, "id": "x"}
    assert connection_of(ends) == (
        Element("connection", min(PK, "pkAQID"), max(PK, "pkAQID"), "Unknown", "x"),
        {"listed_by": ["a"], "extra": {"peer1" if PK < "pkAQID" else "peer2": {"siteId": 5}}},
    )


def test_who_lists_a_connection_and_where_copies_disagree() -> None:
    link: dict[str, Any] = {"id": "x", "peer1": "a", "peer2": "b", "connectionType": "AccessPoint"}
    element = Element("connection", "a", "b", "AccessPoint", "x")

    def document(*copies: tuple[str, dict[str, Any]], own: Any = ()) -> Any:
        remotes = [{"peerKey": key, "connections": [{**link, **extra}]} for key, extra in copies]
        return json.loads(read_graph({"remotePeers": remotes, "connections": own}, "o").elements[element])

    assert document(("b", {}), ("c", {}), ("a", {})) == {"listed_by": [1, 2, "c"]}
    assert document(own={"x": link}) == document(own=[link]) == {"listed_by": []}
    assert document(("b", {"y": 1}), own=[{**link, "y": 1.0}]) == {"listed_by": [2], "extra": {"y": 1}}
    assert document(("a", {"y": 1}), ("b", {}), own=[link]) == {
        "listed_by": [1, 2],
        "extra_by": {"a": {"y": 1}, "b": {}, "": {}},
    }


def test_a_peer_that_is_given_twice() -> None:
    twice = {"localPeer": {"peerKey": "a", "os": "Linux"}, "remotePeers": [{"peer_key": "a", "os": "Linux"}]}
    assert len(read_graph(twice).elements) == 2
    twice["remotePeers"] = [{"peerKey": "a", "os": "iOS"}]
    assert "the peer a is given twice" in refusal(twice)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ([{"networkId": 1}], "presence v1"),
        ({"localPeer": "0", "peers": [], "connections": []}, "presence v2"),
        ({"peers": [{"id": 0}], "connections": [{"from": 0, "to": 1}]}, "presence v2"),
        ({}, "neither localPeer nor remotePeers"),
        (5, "a presence graph is a number"),
        ({"localPeer": [], "remotePeers": []}, "the local peer is an array; an object was expected (at /localPeer)"),
        ({"remotePeers": []}, "has no local peer"),
        ({"localPeer": {}, "remotePeers": []}, "a local peer without a key"),
        ({"localPeer": {"peerKey": "a"}, "remotePeers": {}}, "an object; an array was expected (at /remotePeers)"),
        ({"localPeer": {"peerKey": "a"}, "remotePeers": [3]}, "a peer is a number; an object was expected"),
        ({"localPeer": {"peerKey": "a", "deviceName": 1}}, "deviceName is a number; a string or null"),
        ({"localPeer": {"peerKey": "a", "isCompatible": 1}}, "a boolean or null was expected (at /localPeer/isCompat"),
        ({"localPeer": {"peerKey": "a", "peerMetadata": []}}, "an object or null was expected (at /localPeer/peerM"),
        ({"localPeer": {"peerKey": "a", "connections": 1}}, "connections are a number"),
        ({"localPeer": {"peerKey": "a", "connections": [1]}}, "(at /localPeer/connections/0)"),
        ({"localPeer": {"peerKey": "a", "connections": [{"id": 1}]}}, "(at /localPeer/connections/0/id)"),
        ({"localPeer": {"peerKey": "a", "connections": [{"id": "i" * 2049}]}}, "2049 bytes; at most 2048"),
        ({"localPeer": {"peerKey": "a", "connections": [{"type": "t" * 129}]}}, "129 bytes; at most 128"),
        ({"localPeer": {"peerKey": "a", "connections": [{"type": "a\0"}]}}, "NUL"),
        ({"localPeer": {"peerKey": "a", "Peer_Key": 7}}, "a peer key is a number"),
        ({"localPeer": {"peerKey": "a"}, "local_peer": {}}, "both localPeer and local_peer are given"),
        ({"localPeer": {"peerKey": "a", "x": float("nan")}}, "nan is no number of JSON (at /localPeer/x)"),
        (
            {"localPeer": {"peerKey": "a", "x": {1: 2}}},
            "a key of an object must be a string, not int (at /localPeer/x)",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(graph: Any, words: str) -> None:
    assert words in refusal(graph)


@pytest.mark.parametrize(
    "content",
    [
        b'{"localPeer":{"peerKey":"a"},"localPeer":{"peerKey":"b"},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","os":"x","os":"y","connections":[]},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","connections":[{"id":"x","id":"y"}]},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","connections":[],"Connections":[]},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","connections":[{"id":"\xff"}]},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","connections":[{"id":"\n"}]},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","connections":[{"x":NaN}]},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","connections":[],"x":' + b"[" * 64 + b"]" * 64 + b'},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","connections":[]},"remotePeers":[]}x',
        b'{"localPeer":{"peerKey":"a","connections":[]},"remotePeers":[,]}',
    ],
)
def test_the_quick_way_is_as_strict_as_the_slow(content: bytes) -> None:
    reader = GraphReader()
    reader.read(b'{"localPeer":{"peerKey":"a","connections":[]},"remotePeers":[]}')
    with pytest.raises(InputError):
        reader.read(content)


def test_the_name_of_a_nested_array_does_not_fool_the_cache() -> None:
    reader = GraphReader()
    texts = [
        b'{"localPeer":{"peerKey":"a","peerMetadata":{"connections":[%d]},"connections" :[]},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","peerMetadata":{"connections":[%d]},"\\u0063onnections":[%d]},"remotePeers":[]}',
        b'{"localPeer":{"peerKey":"a","peerMetadata":{"x":"connections"},"y":[%d],"connections":[]},"remotePeers":[]}',
    ]
    for text in texts:
        for number in (1, 2):
            content = text.replace(b"%d]}", b"%d]}" % number, 1).replace(b'"y":[%d]', b'"y":[%d]' % number)
            content = content.replace(b"%d", b"")
            assert reader.read(content) == read_graph(json.loads(content))


def test_values_that_python_holds_equal_are_not_confused() -> None:
    reader = GraphReader()
    for value in (1, True, 1.0, "1", [1], b"\x01", {"0": 1}, (1,), None, "", {}):
        graph = {"localPeer": {"peerKey": "a", "x": value}, "remotePeers": []}
        assert reader.read(graph) == read_graph(graph)
    with pytest.raises(InputError):
        reader.read({"localPeer": {"peerKey": "a", "x": array("B", b"\x01")}, "remotePeers": []})


def test_graphs_share_what_is_equal_and_input_is_left_alone() -> None:
    reader = GraphReader()
    link = {"id": "x", "peer1": "a", "peer2": "b", "type": 1}
    given_graph = {"localPeer": {"peerKey": "a", "connections": [link]}, "remotePeers": [{"peerKey": "b", "x": {}}]}
    before = json.dumps(given_graph)
    one, two = reader.read(given_graph), reader.read(json.loads(before))
    assert json.dumps(given_graph) == before
    assert [id(element) for element in one.elements][1:] == [id(element) for element in two.elements][1:]


def test_the_memory_of_a_reader_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ditto_peers, "_MAX_CACHE", 5000)
    cache: ditto_peers.Cache[int] = ditto_peers.Cache()
    for number in range(1000):
        cache.keep(b"%d" % number, number)
        assert cache.find(b"%d" % max(0, number - 5)) == max(0, number - 5)
        assert len(cache) <= 13
    assert cache.find(b"3") is None
