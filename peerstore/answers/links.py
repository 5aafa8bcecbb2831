"""Answers about the connections of pairs: contacts, flapping, transports, degree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from peerstore.model import Connection
from peerstore.times import iso

DegreeState = Literal["present", "absent", "unobserved"]

DURATION_BOUNDS = (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5))
"""Where the durations of :class:`Flapping` are parted."""

_DURATION_NAMES = (
    *("lasted_under_1_s", "lasted_1_to_5_s", "lasted_5_to_30_s", "lasted_30_s_to_5_min"),
    "lasted_5_min_or_more",
)

DEFAULT_CAPS: Mapping[str, int] = MappingProxyType({"AccessPoint+WebSocket": 6, "Bluetooth": 4, "P2PWiFi": 4})
"""How many connections at most a Ditto SDK 5.1 makes, by the types that count together: its ``wlan_connections`` (what
it calls LAN: AccessPoint and WebSocket), its three to four of Bluetooth, and its ``wifip2p_connections``."""


@dataclass(slots=True)
class Contact:
    """How two peers were connected over one type of connection, within the measured window.

    The connections of one pair and type count as one, whatever their ids; ``connections`` lists those ids. An episode
    is a stretch over which one of them at least was known to be there, after gaps shorter than the grace were joined;
    it is cut at the bounds of the window, and ends where nobody watches any more. ``total`` is the time connected,
    without the joined gaps; ``longest`` and ``mean`` are of whole episodes, joined gaps included. ``first_start`` is
    when the first one began, ``last_end`` when the last one ended (``None``: it held at the window's end).
    ``known`` and ``unobserved`` part the window into what somebody watched and what nobody did.
    """

    peer1: str
    peer2: str
    type: str
    episodes: int
    total: timedelta
    longest: timedelta
    mean: timedelta
    first_start: datetime
    last_end: datetime | None
    connections: tuple[str, ...]
    known: timedelta
    unobserved: timedelta

    @property
    def share(self) -> float:
        """Which part of the known time they were connected, from 0 to 1."""
        return self.total / self.known

    def to_dict(self) -> dict[str, Any]:
        """The contact as JSON."""
        return {
            "peer1": self.peer1,
            "peer2": self.peer2,
            "type": self.type,
            "episodes": self.episodes,
            "total_seconds": self.total.total_seconds(),
            "share": self.share,
            "longest_seconds": self.longest.total_seconds(),
            "mean_seconds": self.mean.total_seconds(),
            "first_start": iso(self.first_start),
            "last_end": None if self.last_end is None else iso(self.last_end),
            "connections": list(self.connections),
            **_watching(self),
        }


@dataclass(slots=True)
class Flapping:
    """A peer or a connection that came and went often, or shortly.

    The subject is ``peer_key`` or ``connection``. ``episodes`` counts its sessions that began in the range and whose
    start and end were its own: it came while a watching observer looked on, and left (or still holds: ``open``).
    ``cut`` counts the others: what began as its observers began to watch, or ended as they stopped or fell silent; it
    is in no other number. ``most`` is the greatest number of starts within any window of the asked length, the first
    such being ``[window_start, window_end)``. ``shortest`` is the shortest that ended; ``durations`` counts those that
    ended by how long they lasted: under 1 s, 1 to 5 s, 5 to 30 s, 30 s to 5 min, and longer
    (:data:`DURATION_BOUNDS`).
    """

    peer_key: str | None
    connection: Connection | None
    episodes: int
    most: int
    window_start: datetime
    window_end: datetime
    shortest: timedelta | None
    durations: tuple[int, ...]
    open: int
    cut: int

    def to_dict(self) -> dict[str, Any]:
        """The subject as JSON, with its durations by name."""
        return {
            **self._subject(),
            "episodes": self.episodes,
            "most": self.most,
            "window_start": iso(self.window_start),
            "window_end": iso(self.window_end),
            "shortest_seconds": None if self.shortest is None else self.shortest.total_seconds(),
            **dict(zip(_DURATION_NAMES, self.durations, strict=True)),
            "open": self.open,
            "cut": self.cut,
        }

    def _subject(self) -> dict[str, Any]:
        link = self.connection
        if link is None:
            return {"peer_key": self.peer_key}
        return {"id": link.id, "peer1": link.peer1, "peer2": link.peer2, "type": link.type}


@dataclass(slots=True)
class TransportShare:
    """One type of connection within a :class:`TransportMix`.

    ``links`` counts the distinct connections of the type that were there at any instant at which somebody watched;
    ``link_time`` sums their times. ``only_time`` sums, over the peers, the time in which all connections of a peer were
    of this type.
    """

    type: str
    links: int
    link_time: timedelta
    only_time: timedelta

    def to_dict(self) -> dict[str, Any]:
        """The share as JSON."""
        return {
            "type": self.type,
            "links": self.links,
            "link_seconds": self.link_time.total_seconds(),
            "only_seconds": self.only_time.total_seconds(),
        }


@dataclass(slots=True)
class TransportMix:
    """Over what peers were connected in the bucket ``[start, end)``.

    ``known`` and ``unobserved`` part it into what somebody watched and what nobody did; all else is of the known time.
    ``peer_time`` sums the times for which each peer was present, ``connected_peer_time`` those for which it had a
    connection. ``transports`` holds a :class:`TransportShare` for each type that was there, in the order of their
    names.
    """

    start: datetime
    end: datetime
    known: timedelta
    unobserved: timedelta
    peer_time: timedelta
    connected_peer_time: timedelta
    transports: tuple[TransportShare, ...]

    def only_share(self, kind: str) -> float | None:
        """Which part of the connected peer-time was on this type alone; ``None`` if no peer was connected."""
        if not self.connected_peer_time:
            return None
        only = (each.only_time for each in self.transports if each.type == kind)
        return sum(only, timedelta()) / self.connected_peer_time

    def to_dict(self) -> dict[str, Any]:
        """The bucket as JSON, with its transports within."""
        return {
            "start": iso(self.start),
            "end": iso(self.end),
            **_watching(self),
            "peer_seconds": self.peer_time.total_seconds(),
            "connected_peer_seconds": self.connected_peer_time.total_seconds(),
            "transports": [{**each.to_dict(), "only_share": self.only_share(each.type)} for each in self.transports],
        }


@dataclass(slots=True)
class TransportChange:
    """The types of connections between two peers (``peer2`` ``None``: of all connections of one peer) became others.

    ``before`` and ``after`` are the sets of types as sorted tuples; an empty one: no connection. ``across_gap``:
    nobody was watching for some of the time between the last instant at which ``before`` held and this change.
    """

    observed_at: datetime
    peer1: str
    peer2: str | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    across_gap: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON."""
        return {
            "observed_at": iso(self.observed_at),
            "peer1": self.peer1,
            "peer2": self.peer2,
            "before": list(self.before),
            "after": list(self.after),
            "across_gap": self.across_gap,
        }


@dataclass(slots=True)
class Degree:
    """How many connections a peer had, over the time for which it was known present within the measured window.

    ``present`` is that time; ``mean`` the mean number of connections over it, ``most`` the greatest, first reached at
    ``most_at``; ``most_by_type`` the greatest of each type. ``at_cap`` tells for how long the peer was at or over each
    of the asked caps. ``known`` and ``unobserved`` part the window into what somebody watched and what nobody did.
    """

    peer_key: str
    present: timedelta
    mean: float
    most: int
    most_at: datetime
    most_by_type: Mapping[str, int]
    at_cap: Mapping[str, timedelta]
    known: timedelta
    unobserved: timedelta

    def to_dict(self) -> dict[str, Any]:
        """The peer's degree as JSON."""
        return {
            "peer_key": self.peer_key,
            "present_seconds": self.present.total_seconds(),
            "mean": self.mean,
            "most": self.most,
            "most_at": iso(self.most_at),
            "most_by_type": dict(self.most_by_type),
            "at_cap_seconds": {name: time.total_seconds() for name, time in self.at_cap.items()},
            **_watching(self),
        }


@dataclass(slots=True)
class DegreeStretch:
    """A stretch ``[start, end)`` over which a peer had the same connections by number and type.

    ``state``: ``present``; ``absent`` (somebody watched and did not see it); ``unobserved`` (nobody watched: what it
    had is unknown, and ``links`` is ``None``). ``by_type`` counts the connections of each type that there was.
    """

    start: datetime
    end: datetime
    state: DegreeState
    links: int | None
    by_type: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The stretch as JSON."""
        return {
            "start": iso(self.start),
            "end": iso(self.end),
            "duration_seconds": (self.end - self.start).total_seconds(),
            "state": self.state,
            "links": self.links,
            "by_type": dict(self.by_type),
        }


def _watching(answer: Contact | TransportMix | Degree) -> dict[str, float]:
    return {
        "known_seconds": answer.known.total_seconds(),
        "unobserved_seconds": answer.unobserved.total_seconds(),
    }
