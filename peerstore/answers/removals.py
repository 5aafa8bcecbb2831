"""What removed a part of the history on purpose, and what is kept since."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from peerstore.times import iso

RemovalKind = Literal["prune", "thin", "forget"]


@dataclass(slots=True)
class Removal:
    """A removal, as ``peerstore removals`` lists it; of a dry run, what it would come to.

    ``observed_before`` is the horizon of a prune, or the end of what was thinned; ``every`` how often thinning left an
    unchanged observation. ``finished_at`` is ``None`` for a dry run, and for one that was broken off: asked for again,
    it goes on. ``observations`` and ``changes`` are rows of the history that were removed, ``documents`` and
    ``elements`` entries of the dictionaries that were emptied since nothing refers to them any more, ``rejects`` lines
    that had been kept aside.
    """

    kind: RemovalKind
    performed_at: datetime
    finished_at: datetime | None = None
    observed_before: datetime | None = None
    every: timedelta | None = None
    observations: int = 0
    changes: int = 0
    documents: int = 0
    elements: int = 0
    rejects: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The JSON of a removal: times in ISO 8601, ``every`` in seconds."""
        return {
            **asdict(self),
            "performed_at": iso(self.performed_at),
            "finished_at": None if self.finished_at is None else iso(self.finished_at),
            "observed_before": None if self.observed_before is None else iso(self.observed_before),
            "every": None if self.every is None else self.every.total_seconds(),
        }
