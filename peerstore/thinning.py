"""Thinning: taking observations that changed nothing from the history.

It leaves every observation that changed something, that ended or began a gap, and so many of the others that no two
stand further apart than asked for, nor than the limit of silence that the first of them declares.

It goes in small transactions; whoever records waits for one of them at most. What is to go is closed to recording by
the first of them, so that thinning that was broken off is repeated as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.answers.removals import Removal
from peerstore.chain_rows import DELETE_LOGGED, place_values, write_day_sums
from peerstore.database import Database
from peerstore.day_digests import DaySums, KnownDigests
from peerstore.dictionary import observer_ids
from peerstore.removing import Clock, Counts, Removing
from peerstore.retention import Retention
from peerstore.states import (
    AFTER_ALL,
    BEFORE_ALL,
    Logged,
    Position,
    after_bound,
    at_end_of,
    between,
    logged_between,
    until_bound,
)
from peerstore.store_clock import store_time
from peerstore.tables import element_change, keyframe
from peerstore.times import instant

_ROWS_A_STEP = 10_000
"""So many rows a transaction takes: a fraction of a second."""


def thin(database: Database, before: int, every: int, clock: Clock | None, *, dry_run: bool = False) -> Removal:
    """Remove observations that changed nothing and were made before an instant, but for one in ``every``
    microseconds."""
    if dry_run:
        with database.reading() as connection:
            numbers = observer_ids(connection).values()
            steps = (step for number in numbers for step in _thinned(connection, number, before, every))
            count = sum(map(len, steps))
            now = store_time(database, connection, clock)
        return Removal("thin", instant(now), None, instant(before), instant(every) - instant(0), count)
    removing = Removing(database, "thin", clock, before_at=before, every=every)

    def closed(kept: Retention) -> Retention:
        longest = max(every, kept.thinned_every or every)
        return kept._replace(thinned_before=max(before, kept.thinned_before or before), thinned_every=longest)

    removing.begin(closed, before)
    with database.reading() as connection:
        observers = observer_ids(connection)
    for key, number in observers.items():
        with database.reading() as connection:
            found = [step for step in _thinned(connection, number, before, every) if step]
        for step in found:
            removing.step(partial(_drop, database, number, key, step))
    return removing.finish()


def _thinned(connection: Connection, number: int, before: int, every: int) -> Iterator[list[Position]]:
    """The places of the observations of one observer that may go, in steps."""
    end = at_end_of(before - 1)
    told = _places_that_matter(connection, number, end)
    mark = next(told, AFTER_ALL)
    step: list[Position] = []
    kept: Logged | None = None
    waiting: Logged | None = None  # which goes if the one after it is near enough to the one kept last
    for logged in logged_between(connection, number, BEFORE_ALL, end):
        while mark < logged.position:
            mark = next(told, AFTER_ALL)
        if waiting is not None:
            if kept is not None and _is_near(kept, logged, every):
                step.append(waiting.position)
            else:
                kept = waiting
            waiting = None
        if kept is None or mark == logged.position or _matters(kept, logged):
            kept = logged
        else:
            waiting = logged
        if len(step) >= _ROWS_A_STEP:
            yield step
            step = []
    yield step


def _matters(kept: Logged, logged: Logged) -> bool:
    """Whether an observation without changes says something that the one kept before it does not."""
    return bool(logged.stopped) or logged.gap_from is not None or logged.max_silence != kept.max_silence


def _is_near(kept: Logged, following: Logged, every: int) -> bool:
    """Whether what stands between two observations may go."""
    if following.stopped or following.gap_from is not None:
        return False
    apart = following.observed_at - kept.observed_at
    return apart <= every and (kept.max_silence is None or apart <= kept.max_silence)


def _places_that_matter(connection: Connection, number: int, end: Position) -> Iterator[Position]:
    """Those of observations with change rows or a keyframe, in order."""
    values = between(number, BEFORE_ALL, end)
    rows = connection.execute(_PLACES, values, execution_options={"yield_per": 5000})
    return (Position(*row) for row in rows)


_PLACES = sa.union(
    *(
        sa.select(table.c.observed_at, table.c.sequence).where(
            table.c.observer_id == sa.bindparam("observer"), after_bound(table), until_bound(table)
        )
        for table in (element_change, keyframe)
    )
).order_by("observed_at", "sequence")


def _drop(database: Database, number: int, key: str, step: Sequence[Position], connection: Connection) -> Counts:
    """Remove observations without change rows, given in order."""
    wanted = set(step)
    first = Position(step[0].observed_at, step[0].sequence - 1)
    stretch = logged_between(connection, number, first, step[-1])
    found = [logged for logged in stretch if logged.position in wanted]
    sums = DaySums(KnownDigests())
    for logged in found:
        sums.add_logged(key, (number, *logged), -1)
    if found:
        connection.execute(DELETE_LOGGED, [place_values(number, each.position) for each in found])
    write_day_sums(database, connection, sums)
    return Counts(observations=len(found))
