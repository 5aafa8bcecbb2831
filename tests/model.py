"""The time model, transcribed rule by rule and by brute force: what every answer of the store must be.

Written from the description of the rules alone, without a look at the store's code. Instants and durations are integer
microseconds. A peer is its key, its attributes are a plain ``dict`` as in the store's documents; a connection is
the tuple ``(peer1, peer2, type, id)``. Nothing here is fast, and nothing is remembered but answers already given.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, Final, NamedTuple

MINUTE: Final = 60_000_000
FOREVER: Final = timedelta.max // timedelta(microseconds=1)


class MISSING:
    """Stands (the class itself) where there is no value at all."""


Keys = tuple[str, ...]
Attributes = Mapping[str, Any]
Link = tuple[str, str, str, str]
Thing = str | Link  # a peer or a connection


class Graph(NamedTuple):
    """A presence graph: the local peer is among ``peers``; ``connections`` tells who lists each."""

    local_peer: str
    peers: Mapping[str, Attributes]
    connections: Mapping[Link, frozenset[str]]


class Said(NamedTuple):
    """One observation of an observer, in the order of their moments; ``graph`` is ``None`` for a stop marker."""

    observed_at: int
    sequence: int
    graph: Graph | None
    max_silence: int | None = None
    recorded_at: int = 0


class Moment(NamedTuple):
    """A presence: for every observer that has spoken (observed_at, watching), for every peer (attributes, seen_by,
    whether it is one of these observers), for every connection (listed_by, seen_by, flags)."""

    observers: Mapping[str, tuple[int, bool]]
    peers: Mapping[str, tuple[Attributes, Keys, bool]]
    connections: Mapping[Link, tuple[Keys, Keys, Keys]]

    @property
    def watching(self) -> set[str]:
        return {observer for observer, (_, watching) in self.observers.items() if watching}

    def seen_by(self, thing: Thing) -> Keys:
        if isinstance(thing, str):
            return self.peers[thing][1] if thing in self.peers else ()
        return self.connections[thing][1] if thing in self.connections else ()

    def visible(self) -> Hashable:
        """What has to differ for a presence to be another one: not the times, nor who else has spoken."""
        peers = {peer: (attributes, seen_by) for peer, (attributes, seen_by, _) in self.peers.items()}
        return freeze((sorted(self.watching), peers, self.connections))


class Event(NamedTuple):
    """One change; ``subject`` is a peer, a connection or an observer."""

    kind: str
    at: int
    subject: Thing
    path: str | None = None
    before: Any = None
    after: Any = None
    learned: bool = False
    across_absence: bool = False
    across_gap: bool = False
    reason: str | None = None


class Span(NamedTuple):
    """One session of a peer or a connection, ``[start, end)``."""

    subject: Thing
    start: int
    end: int | None
    end_reason: str | None
    gaps: int


class Net(NamedTuple):
    """What differs between two moments: (kind, peer or connection), and (peer, path, before, after)."""

    moves: list[tuple[str, Thing]]
    changed: list[tuple[str, str, Any, Any]]


class Model:
    """All that was ever recorded, by observer, moment and sequence."""

    def __init__(self) -> None:
        self.recorded: dict[str, dict[tuple[int, int], Said]] = {}

    def record(self, observer: str, said: Said) -> str:
        """Rule 3: a set; the first one recorded under an identity stays, and the graph alone decides."""
        stored = self.recorded.setdefault(observer, {})
        moment = (said.observed_at, said.sequence)
        if moment in stored:
            return "duplicate" if freeze(stored[moment].graph) == freeze(said.graph) else "conflict"
        stored[moment] = said
        return "recorded"

    def view(self, observer: str | None = None, known_at: int | None = None, max_silence: int | None = None) -> View:
        """The question: of whom (``None``: all), as known when (rule 5), with which limit instead of the declared."""
        asked = self.recorded if observer is None else {observer: self.recorded.get(observer, {})}
        known = {
            who: [stored[at] for at in sorted(stored) if known_at is None or stored[at].recorded_at <= known_at]
            for who, stored in asked.items()
        }
        return View(known, max_silence)


class View:
    """Presence as a function of time, over the observers and observations that a question speaks of."""

    def __init__(self, said: dict[str, list[Said]], max_silence: int | None) -> None:
        self.said = said
        self.max_silence = max_silence
        self.presence = cache(self._presence)

    # Rules 1, 2: one observer.

    def in_force(self, observer: str, t: int) -> Said | None:
        so_far = [said for said in self.said[observer] if said.observed_at <= t]
        return so_far[-1] if so_far else None

    def limit(self, said: Said) -> int | None:
        limit = said.max_silence if self.max_silence is None else self.max_silence
        return None if limit is None or limit >= FOREVER else limit

    def graph(self, observer: str, t: int) -> Graph | None:
        """The graph that the observer holds true at t; ``None`` while unobserved."""
        said = self.in_force(observer, t)
        if said is None or said.graph is None:
            return None
        limit = self.limit(said)
        return None if limit is not None and t - said.observed_at > limit else said.graph

    # Rule 12: all of them together.

    def _presence(self, t: int) -> Moment:
        graphs = {observer: graph for observer in sorted(self.said) if (graph := self.graph(observer, t))}
        observers = {who: (said.observed_at, who in graphs) for who in self.said if (said := self.in_force(who, t))}
        peers = {
            peer: (self.attributes(peer, t, graphs), _holding("peers", peer, graphs), peer in observers)
            for peer in {peer for graph in graphs.values() for peer in graph.peers}
        }
        links = {link for graph in graphs.values() for link in graph.connections}
        return Moment(observers, peers, {link: _connection(link, graphs, peers.keys()) for link in links})

    def attributes(self, peer: str, t: int, graphs: dict[str, Graph]) -> Attributes:
        """Its own report, else that of the watching observer whose version of it began last."""
        seers = [observer for observer in graphs if peer in graphs[observer].peers]
        if peer in seers:
            return graphs[peer].peers[peer]
        newest = max(self.version_begin(observer, peer, t) for observer in seers)
        chosen = min(observer for observer in seers if self.version_begin(observer, peer, t) == newest)
        return graphs[chosen].peers[peer]

    def version_begin(self, observer: str, peer: str, t: int) -> int:
        """The observation since which every graph of the observer has held the peer with equal attributes."""
        said = [said for said in self.said[observer] if said.observed_at <= t]
        graphs = [(said.observed_at, said.graph) for said in said if said.graph is not None]
        begin, last = graphs[-1]
        for observed_at, graph in reversed(graphs):
            if peer not in graph.peers or freeze(graph.peers[peer]) != freeze(last.peers[peer]):
                break
            begin = observed_at
        return begin

    # The function can change at observations and at the ends of silences; between them it is constant.

    def change_points(self) -> list[int]:
        every = [said for stored in self.said.values() for said in stored]
        ends = {said.observed_at + limit + 1 for said in every if (limit := self.limit(said)) is not None}
        return sorted({said.observed_at for said in every} | ends)

    def points_before(self, t: int) -> list[int]:
        return [point for point in self.change_points() if point < t]

    def last_known(self, t: int) -> Moment | None:
        """The presence at t, or while nobody is watching the last one before; ``None``: nothing was known yet."""
        for point in [t, *reversed(self.points_before(t))]:
            if self.presence(point).watching:
                return self.presence(point)
        return None

    # Rule 11 and the rest about changes.

    def changes(self) -> list[Event]:
        return [event for t in self.change_points() for event in self.changes_at(t)]

    def changes_at(self, t: int) -> Iterator[Event]:
        now, before = self.presence(t), self.presence(t - 1)
        known = self.last_known(t - 1)
        gap = known is not None and not before.watching
        for observer in now.watching - before.watching:
            yield Event("observer_started", t, observer)
        for observer in before.watching - now.watching:
            yield Event("observer_stopped", t, observer, reason=self.stop_reason(observer, t))
        if not now.watching:
            return
        for kind, thing in _comings_and_goings(known or EMPTY, now):
            reason = self.end_reason(thing, t) if kind == "disappeared" and not gap else None
            yield Event(kind, t, thing, across_gap=gap, reason=reason)
        for peer in now.peers:
            yield from self.attribute_changes(peer, t)

    def attribute_changes(self, peer: str, t: int) -> Iterator[Event]:
        """Against the last value seen while present; a first appearance is none."""
        between: list[Moment] = []
        for point in reversed(self.points_before(t)):
            earlier = self.presence(point)
            if peer in earlier.peers:
                break
            between.append(earlier)
        else:
            return
        old, new = earlier.peers[peer][0], self.presence(t).peers[peer][0]
        for path, before, after in differences(old, new):
            yield Event(
                *("changed", t, peer, path, before, after),
                learned=self.learned(peer, t, path, old, new),
                across_absence=any(moment.watching for moment in between),
                across_gap=any(not moment.watching for moment in between),
            )

    def learned(self, peer: str, t: int, path: str, old: Attributes, new: Attributes) -> bool:
        """Rule 10: unknown becoming known."""
        name = path.split("/")[1]
        before, after = old.get(name), new.get(name)
        if name in ("os", "sdk_version", "is_compatible"):
            return before is None and after is not None
        if name in ("peer_metadata", "identity_service_metadata"):
            return before in (None, {}) and after not in (None, {}) and t < self.first_seen(peer) + MINUTE
        return False

    def first_seen(self, peer: str) -> int:
        return min(point for point in self.change_points() if peer in self.presence(point).peers)

    def stop_reason(self, observer: str, t: int) -> str:
        said = self.in_force(observer, t)
        return "stopped" if said is not None and said.graph is None else "silence"

    def end_reason(self, thing: Thing, t: int) -> str:
        """Why a thing that was seen just before t is seen by nobody at t."""
        seers = self.presence(t - 1).seen_by(thing)
        reasons = {"left" if self.graph(observer, t) else self.stop_reason(observer, t) for observer in seers}
        return min(reasons, key=("left", "stopped", "silence").index)

    def sessions(self, grace: int = 0) -> list[Span]:
        """The sessions of every peer and every connection."""
        things: set[Thing] = set()
        for moment in map(self.presence, self.change_points()):
            things.update(moment.peers, moment.connections)
        return [span for thing in things for span in self.sessions_of(thing, grace)]

    def sessions_of(self, thing: Thing, grace: int) -> list[Span]:
        joined: list[Span] = []
        for start, end in self.intervals(thing):
            reason = None if end is None else self.end_reason(thing, end)
            if joined and (last := joined[-1]).end is not None and start - last.end < grace:
                joined[-1] = Span(thing, last.start, end, reason, last.gaps + 1)
            else:
                joined.append(Span(thing, start, end, reason, 0))
        return joined

    def intervals(self, thing: Thing) -> Iterator[tuple[int, int | None]]:
        """The maximal half-open intervals of time over which somebody watching sees the thing."""
        start = None
        for point in self.change_points():
            seen = bool(self.presence(point).seen_by(thing))
            if seen and start is None:
                start = point
            elif start is not None and not seen:
                yield start, point
                start = None
        if start is not None:
            yield start, None

    def diff(self, since: int, until: int) -> Net:
        old, new = self.last_known(since) or EMPTY, self.last_known(until) or EMPTY
        both = old.peers.keys() & new.peers.keys()
        changed = [(peer, *found) for peer in both for found in differences(old.peers[peer][0], new.peers[peer][0])]
        return Net(list(_comings_and_goings(old, new)), changed)

    def presence_over(self, since: int, until: int) -> list[int]:
        """The instants at which a presence over [since, until) is given: the first, and where something differs."""
        inside = [point for point in self.change_points() if since < point < until]
        return [since, *(t for t in inside if self.presence(t).visible() != self.presence(t - 1).visible())]


EMPTY: Final = Moment({}, {}, {})


def _holding(what: str, thing: Thing, graphs: dict[str, Graph]) -> Keys:
    return tuple(observer for observer in graphs if thing in getattr(graphs[observer], what))


def _connection(link: Link, graphs: dict[str, Graph], peers: Any) -> tuple[Keys, Keys, Keys]:
    seen_by = _holding("connections", link, graphs)
    listed_by = sorted({end for observer in seen_by for end in graphs[observer].connections[link]})
    unknown = link[0] not in peers or link[1] not in peers
    flags = [*["self_link"] * (link[0] == link[1]), *["unknown_peer"] * unknown]
    return tuple(listed_by), seen_by, tuple(flags)


def _comings_and_goings(old: Moment, new: Moment) -> Iterator[tuple[str, Thing]]:
    yield from (("appeared", peer) for peer in new.peers.keys() - old.peers.keys())
    yield from (("disappeared", peer) for peer in old.peers.keys() - new.peers.keys())
    yield from (("connected", link) for link in new.connections.keys() - old.connections.keys())
    yield from (("disconnected", link) for link in old.connections.keys() - new.connections.keys())


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Rule 7, and the contract on paths: objects are descended into, arrays compared whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            step = name.replace("~", "~0").replace("/", "~1")
            yield from differences(old.get(name, MISSING), new.get(name, MISSING), f"{path}/{step}")
    elif freeze(old) != freeze(new):
        yield path, old, new


def freeze(value: Any) -> Hashable:
    """A value that equals another if the two mean the same: 1 is 1.0, true is not 1, members have no order."""
    if isinstance(value, Mapping):
        return frozenset((key, freeze(member)) for key, member in value.items())
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    if isinstance(value, bool):
        return ("true",) if value else ("false",)
    assert value is None or value is MISSING or isinstance(value, str | int | float | frozenset), value
    return value
