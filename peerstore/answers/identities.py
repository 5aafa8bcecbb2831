"""Answers about who is who: names that several keys bear, and keys that may be one device's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from peerstore.times import iso


@dataclass(slots=True)
class SharedName:
    """A device name that several present peers bore at one instant; ``peers``: their keys, in byte order."""

    name: str
    peers: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The name and its bearers as JSON."""
        return {"name": self.name, "peers": list(self.peers)}


@dataclass(slots=True)
class NameCollision:
    """At least two present peers bore one device name at every instant of ``[start, end)``.

    ``peers``: the keys of all that bore it meanwhile. A stretch is cut at the window's beginning; ``end`` is ``None``
    where the name was still shared at the window's end. ``end_reason``: ``parted`` (at most one bore it from then on),
    ``unobserved`` (nobody was watching any more: what came next is unknown), ``None`` without an end.
    """

    name: str
    peers: tuple[str, ...]
    start: datetime
    end: datetime | None
    end_reason: Literal["parted", "unobserved"] | None

    def to_dict(self) -> dict[str, Any]:
        """The stretch as JSON."""
        return {
            "name": self.name,
            "peers": list(self.peers),
            "start": iso(self.start),
            "end": None if self.end is None else iso(self.end),
            "duration_seconds": None if self.end is None else (self.end - self.start).total_seconds(),
            "end_reason": self.end_reason,
        }


@dataclass(slots=True)
class NewKey:
    """A guess: the device behind ``old_key`` came back under ``new_key``. Nothing is merged because of it.

    Both last had the same device name (not empty) and os, and ``old_key`` was last present before ``new_key`` was
    first: ``old_end`` is the end of the one's last presence, ``new_start`` the beginning of the other's first, ``gap``
    the time between, ``unobserved`` how much of it nobody was watching. ``shared`` and ``differing``: JSON Pointers to
    the members of the peer metadata that both last had, with equal and with different values. ``identity``: the value
    that both had at the ``identity_path`` of the question, else ``None``. ``others``: other keys with that name and os
    whose time from first to last presence touches that from the old key's first presence to the new key's: each might
    be meant as well.

    ``strength`` is ``strong`` if nothing speaks against it: ``others`` is empty, no time of the gap was unobserved, and
    something beyond name and os agrees (``shared`` is not empty, or ``identity_path`` was given); else ``weak``.
    """

    old_key: str
    new_key: str
    strength: Literal["strong", "weak"]
    device_name: str
    os: str
    old_end: datetime
    new_start: datetime
    gap: timedelta
    unobserved: timedelta
    shared: tuple[str, ...]
    differing: tuple[str, ...]
    identity: Any
    others: tuple[str, ...]

    @property
    def evidence(self) -> dict[str, Any]:
        """What the guess rests on, as JSON."""
        return {
            "device_name": self.device_name,
            "os": self.os,
            "old_end": iso(self.old_end),
            "new_start": iso(self.new_start),
            "gap_seconds": self.gap.total_seconds(),
            "unobserved_seconds": self.unobserved.total_seconds(),
            "shared": list(self.shared),
            "differing": list(self.differing),
            "identity": self.identity,
            "others": list(self.others),
        }

    def to_dict(self) -> dict[str, Any]:
        """The guess as JSON."""
        return {"old_key": self.old_key, "new_key": self.new_key, "strength": self.strength, **self.evidence}
