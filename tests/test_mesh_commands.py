"""``cloud``, ``islands``, ``cuts``, ``path`` and ``reach`` on the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import peerstore
from tests.commands import answer, run
from tests.test_shape import at, graph

T0, T12 = "2026-07-08T12:00:00Z", "2026-07-08T12:00:12Z"


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a-b-c with the cloud over b, and over a as well a-d; then c is apart; then nobody watches; then all is well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEERSTORE_DB", raising=False)
    with peerstore.open("peerstore.db") as store:
        store.record(graph("abcd", "ab", "bc", "bcB", "ad", "dc", cloud="b"), at(0), max_silence=20)
        store.record(graph("abcd", "ab", "ad", cloud="b"), at(10), max_silence=20)
        store.record(graph("abcd", "ab", "bc", "ad"), at(90), max_silence=20)


def printed(*arguments: str, warning: str = "") -> list[str]:
    """What is printed for people, line by line: the words alone, without the rules of tables."""
    result = run(*arguments)
    assert result.exit_code == 0
    assert warning in result.stderr
    assert bool(warning) == bool(result.stderr)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    return [line for line in lines if not set(line) <= {"-", " "}]


def rows_of(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--csv")
    assert result.exit_code == 0
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_cloud() -> None:
    assert printed("cloud", warning="nobody was watching for 59.9 s of this window") == [
        "peer start end lasted ended by",
        "b 2026-07-08T12:00:00Z 2026-07-08T12:00:30.000001Z 30 s silence",
    ]
    assert printed("cloud", "c", "--until", T12, warning="nobody had a link to the cloud") == []
    [row] = rows_of("cloud", "b")
    assert (row["peer_key"], row["duration_seconds"], row["end_reason"]) == ("b", "30.000001", "silence")


def test_cloud_at_a_moment() -> None:
    headline, _, *rows = printed("cloud", "--at", T0)
    assert headline.endswith(": 1 bridge to the cloud, 4 peers with the cloud, 0 without; 1 of 1 observer watching")
    assert rows == ["b 0 b 1 1 b", "a 1 b 1 1 a - b", "c 1 b 1 1 c - b", "d 2 b 1 2 d - a - b"]
    assert printed("cloud", "d", "--at", T0)[-3:] == ["Shortest paths", "d - a - b", "d - c - b"]
    assert "c cut off 0" in printed("cloud", "--at", T12)
    document = answer("cloud", "d", "--at", T0)
    assert (document["bridges"], document["cut_off"]) == (["b"], [])
    assert [route["paths"] for route in document["routes"]] == [[["d", "a", "b"], ["d", "c", "b"]]]
    lines = run("cloud", "--at", T0, "--ndjson").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["observer", *["route"] * 4]


def test_cloud_over_time() -> None:
    shown = printed("cloud", "--over", "--until", "2026-07-08T12:01:45Z")
    assert [line.split()[-1] for line in shown] == ["bridges", "b", "(unobserved)", "(none)"]
    assert [row["bridges"] for row in answer("cloud", "--over")] == [["b"], []]


def test_islands() -> None:
    assert printed("islands", warning="nobody was watching") == [
        "time change islands who remarks",
        "2026-07-08T12:00:10Z split 4 -> 3 + 1 c",
        "2026-07-08T12:01:30Z merged 3 + 1 -> 4 c across gap",
    ]
    assert [row["kind"] for row in answer("islands", "c", "--members")] == ["joined", "split", "merged"]
    assert printed("islands", "--at", T12) == [
        "2026-07-08T12:00:12Z: 2 islands of 4 peers; 1 of 1 observer watching",
        "size connections bridges to the cloud peers",
        "3 2 b a, b, d",
        "1 0 (none) c",
    ]
    assert printed("islands", "c", "--at", T12)[-3:] == ["Peers", "peer", "c"]
    assert [row["size"] for row in rows_of("islands", "c", "--at", T12) if row["kind"] == "island"] == ["1"]


def test_cuts() -> None:
    assert printed("cuts", T12) == [
        "2026-07-08T12:00:12Z: 1 cut peer, 2 cut links; 1 of 1 observer watching",
        "Peers",
        "if this leaves lost who",
        "a 1 d",
        "Connections",
        "if this breaks type lost who",
        "a - b AccessPoint 1 b",
        "a - d AccessPoint 1 d",
    ]
    assert [row["kind"] for row in rows_of("cuts", T12)] == ["observer", "cut_peer", "cut_link", "cut_link"]
    assert [cut["lost"] for cut in answer("cuts", T12)["peers"]] == [[["d"]]]


def test_a_path() -> None:
    assert printed("path", "b", "d", "--at", T0) == [
        "2026-07-08T12:00:00Z: b and d were 2 hops apart (2 shortest paths); 1 of 1 observer watching",
        "over path",
        "AccessPoint b - a - d",
        "AccessPoint/Bluetooth - AccessPoint b - c - d",
    ]
    assert "c and d were in two islands" in printed("path", "c", "d", "--at", T12)[0]
    assert [row["state"] for row in answer("path", "c", "d")] == ["connected", "apart", "unobserved"]
    assert [line.split()[-1] for line in printed("path", "c", "d")] == ["path", "d", "apart", "unobserved"]
    ways = [row for row in rows_of("path", "b", "d", "--at", T0) if row["kind"] == "way"]
    assert json.loads(ways[0]["peers"]) == ["b", "a", "d"]


def test_reach() -> None:
    assert printed("reach", "b", T12) == [
        "2026-07-08T12:00:12Z: 1 direct, 1 through others, 1 out of reach; 1 of 1 observer watching",
        "peer hops how",
        "b 0 itself",
        "a 1 direct",
        "d 2 through others",
        "c out of reach",
    ]
    found = {row["peer_key"]: row["hops"] for row in answer("reach", "b", T12)["hops"]}
    assert found == {"a": 1, "b": 0, "c": None, "d": 2}
    assert [row["hops"] for row in rows_of("reach", "b", T12)] == ["", "1", "0", "", "2"]


@pytest.mark.parametrize(
    "command", [("cloud", "--at"), ("islands", "--at"), ("cuts",), ("path", "a", "b", "--at"), ("reach", "a")]
)
def test_where_nobody_watched_the_answer_says_so(command: tuple[str, ...]) -> None:
    for moment, words in (("2026-07-08T11:00:00Z", "by then"), ("2026-07-08T12:01:00Z", "unknown, not absent")):
        shown = run(*command, moment)
        assert shown.stdout.startswith("nobody was watching at")
        assert words in shown.stdout
        assert answer(*command, moment)["watched"] is False


@pytest.mark.parametrize(
    "words",
    [
        ("cloud", "--at", T0, "--over"),
        ("cloud", "--at", T0, "--since", T0),
        ("cloud", "a", "--over"),
        ("islands", "--at", T0, "--members"),
        ("islands", "--at", T0, "--until", T0),
        ("path", "a", "b", "--at", T0, "--since", T0),
    ],
)
def test_a_moment_and_a_window_exclude_each_other(words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2
