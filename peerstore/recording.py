"""Recording: the one module that writes history.

A batch of observations is one transaction. Within it each observer's new observations are merged into its chain of
observations, ordered by (observed_at, sequence), in runs. A run walks the stored and the new observations of a stretch
of the chain together (:mod:`peerstore.chain`):

* a new observation gets change rows against the state before it;
* a stored one that follows a new one is mended: its rows are brought to what now differs from the state before it.
  What its graph was does not change, so keyframes never become wrong and nothing beyond the next stored graph is
  touched;
* one that is already there is a duplicate if its graph is the same, else a conflict.

So the stored rows depend on the set of observations alone, not on the order in which they came (the algorithm of
``docs/decisions/0002-storage-layout.md``; held by ``tests/test_time_model.py``).
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.chain import NEVER_WATCHED, Chain, Edits, Item
from peerstore.database import Database, chunks
from peerstore.interning import Interning, digest
from peerstore.keyframes import State, pack
from peerstore.late import SPARSE, LateWalk, fetched
from peerstore.model import Element, Observation, Recorded
from peerstore.states import (
    AFTER_ALL,
    BEFORE_ALL,
    Logged,
    Position,
    after_bound,
    between,
    changes_between,
    keyframe_after,
    keyframe_before,
    last_logged,
    state_at,
    until_bound,
)
from peerstore.tables import element_change, keyframe, observation_log, observer, reject
from peerstore.times import micros

KEYFRAME_FLOOR = 64
"""A keyframe follows once the change rows since the last one are as many as the live elements, but at least this
many."""

_MOST_KEPT = 500_000  # elements in the states that are kept between batches
_MOST_EDITS = 500_000  # values that wait to be written

_PLACE = attrgetter("observed_at", "sequence")


class Cursor(NamedTuple):
    """Where an observer's chain ends, as this process last wrote it.

    It holds as long as nobody has recorded anything of the observer since, which its ``last_recorded_at`` tells: that
    is another in every transaction that records something of it.
    """

    logged: Logged
    state: State
    since_keyframe: int
    last_recorded_at: int


class Refused(NamedTuple):
    """Something to be kept aside: ``kind`` is ``rejected`` or ``conflict``."""

    kind: str
    source: str
    line: int
    reason: str
    content: bytes
    complete: bool = True


Refusals = Callable[[Sequence[Recorded]], Sequence[Refused]]


class Recorder:
    """Writes observations into the database; one batch at a time."""

    def __init__(self, database: Database, clock: Callable[[], datetime] | None = None) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._interning = Interning(database)
        self._cursors: dict[int, Cursor] = {}
        self._last_recorded_at = NEVER_WATCHED

    def record(
        self, observations: Sequence[Observation], refusals: Refusals | None = None, settled: Sequence[int] = ()
    ) -> list[Recorded]:
        """Record observations in one transaction, durably; the results are in their order.

        ``refusals`` tells, once the results are known and in the same transaction, what is to be kept aside;
        ``settled`` are ids of what was kept aside before and is no longer. An observation that says when another store
        recorded it keeps that time; the store's own clock goes on from the latest of them.
        """
        with self._lock:
            batch = _Batch(self._database, self._interning, self._cursors)

            def work(connection: Connection) -> list[Recorded]:
                results = batch.record(connection, observations, self._now)
                if refusals is not None:
                    batch.keep_aside(connection, refusals(results), self._now)
                if settled:
                    connection.execute(sa.delete(reject).where(reject.c.id == sa.bindparam("settled")), _ids(settled))
                return results

            try:
                results = self._database.write(work)
            except BaseException:
                self._interning.forget()
                raise
            self._remember(batch)
        return results

    def _remember(self, batch: _Batch) -> None:
        if sum(len(cursor.state) + 1 for cursor in self._cursors.values()) > _MOST_KEPT:
            self._cursors.clear()
        self._cursors.update(batch.cursors)
        for observer_id in batch.outdated:
            del self._cursors[observer_id]
        self._last_recorded_at = max(self._last_recorded_at, batch.recorded_at)

    def _now(self, connection: Connection) -> int:
        """The store's clock: never backwards, and another value for every transaction."""
        if self._clock is not None:
            now = micros(self._clock())
        else:
            server = self._database.clock(connection)
            now = time.time_ns() // 1000 if server is None else server
        last = connection.execute(sa.select(sa.func.max(observer.c.last_recorded_at))).scalar()
        return max(now, self._last_recorded_at + 1, NEVER_WATCHED if last is None else last + 1)


def _ids(settled: Sequence[int]) -> list[dict[str, int]]:
    return [{"settled": number} for number in settled]


class _Batch:
    """One transaction's worth of recording."""

    def __init__(self, database: Database, interning: Interning, cursors: dict[int, Cursor]) -> None:
        self.cursors: dict[int, Cursor] = {}
        self.outdated: set[int] = set()
        self.recorded_at = NEVER_WATCHED
        self.edits = Edits()
        self._database = database
        self._interning = interning
        self._known_cursors = cursors
        self._last_recorded_at: dict[int, int] = {}
        self._stretches: list[_Stretch] = []
        self._pairs: set[tuple[int, int]] = set()
        self._tried = False

    def record(
        self, connection: Connection, observations: Sequence[Observation], now: Callable[[Connection], int]
    ) -> list[Recorded]:
        """Merge the observations into their observers' chains."""
        self._begin()
        if not observations:
            return []
        observers = self._interning.observers(connection, {given.observer for given in observations})
        items = self._items(connection, observations)
        graph_element = self._interning.element_id(connection, Element("graph"))
        self._last_recorded_at = self._standing(connection, observers.values())
        kept = max((item.recorded_at for item in items if item.recorded_at is not None), default=NEVER_WATCHED)
        self.recorded_at = max(now(connection), kept + 1)
        of_observer: dict[int, list[Item]] = {}
        for given, item in zip(observations, items, strict=True):
            of_observer.setdefault(observers[given.observer], []).append(item)
        for observer_id in sorted(of_observer):
            _Observing(self, connection, observer_id, graph_element).merge(of_observer[observer_id])
        self._finish(connection, of_observer)
        return [item.result for item in items]

    def _begin(self) -> None:
        if self._tried:  # the transaction is run again: what the first try made is not there
            self._interning.forget()
        self._tried, self.recorded_at, self.edits = True, NEVER_WATCHED, Edits()
        self.cursors.clear()
        self.outdated.clear()
        self._stretches.clear()
        self._pairs.clear()

    def _items(self, connection: Connection, observations: Sequence[Observation]) -> list[Item]:
        graphs = [given.graph for given in observations if given.graph is not None]
        states = iter(self._interning.states(connection, graphs))
        return [
            Item(at, sequence, None if graph is None else next(states), max_silence, Recorded("recorded"), recorded_at)
            for _, at, sequence, graph, max_silence, recorded_at in observations
        ]

    def _standing(self, connection: Connection, ids: Iterable[int]) -> dict[int, int]:
        """When something of each observer was last recorded; from here on, nobody else records anything of them."""
        found: dict[int, int] = {}
        for chunk in chunks(sorted(ids)):
            statement = sa.select(observer.c.id, observer.c.last_recorded_at).where(observer.c.id.in_(chunk))
            if not self._database.is_sqlite:
                statement = statement.order_by(observer.c.id).with_for_update(key_share=True)
            found.update(connection.execute(statement).all())
        return found

    def _finish(self, connection: Connection, of_observer: dict[int, list[Item]]) -> None:
        self.flush(connection)
        for stretch in self._stretches:
            stretch.space_keyframes(self, connection)
        self.flush(connection)
        self._interning.pair(connection, self._pairs)
        recorded = [
            observer_id
            for observer_id, items in of_observer.items()
            if any(item.result.status == "recorded" for item in items)
        ]
        for observer_id in recorded:
            self.cursors[observer_id] = self.cursors[observer_id]._replace(last_recorded_at=self.recorded_at)
        if recorded:
            statement = sa.update(observer).where(observer.c.id == sa.bindparam("recorded_observer"))
            values = [{"recorded_observer": number, "last_recorded_at": self.recorded_at} for number in recorded]
            connection.execute(statement, values)

    def keep_aside(self, connection: Connection, refused: Sequence[Refused], now: Callable[[Connection], int]) -> None:
        """Keep what was refused, once each however often it comes."""
        if not refused:
            return
        if self.recorded_at == NEVER_WATCHED:
            self.recorded_at = now(connection)
        rows = [
            {
                "digest": digest(repr((each.kind, each.source, each.line)).encode() + each.content),
                "recorded_at": self.recorded_at,
                **each._asdict(),
                "complete": int(each.complete),
            }
            for each in refused
        ]
        list(self._database.insert_new(connection, reject, rows))

    def cursor(self, observer_id: int) -> Cursor | None:
        """Where the observer's chain ends, if this process knows."""
        cursor = self._known_cursors.get(observer_id)
        if cursor is None or cursor.last_recorded_at != self._last_recorded_at[observer_id]:
            return None
        return cursor

    def touch(self, stretch: _Stretch, reached: Position) -> None:
        """Note that rows were added in the midst of a chain, and mended up to a place: if its end is among them, the
        cursor is no longer true."""
        self._stretches.append(stretch)
        if reached >= self.cursors[stretch.observer_id].logged.position:
            self.outdated.add(stretch.observer_id)

    def remember(self, observer_id: int, logged: Logged, state: State, since_keyframe: int) -> None:
        """Note where the observer's chain ends."""
        self.cursors[observer_id] = Cursor(logged, state, since_keyframe, self._last_recorded_at[observer_id])

    def flush(self, connection: Connection) -> None:
        """Write what the chains have worked out so far."""
        edits = self.edits
        if edits.gaps:
            connection.execute(_UPDATE_GAP, [{**_place(number, at), "gap_from": gap} for number, at, gap in edits.gaps])
        if edits.deleted:
            connection.execute(
                _DELETE_CHANGE, [{**_place(number, at), "element": e} for number, at, e in edits.deleted]
            )
        self._database.insert(connection, observation_log, edits.logged)
        self._database.insert(connection, element_change, edits.changes)
        self._pairs |= self._interning.new_pairs(edits.changes[3::7], edits.changes[4::7])
        self._database.insert(connection, keyframe, edits.keyframes)
        edits.clear()


_log, _change, _keyframe = observation_log.c, element_change.c, keyframe.c
_AT: dict[str, sa.BindParameter[int]] = {
    "observer": sa.bindparam("observer"),
    "at": sa.bindparam("at"),
    "at_sequence": sa.bindparam("at_sequence"),
}
_UPDATE_GAP = (
    sa.update(observation_log)
    .where(_log.observer_id == _AT["observer"], _log.observed_at == _AT["at"], _log.sequence == _AT["at_sequence"])
    .values(gap_from=sa.bindparam("gap_from"))
)
_DELETE_CHANGE = sa.delete(element_change).where(
    _change.observer_id == _AT["observer"],
    _change.observed_at == _AT["at"],
    _change.sequence == _AT["at_sequence"],
    _change.element_id == sa.bindparam("element"),
)


def _place(observer_id: int, position: Position) -> dict[str, int | None]:
    return {"observer": observer_id, "at": position.observed_at, "at_sequence": position.sequence}


_COUNT_LOGGED = sa.select(sa.func.count()).where(
    _log.observer_id == _AT["observer"], after_bound(observation_log), until_bound(observation_log)
)
_COUNT_CHANGES = (
    sa.select(_change.observed_at, _change.sequence, sa.func.count())
    .where(_change.observer_id == _AT["observer"], after_bound(element_change), until_bound(element_change))
    .group_by(_change.observed_at, _change.sequence)
    .order_by(_change.observed_at, _change.sequence)
)


def _keyframe_places(*where: sa.ColumnElement[bool]) -> sa.Select[tuple[int, int]]:
    return sa.select(_keyframe.observed_at, _keyframe.sequence).where(_keyframe.observer_id == _AT["observer"], *where)


_KEYFRAMES_AROUND = sa.union_all(
    sa.select(
        _keyframe_places(sa.not_(after_bound(keyframe)))
        .order_by(_keyframe.observed_at.desc(), _keyframe.sequence.desc())
        .limit(1)
        .subquery()
    ),
    _keyframe_places(after_bound(keyframe), until_bound(keyframe)),
    sa.select(
        _keyframe_places(sa.not_(until_bound(keyframe)))
        .order_by(_keyframe.observed_at, _keyframe.sequence)
        .limit(1)
        .subquery()
    ),
).order_by("observed_at", "sequence")


class _Observing:
    """The part of a batch that belongs to one observer."""

    def __init__(self, batch: _Batch, connection: Connection, observer_id: int, graph_element: int) -> None:
        self._batch = batch
        self._connection = connection
        self._observer_id = observer_id
        self._graph_element = graph_element

    def merge(self, items: list[Item]) -> None:
        """Merge new observations, in any order, into the chain."""
        # The sort is stable: of two at one place the one given first is first.
        items = sorted(items, key=_PLACE)
        cursor = self._batch.cursor(self._observer_id) or self._read_cursor()
        late = 0 if cursor is None else bisect_right(items, cursor.logged[:2], key=_PLACE)
        self._append(items[late:], cursor)
        if late:
            self._merge_late(items[:late])

    def _read_cursor(self) -> Cursor | None:
        tail = last_logged(self._connection, self._observer_id, AFTER_ALL)
        if tail is None:
            return None
        return Cursor(tail, *state_at(self._connection, self._observer_id, tail.position), NEVER_WATCHED)

    def _append(self, items: list[Item], cursor: Cursor | None) -> None:
        state, since = ({}, 0) if cursor is None else (cursor.state, cursor.since_keyframe)
        chain = self._chain(state, None if cursor is None else cursor.logged, late=False)
        for item in items:
            if (taken := chain.standing_at(item)) is not None:
                chain.meet(item, taken)
                continue
            since += self._add(chain, item)
            # Only a graph's state stands for ever: a stop marker's is that of the graph before it, which may yet come.
            if item.state is not None and since >= KEYFRAME_FLOOR and since >= len(chain.state):
                self._batch.edits.keyframes += (self._observer_id, *item.position, pack(chain.state))
                since = 0
        if chain.previous is not None:
            self._batch.remember(self._observer_id, chain.previous, chain.state, since)

    def _chain(self, state: State, previous: Logged | None, *, late: bool = True) -> Chain:
        batch = self._batch
        return Chain(self._observer_id, state, previous, batch.recorded_at, self._graph_element, batch.edits, late=late)

    def _add(self, chain: Chain, item: Item) -> int:
        """Add an observation to the chain; how many change rows that makes."""
        count = chain.add(item)
        if len(chain.edits.changes) > _MOST_EDITS:
            self._batch.flush(self._connection)
        return count

    def _merge_late(self, items: list[Item]) -> None:
        """Merge new observations that stand before the last stored one."""
        self._batch.flush(self._connection)
        first, last = items[0].position, items[-1].position
        sparse = len(items) == 1 or self._count_between(first, last) > SPARSE * len(items)
        walk = self._walk(first, sparse=sparse)
        for item in items:
            if not walk.reaches(item.position):
                self._leave(walk)
                walk = self._walk(item.position, sparse=sparse)
            walk.merge(item, self._add)
        self._leave(walk)

    def _walk(self, position: Position, *, sparse: bool) -> LateWalk:
        self._batch.flush(self._connection)
        return LateWalk(self._connection, self._observer_id, position, self._chain, sparse=sparse)

    def _count_between(self, first: Position, last: Position) -> int:
        values = between(self._observer_id, first, last)
        return int(self._connection.execute(_COUNT_LOGGED, values).scalar_one())

    def _leave(self, walk: LateWalk) -> None:
        walk.mend()
        if walk.added and walk.chain.previous is not None:
            stretch = _Stretch(self._observer_id, *walk.added, len(walk.chain.state))
            self._batch.touch(stretch, walk.chain.previous.position)


class _Stretch(NamedTuple):
    """A stretch of an observer's chain to which rows were added; about so many elements were ``live`` there."""

    observer_id: int
    first: Position
    last: Position
    live: int

    def space_keyframes(self, batch: _Batch, connection: Connection) -> None:
        """Add keyframes where the way from one to the next has become long."""
        for start in self._long_ways(connection):
            self._shorten(batch, connection, start)

    def _long_ways(self, connection: Connection) -> list[Position]:
        """The keyframes from which on the way to the next is long."""
        ends = between(self.observer_id, self.first, self.last)
        places = [Position._make(row) for row in connection.execute(_KEYFRAMES_AROUND, ends)]
        before = places.pop(0) if places and places[0] <= self.first else BEFORE_ALL
        after = places[-1] if places and places[-1] > self.last else AFTER_ALL
        values = between(self.observer_id, before, after)
        rows = fetched(connection, _COUNT_CHANGES, values)
        long: list[Position] = []
        start, length = before, 0
        waiting = iter([*places, AFTER_ALL])
        end = next(waiting)
        for at, sequence, count in rows:
            while (at, sequence) > end:
                start, end, length = end, next(waiting), 0
            length += count
            if length > 2 * max(KEYFRAME_FLOOR, self.live) and start not in long[-1:]:
                long.append(start)
        return long

    def _shorten(self, batch: _Batch, connection: Connection, start: Position) -> None:
        position, state = keyframe_before(connection, self.observer_id, start)
        until = keyframe_after(connection, self.observer_id, start)
        since, at = 0, position
        for observed_at, sequence, element, document, _ in changes_between(
            connection, self.observer_id, position, until
        ):
            here = Position(observed_at, sequence)
            if here != at and since >= max(KEYFRAME_FLOOR, len(state)):
                batch.edits.keyframes += (self.observer_id, *at, pack(state))
                since = 0
            at, since = here, since + 1
            if document is None:
                state.pop(element, None)
            else:
                state[element] = document
        batch.flush(connection)
