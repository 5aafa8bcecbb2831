"""The things that peerstore speaks of: peers, connections, presences, changes, sessions.

Times are aware :class:`~datetime.datetime` in UTC, with microseconds; durations are :class:`~datetime.timedelta`;
an end of ``None`` means "it still holds". An interval is half-open: ``[start, end)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from peerstore.canonical import Document, Json, json_or_absent
from peerstore.times import iso

ElementKind = Literal["peer", "connection", "graph"]


class Element(NamedTuple):
    """What can be present in a graph, by its identity: a peer, a connection, or the graph itself.

    * ``Element("peer", key)``;
    * ``Element("connection", peer1, peer2, type, id)`` with ``peer1 <= peer2`` in the byte order of UTF-8;
    * ``Element("graph")``, whose document names the local peer and holds the graph's unknown fields.
    """

    kind: ElementKind
    key: str = ""
    other: str = ""
    type: str = ""
    id: str = ""


class PresenceGraph(NamedTuple):
    """One presence graph in canonical form: a value; two graphs are the same if their ``elements`` are equal.

    ``elements`` maps each :class:`Element` to the canonical JSON text of its document
    (:mod:`peerstore.ditto` documents the members of each kind of document).
    """

    local_peer: str
    elements: Mapping[Element, str]


class Observation(NamedTuple):
    """One thing that one observer said at one moment: (observer, observed_at, sequence, graph).

    ``observed_at`` is in microseconds since 1970-01-01T00:00Z on the observer's clock; ``graph`` is ``None`` for a stop
    marker; ``max_silence`` is the limit that the observer declares, in microseconds, or ``None``.
    """

    observer: str
    observed_at: int
    sequence: int
    graph: PresenceGraph | None
    max_silence: int | None = None


@dataclass(slots=True)
class Recorded:
    """What became of one recorded observation.

    ``changes`` counts the peers and connections that the observation added, removed or altered against the state that
    was in force before it (0 for a duplicate, a conflict or a stop marker).
    """

    status: Literal["recorded", "duplicate", "conflict"]
    changes: int = 0


@dataclass(slots=True)
class Summary:
    """What became of many observations; ``changes`` as in :class:`Recorded`, summed."""

    recorded: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    changes: int = 0

    def to_dict(self) -> dict[str, int]:
        """The JSON of ``peerstore record --json``."""
        return {
            "recorded": self.recorded,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "rejected": self.rejected,
            "changes": self.changes,
        }


class Peer:
    """A peer as a presence shows it.

    ``peer_key`` is canonical; ``seen_by`` names the watching observers that see it, in byte order; ``is_observer`` says
    that it is itself one of the observers that the answer rests on. ``document`` is the exact recorded document;
    the properties read the usual members from it and give ``None`` (metadata: ``{}``) where the member is missing.
    """

    __slots__ = ("_document", "is_observer", "peer_key", "seen_by")

    def __init__(self, peer_key: str, document: Document, is_observer: bool, seen_by: tuple[str, ...]) -> None:
        self.peer_key = peer_key
        self._document = document
        self.is_observer = is_observer
        self.seen_by = seen_by

    @property
    def document(self) -> Mapping[str, Any]:
        """Every recorded member, as given, by its canonical name; a missing member is missing. Do not modify it."""
        value: Mapping[str, Any] = self._document.value
        return value

    @property
    def device_name(self) -> str | None:
        """The name the device gives itself; not unique, may be empty or hold control characters."""
        return self.document.get("device_name")

    @property
    def os(self) -> str | None:
        """The operating system, as given."""
        return self.document.get("os")

    @property
    def sdk_version(self) -> str | None:
        """The version of the Ditto SDK: opaque text."""
        return self.document.get("sdk_version")

    @property
    def is_connected_to_cloud(self) -> bool | None:
        """Whether the peer says that it has a link of its own to the Ditto cloud (Ditto Server, Big Peer)."""
        return self.document.get("is_connected_to_cloud")

    @property
    def is_compatible(self) -> bool | None:
        """Whether the observer found its SDK compatible with its own: relative to the observer."""
        return self.document.get("is_compatible")

    @property
    def peer_metadata(self) -> Mapping[str, Any]:
        """What the device's own app set."""
        return self.document.get("peer_metadata") or {}

    @property
    def identity_service_metadata(self) -> Mapping[str, Any]:
        """What the identity service (the auth webhook) set."""
        return self.document.get("identity_service_metadata") or {}

    @property
    def anonymous(self) -> bool:
        """True if the peer came without any key and is known by a handle of its observer alone."""
        return bool(self.document.get("anonymous", False))

    @property
    def extra(self) -> Mapping[str, Any]:
        """Fields that peerstore does not know, as given."""
        extra: Mapping[str, Any] = self.document.get("extra", {})
        return extra

    def to_dict(self) -> dict[str, Any]:
        """The peer in the JSON of a presence."""
        result: dict[str, Any] = {
            "peer_key": self.peer_key,
            "device_name": self.device_name,
            "os": self.os,
            "sdk_version": self.sdk_version,
            "is_connected_to_cloud": self.is_connected_to_cloud,
            "is_compatible": self.is_compatible,
            "peer_metadata": dict(self.peer_metadata),
            "identity_service_metadata": dict(self.identity_service_metadata),
            "is_observer": self.is_observer,
            "seen_by": list(self.seen_by),
        }
        for name in ("site_id", "anonymous", "extra"):
            if name in self.document:
                result[name] = self.document[name]
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Peer) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self.peer_key)

    def _identity(self) -> tuple[object, ...]:
        return (self.peer_key, self._document.text, self.is_observer, self.seen_by)

    def __repr__(self) -> str:
        return f"Peer({self.peer_key!r}, device_name={self.device_name!r}, seen_by={list(self.seen_by)!r})"


@dataclass(slots=True)
class Connection:
    """An undirected, typed link between two peers.

    Its identity is (``peer1``, ``peer2``, ``type``, ``id``), ``peer1 <= peer2`` in byte order. ``listed_by`` names the
    peers in whose lists it stands; ``seen_by`` the watching observers that report it. ``flags`` holds ``self_link``
    where both ends are one peer and ``unknown_peer`` where an end is not among the presence's peers. ``extra`` holds
    fields that peerstore does not know; where the two ends' listings differ in them, ``extra_by`` holds each lister's.
    """

    id: str
    peer1: str
    peer2: str
    type: str
    seen_by: tuple[str, ...] = ()
    listed_by: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    extra_by: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The connection in the JSON of a presence."""
        result: dict[str, Any] = {
            "id": self.id,
            "peer1": self.peer1,
            "peer2": self.peer2,
            "type": self.type,
            "seen_by": list(self.seen_by),
            "listed_by": list(self.listed_by),
        }
        if self.flags:
            result["flags"] = list(self.flags)
        if self.extra:
            result["extra"] = dict(self.extra)
        if self.extra_by:
            result["extra_by"] = dict(self.extra_by)
        return result


@dataclass(slots=True)
class ObserverState:
    """What an answer rests on, for one observer.

    ``observed_at`` is the time of its observation in force (``None``: it had not spoken), ``age`` the time since then.
    ``watching`` is false before its first observation, after a stop marker, and once it has been silent for longer
    than its limit; ``watched_until`` then says since when (``None`` while it watches, and if it never did).
    """

    observer: str
    observed_at: datetime | None
    age: timedelta | None
    watching: bool
    sequence: int | None = None
    watched_until: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The observer in the JSON of a presence."""
        return {
            "observer": self.observer,
            "observed_at": None if self.observed_at is None else iso(self.observed_at),
            "age_seconds": None if self.age is None else self.age.total_seconds(),
            "watching": self.watching,
            "watched_until": None if self.watched_until is None else iso(self.watched_until),
        }


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
