"""Pruning: taking what is before a horizon from the history, so that what is asked later has the same answers.

Of each observer, a prune leaves before the horizon what answers from it on rest on, and nothing else:

* the graph that was in force last, with a keyframe of its state, and what changed since (which was never in force); if
  the observer had stopped, the first stop marker after that graph and the last one;
* of each element of that state its last change row, at its place, since a version counts from its beginning (rule 12 of
  the time model); of each peer that was gone by then its last document and its going, since a change is told against
  the last value seen (rule 11); and of each peer its first change row, since what is learnt within its first minute is
  no edit (rule 10).

These rows together give the state at the horizon, so what reads a chain need not know of pruning. Those of the log stay
as they are; of the others, what was before them is gone.

Everything goes in small transactions; whoever records waits for one of them at most. What is to go is closed to
recording by the first of them, so a removal that was broken off is repeated as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.answers.removals import Removal
from peerstore.chain_rows import write_day_sums
from peerstore.database import Database, chunks
from peerstore.day_digests import DaySums, KnownDigests, number_of_observer
from peerstore.dictionary import observer_ids
from peerstore.keyframes import State, pack
from peerstore.late import fetched
from peerstore.prepared import Prepared
from peerstore.removing import Clock, Counts, Removing, empty_elements, empty_unused_documents, remove_pairs
from peerstore.retention import retention
from peerstore.states import (
    AFTER_ALL,
    BEFORE_ALL,
    CHANGES_BETWEEN,
    DAY,
    LOGGED_BETWEEN,
    Logged,
    Position,
    after_bound,
    at_end_of,
    between,
    changes_between,
    last_graph,
    last_logged,
    logged_between,
    until_bound,
)
from peerstore.store_clock import store_time
from peerstore.tables import (
    element,
    element_change,
    keyframe,
    observation_log,
    observer,
    peer_document,
)
from peerstore.timelines import ROWS
from peerstore.times import instant

_ROWS_A_STEP = 10_000
"""So many rows a transaction takes at most (and those of one observation more): a fraction of a second."""
_ELEMENTS_A_STEP = 64

Row = tuple[int, int, int, int | None, int | None]
"""A change row: observed_at, sequence, element, document, the one before."""


class _Kept(NamedTuple):
    """What a prune leaves of one observer before the horizon: rows of the log and change rows by their places, and the
    state of the graph at ``base``."""

    logged: dict[Position, Logged]
    changes: dict[Position, list[Row]]
    base: Position | None
    state: State


class _Plan(NamedTuple):
    """What a prune does to one observer, in steps that end at these places; how much of it goes."""

    observer_id: int
    key: str
    kept: _Kept
    steps: list[Position]
    counts: Counts


def prune(database: Database, before: int, clock: Clock | None, *, dry_run: bool = False) -> Removal:
    """Remove what was observed before an instant, but for what later answers rest on."""
    if dry_run:
        with database.reading() as connection:
            horizon = max(before, retention(connection).horizon or before)
            counts = _total(plan.counts for plan in _plans(connection, horizon))
            now = store_time(database, connection, clock)
        return Removal("prune", instant(now), observed_before=instant(before), **counts._asdict())
    removing = Removing(database, "prune", clock, before_at=before)
    removing.begin(lambda kept: kept._replace(horizon=max(before, kept.horizon or before)), before)
    with database.reading() as connection:
        plans = list(_plans(connection, retention(connection).horizon or before))
    digests = KnownDigests()
    for plan in plans:
        _follow(database, removing, plan, digests)
    _empty_unused(database, removing)
    return removing.finish()


def _total(counts: Iterable[Counts]) -> Counts:
    total = Counts()
    for each in counts:
        total = total.plus(each)
    return total


def _plans(connection: Connection, before: int) -> Iterator[_Plan]:
    peers = set(connection.execute(sa.select(element.c.id).where(element.c.kind == "peer")).scalars())
    for key, number in observer_ids(connection).items():
        if (plan := _plan(connection, number, key, at_end_of(before - 1), peers)) is not None:
            yield plan


def _plan(connection: Connection, number: int, key: str, end: Position, peers: set[int]) -> _Plan | None:
    last = last_logged(connection, number, end)
    if last is None:
        return None
    base = _last_in_force(connection, number, last) or last_graph(connection, number, last.position)
    places = {last.position}
    changes: dict[Position, list[Row]] = {}
    state: State = {}
    steps = [last.position]
    count = kept_count = 0
    if base is not None:
        newest = _Newest(peers)
        steps += newest.take(connection, number, base.position)
        since = changes_between(connection, number, base.position, last.position)
        state, count = newest.state, newest.count + len(since)
        for row in chain(newest.rows(), since):
            kept_count += 1
            changes.setdefault(Position(row[0], row[1]), []).append(row)
        places |= {base.position, *changes}
    if last.stopped and (stop := _first_after(connection, number, base)) is not None:
        places.add(stop.position)
    logged = {}
    for place in places:
        found = last_logged(connection, number, place)
        assert found is not None
        logged[place] = found
    seen = 0
    for seen, each in enumerate(logged_between(connection, number, BEFORE_ALL, last.position), 1):
        if seen % _ROWS_A_STEP == 0:
            steps.append(each.position)
    kept = _Kept(logged, changes, None if base is None else base.position, state)
    return _Plan(number, key, kept, sorted(set(steps)), Counts(seen - len(logged), count - kept_count))


def _last_in_force(connection: Connection, number: int, last: Logged) -> Logged | None:
    """The last graph that was in force, up to an observation: of observations of one instant only the last one is."""
    logged: Logged | None = last
    while logged is not None and logged.stopped:
        logged = last_logged(connection, number, at_end_of(logged.observed_at - 1))
    return logged


def _first_after(connection: Connection, number: int, base: Logged | None) -> Logged | None:
    """The observation that is in force first after another one."""
    after = BEFORE_ALL if base is None else base.position
    following = next(logged_between(connection, number, after, AFTER_ALL, most=1), None)
    return None if following is None else last_logged(connection, number, at_end_of(following.observed_at))


class _Newest:
    """The newest change row of each element up to a place, of peers that are gone the one before that, and of each peer
    its first one."""

    def __init__(self, peers: set[int]) -> None:
        self.state: State = {}
        self.count = 0
        self._peers = peers
        self._first: dict[int, Row] = {}
        self._present: dict[int, Row] = {}
        self._gone: dict[int, Row] = {}

    def take(self, connection: Connection, number: int, until: Position) -> list[Position]:
        """Read them; places that part the rows into steps."""
        steps: list[Position] = []
        values = between(number, BEFORE_ALL, until)
        rows = connection.execute(CHANGES_BETWEEN, values, execution_options={"yield_per": 5000})
        for place, row in ((Position(row[0], row[1]), row) for row in rows):
            self.count += 1
            if self.count % _ROWS_A_STEP == 0:
                steps.append(place)
            self._note(row[2], tuple(row))
        return steps

    def _note(self, number: int, row: Any) -> None:
        if number in self._peers:
            self._first.setdefault(number, row)
        if row[3] is not None:
            self._present[number], self.state[number] = row, row[3]
            self._gone.pop(number, None)
            return
        self.state.pop(number, None)
        if number in self._peers:
            self._gone[number] = row
        else:
            self._present.pop(number, None)

    def rows(self) -> Iterator[Row]:
        """Those that stay. That an element had been there before is told by its own document, since the one that it had
        may be emptied."""
        for row in self._present.values():
            at, sequence, number, document_id, previous = row
            yield at, sequence, number, document_id, None if previous is None else document_id
            if self._first.get(number, row)[:2] != row[:2]:
                yield self._first[number]
        yield from self._gone.values()


def _follow(database: Database, removing: Removing, plan: _Plan, digests: KnownDigests) -> None:
    removing.step(partial(_keep_state, plan))
    start = BEFORE_ALL
    for end in plan.steps:
        removing.step(partial(_replace, database, plan, start, end, digests))
        start = end


def _keep_state(plan: _Plan, connection: Connection) -> Counts:
    """Before anything goes: a keyframe at the graph that stays."""
    base = plan.kept.base
    if base is not None:
        place = {"observer_id": plan.observer_id, **base._asdict()}
        there = sa.select(sa.literal(1)).where(*(keyframe.c[name] == value for name, value in place.items()))
        if connection.execute(there).first() is None:
            connection.execute(sa.insert(keyframe), {**place, "body": pack(plan.kept.state)})
    return Counts()


def _replace(
    database: Database, plan: _Plan, start: Position, end: Position, digests: KnownDigests, connection: Connection
) -> Counts:
    """Put what stays of a stretch ``(start, end]`` in the place of all of it."""
    number, values = plan.observer_id, between(plan.observer_id, start, end)
    log = [Logged._make(row) for row in fetched(connection, LOGGED_BETWEEN, values)]
    changes = fetched(connection, CHANGES_BETWEEN, values)
    stay = [plan.kept.logged[each.position] for each in log if each.position in plan.kept.logged]
    rows = [row for each in stay for row in plan.kept.changes.get(each.position, ())]
    sums = DaySums(digests)
    for some, sign in ((log, -1), (stay, 1)):
        for logged in some:
            sums.add_logged(plan.key, (number, *logged), sign)
    for some_rows, sign in ((changes, -1), (rows, 1)):
        if some_rows:
            columns = [[number] * len(some_rows), *map(list, zip(*some_rows, strict=True))]
            sums.add_changes(connection, columns, {number: number_of_observer(plan.key)}, sign)
    _DELETE[element_change].run(connection, [values])
    _delete_all_but(connection, keyframe, values, [] if plan.kept.base is None else [plan.kept.base])
    _delete_all_but(connection, observation_log, values, [each.position for each in stay])
    database.insert(connection, element_change, [value for row in rows for value in (number, *row, row[0] // DAY)])
    write_day_sums(database, connection, sums)
    return Counts(len(log) - len(stay), len(changes) - len(rows))


def _delete_all_but(
    connection: Connection, table: sa.Table, values: dict[str, int], places: Sequence[Position]
) -> None:
    """Delete the rows in a stretch, but for those at some places in it, given in order."""
    start = Position(values["after_at"], values["after_sequence"])
    end = Position(values["until_at"], values["until_sequence"])
    stretches = []
    for place in places:
        if start < place <= end:
            stretches.append((start, Position(place.observed_at, place.sequence - 1)))
            start = place
    stretches.append((start, end))
    _DELETE[table].run(connection, [between(values["observer"], *stretch) for stretch in stretches])


_DELETE = {
    table: Prepared(
        sa.delete(table).where(table.c.observer_id == sa.bindparam("observer"), after_bound(table), until_bound(table))
    )
    for table in (element_change, keyframe, observation_log)
}


def _empty_unused(database: Database, removing: Removing) -> None:
    """Empty what nothing refers to any more: documents of peers, and connections."""
    with database.reading() as connection:
        peers = list(connection.execute(_PEERS_WITH_DOCUMENTS).scalars())
        used = set(connection.execute(sa.select(element_change.c.element_id).distinct()).scalars())
        links = [number for number in connection.execute(_CONNECTIONS).scalars() if number not in used]
        last = connection.execute(sa.select(sa.func.max(observer.c.last_recorded_at))).scalar() or 0
    for chunk in chunks(peers, _ELEMENTS_A_STEP):
        removing.step(partial(_empty_documents_of, chunk))
    for chunk in chunks(links, _ELEMENTS_A_STEP):
        removing.step(partial(_empty_connections, chunk, last))


_PEERS_WITH_DOCUMENTS = sa.select(peer_document.c.element_id).distinct()
_CONNECTIONS = sa.select(element.c.id).where(element.c.kind == "connection")


def _used(
    connection: Connection, elements: Sequence[int], recorded_after: int = -(2**62)
) -> set[tuple[int, int | None]]:
    """Which of these elements stand in change rows, with which documents: in those of the observers of which something
    was recorded after an instant."""
    found: set[tuple[int, int | None]] = set()
    for number in connection.execute(_OBSERVERS_SINCE, {"last": recorded_after}).scalars().all():
        values = {"observer": number, "ids": list(elements), "from_day": -(2**40), "to_day": 2**40}
        found.update((row[2], row[3]) for row in connection.execute(ROWS, values))
    return found


_OBSERVERS_SINCE = sa.select(observer.c.id).where(observer.c.last_recorded_at > sa.bindparam("last"))


def _empty_documents_of(peers: Sequence[int], connection: Connection) -> Counts:
    pair = peer_document.c
    had = connection.execute(sa.select(pair.element_id, pair.document_id).where(pair.element_id.in_(peers))).all()
    unused = {(row[0], row[1]) for row in had} - _used(connection, peers)
    if not unused:
        return Counts()
    remove_pairs(connection, unused)
    return Counts(documents=empty_unused_documents(connection, {number for _, number in unused}))


def _empty_connections(links: Sequence[int], last_recorded_at: int, connection: Connection) -> Counts:
    """Those that no row spoke of when the last of the rows was recorded at this time."""
    used = {number for number, _ in _used(connection, links, last_recorded_at)}
    return Counts(elements=empty_elements(connection, [number for number in links if number not in used]))
