"""Observations given back: every observer's chain replayed, and all of them merged in order of time.

What was recorded comes out as it went in: the state of a graph is that of the observation before it with the change
rows between them applied, so a replay reads each change row once and holds one state an observer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection

from peerstore.canonical import loads
from peerstore.dictionary import Dictionary
from peerstore.ditto_peers import GRAPH
from peerstore.keyframes import State
from peerstore.model import Observation, PresenceGraph
from peerstore.states import (
    AFTER_ALL,
    BEFORE_ALL,
    CHANGES_BETWEEN,
    Logged,
    at_end_of,
    before_lead_in,
    between,
    logged_between,
    state_at,
)


class Replayed(NamedTuple):
    """One observation as it was recorded.

    ``state`` is its graph: element to document, by their ids; that of the graph before it, if it is a stop marker.
    ``changed`` are the elements whose document changed against the observation of this observer that was given before
    (``None``: this is the first one that is given). The state is the replay's own: it changes with the next
    observation of the observer, so copy what must last, and do not modify it.
    """

    observer: str
    logged: Logged
    state: State
    changed: tuple[int, ...] | None


def replayed(
    connection: Connection,
    observers: Mapping[str, int],
    since: int | None = None,
    until: int | None = None,
    known_at: int | None = None,
    lead_in: bool = False,
) -> Iterator[Replayed]:
    """The observations of some observers (ids by key) in ``[since, until)``, in order of time, then of the observers'
    keys, then of their sequence; of what was recorded until ``known_at`` alone.

    ``lead_in``: before them, of each observer, the observation that was in force just before ``since`` (and if that is
    a stop marker the graph before it too), so that whoever gets them knows the mesh from ``since`` on.
    """
    streams = [
        _of_observer(connection, key, number, since, until, known_at, lead_in) for key, number in observers.items()
    ]
    return heapq.merge(*streams, key=lambda each: (each.logged.observed_at, each.observer, each.logged.sequence))


def _of_observer(
    connection: Connection,
    key: str,
    number: int,
    since: int | None,
    until: int | None,
    known_at: int | None,
    lead_in: bool,
) -> Iterator[Replayed]:
    start = BEFORE_ALL if since is None else at_end_of(since - 1)
    if lead_in and since is not None:
        start = before_lead_in(connection, number, start, known_at)
    end = AFTER_ALL if until is None else at_end_of(until - 1)
    state = state_at(connection, number, start)[0]
    rows = connection.execute(CHANGES_BETWEEN, between(number, start, end), execution_options={"yield_per": 1000})
    changes = groupby(rows, key=lambda row: (row.observed_at, row.sequence))
    place, group = next(changes, _NO_MORE)
    changed: set[int] | None = None
    for logged in logged_between(connection, number, start, end):
        if place == logged.position:
            touched = _apply(state, group)
            if changed is not None:
                changed.update(touched)
            place, group = next(changes, _NO_MORE)
        if known_at is None or logged.recorded_at <= known_at:
            yield Replayed(key, logged, state, None if changed is None else tuple(changed))
            changed = set()


_NO_MORE: tuple[tuple[int, int] | None, Iterator[Any]] = (None, iter(()))


def _apply(state: State, rows: Iterable[Any]) -> list[int]:
    touched = []
    for _, _, element, document, _ in rows:
        touched.append(element)
        if document is None:
            state.pop(element, None)
        else:
            state[element] = document
    return touched


def observation(connection: Connection, dictionary: Dictionary, each: Replayed) -> Observation:
    """What was recorded, as it can be recorded again; with the time at which it was."""
    logged = each.logged
    graph = None
    if not logged.stopped:
        elements = dictionary.elements(connection, each.state)
        documents = dictionary.documents(connection, each.state.values())
        items = {elements[number]: documents[document].text for number, document in each.state.items()}
        local_peer = loads(items[GRAPH]).get("local_peer", "")
        graph = PresenceGraph(local_peer, items)
    return Observation(
        each.observer, logged.observed_at, logged.sequence, graph, logged.max_silence, logged.recorded_at
    )
