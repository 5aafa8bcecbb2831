"""Answers about the shape of the mesh: islands, cut peers, paths.

The shape is that of a simple graph: the present peers, two of them joined where at least one connection between them is
present. A link of a peer to itself says nothing of it. A connection to an end that is not among the present peers is
left out, and counted in ``unknown_ends``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from peerstore.answers.moments import OfMoment
from peerstore.model import Connection
from peerstore.times import iso

Keys = tuple[str, ...]
IslandChangeKind = Literal["split", "merged", "joined", "left"]
PathState = Literal["connected", "apart", "absent", "unobserved"]


@dataclass(slots=True)
class Island:
    """Peers that could reach each other, and nobody else: ``peers`` in the order of the keys, the number of
    ``connections`` among them (parallel ones counted each), and their ``bridges`` to the cloud."""

    peers: Keys
    connections: int
    bridges: Keys

    def to_dict(self) -> dict[str, Any]:
        """The island as JSON."""
        return {
            "size": len(self.peers),
            "connections": self.connections,
            "peers": list(self.peers),
            "bridges": list(self.bridges),
        }


@dataclass(slots=True)
class Islands(OfMoment):
    """The islands of one instant: the largest first, those of one size by their first key. Where nobody was watching
    there is none: unobserved."""

    islands: tuple[Island, ...]
    unknown_ends: int

    def of(self, peer: str) -> Island | None:
        """The island of a peer, by its key; ``None`` if it was not present."""
        return next((island for island in self.islands if peer in island.peers), None)

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        islands = [island.to_dict() for island in self.islands]
        return {**self.opening(), "unknown_ends": self.unknown_ends, "islands": islands}


@dataclass(slots=True)
class IslandChange:
    """The islands changed at ``observed_at``.

    ``kind``: ``split`` (peers that were in one island, and are still present, are now in several); ``merged`` (peers
    that were present before, in several islands, are now in one); ``joined`` and ``left`` (peers came into an island,
    or went from one). ``before`` and ``after``: the islands concerned, each as the keys of its peers, the largest
    first. ``peers``: whom it is about: those that are now apart from the largest part; those that have come to the
    largest island; those that came or went. ``across_gap``: it happened while nobody was watching, and was seen when
    somebody watched again.
    """

    kind: IslandChangeKind
    observed_at: datetime
    peers: Keys
    before: tuple[Keys, ...]
    after: tuple[Keys, ...]
    across_gap: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON."""
        return {
            "observed_at": iso(self.observed_at),
            "kind": self.kind,
            "peers": list(self.peers),
            "before": [list(island) for island in self.before],
            "after": [list(island) for island in self.after],
            "across_gap": self.across_gap,
        }


@dataclass(slots=True)
class CutPeer:
    """A peer that held its island together. ``lost``: the groups that would be parted from the rest if it left: all
    parts but the largest one (of equal ones that with the smallest key is the rest); the largest first."""

    peer_key: str
    lost: tuple[Keys, ...]

    def to_dict(self) -> dict[str, Any]:
        """The cut peer as JSON."""
        return {
            "peer_key": self.peer_key,
            "lost_count": sum(map(len, self.lost)),
            "lost": [list(group) for group in self.lost],
        }


@dataclass(slots=True)
class CutLink:
    """A connection that held its island together. ``lost``: the peers that would be parted from the rest without it:
    the smaller side (of equal ones that without the smallest key)."""

    connection: Connection
    lost: Keys

    def to_dict(self) -> dict[str, Any]:
        """The cut link as JSON."""
        link = self.connection
        ends = {"id": link.id, "peer1": link.peer1, "peer2": link.peer2, "type": link.type}
        return {**ends, "lost_count": len(self.lost), "lost": list(self.lost)}


@dataclass(slots=True)
class Cuts(OfMoment):
    """What held the islands of one instant together: the cut peers and the cut links, those first whose loss would
    cost most, then by their keys. Two peers with several connections between them have no cut link."""

    peers: tuple[CutPeer, ...]
    links: tuple[CutLink, ...]
    unknown_ends: int

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        return {
            **self.opening(),
            "unknown_ends": self.unknown_ends,
            "peers": [peer.to_dict() for peer in self.peers],
            "links": [link.to_dict() for link in self.links],
        }


@dataclass(slots=True)
class Way:
    """One path through the mesh: the keys of its ``peers``, both ends included, and for each step the ``types`` of the
    connections that hold it (one fewer than peers)."""

    peers: Keys
    types: tuple[Keys, ...]

    def to_dict(self) -> dict[str, Any]:
        """The way as JSON."""
        return {"peers": list(self.peers), "types": [list(step) for step in self.types]}


@dataclass(slots=True)
class MeshPath(OfMoment):
    """How far two peers were from each other at one instant.

    ``peer_present`` and ``other_present``: whether each was there at all. ``hops``: the steps of the shortest path
    (``None``: there is none; 0: they are the same peer). ``path_count`` shortest paths there are, and ``ways`` are the
    first 100 of them in the order of the keys.
    """

    peer: str
    other: str
    peer_present: bool
    other_present: bool
    hops: int | None
    path_count: int
    ways: tuple[Way, ...]
    unknown_ends: int

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        return {
            **self.opening(),
            "peer": self.peer,
            "other": self.other,
            "peer_present": self.peer_present,
            "other_present": self.other_present,
            "hops": self.hops,
            "path_count": self.path_count,
            "ways": [way.to_dict() for way in self.ways],
            "unknown_ends": self.unknown_ends,
        }


@dataclass(slots=True)
class PathStretch:
    """Over ``[start, end)`` two peers were as far from each other, over the same path.

    ``state``: ``connected``; ``apart`` (both present, in two islands); ``absent`` (one of them, or both, not present);
    ``unobserved`` (nobody was watching). ``path``: the keys of the shortest path, both ends included (of several the
    smallest one in the order of the keys); ``hops``: its steps. Both are empty unless they were connected.
    """

    start: datetime
    end: datetime
    state: PathState
    hops: int | None
    path: Keys

    @property
    def duration(self) -> timedelta:
        """How long the stretch was."""
        return self.end - self.start

    def to_dict(self) -> dict[str, Any]:
        """The stretch as JSON."""
        return {
            "start": iso(self.start),
            "end": iso(self.end),
            "duration_seconds": self.duration.total_seconds(),
            "state": self.state,
            "hops": self.hops,
            "path": list(self.path),
        }


@dataclass(slots=True)
class Distances(OfMoment):
    """How far every present peer was from one of them at one instant.

    ``hops``, by key in the order of the keys: 0 for the peer itself, 1 for those that it had a connection to, more for
    those known through others, ``None`` for those in another island. ``present``: whether the peer was there; if not,
    it reached nobody.
    """

    peer: str
    present: bool
    hops: Mapping[str, int | None]
    unknown_ends: int

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        return {
            **self.opening(),
            "peer": self.peer,
            "present": self.present,
            "unknown_ends": self.unknown_ends,
            "hops": [{"peer_key": key, "hops": hops} for key, hops in self.hops.items()],
        }
