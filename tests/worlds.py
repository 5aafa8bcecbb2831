"""Small worlds: the same generated observations in a real store and in the in-memory model, so that any answer of the
one can be held against the other.

``@given(world=worlds())`` draws what is recorded; ``with recorded(world, engine) as (store, model):`` records it. The
brute force is :class:`tests.model.View`: ``presence(t)`` is the merged presence at an instant, and between two
neighbours of ``change_points()`` it is constant.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings

import peerstore
from peerstore.times import instant
from tests.conftest import drop_url, fresh_url
from tests.machine import START, STEP, Envelope, Question, asked_silences, batches, line
from tests.model import Model, Said, View

RECORDED = START + 1_000 * STEP
"""The store's clock while it records; questions about "now" are asked then."""


WORLDS = int(os.environ.get("PEERSTORE_WORLDS", "12"))
"""Few, so that the suite is run often; ``.ci/run`` tries more."""


class World(NamedTuple):
    """Observations to record, and how a question is asked: of whom, with which limit of silence."""

    envelopes: list[Envelope]
    question: Question


@st.composite
def worlds(draw: st.DrawFn, most: int = 10) -> World:
    """A few observations of up to three observers (``tests/machine.py`` says of what), and a question's scope."""
    envelopes = draw(batches(most))
    observer = draw(st.sampled_from((None, None, None, *sorted({each.observer for each in envelopes}))))
    return World(envelopes, Question(observer, None, draw(asked_silences)))


@contextmanager
def recorded(world: World, engine: str) -> Iterator[tuple[peerstore.PeerStore, View]]:
    """A fresh store that holds the observations, and the model's view for the question."""
    model = Model()
    url = fresh_url(engine)
    try:
        with peerstore.open(url, clock=lambda: instant(RECORDED)) as store:
            store.record_many([line(envelope) for envelope in world.envelopes])
            for observer, observed_at, sequence, graph, silence in world.envelopes:
                model.record(observer, Said(observed_at, sequence, graph, silence, RECORDED))
            yield store, model.view(*world.question)
    finally:
        drop_url(url)


def arguments(world: World) -> dict[str, Any]:
    """The question's scope as keyword arguments of the store's methods."""
    silence = world.question.max_silence
    limit = None if silence is None else timedelta(microseconds=silence)
    return {"observer": world.question.observer, "max_silence": limit}


def pieces(view: View, since: int, until: int) -> Iterator[tuple[int, int]]:
    """``[since, until)`` cut where the presence may change: over each piece it is constant."""
    points = [since, *(point for point in view.change_points() if since < point < until), until]
    yield from ((start, end) for start, end in pairwise(points) if start < end)


def tried(engine: str) -> settings:
    """How many worlds a property is tried on: ``PEERSTORE_WORLDS`` of them, on PostgreSQL a quarter."""
    return settings(
        max_examples=WORLDS if engine == "sqlite" else max(WORLDS // 4, 1),
        deadline=None,
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
