"""Graphs given back as an app was given them, and in their rhythm."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

import peerstore
from peerstore.answers.replaying import ObservedGraph
from peerstore.ditto import GraphReader
from peerstore.pacing import in_pieces, paced
from peerstore.times import instant, micros
from tests.commands import envelope, run
from tests.conftest import ENGINES
from tests.machine import ditto, windows
from tests.model import Said, View, freeze
from tests.worlds import World, arguments, recorded, tried, worlds

START = datetime(2026, 7, 8, 18, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ROOT = Path(__file__).parents[1]


def said(second: float, names: list[str] | None, observer: str = "kitchen", silence: float | None = None) -> Any:
    """An observer sees peers of these names, or stops."""
    graph = None
    if names is not None:
        peers = [{"peerKey": name, "deviceName": name, "connections": []} for name in (observer, *names)]
        graph = {"localPeer": peers[0], "remotePeers": peers[1:]}
    limit = {} if silence is None else {"maxSilenceSeconds": silence}
    return {"observed_at": START + second * SECOND, "observer": observer, "graph": graph, **limit}


def told(graphs: Iterator[ObservedGraph]) -> list[tuple[float, str | None]]:
    """When each was observed, and whom it shows."""
    return [
        (
            (each.observed_at - START).total_seconds(),
            None if each.graph is None else "".join(peer["deviceName"] for peer in each.graph["remotePeers"]),
        )
        for each in graphs
    ]


HISTORY = [
    said(0, ["a"]),
    said(10, ["a"]),
    said(20, ["a", "b"]),
    said(30, None),
    said(40, ["a", "b"], silence=5),
    said(45, ["a", "b"], silence=5),
    said(60, ["a", "b"]),
    said(70, ["b"]),
]
EVERY = [(0, "a"), (10, "a"), (20, "ab"), (30, None), (40, "ab"), (45, "ab"), (60, "ab"), (70, "b")]


def test_an_app_is_given_what_changed_and_what_is_there_when_it_begins_to_watch(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record_many(HISTORY)
        assert told(store.graphs()) == [(0, "a"), (20, "ab"), (40, "ab"), (60, "ab"), (70, "b")]
        assert told(store.graphs(every=True)) == EVERY
        assert told(store.graphs(max_silence=timedelta.max)) == [(0, "a"), (20, "ab"), (40, "ab"), (70, "b")]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (5, 20, [(0, "a")]),  # in force when the window begins
        (5, 21, [(0, "a"), (20, "ab")]),
        (10, 20, [(10, "a")]),  # observed at its very beginning
        (35, 40, []),  # had stopped
        (30, 41, [(40, "ab")]),
        (50, 60, [(45, "ab")]),  # silent for exactly its limit: still watching
        (50.000001, 60, []),
        (50.000001, 61, [(60, "ab")]),
        (100, None, [(70, "b")]),
        (20, 20, []),
    ],
)
def test_a_window_begins_with_the_graph_in_force(
    tmp_path: Path, since: float, until: float | None, expected: list[tuple[float, str]]
) -> None:
    with peerstore.open(tmp_path / "store.db") as store:
        store.record_many(HISTORY)
        window = (START + since * SECOND, None if until is None else START + until * SECOND)
        assert told(store.graphs(*window)) == expected
        assert told(store.graphs(*window, observer="kitchen")) == expected


def test_a_graph_is_whole_whatever_was_left_out_before_it(tmp_path: Path) -> None:
    """Nobody was watching when the window begins, and what comes first in it is a stop."""
    with peerstore.open(tmp_path / "store.db") as store:
        store.record_many([said(0, ["a"], silence=5), said(20, None), said(30, ["a"])])
        assert told(store.graphs(since=START + 10 * SECOND)) == [(30, "a")]
        assert told(store.graphs(since=START + 10 * SECOND, every=True)) == [(20, None), (30, "a")]


def test_one_observer_must_be_meant(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        assert list(store.graphs()) == list(store.graphs(observer="never recorded")) == []
        store.record_many([*HISTORY, said(65, ["c"], "till")])
        with pytest.raises(
            peerstore.QuestionError, match=r"2 were watching at one time or another: kitchen, till; .*--obs"
        ):
            list(store.graphs())
        with pytest.raises(peerstore.QuestionError, match=r"2 were watching from 2026-07-08T18:01:30.000000Z"):
            list(store.graphs(since=START + 90 * SECOND))
        assert told(store.graphs(until=START + 65 * SECOND))[0] == (0, "a")
        assert told(store.graphs(observer="till")) == [(65, "c")]
        store.record_many([said(66, [], f"o{number}") for number in range(9)])
        with pytest.raises(
            peerstore.QuestionError, match=r"11 were watching .*: kitchen, o0, o1 and 8 more \(`peerstore observers`\)"
        ):
            list(store.graphs())
        with pytest.raises(peerstore.QuestionError, match="no shape 'xml'"):
            store.graphs(shape="xml")  # type: ignore[arg-type]


def test_as_known_then(tmp_path: Path) -> None:
    now = [START]
    with peerstore.open(tmp_path / "store.db", clock=lambda: now[0]) as store:
        store.record_many([said(0, ["a"]), said(20, ["a"])])
        now[0] += 3600 * SECOND
        store.record_many([said(10, ["b"]), said(30, None)])
        assert told(store.graphs()) == [(0, "a"), (10, "b"), (20, "a")]
        assert told(store.graphs(known_at=START + SECOND)) == [(0, "a")]
        assert told(store.graphs(known_at=START + SECOND, every=True)) == [(0, "a"), (20, "a")]


def test_the_shapes_and_the_envelope(tmp_path: Path) -> None:
    with peerstore.open(tmp_path / "store.db") as store:
        store.record_many([envelope(0, ["till", "kitchen"])])
        [js] = store.graphs(shape="js-5")
        [raw] = store.graphs()
        assert js.graph is not None
        assert js.graph == store.presence_at(raw.observed_at).to_ditto("js-5")
        assert raw.graph == store.presence_at(raw.observed_at).to_ditto()
        assert raw.to_dict() == {
            "observedAt": "2026-07-08T18:00:00.000000Z",
            "observer": js.graph["localPeer"]["peerKey"],
            "maxSilenceSeconds": 45,
            "graph": raw.graph,
        }
        assert json.loads(raw.to_json()) == raw.to_dict()
        assert store.record_many([raw.to_dict(), js.to_json()]).duplicates == 2


# What was given, told by the definition.


def expected(view: View, observer: str, since: int | None, until: int | None, every: bool) -> list[Said]:
    """One by one: was the observer watching just before, and does it say something else?"""
    result: list[Said] = []
    history = view.said[observer]
    opening = None if since is None else view.in_force(observer, since)
    if opening is not None and opening.observed_at < (since or 0) and view.graph(observer, since or 0) is not None:
        result.append(opening)
    if since is not None and until is not None and since >= until:
        return []
    for place, each in enumerate(history):
        if (since is not None and each.observed_at < since) or (until is not None and each.observed_at >= until):
            continue
        before = history[place - 1] if place else None
        watching = before is not None and before.graph is not None
        if before is not None and watching and (limit := view.limit(before)) is not None:
            watching = each.observed_at - 1 - before.observed_at <= limit
        graphs = [said.graph for said in result]
        same = watching and bool(graphs) and freeze(graphs[-1]) == freeze(each.graph)
        if every or (each.graph is not None and not same):
            result.append(each)
    return result


@pytest.mark.parametrize("engine", ENGINES)
def test_by_the_model(engine: str) -> None:
    @tried(engine)
    @given(worlds(), windows)
    def holds(world: World, window: tuple[int | None, int | None]) -> None:
        since, until = window
        with recorded(world, engine) as (store, view):
            for observer in view.said:
                for every in (False, True):
                    scope = {**arguments(world), "observer": observer}
                    begin, end = (None if bound is None else instant(bound) for bound in window)
                    found = list(store.graphs(begin, end, **scope, every=every))
                    wanted = expected(view, observer, since, until, every)
                    assert [(micros(each.observed_at), each.sequence) for each in found] == [
                        (each.observed_at, each.sequence) for each in wanted
                    ]
                    for one, other in zip(found, wanted, strict=True):
                        assert read(one.graph) == read(None if other.graph is None else ditto(other.graph))

    holds()


def read(graph: dict[str, Any] | None) -> object:
    return None if graph is None else GraphReader().read(graph, "x").elements


@pytest.mark.parametrize("engine", ENGINES)
def test_recorded_elsewhere_it_is_the_same_history(engine: str) -> None:
    @tried(engine)
    @given(worlds())
    def holds(world: World) -> None:
        with recorded(world, engine) as (store, view), peerstore.open(":memory:") as other:
            for observer in view.said:
                other.record_many(each.to_dict() for each in store.graphs(observer=observer, every=True))
            for point in view.change_points():
                asked = {"at": instant(point), **arguments(world)}
                assert store.presence_at(**asked).to_dict() == other.presence_at(**asked).to_dict()

    holds()


@given(world=worlds(), size=...)
@tried("sqlite")
def test_pieces_are_the_whole(world: World, size: bool) -> None:
    with recorded(world, "sqlite") as (store, view):
        for observer in view.said:
            for every in (False, True):
                for since in (None, START + 15 * SECOND):

                    def ask(begin: datetime | None, whose: str | None, every: bool = every) -> Iterator[ObservedGraph]:
                        return store.graphs(begin, observer=whose, every=every)

                    whole = list(ask(since, observer))
                    assert list(in_pieces(ask, since, observer, 1 + size)) == whole


# The rhythm.


class Clock:
    """A clock that goes on only while somebody waits, and with what each graph takes."""

    def __init__(self, late: float = 0) -> None:
        self.now = 1000.0
        self.late = late

    def wait(self, seconds: float) -> None:
        assert 0 < seconds <= 3600
        self.now += seconds

    def run(self, seconds: list[float], **options: Any) -> list[float]:
        graphs = [ObservedGraph("o", START + second * SECOND, 0, "{}") for second in seconds]
        found = []
        for _ in paced(graphs, options.pop("speed", 1), self.wait, lambda: self.now, **options):
            found.append(round(self.now - 1000, 6))
            self.now += self.late
        return found


def test_each_comes_when_its_time_has_come() -> None:
    assert Clock().run([0, 1, 1, 31]) == [0, 1, 1, 31]
    assert Clock().run([0, 1, 1, 31], speed=60) == [0, 0.016667, 0.016667, 0.516667]
    assert Clock().run([0, 1], speed=0.5) == [0, 2]
    assert Clock().run([0, 10_000]) == [0, 10_000]  # in naps
    assert Clock().run([]) == []


def test_long_waits_are_cut() -> None:
    assert Clock().run([0, 1, 100, 102], longest_wait=5 * SECOND) == [0, 1, 6, 8]
    assert Clock().run([0, 1, 601], speed=60, longest_wait=5 * SECOND) == [0, 0.016667, 5.016667]
    assert Clock().run([0, 1, 601], longest_wait=timedelta(0)) == [0, 0, 0]


def test_one_from_before_the_window_counts_as_of_its_beginning() -> None:
    assert Clock().run([0, 110, 111], since=START + 100 * SECOND) == [0, 10, 11]


def test_who_is_late_catches_up() -> None:
    assert Clock(late=3).run([0, 1, 2, 20]) == [0, 3, 6, 20]


# The command.


@pytest.fixture
def kitchen(tmp_path: Path) -> str:
    path = str(tmp_path / "kitchen.db")
    with peerstore.open(path) as store:
        store.record_many(HISTORY)
    return path


def test_the_command(kitchen: str) -> None:
    result = run("--db", kitchen, "replay", "--speed", "max")
    assert result.stderr == ""
    graphs = [json.loads(line) for line in result.stdout.splitlines()]
    assert [[peer["deviceName"] for peer in graph["remotePeers"]] for graph in graphs] == [
        *(["a"], ["a", "b"], ["a", "b"], ["a", "b"], ["b"])
    ]
    assert run("--db", kitchen, "replay", "--speed", "1e9").stdout == result.stdout
    assert run("--db", kitchen, "replay", "--longest-wait", "0").stdout == result.stdout
    shaped = run(
        "--db", kitchen, "replay", "--speed", "max", "--shape", "js-5", "--since", "2026-07-08T18:01:10Z"
    ).stdout
    assert json.loads(shaped)["localPeer"]["peerKey"] == "kitchen"


def test_the_envelopes_are_recorded_again(kitchen: str, tmp_path: Path) -> None:
    given = run("--db", kitchen, "replay", "--speed", "max", "--envelope").stdout
    assert [json.loads(line)["graph"] is None for line in given.splitlines()] == [who is None for _, who in EVERY]
    other = str(tmp_path / "other.db")
    assert "recorded 8" in run("--db", other, "record", "-", input=given).stdout
    assert run("--db", other, "replay", "--speed", "max", "--envelope").stdout == given


def test_wrong_usage(kitchen: str) -> None:
    for speed in ("0", "-1", "nan", "inf", "fast", "1e999"):
        result = run("--db", kitchen, "replay", "--speed", speed)
        assert result.exit_code == 2
        assert "is no speed: give a number above 0, as 60 for an hour in a minute, or max" in result.stderr
    with peerstore.open(kitchen) as store:
        store.record_many([said(0, [], "till")])
    result = run("--db", kitchen, "replay", "--speed", "max")
    assert result.exit_code == 2
    assert "2 were watching at one time or another: kitchen, till; choose one with" in result.stderr


def test_nothing_to_replay(kitchen: str) -> None:
    result = run("--db", kitchen, "replay", "--until", "2020-01-01T00:00:00Z")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "there is no graph to replay: nobody was watching\n"


def test_a_terminal_is_told_what_comes(kitchen: str) -> None:
    ours, theirs = pty.openpty()
    with closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
        command = [sys.executable, "-m", "peerstore", "--db", kitchen, "replay", "--speed", "700"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, cwd=ROOT, check=True)
        os.close(theirs)
        shown = terminal.read(500).decode()
    assert shown == (
        "replaying what kitchen saw from 2026-07-08T18:00:00Z to 2026-07-08T18:01:10Z: 8 observations, in at most"
        " 100 ms\r\n"
    )
    assert len(done.stdout.splitlines()) == 5


def test_whoever_reads_gets_each_line_at_once_and_may_go_away(kitchen: str) -> None:
    command = [sys.executable, "-m", "peerstore", "--db", kitchen, "replay", "--speed", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"remotePeers" in process.stdout.readline()  # while the next one is a second away
        process.stdout.close()
        assert process.wait() == 141
        assert process.stderr.read() == b""


def test_an_interruption_ends_it(kitchen: str) -> None:
    command = [sys.executable, "-m", "peerstore", "--db", kitchen, "replay"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(2)
        assert process.wait() == 130
        assert process.stderr.read() == b"interrupted\n"


def test_a_long_replay_holds_no_snapshot(kitchen: str) -> None:
    """What is recorded meanwhile is replayed too, once it is reached."""
    with peerstore.open(kitchen) as store:

        def ask(begin: datetime | None, whose: str | None) -> Iterator[ObservedGraph]:
            return store.graphs(begin, observer=whose)

        graphs = in_pieces(ask, None, None, size=2)
        assert told(iter([next(graphs)])) == [(0, "a")]
        store.record_many([said(80, ["c"])])
        assert told(graphs)[-1] == (80, "c")
