"""What a fact of the merged presence rests on: the observations in force, and whose word was taken."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore import inventory
from peerstore.answers.why import Because, Evidence, ListedConnection, State, Testimony
from peerstore.canonical import ABSENT, Json, differences, value_at
from peerstore.coverage import Scope
from peerstore.dictionary import Dictionary
from peerstore.merging import Begins
from peerstore.model import Connection
from peerstore.presence import View, begins_by_rows, last_known, observer_state, version_place, views_at
from peerstore.states import Position
from peerstore.timelines import last_row
from peerstore.times import instant


class Asked(NamedTuple):
    """The fact: a peer; with ``other``, its connections with another; with ``path``, an attribute of it."""

    peer: str
    other: str | None = None
    path: str | None = None


def evidence(connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, at: int, asked: Asked) -> Evidence:
    """The evidence of a fact at an instant."""
    views = views_at(connection, scope, at)
    elements = (
        inventory.peer_elements(connection, asked.peer)
        if asked.other is None
        else inventory.connection_elements(connection, [asked.peer, asked.other])
    )
    saying = Saying(connection, dictionary, scope, at, asked, elements)
    testimonies = [saying.testimony(view) for view in views]
    state = _state(testimonies)
    taken, because = _taken(connection, scope, asked, elements, views) if state == "present" else ((), None)
    value = next((each.value for each in testimonies if each.observer in taken), ABSENT)
    known_at = None if scope.known_at is None else instant(scope.known_at)
    judged = tuple(_judged(each, state, value, taken, asked) for each in testimonies)
    found = Evidence(instant(at), known_at, *asked, state, value, because, judged)
    last = last_known(connection, scope, at) if state == "unobserved" else None
    if last is not None:
        found.last_known = evidence(connection, dictionary, scope, last, asked)
    return found


def _state(testimonies: Collection[Testimony]) -> State:
    if any(each.holds for each in testimonies):
        return "present"
    return "absent" if any(each.watching for each in testimonies) else "unobserved"


class Saying:
    """What observers say at an instant."""

    def __init__(
        self,
        connection: DatabaseConnection,
        dictionary: Dictionary,
        scope: Scope,
        at: int,
        asked: Asked,
        elements: Collection[int],
    ) -> None:
        self._connection, self._dictionary, self._scope = connection, dictionary, scope
        self._at, self._asked, self._elements = at, asked, elements

    def testimony(self, view: View) -> Testimony:
        """What one observer says; not yet held against the answer."""
        state = observer_state(self._connection, self._scope, view.key, view.logged, self._at)
        said = Testimony(view.key, view.watching, state.observed_at, watched_until=state.watched_until)
        if view.logged is None:
            return said
        limit = view.logged.max_silence if self._scope.max_silence is None else self._scope.max_silence
        said.sequence, said.recorded_at = view.logged.sequence, instant(view.logged.recorded_at)
        said.max_silence = None if limit is None else timedelta(microseconds=limit)
        if view.watching:
            self._tell(said, view, view.logged.position)
        return said

    def _tell(self, said: Testimony, view: View, position: Position) -> None:
        held = [number for number in self._elements if number in view.state]
        said.holds = bool(held)
        places = {number: self._place(view.observer_id, number, position) for number in held or self._elements}
        known = [place for place in places.values() if place is not None]
        if known:
            place = min(known) if held else max(known)
            said.since, said.since_sequence = instant(place.observed_at), place.sequence
        if self._asked.other is not None:
            listed = sorted(held, key=self._dictionary.elements(self._connection, held).__getitem__)
            said.connections = tuple(self._listing(number, view.state[number], places[number]) for number in listed)
        elif held and self._asked.path is not None:
            said.value = value_at(self._body(view.state[held[0]]), self._asked.path)

    def _place(self, observer: int, element: int, position: Position) -> Position | None:
        """The observation since which an observer has said the same of an element; ``None``: it never spoke of it."""
        if last_row(self._connection, observer, element, position) is None:
            return None
        return version_place(self._connection, self._scope, observer, element, position)

    def _listing(self, number: int, document: int, place: Position | None) -> ListedConnection:
        assert place is not None
        item = self._dictionary.elements(self._connection, [number])[number]
        ends = {1: item.key, 2: item.other}
        listed_by = sorted({ends.get(end, end) for end in self._body(document).get("listed_by", ())})
        link = Connection(item.id, item.key, item.other, item.type, (), tuple(listed_by))
        return ListedConnection(link, instant(place.observed_at), place.sequence)

    def _body(self, document: int) -> Json:
        return self._dictionary.documents(self._connection, [document])[document].value


def _taken(
    connection: DatabaseConnection, scope: Scope, asked: Asked, elements: Collection[int], views: Collection[View]
) -> tuple[tuple[str, ...], Because]:
    """Whose word the answer is, and why (rule 12)."""
    holding = [view for view in views if any(number in view.state for number in elements)]
    names = tuple(view.key for view in holding)
    if asked.other is not None:
        return names, "listed"
    if asked.peer in names:
        return (asked.peer,), "own_report"
    if len(holding) == 1:
        return names, "only_one"
    [element] = elements
    if len({view.state[element] for view in holding}) == 1:
        return names, "agreed"
    begins: Begins = begins_by_rows(connection, scope, {view.observer_id: view.logged for view in views})
    newest = max(begins(view.observer_id, element) for view in holding)
    return (min(view.key for view in holding if begins(view.observer_id, element) == newest),), "newest_version"


def _judged(said: Testimony, state: State, value: Json, taken: Collection[str], asked: Asked) -> Testimony:
    """What an observer says, held against the answer."""
    if not said.watching:
        return said
    supports = said.holds is (state == "present")
    if supports and state == "present" and asked.path is not None:
        supports = not any(differences(said.value, value))
    return replace(said, supports=supports, taken=said.observer in taken)
