"""Presence at an instant, and the difference between two."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.changes import AttributeDifference, Difference
from peerstore.canonical import Document, differences_at
from peerstore.coverage import Scope, is_watching, last_watching
from peerstore.dictionary import Dictionary, Ranked, Shown, rank
from peerstore.ditto import render
from peerstore.errors import MissingExtra, QuestionError
from peerstore.keyframes import State
from peerstore.merging import Begins, Merged, merged
from peerstore.model import Connection, Element, ObserverState, Peer
from peerstore.states import Logged, Position, at_end_of, logged_between, logged_in_force, state_at
from peerstore.timelines import last_row
from peerstore.times import instant, iso

if TYPE_CHECKING:
    import networkx


@dataclass(slots=True, eq=False)
class Presence:
    """What was known of the mesh at one instant, of one observer or merged over several.

    ``peers`` maps peer keys, in byte order, to peers, the local peers among them; ``connections`` is sorted;
    ``observers`` names, for each observer, the observation that the answer rests on. Where no observer was watching,
    ``peers`` and ``connections`` are empty and ``watched`` is false: unobserved, which is not the same as absent.

    Answers of one store share the peers and connections that are equal in them: do not modify them.
    """

    at: datetime
    known_at: datetime | None
    peers: Mapping[str, Peer]
    connections: tuple[Connection, ...]
    observers: tuple[ObserverState, ...]
    _graphs: Mapping[str, Document]

    @property
    def watched(self) -> bool:
        """Whether any observer was watching."""
        return any(state.watching for state in self.observers)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of a presence: ``peerstore at --json``."""
        return {
            "at": iso(self.at),
            "known_at": None if self.known_at is None else iso(self.known_at),
            "observers": [state.to_dict() for state in self.observers],
            "peers": [peer.to_dict() for peer in self.peers.values()],
            "connections": [connection.to_dict() for connection in self.connections],
        }

    def to_ditto(self, shape: Literal["raw-v3", "js-5"] = "raw-v3") -> dict[str, Any]:
        """One observer's view as the SDK's own JSON: recorded again, it is the same graph.

        :class:`~peerstore.errors.QuestionError` if the presence is not that of exactly one watching observer.
        """
        if len(self._graphs) != 1:
            raise QuestionError(
                f"a Ditto graph is the view of one watching observer, and here {len(self._graphs)} were watching:"
                " ask with observer= (--observer)"
            )
        [graph] = self._graphs.values()
        return render(
            graph.value.get("local_peer", ""),
            graph.value,
            {key: peer.document for key, peer in self.peers.items()},
            ((_element(connection), _listing(connection)) for connection in self.connections),
            shape,
        )

    def to_networkx(self) -> networkx.MultiGraph:
        """A networkx multigraph: peers as nodes, connections as edges by their (type, id); attributes as in the
        JSON."""
        try:
            import networkx
        except ImportError as error:
            raise MissingExtra("to_networkx", "graph") from error
        graph: networkx.MultiGraph = networkx.MultiGraph(at=iso(self.at))
        for key, peer in self.peers.items():
            graph.add_node(key, **peer.to_dict())
        for connection in self.connections:
            edge = connection.to_dict()
            graph.add_edge(connection.peer1, connection.peer2, key=(connection.type, connection.id), **edge)
        return graph


def _element(connection: Connection) -> Element:
    return Element("connection", connection.peer1, connection.peer2, connection.type, connection.id)


def _listing(connection: Connection) -> dict[str, Any]:
    ends = {connection.peer2: 2, connection.peer1: 1}
    document: dict[str, Any] = {"listed_by": [ends.get(key, key) for key in connection.listed_by]}
    if connection.extra:
        document["extra"] = connection.extra
    if connection.extra_by:
        document["extra_by"] = connection.extra_by
    return document


class View(NamedTuple):
    """One observer at an instant: its observation in force, whether it watches, and the state of its graph."""

    key: str
    observer_id: int
    logged: Logged | None
    watching: bool
    state: State


def views_at(connection: DatabaseConnection, scope: Scope, at: int) -> list[View]:
    """Every observer of a scope at an instant; the states of those that are watching."""
    views = []
    for key, observer_id in scope.observers.items():
        logged, start = logged_in_force(connection, observer_id, at_end_of(at), scope.known_at)
        watching = is_watching(logged, at, scope)
        state = state_at(connection, observer_id, logged.position, start)[0] if watching and logged is not None else {}
        views.append(View(key, observer_id, logged, watching, state))
    return views


def observer_state(
    connection: DatabaseConnection, scope: Scope, key: str, logged: Logged | None, at: int
) -> ObserverState:
    """An observer's line in an answer."""
    if logged is None:
        return ObserverState(key, None, None, False)
    observed_at, watching = instant(logged.observed_at), is_watching(logged, at, scope)
    last = None if watching else last_watching(connection, scope.observers[key], scope, at)
    until = None if last is None else instant(last + 1)
    return ObserverState(key, observed_at, instant(at) - observed_at, watching, logged.sequence, until)


def presence_at(connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, at: int) -> Presence:
    """The merged presence of a scope at an instant."""
    views = views_at(connection, scope, at)
    found = _merged(connection, dictionary, scope, views)
    states = tuple(observer_state(connection, scope, view.key, view.logged, at) for view in views)
    return assembled(connection, dictionary, scope, found, states, at)


def state_of(connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, at: int) -> State:
    """The merged presence of a scope at an instant, in the ids of the dictionaries: element to document."""
    return _merged(connection, dictionary, scope, views_at(connection, scope, at)).state()


def _merged(connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, views: list[View]) -> Merged:
    begins = begins_by_rows(connection, scope, {view.observer_id: view.logged for view in views})
    states = {view.key: view.state for view in views if view.watching}
    return merged(scope.observers, states, lambda element: dictionary.elements(connection, [element])[element], begins)


def begins_by_rows(connection: DatabaseConnection, scope: Scope, in_force: Mapping[int, Logged | None]) -> Begins:
    """When versions began, looked up in the change rows where it is asked for."""

    def begins(observer: int, element: int) -> int:
        logged = in_force[observer]
        assert logged is not None
        return version_begin(connection, scope, observer, element, logged.position)

    return begins


def version_begin(connection: DatabaseConnection, scope: Scope, observer: int, element: int, position: Position) -> int:
    """Since when every graph of an observer, up to a position at which it holds an element, has held it with equal
    attributes."""
    return version_place(connection, scope, observer, element, position).observed_at


def version_place(
    connection: DatabaseConnection, scope: Scope, observer: int, element: int, position: Position
) -> Position:
    """The observation at which :func:`version_begin` lies."""
    row = last_row(connection, observer, element, position)
    assert row is not None
    if scope.known_at is None:
        return Position(row[0], row[1])
    wanted, until, begin = row[3], position, position
    while row is not None:  # backwards over its versions, hopping over those of which no known graph ever spoke
        start = Position(row[0], row[1])
        spoke = _first_known(connection, observer, start, until, scope.known_at)
        if spoke is not None:
            if row[3] != wanted:
                break
            begin = spoke
        until = Position(start.observed_at, start.sequence - 1)
        row = last_row(connection, observer, element, until)
    return begin


def _first_known(
    connection: DatabaseConnection, observer: int, start: Position, until: Position, known_at: int
) -> Position | None:
    for logged in logged_between(connection, observer, Position(start.observed_at, start.sequence - 1), until):
        if logged.recorded_at <= known_at and not logged.stopped:
            return logged.position
    return None


def assembled(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    found: Merged,
    states: tuple[ObserverState, ...],
    at: int,
) -> Presence:
    """A presence from what the watching observers hold."""
    names = {number: key for key, number in scope.observers.items()}
    shown = _shown(connection, dictionary, found, names)
    begin = bisect_left(shown, _PLACES[Document], key=_place)
    end = bisect_left(shown, _PLACES[Peer], begin, key=_place)
    peers: dict[str, Peer] = {peer.peer_key: peer for peer in shown[end:]}  # type: ignore[union-attr, misc]
    for state in states:
        if state.observed_at is not None and state.observer in peers:
            peers[state.observer] = peers[state.observer].as_observer()
    links: list[Connection] = shown[:begin]  # type: ignore[assignment]
    for place, link in enumerate(links):
        if link.peer1 not in peers or link.peer2 not in peers:
            links[place] = link.with_unknown_peer()
    known_at = None if scope.known_at is None else instant(scope.known_at)
    graphs = _graphs(connection, dictionary, found, names, shown[begin:end])
    return Presence(instant(at), known_at, peers, tuple(links), states, graphs)


_PLACES: Mapping[type, int] = {Connection: 0, Document: 1, Peer: 2}


def _place(shown: object) -> int:
    return _PLACES[type(shown)]


def _shown(
    connection: DatabaseConnection, dictionary: Dictionary, found: Merged, names: Mapping[int, str]
) -> list[Shown]:
    """What a presence shows, in the order of the elements. What everyone agrees on was often shown before: the same
    objects are shown again."""
    known = dictionary.shown(found.everyone)
    ranked: list[Ranked] = list(filter(None, map(known.get, found.agreed.items())))
    if len(ranked) < len(found.agreed):
        new = [pair for pair in found.agreed.items() if pair not in known]
        elements = dictionary.elements(connection, [number for number, _ in new])
        documents = dictionary.documents(connection, [document for _, document in new])
        for number, document in new:
            item, text = elements[number], documents[document]
            each = known[number, document] = rank(item), _of_element(item, text, [text], found.everyone)
            ranked.append(each)
    if found.holders.by_element:
        ranked += _disputed(connection, dictionary, found, names)
    ranked.sort(key=itemgetter(0))
    return [shown for _, shown in ranked]


def _disputed(
    connection: DatabaseConnection, dictionary: Dictionary, found: Merged, names: Mapping[int, str]
) -> Iterator[Ranked]:
    """What is shown of the elements that some do not hold, or hold with another document."""
    by_element = found.holders.by_element
    elements = dictionary.elements(connection, by_element)
    documents = dictionary.documents(connection, {each for held in by_element.values() for each in held.values()})
    seen_by: dict[tuple[int, ...], tuple[str, ...]] = {}
    for number, held in by_element.items():
        who = tuple(held)
        if who not in seen_by:
            seen_by[who] = tuple(sorted(map(names.__getitem__, who)))
        chosen = found.holders.document(number, found.begins)
        assert chosen is not None
        several = [documents[each] for each in held.values()]
        yield rank(elements[number]), _of_element(elements[number], documents[chosen], several, seen_by[who])


def _of_element(element: Element, document: Document, documents: Iterable[Document], seen_by: tuple[str, ...]) -> Shown:
    """An element as those who hold it show it: a peer by the document that counts, a connection by all of them."""
    if element.kind == "peer":
        return Peer(element.key, document, False, seen_by)
    return document if element.kind == "graph" else _connection(element, documents, seen_by)


def _graphs(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    found: Merged,
    names: Mapping[int, str],
    shown: Sequence[Shown],
) -> dict[str, Document]:
    """The document of each observer's graph, of which a presence shows one."""
    for number, held in found.holders.by_element.items():
        if dictionary.elements(connection, [number])[number].kind == "graph":
            documents = dictionary.documents(connection, held.values())
            return {names[observer]: documents[document] for observer, document in held.items()}
    return {key: document for key in found.everyone for document in shown if isinstance(document, Document)}


def _connection(element: Element, documents: Iterable[Document], seen_by: tuple[str, ...]) -> Connection:
    ends = {1: element.key, 2: element.other}
    values = [document.value for document in documents]
    listed_by = {ends.get(end, end) for value in values for end in value.get("listed_by", ())}
    flags = ("self_link",) if element.key == element.other else ()
    link = Connection(element.id, element.key, element.other, element.type, seen_by, tuple(sorted(listed_by)), flags)
    for value in values:
        if "extra" in value:
            link.extra = value["extra"]
        if "extra_by" in value:
            link.extra_by = value["extra_by"]
    return link


def _in_one_only(
    before: Sequence[Connection], after: Sequence[Connection]
) -> tuple[tuple[Connection, ...], tuple[Connection, ...]]:
    """The connections of the first that are not in the second, and the other way round. Most stand in both as one
    object."""
    ids = [*map(id, before)], [*map(id, after)]
    same = set(ids[0]).intersection(ids[1])
    old, new = (
        {_element(link): link for number, link in zip(numbers, links, strict=True) if number not in same}
        for numbers, links in zip(ids, (before, after), strict=True)
    )
    return (
        tuple(link for element, link in old.items() if element not in new),
        tuple(link for element, link in new.items() if element not in old),
    )


def last_known(connection: DatabaseConnection, scope: Scope, at: int) -> int | None:
    """The last instant at or before ``at`` at which any observer of a scope was watching; ``None``: there is none."""
    known = [last_watching(connection, observer_id, scope, at) for observer_id in scope.observers.values()]
    return max((moment for moment in known if moment is not None), default=None)


def difference(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int,
    until: int,
    path: str | None = None,
) -> Difference:
    """What is different at ``until`` from what was at ``since``; unobserved is not absent. With a path, only what is at
    it or below it."""
    moments = [last_known(connection, scope, at) for at in (since, until)]
    before, after = (
        None if moment is None else presence_at(connection, dictionary, scope, moment) for moment in moments
    )
    known_at = [None if moment is None else instant(moment) for moment in moments]
    result = Difference(instant(since), instant(until), since_known_at=known_at[0], until_known_at=known_at[1])
    old_peers = before.peers if before else {}
    new_peers = after.peers if after else {}
    # Most stand in both as one object.
    others = [(key, peer) for key, peer in new_peers.items() if old_peers.get(key) is not peer]
    result.changed = tuple(
        AttributeDifference(key, place, old, new)
        for key, peer in others
        if key in old_peers and not peer.has_document_of(old_peers[key])
        for place, old, new in differences_at(old_peers[key].document, peer.document, path or "")
    )
    if path is not None:
        return result
    result.appeared = tuple(peer for key, peer in others if key not in old_peers)
    result.disappeared = tuple(peer for key, peer in old_peers.items() if key not in new_peers)
    links = (() if presence is None else presence.connections for presence in (before, after))
    result.disconnected, result.connected = _in_one_only(*links)
    return result
