"""Why a peer was as it was at a moment: the facts around it, each found at the cost of that peer alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import groupby
from typing import NamedTuple

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore import inventory
from peerstore.answers.changes import Change
from peerstore.answers.sessions import Session
from peerstore.answers.why import CloudWay, NearestChanges, PresenceStretch, State, Unwatching, Why, Witness
from peerstore.coverage import Scope, measured_window, watched
from peerstore.dictionary import Dictionary
from peerstore.model import Peer
from peerstore.presence import Presence, View, last_known, observer_state, presence_at, version_begin, views_at
from peerstore.questions.changes import OF_CONNECTIONS, OF_PEERS, Question
from peerstore.questions.findings import findings
from peerstore.questions.sessions import Sessions, Stay
from peerstore.times import LATEST, instant, micros
from peerstore.walk import Walk

_STEP = 3_600_000_000
_LONGER = 8  # each step of a search goes so many times as far as the one before it


class Asked(NamedTuple):
    """Of which peer, when, and how far around."""

    peer: str
    at: int
    within: int


def why(connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, asked: Asked) -> Why:
    """All that bears on how a peer was at a moment."""
    facts_at = last_known(connection, scope, asked.at)
    presence = presence_at(connection, dictionary, scope, asked.at if facts_at is None else facts_at)
    around = Around(connection, dictionary, scope, asked)
    session, previous, following = around.sessions()
    state: State = "unobserved" if facts_at != asked.at else "present" if asked.peer in presence.peers else "absent"
    there = presence.peers.get(asked.peer)
    links = tuple(link for link in presence.connections if asked.peer in (link.peer1, link.peer2))
    alone = there is not None and all("self_link" in link.flags for link in links)
    ends = (around.before(OF_CONNECTIONS), around.after(OF_CONNECTIONS)) if alone else (None, None)
    found = Why(
        at=instant(asked.at),
        known_at=presence.known_at,
        peer_key=asked.peer,
        within=timedelta(microseconds=asked.within),
        state=state,
        facts_at=None if facts_at is None else instant(facts_at),
        present=there is not None,
        peer=there or around.last_seen(previous),
        witnesses=tuple(around.witnesses(presence)),
        connections=links,
        cloud=None if there is None else way_to_cloud(presence, asked.peer),
        before=around.before(OF_PEERS | OF_CONNECTIONS),
        after=around.after(OF_PEERS | OF_CONNECTIONS),
        links_before=ends[0],
        links_after=ends[1],
        links_unobserved=around.unobserved(*ends) if alone else None,
        session=session,
        previous=previous,
        following=following,
        stretches=tuple(around.stretches()),
        changes=tuple(around.changes()),
    )
    found.findings = tuple(findings(found))
    return found


class Around:
    """What lies around a moment, of one peer."""

    def __init__(self, connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, asked: Asked) -> None:
        self._connection, self._dictionary, self._scope = connection, dictionary, scope
        self._asked = asked
        self._elements = inventory.peer_elements(connection, asked.peer)
        history = measured_window(connection, scope, None, LATEST + 1)
        self._first = LATEST if history is None else history[0]

    def _asking(self, since: int, until: int, kinds: Iterable[str]) -> Iterator[Change]:
        scope = self._connection, self._dictionary, self._scope
        return Question(*scope, since, until, self._asked.peer).changes(frozenset(kinds))

    def changes(self) -> Iterator[Change]:
        """All changes of the peer or its links within the time around."""
        since, until = self._window()
        return self._asking(since, until, OF_PEERS | OF_CONNECTIONS)

    def _window(self) -> tuple[int, int]:
        at, within = self._asked.at, self._asked.within
        return max(at - within, self._scope.before_all + 1), min(at + within, LATEST + 1)

    def _backwards(self) -> Iterator[tuple[int, int]]:
        """Windows up to the moment, from the last one back, each longer than the one before it."""
        end, step = self._asked.at + 1, _STEP
        while end > self._first:
            yield max(end - step, self._first), end
            end, step = end - step, step * _LONGER

    def _forwards(self) -> Iterator[tuple[int, int]]:
        """Windows after the moment."""
        start, step = max(self._asked.at + 1, self._first), _STEP
        while start <= LATEST:
            yield start, min(start + step, LATEST + 1)
            start, step = start + step, step * _LONGER

    def before(self, kinds: Iterable[str]) -> NearestChanges | None:
        """The changes of the last instant at or before the moment that has any."""
        for since, until in self._backwards():
            last: list[Change] = []
            for _, group in groupby(self._asking(since, until, kinds), key=lambda change: change.observed_at):
                last = list(group)
            if last:
                return self._nearest(last)
        return None

    def after(self, kinds: Iterable[str]) -> NearestChanges | None:
        """The changes of the first instant after the moment that has any."""
        for since, until in self._forwards():
            for _, group in groupby(self._asking(since, until, kinds), key=lambda change: change.observed_at):
                return self._nearest(list(group))
        return None

    def _nearest(self, changes: list[Change]) -> NearestChanges:
        at = changes[0].observed_at
        return NearestChanges(at, abs(at - instant(self._asked.at)), tuple(changes))

    def unobserved(self, before: NearestChanges | None, after: NearestChanges | None) -> timedelta:
        """For how long nobody was watching, from one change (else the first observation) to another (else the
        moment)."""
        start = self._first if before is None else micros(before.observed_at)
        end = self._asked.at if after is None else micros(after.observed_at)
        known = sum(until - since for since, until in watched(self._connection, self._scope, start, end))
        return timedelta(microseconds=max(end - start, 0) - known)

    def sessions(self) -> tuple[Session | None, Session | None, Session | None]:
        """The session that the peer was in, the one before it and the one after it."""
        at = self._asked.at
        now = next((stay for stay in self._stays(at, at + 1) if stay.start <= at), None)
        previous = following = None
        for since, until in self._backwards():
            ended = [stay for stay in self._stays(since, until) if stay.end is not None and stay.end <= at]
            if ended:
                previous = max(ended, key=lambda stay: stay.start)
                break
        for since, until in self._forwards():
            begun = [stay for stay in self._stays(since, until) if stay.start > at]
            if begun:
                following = min(begun, key=lambda stay: stay.start)
                break
        return self._shown(now), self._shown(previous), self._shown(following)

    def _stays(self, since: int, until: int) -> Iterator[Stay]:
        scope = self._connection, self._dictionary, self._scope
        return Sessions(*scope, "peer", self._elements, 0).over(since, until)

    def _shown(self, stay: Stay | None) -> Session | None:
        if stay is None:
            return None
        end = None if stay.end is None else instant(stay.end)
        start = instant(stay.start)
        return Session(self._asked.peer, start, end, None, stay.reason, began_before=stay.began_before)

    def last_seen(self, previous: Session | None) -> Peer | None:
        """The peer as it was when it was last present."""
        if previous is None or previous.end is None:
            return None
        at = micros(previous.end) - 1
        return presence_at(self._connection, self._dictionary, self._scope, at).peers.get(self._asked.peer)

    def stretches(self) -> Iterator[PresenceStretch]:
        """The peer's presence within the time around."""
        since, until = self._window()
        walk = Walk(self._connection, self._dictionary, self._scope, since, until, self._elements)
        start, state = since, self._state(walk)
        for moment in walk:
            new = self._state(walk)
            if new != state:
                yield PresenceStretch(instant(start), instant(moment.at), state)
                start, state = moment.at, new
        if start < until:
            yield PresenceStretch(instant(start), instant(min(until, LATEST)), state)

    def _state(self, walk: Walk) -> State:
        if not walk.lit:
            return "unobserved"
        return "present" if walk.shown else "absent"

    def witnesses(self, presence: Presence) -> Iterator[Witness]:
        """Every observer at the moment asked about."""
        islands = ways_from(presence, self._asked.peer)
        states = {view.key: view for view in views_at(self._connection, self._scope, self._asked.at)}
        asked_at = presence if micros(presence.at) == self._asked.at else None
        for key, view in states.items():
            yield self._witness(view, key in islands if asked_at and key in presence.peers and islands else None)

    def _witness(self, view: View, same_island: bool | None) -> Witness:
        state = observer_state(self._connection, self._scope, view.key, view.logged, self._asked.at)
        said = Witness(view.key, view.watching, observed_at=state.observed_at, age=state.age)
        said.watched_until = state.watched_until
        said.not_watching = _unwatching(view)
        if not view.watching or view.logged is None:
            return said
        held = [number for number in self._elements if number in view.state]
        said.sees = bool(held)
        said.island = None if same_island is None else "same" if same_island else "other"
        for number in held:
            document = view.state[number]
            place = view.observer_id, number, view.logged.position
            said.since = instant(version_begin(self._connection, self._scope, *place))
            body = self._dictionary.documents(self._connection, [document])[document].value
            said.is_compatible = body.get("is_compatible")
        return said


def _unwatching(view: View) -> Unwatching | None:
    if view.watching:
        return None
    if view.logged is None:
        return "not_yet"
    return "stopped" if view.logged.stopped else "silence"


def _neighbours(presence: Presence) -> dict[str, list[str]]:
    """Who is linked with whom: self-links and links to peers that are not there are none."""
    found: dict[str, set[str]] = {}
    for link in presence.connections:
        if not link.flags:
            found.setdefault(link.peer1, set()).add(link.peer2)
            found.setdefault(link.peer2, set()).add(link.peer1)
    return {key: sorted(others) for key, others in found.items()}


def ways_from(presence: Presence, peer: str) -> dict[str, tuple[str, ...]]:
    """The peers that a peer can reach, the nearest first, each with the way to it (of the shortest, the first by keys);
    itself among them. Written out, so that the question needs no optional library."""
    if peer not in presence.peers:
        return {}
    neighbours = _neighbours(presence)
    ways: dict[str, tuple[str, ...]] = {peer: (peer,)}
    waiting = deque([peer])
    while waiting:
        here = waiting.popleft()
        for other in neighbours.get(here, ()):
            if other not in ways:
                ways[other] = (*ways[here], other)
                waiting.append(other)
    return ways


def way_to_cloud(presence: Presence, peer: str) -> CloudWay:
    """A present peer's way to the nearest peer that says it has a link of its own to the cloud."""
    ways = ways_from(presence, peer)
    bridges = tuple(key for key, each in presence.peers.items() if each.is_connected_to_cloud is True)
    near = min((ways[key] for key in bridges if key in ways), key=lambda way: (len(way), way[-1]), default=())
    own = presence.peers[peer].is_connected_to_cloud
    hops, bridge = (len(near) - 1, near[-1]) if near else (None, None)
    return CloudWay(own, bridge, hops, near, len(ways), bridges)
