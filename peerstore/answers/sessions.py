"""Sessions: unbroken presences of peers and connections."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from peerstore.model import Connection
from peerstore.times import iso

EndReason = Literal["left", "stopped", "silence"]


@dataclass(slots=True)
class Session:
    """An unbroken presence of a peer over ``[start, end)``, after gaps shorter than the grace were joined.

    ``end`` is ``None`` while it still holds. ``end_reason``: ``left`` (an observation without it), ``stopped`` or
    ``silence`` (the last observer that saw it stopped watching: what came next is unknown), ``None`` while it holds.
    ``gaps`` counts the joined ones.

    A clipped session is the part of one that lies in a window: ``cut_start`` and ``cut_end`` say that it really began
    before ``start``, or holds beyond ``end`` (``end_reason`` is then ``None``); ``gaps`` stays that of the whole.

    ``began_before``: the history before the horizon was pruned, and the session was there already, or may have been
    (by the grace, something that was there before would be a part of it): ``start`` is where it is known from, and
    ``gaps`` are those since then.
    """

    peer_key: str
    start: datetime
    end: datetime | None
    observer: str | None = None
    end_reason: EndReason | None = None
    gaps: int = 0
    cut_start: bool = False
    cut_end: bool = False
    began_before: bool = False

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
    cut_start: bool = False
    cut_end: bool = False
    began_before: bool = False

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
        "cut_start": session.cut_start,
        "cut_end": session.cut_end,
        "began_before": session.began_before,
    }


AnySession = TypeVar("AnySession", Session, ConnectionSession)


def clipped(session: AnySession, since: datetime | None, until: datetime | None) -> AnySession:
    """The part of a session that lies in ``[since, until)``, which it overlaps."""
    if since is not None and session.start < since:
        session = replace(session, start=since, cut_start=True)
    if until is not None and (session.end is None or session.end > until):
        session = replace(session, end=until, end_reason=None, cut_end=True)
    return session
