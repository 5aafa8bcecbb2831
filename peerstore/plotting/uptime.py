"""How much of the time each peer was there: a bar a peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from peerstore.answers.online import Uptime
from peerstore.plotting.labels import Labels, percent
from peerstore.plotting.rows import HALF_BAR, Rows, axes_of_rows, first_rows, height_of
from peerstore.plotting.style import BLUE, PALE, SMALL_SIZE, UNOBSERVED, WHITE, Paper, Target, unobserved_key
from peerstore.plotting.view import NOTHING, View, Watched, asked_window, check_limit, watched
from peerstore.times import format_duration

if TYPE_CHECKING:
    from peerstore.store import PeerStore

WIDTH = 10.0
RIGHT = 2.0
TITLE = "How much of the time each peer was there"
ABSENT_LOOK: dict[str, Any] = {"facecolor": WHITE, "edgecolor": "#8c8c8c", "linewidth": 0.5}


def plot_uptime(
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
    """Draw for how much of ``[since, until)`` each peer was present, absent and unobserved, with the percentage of the
    known time for which it was present.

    Peers, ``limit`` and the window are those of :func:`plot_timeline`, but peers that were there before the window and
    never in it are shown too. Percentages are cut, not rounded: 100 % is always. Gives the remarks at the foot.
    """
    paper, view = Paper(out, title, width, height), View(observer, known_at, max_silence)
    check_limit(limit)
    labels, window = Labels(store), watched(store, since, until, view)
    if window is None:
        return paper.blank(TITLE, f"{asked_window(since, until)}{view.told(labels)}", NOTHING)
    rows = first_rows(_rows(store, peers, window, view), labels, limit, peers)
    remarks = (*rows.remarks, *window.remarks)
    with paper.sheet(WIDTH, height_of(rows, remarks)) as sheet:
        sheet.head(TITLE, window.told(view, labels))
        sheet.notes(remarks)
        absent = Patch(label="absent", **ABSENT_LOOK)
        sheet.legend(
            [Patch(label="present", facecolor=BLUE), absent, *([unobserved_key()] if window.unobserved else [])]
        )
        axes = axes_of_rows(sheet, rows, labels, RIGHT)
        axes.set_xlim(0, 100)
        axes.set_xlabel("percent of the time", loc="right", fontsize=SMALL_SIZE, color=PALE)
        _draw(axes, rows)
    return remarks


def _rows(store: PeerStore, peers: Sequence[str] | None, window: Watched, view: View) -> Iterator[tuple[str, Uptime]]:
    for key in dict.fromkeys(peers) if peers is not None else (None,):
        found = store.uptime(
            key, window.start, window.end, view.observer, known_at=view.known_at, max_silence=view.max_silence
        )
        yield from ((key or uptime.peer_key, uptime) for uptime in found)


def _draw(axes: Axes, rows: Rows[Uptime]) -> None:
    places = range(len(rows.shown))
    ends = [0.0] * len(rows.shown)
    looks: tuple[dict[str, Any], ...] = ({"facecolor": BLUE, "linewidth": 0.0}, ABSENT_LOOK, UNOBSERVED)
    for name, look in zip(("present", "absent", "unobserved"), looks, strict=True):
        parts = [100 * (getattr(uptime, name) / (uptime.until - uptime.since)) for _, uptime in rows.shown]
        for place, bar in enumerate(axes.barh(places, parts, 2 * HALF_BAR, ends, zorder=3, **look)):
            bar.set_gid(f"{name}-{place}")
        ends = [end + part for end, part in zip(ends, parts, strict=True)]
    for place, (_, uptime) in enumerate(rows.shown):
        axes.text(102, place, told(uptime), va="center", fontsize=SMALL_SIZE)


def told(uptime: Uptime) -> str:
    """The share of the known time.

    >>> at, hour = datetime(2026, 7, 8, 12), timedelta(hours=1)
    >>> told(Uptime("till", at, at + hour, hour - timedelta(seconds=1), timedelta(seconds=1), timedelta(0), 1, hour))
    '99.9 % of 1 h 00 min'
    """
    if uptime.share is None:
        return "unknown"
    return f"{percent(uptime.share)} of {format_duration(uptime.present + uptime.absent)}"
