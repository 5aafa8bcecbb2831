"""Answers about the observers themselves: when they were watching, and how their clocks differ."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from peerstore.times import iso

CoverageEnd = Literal["stopped", "silence"]
GapReason = Literal["stopped", "silence", "quiet"]


@dataclass(slots=True)
class Coverage:
    """One observer was watching over ``[start, end)``; ``end`` is ``None`` if no end is in sight.

    Of an observer that has declared a limit of silence and is watching now, ``end`` lies ahead: it is when that limit
    will have passed, if it says nothing more.
    ``end_reason``: ``stopped`` (a stop marker) or ``silence`` (longer than its limit). ``observations`` counts the
    graphs that it recorded in the span. ``longest_silence`` is the longest time between two of its observations that
    follow each other, the stop marker at the end among them (``None``: there was only one).
    """

    observer: str
    start: datetime
    end: datetime | None
    end_reason: CoverageEnd | None
    observations: int
    longest_silence: timedelta | None

    def to_dict(self) -> dict[str, Any]:
        """The span as JSON."""
        return {
            "observer": self.observer,
            "start": iso(self.start),
            "end": None if self.end is None else iso(self.end),
            "duration_seconds": None if self.end is None else (self.end - self.start).total_seconds(),
            "end_reason": self.end_reason,
            "observations": self.observations,
            "longest_silence_seconds": None if self.longest_silence is None else self.longest_silence.total_seconds(),
        }


@dataclass(slots=True)
class CoverageGap:
    """Over ``[start, end)`` an observer was not watching, or said nothing; ``observer`` ``None``: nobody was watching.

    ``reason``: ``stopped`` (a stop marker) or ``silence`` (longer than its limit) ended what was watched before;
    ``quiet``: it said nothing for so long, yet counted as watching, and what it had said last held. ``None``: nobody
    had been watching since before the window began. ``end`` is ``None`` if an observer never came back.
    """

    observer: str | None
    start: datetime
    end: datetime | None
    reason: GapReason | None

    @property
    def duration(self) -> timedelta | None:
        """How long it was; ``None`` if it has no end."""
        return None if self.end is None else self.end - self.start

    def to_dict(self) -> dict[str, Any]:
        """The gap as JSON."""
        return {
            "observer": self.observer,
            "start": iso(self.start),
            "end": None if self.end is None else iso(self.end),
            "duration_seconds": None if self.duration is None else self.duration.total_seconds(),
            "reason": self.reason,
        }


@dataclass(slots=True)
class CoverageShare:
    """How much of a window ``[since, until)`` an observer watched; ``observer`` ``None``: anybody at all.

    ``watched`` and ``unobserved`` part the window; ``share`` is the watched part of it, from 0 to 1; ``spans`` counts
    the stretches of watching.
    """

    observer: str | None
    since: datetime
    until: datetime
    watched: timedelta
    spans: int

    @property
    def unobserved(self) -> timedelta:
        """How long it was not watching."""
        return self.until - self.since - self.watched

    @property
    def share(self) -> float:
        """The part of the window that was watched, from 0 to 1."""
        return self.watched / (self.until - self.since)

    def to_dict(self) -> dict[str, Any]:
        """The share as JSON."""
        return {
            "observer": self.observer,
            "since": iso(self.since),
            "until": iso(self.until),
            "watched_seconds": self.watched.total_seconds(),
            "unobserved_seconds": self.unobserved.total_seconds(),
            "share": self.share,
            "spans": self.spans,
        }


@dataclass(slots=True)
class ClockSkew:
    """By how much two observers' reports of the same changes differ in time.

    ``offset`` is the median of (the time at which ``observer`` reports a change, less that at which ``reference``
    does): positive if the clock of ``observer`` is ahead, or its reports come later. ``spread`` is the median of how
    far the single differences lie from it; ``samples`` says how many there are. The time that news takes through the
    mesh (up to a minute over several hops) is in all of it: an offset within the spread, or of few seconds, is no
    evidence of a wrong clock.
    """

    observer: str
    reference: str
    offset: timedelta
    spread: timedelta
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """The estimate as JSON."""
        return {
            "observer": self.observer,
            "reference": self.reference,
            "offset_seconds": self.offset.total_seconds(),
            "spread_seconds": self.spread.total_seconds(),
            "samples": self.samples,
        }
