"""The steps of an upgrade while they run: which one it is, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class UpgradeStep:
    """How far a step of an upgrade is."""

    revision: str
    """The revision that it leads to."""
    title: str
    """What it does, in a sentence."""
    number: int
    """Its place among the steps of this upgrade, from 1 on."""
    steps: int
    """How many steps this upgrade has."""
    rows: int
    """How many rows it has gone through so far."""
    seconds: float
    """How long it has taken so far."""
    done: bool
    """Whether it has ended; nothing is kept of it before all steps have."""


class Steps:
    """Tells how far an upgrade is: what runs a step calls ``advance``, and ``applied`` when it has ended."""

    def __init__(self, steps: Sequence[tuple[str, str]], tell: Callable[[UpgradeStep], None] | None) -> None:
        self._left = [
            UpgradeStep(revision, title, number, len(steps), 0, 0.0, False)
            for number, (revision, title) in enumerate(steps, start=1)
        ]
        self._tell = tell or (lambda _step: None)
        self._begun = time.monotonic()
        self._begin()

    def advance(self, rows: int) -> None:
        """The step that runs has gone through so many more rows."""
        if self._left:
            rows += self._left[0].rows
            self._left[0] = replace(self._left[0], rows=rows, seconds=time.monotonic() - self._begun)
            self._tell(self._left[0])

    def applied(self, **_of_alembic: object) -> None:
        """The step that ran has ended, and the next one begins."""
        if self._left:
            self._tell(replace(self._left.pop(0), seconds=time.monotonic() - self._begun, done=True))
            self._begin()

    def _begin(self) -> None:
        self._begun = time.monotonic()
        if self._left:
            self._tell(self._left[0])
