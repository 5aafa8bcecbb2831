"""Coverage, clocks and disagreements told by hand: the edges, and what the commands print."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import peerstore
from peerstore.demo import demo_observations
from tests.commands import answer, lines, run

START = datetime(2026, 7, 8, 14, 0, tzinfo=UTC)
LIMIT = timedelta(seconds=45)
TICK = timedelta(microseconds=1)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def peer(key: str, *links: dict[str, str], **attributes: Any) -> dict[str, Any]:
    return {"peerKeyString": key, "deviceName": key, "connections": list(links), **attributes}


def link(one: str, other: str) -> dict[str, str]:
    return {"id": f"{one}-{other}", "peer1": one, "peer2": other, "connectionType": "Bluetooth"}


def graph(local: str, *remotes: str | dict[str, Any], **attributes: Any) -> dict[str, Any]:
    peers = [each if isinstance(each, dict) else peer(each) for each in remotes]
    return {"localPeer": peer(local, **attributes), "remotePeers": peers}


@pytest.fixture
def store(store_url: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url) as opened:
        yield opened


# Coverage.


@pytest.fixture
def watched(store: peerstore.PeerStore) -> peerstore.PeerStore:
    """a watches from 0 s, is silent from 75 s to 200 s, and stops at 240 s; b watches from 60 s to 100 s, and once
    more, without a limit, from 300 s on."""
    for second in (0, 10, 30, 200, 210):
        store.record(graph("a"), at(second), max_silence=LIMIT)
    store.record(None, at(240), observer="a")
    store.record(graph("b"), at(60), max_silence=LIMIT)
    store.record(None, at(100), observer="b")
    store.record(graph("b"), at(300))
    store.record(graph("b"), at(500))
    return store


def test_spans_are_whole_and_count_what_was_said_in_them(watched: peerstore.PeerStore) -> None:
    gone = at(75) + TICK
    spans = [
        ("a", at(0), gone, "silence", 3, timedelta(seconds=20)),
        ("a", at(200), at(240), "stopped", 2, timedelta(seconds=30)),
        ("b", at(60), at(100), "stopped", 1, timedelta(seconds=40)),
        ("b", at(300), None, None, 2, timedelta(seconds=200)),
    ]

    def told(**asked: Any) -> list[tuple[Any, ...]]:
        return [
            (each.observer, each.start, each.end, each.end_reason, each.observations, each.longest_silence)
            for each in watched.coverage(**asked)
        ]

    assert told() == spans
    assert told(observer="b") == spans[2:]
    assert told(since=at(70), until=at(72)) == [spans[0], spans[2]]
    assert told(since=gone, until=at(100)) == [spans[2]]
    assert told(since=at(75), until=at(75)) == [], "an empty window holds nothing"
    assert told(since=at(1000)) == [spans[3]]
    assert told(observer="nobody-known") == []


def test_a_span_that_began_long_before_the_window_is_whole(store: peerstore.PeerStore) -> None:
    store.record(graph("a"), at(-86_400 * 400), max_silence=86_400 * 500)
    store.record(None, at(-86_400 * 399), observer="a")
    for day in range(-300, 1, 20):
        store.record(graph("a"), at(86_400 * day), max_silence=86_400 * 30)
    for limit in (None, timedelta(days=21)):
        [span] = store.coverage(since=at(-10), until=at(0), max_silence=limit)
        assert (span.start, span.observations) == (at(-86_400 * 300), 16)


def test_one_observation_has_no_silence(store: peerstore.PeerStore) -> None:
    store.record(graph("a"), at(0), max_silence=LIMIT)
    [span] = store.coverage()
    assert (span.end, span.observations, span.longest_silence) == (at(45) + TICK, 1, None)
    assert span.to_dict()["longest_silence_seconds"] is None
    assert list(store.coverage_shares()) == [], "a single instant is no window"
    [share, _] = store.coverage_shares(since=at(0), until=at(90))
    assert (share.watched, share.unobserved, share.spans) == (LIMIT + TICK, LIMIT - TICK, 1)
    assert share.share == pytest.approx(0.5)


def told_gaps(store: peerstore.PeerStore, *asked: Any, **named: Any) -> list[tuple[Any, ...]]:
    return [(gap.observer, gap.start, gap.end, gap.reason) for gap in store.coverage_gaps(*asked, **named)]


def test_gaps_of_each_observer_and_of_all(watched: peerstore.PeerStore) -> None:
    gone = at(75) + TICK
    of_a = [("a", gone, at(200), "silence"), ("a", at(240), None, "stopped")]
    of_b = [("b", at(100), at(300), "stopped")]
    of_all = [(None, at(100), at(200), "stopped"), (None, at(240), at(300), "stopped")]
    assert told_gaps(watched) == [*of_a, *of_b, *of_all]
    assert told_gaps(watched, of="nobody") == of_all
    assert told_gaps(watched, of="observers") == [*of_a, *of_b]
    assert told_gaps(watched, observer="b") == of_b
    assert told_gaps(watched, since=at(150), until=at(160)) == [of_a[0], *of_b, (None, at(150), at(160), None)]
    assert told_gaps(watched, since=at(150), until=at(150)) == []
    assert told_gaps(watched, since=at(250), until=at(260), of="observers") == [of_a[1], *of_b]
    [open_gap] = [gap for gap in watched.coverage_gaps(observer="a") if gap.end is None]
    assert open_gap.duration is None
    assert open_gap.to_dict()["duration_seconds"] is None


def test_a_silence_is_told_where_a_length_is_asked_for_though_the_state_holds(watched: peerstore.PeerStore) -> None:
    quiet = ("b", at(300), at(500), "quiet")
    assert quiet in told_gaps(watched, timedelta(seconds=199))
    assert quiet not in told_gaps(watched, timedelta(seconds=200)), "longer than it, not as long as it"
    assert told_gaps(watched, 199, observer="b", since=at(400), until=at(401)) == [quiet]
    assert told_gaps(watched, 199, observer="b", since=at(500), until=at(600)) == []
    [again] = told_gaps(watched, observer="b", since=at(350), until=at(501), max_silence=150)
    assert again == ("b", at(450) + TICK, at(500), "silence")


def test_a_stop_marker_ends_a_silence_too(store: peerstore.PeerStore) -> None:
    store.record(graph("a"), at(0))
    store.record(None, at(90), observer="a")
    assert told_gaps(store, 80, "observers") == [("a", at(0), at(90), "quiet"), ("a", at(90), None, "stopped")]


def test_no_gap_lies_ahead(store_url: str) -> None:
    with peerstore.open(store_url, clock=lambda: at(60)) as store:
        store.record(graph("a"), at(30), max_silence=LIMIT)
        assert told_gaps(store) == []
        gone = at(75) + TICK
        assert told_gaps(store, until=at(76)) == [("a", gone, None, "silence"), (None, gone, at(76), "silence")]


def test_coverage_as_known_before_a_late_upload(store_url: str) -> None:
    now = [at(1000)]
    with peerstore.open(store_url, clock=lambda: now[0]) as store:
        store.record(graph("a"), at(0), max_silence=LIMIT)
        store.record(graph("a"), at(80), max_silence=LIMIT)
        now[0] = at(2000)
        store.record(graph("a"), at(40), max_silence=LIMIT)
        then: dict[str, Any] = {"known_at": at(1500)}
        assert [span.observations for span in store.coverage()] == [3]
        assert [span.observations for span in store.coverage(**then)] == [1, 1]
        last = ("a", at(125) + TICK, None, "silence")
        assert told_gaps(store, of="observers") == [last]
        assert told_gaps(store, of="observers", **then) == [("a", at(45) + TICK, at(80), "silence"), last]
        assert told_gaps(store, 60, "observers", max_silence=timedelta.max, **then) == [("a", at(0), at(80), "quiet")]
        [share, anybody] = store.coverage_shares(**then)
        assert share.watched == anybody.watched == LIMIT + TICK


def test_an_empty_store_answers_nothing(store: peerstore.PeerStore) -> None:
    assert not [*store.coverage(), *store.coverage_gaps(10), *store.coverage_shares()]
    assert not [*store.clock_skew(), *store.clock_skew("a"), *store.disagreements()]
    assert not store.disagreements_at(at(0))
    assert not store.disagreements_at(at(0)).watched


def test_questions_that_make_no_sense_are_refused_at_once(store: peerstore.PeerStore) -> None:
    with pytest.raises(peerstore.QuestionError, match="before it begins"):
        store.coverage(since=at(10), until=at(0))
    with pytest.raises(peerstore.QuestionError, match="'observers' or of 'nobody'"):
        store.coverage_gaps(of="everybody")  # type: ignore[arg-type]
    with pytest.raises(peerstore.InvalidTime, match="negative"):
        store.coverage_gaps(-1)
    with pytest.raises(peerstore.QuestionError, match="within must be longer than nothing"):
        store.clock_skew(within=0)
    with pytest.raises(peerstore.QuestionError, match="the kinds are peer, attribute, connection, listing"):
        store.disagreements(kinds=["quarrel"])


# Clocks.


def changing(offsets: dict[str, float], changes: int, jitter: float, within: float = 30) -> Iterator[dict[str, Any]]:
    """Observers that report the same changes by their own clocks, each a little late."""
    chance = random.Random(3)
    present: set[str] = set()
    for step in range(changes):
        present ^= {f"p{chance.randrange(50)}"}
        for observer, offset in offsets.items():
            yield {
                "observed_at": at(step * within + offset + chance.uniform(0, jitter)),
                "graph": graph(observer, *sorted(present)),
                "observer": observer,
            }


def test_clocks_that_differ_are_found_out(store: peerstore.PeerStore) -> None:
    store.record_many(changing({"a": 0, "b": 7, "c": -4.5}, 60, 1))
    found = {(each.observer, each.reference): each for each in store.clock_skew()}
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair, offset in ((("a", "b"), -7), (("a", "c"), 4.5), (("b", "c"), 11.5)):
        assert found[pair].offset.total_seconds() == pytest.approx(offset, abs=0.25)
        assert timedelta(0) < found[pair].spread < timedelta(seconds=0.6)
        assert 30 <= found[pair].samples < 60
    against_b = list(store.clock_skew("b"))
    assert [(each.observer, each.reference) for each in against_b] == [("a", "b"), ("c", "b")]
    assert [each.offset for each in against_b] == [found["a", "b"].offset, -found["b", "c"].offset]
    assert next(store.clock_skew(within=5)).reference == "c", "an offset beyond the distance allowed is not found"
    assert list(store.clock_skew()) == list(found.values()), "the same question, the same answer"
    assert list(store.clock_skew("unheard-of")) == []


def test_a_third_of_wild_reports_moves_no_clock(store: peerstore.PeerStore) -> None:
    observations = list(changing({"a": 0, "b": 2}, 90, 0.1))
    for number, each in enumerate(observations):
        if each["observer"] == "b" and number % 3 == 0:
            each["observed_at"] += timedelta(seconds=20)
    store.record_many(observations)
    [skew] = store.clock_skew()
    assert skew.offset.total_seconds() == pytest.approx(-2, abs=0.1)


def test_what_an_observer_finds_when_it_begins_to_watch_is_no_report(store: peerstore.PeerStore) -> None:
    peers = [f"p{number}" for number in range(5)]
    store.record(graph("a"), at(0))
    store.record(graph("a", *peers), at(10))
    store.record(graph("b", *peers), at(12), max_silence=LIMIT)
    assert list(store.clock_skew(within=20)) == []
    store.record(graph("a"), at(100))
    store.record(graph("b"), at(101), max_silence=LIMIT)
    assert list(store.clock_skew(within=20)) == [], "b was silent for too long, and saw them gone when it came back"
    store.record(graph("a", *peers), at(110))
    store.record(graph("b", *peers), at(113), max_silence=LIMIT)
    [skew] = store.clock_skew(within=20)
    assert (skew.offset, skew.samples) == (timedelta(seconds=-3), 5)


def test_what_flaps_tells_nothing_of_a_clock(store: peerstore.PeerStore) -> None:
    for step in range(40):
        for observer, offset in (("a", 0), ("b", 12)):
            store.record(graph(observer, *(["p"] if step % 2 else [])), at(step * 10 + offset))
    assert list(store.clock_skew()) == []


# Disagreements.


def told(each: peerstore.Disagreement) -> tuple[Any, ...]:
    thing = each.peer_key if each.connection is None else (each.connection.peer1, each.connection.peer2)
    return (each.kind, thing, each.path or each.listed_by, each.seen_by, each.not_seen_by)


def test_a_peer_that_some_see_and_others_do_not(store: peerstore.PeerStore) -> None:
    for observer in ("a", "b", "c"):
        store.record(graph(observer, *({"a", "b", "c", "k"} - {observer})), at(0))
    store.record(graph("a", "b", "c"), at(10))
    store.record(graph("b", "a", "c"), at(10.5))
    store.record(graph("c", "a", "b"), at(50))
    [late] = store.disagreements()
    assert told(late) == ("peer", "k", None, ("c",), ("a", "b"))
    assert (late.start, late.end, late.end_reason) == (at(10), at(50), "agreed")
    [now] = store.disagreements_at(at(10.2))
    assert told(now) == ("peer", "k", None, ("b", "c"), ("a",))
    assert (now.start, now.end, now.duration) == (None, None, None)
    assert "start" not in now.to_dict()
    assert not store.disagreements_at(at(50)), "at the instant of the last report they agree"
    assert len(store.disagreements_at(at(50) - TICK)) == 1


def test_a_window_cuts_what_held_before_it(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "b"), at(0))
    store.record(graph("b", "a", "k"), at(10))
    [whole] = store.disagreements()
    assert (whole.start, whole.end, whole.held_before, whole.end_reason) == (at(10), None, False, None)
    [cut] = store.disagreements(since=at(20), until=at(30))
    assert (cut.start, cut.end, cut.held_before, cut.duration) == (at(20), None, True, None)
    [at_its_start] = store.disagreements(since=at(10), until=at(30), longer_than=19)
    assert (at_its_start.start, at_its_start.held_before) == (at(10), False)
    assert list(store.disagreements(since=at(10), until=at(30), longer_than=20)) == []
    assert list(store.disagreements(until=at(10))) == []
    assert list(store.disagreements(since=at(20), until=at(20))) == []


def test_who_stops_watching_agrees_to_nothing(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "b"), at(0))
    store.record(graph("b", "a", "k"), at(0), max_silence=LIMIT)
    store.record(graph("c", "a", "b", "k", "m"), at(10))
    store.record(None, at(20), observer="c")
    found = {told(each)[1]: (each.end, each.end_reason) for each in store.disagreements()}
    assert found["m"] == found["c"] == (at(20), "stopped")
    assert found["k"] == (at(45) + TICK, "silence")
    assert not store.disagreements_at(at(100)), "a alone is left"


def test_a_stop_marker_counts_before_a_silence_of_the_same_instant(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "k"), at(0), max_silence=LIMIT)
    store.record(graph("b", "a"), at(0))
    store.record(None, at(45) + TICK, observer="b")
    found = {told(each)[1]: (each.end, each.end_reason) for each in store.disagreements()}
    assert found == dict.fromkeys(("b", "k"), (at(45) + TICK, "stopped"))


def test_values_that_differ_are_told_by_their_paths(store: peerstore.PeerStore) -> None:
    mine = {"os": "Linux", "peerMetadata": {"role": "till", "n": {"a/b": 1}}, "isCompatible": True}
    theirs = {"os": "Linux", "peerMetadata": {"role": "self-checkout", "n": {}}, "isCompatible": False}
    store.record(graph("a", peer("k", **mine)), at(0))
    store.record(graph("b", "a", peer("k", **theirs)), at(0))
    store.record(graph("c", "a", peer("k")), at(0))
    found = list(store.disagreements_at(at(1), "k", ["attribute"]))
    assert [(each.path, each.values) for each in found] == [
        ("/os", ((peerstore.ABSENT, ("c",)), ("Linux", ("a", "b")))),
        (
            "/peer_metadata",
            (
                (peerstore.ABSENT, ("c",)),
                ({"n": {"a/b": 1}, "role": "till"}, ("a",)),
                ({"n": {}, "role": "self-checkout"}, ("b",)),
            ),
        ),
        ("/peer_metadata/n/a~1b", ((peerstore.ABSENT, ("b", "c")), (1, ("a",)))),
        ("/peer_metadata/role", ((peerstore.ABSENT, ("c",)), ("self-checkout", ("b",)), ("till", ("a",)))),
    ], "is_compatible is relative to the observer"
    assert found[0].to_dict()["values"][0] == {"value": {"absent": True}, "observers": ["c"]}
    assert found[0].seen_by == ("a", "b", "c")


def test_an_observer_that_joins_settles_nothing(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "b", peer("k", peerMetadata={"role": "till"})), at(0))
    store.record(graph("b", "a", peer("k", peerMetadata={"role": "hub"})), at(0))
    store.record(graph("c", "a", "b", peer("k")), at(10))
    store.record(None, at(15), observer="c")
    store.record(graph("b", "a", peer("k", peerMetadata={"role": "till"})), at(20))
    roles = [each for each in store.disagreements(peer="k") if each.path == "/peer_metadata/role"]
    assert [(each.start, each.end, each.end_reason) for each in roles] == [(at(0), at(20), "agreed")]


def test_each_observer_stands_where_it_stood_for_longest(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "b", "k"), at(0))
    store.record(graph("b", "a"), at(0))
    store.record(graph("c", "a", "b", "k"), at(0))
    store.record(graph("c", "a", "b"), at(30))
    store.record(graph("c", "a", "b", "k"), at(40))
    store.record(graph("b", "a", "k"), at(100))
    [found] = [each for each in store.disagreements(until=at(200)) if each.peer_key == "k"]
    assert (found.seen_by, found.not_seen_by) == (("a", "c"), ("b",))
    [equal] = [each for each in store.disagreements(since=at(20), until=at(40)) if each.peer_key == "k"]
    assert (equal.seen_by, equal.not_seen_by) == (("a", "c"), ("b",)), "as long on both: where it stood first"
    [left] = [each for each in store.disagreements(since=at(25), until=at(40)) if each.peer_key == "k"]
    assert (left.seen_by, left.not_seen_by) == (("a",), ("b", "c"))


def test_a_connection_listed_by_one_end_needs_one_view(store: peerstore.PeerStore) -> None:
    both = link("k", "m")
    store.record(graph("a", peer("k", both), peer("m", both)), at(0))
    store.record(graph("a", peer("k", both), peer("m")), at(10))
    store.record(graph("a", peer("k", both)), at(20))
    store.record(graph("a", peer("k", both), peer("m")), at(30))
    store.record(graph("a", peer("k"), peer("m", both)), at(40))
    found = list(store.disagreements())
    assert [(told(each), each.start, each.end) for each in found] == [
        (("listing", ("k", "m"), "k", ("a",), ()), at(10), at(20)),
        (("listing", ("k", "m"), "k", ("a",), ()), at(30), at(40)),
        (("listing", ("k", "m"), "m", ("a",), ()), at(40), None),
    ], "an end that is not there cannot list it"
    assert {each.end_reason for each in found[:2]} == {"agreed"}
    assert [told(each) for each in store.disagreements_at(at(35), "m")] == [told(found[1])]
    assert "not_seen_by" not in found[0].to_dict()


def test_disagreements_as_known_before_a_late_upload(store_url: str) -> None:
    now = [at(1000)]
    with peerstore.open(store_url, clock=lambda: now[0]) as store:
        store.record(graph("a", "b"), at(0))
        store.record(graph("b", "a"), at(0))
        now[0] = at(2000)
        store.record(graph("b", "a", "k"), at(10))
        assert [told(each)[1] for each in store.disagreements()] == ["k"]
        assert list(store.disagreements(known_at=at(1500))) == []
        assert not store.disagreements_at(at(20), known_at=at(1500))
        assert store.disagreements_at(at(20), known_at=at(1500)).known_at == at(1500)


# The commands.


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> str:
    database = str(tmp_path_factory.mktemp("day") / "day.db")
    assert run("--db", database, "record", "-", input=lines(demo_observations())).exit_code == 0
    return database


@pytest.fixture
def demo(day: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERSTORE_DB", day)
    monkeypatch.setenv("COLUMNS", "140")


@pytest.mark.usefixtures("demo")
def test_the_coverage_of_the_demo() -> None:
    spans = answer("coverage", "sim-till-3")
    assert [each["end_reason"] for each in spans] == ["silence", "stopped"]
    assert answer("coverage", "--observer", "sim-till-3") == spans
    [gap, last] = answer("coverage", "sim-till-3", "--gaps")
    assert (gap["start"], gap["end"]) == (spans[0]["end"], spans[1]["start"])
    assert (last["end"], last["reason"]) == (None, "stopped")
    assert [each["observer"] for each in answer("coverage", "--totals")][-1] is None
    shown = run("coverage").stdout
    assert "Of the time from 2026-07-08T06:30:00.020Z to 2026-07-08T22:00:00Z" in shown
    assert "(anybody)" in shown
    quiet = answer("coverage", "sim-office-1", "--gaps", "--longer-than", "30.8s", "--until", "2026-07-08T22:00:00Z")
    assert quiet
    assert {each["reason"] for each in quiet} == {"quiet"}
    for wrong in (["--longer-than", "1m"], ["--gaps", "--totals"], ["sim-till-3", "--observer", "sim-till-3"]):
        assert run("coverage", *wrong).exit_code == 2


def test_an_observer_that_watches_now_is_said_to(tmp_path: Path) -> None:
    database = str(tmp_path / "now.db")
    with peerstore.open(database) as store:
        store.record(graph("a"), datetime.now(UTC), max_silence=timedelta(hours=1))
    shown = run("--db", database, "coverage").stdout
    assert "still watching" in shown
    assert "silence" not in shown.replace("longest silence", "")
    assert "no gaps" in run("--db", database, "coverage", "--gaps").stderr


@pytest.mark.usefixtures("demo")
def test_the_clocks_of_the_demo() -> None:
    pairs = answer("skew")
    assert len(pairs) == 6
    assert all(abs(each["offset_seconds"]) < 0.2 for each in pairs)
    told = run("skew", "sim-office-1")
    assert told.stdout.count("sim-office-1") == 3
    assert "no evidence of a wrong clock" in told.stderr
    nothing = run("skew", "--until", "2026-07-08T06:31:00Z")
    assert "no two observers" in nothing.stderr


@pytest.mark.usefixtures("demo")
def test_the_disagreements_of_the_demo() -> None:
    moment = answer("disagreements", "--at", "2026-07-08T12:20:20Z")
    assert [each["kind"] for each in moment["disagreements"]] == ["peer", *["connection"] * 3]
    [late] = answer(
        "disagreements", "sim-till-7", "--kind", "peer", "--longer-than", "30s", "--until", "2026-07-08T13:00:00Z"
    )
    assert late["end_reason"] == "agreed"
    assert 39 < late["duration_seconds"] < 40
    [listing] = answer("disagreements", "--kind", "listing", "--longer-than", "1m")
    assert 239 < listing["duration_seconds"] < 241
    shown = run("disagreements", "sim-till-7", "--longer-than", "30s").stdout
    assert shown.split("\n")[0].split() == [
        "start",
        "lasted",
        "about",
        "of",
        "what",
        *("seen", "by", "not", "by", "ended", "by"),
    ]
    window = ["--since", "2026-07-08T14:00:00Z", "--until", "2026-07-08T14:08:00Z"]
    split = answer("disagreements", *window, "--longer-than", "4m")
    islands = {tuple(each["seen_by"]) for each in split if each["kind"] == "peer"}
    assert len(islands) == 2, "two islands, each with its own observers"
    rows = run("disagreements", "--csv").stdout.splitlines()
    assert rows[0].startswith("start,end,duration_seconds,held_before,end_reason,kind,peer_key,peer1")
    assert any(",connection," in row for row in rows)
    assert run("disagreements", "--at", "2026-07-08T12:20:20Z", "--longer-than", "1s").exit_code == 2


@pytest.mark.usefixtures("demo")
def test_people_are_told_when_too_few_were_watching() -> None:
    alone = run("disagreements", "--at", "2026-07-08T21:30:00Z")
    assert "sim-office-1 alone was watching" in alone.stderr
    nobody = run("disagreements", "--at", "2026-07-08T23:00:00Z")
    assert "nobody was watching" in nobody.stderr
    assert nobody.stdout == ""
    assert json.loads(run("disagreements", "--at", "2026-07-08T23:00:00Z", "--json").stdout)["watched"] is False
    dark = run("disagreements", "--since", "2026-07-08T20:00:00Z", "--until", "2026-07-08T23:00:00Z")
    assert "nobody was watching for 1 h 00 min of that time" in dark.stderr


def test_without_a_beginning_the_skew_is_that_of_the_last_hours(store_url: str) -> None:
    """Clocks are set now and then: what they were long ago would hide how they stand."""
    start = datetime(2026, 7, 8, 6, tzinfo=UTC)

    def graph(local: str, number: int) -> dict[str, Any]:
        peers = [{"peerKeyString": key, "deviceName": key, "connections": []} for key in (local, f"k{number}")]
        return {"localPeer": peers[0], "remotePeers": peers[1:]}

    with peerstore.open(store_url) as store:
        for number in range(20):
            ahead = 30 if number < 10 else 5
            at = start + timedelta(hours=0 if number < 10 else 10, minutes=10 * number)
            store.record(graph("one", number), at + timedelta(seconds=ahead))
            store.record(graph("two", number), at)
        [lately] = store.clock_skew()
        [before] = store.clock_skew(since=start, until=start + timedelta(hours=2))
    assert (lately.observer, lately.offset, before.offset) == ("one", timedelta(seconds=5), timedelta(seconds=30))
