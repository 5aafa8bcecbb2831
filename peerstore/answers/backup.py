"""What a backup is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(slots=True)
class Backup:
    """A backup that stands: of which database, where, its bytes, how many observations it holds, how it was verified
    (``full``: every row; ``quick``: the structure alone), and how many seconds it took."""

    database: str
    destination: str
    bytes: int
    observations: int
    verified: Literal["full", "quick"]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The backup as JSON."""
        return {
            "database": self.database,
            "destination": self.destination,
            "bytes": self.bytes,
            "observations": self.observations,
            "verified": self.verified,
            "seconds": self.seconds,
        }
