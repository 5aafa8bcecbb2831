"""Links to the cloud: by hand where it matters, and against plain brute force on generated histories."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

import peerstore
from peerstore.times import instant, micros
from tests.conftest import ENGINES
from tests.machine import windows
from tests.model import View
from tests.shapes import PEERS, bridges, hops, measured, meshes, net, shortest_paths, stretches, unknown_ends
from tests.test_shape import NOON, SECOND, at, between, graph, moments_of
from tests.worlds import World, arguments, recorded, tried, worlds

DAY = timedelta(days=1)


@pytest.fixture
def store(store_url: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url) as opened:
        yield opened


def spans(store: peerstore.PeerStore, *question: Any, **more: Any) -> list[tuple[Any, ...]]:
    return [
        (each.peer_key, (each.start - NOON) / SECOND, each.end and (each.end - NOON) / SECOND, each.end_reason)
        for each in store.cloud_sessions(*question, **more)
    ]


# Since when.


def test_sessions_end_by_the_flag_by_leaving_and_by_the_end_of_watching(store: peerstore.PeerStore) -> None:
    store.record(graph("abc", cloud="abc"), at(0), max_silence=20)
    store.record(graph("abc", cloud="bc"), at(10), max_silence=20)
    store.record(graph("ac", cloud="c"), at(20), max_silence=20)
    store.record(graph("ac", cloud="ac"), at(60), max_silence=20)
    store.record(None, at(70), observer="a")
    store.record(graph("a", cloud="a"), at(80))
    assert spans(store) == [
        ("a", 0, 10, "flag"),
        ("b", 0, 20, "left"),
        ("c", 0, 40.000001, "silence"),
        ("a", 60, 70, "stopped"),
        ("c", 60, 70, "stopped"),
        ("a", 80, None, None),
    ]
    assert spans(store, "c") == [("c", 0, 40.000001, "silence"), ("c", 60, 70, "stopped")]


def test_sessions_are_whole_wherever_the_window_lies(store: peerstore.PeerStore) -> None:
    for day in range(40):
        flag = "ab" if 2 <= day < 38 else ""
        store.record(graph("abc", cloud=flag), NOON + day * DAY)
    store.record(graph("ac"), NOON + 39 * DAY)
    whole = (NOON + 2 * DAY, NOON + 38 * DAY)
    for window in ((20, 21), (2, 2.5), (37.5, 50), (None, 3)):
        since, until = (None if day is None else NOON + day * DAY for day in window)
        found = list(store.cloud_sessions(since=since, until=until))
        assert [(each.peer_key, each.start, each.end, each.end_reason) for each in found] == [
            ("a", *whole, "flag"),
            ("b", *whole, "flag"),
        ]
    assert list(store.cloud_sessions(since=NOON + 38 * DAY)) == []
    assert list(store.cloud_sessions(until=NOON + 2 * DAY)) == []
    assert list(store.cloud_sessions(since=NOON + 20 * DAY, until=NOON + 20 * DAY)) == []


def test_a_session_as_json(store: peerstore.PeerStore) -> None:
    store.record(graph("ab", cloud="b"), at(0))
    store.record(graph("ab"), at(90))
    [session] = store.cloud_sessions(observer="a")
    assert session.to_dict() == {
        "peer_key": "b",
        "start": "2026-07-08T12:00:00.000000Z",
        "end": "2026-07-08T12:01:30.000000Z",
        "duration_seconds": 90.0,
        "end_reason": "flag",
        "observer": "a",
    }
    with pytest.raises(peerstore.QuestionError):
        store.cloud_sessions(since=at(1), until=at(0))


# Over whom.


def test_routes_to_the_nearest_bridges(store: peerstore.PeerStore) -> None:
    """b and e are bridges; d is between them; f reaches e alone over either of two; y and z reach none."""
    store.record(graph("abcdefghyz", "ab", "bc", "cd", "de", "eg", "eh", "gf", "hf", "yz", "fu", cloud="be"), at(0))
    cloud = store.cloud_at(at(5))
    assert cloud.watched
    assert (cloud.bridges, cloud.cut_off, cloud.unknown_ends) == (("b", "e"), ("y", "z"), 1)
    routes = {key: (each.hops, each.nearest, each.path_count) for key, each in cloud.routes.items()}
    assert routes == {
        "a": (1, ("b",), 1),
        "b": (0, ("b",), 1),
        "c": (1, ("b",), 1),
        "d": (1, ("e",), 1),
        "e": (0, ("e",), 1),
        "f": (2, ("e",), 2),
        "g": (1, ("e",), 1),
        "h": (1, ("e",), 1),
        "y": (None, (), 0),
        "z": (None, (), 0),
    }
    assert cloud.routes["f"].paths == (("f", "g", "e"), ("f", "h", "e"))
    assert cloud.routes["f"].bridges == ("b", "e")
    assert cloud.routes["b"].paths == (("b",),)
    assert cloud.to_dict()["routes"][5] == {
        "peer_key": "f",
        "hops": 2,
        "nearest": ["e"],
        "bridges": ["b", "e"],
        "path_count": 2,
        "paths": [["f", "g", "e"], ["f", "h", "e"]],
    }
    unobserved = store.cloud_at(at(-1))
    assert (unobserved.watched, unobserved.bridges, unobserved.cut_off, dict(unobserved.routes)) == (False, (), (), {})


def test_who_was_the_bridge(store: peerstore.PeerStore) -> None:
    store.record(graph("abc", cloud="b"), at(0), max_silence=100)
    store.record(graph("abc", "ab", cloud="b"), at(5), max_silence=100)  # nothing of the cloud
    store.record(graph("abc", cloud="bc"), at(10), max_silence=100)
    store.record(graph("abc"), at(20), max_silence=100)
    store.record(graph("abc", cloud="c"), at(22), max_silence=3)
    store.record(graph("abc"), at(40), max_silence=100)
    store.record(graph("ab", cloud="b"), at(50), max_silence=100)
    found = list(store.cloud_over(until=at(60)))
    assert [((each.start - NOON) / SECOND, each.known, "".join(each.bridges)) for each in found] == [
        (0, True, "b"),
        (10, True, "bc"),
        (20, True, ""),
        (22, True, "c"),
        (25.000001, False, ""),
        (40, True, ""),
        (50, True, "b"),
    ]
    assert all(one.end == other.start for one, other in pairwise(found))
    assert found[-1].end == at(60)
    assert list(store.cloud_over())[-1].start == at(40)  # the last observation is the end of what is measured
    assert found[0].to_dict()["duration_seconds"] == found[0].duration.total_seconds() == 10
    [within] = store.cloud_over(at(26), at(30))
    assert (within.known, within.bridges) == (False, ())
    [outside] = store.cloud_over(at(-20), at(-10))
    assert (outside.known, outside.start, outside.end) == (False, at(-20), at(-10))


# Against brute force.

anything = st.one_of(worlds(), meshes(), meshes())


@pytest.mark.parametrize("engine", ENGINES)
def test_cloud_sessions_are_those_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=anything, window=windows, peer=st.none() | st.sampled_from(PEERS))
    def holds(world: World, window: tuple[int | None, int | None], peer: str | None) -> None:
        with recorded(world, engine) as (store, view):
            since, until = window
            found = list(store.cloud_sessions(peer, **between(window), **arguments(world)))
            given = [
                (each.peer_key, micros(each.start), each.end and micros(each.end), each.end_reason) for each in found
            ]
            expected = [
                each
                for key in PEERS
                if peer in (None, key)
                for each in stays(view, key)
                if (until is None or each[1] < until) and (since is None or each[2] is None or each[2] > since)
            ]
            assert sorted(given, key=str) == sorted(expected, key=str)
            order = [(each[2] is None, each[2] or each[1]) for each in given]
            assert order == sorted(order)

    holds()


def stays(view: View, peer: str) -> Iterator[tuple[str, int, int | None, str | None]]:
    start = None
    for t in view.change_points():
        raised = peer in bridges(view.presence(t))
        if raised and start is None:
            start = t
        elif start is not None and not raised:
            yield peer, start, t, "flag" if peer in view.presence(t).peers else view.end_reason(peer, t)
            start = None
    if start is not None:
        yield peer, start, None, None


@pytest.mark.parametrize("engine", ENGINES)
def test_a_moments_cloud_is_that_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=anything)
    def holds(world: World) -> None:
        with recorded(world, engine) as (store, view):
            for t in moments_of(view)[::3]:
                then, near = view.presence(t), net(view.presence(t)).near
                cloud = store.cloud_at(instant(t), **arguments(world))
                assert set(cloud.bridges) == bridges(then)
                assert cloud.unknown_ends == unknown_ends(then)
                assert list(cloud.routes) == sorted(near)
                for key, route in cloud.routes.items():
                    steps = {goal: length for goal, length in hops(near, key).items() if goal in bridges(then)}
                    least = min(steps.values(), default=None)
                    nearest = sorted(goal for goal, length in steps.items() if length == least)
                    paths = sorted(path for goal in nearest for path in shortest_paths(near, key, goal))
                    assert (route.hops, list(route.nearest)) == (least, nearest)
                    assert list(route.bridges) == sorted(steps)
                    assert (route.path_count, list(route.paths)) == (len(paths), paths[:100])
                assert list(cloud.cut_off) == [key for key in sorted(near) if cloud.routes[key].hops is None]

    holds()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_bridges_over_time_are_those_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=anything, window=windows)
    def holds(world: World, window: tuple[int | None, int | None]) -> None:
        with recorded(world, engine) as (store, view):
            found = list(store.cloud_over(**between(window), **arguments(world)))
            whole = measured(view, *window)
            expected = (
                []
                if whole is None
                else stretches(view, whole, lambda then: (bool(then.watching), tuple(sorted(bridges(then)))))
            )
            assert [(micros(each.start), micros(each.end), (each.known, each.bridges)) for each in found] == expected

    holds()
