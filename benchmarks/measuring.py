"""Rounds, medians, tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Measured:
    """What one case took, in seconds, round by round; ``count`` things were done in each."""

    name: str
    count: int = 1
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest round."""
        return min(self.seconds), max(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        """The measurement as JSON."""
        return {"name": self.name, "count": self.count, "median_seconds": self.median, "seconds": self.seconds}


@dataclass
class Table:
    """The measurements of one question; ratios are to the first of them."""

    title: str
    unit: str
    measured: list[Measured]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON."""
        first = self.measured[0]
        cases = [{**each.to_dict(), "ratio": _each(each) / _each(first)} for each in self.measured]
        return {"title": self.title, "unit": self.unit, "note": self.note, "cases": cases}

    def markdown(self) -> str:
        """The table as Markdown."""
        unit = f"{self.unit}, median (fastest to slowest round)"
        several = any(each.count > 1 for each in self.measured)
        lines = [f"| | {unit} | each | beside the first |", "|---|---|---|---|"]
        if not several:
            lines = [f"| | {unit} | beside the first |", "|---|---|---|"]
        for each in self.measured:
            low, high = each.spread
            cost = f"{_short(each.median)} ({_short(low)} to {_short(high)})"
            ratio = _each(each) / _each(self.measured[0])
            lines.append(
                " | ".join([f"| {each.name}", cost, *([_short(_each(each))] if several else []), f"{ratio:.2f} |"])
            )
        return "\n".join([f"## {self.title}", "", *([self.note, ""] if self.note else []), *lines, ""])


def interleaved(rounds: int, cases: Mapping[str, Callable[[], float]], count: int = 1) -> list[Measured]:
    """Measure cases in turns, so that what else the machine does falls on all of them alike.

    Each case gives the seconds that the part of it took which is in question.
    """
    measured = {name: Measured(name, count) for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            measured[name].seconds.append(case())
    return list(measured.values())


def _each(measured: Measured) -> float:
    return measured.median / measured.count


def _short(seconds: float) -> str:
    """Seconds for people, in the unit that suits.

    >>> _short(1.234), _short(0.01234), _short(0.000001234)
    ('1.23 s', '12.3 ms', '1.23 µs')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
