"""Walking the merged presence forward in time: a function of the instant, as the moments at which it changes.

Each observer gives a stream of events (its graph changed; it began to watch; it stopped), in order of time, from the
change rows and the spans of watching. The walk merges the streams, keeps every observer's state and what the watching
ones hold, and tells, at each instant at which anything happens, which elements changed in the merged presence. It
holds the live state and streams the rest.

"Lit" means that at least one observer of the scope is watching. While nobody is, nothing is known to change: what was
shown last stays, and is compared with what is there when somebody watches again.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby, islice, repeat
from typing import Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.answers.sessions import EndReason
from peerstore.coverage import Scope, is_watching, spans
from peerstore.dictionary import Dictionary
from peerstore.keyframes import State
from peerstore.merging import Holders
from peerstore.model import ElementKind
from peerstore.presence import begins_by_rows, last_known, version_begin, views_at
from peerstore.states import Logged, Position, after_bound, at_end_of, last_graph, last_logged, state_at
from peerstore.tables import element as element_table
from peerstore.tables import element_change, observation_log
from peerstore.timelines import element_rows

Turn = Literal["started", "stopped", "silence"]


def growing_parts(items: Iterable[int]) -> Iterator[list[int]]:
    """Items in parts that grow: an answer that is made part by part gives its first rows soon, and its last ones with
    few statements more."""
    rest = iter(items)
    for size in chain((1, 8), repeat(32)):
        part = list(islice(rest, size))
        if not part:
            return
        yield part


class Event(NamedTuple):
    """Something happened to one observer at one instant: elements were assigned a document (``None``: gone), or its
    watching turned."""

    at: int
    observer: int
    assigned: dict[int, int | None]
    turn: Turn | None


@dataclass(slots=True)
class Moment:
    """An instant at which something happened.

    ``changed``: elements whose merged document changed, with the documents before and after (``None``: absent).
    ``causes``: for each of them the observers behind it. ``turns``: observers that began or stopped to watch.
    ``lit_before`` / ``lit``: whether anybody was watching just before, and is now. ``known_before``: whether anything
    was ever known before.
    """

    at: int
    lit_before: bool
    lit: bool
    known_before: bool
    changed: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)
    causes: dict[int, set[int]] = field(default_factory=dict)
    turns: list[tuple[int, Turn]] = field(default_factory=list)

    def end_reason(self, element: int) -> EndReason:
        """Why an element ended here: one that saw it reported it gone; else, one stopped; else, silence."""
        turned = {number: turn for number, turn in self.turns if turn != "started"}
        reasons: set[EndReason] = {turned.get(number, "left") for number in self.causes.get(element, ())}
        return min(reasons, key=("left", "stopped", "silence").index, default="left")


class Walk:
    """The merged presence of a scope over ``(after, until)``; iterate it once. Restricted to some elements, or to those
    of one kind, if that is given; without any element, it tells who was watching.

    Before the first step, :attr:`shown` is the merged presence at ``after`` (where nobody was watching then: the last
    one known).
    """

    def __init__(
        self,
        connection: Connection,
        dictionary: Dictionary,
        scope: Scope,
        after: int,
        until: int,
        elements: Collection[int] | ElementKind | None = None,
    ) -> None:
        assert after >= scope.before_all, "what lies before the horizon is no history"
        self._connection = connection
        self._dictionary = dictionary
        self._scope = scope
        self._after = after
        self._until = until
        self._elements = elements
        self.holders = Holders(scope.observers, lambda number: dictionary.elements(connection, [number])[number])
        self._begins: dict[tuple[int, int], int] = {}
        self._in_force: dict[int, Logged | None] = {}
        self._states: dict[int, State] = {}
        self.watching: set[int] = set()
        self._open()
        self.lit = bool(self.watching)
        self.shown, self.known = self._shown_at_opening()

    def _open(self) -> None:
        for number in self._scope.observers.values():
            logged = last_logged(self._connection, number, at_end_of(self._after), self._scope.known_at)
            graph = logged
            if logged is not None and logged.stopped:
                graph = last_graph(self._connection, number, logged.position, self._scope.known_at)
            self._in_force[number] = graph
            state = {} if graph is None else state_at(self._connection, number, graph.position)[0]
            self._states[number] = self._restricted(state)
            if is_watching(logged, self._after, self._scope):
                self.watching.add(number)
                self.holders.add(number, self._states[number])

    def _restricted(self, state: State) -> State:
        if self._elements is None:
            return state
        if isinstance(self._elements, str):
            known = self._dictionary.elements(self._connection, state)
            return {element: document for element, document in state.items() if known[element].kind == self._elements}
        return {element: state[element] for element in self._elements if element in state}

    def _shown_at_opening(self) -> tuple[dict[int, int], bool]:
        if self.lit:
            return {element: self._document(element) for element in self.holders.by_element}, True
        last = last_known(self._connection, self._scope, self._after)
        if last is None:
            return {}, False
        views = views_at(self._connection, self._scope, last)
        holders = Holders(self._scope.observers, self.holders.element)
        for view in views:
            holders.add(view.observer_id, self._restricted(view.state))
        begins = begins_by_rows(self._connection, self._scope, {view.observer_id: view.logged for view in views})
        documents = {element: holders.document(element, begins) for element in holders.by_element}
        return {element: document for element, document in documents.items() if document is not None}, True

    def begins(self, observer: int, element: int) -> int:
        """When the observer's present version of an element began."""
        key = (observer, element)
        if key not in self._begins:
            logged = self._in_force[observer]
            assert logged is not None
            self._begins[key] = version_begin(self._connection, self._scope, observer, element, logged.position)
        return self._begins[key]

    def _document(self, element: int) -> int:
        document = self.holders.document(element, self.begins)
        assert document is not None
        return document

    def __iter__(self) -> Iterator[Moment]:
        streams = [self._events(number) for number in self._scope.observers.values()]
        for at, events in groupby(heapq.merge(*streams), key=lambda event: event.at):
            yield self._step(at, list(events))

    def _step(self, at: int, events: list[Event]) -> Moment:
        moment = Moment(at, self.lit, self.lit, self.known)
        touched: dict[int, set[int]] = {}
        for event in events:
            self._apply(event, touched, moment)
        self.lit = moment.lit = bool(self.watching)
        if not self.lit:
            moment.causes = touched
        else:
            self.known = True
            whole = () if moment.lit_before else (*self.shown, *self.holders.by_element)
            for element in (*touched, *whole):
                self._compare(element, touched, moment)
        return moment

    def _apply(self, event: Event, touched: dict[int, set[int]], moment: Moment) -> None:
        number, state = event.observer, self._states[event.observer]
        if event.turn in ("stopped", "silence"):
            self.holders.remove(number, state)
            self.watching.discard(number)
            for element in state:
                touched.setdefault(element, set()).add(number)
        for element, document in event.assigned.items():
            if document is None:
                state.pop(element, None)
                self._begins.pop((number, element), None)
            else:
                state[element] = document
                self._begins[number, element] = event.at
            if number in self.watching and self.holders.put(number, element, document):
                touched.setdefault(element, set()).add(number)
        if event.turn == "started":
            self.watching.add(number)
            self.holders.add(number, state)
            for element in state:
                touched.setdefault(element, set()).add(number)
        if event.turn is not None:
            moment.turns.append((number, event.turn))

    def _compare(self, element: int, touched: dict[int, set[int]], moment: Moment) -> None:
        before = self.shown.get(element)
        after = self.holders.document(element, self.begins)
        if before == after:
            return
        moment.changed[element] = (before, after)
        moment.causes[element] = touched.get(element) or set(self.holders.by_element.get(element, ())) or self.watching
        if after is None:
            del self.shown[element]
        else:
            self.shown[element] = after

    def _events(self, number: int) -> Iterator[Event]:
        """One observer's events in ``(after, until)``."""
        marks = self._marks(number)
        mark = next(marks, None)
        for at, assigned in self._assignments(number):
            while mark is not None and mark[0] < at:
                yield Event(mark[0], number, {}, mark[1])
                mark = next(marks, None)
            if mark is not None and mark[0] == at:
                yield Event(at, number, assigned, mark[1])
                mark = next(marks, None)
            else:
                yield Event(at, number, assigned, None)
        while mark is not None:
            yield Event(mark[0], number, {}, mark[1])
            mark = next(marks, None)

    def _marks(self, number: int) -> Iterator[tuple[int, Turn]]:
        for span in spans(self._connection, number, self._scope, self._after, self._until):
            if span.start > self._after:
                yield span.start, "started"
            if span.end is not None and span.reason is not None and self._after < span.end < self._until:
                yield span.end, span.reason

    def _assignments(self, number: int) -> Iterator[tuple[int, dict[int, int | None]]]:
        rows = self._known_rows(number) if self._scope.known_at is not None else self._rows(number)
        for at, group in groupby(rows, key=lambda row: row[0]):
            yield at, {element: document for _, element, document in group}

    def _rows(self, number: int) -> Iterator[tuple[int, int, int | None]]:
        """(observed_at, element, document) of every change row, in order."""
        values: dict[str, int | str] = {"observer": number, "after": self._after, "until": self._until}
        statement = _ROWS
        if isinstance(self._elements, str):
            statement, values["kind"] = _ROWS_OF_KIND, self._elements
        elif self._elements is not None:
            after, until = at_end_of(self._after), Position(self._until, -1)
            for at, _, element, document, _ in element_rows(self._connection, number, self._elements, after, until):
                yield at, element, document
            return
        for at, element, document in self._connection.execute(statement, values, execution_options={"yield_per": 1000}):
            yield at, element, document

    def _known_rows(self, number: int) -> Iterator[tuple[int, int, int | None]]:
        """The same, as known at a time: what an unknown observation changed counts from the next known graph on."""
        after = at_end_of(self._after)
        state = dict(self._states[number])
        start = self._in_force[number]
        hidden: dict[int, int | None] = {}
        values = {
            "observer": number,
            "after_at": after.observed_at if start is None else start.observed_at,
            "after_sequence": after.sequence if start is None else start.sequence,
            "until": self._until,
        }
        if start is None:
            values.update(after_at=-(2**63), after_sequence=0)
        rows = self._connection.execute(_KNOWN_ROWS, values, execution_options={"yield_per": 1000})
        for (at, _, recorded_at, stopped), group in groupby(rows, key=lambda row: row[:4]):
            hidden.update((element, document) for *_, element, document in group if element is not None)
            if recorded_at > self._scope.known_at or stopped:
                continue
            for element, document in hidden.items():
                if state.get(element) != document and self._speaks_of(element):
                    if document is None:
                        state.pop(element, None)
                    else:
                        state[element] = document
                    yield at, element, document
            hidden.clear()

    def _speaks_of(self, element: int) -> bool:
        if isinstance(self._elements, str):
            return self._dictionary.elements(self._connection, [element])[element].kind == self._elements
        return self._elements is None or element in self._elements


_change, _log = element_change.c, observation_log.c
_ROWS = (
    sa.select(_change.observed_at, _change.element_id, _change.document_id)
    .where(
        _change.observer_id == sa.bindparam("observer"),
        _change.observed_at > sa.bindparam("after"),
        _change.observed_at < sa.bindparam("until"),
    )
    .order_by(_change.observed_at, _change.sequence)
)
_ROWS_OF_KIND = _ROWS.select_from(element_change.join(element_table, element_table.c.id == _change.element_id)).where(
    element_table.c.kind == sa.bindparam("kind")
)
_KNOWN_ROWS = (
    sa.select(_log.observed_at, _log.sequence, _log.recorded_at, _log.stopped, _change.element_id, _change.document_id)
    .select_from(
        observation_log.outerjoin(
            element_change,
            sa.and_(
                _change.observer_id == _log.observer_id,
                _change.observed_at == _log.observed_at,
                _change.sequence == _log.sequence,
            ),
        )
    )
    .where(
        _log.observer_id == sa.bindparam("observer"),
        after_bound(observation_log),
        _log.observed_at < sa.bindparam("until"),
    )
    .order_by(_log.observed_at, _log.sequence)
)
