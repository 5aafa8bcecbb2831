"""Answers told by hand: what the model of ``test_time_model.py`` does not speak of, and bugs that were found."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

import peerstore
from peerstore.ndjson import Line
from peerstore.questions.changes import KINDS
from peerstore.times import instant
from tests.conftest import ENGINES
from tests.machine import altered_event, assert_same, event_of, instants, windows
from tests.model import EMPTY, MISSING, Event, differences
from tests.worlds import World, arguments, recorded, tried, worlds

START = datetime(2026, 7, 8, 14, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def graph(local: str, *remotes: str, name: str | None = None) -> dict[str, Any]:
    peers = [{"peerKeyString": key, "deviceName": name or key, "connections": []} for key in (local, *remotes)]
    return {"localPeer": peers[0], "remotePeers": peers[1:]}


@pytest.fixture
def store(store_url: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url) as opened:
        yield opened


def test_a_known_peer_was_last_seen_when_an_observation_last_held_it(store: peerstore.PeerStore) -> None:
    """Also if it was gone before everybody stopped, and somebody else watches again later."""
    store.record(graph("a", "k"), at(0), max_silence=45)
    store.record(graph("a", "k"), at(15), max_silence=45)
    store.record(graph("a"), at(30), max_silence=45)
    store.record(None, at(60), observer="a")
    store.record(graph("c"), at(3000))
    known = {each.peer.peer_key: each for each in store.known_peers(at=at(4000))}
    assert {key: (each.first_seen, each.last_seen, each.present) for key, each in known.items()} == {
        "a": (at(0), at(30), False),
        "c": (at(3000), at(3000), True),
        "k": (at(0), at(15), False),
    }


def test_a_peer_whose_observer_fell_silent_was_last_seen_at_its_last_observation(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "k"), at(0), max_silence=45)
    [_, known] = store.known_peers(at=at(1000))
    assert (known.peer.peer_key, known.last_seen, known.present) == ("k", at(0), False)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_sessions_that_end_together_come_by_key_in_whatever_order_they_were_recorded(
    store: peerstore.PeerStore, order: tuple[int, ...]
) -> None:
    observations = [(graph("o", "q", "b"), at(0)), (graph("o", "q", "b", "p"), at(10)), (graph("o"), at(20))]
    for number in order:
        store.record(*observations[number])
    assert [session.peer_key for session in store.sessions()] == ["b", "p", "q", "o"]


def test_the_sessions_of_a_range_are_whole(store: peerstore.PeerStore) -> None:
    for second, remotes in ((0, ["k"]), (86_400 * 40, ["k"]), (86_400 * 50, []), (86_400 * 50 + 5, ["k"])):
        store.record(graph("o", *remotes), at(second))
    middle = at(86_400 * 45)
    [session] = store.sessions("k", since=middle, until=middle + timedelta(hours=1))
    assert (session.start, session.end, session.end_reason) == (at(0), at(86_400 * 50), "left")
    [joined] = store.sessions("k", since=middle, until=middle + timedelta(hours=1), grace=10)
    assert (joined.start, joined.end, joined.gaps) == (at(0), None, 1)


def test_a_peer_that_was_away_for_years_is_compared_with_what_it_was(store: peerstore.PeerStore) -> None:
    years = 86_400 * 365 * 3
    store.record(graph("o", "k", name="before"), at(0))
    store.record(graph("o", name="before"), at(60))
    store.record(graph("o", "k", name="after"), at(years))
    changes = list(store.metadata_changes("k", since=at(years - 10)))
    assert [(each.before, each.after, each.across_absence) for each in changes] == [("before", "after", True)]


def test_what_could_not_be_read_can_be_retried_with_what_it_lacked(store: peerstore.PeerStore) -> None:
    line = Line("a.ndjson", 1, b'{"localPeer": {"deviceName": "x"}, "remotePeers": []}', True, 52, None)
    assert store.record_lines([line, line]).rejected == 2
    assert len(list(store.rejects())) == 1
    assert store.retry_rejects().rejected == 1
    assert store.retry_rejects(observer="tablet", stamp=at(0)).recorded == 1
    assert list(store.rejects()) == []
    assert store.presence_at(at(0)).observers[0].observer == "tablet"


def test_what_was_kept_aside_can_be_dropped(store: peerstore.PeerStore) -> None:
    store.record_many([b"{", b"[]"])
    kept = [each.id for each in store.rejects()]
    assert store.drop_rejects([kept[0], 10**9]) == 1
    assert [each.id for each in store.rejects()] == kept[1:]


def test_answers_can_be_read_while_others_record(store: peerstore.PeerStore) -> None:
    """An iterator reads one snapshot, whatever is recorded meanwhile, in this thread or another."""
    for second in range(5):
        store.record(graph("o", f"k{second}"), at(second))
    changes = store.changes(kinds=["appeared"])
    first = next(changes)
    store.record(graph("o", "new"), at(10))
    other = threading.Thread(target=lambda: store.record(graph("o", "newer"), at(11)))
    other.start()
    other.join()
    assert [each.peer_key for each in (first, *changes)] == ["k0", "o", "k1", "k2", "k3", "k4"]


def test_an_observer_that_never_spoke_is_unobserved(store: peerstore.PeerStore) -> None:
    presence = store.presence_at(at(0), observer="nobody")
    assert (dict(presence.peers), presence.watched) == ({}, False)
    assert presence.to_dict()["observers"] == [
        {"observer": "nobody", "observed_at": None, "age_seconds": None, "watching": False, "watched_until": None}
    ]


def test_a_ditto_graph_is_the_view_of_one_watching_observer(store: peerstore.PeerStore) -> None:
    store.record(graph("a"), at(0))
    store.record(graph("b"), at(0))
    with pytest.raises(peerstore.QuestionError, match="one watching observer"):
        store.presence_at(at(0)).to_ditto()
    assert store.presence_at(at(0), observer="a").to_ditto()["localPeer"]["peerKeyString"] == "a"


def test_questions_that_make_no_sense_say_so(store: peerstore.PeerStore) -> None:
    with pytest.raises(peerstore.InvalidTime, match="no time zone"):
        store.presence_at(datetime(2026, 7, 8))  # noqa: DTZ001
    with pytest.raises(peerstore.QuestionError, match="before it begins"):
        store.changes(since=at(1), until=at(0))
    with pytest.raises(peerstore.QuestionError, match="kinds are appeared"):
        list(store.changes(kinds=["left"]))
    with pytest.raises(peerstore.QuestionError, match="longer than nothing"):
        store.presence_over(at(0), at(1), step=0)


def test_a_diff_over_a_gap_compares_what_was_last_known(store: peerstore.PeerStore) -> None:
    store.record(graph("o", "k"), at(0))
    store.record(None, at(10), observer="o")
    store.record(graph("o", "m"), at(100))
    assert not store.diff(at(5), at(50))
    assert store.diff(at(5), at(50)).until_known_at == at(10) - timedelta(microseconds=1)
    difference = store.diff(at(50), at(100))
    assert [peer.peer_key for peer in difference.appeared] == ["m"]
    assert [peer.peer_key for peer in difference.disappeared] == ["k"]
    assert [peer.peer_key for peer in store.diff(at(-5), at(0)).appeared] == ["k", "o"]


PATHS = (
    *("", "/device_name", "/os", "/peer_metadata", "/peer_metadata/role", "/peer_metadata/n"),
    *("/peer_metadata/n/a~1b~0c", "/peer_metadata/n/a~1b~0c/0", "/extra/battery", "/identity_service_metadata/"),
)


def resolved(value: Any, steps: list[str]) -> Any:
    """What stands at the end of a JSON Pointer."""
    for step in steps:
        if isinstance(value, list):
            value = value[int(step)] if step.isdigit() and int(step) < len(value) else MISSING
        else:
            value = value.get(step, MISSING) if isinstance(value, dict) else MISSING
    return value


def at_path(event: Event, path: str) -> Iterator[Event]:
    """What an attribute's change is at a path: itself, if it lies there; what it is to the place, if it holds it."""
    assert event.path is not None
    if f"{event.path}/".startswith(f"{path}/"):
        yield event
    elif f"{path}/".startswith(f"{event.path}/"):
        steps = [each.replace("~1", "/").replace("~0", "~") for each in path[len(event.path) :].split("/")[1:]]
        values = (resolved(value, steps) for value in (event.before, event.after))
        for below, before, after in differences(*values):
            yield event._replace(path=path + below, before=before, after=after)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_filter_gives_what_it_lets_through(engine: str) -> None:
    """Kinds and paths narrow what is read; the answer is that of the model, picked from."""

    @tried(engine)
    @given(
        world=worlds(),
        window=windows,
        kinds=st.sets(st.sampled_from(KINDS), min_size=1),
        path=st.sampled_from(PATHS),
        peer=st.none() | st.sampled_from(("a", "d")),
    )
    def holds(world: World, window: tuple[Any, Any], kinds: set[str], path: str, peer: str | None) -> None:
        with recorded(world, engine) as (store, view):
            since, until = (None if each is None else instant(each) for each in window)
            asked: dict[str, Any] = {"since": since, "until": until, **arguments(world)}
            whole = list(store.changes(peer=peer, **asked))
            assert list(store.changes(peer=peer, kinds=kinds, **asked)) == [
                each for each in whole if each.kind in kinds
            ]
            events = [each for each in view.changes() if each.kind == "changed" and peer in (None, each.subject)]
            inside = [each for each in events if (since is None or window[0] <= each.at)]
            inside = [each for each in inside if until is None or each.at < window[1]]
            expected = [found for event in inside for found in at_path(event, path)]
            assert_same(map(event_of, store.changes(peer=peer, path=path, **asked)), expected, path)
            assert_same(map(altered_event, store.metadata_changes(peer, path=path, **asked)), expected, path)

    holds()


def test_a_path_must_be_a_json_pointer(store: peerstore.PeerStore) -> None:
    for ask in (store.changes, store.metadata_changes):
        with pytest.raises(peerstore.InputError, match="no JSON Pointer"):
            ask(path="device_name")
    with pytest.raises(peerstore.InputError, match="no JSON Pointer"):
        store.diff(at(0), at(1), path="/a~2")
    with pytest.raises(peerstore.QuestionError, match="only changes of the kind changed"):
        store.changes(path="/os", kinds=["appeared"])


def test_a_diff_at_a_path_tells_that_alone(store: peerstore.PeerStore) -> None:
    store.record(graph("o", "k", name="x"), at(0))
    store.record(graph("o", "k", "m", name="y"), at(10))
    difference = store.diff(at(0), at(10), path="/device_name")
    assert [(each.peer_key, each.after) for each in difference.changed] == [("k", "y"), ("o", "y")]
    assert difference.appeared == ()
    assert not store.diff(at(0), at(10), path="/os")


def test_a_diff_tells_who_came_and_went_inside_if_asked(store: peerstore.PeerStore) -> None:
    store.record(graph("o", "k"), at(0))
    store.record(graph("o", "m", name="visitor"), at(10))
    store.record(graph("o", "k"), at(20))
    plain, inside = store.diff(at(0), at(20)), store.diff(at(0), at(20), inside=True)
    assert plain.came_and_went is None
    assert "came_and_went" not in plain.to_dict()
    assert [(peer.peer_key, peer.device_name) for peer in inside.came_and_went or ()] == [("m", "visitor")]
    assert [(peer.peer_key, peer.seen_by) for peer in inside.left_and_returned or ()] == [("k", ("o",))]
    assert (inside.links_came_and_went, inside.links_left_and_returned) == ((), ())
    assert [each["peer_key"] for each in inside.to_dict()["left_and_returned"]] == ["k"]
    assert list(inside) == [(), (), (), (), ()]
    nothing = store.diff(at(11), at(12), inside=True)
    assert nothing.came_and_went == nothing.left_and_returned == ()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_happened_inside_is_what_the_model_saw_there(engine: str) -> None:
    @tried(engine)
    @given(world=worlds(), one=instants, other=instants)
    def holds(world: World, one: int, other: int) -> None:
        since, until = sorted((one, other))
        with recorded(world, engine) as (store, view):
            difference = store.diff(instant(since), instant(until), inside=True, **arguments(world))
            points = [since, *(point for point in view.change_points() if since < point <= until)]
            moments = [moment for moment in map(view.presence, points) if moment.watching]
            ends = [view.last_known(since) or EMPTY, view.last_known(until) or EMPTY]
            for things, peers in (("peers", True), ("connections", False)):
                first, last = (set(getattr(moment, things)) for moment in ends)
                there = [set(getattr(moment, things)) for moment in moments]
                passed = set().union(*there) - first - last
                back = (first & last) - set.intersection(first, *there)
                prefix = "" if peers else "links_"
                for name, expected in (("came_and_went", passed), ("left_and_returned", back)):
                    found = getattr(difference, prefix + name)
                    keys = [each.peer_key if peers else (each.peer1, each.peer2, each.type, each.id) for each in found]
                    assert sorted(keys) == sorted(expected), name

    holds()


def test_a_peer_that_only_begins_to_speak_changes_no_presence(store: peerstore.PeerStore) -> None:
    """Even its stop marker makes it one of the observers, which nobody sees."""
    store.record(graph("o", "k"), at(0))
    store.record(None, at(10), observer="k")
    assert [each.at for each in store.presence_over(at(0), at(20))] == [at(0)]
