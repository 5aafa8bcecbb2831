"""Sessions: unbroken presences of peers and connections."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from peerstore.model import Connection
from peerstore.times import iso

EndReason = Literal["left", "stopped", "silence"]


@dataclass(slots=True)
class Session:
    """An unbroken presence of a peer over ``[start, end)``, after gaps shorter than the grace were joined.

    ``end`` is ``None`` while it still holds. ``end_reason``: ``left`` (an observation without it), ``stopped`` or
    ``silence`` (the last observer that saw it stopped watching: what came next is unknown), ``None`` while it holds.
    ``gaps`` counts the joined ones.
    """

    peer_key: str
    start: datetime
    end: datetime | None
    observer: str | None = None
    end_reason: EndReason | None = None
    gaps: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The session as JSON."""
        return {"peer_key": self.peer_key, **_span(self)}


@dataclass(slots=True)
class ConnectionSession:
    """An unbroken presence of a connection; the members are as in :class:`Session`."""

    connection: Connection
    start: datetime
    end: datetime | None
    observer: str | None = None
    end_reason: EndReason | None = None
    gaps: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The session as JSON."""
        connection = self.connection
        ends = {"id": connection.id, "peer1": connection.peer1, "peer2": connection.peer2, "type": connection.type}
        return {**ends, **_span(self)}


def _span(session: Session | ConnectionSession) -> dict[str, Any]:
    return {
        "start": iso(session.start),
        "end": None if session.end is None else iso(session.end),
        "duration_seconds": None if session.end is None else (session.end - session.start).total_seconds(),
        "end_reason": session.end_reason,
        "gaps": session.gaps,
        "observer": session.observer,
    }
