"""The things that peerstore speaks of: elements, graphs, observations, peers, connections, observers.

Times are aware :class:`~datetime.datetime` in UTC, with microseconds; durations are :class:`~datetime.timedelta`;
an end of ``None`` means "it still holds". An interval is half-open: ``[start, end)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from peerstore.canonical import Document
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
    marker; ``max_silence`` is the limit that the observer declares, in microseconds, or ``None``. ``recorded_at`` is
    when another store recorded it, where that is to be kept.
    """

    observer: str
    observed_at: int
    sequence: int
    graph: PresenceGraph | None
    max_silence: int | None = None
    recorded_at: int | None = None


def envelope_head(
    observer: str, observed_at: int, sequence: int, max_silence: int | None, recorded_at: int | None = None
) -> dict[str, Any]:
    """All of an observation's envelope but its graph, as ``peerstore record`` takes it (:mod:`peerstore.envelope`);
    times and the silence in microseconds.

    >>> envelope_head("till", 0, 1, 45_500_000)
    {'observedAt': '1970-01-01T00:00:00.000000Z', 'observer': 'till', 'sequence': 1, 'maxSilenceSeconds': 45.5}
    """
    head: dict[str, Any] = {"observedAt": iso(observed_at), "observer": observer}
    if sequence:
        head["sequence"] = sequence
    if max_silence is not None:
        seconds, rest = divmod(max_silence, 1_000_000)
        head["maxSilenceSeconds"] = max_silence / 1_000_000 if rest else seconds
    if recorded_at is not None:
        head["recordedAt"] = iso(recorded_at)
    return head


@dataclass(slots=True)
class Recorded:
    """What became of one recorded observation.

    ``changes`` counts the peers and connections that the observation added, removed or altered against the state that
    was in force before it (0 for a duplicate, a conflict or a stop marker). ``rejected``, for a ``reason``, is what the
    store must not record any more: it was observed before the horizon of a pruned history, or by a forgotten peer.
    """

    status: Literal["recorded", "duplicate", "conflict", "rejected"]
    changes: int = 0
    reason: str = field(default="", repr=False)


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

    def has_document_of(self, other: Peer) -> bool:
        """Whether both have the same attributes."""
        return self._document is other._document or self._document.text == other._document.text

    def as_observer(self) -> Peer:
        """The same peer, which is itself one of the observers."""
        return Peer(self.peer_key, self._document, True, self.seen_by)

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

    def with_unknown_peer(self) -> Connection:
        """The same connection, an end of which is not among the presence's peers."""
        return replace(self, flags=(*self.flags, "unknown_peer"))

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
