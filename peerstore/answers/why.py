"""Answers about why a peer was as it was at a moment, and what an answer rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from peerstore.answers.changes import Change
from peerstore.answers.sessions import Session
from peerstore.canonical import ABSENT, Json, json_or_absent
from peerstore.model import Connection, Peer
from peerstore.times import iso

State = Literal["present", "absent", "unobserved"]
Because = Literal["own_report", "only_one", "agreed", "newest_version", "listed"]
Unwatching = Literal["stopped", "silence", "not_yet"]


@dataclass(slots=True)
class ListedConnection:
    """A connection as one observer's graph lists it, in equal form since the observation at ``since``."""

    connection: Connection
    since: datetime
    since_sequence: int

    def to_dict(self) -> dict[str, Any]:
        """The listing as JSON."""
        link = self.connection
        ends = {"id": link.id, "peer1": link.peer1, "peer2": link.peer2, "type": link.type}
        listed_by = list(link.listed_by)
        return {**ends, "listed_by": listed_by, "since": iso(self.since), "since_sequence": self.since_sequence}


@dataclass(slots=True)
class Testimony:
    """What one observer says of a fact at a moment.

    ``observed_at``, ``sequence`` and ``recorded_at`` name its observation in force (``None``: it had not spoken);
    ``max_silence`` is the limit that counts for it. While it is ``watching``, that observation is also the last
    confirmation of what it says; else ``watched_until`` says since when it is not.

    ``holds``: whether its graph holds the peer, or any connection between the two (``connections``); ``None`` while it
    is not watching. ``since`` and ``since_sequence`` name the observation since which every graph of it has said the
    same: held the peer with equal attributes, or not held it (``None``: it never did). ``value`` is the attribute asked
    about. ``supports``: whether that agrees with the answer; ``taken``: whether it is what the answer says.
    """

    observer: str
    watching: bool
    observed_at: datetime | None = None
    sequence: int | None = None
    recorded_at: datetime | None = None
    max_silence: timedelta | None = None
    watched_until: datetime | None = None
    holds: bool | None = None
    since: datetime | None = None
    since_sequence: int | None = None
    value: Json = ABSENT
    connections: tuple[ListedConnection, ...] = ()
    supports: bool | None = None
    taken: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The testimony as JSON."""
        return {
            "observer": self.observer,
            "watching": self.watching,
            "observed_at": told(self.observed_at),
            "sequence": self.sequence,
            "recorded_at": told(self.recorded_at),
            "max_silence_seconds": seconds(self.max_silence),
            "watched_until": told(self.watched_until),
            "holds": self.holds,
            "since": told(self.since),
            "since_sequence": self.since_sequence,
            "value": json_or_absent(self.value),
            "connections": [each.to_dict() for each in self.connections],
            "supports": self.supports,
            "taken": self.taken,
        }


@dataclass(slots=True)
class Evidence:
    """What a fact of the merged presence rests on: that a peer was present or not, what an attribute of it was
    (``path``), whether it was connected with another (``other``).

    ``state`` is the answer; ``value`` the attribute's (``ABSENT``: the peer was absent, or had none). ``because`` says
    whose word was taken where several held the peer: ``own_report`` (the peer's own), ``only_one`` (one alone held it),
    ``agreed`` (all said the same), ``newest_version`` (that which began last); of a connection ``listed``: one that
    lists it is enough. ``testimonies`` are those of all observers asked about, by key. Where the moment is unobserved,
    ``last_known`` is the evidence of the last instant at which anybody was watching.
    """

    at: datetime
    known_at: datetime | None
    peer_key: str
    other: str | None
    path: str | None
    state: State
    value: Json
    because: Because | None
    testimonies: tuple[Testimony, ...]
    last_known: Evidence | None = None

    @property
    def observations(self) -> tuple[tuple[str, datetime, int], ...]:
        """The observations that the fact rests on, as (observer, observed_at, sequence): those in force of everybody
        watching, and those since which they say so. A store of these alone gives the same fact."""
        found = set()
        for each in self.testimonies:
            if each.watching and each.observed_at is not None and each.sequence is not None:
                found.add((each.observer, each.observed_at, each.sequence))
                if each.holds and each.since is not None and each.since_sequence is not None:
                    found.add((each.observer, each.since, each.since_sequence))
        return tuple(sorted(found))

    def to_dict(self) -> dict[str, Any]:
        """The evidence as JSON."""
        return {
            "at": iso(self.at),
            "known_at": told(self.known_at),
            "peer_key": self.peer_key,
            "other": self.other,
            "path": self.path,
            "state": self.state,
            "value": json_or_absent(self.value),
            "because": self.because,
            "testimonies": [each.to_dict() for each in self.testimonies],
            "last_known": None if self.last_known is None else self.last_known.to_dict(),
        }


@dataclass(slots=True)
class Witness:
    """What one observer was doing at a moment, and whether it saw the peer.

    ``sees`` is ``None`` while it is not ``watching``; ``not_watching`` then says why (``stopped``, ``silence``, or
    ``not_yet``: it had not spoken), ``watched_until`` since when. ``observed_at`` is its observation in force, ``age``
    how old that is; ``since`` when its version of the peer began. ``is_compatible`` is what it says of the peer's SDK.
    ``island``: whether the observer itself was in the ``same`` island of the mesh as the peer or in an ``other`` one
    (``None``: one of them was not present).
    """

    observer: str
    watching: bool
    sees: bool | None = None
    observed_at: datetime | None = None
    age: timedelta | None = None
    since: datetime | None = None
    not_watching: Unwatching | None = None
    watched_until: datetime | None = None
    is_compatible: bool | None = None
    island: Literal["same", "other"] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The witness as JSON."""
        return {
            "observer": self.observer,
            "watching": self.watching,
            "sees": self.sees,
            "observed_at": told(self.observed_at),
            "age_seconds": seconds(self.age),
            "since": told(self.since),
            "not_watching": self.not_watching,
            "watched_until": told(self.watched_until),
            "is_compatible": self.is_compatible,
            "island": self.island,
        }


@dataclass(slots=True)
class CloudWay:
    """A present peer's way to the cloud: ``own`` is what it says of a link of its own; ``path`` leads over the fewest
    links from it to the nearest ``bridge`` (the first by key, where several are as near), in ``hops``; empty if none
    can be reached. ``island`` counts the peers that it can reach, itself among them; ``bridges`` those of all the mesh
    that say they have a link of their own."""

    own: bool | None
    bridge: str | None
    hops: int | None
    path: tuple[str, ...]
    island: int
    bridges: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The way as JSON."""
        found: dict[str, Any] = {name: getattr(self, name) for name in ("own", "bridge", "hops", "island")}
        return {**found, "path": list(self.path), "bridges": list(self.bridges)}


@dataclass(slots=True)
class NearestChanges:
    """The changes of the nearest instant at which there were any, and how long before or after the moment it was."""

    observed_at: datetime
    distance: timedelta
    changes: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """The changes as JSON."""
        changes = [change.to_dict() for change in self.changes]
        return {"observed_at": iso(self.observed_at), "distance_seconds": seconds(self.distance), "changes": changes}


@dataclass(slots=True)
class PresenceStretch:
    """A time over which a peer was present, absent, or nobody was watching: ``[start, end)``."""

    start: datetime
    end: datetime
    state: State

    def to_dict(self) -> dict[str, Any]:
        """The stretch as JSON."""
        return {"start": iso(self.start), "end": iso(self.end), "state": self.state}


@dataclass(slots=True)
class Finding:
    """One plain sentence about what happened, resting on the facts beside it. ``{0}``, ``{1}`` ... in ``sentence``
    stand for the peers whose ``keys`` follow."""

    sentence: str
    keys: tuple[str, ...] = ()

    def text(self, name: Callable[[str], str] = str) -> str:
        """The sentence with the peers called by their names (by default by their keys).

        >>> Finding("{0} was absent", ("till-1",)).text(str.upper)
        'TILL-1 was absent'
        """
        return self.sentence.format(*map(name, self.keys))


@dataclass(slots=True)
class Why:
    """All that bears on how a peer was at a moment: for the question "why did it not sync at 14:03?".

    ``state`` is the answer for the moment itself. Where it is ``unobserved``, the other facts are those of the last
    instant at which anybody was watching, ``facts_at`` (``None``: there is none). ``peer`` is the peer as it was
    then, or, if it was absent (``present`` is false), as it was when it was last present. ``connections`` and
    ``cloud`` are its links and its way to the cloud. ``before`` and ``after`` are the last change of it or its
    links at or before the moment, and the next one after it; ``links_before`` and ``links_after``, if it was
    present without any link, the same of its links alone; ``links_unobserved``, for how long of the time between
    these two nobody was watching. ``session`` is the one it was in, ``previous`` and ``following`` those beside.
    ``stretches`` tell its presence within ``within`` before and after, ``changes`` all that changed of it or its
    links then. ``findings`` say in words what these facts bear, and no more.
    """

    at: datetime
    known_at: datetime | None
    peer_key: str
    within: timedelta
    state: State
    facts_at: datetime | None
    present: bool
    peer: Peer | None
    witnesses: tuple[Witness, ...]
    connections: tuple[Connection, ...]
    cloud: CloudWay | None
    before: NearestChanges | None
    after: NearestChanges | None
    links_before: NearestChanges | None
    links_after: NearestChanges | None
    links_unobserved: timedelta | None
    session: Session | None
    previous: Session | None
    following: Session | None
    stretches: tuple[PresenceStretch, ...]
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The whole page as JSON; in the findings, peers go by their keys."""
        result: dict[str, Any] = {
            "at": iso(self.at),
            "known_at": told(self.known_at),
            "peer_key": self.peer_key,
            "within_seconds": seconds(self.within),
            "state": self.state,
            "facts_at": told(self.facts_at),
            "present": self.present,
        }
        single = ("peer", "cloud", "before", "after", "links_before", "links_after", "session", "previous", "following")
        for name in single:
            fact = getattr(self, name)
            result[name] = None if fact is None else fact.to_dict()
        result["links_unobserved_seconds"] = seconds(self.links_unobserved)
        for name in ("witnesses", "connections", "stretches", "changes"):
            result[name] = [fact.to_dict() for fact in getattr(self, name)]
        result["findings"] = [finding.text() for finding in self.findings]
        return result


def told(moment: datetime | None) -> str | None:
    """A time that may be missing, for JSON."""
    return None if moment is None else iso(moment)


def seconds(duration: timedelta | None) -> float | None:
    """A duration that may be missing, for JSON."""
    return None if duration is None else duration.total_seconds()
