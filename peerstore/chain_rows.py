"""The rows of an observer's chain, as they are changed: what recording, pruning, thinning and forgetting share."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.database import Database
from peerstore.day_digests import DaySum, DaySums
from peerstore.prepared import Prepared
from peerstore.states import Position
from peerstore.tables import day_digest, element_change, keyframe, observation_log


def _is_at_place(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.observer_id == sa.bindparam("observer"),
        table.c.observed_at == sa.bindparam("at"),
        table.c.sequence == sa.bindparam("at_sequence"),
    )


UPDATE_GAP = sa.update(observation_log).where(_is_at_place(observation_log)).values(gap_from=sa.bindparam("gap_from"))
"""Since when nobody watched before an observation, at the place that :func:`place_values` gives: ``gap_from``."""
DELETE_CHANGE = sa.delete(element_change).where(
    _is_at_place(element_change), element_change.c.element_id == sa.bindparam("element")
)
"""A change row: at the place that :func:`place_values` gives, of an ``element``."""
DELETE_LOGGED = sa.delete(observation_log).where(_is_at_place(observation_log))
"""The row of an observation in the log: at the place that :func:`place_values` gives."""
UPDATE_KEYFRAME = sa.update(keyframe).where(_is_at_place(keyframe)).values(body=sa.bindparam("packed"))
"""The state in a keyframe, at the place that :func:`place_values` gives: ``packed``."""


def place_values(observer_id: int, position: Position) -> dict[str, int | None]:
    """The values of a statement about the rows at a place of an observer's chain."""
    return {"observer": observer_id, "at": position.observed_at, "at_sequence": position.sequence}


def write_day_sums(database: Database, connection: Connection, sums: DaySums) -> None:
    """Bring the sums of days up to date; one of which nothing is left has none. Nobody else writes those of these
    observers meanwhile."""
    for day, by in sorted(sums.changed.items()):
        place = day._asdict()
        row = _DAY.first(connection, place)
        total = by if row is None else DaySum.of_row(row[0], row[1], bytes(row[2])).plus(by)
        values = [*day, total.observations, total.changes, total.digest()]
        if row is None:
            database.insert(connection, day_digest, values)
        elif not total.observations:
            _DELETE_DAY.run(connection, [place])
        else:
            _SET_DAY.run(connection, [dict(zip(day_digest.c.keys(), values, strict=True))])


_day = day_digest.c
_DAY = Prepared(
    sa.select(_day.observations, _day.changes, _day.digest).where(
        _day.observer_id == sa.bindparam("observer_id"), _day.day == sa.bindparam("day")
    )
)
_OF_DAY = (_day.observer_id == sa.bindparam("observer_id"), _day.day == sa.bindparam("day"))
_DELETE_DAY = Prepared(sa.delete(day_digest).where(*_OF_DAY))
_SET_DAY = Prepared(
    sa.update(day_digest)
    .where(*_OF_DAY)
    .values(observations=sa.bindparam("observations"), changes=sa.bindparam("changes"), digest=sa.bindparam("digest"))
)
