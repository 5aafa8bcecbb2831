"""One observer's history, as far as it is known for sure: observations in order, and the stretches that are lost.

A state is known from the observer's first observation on, or from a keyframe: forward by the change rows, and back by
the documents that these name as the ones before. Where rows are lost it is known up to there and from there on, and
nothing in between is made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from peerstore.answers.repair import Lost
from peerstore.canonical import loads
from peerstore.chain import NEVER_WATCHED, differences, gap_before
from peerstore.ditto_peers import GRAPH
from peerstore.errors import DatabaseError
from peerstore.keyframes import State, unpack
from peerstore.model import Element, Observation, PresenceGraph
from peerstore.rescue.days import Change, DayRows, Gap, is_reliable
from peerstore.rescue.source import Known
from peerstore.states import AFTER_ALL, BEFORE_ALL, DAY, Logged, Position
from peerstore.times import LATEST, instant

_ROWS = "rows of it are lost"
_STATE = "its graphs are not known for sure"
_CHANGED = "rows of it were changed"
_PARTS = "a document or an element of its graphs is lost"


class _Piece(NamedTuple):
    """Rows in order, and the state before them (``None``: not known)."""

    start: State | None
    log: Sequence[Logged]
    changes: Sequence[Change]


class _Loss:
    """A lost stretch in the making. ``unknown``: it may be more than ``count``; ``matters``: what was lost may have
    changed what is known to hold."""

    def __init__(self, since: int | None, reason: str) -> None:
        self.since, self.reason = since, reason
        self.until: int | None = None
        self.count = 0
        self.unknown = self.matters = False

    def told(self, observer: str) -> Lost:
        """The stretch as it is reported."""
        count = None if self.unknown else self.count
        since, until = (None if at is None else instant(at) for at in (self.since, self.until))
        return Lost(observer or None, since, until, count, self.reason)


class _Graph:
    """A state with what its elements and documents say."""

    def __init__(self, known: Known) -> None:
        self.state: State = {}
        self._known = known
        self._items: dict[Element, str] = {}
        self._unknown: set[int] = set()
        self._made: PresenceGraph | None = None

    def apply(self, documents: Iterable[tuple[int, int | None]]) -> None:
        """Let elements have other documents."""
        for element, document in documents:
            self._made = None
            item = self._known.elements.get(element)
            body = None if document is None else self._known.document(document)
            self._unknown.discard(element)
            if document is None:
                self.state.pop(element, None)
            else:
                self.state[element] = document
                if item is None or body is None:
                    self._unknown.add(element)
            if item is not None:
                if body is None:
                    self._items.pop(item, None)
                else:
                    self._items[item] = body

    def move_to(self, state: State) -> None:
        """Become another state."""
        self.apply(differences(self.state, state).items())

    def graph(self) -> PresenceGraph | None:
        """The graph; ``None`` if a part of it is lost."""
        if self._unknown or GRAPH not in self._items:
            return None
        if self._made is None:
            local_peer = loads(self._items[GRAPH]).get("local_peer", "")
            self._made = PresenceGraph(local_peer, dict(self._items))
        return self._made


class ObserverHistory:
    """The history of one observer, from its days as they are given.

    What is lost stands in ``losses`` once all is taken; ``lost`` counts the lost observations, ``markers`` the stop
    markers that were put where a lost stretch begins.
    """

    def __init__(self, known: Known, key: str, *, mark: bool) -> None:
        self.lost = self.markers = 0
        self._known = known
        self._key = key
        self._mark = mark
        self._state: State | None = None
        self._pending: list[DayRows] = []
        self._graph = _Graph(known)
        self._given: Logged | None = None
        self._passed: Logged | None = None
        self._loss: _Loss | None = None
        self._losses: list[_Loss] = []
        self._opened: set[_Loss] = set()
        self._is_complete = True

    @property
    def losses(self) -> list[Lost]:
        """The lost stretches, in order."""
        return [each.told(self._key) for each in self._losses]

    def take(self, unit: DayRows) -> Iterator[Observation]:
        """Go on with a day."""
        if unit.trust == "doubtful" and not (unit.log or unit.missing):
            return  # stray rows
        if unit.is_detached:
            yield from self._resolve()
            self._state = None
            self._open(_ROWS, matters=True).unknown = True
        if is_reliable(unit) and not self._pending:
            start = self._start(unit, self._state)
            if start is not None:
                yield from self._play(unit, [_Piece(start, unit.log, unit.changes)])
                return
        self._pending.append(unit)
        if is_reliable(unit) and self._start(unit, None) is not None:
            yield from self._resolve()

    def begin(self, left: DayRows) -> Iterator[Observation]:
        """Begin at the horizon of a pruned history, of which this was left before it: the graph that was in force last,
        which has a keyframe, and what came after it. The other rows are parts, and say nothing of their own."""
        if all(logged.stopped for logged in left.log):
            return
        position, state = next(self._keyframes(left), (AFTER_ALL, None))
        if state is None:
            self._open(_STATE, matters=True)
            return
        self._graph.move_to(state)
        for logged in left.log:
            if logged.position >= position:
                for change in left.changes:
                    if change.position == logged.position > position:
                        self._apply(change)
                yield from self._give(logged)
        self._state = dict(self._graph.state)

    def end(self) -> Iterator[Observation]:
        """There are no more days."""
        yield from self._resolve()
        if self._loss is not None:
            yield from self._close(None)

    def _resolve(self) -> Iterator[Observation]:
        """Go through the days that wait, from what is known before them and after them."""
        units, self._pending = self._pending, []
        starts: list[State | None] = [None] * (len(units) + 1)
        for place in reversed(range(len(units))):
            unit, after = units[place], starts[place + 1]
            if is_reliable(unit):
                start = self._start(unit, None)
                starts[place] = _rewound(after, unit.changes) if start is None and after is not None else start
        for unit, start, after in zip(units, starts, starts[1:], strict=False):
            if is_reliable(unit):
                known = self._start(unit, self._state) if start is None else start
                yield from self._play(unit, [_Piece(known, unit.log, unit.changes)])
            elif unit.trust == "doubtful":
                yield from self._play(unit, [_Piece(None, unit.log, ())])
            else:
                before = {} if _is_first(unit) else self._state
                yield from self._play(unit, self._pieces(unit, before, after))

    def _start(self, unit: DayRows, carried: State | None) -> State | None:
        """The state before a day whose rows are all there; ``None`` if it is not known."""
        if _is_first(unit):
            return {} if _applied({}, unit.changes) is not None else None
        if carried is not None and _applied(carried, unit.changes) is not None:
            return carried
        for position, state in self._keyframes(unit):
            start = _rewound(state, [each for each in unit.changes if each.position <= position])
            if start is not None and _applied(start, unit.changes) is not None:
                return start
        return None

    def _keyframes(self, unit: DayRows) -> Iterator[tuple[Position, State]]:
        """The keyframes that can be read and stand where an observation with a graph does."""
        graphs = {each.position for each in unit.log if not each.stopped}
        for position, body in unit.keyframes:
            if position in graphs and (state := self._unpacked(body)) is not None:
                yield position, state

    def _unpacked(self, body: bytes) -> State | None:
        try:
            state = unpack(body)
        except DatabaseError:
            return None
        return state if all(self._known.element_number(each) is not None for each in state) else None

    def _pieces(self, unit: DayRows, start: State | None, end: State | None) -> Iterator[_Piece]:
        """A day of which rows are lost, in pieces between the places where its state is known."""
        low = BEFORE_ALL
        for after, before in sorted(unit.change_gaps, key=lambda gap: gap.after or BEFORE_ALL):
            high = BEFORE_ALL if after is None else after
            if low < high:
                yield from self._segment(unit, low, high, start, None)
            begin, rest = max(high, low), before or AFTER_ALL
            yield _Piece(None, [each for each in unit.log if begin <= each.position < rest], ())
            low, start = max(low, rest), None
        if low < AFTER_ALL:
            yield from self._segment(unit, low, AFTER_ALL, start, end)

    def _segment(
        self, unit: DayRows, low: Position, high: Position, start: State | None, end: State | None
    ) -> Iterator[_Piece]:
        """The part of a day at and after a position and before another, within which no change row is known to be
        lost."""
        anchors: list[tuple[Position, State] | None] = [None if start is None else (BEFORE_ALL, start)]
        anchors += [(position, state) for position, state in self._keyframes(unit) if low <= position < high]
        anchors += [None if end is None else (AFTER_ALL, end)]
        for one, other in pairwise(anchors):
            after, until = BEFORE_ALL if one is None else one[0], AFTER_ALL if other is None else other[0]
            log = [each for each in unit.log if low <= each.position < high and after < each.position <= until]
            changes = [each for each in unit.changes if low < each.position < high and after < each.position <= until]
            known: State | None = None
            if one is not None:
                found = _applied(one[1], changes)
                confirmed = not unit.short if other is None else found == other[1]
                known = one[1] if found is not None and confirmed else None
            elif other is not None and not unit.short:
                known = _rewound(other[1], changes)
            if log or changes or known is None:
                yield _Piece(known, log, changes)

    def _play(self, unit: DayRows, pieces: Iterable[_Piece]) -> Iterator[Observation]:
        """Give what is known of a day, and note what is lost."""
        self._opened.clear()
        self._is_complete = unit.missing == 0
        gaps = [] if self._is_complete else sorted(unit.log_gaps, key=lambda gap: gap.before or AFTER_ALL)
        for piece in pieces:
            if piece.start is None:
                self._state = None
                self._open(_CHANGED if unit.trust == "doubtful" else _STATE, matters=True)
                for logged in piece.log:
                    self._lose(logged, _STATE)
                continue
            self._graph.move_to(piece.start)
            yield from self._of_piece(piece, gaps)
            self._state = dict(self._graph.state)
        if gaps:
            self._lack(_ROWS, matters=False)
        self._count(unit)

    def _of_piece(self, piece: _Piece, gaps: list[Gap]) -> Iterator[Observation]:
        changes = list(reversed(piece.changes))
        for logged in piece.log:
            while changes and changes[-1].position < logged.position:
                self._lack(_ROWS, matters=True)
                self._apply(changes.pop())
            while gaps and gaps[0].before is not None and gaps[0].before <= logged.position:
                gaps.pop(0)
                self._lack(_ROWS, matters=False)
            if logged.gap_from not in (NEVER_WATCHED, gap_before(self._passed, logged.observed_at)):
                self._lack(_ROWS, matters=True)
            while changes and changes[-1].position == logged.position:
                self._apply(changes.pop())
            yield from self._give(logged)
        for change in reversed(changes):
            self._lack(_ROWS, matters=True)
            self._apply(change)

    def _apply(self, change: Change) -> None:
        self._graph.apply([(change.element, change.document)])

    def _give(self, logged: Logged) -> Iterator[Observation]:
        graph = None if logged.stopped else self._graph.graph()
        if graph is None and not logged.stopped:
            self._lose(logged, _PARTS)
            return
        if self._loss is not None:
            yield from self._close(logged)
        self._given = self._passed = logged
        yield Observation(self._key, logged.observed_at, logged.sequence, graph, logged.max_silence, logged.recorded_at)

    def _lose(self, logged: Logged, reason: str) -> None:
        """An observation is known to have been made, and no more."""
        self._open(reason, matters=True).count += 1
        self._passed = logged
        self.lost += 1

    def _lack(self, reason: str, *, matters: bool) -> None:
        """Observations are lost that nothing is known of."""
        is_new = self._loss is None
        loss = self._open(reason, matters=matters)
        loss.unknown |= is_new or not self._is_complete
        self._opened.add(loss)

    def _open(self, reason: str, *, matters: bool) -> _Loss:
        if self._loss is None:
            self._loss = _Loss(None if self._given is None else self._given.observed_at, reason)
            self._losses.append(self._loss)
        self._loss.matters |= matters
        return self._loss

    def _close(self, before: Logged | None) -> Iterator[Observation]:
        """A lost stretch ends with an observation, or with all that there is."""
        loss, given = self._loss, self._given
        assert loss is not None
        self._loss = None
        loss.until = None if before is None else before.observed_at
        room = LATEST if before is None else before.observed_at - 1
        if not self._mark or given is None or given.stopped or given.observed_at >= room:
            return
        if loss.matters or before is None:
            self.markers += 1
            yield Observation(self._key, given.observed_at + 1, 0, None, None, given.recorded_at)

    def _count(self, unit: DayRows) -> None:
        """Tell how many observations of a day are lost of which nothing is known."""
        missing = unit.missing or 0
        self.lost += missing
        if not self._opened and missing:
            if self._loss is not None:
                self._loss.count += missing
                return
            loss = _Loss(unit.day * DAY, _ROWS)
            loss.until, loss.count = (unit.day + 1) * DAY - 1, missing
            self._losses.append(loss)
        elif len(self._opened) == 1 and missing:
            [loss] = self._opened
            loss.unknown = False
            loss.count += missing


def _is_first(unit: DayRows) -> bool:
    """Whether nothing was ever observed before a day."""
    return bool(unit.log) and unit.log[0].gap_from == NEVER_WATCHED


def _applied(state: State, changes: Iterable[Change]) -> State | None:
    """The state after changes; ``None`` if one of them does not follow."""
    state = dict(state)
    for _, element, document, previous in changes:
        if state.get(element) != previous:
            return None
        if document is None:
            del state[element]
        else:
            state[element] = document
    return state


def _rewound(state: State, changes: Sequence[Change]) -> State | None:
    """The state before changes; ``None`` if one of them does not lead to it."""
    return _applied(
        state, [each._replace(document=each.previous, previous=each.document) for each in reversed(changes)]
    )
