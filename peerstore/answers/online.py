"""Answers about how long peers were there, away, or not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from peerstore.answers.sessions import EndReason
from peerstore.times import iso

PresenceState = Literal["present", "absent", "unobserved"]


@dataclass(slots=True)
class Uptime:
    """How much of a window ``[since, until)`` a peer was there.

    ``present``: somebody who was watching saw it; ``absent``: somebody was watching, and nobody saw it;
    ``unobserved``: nobody was watching. The three add up to the window. ``sessions`` counts the stretches of presence
    that overlap the window; ``longest_absence`` is the longest stretch of it that is known to be an absence (nothing,
    if there is none; unobserved time ends a stretch).
    """

    peer_key: str
    since: datetime
    until: datetime
    present: timedelta
    absent: timedelta
    unobserved: timedelta
    sessions: int
    longest_absence: timedelta

    @property
    def share(self) -> float | None:
        """Time known present by time known, from 0 to 1; ``None``: nobody was watching at all."""
        known = self.present + self.absent
        return self.present / known if known else None

    def to_dict(self) -> dict[str, Any]:
        """The uptime as JSON; ``percent`` is the share times 100."""
        return {
            "peer_key": self.peer_key,
            "since": iso(self.since),
            "until": iso(self.until),
            "present_seconds": self.present.total_seconds(),
            "absent_seconds": self.absent.total_seconds(),
            "unobserved_seconds": self.unobserved.total_seconds(),
            "percent": None if self.share is None else 100 * self.share,
            "sessions": self.sessions,
            "longest_absence_seconds": self.longest_absence.total_seconds(),
        }


@dataclass(slots=True)
class Stretch:
    """A stretch ``[start, end)`` of a window over which a peer was present, absent, or unobserved.

    ``unobserved``: nobody was watching, so it may have been either. ``end_reason`` says why a presence ended: ``left``
    (an observation without the peer), ``stopped`` or ``silence`` (the last observer that saw it stopped watching);
    ``None`` for the other states, and where the window ends before the presence does.
    """

    peer_key: str
    state: PresenceState
    start: datetime
    end: datetime
    end_reason: EndReason | None = None

    @property
    def duration(self) -> timedelta:
        """How long it is."""
        return self.end - self.start

    def to_dict(self) -> dict[str, Any]:
        """The stretch as JSON."""
        return {
            "peer_key": self.peer_key,
            "state": self.state,
            "start": iso(self.start),
            "end": iso(self.end),
            "duration_seconds": self.duration.total_seconds(),
            "end_reason": self.end_reason,
        }


@dataclass(slots=True)
class Seen:
    """When a peer was first and last seen: by one observer, or (``observer`` is ``None``) by any of those asked.

    ``first_seen``: the observation with which its first presence began. ``last_confirmed``: the last observation that
    held it. ``present_until``: the end of its last presence, exclusive (the observation without it, or the instant at
    which the observer no longer watched); ``None``: it is present at the moment of the question.

    The last direct link is that of the peer with the observer itself (the local peer of its graphs), as the observer
    reports it, of whatever type: it held over ``[link_since, link_until)`` (``link_until`` ``None``: it holds) with
    ``linked_to``. Where no observer is named, it is that of the observers' links which ended last. All three are
    ``None`` if there never was one.
    """

    peer_key: str
    observer: str | None
    first_seen: datetime
    last_confirmed: datetime
    present_until: datetime | None
    link_since: datetime | None = None
    link_until: datetime | None = None
    linked_to: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON."""
        return {
            "peer_key": self.peer_key,
            "observer": self.observer,
            "first_seen": iso(self.first_seen),
            "last_confirmed": iso(self.last_confirmed),
            "present_until": _iso(self.present_until),
            "link_since": _iso(self.link_since),
            "link_until": _iso(self.link_until),
            "linked_to": self.linked_to,
        }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
