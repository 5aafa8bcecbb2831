"""Where the views of several observers do not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from peerstore.answers.moments import OfMoment
from peerstore.canonical import Json, json_or_absent
from peerstore.model import Connection
from peerstore.times import iso

DisagreementKind = Literal["peer", "attribute", "connection", "listing"]
AgreedBy = Literal["agreed", "stopped", "silence"]


class HeldValue(NamedTuple):
    """A value (:data:`peerstore.ABSENT`: none) that an attribute had in some views, and the observers that took this
    side, in byte order."""

    value: Json
    observers: tuple[str, ...]


@dataclass(slots=True)
class Disagreement:
    """Something that watching observers told in different ways.

    ``kind`` and what it is about:

    * ``peer``: the peer ``peer_key`` was seen by some and not by others;
    * ``attribute``: several saw the peer ``peer_key``, with different values at ``path``: ``values``;
    * ``connection``: ``connection`` was seen by some and not by others;
    * ``listing``: ``connection`` was listed by one of its ends, ``listed_by``, and not by the other one, although that
      one was there: in the views of ``seen_by``. This needs one view alone.

    ``seen_by`` names the observers that saw the peer or the connection so, ``not_seen_by`` (of kinds ``peer`` and
    ``connection``) those that were watching and did not, both in byte order.

    Over time, a disagreement held over ``[start, end)``: as long as there was any about that subject, whoever stood on
    which side. Each observer that took part is named once: on the side that it took for longest (of equals, on that
    which it took first), so a value may be left without any. ``end`` is ``None`` if it held when the range ended;
    ``held_before``: it held just before the range too, where ``start`` is cut to. ``end_reason``: ``agreed`` (an
    observer changed its view), or ``stopped`` or ``silence`` (one stopped watching, so what it would have said is
    unknown). In the answer about one moment all of these are empty.

    Islands see different things, and rightly so; news takes up to a minute over several hops; an observer that has
    just started sees little. A disagreement is not an error.
    """

    kind: DisagreementKind
    peer_key: str | None = None
    connection: Connection | None = None
    path: str | None = None
    values: tuple[HeldValue, ...] = ()
    listed_by: str | None = None
    seen_by: tuple[str, ...] = ()
    not_seen_by: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    held_before: bool = False
    end_reason: AgreedBy | None = None

    @property
    def duration(self) -> timedelta | None:
        """How long it held, within the range; ``None`` if it held when the range ended, and of one moment."""
        return None if self.start is None or self.end is None else self.end - self.start

    def to_dict(self) -> dict[str, Any]:
        """The disagreement as JSON; members that do not apply to its kind, or to one moment, are left out."""
        result: dict[str, Any] = {"kind": self.kind}
        if self.peer_key is not None:
            result["peer_key"] = self.peer_key
        if self.connection is not None:
            link = self.connection
            result["connection"] = {"id": link.id, "peer1": link.peer1, "peer2": link.peer2, "type": link.type}
        if self.kind == "attribute":
            result["path"] = self.path
            result["values"] = [
                {"value": json_or_absent(value), "observers": list(observers)} for value, observers in self.values
            ]
        if self.kind == "listing":
            result["listed_by"] = self.listed_by
        result["seen_by"] = list(self.seen_by)
        if self.kind in ("peer", "connection"):
            result["not_seen_by"] = list(self.not_seen_by)
        return {**result, **self._span()}

    def _span(self) -> dict[str, Any]:
        if self.start is None:
            return {}
        return {
            "start": iso(self.start),
            "end": None if self.end is None else iso(self.end),
            "duration_seconds": None if self.duration is None else self.duration.total_seconds(),
            "held_before": self.held_before,
            "end_reason": self.end_reason,
        }


@dataclass(slots=True)
class Disagreements(OfMoment):
    """Every :class:`Disagreement` of one moment: by kind, then by key. Iterating gives them; its length counts them.

    With fewer than two observers watching, nothing but a ``listing`` can be in it: that is no agreement.
    """

    disagreements: tuple[Disagreement, ...]

    def __iter__(self) -> Iterator[Disagreement]:
        return iter(self.disagreements)

    def __len__(self) -> int:
        return len(self.disagreements)

    def __bool__(self) -> bool:
        return bool(self.disagreements)

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON."""
        return {**self.opening(), "disagreements": [each.to_dict() for each in self.disagreements]}
