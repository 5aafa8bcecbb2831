"""Rounds, medians, tables, targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Measured:
    """What one case took, in seconds, round by round; ``count`` things were done in each."""

    name: str
    count: float = 1
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.seconds)

    @property
    def each(self) -> float:
        """The median for one of the things."""
        return self.median / self.count

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest round."""
        return min(self.seconds), max(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        """The measurement as JSON."""
        return {"name": self.name, "count": self.count, "median_seconds": self.median, "seconds": self.seconds}


@dataclass
class Target:
    """A bound that was set before anything was measured: ``value`` is to be ``at_most`` or ``at_least`` that."""

    what: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def to_dict(self) -> dict[str, Any]:
        """The target as JSON."""
        bound = {"at_most": self.at_most, "at_least": self.at_least}
        return {"what": self.what, "value": self.value, "met": self.met, **bound}

    def markdown(self) -> str:
        """The target as an item of a list.

        >>> Target("x beside y", 1.234, at_most=1.2).markdown()
        '* x beside y: 1.23, at most 1.2 was aimed at: **missed**'
        """
        bound = f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"
        return f"* {self.what}: {self.value:.3g}, {bound} was aimed at: {'met' if self.met else '**missed**'}"


@dataclass
class Table:
    """The measurements of one question; ratios are to the first of them."""

    title: str
    unit: str
    measured: list[Measured]
    note: str = ""
    targets: list[Target] = field(default_factory=list)

    def ratio(self, place: int, to: int = 0) -> float:
        """How many times what one case takes, another does."""
        return self.measured[place].each / self.measured[to].each

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON."""
        cases = [{**each.to_dict(), "ratio": each.each / self.measured[0].each} for each in self.measured]
        targets = [target.to_dict() for target in self.targets]
        return {"title": self.title, "unit": self.unit, "note": self.note, "cases": cases, "targets": targets}

    def markdown(self) -> str:
        """The table as Markdown."""
        return self._page(self._lines())

    def _page(self, lines: Sequence[str]) -> str:
        note = [self.note, ""] if self.note else []
        targets = ["", *(target.markdown() for target in self.targets)] if self.targets else []
        return "\n".join([f"## {self.title}", "", *note, *lines, *targets, ""])

    def _lines(self) -> list[str]:
        unit = f"{self.unit}, median (fastest to slowest round)"
        several = any(each.count > 1 for each in self.measured)
        lines = [f"| | {unit} | each | beside the first |", "|---|---|---|---|"]
        if not several:
            lines = [f"| | {unit} | beside the first |", "|---|---|---|"]
        for each in self.measured:
            low, high = each.spread
            cost = f"{short(each.median)} ({short(low)} to {short(high)})"
            ratio = each.each / self.measured[0].each
            lines.append(
                " | ".join([f"| {each.name}", cost, *([short(each.each)] if several else []), f"{ratio:.2f} |"])
            )
        return lines


@dataclass
class Figures(Table):
    """A table of other figures than times: a head and rows of texts; ``values`` are theirs, for the JSON."""

    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON."""
        targets = [target.to_dict() for target in self.targets]
        return {"title": self.title, "note": self.note, "values": dict(self.values), "targets": targets}

    def _lines(self) -> list[str]:
        marks = "|".join("---" for _ in self.head)
        return [f"| {' | '.join(self.head)} |", f"|{marks}|", *(f"| {' | '.join(row)} |" for row in self.rows)]


def interleaved(rounds: int, cases: Mapping[str, Callable[[], float]], count: float = 1) -> list[Measured]:
    """Measure cases in turns, so that what else the machine does falls on all of them alike.

    Each case gives the seconds that the part of it took which is in question.
    """
    measured = {name: Measured(name, count) for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            measured[name].seconds.append(case())
    return list(measured.values())


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which a part of the values lies.

    >>> percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.99)
    (3, 4)
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def short(seconds: float) -> str:
    """Seconds for people, in the unit that suits.

    >>> short(1.234), short(0.01234), short(0.000001234)
    ('1.23 s', '12.3 ms', '1.23 µs')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
