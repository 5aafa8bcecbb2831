"""How values spread over the peers: how many had had each value by when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from peerstore.canonical import ABSENT, Json, dumps
from peerstore.plotting.labels import Labels, natural, plain, plural
from peerstore.plotting.style import (
    EDGE,
    LOOKS,
    PALE,
    SMALL_SIZE,
    Look,
    Paper,
    Sheet,
    Target,
    looks,
    number,
    time_axis,
    unobserved_bands,
    unobserved_key,
)
from peerstore.plotting.view import NOTHING, View, Watched, asked_window, watched

if TYPE_CHECKING:
    from peerstore.store import PeerStore

WIDTH, HEIGHT = 10.0, 5.0
LEFT = 0.75
LINE_INCHES = 0.17
MOST_CURVES = len(LOOKS)

Curves = dict[str, list[datetime]]


def plot_rollout(
    store: PeerStore,
    out: Target,
    path: str = "/sdk_version",
    value: Json = ABSENT,
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
    """Draw how many peers had been known with each value at ``path``, by when: a step for each peer's first time.

    ``path`` is a JSON Pointer within the peer, as in ``metadata_changes``; ``value``: its curve alone. A curve never
    falls: a peer that has gone on to another value still counts. It begins with the peers that had had the value before
    ``since``. What changed while nobody was watching shows as a step at the end of the hatched band. The eight values
    that most peers have had are drawn; the foot says how many more there are. Gives the remarks at the foot.
    """
    paper, view = Paper(out, title, width, height), View(observer, known_at, max_silence)
    labels, window = Labels(store), watched(store, since, until, view)
    name = f"How many peers have had which {plain(path)}"
    if window is None:
        return paper.blank(name, f"{asked_window(since, until)}{view.told(labels)}", NOTHING)
    found = store.rollout(path, value, until=window.end, observer=observer, known_at=known_at, max_silence=max_silence)
    reached: Curves = defaultdict(list)
    for each in found:
        reached[told(each.value)].append(each.at)
    curves = _most_frequent(reached)
    remarks = (*_remarks(path, reached, curves), *window.remarks)
    with paper.sheet(WIDTH, HEIGHT) as sheet:
        sheet.head(name, window.told(view, labels))
        sheet.notes(remarks)
        chosen = looks(curves)
        sheet.legend([*_keys(chosen), *([unobserved_key()] if window.unobserved else [])])
        ends = {text: f"{text}: {len(times)}" for text, times in curves.items()}
        axes = sheet.axes(LEFT, EDGE + sheet.text_width(ends.values()) + 0.25, 0.5)
        _frame(axes, window, max(map(len, curves.values()), default=1))
        for text, times in curves.items():
            _draw(axes, times, chosen[text], window)
        _name_ends(sheet, axes, curves, ends, chosen)
    return remarks


def told(value: Json) -> str:
    """A value in a word: a text without quotes, unless it would be taken for another value without them.

    >>> told("5.1.0"), told(5), told("5"), told({"a": 1})
    ('5.1.0', '5', '"5"', '{"a":1}')
    """
    text = dumps(value)
    if isinstance(value, str) and value and not _is_json(value):
        text = value
    return plain(text)


def _is_json(text: str) -> bool:
    return text in ("true", "false", "null") or text[0] in '{["' or text.removeprefix("-").isdecimal()


def _most_frequent(reached: Curves) -> Curves:
    order = sorted(reached, key=lambda text: (-len(reached[text]), natural(text)))
    return {text: reached[text] for text in sorted(order[:MOST_CURVES], key=natural)}


def _remarks(path: str, reached: Curves, curves: Curves) -> tuple[str, ...]:
    if not reached:
        return (f"No peer was known to have a value at {plain(path)}.",)
    left_out = len(reached) - len(curves)
    return (f"And {plural(left_out, 'more value')}: only the most frequent are shown.",) if left_out else ()


def _frame(axes: Axes, window: Watched, highest: int) -> None:
    axes.set_ylim(0, highest * 1.08)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_ylabel("peers that have had it", fontsize=SMALL_SIZE, color=PALE)
    axes.grid(axis="y")
    time_axis(axes, window.start, window.end)
    unobserved_bands(axes, window.unobserved)


def _draw(axes: Axes, times: Sequence[datetime], look: Look, window: Watched) -> None:
    """A step up at each first time, from the window's start to its end."""
    steps = sorted(max(at, window.start) for at in times)
    x = [window.start, *steps, window.end]
    y = [0, *range(1, len(steps) + 1), len(steps)]
    axes.step(
        [number(at) for at in x],
        y,
        where="post",
        color=look.color,
        linestyle=look.line,
        linewidth=1.8,
        zorder=3,
        clip_on=False,
    )
    spots = [number(at) for at in steps], range(1, len(steps) + 1)
    axes.plot(*spots, linestyle="none", marker=look.marker, markersize=4, color=look.color, zorder=3.5, clip_on=False)


def _name_ends(sheet: Sheet, axes: Axes, curves: Curves, names: Mapping[str, str], chosen: Mapping[str, Look]) -> None:
    """The value and the count at the right end of each curve, none upon another."""
    low, high = axes.get_ylim()
    line = LINE_INCHES / (axes.get_position().height * sheet.height) * (high - low)
    floor = low - line
    for text in sorted(curves, key=lambda each: len(curves[each])):
        floor = max(floor + line, float(len(curves[text])))
        beside: dict[str, Any] = {
            "xycoords": axes.get_yaxis_transform(),
            "textcoords": "offset points",
            "annotation_clip": False,
        }
        axes.annotate(names[text], (1.0, floor), (14, 0), va="center", fontsize=SMALL_SIZE, **beside)
        look: dict[str, Any] = {
            "marker": chosen[text].marker,
            "color": chosen[text].color,
            "markersize": 4,
            "linestyle": "none",
        }
        away = ScaledTranslation(8 / 72, 0, sheet.figure.dpi_scale_trans)
        axes.plot(1.0, floor, transform=axes.get_yaxis_transform() + away, clip_on=False, **look)


def _keys(chosen: Mapping[str, Look]) -> list[Line2D]:
    return [
        Line2D(
            [], [], color=look.color, linestyle=look.line, linewidth=1.8, marker=look.marker, markersize=4, label=text
        )
        for text, look in chosen.items()
    ]
