"""Changes, and the differences between two moments."""

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
INSIDE = ("came_and_went", "left_and_returned", "links_came_and_went", "links_left_and_returned")
"""The members of a :class:`Difference` that tell what happened between its two moments."""


@dataclass(slots=True)
class Change:
    """One thing that changed at one instant.

    ``kind``: ``appeared`` / ``disappeared`` (a peer), ``connected`` / ``disconnected`` (a connection), ``changed``
    (one attribute of a peer, at ``path``), ``observer_started`` / ``observer_stopped`` (watching began or ended).
    ``observer`` is the observer whose view it is or, of the merged presence, the first (in byte order) whose report
    made the change. ``across_absence``: the peer was away since ``before`` held. ``across_gap``: nobody was watching
    just before. ``learned``: an unknown became known. ``reason`` of a stop: ``stopped`` (a marker) or ``silence``; of
    a disappearance from the merged presence: ``left``, or why the last observer that saw it no longer counts.

    Only where changes are followed as they come: ``late``: an observation that was recorded late tells that this was
    so, though what came after it was told before; ``withdrawn``: it tells that this, which was told, was not so.
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
    late: bool = False
    withdrawn: bool = False

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
        result.update({mark: True for mark in ("late", "withdrawn") if getattr(self, mark)})
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

    The last four are told only where what happened inside was asked for too (else they are ``None``). Of the instants
    between the two moments at which somebody was watching: ``came_and_went`` were present at one of them and at neither
    end (as they were when last seen there); ``left_and_returned`` were absent at one of them and present at both ends
    (as they are at ``until``). The ``links_...`` are the same of connections.
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
    came_and_went: tuple[Peer, ...] | None = None
    left_and_returned: tuple[Peer, ...] | None = None
    links_came_and_went: tuple[Connection, ...] | None = None
    links_left_and_returned: tuple[Connection, ...] | None = None

    def __bool__(self) -> bool:
        return any((self.appeared, self.disappeared, self.connected, self.disconnected, self.changed))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The five lists, so that they can be unpacked."""
        return iter((self.appeared, self.disappeared, self.connected, self.disconnected, self.changed))

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON: peers and connections as in a presence; of what happened inside only where that was
        asked for."""
        result: dict[str, Any] = {
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
        for name in INSIDE:
            things = getattr(self, name)
            if things is not None:
                result[name] = [thing.to_dict() for thing in things]
        return result
