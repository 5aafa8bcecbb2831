"""What questions answer: changes, sessions, differences, inventories.

Times are aware :class:`~datetime.datetime` in UTC, with microseconds; an end of ``None`` means "it still holds". An
interval is half-open: ``[start, end)``. Every answer has a ``to_dict()``: the JSON of the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from peerstore.canonical import Json, json_or_absent
from peerstore.model import Connection, Peer
from peerstore.times import iso

ChangeKind = Literal[
    "appeared", "disappeared", "connected", "disconnected", "changed", "observer_started", "observer_stopped"
]


@dataclass(slots=True)
class Change:
    """One thing that changed at one instant.

    ``kind``: ``appeared`` / ``disappeared`` (a peer), ``connected`` / ``disconnected`` (a connection), ``changed``
    (one attribute of a peer, at ``path``), ``observer_started`` / ``observer_stopped`` (watching began or ended).
    ``observer`` is the observer whose view it is or, of the merged presence, the first (in byte order) whose report
    made the change. ``across_absence``: the peer was away since ``before`` held. ``across_gap``: nobody was watching
    just before. ``learned``: an unknown became known. ``reason`` of a stop: ``stopped`` (a marker) or ``silence``; of
    a disappearance from the merged presence: ``left``, or why the last observer that saw it no longer counts.
    """

    kind: ChangeKind
    observed_at: datetime
    peer_key: str | None = None
    connection: Connection | None = None
    path: str | None = None
    before: Json = None
    after: Json = None
    observer: str | None = None
    learned: bool = False
    across_absence: bool = False
    across_gap: bool = False
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON; members that do not apply to its kind are left out."""
        result: dict[str, Any] = {"observed_at": iso(self.observed_at), "kind": self.kind}
        if self.peer_key is not None:
            result["peer_key"] = self.peer_key
        if self.connection is not None:
            connection = self.connection
            result["connection"] = {
                "id": connection.id,
                "peer1": connection.peer1,
                "peer2": connection.peer2,
                "type": connection.type,
            }
        if self.kind == "changed":
            result.update(path=self.path, before=json_or_absent(self.before), after=json_or_absent(self.after))
            result.update(learned=self.learned, across_absence=self.across_absence)
        if self.reason is not None:
            result["reason"] = self.reason
        result.update(across_gap=self.across_gap, observer=self.observer)
        return result


@dataclass(slots=True)
class AttributeChange:
    """One attribute of one peer took another value: against the last value seen while the peer was present.

    ``path`` is a JSON Pointer within the peer (``/device_name``, ``/peer_metadata/role``); objects are descended into,
    arrays compared whole; a missing value is :data:`peerstore.ABSENT`. The flags are as in :class:`Change`.
    """

    peer_key: str
    path: str
    before: Json
    after: Json
    observed_at: datetime
    observer: str | None = None
    learned: bool = False
    across_absence: bool = False
    across_gap: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON, a missing value as ``{"absent": true}``."""
        return {
            "observed_at": iso(self.observed_at),
            "peer_key": self.peer_key,
            "path": self.path,
            "before": json_or_absent(self.before),
            "after": json_or_absent(self.after),
            "observer": self.observer,
            "learned": self.learned,
            "across_absence": self.across_absence,
            "across_gap": self.across_gap,
        }


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


@dataclass(slots=True)
class AttributeDifference:
    """One attribute of one peer differs between two moments at both of which the peer was present."""

    peer_key: str
    path: str
    before: Json
    after: Json

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON, a missing value as ``{"absent": true}``."""
        values = {"before": json_or_absent(self.before), "after": json_or_absent(self.after)}
        return {"peer_key": self.peer_key, "path": self.path, **values}


@dataclass(slots=True)
class Difference:
    """What is different at ``until`` from what was at ``since``: the net of all changes in ``(since, until]``.

    Where nobody was watching at one of the moments, the last state known before it stands in, since unobserved is not
    absent; ``since_known_at`` and ``until_known_at`` name the moments that were really compared (``None``: nothing was
    known yet).
    """

    since: datetime
    until: datetime
    appeared: tuple[Peer, ...] = ()
    disappeared: tuple[Peer, ...] = ()
    connected: tuple[Connection, ...] = ()
    disconnected: tuple[Connection, ...] = ()
    changed: tuple[AttributeDifference, ...] = ()
    since_known_at: datetime | None = None
    until_known_at: datetime | None = None

    def __bool__(self) -> bool:
        return any((self.appeared, self.disappeared, self.connected, self.disconnected, self.changed))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The five lists, so that they can be unpacked."""
        return iter((self.appeared, self.disappeared, self.connected, self.disconnected, self.changed))

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON: peers and connections as in a presence."""
        return {
            "since": iso(self.since),
            "until": iso(self.until),
            "since_known_at": None if self.since_known_at is None else iso(self.since_known_at),
            "until_known_at": None if self.until_known_at is None else iso(self.until_known_at),
            "appeared": [peer.to_dict() for peer in self.appeared],
            "disappeared": [peer.to_dict() for peer in self.disappeared],
            "connected": [connection.to_dict() for connection in self.connected],
            "disconnected": [connection.to_dict() for connection in self.disconnected],
            "changed": [change.to_dict() for change in self.changed],
        }


@dataclass(slots=True)
class KnownPeer:
    """A peer that the store has ever heard of: its last known attributes, first and last times of presence.

    ``first_seen`` and ``last_seen`` bound its presence in any observer's view; ``last_seen`` is the last moment at
    which an observation confirmed it. ``present`` says whether it is present at the time of the question.
    """

    peer: Peer
    first_seen: datetime
    last_seen: datetime
    present: bool

    def to_dict(self) -> dict[str, Any]:
        """The peer as JSON."""
        times = {"first_seen": iso(self.first_seen), "last_seen": iso(self.last_seen), "present": self.present}
        return {**self.peer.to_dict(), **times}


@dataclass(slots=True)
class ObserverSummary:
    """An observer: its first and last observation, how many there are, and whether it is watching now."""

    observer: str
    first_observed_at: datetime
    last_observed_at: datetime
    last_recorded_at: datetime
    observations: int
    watching: bool

    def to_dict(self) -> dict[str, Any]:
        """The observer as JSON."""
        return {
            "observer": self.observer,
            "first_observed_at": iso(self.first_observed_at),
            "last_observed_at": iso(self.last_observed_at),
            "last_recorded_at": iso(self.last_recorded_at),
            "observations": self.observations,
            "watching": self.watching,
        }


@dataclass(slots=True)
class Reject:
    """Something that was refused and kept aside.

    ``kind``: ``rejected`` (could not be read) or ``conflict`` (another graph stands under the same observer, time and
    sequence). ``content`` is the line as it came, whole, unless it was longer than the limit on a line (``complete``
    is then false).
    """

    id: int
    kind: Literal["rejected", "conflict"]
    source: str
    line: int
    reason: str
    recorded_at: datetime
    content: bytes
    complete: bool

    def to_dict(self) -> dict[str, Any]:
        """The reject as JSON; bytes that are no UTF-8 are shown as ``\\xNN``."""
        return {
            "id": self.id,
            "kind": self.kind,
            "source": self.source,
            "line": self.line,
            "reason": self.reason,
            "recorded_at": iso(self.recorded_at),
            "complete": self.complete,
            "content": self.content.decode("utf-8", errors="backslashreplace"),
        }
