"""Real histories against truths that were computed without any database, and real captures of the Ditto SDK.

The data lies beside the checkout (``../shared``); where it does not, these tests are skipped, and the suite says so.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import peerstore
from peerstore.ditto import read_graph
from peerstore.ndjson import open_lines, read_lines
from tests.conftest import drop_url, fresh_url

TOOL = "tools/check_truth.py"
SETS = {
    "collector": ("workplace/collector", "workplace/truth"),
    "observers": ("workplace/observers", "workplace/truth"),
    "nycmesh": ("nycmesh/snapshots", "nycmesh/truth"),
    "tor": ("tor-sample/snapshots", "tor-sample/truth"),
}
STARTED = datetime(2026, 7, 8, 18, tzinfo=UTC)
KEEP_ALIVE = timedelta(seconds=45)


def agrees(shared: Path, url: str, name: str, shuffle: int | None = None) -> None:
    """The tool that holds a store against the truth finds nothing wrong, in a database of its own."""
    data, truth = (str(shared / f"{file}.{kind}.gz") for file, kind in zip(SETS[name], ("ndjson", "json"), strict=True))
    command = [sys.executable, str(shared.parent / TOOL), data, truth, "--db", url]
    command += [] if shuffle is None else ["--shuffle", str(shuffle)]
    command += ["--observers"] if name == "observers" else []
    tested = {**os.environ, "PYTHONPATH": str(Path(peerstore.__file__).parents[1])}
    done = subprocess.run(command, env=tested, capture_output=True, text=True, check=False, timeout=3000)
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert len(said) > 4, done.stdout
    assert all(line.startswith("recorded in") or line.endswith("agree") for line in said), done.stdout


@pytest.mark.parametrize("shuffle", [None, 1], ids=["in order", "shuffled"])
@pytest.mark.parametrize("name", ["nycmesh", "tor"])
def test_small_histories(shared: Path, store_url: str, name: str, shuffle: int | None) -> None:
    agrees(shared, store_url, name, shuffle)


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [2, 3])
@pytest.mark.parametrize("name", ["nycmesh", "tor"])
def test_small_histories_in_other_orders(shared: Path, store_url: str, name: str, shuffle: int) -> None:
    agrees(shared, store_url, name, shuffle)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "name", "shuffle"),
    [
        *product(["sqlite"], ["collector"], [None, 1, 2]),
        *product(["sqlite"], ["observers"], [None, 1]),
        *product(["postgresql"], ["collector", "observers"], [None]),  # in other orders it takes minutes
    ],
    ids=str,
)
def test_large_histories(shared: Path, engine: str, name: str, shuffle: int | None) -> None:
    url = fresh_url(engine)
    agrees(shared, url, name, shuffle)
    drop_url(url)


@pytest.mark.slow
def test_sessions_and_contacts_of_two_weeks(shared: Path, store_url: str) -> None:
    """How often each badge was there, by sessions and by uptimes, and how long pairs were in contact."""
    truth = json.loads(gzip.decompress((shared / "workplace" / "truth.json.gz").read_bytes()))
    with peerstore.open(store_url) as store, open_lines(shared / "workplace" / "collector.ndjson.gz") as source:
        store.record_lines(read_lines(source.stream, source.name))
        sessions = Counter(session.peer_key for session in store.sessions())
        uptimes = {uptime.peer_key: uptime.sessions for uptime in store.uptime()}
        [observer] = store.observer_keys()
        assert sessions == uptimes == truth["sessionCounts"] | {observer: 1}
        contacts: Counter[tuple[str, ...]] = Counter()
        for contact in store.connection_sessions():
            link = contact.connection
            word = link.id.rpartition(":")[2]
            assert contact.end is not None  # the last observation is of nobody
            contacts[link.peer1, link.peer2, word] += (contact.end - contact.start) // timedelta(seconds=1)
        told = {tuple(each["edge"]): each["seconds"] for each in truth["contactSeconds"]}
        assert dict(contacts.most_common(len(told))) == told


def test_seven_meshes_are_recorded_without_a_reject(shared: Path, store_url: str) -> None:
    with peerstore.open(store_url) as store, open_lines(shared / "freifunk" / "snapshots.ndjson.gz") as source:
        summary = store.record_lines(read_lines(source.stream, source.name))
        assert (summary.recorded, summary.rejected, summary.conflicts) == (7, 0, 0)
        assert list(store.rejects()) == []
        truth = json.loads(gzip.decompress((shared / "freifunk" / "truth.json.gz").read_bytes()))
        for summary_of in store.observer_summaries():
            presence = store.presence_at(summary_of.last_observed_at, observer=summary_of.observer)
            assert community(presence.peers.keys() - {summary_of.observer}) in communities(truth)


def community(peers: Any) -> str:
    return json.dumps(sorted(peers))


def communities(truth: Any) -> set[str]:
    """Every list of peers in the truth, wherever it stands."""
    found: set[str] = set()
    waiting = [truth]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            found |= {community(value["peers"])} if isinstance(value.get("peers"), list) else set()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


# What the Ditto SDK emitted.


def graphs(shared: Path) -> list[Path]:
    """Every file that holds a presence graph: all that are no DQL answers and no streams."""
    return [file for file in sorted((shared / "ditto-captures").glob("js-*.json")) if "-dql-" not in file.name]


def test_every_captured_graph_is_read_and_comes_back(shared: Path, store_url: str) -> None:
    files = graphs(shared)
    assert len(files) > 40
    with peerstore.open(store_url) as store:
        for number, file in enumerate(files):
            at = STARTED + timedelta(days=number)
            recorded = store.record(file.read_text(encoding="utf-8"), observed_at=at, observer="recorder")
            assert recorded.status == "recorded", file.name
            presence = store.presence_at(at, observer="recorder")
            assert len(presence.peers) == 1, file.name
            for shape in ("raw-v3", "js-5"):
                again = store.record(presence.to_ditto(shape), observed_at=at, observer="recorder")
                assert again.status == "duplicate", (file.name, shape)


def test_two_shapes_of_one_moment_are_one_graph(shared: Path) -> None:
    folder = shared / "ditto-captures"
    raw, cleaned = (
        read_graph((folder / f"js-5.1.0-lone-{kind}-after-open.json").read_bytes()) for kind in ("raw", "cleaned")
    )
    assert raw == cleaned


@pytest.mark.parametrize("version", ["4.7.0", "4.14.4", "5.1.0"])
def test_a_stream_of_an_observer_has_eight_states_and_no_gap(shared: Path, store_url: str, version: str) -> None:
    text = (shared / "ditto-captures" / f"js-{version}-observe-stream-lone-140s.ndjson").read_text(encoding="utf-8")
    deliveries = [json.loads(line) for line in text.splitlines()]
    assert len(deliveries) == 27
    raw = ""
    with peerstore.open(store_url) as store:
        for delivery in deliveries:
            raw = delivery.get("raw", raw)
            at = STARTED + timedelta(milliseconds=delivery["t_ms"])
            recorded = store.record(raw, observed_at=at, max_silence=KEEP_ALIVE)
            assert recorded.status == "recorded"
            assert (recorded.changes == 0) == delivery["same_as_previous"]
        [observer] = store.observer_summaries()
        assert observer.observations == 27
        check_stream(store, observer)


def check_stream(store: peerstore.PeerStore, observer: peerstore.ObserverSummary) -> None:
    """Eight states; watched from the first delivery until the silence after the last one."""
    end = observer.last_observed_at + KEEP_ALIVE
    over = list(store.presence_over(observer.first_observed_at, end))
    assert len({json.dumps(each.to_dict()["peers"], sort_keys=True) for each in over}) == len(over) == 8
    after = end + timedelta(microseconds=1)
    turns = [(turn.kind, turn.observed_at) for turn in store.changes(kinds=("observer_started", "observer_stopped"))]
    assert turns == [("observer_started", observer.first_observed_at), ("observer_stopped", after)]
    [session] = store.sessions()
    assert (session.start, session.end, session.end_reason) == (observer.first_observed_at, after, "silence")
