"""A history as NDJSON: what is recorded from it is the same history; and copies from store to store."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import peerstore
from peerstore.exporting.formats import writer
from peerstore.exporting.source import Options, Selection, Source
from peerstore.times import instant
from tests.commands import run
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.machine import STEP
from tests.strategies import graphs
from tests.worlds import RECORDED, World, recorded, tried, worlds

NOON = datetime(2026, 7, 8, 12, tzinfo=UTC)
Shape = Literal["raw-v3", "js-5"]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def mesh(*names: str, **fields: Any) -> dict[str, Any]:
    links = [{"id": f"link {name}", "peer1": "till", "peer2": name, "connectionType": "Bluetooth"} for name in names]
    local = {"peerKey": "till", "deviceName": "Till", "connections": links, **fields}
    return {"localPeer": local, "remotePeers": [{"peerKey": name, "deviceName": name} for name in names]}


def exported(store: peerstore.PeerStore, path: Path, selection: Selection | None = None, **options: Any) -> list[bytes]:
    """The lines of an export, without its manifest."""
    path.touch()
    with store.snapshot() as snapshot:
        write = writer("ndjson")
        count = write(Source(snapshot, selection or Selection(), Options(name=path.name, **options)), path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert count == {"observations": len(lines)}
    return lines


@contextmanager
def fresh_store(engine: str) -> Iterator[peerstore.PeerStore]:
    url = fresh_url(engine)
    try:
        with peerstore.open(url, clock=lambda: instant(RECORDED + 100 * STEP)) as store:
            yield store
    finally:
        drop_url(url)


# Round trips.


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_recorded_from_an_export_is_the_same_history(engine: str, tmp_path: Path) -> None:
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}[engine]

    @tried(engine)
    @given(world=worlds(), seed=st.randoms(), shape=st.sampled_from(["raw-v3", "js-5"]))
    def holds(world: World, seed: Any, shape: Shape) -> None:
        with recorded(world, engine) as (store, _), fresh_store(other) as again, fresh_store(engine) as copied:
            lines = exported(store, tmp_path / "x.ndjson", shape=shape)
            shuffled = lines + lines[:2]
            seed.shuffle(shuffled)
            summary = again.record_many(shuffled)
            assert (summary.conflicts, summary.rejected) == (0, 0)
            assert again.content_digest() == store.content_digest()
            assert exported(again, tmp_path / "y.ndjson", shape=shape) == lines
            assert copied.record_from(store).recorded == store.status().observations
            assert copied.content_digest() == store.content_digest()
            assert copied.record_from(again).duplicates == store.status().observations
            assert copied.verify().ok

    holds()


@settings(max_examples=10, phases=(Phase.generate,))
@given(given_graphs=st.lists(graphs(), min_size=2, max_size=8), shape=st.sampled_from(["raw-v3", "js-5"]))
def test_whatever_a_device_says_comes_back(given_graphs: list[Any], shape: Shape) -> None:
    with peerstore.open(":memory:") as store, peerstore.open(":memory:") as again, peerstore.open(":memory:") as copied:
        for second, graph in enumerate(given_graphs):
            try:
                store.record(graph, at(second), observer="o")
            except peerstore.InputError:
                continue
        path = Path(str(again._database.path)).with_name("x.ndjson")
        lines = exported(store, path, shape=shape)
        summary = again.record_many(lines)
        assert (summary.recorded, summary.rejected) == (len(lines), 0)
        assert again.content_digest() == store.content_digest()
        assert exported(again, path, shape=shape) == lines
        copied.record_from(store)
        assert copied.content_digest() == store.content_digest()
        presence = store.presence_at(at(9), observer="o")
        if presence.peers:
            assert json.loads(lines[-1])["graph"] == presence.to_ditto(shape)


@pytest.mark.parametrize("ending", ["ndjson", "ndjson.gz", "ndjson.zst"])
def test_a_compressed_file_is_recorded_as_it_is(tmp_path: Path, ending: str) -> None:
    with peerstore.open(":memory:") as store, peerstore.open(":memory:") as again:
        for second in range(40):
            store.record(mesh("a", "b") if second % 3 else mesh("a"), at(second), max_silence=1.5)
        path = tmp_path / f"x.{ending}"
        path.touch()
        with store.snapshot() as snapshot:
            writer("ndjson")(Source(snapshot, options=Options(name=path.name)), path)
        first = path.read_bytes()
        assert run("--db", str(again._database.path), "record", str(path)).stdout.startswith("recorded 40,")
        assert again.content_digest() == store.content_digest()
        with again.snapshot() as snapshot:
            writer("ndjson")(Source(snapshot, options=Options(name=path.name)), path)
        assert path.read_bytes() == first
        if ending.endswith("gz"):
            assert gzip.decompress(first).count(b"\n") == 40


REAL = [
    pytest.param("nycmesh/snapshots", id="nycmesh"),
    *(
        pytest.param(name, id=name.split("/snapshots")[0], marks=pytest.mark.slow)
        for name in ("freifunk/snapshots", "tor-sample/snapshots", "workplace/collector")
    ),
]


@pytest.mark.parametrize("name", REAL)
def test_real_histories_come_back_from_engine_to_engine(shared: Path, tmp_path: Path, name: str) -> None:
    data = gzip.decompress((shared / f"{name}.ndjson.gz").read_bytes())
    with fresh_store("sqlite") as store, fresh_store("postgresql") as other, fresh_store("sqlite") as again:
        store.record_many(data.splitlines(keepends=True))
        store.export(tmp_path / "x.ndjson")
        with (tmp_path / "x.ndjson").open("rb") as lines:
            assert other.record_many(lines).recorded == store.status().observations
        assert other.content_digest() == store.content_digest()
        assert again.record_from(other).recorded == store.status().observations
        assert again.content_digest() == store.content_digest()
        again.export(tmp_path / "y.ndjson")
        assert (tmp_path / "y.ndjson").read_bytes() == (tmp_path / "x.ndjson").read_bytes()


# The digest.


def test_the_digest_is_of_what_was_said_alone() -> None:
    def digest(*observations: tuple[Any, ...]) -> str:
        with peerstore.open(":memory:") as store:
            for graph, second, extra in observations:
                store.record(graph, at(second), **extra)
            return store.content_digest()

    one: tuple[Any, ...] = (mesh("a"), 0, {})
    other: tuple[Any, ...] = (mesh("a", "b"), 5, {})
    assert digest(one, other) == digest(other, one, one)
    different = {
        digest(),
        digest(one),
        digest(one, other),
        digest((mesh("a", deviceName="Another"), 0, {}), other),
        digest(one, (mesh("a", "b"), 6, {})),
        digest(one, (mesh("a", "b"), 5, {"sequence": 1})),
        digest(one, (mesh("a", "b"), 5, {"max_silence": 5})),
        digest(one, (mesh("a", "b"), 5, {"observer": "x"})),
        digest(one, (None, 5, {"observer": "till"})),
    }
    assert len(different) == 9


# Windows, and what was known when.


def test_a_window_begins_with_what_was_in_force(tmp_path: Path) -> None:
    with peerstore.open(":memory:") as store, peerstore.open(":memory:") as again:
        for second in range(0, 50, 10):
            store.record(mesh("a", *(["b"] if second == 20 else [])), at(second))
        store.record(None, at(25), observer="till")
        lines = exported(store, tmp_path / "x.ndjson", Selection(since=at(28), until=at(40)))
        assert [json.loads(line)["observedAt"][17:19] for line in lines] == ["20", "25", "30"]
        again.record_many(lines)
        for moment in (28, 29.5, 30, 39):
            assert again.presence_at(at(moment)).to_dict() == store.presence_at(at(moment)).to_dict()
        lines = exported(store, tmp_path / "x.ndjson", Selection(at=at(35)))
        assert [json.loads(line)["observedAt"][17:19] for line in lines] == ["30"]
        assert exported(store, tmp_path / "x.ndjson", Selection(observer="nobody")) == []


def test_times_of_recording_are_kept_on_request(store_url: str, tmp_path: Path) -> None:
    now = NOON
    with peerstore.open(store_url, clock=lambda: now) as store, peerstore.open(":memory:") as again:
        store.record(mesh("a"), at(0))
        now = at(3600)
        store.record(mesh("a", "b", "c"), at(-10))
        now = at(7200)
        store.record(mesh("a", "b"), at(5), max_silence=30)
        plain = exported(store, tmp_path / "x.ndjson")
        assert not any(b"recordedAt" in line for line in plain)
        (tmp_path / "y.ndjson").write_bytes(b"".join(exported(store, tmp_path / "x.ndjson", recorded_at=True)))
        given_to = ("--db", str(again._database.path), "record", str(tmp_path / "y.ndjson"))
        assert run(*given_to, "--recorded-at").exit_code == 0
        for known in (-1, 0, 1800, 3600, 3700, 7200, 9000):
            for second in (-10, 0, 5, 100):
                answers = [each.presence_at(at(second), known_at=at(known)).to_dict() for each in (store, again)]
                assert answers[0] == answers[1]
        assert list(store.observation_log()) == list(again.observation_log())
        with peerstore.open(":memory:") as copied:
            copied.record_from(store, keep_recorded_at=True)
            assert list(store.observation_log()) == list(copied.observation_log())
            later = copied.record(mesh("a", "d"), at(20))
            assert later.status == "recorded"
            assert copied.verify().ok


def test_a_time_of_recording_that_has_not_come_is_refused() -> None:
    line = {"observedAt": "2026-01-01T00:00:00Z", "recordedAt": "9999-12-31T23:59:59Z", "graph": mesh("a")}
    with peerstore.open(":memory:", clock=lambda: NOON) as store, peerstore.open(":memory:") as other:
        path = str(Path(str(store._database.path)).with_name("x.ndjson"))
        Path(path).write_text(json.dumps(line) + "\n")
        result = run("--db", str(store._database.path), "record", path, "--recorded-at")
        assert result.exit_code == 1
        assert "has not come yet" in result.stderr
        assert store.status().observations == 0
        other.record(mesh("a"), at(0))
        with pytest.raises(peerstore.InvalidObservation, match="has not come yet"), store.snapshot():
            store.record_from(other, keep_recorded_at=True)


def test_the_clock_goes_on_from_the_latest_time_that_was_kept() -> None:
    clocks = (lambda: NOON, lambda: at(-60))
    with peerstore.open(":memory:", clock=clocks[0]) as store, peerstore.open(":memory:", clock=clocks[1]) as behind:
        store.record(mesh("a"), at(0))
        behind.record_from(store, keep_recorded_at=True)
        behind.record(mesh("a", "b"), at(10))
        first, second = (each.recorded_at for each in behind.observation_log())
        assert first == NOON < second


def test_a_conflict_in_a_copy_is_kept_aside_and_the_first_one_stays() -> None:
    with peerstore.open(":memory:") as one, peerstore.open(":memory:") as other:
        one.record(mesh("a"), at(0))
        other.record(mesh("b"), at(0))
        summary = other.record_from(one)
        assert (summary.recorded, summary.conflicts) == (0, 1)
        [kept] = other.rejects()
        assert (kept.kind, kept.source) == ("conflict", "copy")
        assert set(other.presence_at(at(0)).peers) == {"till", "b"}
        with peerstore.open(":memory:") as third:
            third.record_many([kept.content])
            assert third.content_digest() == one.content_digest()
