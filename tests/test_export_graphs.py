"""The graph formats, read by tools that are not ours: networkx, an XML parser, pydot and Graphviz itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import networkx as nx
import pydot
import pytest
from hypothesis import given, settings

import peerstore
from peerstore.canonical import dumps, value_at
from peerstore.exporting import dot, gexf, graphml, netjson
from peerstore.exporting.graphs import Columns, escaped, to_networkx, unescaped
from peerstore.exporting.sorting import Sorter
from peerstore.exporting.source import Selection, Source
from peerstore.exporting.tables import connection_key
from peerstore.model import Connection, Peer
from peerstore.times import instant, iso, micros
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.machine import HOUR, START, STEP
from tests.strategies import any_text, values
from tests.worlds import World, arguments, recorded, tried, worlds

NOON = datetime(2026, 7, 8, 12, tzinfo=UTC)
WRITERS = {"graphml": graphml.write, "gexf": gexf.write, "netjson": netjson.write, "dot": dot.write}
GEXF = "{http://gexf.net/1.3}"
NASTY = [
    "\0",
    "\x1b]0;title\x07",
    "a\x0bb",
    "\r\n\r",
    "\ttab ",
    "\ud800",
    "\udfff\ud800",
    "\ufffe\uffff",
    "\x85\u2028\u2029",
    "]]>",
    "<!-- & -->",
    "\"'`",
    "\\u0000",
    "\\\\u001b",
    "\\",
    'quote"\\',
    "\\N\\n\\G",
    "&lt;&#0;",
    "=HYPERLINK(1)",
    "../../x",
    "\u202eevil",
    "\U0001f600",
    "",
    " ",
]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@contextmanager
def opened(engine: str = "sqlite") -> Iterator[peerstore.PeerStore]:
    url = fresh_url(engine)
    try:
        with peerstore.open(url) as store:
            yield store
    finally:
        drop_url(url)


class Written(NamedTuple):
    path: Path
    counts: dict[str, int]
    told: list[int]


def written(store: peerstore.PeerStore, fmt: str, folder: Path, **selection: Any) -> Written:
    path = folder / f"graph.{fmt}"
    path.write_bytes(b"")
    told: list[int] = []
    with store.snapshot() as snapshot:
        counts = WRITERS[fmt](Source(snapshot, Selection(**selection), progress=told.append), path)
    return Written(path, counts, told)


def peer(key: str, *links: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"peerKey": key, "connections": list(links), **members}


def link(name: str, peer1: str, peer2: str, kind: str = "Bluetooth") -> dict[str, Any]:
    return {"id": name, "peer1": peer1, "peer2": peer2, "connectionType": kind}


AB, AB2, AX = link("1", "a", "b"), link("2", "a", "b", "WebSocket"), link("3", "a", "x", "AccessPoint")


def say(store: peerstore.PeerStore, seconds: float, local: dict[str, Any], *remote: dict[str, Any]) -> None:
    store.record({"localPeer": local, "remotePeers": list(remote)}, observed_at=at(seconds))


@pytest.fixture
def store(store_url: str) -> Iterator[peerstore.PeerStore]:
    """``a`` sees ``b`` over two transports, with a break, and lists an end ``x`` of which nobody else tells."""
    with peerstore.open(store_url) as made:
        role = {"role": "till", "tags": [1, "x"]}
        say(made, 0, peer("a", AB, AX, deviceName="A"), peer("b", AB, dittoSdkVersion="5.0.0", peerMetadata=role))
        say(made, 10, peer("a", AB, AB2, deviceName="A"), peer("b", AB, AB2, dittoSdkVersion="5.1.0"))
        say(made, 20, peer("a", deviceName="A"))
        say(made, 30, peer("a", AB, deviceName="A"), peer("b", AB, dittoSdkVersion="5.1.0", isCompatible=True))
        yield made


def spelled(*seconds: float | None) -> list[tuple[str, str]]:
    """Spells as networkx reads them from GEXF: an end that is not there is the text None."""
    texts = ["None" if each is None else iso(at(each)) for each in seconds]
    return list(zip(texts[::2], texts[1::2], strict=True))


# By hand.


def test_gexf_tells_when_each_node_and_edge_was_there(store: peerstore.PeerStore, tmp_path: Path) -> None:
    made = written(store, "gexf", tmp_path)
    graph = nx.read_gexf(made.path)
    assert made.counts == {"peers": 3, "connections": 3}
    assert {key: node.get("spells") for key, node in graph.nodes(data=True)} == {
        "a": spelled(0, None),
        "b": spelled(0, 20, 30, None),
        "x": None,
    }
    edges = {(data["type"], data["connection_id"]): data for *_, data in graph.edges(data=True)}
    assert {name: data["spells"] for name, data in edges.items()} == {
        ("Bluetooth", "1"): spelled(0, 20, 30, None),
        ("WebSocket", "2"): spelled(10, 20),
        ("AccessPoint", "3"): spelled(0, 10),
    }
    assert edges["Bluetooth", "1"]["id"] == connection_key(Connection("1", "a", "b", "Bluetooth"))


def test_gexf_tells_values_that_changed_over_time(store: peerstore.PeerStore, tmp_path: Path) -> None:
    graph = nx.read_gexf(written(store, "gexf", tmp_path).path)
    versions = [("5.0.0", "None", iso(at(10))), ("5.1.0", iso(at(10)), "None")]
    assert graph.nodes["b"]["sdk_version_over_time"] == versions
    assert graph.nodes["b"]["is_compatible_over_time"] == [(True, iso(at(30)), "None")]
    assert "sdk_version_over_time" not in graph.nodes["a"]
    assert graph.nodes["b"]["sdk_version"] == "5.1.0"
    assert "device_name_over_time" not in (written(store, "gexf", tmp_path).path).read_text()


def test_a_window_cuts_spells_and_leaves_out_what_was_not_there(store: peerstore.PeerStore, tmp_path: Path) -> None:
    window = {"since": at(12), "until": at(35)}
    graph = nx.read_gexf(written(store, "gexf", tmp_path, **window).path)
    assert graph.nodes["b"]["spells"] == spelled(12, 20, 30, 35)
    assert "x" not in graph
    static = nx.read_graphml(written(store, "graphml", tmp_path, **window).path)
    assert (static.graph["since"], static.graph["until"]) == (iso(at(12)), iso(at(35)))
    told = {name: static.nodes["b"][name] for name in ("first", "last", "total_seconds", "sessions")}
    assert told == {"first": iso(at(12)), "last": iso(at(35)), "total_seconds": 13, "sessions": 2}
    websocket = next(data for *_, data in static.edges(data=True) if data["type"] == "WebSocket")
    assert (websocket["first"], websocket["last"], websocket["total_seconds"]) == (iso(at(12)), iso(at(20)), 8.0)


def test_what_holds_at_the_end_of_the_history_has_no_last(store: peerstore.PeerStore, tmp_path: Path) -> None:
    graph = nx.read_graphml(written(store, "graphml", tmp_path).path)
    assert "last" not in graph.nodes["b"]
    assert graph.nodes["b"]["total_seconds"] == 20
    assert graph.nodes["b"]["sessions"] == 2


@pytest.mark.parametrize("fmt", WRITERS)
def test_a_moment_is_the_presence(store: peerstore.PeerStore, tmp_path: Path, fmt: str) -> None:
    made = written(store, fmt, tmp_path, at=at(5))
    assert made.counts == {"peers": 3, "connections": 2}
    assert sum(made.told) == 5
    assert "spell" not in made.path.read_text()


def test_graphml_at_a_moment(store: peerstore.PeerStore, tmp_path: Path) -> None:
    graph = nx.read_graphml(written(store, "graphml", tmp_path, at=at(5)).path)
    assert graph.graph["at"] == iso(at(5))
    assert graph.nodes["b"] == {
        "label": "b",
        "sdk_version": "5.0.0",
        "peer_metadata/role": "till",
        "peer_metadata/tags~json": '[1,"x"]',
        "is_listed": True,
        "is_observer": False,
        "seen_by~json": '["a"]',
    }
    assert graph.nodes["a"]["label"] == graph.nodes["a"]["device_name"] == "A"
    assert graph.nodes["x"] == {"label": "x", "is_listed": False, "is_observer": False}
    assert graph.edges["a", "x"]["flags~json"] == '["unknown_peer"]'
    assert graph.edges["a", "b"]["listed_by~json"] == '["a","b"]'


def test_netjson_follows_its_schema(store: peerstore.PeerStore, tmp_path: Path) -> None:
    """The rules of the published schema (schema/network-graph.json of netjson/netjson), one by one."""
    for selection in ({}, {"at": at(5), "observer": "a"}, {"at": at(-5)}):
        graph = json.loads(written(store, "netjson", tmp_path, **selection).path.read_text(encoding="utf-8"))
        assert graph["type"] == "NetworkGraph"
        assert all(isinstance(graph[name], str) for name in ("protocol", "version", "metric"))
        assert graph.get("router_id") == selection.get("observer")
        keys = [node["id"] for node in graph["nodes"]]
        assert len(set(keys)) == len(keys)
        assert all(isinstance(node["label"], str) and isinstance(node["properties"], dict) for node in graph["nodes"])
        texts = [dumps(each) for each in graph["links"]]
        assert len(set(texts)) == len(texts)
        for each in graph["links"]:
            assert {each["source"], each["target"]} <= set(keys)
            assert each["cost"] == 1
            assert isinstance(each["properties"], dict)


def test_netjson_keeps_values_as_they_are(tmp_path: Path) -> None:
    with opened() as store:
        given = {"n": 2**64 + 1, "d": {"": 0.5, "a/b": None}, "e": {}, "list": [{"x": 1}]}
        say(store, 0, peer("a", deviceName="\ud800", peerMetadata=given))
        [node] = json.loads(written(store, "netjson", tmp_path).path.read_bytes())["nodes"]
    told = {name: value for name, value in node["properties"].items() if name.startswith("peer_metadata")}
    assert told == {
        "peer_metadata/n": 2**64 + 1,
        "peer_metadata/d/": 0.5,
        "peer_metadata/d/a~1b": None,
        "peer_metadata/e": {},
        "peer_metadata/list": [{"x": 1}],
    }
    assert node["label"] == "\ud800"
    assert node["properties"]["spells"] == [[iso(at(0)), None]]


def test_an_empty_graph_is_one(tmp_path: Path) -> None:
    with opened() as store:
        for fmt in WRITERS:
            made = written(store, fmt, tmp_path)
            assert made.counts == {"peers": 0, "connections": 0}
            READERS[fmt](made.path)


def test_peers_that_differ_in_the_kind_of_a_value(tmp_path: Path) -> None:
    with opened() as store:
        mixed = [1, "1", None]
        others = [
            peer(key, peerMetadata={"m": value, "n": number})
            for key, value, number in zip("abc", mixed, (1, 0.5, 2**70), strict=True)
        ]
        say(store, 0, *others)
        graph = nx.read_graphml(written(store, "graphml", tmp_path).path)
    assert [graph.nodes[key]["peer_metadata/m~json"] for key in "abc"] == ["1", '"1"', "null"]
    assert [graph.nodes[key].get("peer_metadata/n") for key in "abc"] == [1.0, 0.5, None]
    assert graph.nodes["c"]["peer_metadata/n~json"] == str(2**70)


# Names from strangers.


@given(text=any_text | st.sampled_from(NASTY) | st.text("\\u0123ab\x1b\ud800"))
@settings(max_examples=300)
def test_escapes_are_undone(text: str) -> None:
    assert unescaped(escaped(text)) == text
    ET.fromstring(f"<a>{escaped(text).replace('&', '').replace('<', '').replace(']]>', '')}</a>")


def test_nasty_names_survive_in_xml(tmp_path: Path) -> None:
    with opened() as store:
        names = {f"p{number:02}": name for number, name in enumerate(NASTY)}
        said = [peer(key, deviceName=name, peerMetadata={name: name}) for key, name in names.items()]
        said[0]["connections"] = [link(f"\x1b {number}", "p00", key, "\r<&>") for number, key in enumerate(names)]
        say(store, 0, *said)
        for fmt, read in (("graphml", nx.read_graphml), ("gexf", nx.read_gexf)):
            graph = read(written(store, fmt, tmp_path).path)
            for key, name in names.items():
                told = {unescaped(column): value for column, value in graph.nodes[key].items()}
                assert unescaped(told["device_name"]) == name
                assert unescaped(told[f"peer_metadata/{name.replace('~', '~0').replace('/', '~1')}"]) == name
                assert unescaped(told["label"]) == (name or key)
                edge = graph.edges["p00", key]
                assert (unescaped(edge["type"]), unescaped(edge["connection_id"])) == (
                    "\r<&>",
                    f"\x1b {list(names).index(key)}",
                )


def test_nasty_names_are_harmless_in_dot(tmp_path: Path) -> None:
    keys = ["\\", 'a"b', "c\\", "\x1b", "d\\\\", "&amp;", "<b>", "-- e", "\\N"]
    with opened() as store:
        said = [peer(key, deviceName=name) for key, name in zip(keys, NASTY, strict=False)]
        said += [peer(f"x{number:02}", deviceName=name) for number, name in enumerate(NASTY)]
        said[0]["connections"] = [link(f"{number}", keys[0], key, "\r<&>\\") for number, key in enumerate(keys[1:])]
        say(store, 0, *said)
        made = written(store, "dot", tmp_path)
    assert made.counts == {"peers": len(said), "connections": len(keys) - 1}
    text = made.path.read_text(encoding="utf-8")
    assert text.isprintable() or set(text) - {c for c in text if c.isprintable()} <= {"\n"}
    graph = in_dot(made.path)
    assert {key.replace("\\\\", "\\") for key in graph} == {escaped(each["peerKey"]) for each in said}
    assert graph.number_of_edges() == len(keys) - 1
    drawn(made.path)


def test_long_names_are_shortened_in_dot(tmp_path: Path) -> None:
    with opened() as store:
        say(store, 0, peer("a", deviceName="x" * 1_000_000), peer("b", deviceName="B"), peer("c", deviceName="B"))
        text = written(store, "dot", tmp_path).path.read_text(encoding="utf-8")
    assert len(text) < 2000
    assert f'label="{"x" * 10}…{"x" * 21}"' in text
    assert '"B\\nb"' in text  # two of one name are told apart


# DOT.


def in_dot(path: Path) -> nx.MultiGraph:
    """The graph as pydot reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pydot's own
        [graph] = pydot.graph_from_dot_data(path.read_text(encoding="utf-8")) or []
    read = nx.MultiGraph()
    for node in graph.get_nodes():
        if node.get_name() not in ("node", "edge", "graph"):
            read.add_node(_bare(node.get_name()), **node.get_attributes())
    for edge in graph.get_edges():
        read.add_edge(_bare(edge.get_source()), _bare(edge.get_destination()), **edge.get_attributes())
    return read


def _bare(name: Any) -> str:
    text = str(name)
    return text[1:-1].replace('\\"', '"') if text.startswith('"') else text


def drawn(path: Path) -> dict[str, Any]:
    """The graph as Graphviz itself lays it out; it is left out where that is not installed."""
    if shutil.which("dot") is None:
        return {}
    found = subprocess.run(["dot", "-Tjson0", str(path)], capture_output=True, check=True, timeout=60)
    assert found.stderr == b""
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def test_dot_says_what_is_drawn(store: peerstore.PeerStore, tmp_path: Path) -> None:
    say(store, 40, peer("a", AB, deviceName="A", isConnectedToDittoServer=True), peer("b", AB))
    made = written(store, "dot", tmp_path)
    graph = in_dot(made.path)
    assert graph.nodes["a"] == {"label": '"A"', "tooltip": '"a"', "peripheries": '"2"'}
    assert "peripheries" not in graph.nodes["b"]
    assert "dashed" in graph.nodes["x"]["style"]
    looks = {edge["tooltip"]: (edge["color"], edge["style"]) for *_, edge in graph.edges(data=True)}
    assert len(set(looks.values())) == 3
    assert len({style for _, style in looks.values()}) == 3
    layout = drawn(made.path)
    if layout:
        assert [each["label"] for each in layout["objects"]] == ["A", "b", "x"]
        assert len(layout["edges"]) == 3


READERS: dict[str, Callable[[Path], Any]] = {
    "graphml": nx.read_graphml,
    "gexf": nx.read_gexf,
    "netjson": lambda path: json.loads(path.read_bytes()),
    "dot": in_dot,
}


# Against the answers of the store, on worlds.


def expected_attributes(peer: Peer) -> dict[str, Any]:
    """What must be told of a peer: every known member that is something, and all that is in its objects."""
    told: dict[str, Any] = {}

    def tell(path: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, member in value.items():
                tell(f"{path}/{name.replace('~', '~0').replace('/', '~1')}", member)
        elif "/" in path[1:] or value not in (None, {}):
            told[path[1:]] = value

    for name, value in peer.document.items():
        tell(f"/{name}", value)
    return {**told, "os": str(peer.os)} if peer.os is not None else told


OURS = {
    "is_listed",
    "is_observer",
    "label",
    "first",
    "last",
    "total_seconds",
    "sessions",
    "spells",
    "seen_by~json",
    "id",
}


def read_attributes(node: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a peer from a node that networkx read."""
    told = {}
    for name, value in node.items():
        if name not in OURS and not name.endswith("_over_time"):
            text = unescaped(value) if isinstance(value, str) else value
            plain = unescaped(name)
            told[plain.removesuffix("~json")] = json.loads(text) if plain.endswith("~json") else text
    return told


windows = st.sampled_from(
    [
        {},
        {"since": instant(START + STEP), "until": instant(START + 4 * STEP + 1)},
        {"since": instant(START + 2 * STEP)},
        {"until": instant(START + 3 * STEP)},
        {"since": instant(START - HOUR), "until": instant(START + HOUR)},
    ]
)


@pytest.mark.parametrize("engine", ENGINES)
def test_spells_are_the_sessions(engine: str, tmp_path: Path) -> None:
    @tried(engine)
    @given(world=worlds(), window=windows)
    def check(world: World, window: dict[str, datetime]) -> None:
        with recorded(world, engine) as (store, model):
            asked = {**window, **arguments(world)}
            bounds = (window.get("since"), window.get("until"))
            expected: dict[Any, list[tuple[str, str]]] = defaultdict(list)
            low, high = (None if each is None else micros(each) for each in bounds)
            for span in sorted(model.sessions(), key=lambda span: span.start):
                start = span.start if low is None else max(span.start, low)
                ends = [end for end in (span.end, high) if end is not None]
                if not ends or start < min(ends):
                    end = iso(min(ends)) if ends else "None"
                    expected[span.subject].append((iso(start), end))
            graph = nx.read_gexf(written(store, "gexf", tmp_path, **asked).path)
        nodes = {key: node["spells"] for key, node in graph.nodes(data=True) if node["is_listed"]}
        edges = {
            (*sorted((peer1, peer2)), data["type"], data["connection_id"]): data["spells"]
            for peer1, peer2, data in graph.edges(data=True)
        }
        assert nodes | edges == expected

    check()


@pytest.mark.parametrize("fmt", ["graphml", "gexf"])
def test_attributes_are_those_of_the_peers(fmt: str, tmp_path: Path) -> None:
    read = nx.read_graphml if fmt == "graphml" else nx.read_gexf

    @tried("sqlite")
    @given(world=worlds(), moment=st.sampled_from([None, *range(0, 9 * STEP, STEP)]))
    def check(world: World, moment: int | None) -> None:
        with recorded(world, "sqlite") as (store, _):
            asked = {**arguments(world), "at": None if moment is None else instant(START + moment)}
            graph = read(written(store, fmt, tmp_path, **asked).path)
            if asked["at"] is None:
                last = store.last_observed_at()
                peers = [known.peer for known in store.known_peers(last, **arguments(world))] if last else []
            else:
                peers = list(store.presence_at(**asked).peers.values())
        listed = {key: read_attributes(node) for key, node in graph.nodes(data=True) if node["is_listed"]}
        for each in peers:
            if each.peer_key in listed:
                assert listed.pop(each.peer_key) == expected_attributes(each)
        assert listed == {}

    check()


@given(given_metadata=st.lists(st.dictionaries(any_text, values, max_size=3), min_size=1, max_size=4))
@settings(max_examples=30)
def test_any_metadata_is_read_back(given_metadata: list[dict[str, Any]], tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    with opened() as store:
        said = [peer(f"p{number}", peerMetadata=each) for number, each in enumerate(given_metadata)]
        say(store, 0, *said)
        presence = store.presence_at(at(0))
        for fmt, read in (("graphml", nx.read_graphml), ("gexf", nx.read_gexf)):
            graph = read(written(store, fmt, folder).path)
            for key, each in presence.peers.items():
                told = read_attributes(graph.nodes[key])
                assert dumps(told) == dumps(expected_attributes(each))
                assert all(value_at(dict(each.document), f"/{name}") == value for name, value in told.items())


def test_networkx_without_a_file(store: peerstore.PeerStore) -> None:
    with store.snapshot() as snapshot:
        graph = to_networkx(Source(snapshot, Selection(since=at(5), until=at(25))))
        moment = to_networkx(Source(snapshot, Selection(at=at(5))))
        presence = snapshot.presence_at(at(5))
    assert graph.graph == {"since": iso(at(5)), "until": iso(at(25))}
    assert graph.edges["a", "b", ("WebSocket", "2")]["spells"] == [(at(10), at(20))]
    assert graph.nodes["a"]["spells"] == [(at(5), at(25))]
    assert set(moment.edges(keys=True)) == set(presence.to_networkx().edges(keys=True))
    assert moment.nodes["b"]["peer_metadata/tags"] == [1, "x"]
    assert "spells" not in moment.nodes["b"]


@pytest.mark.parametrize("fmt", WRITERS)
def test_the_order_of_recording_makes_no_difference(fmt: str, tmp_path: Path) -> None:
    @settings(parent=tried("sqlite"), max_examples=3)
    @given(world=worlds(), chance=st.randoms(use_true_random=False))
    def check(world: World, chance: Any) -> None:
        with recorded(world, "sqlite") as (store, _):
            expected = written(store, fmt, tmp_path).path.read_bytes()
        first = {each[:3]: each for each in reversed(world.envelopes)}  # of two that contradict, the first one stands
        mixed = list(first.values())
        chance.shuffle(mixed)
        with recorded(World(mixed, world.question), "sqlite") as (store, _):
            assert written(store, fmt, tmp_path).path.read_bytes() == expected

    check()


# What they stand on.


@given(rows=st.lists(st.tuples(any_text, st.integers(), st.none() | any_text), unique_by=lambda row: row[:2]))
def test_sorting_with_little_memory(rows: list[tuple[str, int, str | None]]) -> None:
    with Sorter(run_size=600) as sorter:
        for row in rows:
            sorter.add(row)
        assert list(sorter) == list(sorter) == sorted(rows, key=lambda row: row[:2])


def test_columns_keep_large_integers_exact() -> None:
    columns = Columns([{"n": 2**53 + 1}, {"n": 0.5}])
    assert columns.kinds == {"n~json": "json"}
    assert list(columns.cells({"n": 2**53 + 1})) == [("n~json", str(2**53 + 1))]
    assert Columns([{"n": 2**53 + 1}, {"n": 1}]).kinds == {"n": "integer"}
