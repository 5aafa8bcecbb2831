"""What it came to that a peer was forgotten."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Erased:
    """What was erased of a peer; with ``dry_run``, what would be: nothing was written.

    Removed: its own ``observations``; the rows of ``changes`` of these, and those of it and its connections in what
    others observed (``altered``: so many observations of others showed such a change); ``rejects`` that spoke of it.
    Emptied: ``elements`` (peers and connections) and ``documents`` that no history holds any more. Left: ``mentions``,
    so many documents and identities of others that hold its key. ``finished``: nothing remains to be done.
    ``out_of_reach`` says, a sentence each, what may still hold it.
    """

    peer_key: str
    dry_run: bool
    finished: bool = False
    observations: int = 0
    altered: int = 0
    changes: int = 0
    elements: int = 0
    documents: int = 0
    rejects: int = 0
    mentions: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    out_of_reach: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {**asdict(self), "out_of_reach": list(self.out_of_reach)}
