"""Ditto's own JSON as an export: a moment, and a window."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject

import peerstore
from peerstore.ditto import GraphReader
from peerstore.exporting.ditto import write
from peerstore.exporting.source import Options, Selection, Source
from tests import strategies
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.worlds import World, recorded, tried, worlds

START = datetime(2026, 7, 8, 18, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def graph(observer: str, *others: str) -> dict[str, Any]:
    peers = [
        {"peerKey": name, "deviceName": f"{name}\x1b\u2028\ud800", "connections": []} for name in (observer, *others)
    ]
    return {"localPeer": peers[0], "remotePeers": peers[1:]}


def written(store: peerstore.PeerStore, path: Path, options: Options | None = None, **selection: Any) -> str:
    """What the export writes, checked against the counts that it tells."""
    told: list[int] = []
    path.write_bytes(b"")
    with store.snapshot() as snapshot:
        counts = write(Source(snapshot, Selection(**selection), options or Options(), told.append), path)
    text = path.read_text(encoding="ascii")
    graphs = 1 if "at" in selection else text.count("\n")
    assert counts == {"graphs": graphs}
    assert sum(told) == graphs
    return text


@pytest.fixture
def store(tmp_path: Path) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(tmp_path / "store.db") as opened:
        for second, name, seen in ((0, "a", "b"), (10, "a", "b"), (20, "a", "c"), (30, "z", "c")):
            opened.record(graph(name, seen), START + second * SECOND, max_silence=100)
        opened.record(None, START + 40 * SECOND, observer="z")
        yield opened


@pytest.mark.parametrize("shape", ["raw-v3", "js-5"])
def test_a_moment_is_one_graph(store: peerstore.PeerStore, tmp_path: Path, shape: Any) -> None:
    text = written(store, tmp_path / "graph.json", Options(shape), at=START + 25 * SECOND)  # one is watching
    assert json.loads(text) == store.presence_at(START + 25 * SECOND).to_ditto(shape)
    assert text == written(store, tmp_path / "again.json", Options(shape), at=START + 26 * SECOND)
    assert text.startswith('{\n  "localPeer": {\n')
    assert text.endswith("\n}\n")
    both = written(store, tmp_path / "graph.json", Options(shape), at=START + 30 * SECOND, observer="z")
    assert json.loads(both)["localPeer"]["deviceName"] == "z\x1b\u2028\ud800"


def test_a_moment_must_be_that_of_one_observer(store: peerstore.PeerStore, tmp_path: Path) -> None:
    with pytest.raises(
        peerstore.QuestionError, match=r"2 were watching at 2026-07-08T18:00:30.000000Z: a, z; choose one"
    ):
        written(store, tmp_path / "x", at=START + 30 * SECOND)
    with pytest.raises(
        peerstore.QuestionError, match=r"nobody was watching at 2026-07-08T17:59:59.000000Z, so there is"
    ):
        written(store, tmp_path / "x", at=START - SECOND)
    with pytest.raises(
        peerstore.QuestionError, match=r"z was not watching at 2026-07-08T18:00:50.000000Z, so there is"
    ):
        written(store, tmp_path / "x", at=START + 50 * SECOND, observer="z")
    with pytest.raises(peerstore.QuestionError, match="nobody was watching"):
        written(store, tmp_path / "x", at=START + 26 * SECOND, max_silence=5)


def test_a_window_is_a_line_a_change(store: peerstore.PeerStore, tmp_path: Path) -> None:
    def lines(**selection: Any) -> list[str]:
        graphs = map(json.loads, written(store, tmp_path / "graphs.ndjson", **selection).splitlines())
        return [peer["peerKeyString"] for each in graphs for peer in each["remotePeers"]]

    assert lines(observer="a") == ["b", "c"]
    assert lines(observer="a", since=START + SECOND) == ["b", "c"]
    assert lines(since=START + 10 * SECOND, until=START + 20 * SECOND) == ["b"]
    assert lines(since=START + 41 * SECOND) == ["c"]  # only a is still watching
    assert lines(until=START) == []
    with pytest.raises(peerstore.QuestionError, match="2 were watching at one time or another: a, z"):
        lines()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_history_gives_the_same_bytes(engine: str, tmp_path: Path) -> None:
    @tried(engine)
    @given(worlds())
    def holds(world: World) -> None:
        turned = world._replace(envelopes=sorted(set_of(world), key=str, reverse=True))
        with recorded(world, engine) as (store, view), recorded(turned, "sqlite") as (other, _):
            for observer in view.said:
                text = written(store, tmp_path / "graphs.ndjson", observer=observer)
                assert text == written(other, tmp_path / "graphs.ndjson", observer=observer)
                for shape in ("raw-v3", "js-5"):
                    text = written(store, tmp_path / "graphs.ndjson", Options(shape), observer=observer)
                    given = [each.graph for each in store.graphs(observer=observer, shape=shape)]
                    assert [json.loads(line) for line in text.splitlines()] == given

    holds()


def set_of(world: World) -> list[Any]:
    """The observations without what is refused as a conflict, which depends on the order."""
    first: dict[tuple[str, int, int], Any] = {}
    for each in world.envelopes:
        first.setdefault((each.observer, each.observed_at, each.sequence), each)
    return list(first.values())


@tried("sqlite")
@given(given_graph=strategies.graphs())
def test_recorded_again_it_is_the_same_graph(
    given_graph: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        expected = GraphReader(strategies.OBSERVER).read(given_graph)
    except peerstore.InvalidGraph:
        reject()  # some generated graphs contradict themselves
    path, url = tmp_path_factory.mktemp("ditto") / "graph.json", fresh_url("sqlite")
    with peerstore.open(url) as store:
        store.record(given_graph, START, observer=strategies.OBSERVER)
        for shape in ("raw-v3", "js-5"):
            read = GraphReader(strategies.OBSERVER).read(json.loads(written(store, path, Options(shape), at=START)))
            assert read == expected
            [line] = written(store, path, Options(shape)).splitlines()
            assert GraphReader(strategies.OBSERVER).read(json.loads(line)) == expected
    drop_url(url)
