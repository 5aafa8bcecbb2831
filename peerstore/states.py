"""The state of one observer: which observation is in force at an instant, and what its graph was.

The only place, beside recording, that knows keyframes: the state after an observation is the last keyframe at or
before it and the change rows from there on (Aion's and the HANA timeline index' way: see
``docs/decisions/0002-storage-layout.md``). Positions are (observed_at, sequence): a total order within one observer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.keyframes import State, unpack
from peerstore.prepared import Prepared, Row
from peerstore.tables import element_change, keyframe, observation_log

DAY = 86_400_000_000
GREATEST_SEQUENCE = 2**31 - 1


class Position(NamedTuple):
    """The place of an observation within its observer's history."""

    observed_at: int
    sequence: int


class Logged(NamedTuple):
    """A row of the observation log (times in microseconds)."""

    observed_at: int
    sequence: int
    recorded_at: int
    stopped: int
    max_silence: int | None
    gap_from: int | None

    @property
    def position(self) -> Position:
        """Its place within its observer's history."""
        return Position(self.observed_at, self.sequence)


class Keyframe(NamedTuple):
    """A whole state as it is stored, and where; before the first one there is that of no element, before all time."""

    position: Position
    body: bytes | None

    def state(self) -> State:
        """What it holds, for whoever asks to change as he likes."""
        return {} if self.body is None else unpack(self.body)


def _bound(name: str) -> sa.Tuple:
    return sa.tuple_(
        sa.bindparam(f"{name}_at", type_=sa.BigInteger), sa.bindparam(f"{name}_sequence", type_=sa.BigInteger)
    )


def after_bound(table: sa.Table) -> sa.ColumnElement[bool]:
    """The rows of a growing table after the place that :func:`between` gives as ``after``."""
    return sa.tuple_(table.c.observed_at, table.c.sequence) > _bound("after")


def until_bound(table: sa.Table) -> sa.ColumnElement[bool]:
    """The rows of a growing table at or before the place that :func:`between` gives as ``until``."""
    return sa.tuple_(table.c.observed_at, table.c.sequence) <= _bound("until")


_log = observation_log.c
_logged = (_log.observed_at, _log.sequence, _log.recorded_at, _log.stopped, _log.max_silence, _log.gap_from)
_of_observer = _log.observer_id == sa.bindparam("observer")

_last = (
    sa.select(*_logged)
    .where(_of_observer, until_bound(observation_log))
    .order_by(_log.observed_at.desc(), _log.sequence.desc())
    .limit(1)
)
_LAST = Prepared(_last)
_LAST_KNOWN = Prepared(_last.where(_log.recorded_at <= sa.bindparam("known_at")))
LOGGED_AFTER = (
    sa.select(*_logged).where(_of_observer, after_bound(observation_log)).order_by(_log.observed_at, _log.sequence)
)
LOGGED_BETWEEN = (
    sa.select(*_logged)
    .where(_of_observer, after_bound(observation_log), until_bound(observation_log))
    .order_by(_log.observed_at, _log.sequence)
)
_keyframe = (
    sa.select(keyframe.c.observed_at, keyframe.c.sequence, keyframe.c.body)
    .where(keyframe.c.observer_id == sa.bindparam("observer"), until_bound(keyframe))
    .order_by(keyframe.c.observed_at.desc(), keyframe.c.sequence.desc())
    .limit(1)
)
_KEYFRAME = Prepared(_keyframe)
_IN_FORCE = Prepared(
    sa.select(of_log := _last.subquery("logged"), of_keyframes := _keyframe.subquery("last_keyframe")).select_from(
        of_log.outerjoin(of_keyframes, sa.true())
    )
)
_KEYFRAME_AFTER = Prepared(
    sa.select(keyframe.c.observed_at, keyframe.c.sequence)
    .where(keyframe.c.observer_id == sa.bindparam("observer"), after_bound(keyframe))
    .order_by(keyframe.c.observed_at, keyframe.c.sequence)
    .limit(1)
)
_change = element_change.c
CHANGES_BETWEEN = (
    sa.select(_change.observed_at, _change.sequence, _change.element_id, _change.document_id, _change.previous_id)
    .where(
        _change.observer_id == sa.bindparam("observer"),
        after_bound(element_change),
        until_bound(element_change),
    )
    .order_by(_change.observed_at, _change.sequence)
)
_STATE_CHANGES = Prepared(CHANGES_BETWEEN.with_only_columns(_change.element_id, _change.document_id))

BEFORE_ALL = Position(-(2**63), 0)
AFTER_ALL = Position(2**63 - 1, GREATEST_SEQUENCE)


def between(observer_id: int, after: Position, until: Position) -> dict[str, int]:
    """The values of a statement about one observer's rows in ``(after, until]``."""
    return {
        "observer": observer_id,
        "after_at": after.observed_at,
        "after_sequence": after.sequence,
        "until_at": until.observed_at,
        "until_sequence": until.sequence,
    }


def _up_to(observer_id: int, until: Position) -> dict[str, int]:
    return {"observer": observer_id, "until_at": until.observed_at, "until_sequence": until.sequence}


def at_end_of(moment: int) -> Position:
    """The last position that an observation at this instant can have."""
    return Position(moment, GREATEST_SEQUENCE)


def last_logged(
    connection: Connection, observer_id: int, until: Position, known_at: int | None = None
) -> Logged | None:
    """The observer's last observation at or before a position, as known at ``known_at``."""
    values = _up_to(observer_id, until)
    if known_at is None:
        row = _LAST.first(connection, values)
    else:
        row = _LAST_KNOWN.first(connection, {**values, "known_at": known_at})
    return None if row is None else Logged._make(row)


def logged_in_force(
    connection: Connection, observer_id: int, until: Position, known_at: int | None = None
) -> tuple[Logged | None, Keyframe | None]:
    """As :func:`last_logged`, with the keyframe that its state rests on if the same statement gave it."""
    if known_at is not None:  # the last known observation, and with it the keyframe, may lie far before
        return last_logged(connection, observer_id, until, known_at), None
    row = _IN_FORCE.first(connection, _up_to(observer_id, until))
    if row is None:
        return None, None
    return Logged._make(row[:6]), _keyframe_of(row[6:])


def last_graph(connection: Connection, observer_id: int, until: Position, known_at: int | None = None) -> Logged | None:
    """The observer's last observation with a graph (no stop marker) at or before a position, as known at
    ``known_at``."""
    logged = last_logged(connection, observer_id, until, known_at)
    while logged is not None and logged.stopped:
        before = Position(logged.observed_at, logged.sequence - 1)
        logged = last_logged(connection, observer_id, before, known_at)
    return logged


def before_lead_in(connection: Connection, number: int, start: Position, known_at: int | None) -> Position:
    """The place just before the observation in force at ``start``, and before the graph that a stop marker leaves."""
    logged = last_logged(connection, number, start, known_at)
    if logged is None:
        return start
    place = Position(logged.observed_at, logged.sequence - 1)
    while logged is not None and logged.stopped:
        logged = last_logged(connection, number, place, known_at)
        place = place if logged is None else Position(logged.observed_at, logged.sequence - 1)
    return place


def logged_between(
    connection: Connection, observer_id: int, after: Position, until: Position, most: int | None = None
) -> Iterator[Logged]:
    """The observer's observations in ``(after, until]``, in order; at most so many."""
    statement = LOGGED_BETWEEN if most is None else LOGGED_BETWEEN.limit(most)
    rows = connection.execute(statement, between(observer_id, after, until), execution_options={"yield_per": 1000})
    return map(Logged._make, rows)


def changes_between(
    connection: Connection, observer_id: int, after: Position, until: Position
) -> Sequence[tuple[int, int, int, int | None, int | None]]:
    """Change rows in ``(after, until]``: (observed_at, sequence, element, document, previous), in order."""
    return connection.execute(CHANGES_BETWEEN, between(observer_id, after, until)).all()


def keyframe_before(connection: Connection, observer_id: int, until: Position) -> tuple[Position, State]:
    """The last keyframe at or before a position; before the first one, the empty state before all time."""
    found = _last_keyframe(connection, observer_id, until)
    return found.position, found.state()


def _last_keyframe(connection: Connection, observer_id: int, until: Position) -> Keyframe:
    return _keyframe_of(_KEYFRAME.first(connection, _up_to(observer_id, until)) or (None, None, None))


def _keyframe_of(row: Row) -> Keyframe:
    return Keyframe(BEFORE_ALL if row[0] is None else Position(row[0], row[1]), row[2])


def keyframe_after(connection: Connection, observer_id: int, after: Position) -> Position:
    """The place of the first keyframe after a position; the end of all time if there is none."""
    values = {"observer": observer_id, "after_at": after.observed_at, "after_sequence": after.sequence}
    row = _KEYFRAME_AFTER.first(connection, values)
    return AFTER_ALL if row is None else Position(row[0], row[1])


def state_at(
    connection: Connection, observer_id: int, position: Position, start: Keyframe | None = None
) -> tuple[State, int]:
    """The graph of the observation in force at a position (a stop marker leaves it), and how many change rows that
    took. ``start``: the last keyframe at or before it, if it was read already.

    Costs one keyframe and the changes since it, whatever the length of the history.
    """
    if start is None:
        start = _last_keyframe(connection, observer_id, position)
    state = start.state()
    rows = _STATE_CHANGES.all(connection, between(observer_id, start.position, position))
    state.update(rows)
    for element, document in rows:
        if document is None and state.get(element, 0) is None:
            del state[element]
    return state, len(rows)
