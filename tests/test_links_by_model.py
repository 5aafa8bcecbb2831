"""Contacts, flapping, transports, fallbacks, degree: against brute force (tests/links_model.py)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

import peerstore
from peerstore.times import instant, micros
from tests import links_model
from tests.conftest import ENGINES
from tests.machine import STEP, graces, windows
from tests.model import View
from tests.worlds import World, arguments, recorded, tried, worlds


def bounds(window: tuple[int | None, int | None]) -> dict[str, Any]:
    since, until = (None if bound is None else instant(bound) for bound in window)
    return {"since": since, "until": until}


def count(duration: timedelta | None) -> int | None:
    return None if duration is None else duration // timedelta(microseconds=1)


keys = st.sampled_from((None, None, "a", "b", "d", "unheard-of"))
Window = tuple[int | None, int | None]


@pytest.mark.parametrize("engine", ENGINES)
def test_contacts_are_those_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=worlds(), window=windows, grace=graces, peer=keys, other=keys)
    def holds(world: World, window: Window, grace: int, peer: str | None, other: str | None) -> None:
        with recorded(world, engine) as (store, view):
            asked: dict[str, Any] = {"grace": timedelta(microseconds=grace), **bounds(window), **arguments(world)}
            found = list(store.contacts(peer, other, **asked))
            told = [
                (
                    (each.peer1, each.peer2, each.type),
                    *(each.episodes, count(each.total), count(each.longest), each.mean * each.episodes),
                    *(micros(each.first_start), None if each.last_end is None else micros(each.last_end)),
                    *(each.connections, count(each.known), count(each.unobserved)),
                )
                for each in found
            ]
            expected = links_model.contacts(view, *window, (peer, other), grace)
            assert [row[:4] + row[5:] for row in told] == [row[:4] + row[5:] for row in expected]
            for row, other_row in zip(told, expected, strict=True):
                assert row[4] == pytest.approx(timedelta(microseconds=other_row[4]), abs=timedelta(microseconds=9))

    holds()


@pytest.mark.parametrize("engine", ENGINES)
def test_flapping_is_that_of_the_model(engine: str) -> None:
    withins = st.sampled_from((1, STEP - 1, STEP, STEP + 1, 2 * STEP + 1, 10 * STEP))

    @tried(engine)
    @given(
        world=worlds(14),
        window=windows,
        limits=st.tuples(st.integers(1, 3), withins, st.none() | withins),
        peers=st.booleans(),
        peer=keys,
    )
    def holds(world: World, window: Window, limits: tuple[int, int, int | None], peers: bool, peer: str | None) -> None:
        with recorded(world, engine) as (store, view):
            within, shorter = (None if each is None else timedelta(microseconds=each) for each in limits[1:])
            assert within is not None
            found = store.flapping(
                limits[0],
                within,
                shorter,
                "peer" if peers else "connection",
                peer,
                **bounds(window),
                **arguments(world),
            )
            told = [
                (
                    each.peer_key if each.connection is None else
                    (each.connection.peer1, each.connection.peer2, each.connection.type, each.connection.id),
                    *(each.episodes, each.most, micros(each.window_start), count(each.shortest)),
                    *(each.durations, each.open, each.cut),
                )
                for each in found
            ]  # fmt: skip
            assert told == links_model.flapping(view, *window, peers, peer, limits)

    holds()


@pytest.mark.parametrize("engine", ENGINES)
def test_transports_are_those_of_the_model(engine: str) -> None:
    lengths = st.none() | st.sampled_from((STEP // 2, STEP, 3 * STEP, 3 * STEP + 7, 1000 * STEP))

    @tried(engine)
    @given(world=worlds(), window=windows, every=lengths, peer=keys)
    def holds(world: World, window: Window, every: int | None, peer: str | None) -> None:
        with recorded(world, engine) as (store, view):
            length = None if every is None else timedelta(microseconds=every)
            told = [
                (
                    *(micros(mix.start), micros(mix.end), count(mix.known), count(mix.peer_time)),
                    count(mix.connected_peer_time),
                    {each.type: (each.links, count(each.link_time), count(each.only_time)) for each in mix.transports},
                )
                for mix in store.transports(length, peer, **bounds(window), **arguments(world))
            ]
            assert told == links_model.transports(view, *window, every, peer)

    holds()


@pytest.mark.parametrize("engine", ENGINES)
def test_fallbacks_are_those_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(
        world=worlds(14),
        window=windows,
        grace=graces,
        peers=st.booleans(),
        named=st.tuples(keys, keys),
        ends=st.booleans(),
    )
    def holds(
        world: World, window: Window, grace: int, peers: bool, named: tuple[str | None, str | None], ends: bool
    ) -> None:
        peer, other = named[0], None if peers else named[1]
        with recorded(world, engine) as (store, view):
            told = [
                (micros(each.observed_at), (each.peer1, each.peer2), each.before, each.after, each.across_gap)
                for each in store.fallbacks(
                    peer,
                    other,
                    of="peer" if peers else "pair",
                    ends=ends,
                    grace=timedelta(microseconds=grace),
                    **bounds(window),
                    **arguments(world),
                )
            ]
            assert told == links_model.fallbacks(view, *window, peers, (peer, other), ends, grace)

    holds()


@pytest.mark.parametrize("engine", ENGINES)
def test_degrees_are_those_of_the_model(engine: str) -> None:
    caps = {"Bluetooth": 1, "AccessPoint+WebSocket": 1, "Bluetooth+AccessPoint": 2}

    @tried(engine)
    @given(world=worlds(), window=windows, peer=keys)
    def holds(world: World, window: Window, peer: str | None) -> None:
        with recorded(world, engine) as (store, view):
            expected = links_model.degrees(view, *window, peer, caps)
            found = list(store.degrees(peer, caps, **bounds(window), **arguments(world)))
            told = [
                (
                    *(each.peer_key, count(each.present), each.mean, each.most, micros(each.most_at)),
                    *(each.most_by_type, {name: count(time) for name, time in each.at_cap.items()}),
                    *(count(each.known), count(each.unobserved)),
                )
                for each in found
            ]
            assert told == [(*row[:2], row[2] / row[1], *row[3:]) for row in expected]
            check_stretches(store, view, world, window, peer or "b")

    holds()


def check_stretches(store: peerstore.PeerStore, view: View, world: World, window: Window, peer: str) -> None:
    told = [
        ((each.state, each.by_type), micros(each.start), micros(each.end))
        for each in store.degree_over(peer, **bounds(window), **arguments(world))
    ]
    assert told == links_model.degree_over(view, *window, peer)
