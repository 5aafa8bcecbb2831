"""What a rescue came to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from peerstore.times import iso


@dataclass(slots=True)
class Lost:
    """A stretch of an observer's history that was not rescued: nothing is known for sure of what it observed between
    two instants, both included, that is not in the new database.

    ``since`` ``None``: from its beginning; ``until`` ``None``: to its end. ``observations``: how many are lost, where
    that is known. ``observer`` ``None``: its key is lost too.
    """

    observer: str | None
    since: datetime | None
    until: datetime | None
    observations: int | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The stretch as JSON."""
        return {
            "observer": self.observer,
            "since": None if self.since is None else iso(self.since),
            "until": None if self.until is None else iso(self.until),
            "observations": self.observations,
            "reason": self.reason,
        }


@dataclass(slots=True)
class Repaired:
    """What was rescued of a database into a new one, and what was not.

    ``observations`` and ``rejects`` are in the new database as they were in the old one. ``markers`` stop markers were
    put into it besides, each where a lost stretch begins. ``lost`` are the lost stretches, ``lost_observations`` how
    many observations are lost in all, as far as that is known; ``lost_rejects`` how many of what was kept aside.
    """

    database: str
    destination: str
    observations: int = 0
    rejects: int = 0
    markers: int = 0
    lost: list[Lost] = field(default_factory=list)
    lost_observations: int = 0
    lost_rejects: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything that was recorded is in the new database."""
        return not (self.lost or self.lost_observations or self.lost_rejects)

    def sentences(self) -> Iterator[str]:
        """What was lost, a sentence for each stretch."""
        for each in self.lost:
            who = "an observer whose key is lost" if each.observer is None else f"observer {each.observer}"
            since = "its beginning" if each.since is None else iso(each.since)
            until = "its end" if each.until is None else iso(each.until)
            yield f"{who}, from {since} to {until}: {_observations(each.observations)} lost ({each.reason})"
        if self.lost_rejects:
            yield f"what was kept aside: {self.lost_rejects} lost"

    def to_dict(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return {
            "ok": self.ok,
            "database": self.database,
            "destination": self.destination,
            "observations": self.observations,
            "rejects": self.rejects,
            "markers": self.markers,
            "lost_observations": self.lost_observations,
            "lost_rejects": self.lost_rejects,
            "lost": [each.to_dict() for each in self.lost],
        }


def _observations(count: int | None) -> str:
    if count is None:
        return "observations, nobody knows how many,"
    return "1 observation" if count == 1 else f"{count} observations"
