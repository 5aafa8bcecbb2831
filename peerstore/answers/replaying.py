"""Graphs given back, as an app on the device would have been given them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peerstore.model import envelope_head
from peerstore.times import MICROSECOND, micros


@dataclass(slots=True)
class ObservedGraph:
    """What one observer saw from ``observed_at`` on: its presence graph as the SDK's own JSON.

    ``text`` is that JSON, in ASCII and on one line; ``None`` where the observer said that it stops. ``sequence`` orders
    what it said at one instant; ``max_silence`` is the limit that it declared.
    """

    observer: str
    observed_at: datetime
    sequence: int
    text: str | None
    max_silence: timedelta | None = None

    @property
    def graph(self) -> dict[str, Any] | None:
        """The graph, read from its text at each call; ``None`` for a stop marker."""
        graph: dict[str, Any] | None = None if self.text is None else json.loads(self.text)
        return graph

    def to_dict(self) -> dict[str, Any]:
        """The observation as ``peerstore record`` takes it (:mod:`peerstore.envelope`)."""
        return {**self._head(), "graph": self.graph}

    def to_json(self) -> str:
        """The same as JSON text on one line."""
        head = json.dumps(self._head(), separators=(",", ":"))
        return f'{head[:-1]},"graph":{self.text or "null"}}}'

    def _head(self) -> dict[str, Any]:
        silence = None if self.max_silence is None else self.max_silence // MICROSECOND
        return envelope_head(self.observer, micros(self.observed_at), self.sequence, silence)
