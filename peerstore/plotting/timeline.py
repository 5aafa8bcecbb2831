"""Who was there over time: a row a peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from peerstore.answers.online import Stretch
from peerstore.plotting.labels import Labels, plural
from peerstore.plotting.rows import HALF_BAR, Rows, axes_of_rows, first_rows, height_of
from peerstore.plotting.style import (
    BLUE,
    DOTS_AN_INCH,
    WHITE,
    Paper,
    Target,
    number,
    time_axis,
    unobserved_bands,
    unobserved_key,
)
from peerstore.plotting.view import NOTHING, View, Watched, asked_window, check_limit, watched
from peerstore.times import format_duration

if TYPE_CHECKING:
    from peerstore.store import PeerStore

WIDTH = 11.0
RIGHT = 0.3
VISIBLE_DOTS = 1.5
TITLE = "Who was there"


def plot_timeline(
    store: PeerStore,
    out: Target,
    peers: Sequence[str] | None = None,
    limit: int = 60,
    since: datetime | None = None,
    until: datetime | None = None,
    observer: str | None = None,
    known_at: datetime | None = None,
    max_silence: timedelta | float | None = None,
    *,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> tuple[str, ...]:
    """Draw when peers were present: a bar for each presence, nothing for an absence, a hatched band over all rows for
    what nobody watched.

    An open mark at the end of a bar: that end was not seen (the window ends, or whoever saw the peer stopped watching).
    Of the ``peers`` named by their keys, in this order; else of those present in ``[since, until)`` (where an end is
    open: from the first observation to the last one), by name. At most ``limit`` rows (1 to 400): the foot of the
    picture says how many more there are. Gives the remarks at its foot.
    """
    paper, view = Paper(out, title, width, height), View(observer, known_at, max_silence)
    check_limit(limit)
    labels, window = Labels(store), watched(store, since, until, view)
    if window is None:
        return paper.blank(TITLE, f"{asked_window(since, until)}{view.told(labels)}", NOTHING)
    rows = first_rows(_rows(store, peers, window, view), labels, limit, peers)
    room = paper.width or WIDTH
    remarks = (*rows.remarks, *window.remarks, *_too_short(rows, window, room))
    with paper.sheet(WIDTH, height_of(rows, remarks)) as sheet:
        sheet.head(TITLE, window.told(view, labels))
        sheet.notes(remarks)
        sheet.legend([*_keys(rows), *([unobserved_key()] if window.unobserved else [])])
        axes = axes_of_rows(sheet, rows, labels, RIGHT)
        time_axis(axes, window.start, window.end)
        unobserved_bands(axes, window.unobserved)
        least = _dot(window, room)
        for place, (_, stretches) in enumerate(rows.shown):
            _draw_row(axes, place, stretches, window, least)
    return remarks


def _rows(
    store: PeerStore, peers: Sequence[str] | None, window: Watched, view: View
) -> Iterator[tuple[str, list[Stretch]]]:
    """The presences of each peer; without names, of those that were present at all."""
    for key in dict.fromkeys(peers) if peers is not None else (None,):
        found = store.timeline(
            key, window.start, window.end, view.observer, known_at=view.known_at, max_silence=view.max_silence
        )
        for peer, stretches in groupby(found, key=lambda stretch: stretch.peer_key):
            present = [stretch for stretch in stretches if stretch.state == "present"]
            if present or key is not None:
                yield key or peer, present


def _dot(window: Watched, inches: float) -> timedelta:
    """How long the shortest stretch is that can be seen."""
    return VISIBLE_DOTS * (window.end - window.start) / (inches * DOTS_AN_INCH)


def _too_short(rows: Rows[list[Stretch]], window: Watched, inches: float) -> tuple[str, ...]:
    dot = _dot(window, inches)
    short = sum(stretch.duration < dot for _, stretches in rows.shown for stretch in stretches)
    if not short:
        return ()
    return (f"{plural(short, 'presence')} of less than {format_duration(dot)} are drawn longer, to be seen at all.",)


def _unseen(stretches: Sequence[Stretch], window: Watched) -> tuple[list[float], list[float]]:
    """Where bars begin and where they end without anybody having seen the peer come or go."""
    after_gap = {end for _, end in window.unobserved} | {window.start}
    begins = [number(stretch.start) for stretch in stretches if stretch.start in after_gap]
    ends = [number(stretch.end) for stretch in stretches if stretch.end_reason != "left"]
    return begins, ends


def _draw_row(axes: Axes, place: int, stretches: Sequence[Stretch], window: Watched, least: timedelta) -> None:
    begins, ends = _unseen(stretches, window)
    bars = [(number(each.start), max(each.duration, least) / timedelta(days=1)) for each in stretches]
    axes.broken_barh(
        bars, (place - HALF_BAR, 2 * HALF_BAR), facecolors=BLUE, linewidth=0, zorder=3, gid=f"present-{place}"
    )
    for spots, marker in ((begins, "<"), (ends, ">")):
        axes.plot(
            *(spots, [place] * len(spots)),
            linestyle="none",
            marker=marker,
            markersize=5,
            markerfacecolor=WHITE,
            markeredgecolor=BLUE,
            markeredgewidth=0.8,
            clip_on=False,
            zorder=4,
        )


def _keys(rows: Rows[list[Stretch]]) -> list[Patch | Line2D]:
    mark = Line2D([], [], color="none", marker=">", markersize=5, markerfacecolor=WHITE, markeredgecolor=BLUE)
    mark.set_label("beginning or end not seen")
    empty = Patch(label="absent", facecolor=WHITE, edgecolor="#bbbbbb", linewidth=0.5)
    return [Patch(label="present", facecolor=BLUE), empty, *([mark] if rows.shown else [])]
