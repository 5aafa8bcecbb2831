"""How a store is: what is in it, how it grows, who still speaks, what was refused, what an operator is warned of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Literal

from peerstore.times import iso


@dataclass(slots=True)
class DayGrowth:
    """How much was observed on a day (UTC, by ``observed_at``): observations, and change rows."""

    day: date
    observations: int
    changes: int

    def to_dict(self) -> dict[str, Any]:
        """The day as JSON."""
        return {"day": self.day.isoformat(), "observations": self.observations, "changes": self.changes}


@dataclass(slots=True)
class Growth:
    """How much came over the last days of the history: ``[since, until]``, on the observers' clocks.

    ``days`` are those of them on which anything was observed. The rates are per 24 hours of that window, and ``None``
    where it is shorter than an hour. ``bytes_per_day`` is an estimate: the share that the window's observations and
    changes have in all of them, of the bytes of the database.
    """

    since: datetime
    until: datetime
    observations_per_day: int | None
    changes_per_day: int | None
    bytes_per_day: int | None
    days: tuple[DayGrowth, ...]

    def to_dict(self) -> dict[str, Any]:
        """The growth as JSON."""
        return {
            "since": iso(self.since),
            "until": iso(self.until),
            "observations_per_day": self.observations_per_day,
            "changes_per_day": self.changes_per_day,
            "bytes_per_day": self.bytes_per_day,
            "days": [day.to_dict() for day in self.days],
        }


@dataclass(slots=True)
class ObserverHealth:
    """An observer as it is now: its last observation, and how long ago that was.

    ``last_observed_at`` is on its own clock, ``last_recorded_at`` (when anything of it was last recorded, late
    observations too) on the store's. ``lag_seconds``: how long after its last observation that one was recorded;
    ``age_seconds``: how long ago the last observation is. Both are negative where its clock is ahead. ``state``:
    ``watching``; ``stopped``, it said so; ``silent``, for longer than the limit that its last observation declares
    (``max_silence_seconds``; ``None``: it declares none, and counts as watching).
    """

    observer: str
    state: Literal["watching", "silent", "stopped"]
    observations: int
    changes: int
    last_observed_at: datetime
    last_recorded_at: datetime
    lag_seconds: float
    age_seconds: float
    max_silence_seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """The observer as JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**values, **{name: iso(values[name]) for name in ("last_observed_at", "last_recorded_at")}}


@dataclass(slots=True)
class RefusedCount:
    """How many of a kind are kept aside (:class:`~peerstore.Reject`), and the one that came last."""

    kind: Literal["rejected", "conflict"]
    count: int
    last_recorded_at: datetime
    last_source: str
    last_line: int
    last_reason: str

    def to_dict(self) -> dict[str, Any]:
        """The count as JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**values, "last_recorded_at": iso(self.last_recorded_at)}


@dataclass(slots=True)
class Status:
    """What is in the store: counts, bytes, times, growth, and the settings that its durability rests on.

    ``bytes`` is all that it takes on the disk: ``database_bytes``, and on SQLite the ``wal_bytes`` of the write-ahead
    log beside it (``None`` on PostgreSQL). ``schema_newest`` is the schema of this version of peerstore. ``growth`` is
    ``None`` where nothing is recorded, or the schema is older than 0005. ``refused`` has an item for each kind of which
    there is something. Each of the ``warnings`` is a sentence: something that breaks a promise or will, and its cure;
    ``notes`` are good to know. ``horizon``: the history was pruned and begins here; ``thinned_before``: observations
    that changed nothing before this were thinned (``None``: nothing was).
    """

    database: str
    engine: str
    schema: str
    schema_newest: str
    bytes: int
    database_bytes: int
    wal_bytes: int | None
    observers: int
    observations: int
    peers: int
    connections: int
    changes: int
    documents: int
    keyframes: int
    rejected: int
    conflicts: int
    first_observed_at: str | None
    last_observed_at: str | None
    last_recorded_at: str | None
    durability: dict[str, str]
    growth: Growth | None
    by_observer: tuple[ObserverHealth, ...]
    refused: tuple[RefusedCount, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    horizon: str | None = None
    thinned_before: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The status as JSON."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "growth": None if self.growth is None else self.growth.to_dict(),
            "by_observer": [each.to_dict() for each in self.by_observer],
            "refused": [each.to_dict() for each in self.refused],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }
