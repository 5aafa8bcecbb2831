"""Every peer that was ever heard of: its last known attributes, the first and last times of its presence."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.inventory import KnownPeer
from peerstore.coverage import Scope
from peerstore.dictionary import Dictionary
from peerstore.inventory import all_peers
from peerstore.model import Peer
from peerstore.presence import Presence, presence_at
from peerstore.remnants import held_before_horizon
from peerstore.states import at_end_of, last_graph
from peerstore.times import instant, micros
from peerstore.walk import Walk, growing_parts


class _Ended(NamedTuple):
    """Where a peer's last presence ended: when, with which document, and which observers had seen it."""

    at: int
    document: int
    observers: set[int]


def known_peers(
    connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, at: int, peer: str | None = None
) -> Iterator[KnownPeer]:
    """Every peer that the merged presence ever held until an instant, by key; or one of them."""
    now = presence_at(connection, dictionary, scope, at)
    return known_among(connection, dictionary, scope, now, all_peers(connection, peer))


def known_among(
    connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, now: Presence, keys: Mapping[int, str]
) -> Iterator[KnownPeer]:
    """Those of these peers (keys by id) that the merged presence ever held until the instant of one, in their order."""
    at = micros(now.at)
    heard = {state.observer: state.observed_at for state in now.observers if state.observed_at is not None}
    for part in growing_parts(keys):
        first, last = _ends(connection, dictionary, scope, at, part)
        for number in part:
            if number not in first:
                continue
            key = keys[number]
            if key in now.peers:
                there = now.peers[key]
                confirmed = max(heard[each] for each in there.seen_by)
                yield KnownPeer(there, instant(first[number]), confirmed, True)
            else:
                yield _gone(connection, dictionary, scope, first[number], last[number], key, now)


def _ends(
    connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, at: int, elements: Collection[int]
) -> tuple[dict[int, int], dict[int, _Ended]]:
    """When each element was first present, and where its last presence ended."""
    walk = Walk(connection, dictionary, scope, scope.opening, at + 1, elements)
    first = dict.fromkeys(walk.shown if walk.lit else (), scope.opening)
    last: dict[int, _Ended] = {}
    for moment in walk:
        for number in walk.shown if moment.lit and not moment.lit_before else ():
            first.setdefault(number, moment.at)
        for number, (before, after) in moment.changed.items():
            if after is not None:
                first.setdefault(number, moment.at)
            elif before is not None and moment.lit_before:
                last[number] = _Ended(moment.at, before, moment.causes[number])
        if moment.lit_before and not moment.lit:
            for number, document in walk.shown.items():
                last[number] = _Ended(moment.at, document, moment.causes[number])
    first.update(dict.fromkeys(held_before_horizon(connection, scope, first), scope.opening))
    return first, last


def _gone(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    first: int,
    ended: _Ended,
    key: str,
    now: Presence,
) -> KnownPeer:
    body = dictionary.documents(connection, [ended.document])[ended.document]
    spoke = any(state.observer == key and state.observed_at is not None for state in now.observers)
    peer = Peer(key, body, spoke, ())
    return KnownPeer(peer, instant(first), instant(_confirmed(connection, scope, ended)), False)


def _confirmed(connection: DatabaseConnection, scope: Scope, gone: _Ended) -> int:
    """The last observation that held a peer which is gone."""
    before = at_end_of(gone.at - 1)
    graphs = (last_graph(connection, number, before, scope.known_at) for number in gone.observers)
    return max(graph.observed_at for graph in graphs if graph is not None)
