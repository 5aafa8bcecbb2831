"""How every picture looks: the paper, its head and foot, the axis of time, and colours that colour-blind people can
tell apart (Okabe and Ito's), each with a hatch, a line style and a marker of its own for a printer without colour.

Nothing of the run gets into a file: no date, no random id. The same answer drawn by the same version of matplotlib is
the same file.
"""

from __future__ import annotations

import textwrap
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import matplotlib as mpl
from matplotlib import dates as _dates
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text

from peerstore.errors import QuestionError
from peerstore.plotting.labels import LONGEST_TITLE, plain

Target = str | PathLike[str] | BinaryIO

BLACK, WHITE, INK, PALE, FAINT = "#000000", "#ffffff", "#222222", "#666666", "#dddddd"
ORANGE, SKY, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#f0e442"
BLUE, VERMILION, PURPLE = "#0072b2", "#d55e00", "#cc79a7"

DOTS_AN_INCH = 150
SMALLEST, LARGEST = 3.0, 100.0  # inches
MOST_KEYS = 24  # of a legend: devices name types of connections, and may name any number
EDGE, HEAD, LEGEND_ROW, NOTE = 0.2, 0.78, 0.24, 0.17  # inches
HEAD_SIZE, TEXT_SIZE, SMALL_SIZE = 13, 9, 8  # points
CHARACTERS_AN_INCH = 14  # of small text

_FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans", "Noto Emoji", "Unifont")
_LOOK: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": PALE,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["DejaVu Sans"],
    "font.size": TEXT_SIZE,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "legend.fontsize": SMALL_SIZE,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "peerstore",
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": PALE,
    "xtick.labelcolor": INK,
    "xtick.labelsize": SMALL_SIZE,
    "ytick.color": PALE,
    "ytick.labelcolor": INK,
    "ytick.labelsize": SMALL_SIZE,
}
LAST = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)  # matplotlib knows no instant after it
dates: Any = _dates  # it has no types
_ONE_AT_A_TIME = threading.RLock()  # matplotlib's settings belong to the whole process


class Look(NamedTuple):
    """How one of several things is drawn: told apart by colour, and without it."""

    color: str
    line: Any
    hatch: str
    marker: str


LOOKS = (
    Look(BLUE, "-", "", "o"),
    Look(VERMILION, (0, (4, 2)), "\\\\\\\\", "s"),
    Look(GREEN, (0, (1, 1.4)), "----", "^"),
    Look(PURPLE, (0, (6, 2, 1, 2)), "xxxx", "D"),
    Look(ORANGE, (0, (8, 3)), "++++", "v"),
    Look(SKY, (0, (3, 1, 1, 1, 1, 1)), "//", "P"),
    Look(BLACK, (0, (2, 4)), "\\\\", "X"),
    Look(YELLOW, (0, (10, 2, 2, 2, 2, 2)), "||||", "*"),
)
_OF_TRANSPORTS = ("AccessPoint", "Bluetooth", "P2PWiFi", "WebSocket")
UNOBSERVED: dict[str, Any] = {"facecolor": "#f0f0f0", "edgecolor": "#8c8c8c", "hatch": "/////", "linewidth": 0.0}


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name, in the order given; more than there are begin again."""
    return {name: LOOKS[place % len(LOOKS)] for place, name in enumerate(names)}


def transport_looks(types: Iterable[str]) -> dict[str, Look]:
    """A look for each type of connection: those of Ditto always have the same one, others follow by name."""
    given = set(types)
    others = sorted(given - set(_OF_TRANSPORTS))
    everything = looks((*_OF_TRANSPORTS, *others))
    return {name: everything[name] for name in (*_OF_TRANSPORTS, *others) if name in given}


@dataclass(frozen=True)
class Paper:
    """Where a picture goes, and what the caller wants of its size (in inches) and title.

    ``out`` is the name of a file that ends in ``.svg`` or ``.png``, or an open binary file, which gets SVG.
    """

    out: Target
    title: str | None
    width: float | None
    height: float | None

    def __post_init__(self) -> None:
        if self.kind not in ("svg", "png"):
            raise QuestionError(f"a picture is an .svg or a .png, and {str(self.out)!r} ends in neither")
        for name, inches in (("width", self.width), ("height", self.height)):
            if inches is not None and not SMALLEST <= inches <= LARGEST:
                raise QuestionError(f"the {name} is in inches, from {SMALLEST:g} to {LARGEST:g}, and {inches:g} is not")

    @property
    def kind(self) -> Literal["svg", "png"] | str:
        """The format that the name of the file asks for."""
        if isinstance(self.out, (str, PathLike)):
            return Path(self.out).suffix.lower().removeprefix(".")
        return "svg"

    @contextmanager
    def sheet(self, width: float, height: float) -> Iterator[Sheet]:
        """A sheet of this size, unless the caller wants another, to draw on; it is written once the block ends
        well."""
        with _ONE_AT_A_TIME, mpl.rc_context(), warnings.catch_warnings():
            mpl.rcdefaults()  # whatever the user's own settings are
            mpl.rcParams.update(_look(self.kind))
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            figure = Figure(figsize=(self.width or width, self.height or height), facecolor=WHITE)
            sheet = Sheet(figure, FigureCanvasAgg(figure), self.title)
            yield sheet
            self._write(sheet)

    def blank(self, title: str, subtitle: str, message: str, remarks: Sequence[str] = ()) -> tuple[str, ...]:
        """A picture in which nothing can be shown, and that says why; gives its remarks."""
        with self.sheet(7.5, 4.0) as sheet:
            sheet.head(title, subtitle)
            sheet.notes(remarks)
            axes = sheet.axes(EDGE, EDGE, 0.1)
            axes.set_axis_off()
            axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, **UNOBSERVED))
            box: dict[str, Any] = {"facecolor": WHITE, "edgecolor": "none", "pad": 6}
            middle: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
            axes.text(0.5, 0.5, message, fontsize=TEXT_SIZE + 2, bbox=box, **middle)
        return tuple(remarks)

    def _write(self, sheet: Sheet) -> None:
        svg = {"Date": None, "Creator": "peerstore", "Title": sheet.title}
        metadata = {"Software": None} if self.kind == "png" else svg
        drawn = BytesIO()
        sheet.figure.savefig(drawn, format=self.kind, dpi=DOTS_AN_INCH, metadata=metadata)
        if isinstance(self.out, (str, PathLike)):
            Path(self.out).write_bytes(drawn.getvalue())
        else:
            self.out.write(drawn.getvalue())


def _look(kind: str) -> Any:
    """The settings; for a PNG with the fonts that are there (in an SVG, the viewer finds what a letter needs)."""
    there = set(fontManager.get_font_names())
    return _LOOK if kind == "svg" else {**_LOOK, "font.family": [name for name in _FONTS if name in there]}


class Sheet:
    """A figure with a head (title, subtitle, legend) above and notes below; lengths are in inches from its edges."""

    def __init__(self, figure: Figure, canvas: FigureCanvasAgg, title: str | None) -> None:
        self.figure = figure
        self.title = "" if title is None else plain(title, LONGEST_TITLE)
        self._wanted = title is not None
        self._renderer: Any = canvas.get_renderer()  # type: ignore[no-untyped-call]
        self.width, self.height = (float(inches) for inches in figure.get_size_inches())
        self.top, self.bottom = HEAD, EDGE

    def head(self, title: str, subtitle: str) -> None:
        """The title, unless the caller has one, and the line below it, which always tells what the picture rests on."""
        self.title = self.title if self._wanted else title
        self._write(self.title, EDGE, self.height - 0.18, HEAD_SIZE, INK, weight="bold")
        self._write(subtitle, EDGE, self.height - 0.46, TEXT_SIZE, PALE)

    def notes(self, remarks: Sequence[str]) -> None:
        """What must be known of the picture, at its foot."""
        width = int((self.width - 2 * EDGE) * CHARACTERS_AN_INCH)
        lines = [line for remark in remarks for line in textwrap.wrap(remark, width)]
        for place, line in enumerate(reversed(lines)):
            self._write(line, EDGE, EDGE / 2 + place * NOTE, SMALL_SIZE, INK, va="bottom")
        self.bottom += len(lines) * NOTE

    def legend(self, handles: Sequence[Artist]) -> None:
        """The legend: a row or more below the head; of too many entries some are left out, but never the last."""
        if not handles:
            return
        if len(handles) > MOST_KEYS:
            more = Patch(label=f"and {len(handles) - MOST_KEYS + 1} more", facecolor="none", edgecolor="none")
            handles = [*handles[: MOST_KEYS - 2], more, handles[-1]]
        columns = len(handles)
        while columns > 1 and self._legend_width(handles, columns) > self.width - 2 * EDGE:
            columns -= 1
        self._place_legend(handles, columns)
        self.top += LEGEND_ROW * -(-len(handles) // columns)

    def _legend_width(self, handles: Sequence[Artist], columns: int) -> float:
        legend = self._place_legend(handles, columns)
        width = float(legend.get_window_extent(self._renderer).width) / self.figure.dpi
        legend.remove()
        return width

    def _place_legend(self, handles: Sequence[Artist], columns: int) -> Any:
        return self.figure.legend(
            handles=list(handles),
            loc="upper left",
            bbox_to_anchor=(EDGE / self.width, 1 - (self.top - 0.12) / self.height),
            borderaxespad=0,
            borderpad=0,
            ncols=columns,
            columnspacing=1.4,
            handlelength=2.4,
        )

    def axes(self, left: float, right: float, below: float) -> Axes:
        """Axes between the head and the notes, with this much room at their sides and below them."""
        bottom = self.bottom + below
        size = self.width - left - right, max(self.height - self.top - bottom, 0.5)
        place = left / self.width, bottom / self.height, size[0] / self.width, size[1] / self.height
        return self.figure.add_axes(place)

    def text_width(self, texts: Iterable[str], size: float = SMALL_SIZE) -> float:
        """How wide the widest of these texts is."""
        shown = (Text(0, 0, text, fontsize=size, figure=self.figure) for text in texts)
        widths = [float(each.get_window_extent(self._renderer).width) for each in shown]
        return max(widths, default=0.0) / self.figure.dpi

    def _write(
        self, text: str, x: float, y: float, size: float, color: str, va: str = "top", weight: str = "normal"
    ) -> None:
        place = x / self.width, y / self.height
        self.figure.text(*place, text, fontsize=size, color=color, va=va, ha="left", fontweight=weight)


def time_axis(axes: Axes, start: datetime, end: datetime) -> None:
    """An axis of time from ``start`` to ``end``, in UTC."""
    low, high = number(start), min(number(end), number(LAST))
    axes.set_xlim(low, high if high > low else low + 1 / 86400)
    locator = dates.AutoDateLocator(tz=UTC, minticks=4, maxticks=12)
    formats = ["%Y", "%Y-%m", "%m-%d", "%H:%M", "%H:%M", "%S.%f"]
    zeros = ["", "%Y", "%Y-%m", "%m-%d", "%H:%M", "%H:%M"]
    formatter = dates.ConciseDateFormatter(locator, tz=UTC, formats=formats, zero_formats=zeros, show_offset=False)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
    axes.set_xlabel("time (UTC)", loc="right", fontsize=SMALL_SIZE, color=PALE)
    axes.grid(axis="x")


def number(moment: datetime) -> float:
    """An instant on an axis of time."""
    return float(dates.date2num(moment))


def unobserved_bands(axes: Axes, stretches: Iterable[tuple[datetime, datetime]]) -> None:
    """Nobody was watching: a hatched band over the whole height."""
    for place, (start, end) in enumerate(stretches):
        axes.axvspan(number(start), number(end), zorder=1.5, gid=f"unobserved-{place}", **UNOBSERVED)


def unobserved_key() -> Patch:
    """The entry of those bands in a legend."""
    return Patch(label="unobserved: nobody was watching", **UNOBSERVED)
