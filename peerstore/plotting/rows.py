"""Pictures with a row a peer: which peers, in which order, and their names at the left."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from matplotlib.axes import Axes

from peerstore.plotting.labels import Labels, plural
from peerstore.plotting.style import EDGE, HEAD, LEGEND_ROW, NOTE, SMALL_SIZE, Sheet

ROW_INCHES = 0.21
BELOW, ABOVE = 0.5, 0.25  # for the axis of time, and for its repetition above many rows
TALL = 30
HALF_BAR = 0.36

T = TypeVar("T")


class Rows(NamedTuple, Generic[T]):
    """The rows of a picture from the top, and how many peers there was no room for."""

    shown: list[tuple[str, T]]
    left_out: int

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is not shown is told."""
        if not self.shown:
            return ("No peer was seen.",)
        if not self.left_out:
            return ()
        return (f"And {self.left_out} more: only the first {plural(len(self.shown), 'peer')} by name are shown.",)


def first_rows(found: Iterable[tuple[str, T]], labels: Labels, limit: int, peers: Sequence[str] | None) -> Rows[T]:
    """The first rows by name, or in the order in which the peers are named; no more than ``limit`` are kept at once."""
    places = {key: place for place, key in enumerate(dict.fromkeys(peers or ()))}
    count = 0

    def counted() -> Iterator[tuple[str, T]]:
        nonlocal count
        for row in found:
            count += 1
            yield row

    def order(row: tuple[str, T]) -> tuple[object, ...]:
        return (places[row[0]],) if places else labels.order(row[0])

    shown = heapq.nsmallest(limit, counted(), key=order)
    return Rows(shown, count - len(shown))


def height_of(rows: Rows[T], remarks: Sequence[str]) -> float:
    """How high a picture with these rows is."""
    above = ABOVE if len(rows.shown) > TALL else 0.0
    return HEAD + LEGEND_ROW + above + max(len(rows.shown), 2) * ROW_INCHES + BELOW + EDGE + NOTE * len(remarks)


def axes_of_rows(sheet: Sheet, rows: Rows[T], labels: Labels, right: float) -> Axes:
    """Axes with the names of the peers at the left; row ``n`` is at the height ``n``."""
    names = [labels.of(key) for key, _ in rows.shown]
    tall = len(names) > TALL
    sheet.top += ABOVE if tall else 0.0
    axes = sheet.axes(EDGE + sheet.text_width(names) + 0.2, right, BELOW)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.tick_params(axis="x", top=tall, labeltop=tall, labelsize=SMALL_SIZE)
    axes.spines["left"].set_visible(False)
    for place in range(len(names)):
        axes.axhline(place, color="#eeeeee", linewidth=0.5, zorder=0.5)
    return axes
