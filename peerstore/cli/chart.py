"""A chart of states over time in one line of characters, with marks of time above it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from peerstore.answers.online import PresenceState, Stretch
from peerstore.times import iso, micros

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_WITHIN_A_DAY = tuple(
    each * _SECOND for each in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
)
_IN_DAYS = tuple(count * 10**power * _DAY for power in range(7) for count in (1, 2, 5))


class Marks(NamedTuple):
    """The characters for the three states, and for a cell in which more than one of them occurs."""

    present: str
    absent: str
    unobserved: str
    several: str

    def of(self, state: PresenceState) -> str:
        """The character for a state."""
        return {"present": self.present, "absent": self.absent, "unobserved": self.unobserved}[state]

    def legend(self) -> str:
        """What the characters mean, in a line."""
        meanings = ("present", "absent", "nobody watched", "more than one of these")
        return "  ".join(f"{mark} {meaning}" for mark, meaning in zip(self, meanings, strict=True))


_BLOCKS, _ASCII = Marks("█", "·", "░", "▄"), Marks("#", ".", "?", "+")


class Scale(NamedTuple):
    """How a window ``[since, until)``, in microseconds, lies over so many cells."""

    since: int
    until: int
    cells: int

    def cell(self, moment: int) -> int:
        """The cell in which an instant lies."""
        return (moment - self.since) * self.cells // (self.until - self.since)


def scale(since: int, until: int, room: int) -> Scale:
    """The scale of a window for a chart in so many columns; each cell is at least a microsecond."""
    return Scale(since, until, min(room, until - since))


def marks() -> Marks:
    """The characters that stdout can show."""
    try:
        "".join(_BLOCKS).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return _ASCII
    return _BLOCKS


def chart(stretches: Iterable[Stretch], over: Scale, shown: Marks) -> str:
    """The stretches of a window as a character a cell.

    >>> from peerstore.times import instant
    >>> states = ("absent", 0, 5), ("present", 5, 8), ("unobserved", 8, 12)
    >>> told = [Stretch("k", state, instant(start), instant(end)) for state, start, end in states]
    >>> chart(told, scale(0, 12, 6), Marks("#", ".", "?", "+"))
    '..+#??'
    """
    cells = [""] * over.cells
    for stretch in stretches:
        mark = shown.of(stretch.state)
        for place in range(over.cell(micros(stretch.start)), over.cell(micros(stretch.end) - 1) + 1):
            cells[place] = mark if cells[place] in ("", mark) else shown.several
    return "".join(cells)


def axis(over: Scale) -> str:
    """The times of day, or the dates, that lie over the cells: each bar stands over the cell of the time behind it.

    >>> axis(scale(0, 7200 * 1_000_000, 40))
    '|00:00    |00:30    |01:00    |01:30    '
    """
    line = [" "] * over.cells
    step = _step(over)
    for moment in range(-(-over.since // step) * step, over.until, step):
        place, label = over.cell(moment), f"|{_label(moment, step)}"
        if place + len(label) <= over.cells:
            line[place : place + len(label)] = label
    return "".join(line)


def _step(over: Scale) -> int:
    """The smallest step of the marks at which they do not touch each other."""
    return next((step for step in _steps() if _fits(step, over)), _IN_DAYS[-1])


def _steps() -> Iterator[int]:
    yield from _WITHIN_A_DAY
    yield from _IN_DAYS


def _fits(step: int, over: Scale) -> bool:
    return step * over.cells // (over.until - over.since) >= len(_label(0, step)) + 2


def _label(moment: int, step: int) -> str:
    """A time of day as exact as the step asks for; the date where a day begins."""
    text = iso(moment)
    if step >= _DAY:
        return text[:10]
    if moment % _DAY == 0 and moment:
        return text[5:10]
    return text[11:16] if step >= 60 * _SECOND else text[11:19]
