"""What every answer about one moment says of itself: of which instant, as known when, on whose word."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peerstore.model import ObserverState
from peerstore.times import iso


@dataclass(slots=True)
class OfMoment:
    """``at``: the instant asked about; ``known_at``: as known when (``None``: now); ``observers``: for each observer
    the observation that the answer rests on, as in a presence."""

    at: datetime
    known_at: datetime | None
    observers: tuple[ObserverState, ...]

    @property
    def watched(self) -> bool:
        """Whether any observer was watching: if none was, nothing is known of the instant, not even that nobody was
        there."""
        return any(state.watching for state in self.observers)

    def opening(self) -> dict[str, Any]:
        """The first members of the answer's JSON."""
        return {
            "at": iso(self.at),
            "known_at": None if self.known_at is None else iso(self.known_at),
            "watched": self.watched,
            "observers": [state.to_dict() for state in self.observers],
        }
