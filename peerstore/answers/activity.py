"""Answers about how much happened: changes per time, and as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peerstore.times import iso


@dataclass(slots=True)
class Activity:
    """How much changed within one bucket of time, ``[start, end)``.

    Buckets are aligned to 1970-01-01T00:00Z. ``counts`` holds the number of changes of each kind, ``total`` is their
    sum. ``known`` is for how long of the bucket, as far as it lies in the window that was asked about, anybody was
    watching; ``unobserved``, for how long nobody was: when things changed then is not known; what is another then shows
    where somebody watches again.
    """

    start: datetime
    end: datetime
    counts: Mapping[str, int]
    known: timedelta
    unobserved: timedelta

    @property
    def total(self) -> int:
        """The number of changes of all kinds."""
        return sum(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """The bucket as JSON."""
        return {
            "start": iso(self.start),
            "end": iso(self.end),
            "total": self.total,
            **self.counts,
            "known_seconds": self.known.total_seconds(),
            "unobserved_seconds": self.unobserved.total_seconds(),
        }
