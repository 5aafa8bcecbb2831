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
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.chain import NEVER_WATCHED, Chain, Edits, Item
from peerstore.database import Database
from peerstore.interning import Interning, digest
from peerstore.keyframes import State, pack
from peerstore.model import Element, Observation, Recorded
from peerstore.states import (
    AFTER_ALL,
    BEFORE_ALL,
    Logged,
    Position,
    changes_between,
    keyframe_after,
    keyframe_before,
    last_logged,
    logged_between,
    next_logged,
    state_at,
)
from peerstore.tables import element_change, keyframe, observation_log, observer, reject
from peerstore.times import micros

KEYFRAME_FLOOR = 64
"""A keyframe follows once the change rows since the last one are as many as the live elements, but at least this
many."""

_MOST_CURSORS = 1_000


class Cursor(NamedTuple):
    """Where an observer's chain ends, as this process last wrote it."""

    logged: Logged
    state: State
    since_keyframe: int


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
        ``settled`` are ids of what was kept aside before and is no longer.
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
        if len(self._cursors) > _MOST_CURSORS:
            self._cursors.clear()
        self._cursors.update(batch.cursors)
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
        self.recorded_at = NEVER_WATCHED
        self._database = database
        self._interning = interning
        self._known_cursors = cursors
        self._touched: set[tuple[int, Position]] = set()
        self._tried = False

    def record(
        self, connection: Connection, observations: Sequence[Observation], now: Callable[[Connection], int]
    ) -> list[Recorded]:
        """Merge the observations into their observers' chains."""
        if self._tried:
            self._interning.forget()
        self._tried, self.recorded_at = True, NEVER_WATCHED
        self.cursors.clear()
        self._touched.clear()
        if not observations:
            return []
        observers = self._interning.observers(connection, {given.observer for given in observations})
        items = self._items(connection, observations)
        graph_element = self._interning.element_id(connection, Element("graph"))
        self._lock_observers(connection, observers.values())
        self.recorded_at = now(connection)
        of_observer: dict[int, list[Item]] = {}
        for given, item in zip(observations, items, strict=True):
            of_observer.setdefault(observers[given.observer], []).append(item)
        for observer_id in sorted(of_observer):
            _Observing(self, connection, observer_id, graph_element).merge(of_observer[observer_id])
        self._finish(connection, of_observer)
        return [item.result for item in items]

    def _items(self, connection: Connection, observations: Sequence[Observation]) -> list[Item]:
        graphs = [given.graph for given in observations if given.graph is not None]
        states = iter(self._interning.states(connection, graphs))
        return [
            Item(
                Position(given.observed_at, given.sequence),
                None if given.graph is None else next(states),
                given.max_silence,
            )
            for given in observations
        ]

    def _lock_observers(self, connection: Connection, ids: Iterable[int]) -> None:
        if not self._database.is_sqlite:
            statement = sa.select(observer.c.id).where(observer.c.id.in_(list(ids))).order_by(observer.c.id)
            connection.execute(statement.with_for_update(key_share=True)).all()

    def _finish(self, connection: Connection, of_observer: dict[int, list[Item]]) -> None:
        for observer_id, position in sorted(self._touched):
            _space_keyframes(self, connection, observer_id, position)
        recorded = [
            {"recorded_observer": observer_id, "last_recorded_at": self.recorded_at}
            for observer_id, items in of_observer.items()
            if any(item.result.status == "recorded" for item in items)
        ]
        if recorded:
            statement = sa.update(observer).where(observer.c.id == sa.bindparam("recorded_observer"))
            connection.execute(statement, recorded)

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
        self._database.insert_new(connection, reject, rows)

    def cursor(self, observer_id: int) -> Cursor | None:
        """Where this process last left the observer's chain."""
        return self.cursors.get(observer_id) or self._known_cursors.get(observer_id)

    def touch(self, observer_id: int, position: Position) -> None:
        """Note that rows were added in the midst of the chain, after the keyframe at this position."""
        self._touched.add((observer_id, position))

    def write(self, connection: Connection, observer_id: int, edits: Edits) -> None:
        """Write what a run worked out."""
        if edits.gaps:
            connection.execute(_UPDATE_GAP, [{**_place(observer_id, at), "gap_from": gap} for at, gap in edits.gaps])
        if edits.deleted:
            connection.execute(_DELETE_CHANGE, [{**_place(observer_id, at), "element": e} for at, e in edits.deleted])
        self._database.insert(connection, observation_log, [(observer_id, *logged) for logged in edits.logged])
        self._database.insert(connection, element_change, edits.changes)

    def write_keyframe(self, connection: Connection, observer_id: int, position: Position, state: State) -> None:
        """Write one keyframe."""
        self._database.insert(connection, keyframe, [(observer_id, *position, pack(state))])


_log, _change = observation_log.c, element_change.c
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


class _Observing:
    """The part of a batch that belongs to one observer."""

    def __init__(self, batch: _Batch, connection: Connection, observer_id: int, graph_element: int) -> None:
        self._batch = batch
        self._connection = connection
        self._observer_id = observer_id
        self._graph_element = graph_element

    def merge(self, items: list[Item]) -> None:
        """Merge new observations, in any order, into the chain."""
        items = sorted(
            items, key=lambda item: item.position
        )  # stable: of two at one place the one given first is first
        tail = last_logged(self._connection, self._observer_id, AFTER_ALL)
        late = 0 if tail is None else bisect_right(items, tail.position, key=lambda item: item.position)
        if late < len(items):
            self._append(items[late:], tail)
        if late:
            self._merge_late(items[:late])

    def _append(self, items: list[Item], tail: Logged | None) -> None:
        cursor = self._cursor(tail)
        since = cursor.since_keyframe
        chain = self._chain(cursor.state, tail, late=False)
        keyframes: list[tuple[Position, State]] = []
        for item in items:
            if chain.previous is not None and item.position == chain.previous.position:
                chain.meet(item, chain.previous)
                continue
            written = len(chain.edits.changes)
            chain.add(item)
            since += len(chain.edits.changes) - written
            if since >= max(KEYFRAME_FLOOR, len(chain.state)):
                keyframes.append((item.position, chain.state))
                since = 0
        self._batch.write(self._connection, self._observer_id, chain.edits)
        for position, state in keyframes:
            self._batch.write_keyframe(self._connection, self._observer_id, position, state)
        if chain.previous is not None:
            self._batch.cursors[self._observer_id] = Cursor(chain.previous, chain.state, since)

    def _cursor(self, tail: Logged | None) -> Cursor:
        if tail is None:
            return Cursor(Logged(0, 0, 0, 0, None, None), {}, 0)
        cursor = self._batch.cursor(self._observer_id)
        # The graph of an observation never changes; but a stop marker's state is that of the graph before it, which may come late.
        if cursor is not None and cursor.logged.position == tail.position and not tail.stopped:
            return cursor
        return Cursor(tail, *state_at(self._connection, self._observer_id, tail.position))

    def _chain(self, state: State, previous: Logged | None, *, late: bool) -> Chain:
        return Chain(self._observer_id, state, previous, self._batch.recorded_at, self._graph_element, late=late)

    def _merge_late(self, items: list[Item]) -> None:
        """Merge a run that begins within the stored chain; where stored ones are many between, in shorter runs."""
        first, last = items[0].position, items[-1].position
        before = last_logged(self._connection, self._observer_id, Position(first.observed_at, first.sequence - 1))
        start = BEFORE_ALL if before is None else before.position
        most = 4 * len(items) + 100
        stored = list(logged_between(self._connection, self._observer_id, start, last, most + 1))
        if len(stored) > most and len(items) > 1:
            middle = len(items) // 2
            self._merge_late(items[:middle])
            self._merge_late(items[middle:])
            return
        state = {} if before is None else state_at(self._connection, self._observer_id, start)[0]
        chain = self._chain(state, before, late=True)
        self._walk(chain, items, stored, start)
        if chain.edits.logged:
            self._pass_following(chain)
            self._batch.write(self._connection, self._observer_id, chain.edits)
            self._batch.touch(self._observer_id, keyframe_before(self._connection, self._observer_id, first)[0])

    def _walk(self, chain: Chain, items: list[Item], stored: list[Logged], start: Position) -> None:
        rows = self._rows(start, stored[-1].position) if stored else {}
        waiting = iter(stored)
        following = next(waiting, None)
        for item in items:
            while following is not None and following.position <= item.position:
                chain.pass_stored(following, rows.get(following.position, {}))
                following = next(waiting, None)
            if chain.previous is not None and chain.previous.position == item.position:
                chain.meet(item, chain.previous)
            else:
                chain.add(item)

    def _pass_following(self, chain: Chain) -> None:
        """Mend what follows the run: up to the next graph, since stop markers hand the difference on."""
        while chain.previous is not None:
            here = chain.previous.position
            after = next_logged(self._connection, self._observer_id, here)
            if after is None:
                return
            chain.pass_stored(after, self._rows(here, after.position).get(after.position, {}))
            if not after.stopped:
                return

    def _rows(self, after: Position, until: Position) -> dict[Position, dict[int, tuple[int | None, int | None]]]:
        rows: dict[Position, dict[int, tuple[int | None, int | None]]] = {}
        for observed_at, sequence, element, document, previous in changes_between(
            self._connection, self._observer_id, after, until
        ):
            rows.setdefault(Position(observed_at, sequence), {})[element] = (document, previous)
        return rows


def _space_keyframes(batch: _Batch, connection: Connection, observer_id: int, start: Position) -> None:
    """Add keyframes between the one at ``start`` and the next, where late rows have made the way between them long."""
    position, state = keyframe_before(connection, observer_id, start)
    until = keyframe_after(connection, observer_id, start)
    rows = changes_between(connection, observer_id, position, until)
    if len(rows) <= 2 * max(KEYFRAME_FLOOR, len(state)):
        return
    since, at = 0, position
    for observed_at, sequence, element, document, _ in rows:
        here = Position(observed_at, sequence)
        if here != at and since >= max(KEYFRAME_FLOOR, len(state)):
            batch.write_keyframe(connection, observer_id, at, state)
            since = 0
        at, since = here, since + 1
        if document is None:
            state.pop(element, None)
        else:
            state[element] = document
