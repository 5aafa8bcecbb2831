"""When peers were first and last seen, by each observer and by any, and when they last had a direct link with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.answers.online import Seen
from peerstore.coverage import Scope
from peerstore.database import chunks
from peerstore.dictionary import Dictionary
from peerstore.inventory import all_peers
from peerstore.remnants import held_before_horizon
from peerstore.states import BEFORE_ALL, at_end_of, last_graph
from peerstore.tables import element
from peerstore.timelines import element_rows
from peerstore.times import instant
from peerstore.walk import Moment, Walk, growing_parts

_GRAPH = sa.select(element.c.id).where(element.c.kind == "graph", element.c.peer1.is_(None))
_FROM_ONE_END, _FROM_THE_OTHER = (
    sa.select(element.c.id, element.c.peer1, element.c.peer2).where(
        element.c.kind == "connection", end.in_(sa.bindparam("keys", expanding=True))
    )
    for end in (element.c.peer1, element.c.peer2)
)
_LINKS = _FROM_ONE_END.union(_FROM_THE_OTHER)


class Link(NamedTuple):
    """A direct link over ``[since, until)`` with a peer; ``until`` ``None``: it holds."""

    since: int
    until: int | None
    far: str


@dataclass(slots=True)
class Sight:
    """What one observer saw of one peer."""

    first: int | None = None
    until: int | None = None  # the end of the last presence; None while it is present
    link: Link | None = None

    @property
    def linked_to(self) -> str | None:
        """With whom the link is that holds."""
        return self.link.far if self.link is not None and self.link.until is None else None


class _Ends(NamedTuple):
    """The two ends of a connection, by its id."""

    number: int
    peer1: str
    peer2: str


def sightings(
    connection: Connection, dictionary: Dictionary, scope: Scope, at: int, peer: str | None = None
) -> Iterator[Seen]:
    """For every peer that was seen until an instant, by key, or for one: a row over all observers of a scope, then one
    for each observer that saw it."""
    keys = all_peers(connection, peer)
    graph = connection.execute(_GRAPH).scalar()
    homes = {key: _homes(connection, dictionary, scope, key, graph) for key in scope.observers}
    confirmations = _Confirmations(connection, scope, at)
    for part in growing_parts(keys):
        peers = {number: keys[number] for number in part}
        links = _links(connection, peers.values(), {home for each in homes.values() for home in each})
        seen: dict[int, dict[str, Sight]] = {number: {} for number in part}
        for observer in scope.observers:
            mine = [link for link in links if link.peer1 in homes[observer] or link.peer2 in homes[observer]]
            for number, sight in _Sights(connection, dictionary, scope, observer, graph, peers, mine).until(at):
                seen[number][observer] = sight
        earlier = held_before_horizon(connection, scope, part)
        for number in part:
            yield from _rows(keys[number], seen[number], confirmations, scope.opening if number in earlier else None)


def _homes(connection: Connection, dictionary: Dictionary, scope: Scope, observer: str, graph: int | None) -> set[str]:
    """Every local peer that the graphs of an observer ever named."""
    if graph is None:
        return set()
    rows = element_rows(connection, scope.observers[observer], [graph], BEFORE_ALL, at_end_of(2**62))
    told = {document for _, _, _, document, _ in rows if document is not None}
    documents = dictionary.documents(connection, told)
    return {documents[number].value.get("local_peer", "") for number in told}


def _links(connection: Connection, peers: Iterable[str], homes: Collection[str]) -> list[_Ends]:
    """The connections between some peers and the local peers of observers."""
    found = {_Ends(*row) for keys in chunks(peers) for row in connection.execute(_LINKS, {"keys": keys})}
    return [link for link in found if link.peer1 != link.peer2 and (link.peer1 in homes or link.peer2 in homes)]


class _Sights:
    """What one observer saw of some peers, followed from the beginning."""

    def __init__(
        self,
        connection: Connection,
        dictionary: Dictionary,
        scope: Scope,
        observer: str,
        graph: int | None,
        peers: Mapping[int, str],
        links: Iterable[_Ends],
    ) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._scope = scope._replace(observers={observer: scope.observers[observer]})
        self._graph = graph
        self._peers = peers
        self._sights = {number: Sight() for number in peers}
        self._links: dict[int, list[tuple[int, str]]] = defaultdict(list)  # of a peer: connection and its far end
        self._touches: dict[int, set[int]] = {number: {number} for number in peers}  # by element: the peers concerned
        numbers = {key: number for number, key in peers.items()}
        for link in links:
            for near, far in ((link.peer1, link.peer2), (link.peer2, link.peer1)):
                if near in numbers:
                    self._links[numbers[near]].append((link.number, far))
                    self._touches.setdefault(link.number, set()).add(numbers[near])

    def until(self, at: int) -> Iterator[tuple[int, Sight]]:
        """The peers that the observer saw at or before an instant, and what it saw of them."""
        elements = {*self._touches} if self._graph is None else {*self._touches, self._graph}
        walk = Walk(self._connection, self._dictionary, self._scope, self._scope.opening, at + 1, elements)
        if walk.lit:
            home = self._home(walk)
            for number in self._peers:
                self._note(walk, number, home, self._scope.opening)
        for moment in walk:
            home = self._home(walk)
            for number in self._touched(moment):
                self._note(walk, number, home, moment.at)
        seen = {number: sight for number, sight in self._sights.items() if sight.first is not None}
        for number in held_before_horizon(self._connection, self._scope, seen):
            seen[number].first = self._scope.opening
        return iter(seen.items())

    def _touched(self, moment: Moment) -> Collection[int]:
        if moment.lit != moment.lit_before or self._graph in moment.changed:
            return self._peers.keys()
        return {number for each in moment.changed for number in self._touches[each]}

    def _home(self, walk: Walk) -> str | None:
        """The local peer of the observer's graph."""
        document = None if self._graph is None else walk.shown.get(self._graph)
        if document is None:
            return None
        home: str | None = self._dictionary.documents(self._connection, [document])[document].value.get("local_peer")
        return home

    def _note(self, walk: Walk, number: int, home: str | None, at: int) -> None:
        sight = self._sights[number]
        if walk.lit and number in walk.shown:
            sight.first = at if sight.first is None else sight.first
            sight.until = None
        elif sight.first is not None and sight.until is None:
            sight.until = at
        linked = walk.lit and any(far == home and link in walk.shown for link, far in self._links[number])
        now = home if linked else None
        if sight.linked_to == now:
            return
        if sight.link is not None and sight.link.until is None:
            sight.link = sight.link._replace(until=at)
        if now is not None:
            sight.link = Link(at, None, now)


class _Confirmations:
    """The last observation of each observer that held a peer, looked up once for each end of a presence."""

    def __init__(self, connection: Connection, scope: Scope, at: int) -> None:
        self._connection = connection
        self._scope = scope
        self._at = at
        self._in_force: dict[str, int] = {}

    def last(self, observer: str, sight: Sight) -> int:
        """The last observation of the last presence of a peer that the observer saw."""
        if sight.until is not None:
            return self._graph(observer, sight.until - 1)
        if observer not in self._in_force:
            self._in_force[observer] = self._graph(observer, self._at)
        return self._in_force[observer]

    def _graph(self, observer: str, at: int) -> int:
        number = self._scope.observers[observer]
        found = last_graph(self._connection, number, at_end_of(at), self._scope.known_at)
        assert found is not None
        return found.observed_at


def _rows(key: str, seen: Mapping[str, Sight], confirmations: _Confirmations, first: int | None) -> Iterator[Seen]:
    """The rows of a peer; ``first``: anybody saw it first then, whoever of them has seen it since."""
    if not seen:
        return
    confirmed = {observer: confirmations.last(observer, sight) for observer, sight in seen.items()}
    together = _by_any(seen.values())
    together.first = together.first if first is None else first
    yield _seen(key, None, together, max(confirmed.values()))
    for observer, sight in seen.items():
        yield _seen(key, observer, sight, confirmed[observer])


def _by_any(sights: Collection[Sight]) -> Sight:
    """What all observers together saw of a peer: it is present while any of them sees it."""
    first = min(sight.first for sight in sights if sight.first is not None)
    untils = [sight.until for sight in sights if sight.until is not None]
    links = [sight.link for sight in sights if sight.link is not None]
    last = max(links, key=lambda link: (link.until is None, link.until or 0, -link.since), default=None)
    return Sight(first, max(untils) if len(untils) == len(sights) else None, last)


def _seen(key: str, observer: str | None, sight: Sight, confirmed: int) -> Seen:
    assert sight.first is not None
    until = None if sight.until is None else instant(sight.until)
    row = Seen(key, observer, instant(sight.first), instant(confirmed), until)
    if sight.link is not None:
        row.link_since, row.linked_to = instant(sight.link.since), sight.link.far
        row.link_until = None if sight.link.until is None else instant(sight.link.until)
    return row
