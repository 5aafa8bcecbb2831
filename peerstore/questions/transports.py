"""Questions about the connections of each peer: over what it was connected, and how many it had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.links import Degree, DegreeStretch, TransportMix, TransportShare
from peerstore.coverage import Scope, measured_window
from peerstore.dictionary import Dictionary
from peerstore.inventory import all_peers, connection_elements, peer_elements
from peerstore.model import Element
from peerstore.questions.buckets import check_buckets
from peerstore.questions.links import Part, Step, known_time, micro, parts, steps
from peerstore.times import instant
from peerstore.walk import Walk

# Over what peers were connected.


class _Mesh:
    """The peers that are present and the connections that are there, counted by type; of one peer, if one is named."""

    def __init__(self, peer: str | None) -> None:
        self._peer = peer
        self._held: dict[str, Counter[str]] = {}
        self._there: set[str] = set()
        self.links: Counter[str] = Counter()
        self.only: Counter[str] = Counter()
        self.connected = 0

    @property
    def present(self) -> int:
        """How many peers are present."""
        return len(self._there)

    def change(self, element: Element, step: int) -> None:
        """A peer or connection came (1) or went (-1)."""
        if element.kind == "connection":
            self.links[element.type] += step
            for key in {element.key, element.other} if self._peer is None else {self._peer}:
                self._tally(key, -1)
                self._held.setdefault(key, Counter())[element.type] += step
                self._trim(key, element.type)
                self._tally(key, 1)
        elif element.kind == "peer":
            self._tally(element.key, -1)
            (self._there.add if step > 0 else self._there.remove)(element.key)
            self._tally(element.key, 1)

    def _trim(self, key: str, kind: str) -> None:
        held = self._held[key]
        if not held[kind]:
            del held[kind]
        if not held:
            del self._held[key]

    def _tally(self, key: str, step: int) -> None:
        """Count a peer among the connected ones, and among those on one type alone."""
        held = self._held.get(key)
        if held and key in self._there:
            self.connected += step
            if len(held) == 1:
                self.only[next(iter(held))] += step


@dataclass(slots=True)
class _Bucket:
    """What is measured of one bucket.

    ``counted`` are the connections that went, so that they are not counted again when they come back.
    """

    start: int
    end: int
    known: int = 0
    peer_time: int = 0
    connected: int = 0
    links: Counter[str] | None = None
    link_time: Counter[str] = field(default_factory=Counter)
    only: Counter[str] = field(default_factory=Counter)
    counted: set[int] = field(default_factory=set)

    def measure(self, length: int, lit: bool, mesh: _Mesh) -> None:
        """The mesh stayed as it is for so long."""
        if length and self.links is None:
            self.links = +mesh.links
        if not length or not lit:
            return
        self.known += length
        self.peer_time += mesh.present * length
        self.connected += mesh.connected * length
        for kind, count in mesh.links.items():
            self.link_time[kind] += count * length
        for kind, count in mesh.only.items():
            self.only[kind] += count * length

    def note(self, number: int, kind: str, step: int) -> None:
        """A connection came or went; at the very start of the bucket, all that is there is counted later."""
        if self.links is None:
            return
        if step < 0:
            self.counted.add(number)
        elif number not in self.counted:
            self.links[kind] += 1

    def answer(self) -> TransportMix:
        """The bucket, once it is over."""
        links = self.links or Counter()
        shares = [
            TransportShare(kind, links[kind], micro(self.link_time[kind]), micro(self.only[kind]))
            for kind in sorted(links)
            if links[kind]
        ]
        return TransportMix(
            instant(self.start),
            instant(self.end),
            micro(self.known),
            micro(self.end - self.start - self.known),
            micro(self.peer_time),
            micro(self.connected),
            tuple(shares),
        )


def transports(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    every: int | None,
    peer: str | None,
) -> Iterator[TransportMix]:
    """The mix of each bucket of the measured window, in the order of time."""
    window = measured_window(connection, scope, since, until)
    if window is None:
        return
    if every is not None:
        check_buckets(every, *window)
    elements = None if peer is None else [*peer_elements(connection, peer), *connection_elements(connection, [peer])]
    walk = Walk(connection, dictionary, scope, *window, elements)
    mesh, at, lit = _Mesh(peer), window[0], False
    buckets = _buckets(*window, every)
    bucket = next(buckets)
    for step in chain(steps(walk, window[0]), [Step(window[1], False, (), ())]):
        while bucket.end <= step.at:
            bucket.measure(bucket.end - at, lit, mesh)
            at = bucket.end
            yield bucket.answer()
            bucket = next(buckets, _Bucket(window[1], window[1] + 1))
        bucket.measure(step.at - at, lit, mesh)
        at, lit = step.at, step.lit
        _apply(dictionary.elements(connection, (*step.came, *step.went)), step, mesh, bucket)


def _buckets(since: int, until: int, every: int | None) -> Iterator[_Bucket]:
    start = since
    while start < until:
        end = until if every is None else min((start // every + 1) * every, until)
        yield _Bucket(start, end)
        start = end


def _apply(elements: Mapping[int, Element], step: Step, mesh: _Mesh, bucket: _Bucket) -> None:
    for numbers, sign in ((step.came, 1), (step.went, -1)):
        for number in numbers:
            element = elements[number]
            mesh.change(element, sign)
            if element.kind == "connection":
                bucket.note(number, element.type, sign)


# How many connections a peer had.


class Cap(NamedTuple):
    """A limit on the number of connections of some types, which count together; types without regard to case."""

    name: str
    types: frozenset[str]
    limit: int


@dataclass(slots=True)
class _Limited:
    """How many connections that count towards a cap a peer has, and for how long they were at or over it."""

    cap: Cap
    held: int = 0
    time: int = 0


class _Node:
    """One peer: what it has now, and what was measured of it. Times run while it is present."""

    def __init__(self, key: str, caps: Iterable[Cap]) -> None:
        self.key = key
        self.limits = [_Limited(cap) for cap in caps]
        self.present = False
        self.held: Counter[str] = Counter()
        self.links = 0
        self.at = 0
        self.time = 0
        self.link_time = 0
        self.most = -1
        self.most_at = 0
        self.most_by_type: Counter[str] = Counter()

    def follow(self, at: int, changes: Iterable[tuple[Element, int]]) -> None:
        """All that changes of it at an instant."""
        self.measure(at)
        for element, step in changes:
            self._change(element, step)
        self._reach()

    def measure(self, at: int) -> None:
        """It stayed as it is until ``at``."""
        length, self.at = at - self.at, at
        if not self.present or not length:
            return
        self.time += length
        self.link_time += self.links * length
        for limited in self.limits:
            if limited.held >= limited.cap.limit:
                limited.time += length

    def _reach(self) -> None:
        """Note what it has from here on."""
        if not self.present:
            return
        if self.links > self.most:
            self.most, self.most_at = self.links, self.at
        for kind, count in self.held.items():
            if count:
                self.most_by_type[kind] = max(count, self.most_by_type[kind])

    def _change(self, element: Element, step: int) -> None:
        """It, or a connection of it, came (1) or went (-1)."""
        if element.kind == "peer":
            self.present = step > 0
            return
        self.held[element.type] += step
        self.links += step
        kind = element.type.casefold()
        for limited in self.limits:
            if kind in limited.cap.types:
                limited.held += step


def degrees(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    peer: str | None,
    caps: Collection[Cap],
) -> Iterator[Degree]:
    """The degree of every peer that was present in the measured window, or of one, in the order of their keys."""
    window = measured_window(connection, scope, since, until)
    if window is None:
        return
    times = known_time(connection, scope, window)
    for part in _peer_parts(connection, peer, since is not None):
        nodes: dict[str, _Node] = {}
        walk = Walk(connection, dictionary, scope, *window, part.elements)
        for step in steps(walk, window[0]):
            for key, changes in _changes(dictionary.elements(connection, (*step.came, *step.went)), step).items():
                if part.covers((key, "", "")):
                    node = nodes.get(key) or nodes.setdefault(key, _Node(key, caps))
                    node.follow(step.at, changes)
        for key, node in sorted(nodes.items()):
            node.measure(window[1])
            if node.time:
                most = dict(sorted(node.most_by_type.items()))
                at_cap = {limited.cap.name: micro(limited.time) for limited in node.limits}
                mean = node.link_time / node.time
                yield Degree(key, micro(node.time), mean, node.most, instant(node.most_at), most, at_cap, *times)


def _peer_parts(connection: DatabaseConnection, peer: str | None, at_once: bool) -> Iterator[Part]:
    if at_once and peer is None:
        yield Part(None)
        return
    peers = all_peers(connection, peer).items()
    groups = (((key, "", ""), [number, *connection_elements(connection, [key])]) for number, key in peers)
    yield from parts(groups, None, (1, 8))  # with all their connections: many elements each


def _changes(elements: Mapping[int, Element], step: Step) -> dict[str, list[tuple[Element, int]]]:
    """What came (1) or went (-1) of each peer, and of its connections."""
    changes: dict[str, list[tuple[Element, int]]] = {}
    for numbers, sign in ((step.came, 1), (step.went, -1)):
        for number in numbers:
            element = elements[number]
            for key in _ends(element):
                changes.setdefault(key, []).append((element, sign))
    return changes


def _ends(element: Element) -> set[str]:
    if element.kind == "graph":
        return set()
    return {element.key} if element.kind == "peer" else {element.key, element.other}


def degree_over(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    peer: str,
) -> Iterator[DegreeStretch]:
    """The stretches of the measured window over which a peer had the same connections, without a gap between them."""
    window = measured_window(connection, scope, since, until)
    if window is None:
        return
    elements = [*peer_elements(connection, peer), *connection_elements(connection, [peer])]
    walk = Walk(connection, dictionary, scope, *window, elements)
    node = _Node(peer, ())
    last: DegreeStretch | None = None
    for step in steps(walk, window[0]):
        changes = _changes(dictionary.elements(connection, (*step.came, *step.went)), step)
        node.follow(step.at, changes.get(peer, ()))
        fresh = _stretch(node, step, window[1])
        if last is not None and (last.state, last.by_type) != (fresh.state, fresh.by_type):
            last.end = fresh.start
            yield last
            last = None
        last = last or fresh
    if last is not None:
        yield last


def _stretch(node: _Node, step: Step, until: int) -> DegreeStretch:
    start, end = instant(step.at), instant(until)
    if not step.lit:
        return DegreeStretch(start, end, "unobserved", None)
    if not node.present:
        return DegreeStretch(start, end, "absent", 0)
    by_type = dict(sorted((+node.held).items()))
    return DegreeStretch(start, end, "present", sum(by_type.values()), by_type)
