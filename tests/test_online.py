"""Uptime, timelines, first and last sight: by hand where it matters, and against plain brute force on generated
histories."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import peerstore
from peerstore.cli import main
from peerstore.times import instant, micros
from tests.commands import answer, run
from tests.conftest import ENGINES
from tests.machine import windows
from tests.model import View
from tests.worlds import World, arguments, pieces, recorded, tried, worlds

NOON = datetime(2026, 7, 8, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PEERS = ("a", "b", "c", "d", "e", "z", "nobody")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def graph(local: str, remotes: str = "", *links: str, kind: str = "Bluetooth") -> dict[str, Any]:
    """A graph of peers of one letter; a link is two of them."""
    listed = [
        {"id": f"{link} {kind}", "peer1": link[0], "peer2": link[1], "connectionType": kind}
        for link in ("".join(sorted(each)) for each in links)
    ]
    peers = [
        {"peerKey": key, "deviceName": key, "connections": [each for each in listed if key in each["id"][:2]]}
        for key in (local, *remotes)
    ]
    return {"localPeer": peers[0], "remotePeers": peers[1:]}


@pytest.fixture
def store(store_url: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url, clock=lambda: at(100_000)) as opened:
        yield opened


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - NOON) / SECOND


def shares(store: peerstore.PeerStore, *question: Any, **more: Any) -> dict[str, Any]:
    """Present, absent, unobserved, sessions, longest absence, of each peer."""
    return {
        each.peer_key: (
            *(part / SECOND for part in (each.present, each.absent, each.unobserved)),
            each.sessions,
            each.longest_absence / SECOND,
        )
        for each in store.uptime(*question, **more)
    }


def stretches(store: peerstore.PeerStore, *question: Any, **more: Any) -> list[tuple[Any, ...]]:
    return [
        (each.peer_key, each.state, seconds(each.start), seconds(each.end), each.end_reason)
        for each in store.timeline(*question, **more)
    ]


def day(store: peerstore.PeerStore) -> None:
    """k comes at 10, leaves at 20, is back at 30; nobody watches from 40 to 60, nor from 80.000001 to 100; at 60 it is
    there, at 100 it is not."""
    store.record(graph("o"), at(0))
    store.record(graph("o", "k"), at(10))
    store.record(graph("o"), at(20))
    store.record(graph("o", "k"), at(30))
    store.record(None, at(40), observer="o")
    store.record(graph("o", "k"), at(60), max_silence=20)
    store.record(graph("o"), at(100))
    store.record(graph("o"), at(120))


# How much of the time.


def test_unobserved_time_is_neither_present_nor_absent(store: peerstore.PeerStore) -> None:
    day(store)
    found = shares(store)
    gone = 20.000001 + 20
    assert found["k"] == (gone, 10 + 10 + 20, 20 + 19.999999, 3, 20)
    assert found["o"] == (120 - 39.999999, 0, 39.999999, 3, 0)
    [known] = store.uptime("k")
    assert (known.since, known.until) == (at(0), at(120))
    told = known.to_dict()
    assert known.share == told["percent"] / 100
    assert told == {
        "peer_key": "k",
        "since": "2026-07-08T12:00:00.000000Z",
        "until": "2026-07-08T12:02:00.000000Z",
        "present_seconds": gone,
        "absent_seconds": 40.0,
        "unobserved_seconds": 39.999999,
        "percent": pytest.approx(100 * gone / (gone + 40)),
        "sessions": 3,
        "longest_absence_seconds": 20.0,
    }


def test_a_window_counts_what_lies_in_it(store: peerstore.PeerStore) -> None:
    day(store)
    assert shares(store, "k", at(15), at(25)) == {"k": (5, 5, 0, 1, 5)}
    assert shares(store, "k", at(20), at(30)) == {"k": (0, 10, 0, 0, 10)}
    assert shares(store, "k", at(-10), at(10)) == {"k": (0, 10, 10, 0, 10)}
    assert shares(store, "k", at(45), at(55)) == {"k": (0, 0, 10, 0, 0)}
    [unknown] = store.uptime("k", at(45), at(55))
    assert (unknown.share, unknown.to_dict()["percent"]) == (None, None)
    assert shares(store, "k", at(110), at(200)) == {"k": (0, 90, 0, 0, 90)}


def test_no_window_no_answer(store: peerstore.PeerStore) -> None:
    assert [*store.uptime(), *store.timeline("k"), *store.seen()] == []
    day(store)
    assert [*store.uptime("k", at(7), at(7)), *store.timeline("k", at(120))] == []
    assert list(store.uptime("k", observer="stranger")) == []
    for ask in (store.uptime, store.timeline):
        with pytest.raises(peerstore.QuestionError):
            ask(since=at(1), until=at(0))
        with pytest.raises(peerstore.InvalidTime):
            ask(since=datetime(2026, 7, 8))  # noqa: DTZ001


def test_who_is_listed(store: peerstore.PeerStore) -> None:
    """All that were ever present before the end, also long before the beginning; not who came later; the one asked for
    even if it never was."""
    store.record(graph("o", "p"), at(0))
    store.record(graph("o"), at(10))
    store.record(graph("o", "q"), at(50))
    assert list(shares(store, None, at(20), at(50))) == ["o", "p"]
    assert list(shares(store, None, at(20), at(51))) == ["o", "p", "q"]
    assert shares(store, "q", at(20), at(50)) == {"q": (0, 30, 0, 0, 30)}
    assert shares(store, "nobody", at(-5), at(50)) == {"nobody": (0, 50, 5, 0, 50)}
    assert list(shares(store, None, at(-5), at(0))) == []


def test_one_view_and_what_was_known(store_url: str) -> None:
    clock = iter(at(1000 * number) for number in range(1, 100))
    with peerstore.open(store_url, clock=lambda: next(clock)) as store:
        store.record(graph("a", "k"), at(0))
        store.record(graph("a"), at(10))
        store.record(graph("b", "k"), at(5))
        first = min(each.last_recorded_at for each in store.observer_summaries())
        assert shares(store, "k", at(0), at(20)) == {"k": (20, 0, 0, 1, 0)}
        assert shares(store, "k", at(0), at(20), observer="a") == {"k": (10, 10, 0, 1, 10)}
        assert shares(store, "k", at(0), at(20), observer="b") == {"k": (15, 0, 5, 1, 0)}
        assert shares(store, "k", at(0), at(20), known_at=first) == {"k": (10, 10, 0, 1, 10)}
        assert shares(store, "k", at(0), at(20), max_silence=2) == {
            "k": (4.000002, 2.000001, 20 - 6.000003, 2, 2.000001)
        }


# The stretches.


def test_a_timeline_has_no_holes_and_says_why_a_presence_ended(store: peerstore.PeerStore) -> None:
    day(store)
    assert stretches(store, "k") == [
        ("k", "absent", 0, 10, None),
        ("k", "present", 10, 20, "left"),
        ("k", "absent", 20, 30, None),
        ("k", "present", 30, 40, "stopped"),
        ("k", "unobserved", 40, 60, None),
        ("k", "present", 60, 80.000001, "silence"),
        ("k", "unobserved", 80.000001, 100, None),
        ("k", "absent", 100, 120, None),
    ]


def test_a_timeline_is_cut_to_its_window(store: peerstore.PeerStore) -> None:
    day(store)
    assert stretches(store, "k", at(15), at(20)) == [("k", "present", 15, 20, None)]
    assert stretches(store, "k", at(15), at(20.000001)) == [
        ("k", "present", 15, 20, "left"),
        ("k", "absent", 20, 20.000001, None),
    ]
    assert stretches(store, None, at(35), at(45)) == [
        ("k", "present", 35, 40, "stopped"),
        ("k", "unobserved", 40, 45, None),
        ("o", "present", 35, 40, "stopped"),
        ("o", "unobserved", 40, 45, None),
    ]
    [stretch] = store.timeline("k", at(15), at(20))
    assert stretch.to_dict() == {
        "peer_key": "k",
        "state": "present",
        "start": "2026-07-08T12:00:15.000000Z",
        "end": "2026-07-08T12:00:20.000000Z",
        "duration_seconds": 5.0,
        "end_reason": None,
    }


def test_a_change_of_attributes_or_of_who_sees_ends_no_stretch(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "k"), at(0))
    renamed = graph("a", "k")
    renamed["remotePeers"][0]["deviceName"] = "another"
    store.record(renamed, at(5))
    store.record(graph("b", "k"), at(10))
    store.record(graph("a"), at(15))
    store.record(None, at(20), observer="a")
    store.record(graph("b"), at(30))
    assert stretches(store, "k", None, at(40)) == [("k", "present", 0, 30, "left"), ("k", "absent", 30, 40, None)]


# Sessions cut to a window.


def test_clipped_sessions(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "k", "ak"), at(0))
    store.record(graph("a"), at(100))

    def cut(since: float | None, until: float | None, peer: str = "k") -> list[Any]:
        begin, end = (None if bound is None else at(bound) for bound in (since, until))
        found: list[Any] = list(store.sessions(peer, begin, end, clip=True))
        links = list(store.connection_sessions("a", "k", begin, end, clip=True)) if peer == "k" else []
        told = [(seconds(e.start), seconds(e.end), e.end_reason, e.cut_start, e.cut_end) for e in (*found, *links)]
        assert len(set(told)) <= 1
        return told[:1]

    assert cut(None, None) == cut(0, 100) == [(0, 100, "left", False, False)]
    assert cut(10, 100) == [(10, 100, "left", True, False)]
    assert cut(0, 90) == [(0, 90, None, False, True)]
    assert cut(10, 90) == [(10, 90, None, True, True)]
    assert cut(100, 200) == []
    assert cut(50, None, "a") == [(50, None, None, True, False)]
    assert cut(50, 500, "a") == [(50, 500, None, True, True)]
    [whole] = store.sessions("k", at(10), at(90))
    assert (whole.start, whole.end, whole.cut_start, whole.cut_end) == (at(0), at(100), False, False)
    [part] = store.sessions("k", at(10), at(90), clip=True)
    told = part.to_dict()
    assert (told["duration_seconds"], told["cut_start"], told["cut_end"]) == (80.0, True, True)


# Brute force.


class Track(NamedTuple):
    state: str
    start: int
    end: int
    reason: str | None


def tracks(view: View, peer: str, since: int, until: int) -> list[Track]:
    """The stretches of a peer, piece by piece, those of one state joined."""
    found: list[Track] = []
    for start, end in pieces(view, since, until):
        presence = view.presence(start)
        state = "present" if peer in presence.peers else "absent" if presence.watching else "unobserved"
        begin = found.pop().start if found and found[-1].state == state else start
        ends = state == "present" and end < until and peer not in view.presence(end).peers
        found.append(Track(state, begin, end, view.end_reason(peer, end) if ends else None))
    return found


def window_of(view: View, window: tuple[int | None, int | None]) -> tuple[int, int] | None:
    spoken = [said.observed_at for stored in view.said.values() for said in stored]
    since, until = window[0], window[1]
    since = min(spoken, default=None) if since is None else since
    until = max(spoken, default=None) if until is None else until
    return None if since is None or until is None or since >= until else (since, until)


def ever(view: View, until: int) -> list[str]:
    return sorted({peer for point in view.points_before(until) for peer in view.presence(point).peers})


@pytest.mark.parametrize("engine", ENGINES)
def test_uptimes_and_timelines_are_those_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=worlds(), window=windows, asked=st.sets(st.sampled_from(PEERS), max_size=2))
    def holds(world: World, window: tuple[int | None, int | None], asked: set[str]) -> None:
        with recorded(world, engine) as (store, view):
            question = {**arguments(world), "since": moment(window[0]), "until": moment(window[1])}
            measured = window_of(view, window)
            told, given_shares = list(store.timeline(**question)), list(store.uptime(**question))
            if measured is None:
                assert [*told, *given_shares] == []
                return
            peers = ever(view, measured[1])
            expected = {peer: tracks(view, peer, *measured) for peer in {*peers, *asked}}
            assert [spelt(each) for each in told] == [(peer, track) for peer in peers for track in expected[peer]]
            assert [each.peer_key for each in given_shares] == peers
            for share in given_shares:
                check_share(share, expected[share.peer_key], measured)
            for peer in asked:
                assert [spelt(each) for each in store.timeline(peer, **question)] == [
                    (peer, track) for track in expected[peer]
                ]
                [share] = store.uptime(peer, **question)
                check_share(share, expected[peer], measured)

    holds()


def moment(at: int | None) -> datetime | None:
    return None if at is None else instant(at)


def spelt(stretch: peerstore.Stretch) -> tuple[str, Track]:
    return stretch.peer_key, Track(stretch.state, micros(stretch.start), micros(stretch.end), stretch.end_reason)


def check_share(share: peerstore.Uptime, expected: list[Track], measured: tuple[int, int]) -> None:
    lengths = {state: [each.end - each.start for each in expected if each.state == state] for state in STATES}
    parts = (share.present, share.absent, share.unobserved)
    assert [part // timedelta(microseconds=1) for part in parts] == [sum(lengths[state]) for state in STATES]
    assert (micros(share.since), micros(share.until)) == measured
    assert sum(parts, timedelta()) == share.until - share.since
    assert share.sessions == len(lengths["present"])
    assert share.longest_absence // timedelta(microseconds=1) == max(lengths["absent"], default=0)


STATES = ("present", "absent", "unobserved")


# The commands.


@pytest.fixture
def own(tmp_path: Path) -> str:
    url = str(tmp_path / "mesh.db")
    with peerstore.open(url) as store:
        day(store)
    return url


def test_the_commands_give_what_the_store_gives(own: str) -> None:
    with peerstore.open(own) as store:
        for command, found in (
            ("uptime", list(store.uptime())),
            ("timeline", list(store.timeline())),
            ("seen", list(store.seen())),
        ):
            told = [each.to_dict() for each in found]
            assert answer("--db", own, command) == told
            rows = list(csv.DictReader(io.StringIO(run("--db", own, command, "--csv").stdout)))
            assert [list(row) for row in rows] == [list(each) for each in told]
            lines = run("--db", own, command, "k", "--ndjson").stdout.splitlines()
            assert [json.loads(line) for line in lines] == [each for each in told if each["peer_key"] == "k"]
        clipped = answer("--db", own, "sessions", "k", "--since", "2026-07-08T12:00:15Z", "--clip")
        assert clipped == [each.to_dict() for each in store.sessions("k", at(15), clip=True)]


def test_people_see_a_chart(own: str) -> None:
    asked = ("--db", own, "timeline", "--until", "2026-07-08T12:02:00Z")
    shown = run(*asked, env={"COLUMNS": "80"}).stdout.splitlines()
    assert shown[0].startswith("2026-07-08T12:00:00Z to 2026-07-08T12:02:00Z")
    [times] = [line for line in shown if line.startswith("peer")]
    [chart] = [line.split()[1] for line in shown if line.startswith("k ")]
    assert {len(line) for line in shown[3:6]} <= set(range(81))
    begin = times.index("|12:00:30") - times.index("|12:00:00")
    assert chart[begin - 1 : begin + 2] in ("·██", "·▄█")
    assert set(chart) == set("█·░▄")
    assert "nobody watched" in shown[-1]
    plain = CliRunner(charset="ascii").invoke(main, list(asked), prog_name="peerstore", env={"COLUMNS": "80"})
    [ascii_chart] = [line.split()[1] for line in plain.stdout.splitlines() if line.startswith("k ")]
    assert ascii_chart == chart.translate(str.maketrans("█·░▄", "#.?+"))


def test_people_see_the_stretches_of_one_peer_below_its_chart(own: str) -> None:
    shown = run("--db", own, "timeline", "k").stdout
    assert [line.split()[0] for line in shown.partition("Stretches\n")[2].splitlines()[2:]] == [
        *("absent", "present", "absent", "present", "unobserved", "present", "unobserved", "absent")
    ]
    assert "Stretches" not in run("--db", own, "timeline").stdout


def test_people_are_told_of_time_at_which_nobody_watched(own: str) -> None:
    warned = run("--db", own, "uptime", "k")
    assert "50.0 %" in warned.stdout
    assert "39.9 s nobody was watching" in warned.stderr
    assert run("--db", own, "uptime", "k", "--until", "2026-07-08T12:00:40Z").stderr == ""
    assert run("--db", own, "uptime", "k", "--json").stderr == ""
    for command in ("uptime", "timeline"):
        nothing = run("--db", own, command, "--until", "2026-07-08T11:00:00Z")
        assert (nothing.exit_code, nothing.stdout) == (0, "")
        assert "no peer was seen" in nothing.stderr
    assert "still present" in run("--db", own, "seen", "o").stdout
    assert "never seen" in run("--db", own, "seen", "k", "--at", "2026-07-08T11:00:00Z").stderr
