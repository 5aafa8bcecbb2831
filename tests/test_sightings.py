"""First and last sight of peers, and their last direct links: by hand where it matters, and against plain brute force
on generated histories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import peerstore
from peerstore.times import micros
from tests.conftest import ENGINES
from tests.machine import instants
from tests.model import Said, View
from tests.test_online import PEERS, at, graph, moment, seconds
from tests.worlds import RECORDED, World, arguments, recorded, tried, worlds


@pytest.fixture
def store(store_url: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url, clock=lambda: at(100_000)) as opened:
        yield opened


def sights(store: peerstore.PeerStore, *question: Any, **more: Any) -> list[tuple[Any, ...]]:
    """Peer, observer, first seen, confirmed, until; since when, until when and with whom it was linked."""
    return [
        (
            *(each.peer_key, each.observer),
            *(seconds(moment) for moment in (each.first_seen, each.last_confirmed, each.present_until)),
            *(seconds(each.link_since), seconds(each.link_until), each.linked_to),
        )
        for each in store.seen(*question, **more)
    ]


def test_by_anyone_and_by_each(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "k", "ak"), at(0), max_silence=60)
    store.record(graph("b", "k"), at(10))
    store.record(graph("a", "k"), at(20), max_silence=60)
    store.record(graph("b", "kx"), at(30))
    store.record(graph("a", "k"), at(40), max_silence=60)
    store.record(graph("b", "x", "bx"), at(50))
    store.record(graph("c"), at(60))
    unlinked = (None, None, None)
    assert sights(store, "k") == [
        ("k", None, 0, 40, 100.000001, 0, 20, "a"),
        ("k", "a", 0, 40, 100.000001, 0, 20, "a"),
        ("k", "b", 10, 30, 50, *unlinked),
    ]
    assert sights(store, "k", at(45)) == [
        ("k", None, 0, 40, None, 0, 20, "a"),
        ("k", "a", 0, 40, None, 0, 20, "a"),
        ("k", "b", 10, 30, None, *unlinked),
    ]
    assert sights(store, "x") == [("x", None, 30, 50, None, 50, None, "b"), ("x", "b", 30, 50, None, 50, None, "b")]
    assert sights(store, "x", at(29.999999)) == sights(store, "nobody") == []
    assert sights(store, "k", observer="b") == [("k", None, 10, 30, 50, *unlinked), ("k", "b", 10, 30, 50, *unlinked)]
    assert sights(store)[:2] == [("a", None, 0, 40, 100.000001, *unlinked), ("a", "a", 0, 40, 100.000001, *unlinked)]
    assert [row[:2] for row in sights(store)] == [
        *(("a", None), ("a", "a"), ("b", None), ("b", "b"), ("c", None), ("c", "c")),
        *(("k", None), ("k", "a"), ("k", "b"), ("x", None), ("x", "b")),
    ]
    assert next(store.seen("x")).to_dict() == {
        "peer_key": "x",
        "observer": None,
        "first_seen": "2026-07-08T12:00:30.000000Z",
        "last_confirmed": "2026-07-08T12:00:50.000000Z",
        "present_until": None,
        "link_since": "2026-07-08T12:00:50.000000Z",
        "link_until": None,
        "linked_to": "b",
    }


def test_a_direct_link_is_one_whatever_its_type_and_only_with_the_observer_itself(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "kx", "ak"), at(0))
    store.record(graph("a", "kx", "ak", kind="AccessPoint"), at(10))  # another link, without a break
    store.record(graph("a", "kx", "kx"), at(20))  # a link that is none of the observer's
    assert sights(store, "k", observer="a")[1][5:] == (0, 20, "a")
    assert sights(store, "x", observer="a")[1][5:] == (None, None, None)
    store.record(graph("a", "kx", "ak", "aa"), at(30))
    store.record(None, at(40), observer="a")
    assert sights(store, "k", observer="a")[1][5:] == (30, 40, "a")
    assert sights(store, "a", observer="a")[1][5:] == (None, None, None)


def test_an_observer_goes_by_another_name_than_its_local_peer(store: peerstore.PeerStore) -> None:
    store.record(graph("a", "k", "ak"), at(0), observer="recorder")
    store.record(graph("b", "k", "bk"), at(10), observer="recorder")
    assert sights(store, "k", at(5))[1] == ("k", "recorder", 0, 0, None, 0, None, "a")
    assert sights(store, "k")[1] == ("k", "recorder", 0, 10, None, 10, None, "b")


def test_the_last_link_of_all(store: peerstore.PeerStore) -> None:
    """That which ended last; of those that hold, the oldest."""
    store.record(graph("a", "k", "ak"), at(0))
    store.record(graph("b", "k", "bk"), at(5))
    assert sights(store, "k")[0][5:] == (0, None, "a")
    store.record(graph("a", "k"), at(10))
    assert sights(store, "k")[0][5:] == (5, None, "b")
    store.record(graph("b", "k"), at(9))
    assert sights(store, "k")[0][5:] == (0, 10, "a")


# Brute force.


def sight(view: View, peer: str, at: int) -> tuple[int, int, int | None] | None:
    """First seen, last confirmed and present until, in a view as it was until an instant."""
    points = [*view.points_before(at), at]
    there = [point for point in points if peer in view.presence(point).peers]
    if not there:
        return None
    gone = [point for point in points if point > there[-1]]
    held = [said.observed_at for who in view.said for said in view.said[who] if holding(view, who, said, peer, at)]
    return min(there), max(held), gone[0] if gone else None


def holding(view: View, who: str, said: Said, peer: str, at: int) -> bool:
    counts = said.observed_at <= at and view.in_force(who, said.observed_at) is said
    return counts and said.graph is not None and peer in said.graph.peers


def link(view: View, who: str, peer: str, at: int) -> tuple[int, int | None, str] | None:
    """The last stretch over which an observer listed a connection of its local peer with a peer."""
    last: tuple[int, int | None, str] | None = None
    for point in [*view.points_before(at), at]:
        told = view.graph(who, point)
        home = told.local_peer if told is not None else None
        ends = set() if told is None else {frozenset(each[:2]) for each in told.connections}
        linked = home if home != peer and frozenset((home, peer)) in ends else None
        if last is not None and last[1] is None and last[2] != linked:
            last = (last[0], point, last[2])
        if linked is not None and (last is None or last[1] is not None):
            last = (point, None, linked)
    return last


@pytest.mark.parametrize("engine", ENGINES)
def test_sights_are_those_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=worlds(), asked=st.none() | instants, peer=st.sampled_from(PEERS))
    def holds(world: World, asked: int | None, peer: str) -> None:
        with recorded(world, engine) as (store, view):
            at = RECORDED if asked is None else asked
            question: dict[str, Any] = {**arguments(world), "at": moment(asked)}
            rows = [(each.peer_key, each.observer, *times_of(each)) for each in store.seen(**question)]
            expected = [row for each in PEERS for row in expected_rows(view, each, at)]
            assert rows == expected
            mine = [(each.peer_key, each.observer, *times_of(each)) for each in store.seen(peer, **question)]
            assert mine == [row for row in expected if row[0] == peer]

    holds()


def times_of(row: peerstore.Seen) -> tuple[Any, ...]:
    times = (row.first_seen, row.last_confirmed, row.present_until, row.link_since, row.link_until)
    return (*(None if each is None else micros(each) for each in times), row.linked_to)


def expected_rows(view: View, peer: str, at: int) -> Iterator[tuple[Any, ...]]:
    merged = sight(view, peer, at)
    if merged is None:
        return
    alone = {who: View({who: view.said[who]}, view.max_silence) for who in sorted(view.said)}
    links = {who: link(alone[who], who, peer, at) for who in alone if sight(alone[who], peer, at)}
    ends = [(told[1] is None, told[1] or 0, -told[0]) for told in links.values() if told]
    last = next(
        (told for told in links.values() if told and (told[1] is None, told[1] or 0, -told[0]) == max(ends)), None
    )
    yield (peer, None, *merged, *(last or (None, None, None)))
    for who, told in links.items():
        yield (peer, who, *(sight(alone[who], peer, at) or ()), *(told or (None, None, None)))
