"""Coverage, clocks and disagreements against the brute force of ``tests/watching_model.py``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

import peerstore
from peerstore.times import instant, micros
from tests import watching_model
from tests.conftest import ENGINES
from tests.machine import SECOND, START, STEP, Envelope, Question, assert_same, instants, windows
from tests.model import MISSING, Graph, freeze
from tests.watching_model import Disagreed, Gap, Skew, Subject, Watched, Window
from tests.worlds import World, arguments, recorded, tried, worlds

lengths = st.sampled_from((0, 1, STEP - 1, STEP, 2 * STEP))


def limits(window: Window) -> dict[str, Any]:
    since, until = window
    return {
        "since": None if since is None else instant(since),
        "until": None if until is None else instant(until),
    }


def span(microseconds: int) -> timedelta:
    return timedelta(microseconds=microseconds)


def end_of(moment: Any) -> int | None:
    return None if moment is None else micros(moment)


@pytest.mark.parametrize("engine", ENGINES)
def test_coverage_gaps_and_shares(engine: str) -> None:
    @tried(engine)
    @given(world=worlds(), window=windows, length=lengths)
    def holds(world: World, window: Window, length: int) -> None:
        with recorded(world, engine) as (store, view):
            asked = {**limits(window), **arguments(world)}
            spans = [
                Watched(
                    each.observer,
                    micros(each.start),
                    end_of(each.end),
                    each.end_reason,
                    each.observations,
                    None if each.longest_silence is None else each.longest_silence // span(1),
                )
                for each in store.coverage(**asked)
            ]
            assert_same(spans, watching_model.coverage(view, window), window)
            assert spans == sorted(spans, key=lambda each: (each.observer, each.start))
            of_each = list(store.coverage_gaps(span(length), "observers", **asked))
            assert_same(map(gap, of_each), watching_model.gaps_of_observers(view, window, length), window, length)
            of_all = list(store.coverage_gaps(span(length), "nobody", **asked))
            assert_same(map(gap, of_all), watching_model.gaps_of_all(view, window, length), window, length)
            both = [*of_each, *(of_all if world.question.observer is None else [])]
            assert list(store.coverage_gaps(span(length), **asked)) == both
            shares = [(each.observer, each.watched // span(1), each.spans) for each in store.coverage_shares(**asked)]
            assert_same(shares, watching_model.watched_in(view, window), window)

    holds()


def gap(given: peerstore.CoverageGap) -> Gap:
    return Gap(given.observer, micros(given.start), end_of(given.end), given.reason)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_limit_asked_for_finds_the_silences_that_are_longer_than_it(engine: str) -> None:
    """The same gaps, each beginning the limit and a microsecond later."""

    @tried(engine)
    @given(world=worlds(), length=lengths.filter(bool))
    def holds(world: World, length: int) -> None:
        graphs = [each._replace(max_silence=None) for each in world.envelopes if each.graph is not None]
        with recorded(World(graphs, Question()), engine) as (store, _):
            quiet = list(store.coverage_gaps(span(length), "observers"))
            later = [(each.observer, each.start + span(length + 1), each.end) for each in quiet]
            silent = store.coverage_gaps(0, "observers", max_silence=span(length))
            closed = [(each.observer, each.start, each.end) for each in silent if each.end is not None]
            assert closed == [each for each in later if each[1] != each[2]]
            assert {each.reason for each in quiet} <= {"quiet"}

    holds()


# Clocks: several observers tell of few peers that come and go, all in the same words.


@st.composite
def rumours(draw: st.DrawFn) -> World:
    moments = st.integers(0, 60).map(lambda step: START + step * SECOND)
    peers = st.sets(st.sampled_from("pqrs"))
    said = draw(
        st.lists(st.tuples(st.sampled_from("ab" if draw(st.booleans()) else "abc"), moments, peers), min_size=8)
    )
    named = {"device_name": "n"}
    envelopes = [
        Envelope(
            observer,
            at,
            0,
            Graph(observer, {observer: named, **dict.fromkeys(sorted(seen), named)}, {}),
            draw(st.sampled_from((None, None, None, 10 * SECOND))),
        )
        for observer, at, seen in said
    ]
    return World(envelopes, Question())


@pytest.mark.parametrize("engine", ENGINES)
def test_clock_skew(engine: str) -> None:
    found = 0

    @tried(engine)
    @given(world=rumours(), within=st.sampled_from((1, 3, 8)), window=st.just((None, None)) | windows)
    def holds(world: World, within: int, window: Window) -> None:
        nonlocal found
        with recorded(world, engine) as (store, view):
            given = list(store.clock_skew(within=within, **limits(window)))
            expected = watching_model.skews(view, window, within * SECOND)
            assert_same(map(skew, given), expected, window)
            found += len(expected)
            assert [(each.observer, each.reference) for each in given] == sorted(each[:2] for each in expected)
            for reference in "ab":
                mine = [turned(each, reference) for each in given if reference in (each.observer, each.reference)]
                assert list(store.clock_skew(reference, within, **limits(window))) == mine

    holds()
    assert found or engine != "sqlite"  # there too few worlds are tried to be sure of one


def skew(given: peerstore.ClockSkew) -> Skew:
    offset, spread = given.offset // span(1), given.spread // span(1)
    return Skew(given.observer, given.reference, offset, spread, given.samples)


def turned(given: peerstore.ClockSkew, reference: str) -> peerstore.ClockSkew:
    if given.reference == reference:
        return given
    return peerstore.ClockSkew(given.reference, given.observer, -given.offset, given.spread, given.samples)


# Disagreements.


def subject_of(given: peerstore.Disagreement) -> Subject:
    link = given.connection
    thing = given.peer_key if link is None else (link.peer1, link.peer2, link.type, link.id)
    if given.kind == "attribute":
        return (given.kind, thing, given.path)
    return (given.kind, thing, given.listed_by) if given.kind == "listing" else (given.kind, thing)


def sides_of(given: peerstore.Disagreement) -> frozenset[tuple[Any, frozenset[str]]]:
    if given.kind == "attribute":
        values = [(MISSING if each.value is peerstore.ABSENT else each.value, each.observers) for each in given.values]
        return frozenset((freeze(value), frozenset(observers)) for value, observers in values)
    sides = {(True, frozenset(given.seen_by))}
    if given.kind != "listing":
        sides.add((False, frozenset(given.not_seen_by)))
    return frozenset(sides)


def disagreed(given: peerstore.Disagreement) -> Disagreed:
    assert given.start is not None
    return Disagreed(
        subject_of(given),
        sides_of(given),
        micros(given.start),
        end_of(given.end),
        given.held_before,
        given.end_reason,
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_disagreements_over_time(engine: str) -> None:
    @tried(engine)
    @given(world=worlds(14), window=windows, length=lengths)
    def holds(world: World, window: Window, length: int) -> None:
        with recorded(world, engine) as (store, view):
            asked = {**limits(window), **arguments(world)}
            given = list(store.disagreements(**asked))
            assert_same(map(disagreed, given), watching_model.disagreements(view, window), world.question, window)
            ended = [each.end for each in given if each.end is not None]
            assert [each.end for each in given] == [*sorted(ended), *[None] * (len(given) - len(ended))]
            longer = [each for each in given if lasted(each, window) > length]
            assert list(store.disagreements(longer_than=span(length), **asked)) == longer
            for kinds in (["peer", "attribute"], ["connection"], ["listing"]):
                some = [each for each in given if each.kind in kinds]
                assert list(store.disagreements(kinds=kinds, **asked)) == some
            for peer in "ad":
                mine = [each for each in given if peer in about(each)]
                assert list(store.disagreements(peer=peer, **asked)) == mine

    holds()


def lasted(given: peerstore.Disagreement, window: Window) -> int:
    assert given.start is not None
    end = micros(given.end) if given.end is not None else window[1]
    return watching_model.ENDLESS if end is None else end - micros(given.start)


def about(given: peerstore.Disagreement) -> set[str | None]:
    return {given.peer_key} if given.connection is None else {given.connection.peer1, given.connection.peer2}


@pytest.mark.parametrize("engine", ENGINES)
def test_disagreements_of_one_moment(engine: str) -> None:
    @tried(engine)
    @given(world=worlds(14), at=instants)
    def holds(world: World, at: int) -> None:
        with recorded(world, engine) as (store, view):
            given = store.disagreements_at(instant(at), **arguments(world))
            expected = {}
            for subject, sides in watching_model.told(view, at).items():
                grouped = {side: {who for who in sides if sides[who] == side} for side in sides.values()}
                expected[subject] = frozenset((side, frozenset(who)) for side, who in grouped.items())
            assert {subject_of(each): sides_of(each) for each in given} == expected
            assert len(given) == len(expected)
            assert given.watched is bool(view.presence(at).watching)
            mine = tuple(each for each in given if "a" in about(each))
            assert store.disagreements_at(instant(at), "a", **arguments(world)).disagreements == mine
            whole = given.disagreements
            assert tuple(store.disagreements(instant(at), instant(at + 1), **arguments(world))) == tuple(
                same_over_time(each, at, store, world) for each in whole
            )

    holds()


def same_over_time(
    given: peerstore.Disagreement, at: int, store: peerstore.PeerStore, world: World
) -> peerstore.Disagreement:
    """The disagreement of one moment as one that holds over it."""
    before = {subject_of(each) for each in store.disagreements_at(instant(at - 1), **arguments(world))}
    given.start, given.held_before = instant(at), subject_of(given) in before
    return given
