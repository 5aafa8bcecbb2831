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
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore import events
from peerstore.chain import NEVER_WATCHED, Chain, Edits, Item
from peerstore.chain_rows import DELETE_CHANGE, UPDATE_GAP, place_values, write_day_sums
from peerstore.database import Database, chunks
from peerstore.day_digests import DaySums
from peerstore.forgetting import REFUSED, UNREAD, Forgotten
from peerstore.interning import Interning, digest
from peerstore.keyframe_spacing import Stretch, spacing
from peerstore.keyframes import State, pack
from peerstore.late import SPARSE, LateWalk
from peerstore.model import Element, Observation, Recorded
from peerstore.prepared import Prepared
from peerstore.retention import Retention, forgotten_digests, retention, store_secret
from peerstore.states import (
    AFTER_ALL,
    Logged,
    Position,
    after_bound,
    between,
    last_logged,
    state_at,
    until_bound,
)
from peerstore.store_clock import store_time
from peerstore.tables import element_change, keyframe, observation_log, observer, reject
from peerstore.times import iso

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
    """Something to be kept aside: ``kind`` is ``rejected`` or ``conflict``. ``recorded_at`` is when another store did
    so, where that is to be kept."""

    kind: str
    source: str
    line: int
    reason: str
    content: bytes
    complete: bool = True
    recorded_at: int | None = None


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
        self._retention = Retention()
        self._forgotten = Forgotten()

    def record(
        self, observations: Sequence[Observation], refusals: Refusals | None = None, settled: Sequence[int] = ()
    ) -> list[Recorded]:
        """Record observations in one transaction, durably; the results are in their order.

        ``refusals`` tells, once the results are known and in the same transaction, what is to be kept aside;
        ``settled`` are ids of what was kept aside before and is no longer. An observation that says when another store
        recorded it keeps that time; the store's own clock goes on from the latest of them.
        """
        begun, refused = time.monotonic(), list[Refused]()
        with self._lock:
            batch = _Batch(self._database, self._interning, self._cursors)

            def work(connection: Connection) -> list[Recorded]:
                self._keep_up(connection)
                results = batch.record(connection, observations, self._now, self._retention, self._forgotten)
                if refusals is not None:
                    refused[:] = _told(refusals(results), self._forgotten)
                    batch.keep_aside(connection, refused, self._now)
                if settled:
                    connection.execute(sa.delete(reject).where(reject.c.id == sa.bindparam("settled")), _ids(settled))
                return results

            try:
                results = self._database.write(work)
            except BaseException:
                self._interning.forget()
                raise
            self._remember(batch)
        if refused or events.batches_are_told():
            _tell(results, refused, time.monotonic() - begun)
        return results

    def _keep_up(self, connection: Connection) -> None:
        """Learn what was removed since; nothing is removed while this transaction lasts."""
        self._database.hold_off_removals(connection)
        kept = retention(connection)
        if kept.generation != self._retention.generation:
            # What is known by id may be gone.
            self._interning.forget()
            self._cursors.clear()
            digests = forgotten_digests(connection)
            self._forgotten = Forgotten(digests, store_secret(connection)) if digests else Forgotten()
        self._retention = kept

    def keep_aside(self, refused: Sequence[Refused]) -> None:
        """Keep aside what another store has refused."""
        self.record([], lambda _: refused)

    def _remember(self, batch: _Batch) -> None:
        if sum(len(cursor.state) + 1 for cursor in self._cursors.values()) > _MOST_KEPT:
            self._cursors.clear()
        self._cursors.update(batch.cursors)
        for observer_id in batch.outdated:
            del self._cursors[observer_id]
        self._last_recorded_at = max(self._last_recorded_at, batch.recorded_at)

    def _now(self, connection: Connection) -> int:
        """The store's clock: never backwards, and another value for every transaction."""
        return max(store_time(self._database, connection, self._clock), self._last_recorded_at + 1)


def _tell(results: Sequence[Recorded], refused: Sequence[Refused], seconds: float) -> None:
    if refused:
        kinds, first = Counter(each.kind for each in refused), refused[0]
        events.lines_refused(kinds["rejected"], kinds["conflict"], first.source, first.line, first.reason)
    if events.batches_are_told():
        counts = Counter(result.status for result in results)
        events.batch_recorded(counts, sum(result.changes for result in results), len(refused), seconds)


def _ids(settled: Sequence[int]) -> list[dict[str, int]]:
    return [{"settled": number} for number in settled]


def too_early(given: Observation, closed_before: int) -> Recorded | None:
    """What becomes of an observation of a time of which the history is no longer whole; ``None`` if it is."""
    if given.observed_at >= closed_before:
        return None
    reason = (
        f"it was observed at {iso(given.observed_at)}, and what was observed before {iso(closed_before)} was pruned or"
        " thinned: what it would change there is not known any more"
    )
    return Recorded("rejected", reason=reason)


def _told(refused: Sequence[Refused], forgotten: Forgotten) -> Sequence[Refused]:
    """What is kept of what was refused: nothing that was said by or of a forgotten peer."""
    return [_without_content(each, forgotten) for each in refused] if forgotten else refused


def _without_content(refused: Refused, forgotten: Forgotten) -> Refused:
    if forgotten.mentioned(refused.source.encode("utf-8", "surrogatepass")):
        refused = refused._replace(source="(named after a forgotten peer)")
    if refused.reason == REFUSED:
        return refused._replace(content=b"", complete=False)
    if forgotten.mentioned(refused.content) or forgotten.mentioned(refused.reason.encode("utf-8", "surrogatepass")):
        reason = refused.reason if refused.kind == "conflict" else UNREAD
        return refused._replace(reason=reason, content=b"", complete=False)
    return refused


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
        self._stretches: list[Stretch] = []
        self._pairs: set[tuple[int, int]] = set()
        self._days = DaySums(interning.digests)
        self._observers: dict[int, str] = {}
        self._tried = False

    def record(
        self,
        connection: Connection,
        observations: Sequence[Observation],
        now: Callable[[Connection], int],
        kept: Retention,
        forgotten: Forgotten,
    ) -> list[Recorded]:
        """Merge the observations into their observers' chains, but for what must not be recorded any more."""
        self._begin()
        closed = kept.closed_before
        if not forgotten and (closed is None or all(given.observed_at >= closed for given in observations)):
            return self._record(connection, observations, now)
        results: list[Recorded | None] = []
        open_ones: list[Observation] = []
        for given in observations:
            what = forgotten.without(given) if forgotten else given
            result = Recorded("rejected", reason=REFUSED) if what is None else None
            if what is not None and closed is not None:
                result = too_early(what, closed)
            if what is not None and result is None:
                open_ones.append(what)
            results.append(result)
        recorded = iter(self._record(connection, open_ones, now))
        return [next(recorded) if result is None else result for result in results]

    def _record(
        self, connection: Connection, observations: Sequence[Observation], now: Callable[[Connection], int]
    ) -> list[Recorded]:
        if not observations:
            return []
        observers = self._interning.observers(connection, {given.observer for given in observations})
        self._observers = {observers[given.observer]: given.observer for given in observations}
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
        self._days = DaySums(self._interning.digests)

    def _items(self, connection: Connection, observations: Sequence[Observation]) -> list[Item]:
        graphs = [given.graph for given in observations if given.graph is not None]
        interned = iter(self._interning.states(connection, graphs))
        items = []
        for _, at, sequence, graph, max_silence, recorded_at in observations:
            state = (None,) if graph is None else next(interned)
            items.append(Item(at, sequence, state[0], max_silence, Recorded("recorded"), recorded_at, *state[1:]))
        return items

    def _standing(self, connection: Connection, ids: Iterable[int]) -> dict[int, int]:
        """When something of each observer was last recorded; from here on, nobody else records anything of them."""
        numbers = sorted(ids)
        if len(numbers) == 1 and self._database.is_sqlite:
            return dict(_STANDING.all(connection, {"observer": numbers[0]}))
        found: dict[int, int] = {}
        for chunk in chunks(numbers):
            statement = sa.select(observer.c.id, observer.c.last_recorded_at).where(observer.c.id.in_(chunk))
            if not self._database.is_sqlite:
                statement = statement.order_by(observer.c.id).with_for_update(key_share=True)
            found.update(connection.execute(statement).all())
        return found

    def _finish(self, connection: Connection, of_observer: dict[int, list[Item]]) -> None:
        self.flush(connection)
        for stretch in self._stretches:
            for start in stretch.long_ways(connection):
                self.edits.keyframes += stretch.keyframes_after(connection, start)
                self.flush(connection)
        self._interning.pair(connection, self._pairs)
        write_day_sums(self._database, connection, self._days)
        recorded = [
            observer_id
            for observer_id, items in of_observer.items()
            if any(item.result.status == "recorded" for item in items)
        ]
        for observer_id in recorded:
            self.cursors[observer_id] = self.cursors[observer_id]._replace(last_recorded_at=self.recorded_at)
        if recorded:
            _SET_RECORDED_AT.run(
                connection, [{"observer": number, "recorded_at": self.recorded_at} for number in recorded]
            )

    def keep_aside(self, connection: Connection, refused: Sequence[Refused], now: Callable[[Connection], int]) -> None:
        """Keep what was refused, once each however often it comes."""
        if not refused:
            return
        if self.recorded_at == NEVER_WATCHED:
            self.recorded_at = now(connection)
        rows = [
            {
                "digest": digest(repr((each.kind, each.source, each.line)).encode() + each.content),
                **each._asdict(),
                "complete": int(each.complete),
                "recorded_at": self.recorded_at if each.recorded_at is None else each.recorded_at,
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

    def touch(self, stretch: Stretch, reached: Position) -> None:
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
        self._days.take(connection, edits, self._observers)
        if edits.gaps:
            values = [{**place_values(number, logged.position), "gap_from": gap} for number, logged, gap in edits.gaps]
            connection.execute(UPDATE_GAP, values)
        if edits.deleted:
            connection.execute(
                DELETE_CHANGE, [{**place_values(number, at), "element": e} for number, at, e, *_ in edits.deleted]
            )
        self._database.insert(connection, observation_log, edits.logged)
        self._database.insert(connection, element_change, edits.changes)
        self._pairs |= self._interning.new_pairs(edits.changes[3::7], edits.changes[4::7])
        self._database.insert(connection, keyframe, edits.keyframes)
        edits.clear()


_STANDING = Prepared(
    sa.select(observer.c.id, observer.c.last_recorded_at).where(observer.c.id == sa.bindparam("observer"))
)
_SET_RECORDED_AT = Prepared(
    sa.update(observer)
    .where(observer.c.id == sa.bindparam("observer"))
    .values(last_recorded_at=sa.bindparam("recorded_at"))
)
_COUNT_LOGGED = sa.select(sa.func.count()).where(
    observation_log.c.observer_id == sa.bindparam("observer"),
    after_bound(observation_log),
    until_bound(observation_log),
)


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
            if item.state is not None and since >= spacing(len(chain.state)):
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
            stretch = Stretch(self._observer_id, *walk.added, len(walk.chain.state))
            self._batch.touch(stretch, walk.chain.previous.position)
