"""Answers about links to the cloud: since when, over whom.

A *bridge* is a present peer that says that it has a link of its own to the Ditto cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal

from peerstore.answers.moments import OfMoment
from peerstore.times import iso

CloudEndReason = Literal["flag", "left", "stopped", "silence"]

MOST_PATHS = 100
"""How many shortest paths an answer lists, where there are more: the first ones in the order of their keys."""


@dataclass(slots=True)
class CloudSession:
    """A present peer had its own link to the cloud over ``[start, end)``, without a break.

    ``end`` is ``None`` while it still has. ``end_reason``: ``flag`` (it is still present, and no longer says so);
    ``left``, ``stopped`` or ``silence`` (its presence ended, as in a :class:`Session`); ``None`` while it holds.
    ``observer`` is the one that was asked, ``None`` for the merged presence.
    """

    peer_key: str
    start: datetime
    end: datetime | None
    observer: str | None = None
    end_reason: CloudEndReason | None = None

    def to_dict(self) -> dict[str, Any]:
        """The session as JSON."""
        return {
            "peer_key": self.peer_key,
            "start": iso(self.start),
            "end": None if self.end is None else iso(self.end),
            "duration_seconds": None if self.end is None else (self.end - self.start).total_seconds(),
            "end_reason": self.end_reason,
            "observer": self.observer,
        }


@dataclass(slots=True)
class Route:
    """How a present peer reached the cloud.

    ``hops``: how many steps away the nearest bridge was (0: the peer is one itself; ``None``: none could be reached).
    ``nearest``: the bridges at that distance; ``bridges``: all that could be reached, at any distance.
    ``path_count``: how many shortest paths lead to the nearest bridges.
    """

    peer_key: str
    hops: int | None
    nearest: tuple[str, ...]
    bridges: tuple[str, ...]
    path_count: int
    _find: Callable[[str], Iterator[tuple[str, ...]]] = field(repr=False, compare=False)

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """The shortest paths to the nearest bridges, each as the keys from the peer to the bridge, both included; in
        the order of the keys; the first 100 where there are more. They are found when they are asked for."""
        return () if self.hops is None else tuple(islice(self._find(self.peer_key), MOST_PATHS))

    def to_dict(self) -> dict[str, Any]:
        """The route as JSON."""
        return {
            "peer_key": self.peer_key,
            "hops": self.hops,
            "nearest": list(self.nearest),
            "bridges": list(self.bridges),
            "path_count": self.path_count,
            "paths": [list(path) for path in self.paths],
        }


@dataclass(slots=True)
class CloudPresence(OfMoment):
    """Who had the cloud at one instant, and over whom.

    ``bridges``: the present peers with a link of their own; ``routes``: for every present peer its :class:`Route`, by
    key, in the order of the keys; ``unknown_ends``: how many connections were left out since an end of theirs was not
    among the present peers. Where nobody was watching, all of it is empty: unobserved, which is not "without cloud".
    """

    bridges: tuple[str, ...]
    routes: Mapping[str, Route]
    unknown_ends: int

    @property
    def cut_off(self) -> tuple[str, ...]:
        """The present peers that could not reach any bridge."""
        return tuple(key for key, route in self.routes.items() if route.hops is None)

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        return {
            **self.opening(),
            "bridges": list(self.bridges),
            "cut_off": list(self.cut_off),
            "unknown_ends": self.unknown_ends,
            "routes": [route.to_dict() for route in self.routes.values()],
        }


@dataclass(slots=True)
class CloudStretch:
    """The same peers were the bridges to the cloud over ``[start, end)``.

    ``known`` is false where nobody was watching: ``bridges`` is then empty, and says nothing. Known and empty: the mesh
    had no bridge.
    """

    start: datetime
    end: datetime
    known: bool
    bridges: tuple[str, ...]

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
            "known": self.known,
            "bridges": list(self.bridges),
        }
