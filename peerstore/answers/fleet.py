"""Answers about the fleet: values and their roll-out, versions that do not fit, expected peers, how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from peerstore.answers.moments import OfMoment
from peerstore.canonical import Json, json_or_absent
from peerstore.times import iso


@dataclass(slots=True)
class Bearers:
    """The peers, by key, that had one value; ``value`` is :data:`peerstore.ABSENT` where they had none at all."""

    value: Json
    peers: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The value and its bearers as JSON, a missing value as ``{"absent": true}``."""
        return {"value": json_or_absent(self.value), "count": len(self.peers), "peers": list(self.peers)}


@dataclass(slots=True)
class Values(OfMoment):
    """The peers present at one instant by the value that each had at ``path`` (a JSON Pointer within the peer).

    ``rows``: the most frequent value first, then in the order of the values' canonical texts. Where nobody was
    watching there are none: unobserved, which is not absent.
    """

    path: str
    rows: tuple[Bearers, ...]

    @property
    def peers(self) -> int:
        """How many peers were present."""
        return sum(len(row.peers) for row in self.rows)

    def __iter__(self) -> Iterator[Bearers]:
        return iter(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        return {**self.opening(), "path": self.path, "values": [row.to_dict() for row in self.rows]}


@dataclass(slots=True)
class Reached:
    """The first time that a peer was known to have a value at ``path``.

    ``previous`` is the last value seen before (:data:`peerstore.ABSENT`: none), and ``previous_until`` the instant
    until which it was known to hold: equal to ``at`` if the peer was seen to change; earlier if it was away, or nobody
    was watching, meanwhile, so that it took the value somewhere in between; ``None`` if it was never seen before.
    ``appeared``: it was never seen before. ``learned``: nothing was known at the path before (it had appeared, or the
    previous value was missing or null), so that it may have had the value for long.
    """

    peer_key: str
    path: str
    value: Json
    at: datetime
    previous: Json
    previous_until: datetime | None
    appeared: bool = False
    learned: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON, a missing value as ``{"absent": true}``."""
        return {
            "at": iso(self.at),
            "peer_key": self.peer_key,
            "path": self.path,
            "value": json_or_absent(self.value),
            "previous": json_or_absent(self.previous),
            "previous_until": None if self.previous_until is None else iso(self.previous_until),
            "appeared": self.appeared,
            "learned": self.learned,
        }


@dataclass(slots=True)
class Rollout(OfMoment):
    """How far a value had got by one instant, over all that was known by then.

    ``known``: peers ever seen; ``reached``: those that ever had the value; ``having``: those whose last known value it
    is, present or gone. ``first_reached_at`` and ``last_reached_at``: when the first and the last of them was first
    known to have it. ``everywhere_since``: since when all present peers have had it, at every instant at which anybody
    was watching (``None``: not all have it); ``first_everywhere_at``: when all present peers had it for the first time.
    """

    path: str
    value: Json
    known: int
    reached: int
    having: int
    first_reached_at: datetime | None
    last_reached_at: datetime | None
    first_everywhere_at: datetime | None
    everywhere_since: datetime | None

    @property
    def lacking(self) -> int:
        """How many peers have another value, or none, as far as was last known."""
        return self.known - self.having

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        names = ("first_reached_at", "last_reached_at", "first_everywhere_at", "everywhere_since")
        times = {name: getattr(self, name) for name in names}
        return {
            **self.opening(),
            "path": self.path,
            "value": json_or_absent(self.value),
            "known": self.known,
            "reached": self.reached,
            "having": self.having,
            "lacking": self.lacking,
            **{name: None if moment is None else iso(moment) for name, moment in times.items()},
        }


@dataclass(slots=True)
class Laggard:
    """A peer whose last known value at ``path`` is another one than the value asked for (or none:
    :data:`peerstore.ABSENT`). ``last_seen``: the last observation that held it; ``present``: whether it is there at
    the moment of the question."""

    peer_key: str
    path: str
    value: Json
    last_seen: datetime
    present: bool

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON, a missing value as ``{"absent": true}``."""
        return {
            "peer_key": self.peer_key,
            "path": self.path,
            "value": json_or_absent(self.value),
            "last_seen": iso(self.last_seen),
            "present": self.present,
        }


@dataclass(slots=True)
class Incompatibility:
    """Over ``[start, end)`` the view of one observer held a peer as incompatible with it (``isCompatible`` false).

    ``end`` is ``None`` while it still does. ``end_reason``: ``changed`` (the view no longer said so), ``left`` (the
    view no longer held the peer), ``stopped`` or ``silence`` (the observer stopped watching: what came next is
    unknown), ``None`` while it holds.
    """

    peer_key: str
    observer: str
    start: datetime
    end: datetime | None
    end_reason: Literal["changed", "left", "stopped", "silence"] | None

    def to_dict(self) -> dict[str, Any]:
        """The stretch as JSON."""
        return {
            "peer_key": self.peer_key,
            "observer": self.observer,
            "start": iso(self.start),
            "end": None if self.end is None else iso(self.end),
            "duration_seconds": None if self.end is None else (self.end - self.start).total_seconds(),
            "end_reason": self.end_reason,
        }


@dataclass(slots=True)
class ExpectedPeer:
    """An entry of a list of expected peers: the keys that it stands for, and when one of them was last seen.

    Of a present entry, ``peers`` holds the present ones. ``last_seen`` is the last observation, at or before the
    instant, that held any of them; ``None``: never.
    """

    entry: str
    peers: tuple[str, ...]
    last_seen: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON."""
        seen = None if self.last_seen is None else iso(self.last_seen)
        return {"entry": self.entry, "peers": list(self.peers), "last_seen": seen}


@dataclass(slots=True)
class Expectation(OfMoment):
    """A list of expected peers, held against who was present at one instant.

    ``present`` and ``missing``: the entries that were there, and those that were known not to be. ``unobserved``: the
    entries of which nothing is known, since nobody was watching (``present``, ``missing`` and ``unexpected`` are then
    empty). ``unexpected``: the keys of present peers that no entry stands for. ``unknown``: entries that no peer ever
    went by. ``ambiguous``: entries that are the beginning of several keys, or a name by which several present peers
    go.
    """

    present: tuple[ExpectedPeer, ...]
    missing: tuple[ExpectedPeer, ...]
    unobserved: tuple[ExpectedPeer, ...]
    unexpected: tuple[str, ...]
    unknown: tuple[str, ...]
    ambiguous: tuple[ExpectedPeer, ...]

    @property
    def complete(self) -> bool:
        """Whether every entry is known to have been there. False also where nobody was watching."""
        return self.watched and not (self.missing or self.unknown or self.ambiguous)

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        return {
            **self.opening(),
            "complete": self.complete,
            "present": [entry.to_dict() for entry in self.present],
            "missing": [entry.to_dict() for entry in self.missing],
            "unobserved": [entry.to_dict() for entry in self.unobserved],
            "unexpected": list(self.unexpected),
            "unknown": list(self.unknown),
            "ambiguous": [entry.to_dict() for entry in self.ambiguous],
        }


@dataclass(slots=True)
class Population:
    """How many peers were present over ``[start, end)``.

    ``known`` is false where nobody was watching: ``peers`` and ``most`` are then ``None``. ``peers`` is the number of
    present peers; of a stretch below a minimum, in which it may change, the least, and ``most`` the greatest.
    """

    start: datetime
    end: datetime
    known: bool
    peers: int | None
    most: int | None

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
            "peers": self.peers,
            "most": self.most,
        }
