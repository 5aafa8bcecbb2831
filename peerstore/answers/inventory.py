"""What the store holds: peers, observers, rejects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from peerstore.model import Peer
from peerstore.times import iso


@dataclass(slots=True)
class KnownPeer:
    """A peer that the store has ever heard of: its last known attributes, first and last times of presence.

    ``first_seen`` is when any observer's view first held it; if it is the horizon of a pruned history, then or earlier.
    ``last_seen`` is the newest observation that confirmed it,
    of those observers that saw it last (:meth:`peerstore.PeerStore.seen` tells it for each observer). ``present`` says
    whether it is present at the time of the question.
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
    """An observer: its first and last observation, how many there are, and whether it is watching now.

    Of a pruned history, its observations are those from the horizon on and, before them, the graph that was its last
    one at the horizon (with the stop marker that followed it, if one did).
    """

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
class LoggedObservation:
    """An observation as the store's log has it: when it was made, on the observer's clock, and when it was recorded.

    ``stopped``: it says that the observer stopped watching. ``max_silence``: after how long a silence it no longer
    holds (``None``: never).
    """

    observer: str
    observed_at: datetime
    sequence: int
    recorded_at: datetime
    stopped: bool
    max_silence: timedelta | None

    def to_dict(self) -> dict[str, Any]:
        """The observation as JSON."""
        return {
            "observer": self.observer,
            "observed_at": iso(self.observed_at),
            "sequence": self.sequence,
            "recorded_at": iso(self.recorded_at),
            "stopped": self.stopped,
            "max_silence_seconds": None if self.max_silence is None else self.max_silence.total_seconds(),
        }


@dataclass(slots=True)
class KeptHistory:
    """How much of the history is kept (:meth:`peerstore.PeerStore.retention`); each ``None`` if nothing was removed.

    ``horizon``: it was pruned, and begins here. ``thinned_before``: before this, observations that changed nothing were
    thinned, and stand up to ``thinned_every`` apart. ``known_from``: answers as known (``known_at``) before this, on
    the store's clock, cannot be given any more. A question that would need what is gone raises
    :class:`~peerstore.errors.BeforeHorizon`.
    """

    horizon: datetime | None
    thinned_before: datetime | None
    thinned_every: timedelta | None
    known_from: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """What is kept as JSON."""
        times = {"horizon": self.horizon, "thinned_before": self.thinned_before, "known_from": self.known_from}
        every = None if self.thinned_every is None else self.thinned_every.total_seconds()
        return {
            **{name: None if time is None else iso(time) for name, time in times.items()},
            "thinned_every_seconds": every,
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
