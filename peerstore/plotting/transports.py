"""Over what peers were connected, over time: bars by type of connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from peerstore.answers.links import TransportMix, TransportShare
from peerstore.errors import QuestionError
from peerstore.plotting.labels import Labels, plain, whole
from peerstore.plotting.style import (
    EDGE,
    PALE,
    SMALL_SIZE,
    WHITE,
    Look,
    Paper,
    Target,
    number,
    time_axis,
    transport_looks,
    unobserved_bands,
    unobserved_key,
)
from peerstore.plotting.view import NOTHING, View, Watched, asked_window, watched
from peerstore.times import FOREVER, MICROSECOND, duration_micros

if TYPE_CHECKING:
    from peerstore.store import PeerStore

WIDTH, HEIGHT = 10.0, 5.0
LEFT = 0.75
TITLE = "Over what peers were connected"
BARS, MOST_BARS = 60, 2000
BESIDE = 3
MOST_TYPES = 16  # devices name types of connections, and may name any number
DAY = timedelta(days=1)
ROUND = tuple(
    timedelta(seconds=seconds)
    for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080)
    for seconds in (minutes * 60,)
)


class Piece(NamedTuple):
    """A stretch of one bucket in which somebody watched, and its bucket."""

    start: datetime
    end: datetime
    mix: TransportMix


def plot_transports(
    store: PeerStore,
    out: Target,
    every: timedelta | float | None = None,
    peer: str | None = None,
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
    """Draw how many connections of each type held, on average over the known time of each bucket of time; a hatched
    band for what nobody watched.

    ``every`` is the length of the buckets (``None``: a round one that gives at most 60), as of
    :meth:`~peerstore.PeerStore.transports`; ``peer``: of this peer's connections alone. Gives the remarks at the foot.
    """
    paper, view = Paper(out, title, width, height), View(observer, known_at, max_silence)
    labels, window = Labels(store), watched(store, since, until, view)
    name = TITLE if peer is None else f"Over what {labels.of(peer)} was connected"
    if window is None:
        return paper.blank(name, f"{asked_window(since, until)}{view.told(labels)}", NOTHING)
    length = bucket_length(window) if every is None else _length(every)
    if (window.end - window.start) / length > MOST_BARS:
        raise QuestionError(f"a picture has at most {MOST_BARS} bars: give a longer time for each")
    mixes = store.transports(
        length, peer, window.start, window.end, observer, known_at=known_at, max_silence=max_silence
    )
    pieces, others = _folded(list(_pieces(mixes, window)))
    looks = transport_looks(share.type for piece in pieces for share in piece.mix.transports)
    told = [f"{others} types of connection are drawn as one: those that held for the shortest time."] if others else []
    remarks = (*([] if looks else ["No connection was seen."]), *told, *window.remarks)
    with paper.sheet(WIDTH, HEIGHT) as sheet:
        sheet.head(name, f"{window.told(view, labels)}; each bar is {whole(length)}")
        sheet.notes(remarks)
        sheet.legend([*_keys(looks), *([unobserved_key()] if window.unobserved else [])])
        axes = sheet.axes(LEFT, EDGE + 0.1, 0.5)
        axes.set_ylabel("connections at a time, on average", fontsize=SMALL_SIZE, color=PALE)
        axes.grid(axis="y")
        time_axis(axes, window.start, window.end)
        unobserved_bands(axes, window.unobserved)
        _draw(axes, pieces, looks)
    return remarks


def _length(every: timedelta | float) -> timedelta:
    micros = duration_micros(every)
    if not micros:
        raise QuestionError("every must be longer than nothing")
    return timedelta(microseconds=min(micros, FOREVER - 1))


def bucket_length(window: Watched) -> timedelta:
    """A round length of which at most sixty fill the window.

    >>> bucket_length(Watched(datetime(2026, 7, 8, 6), datetime(2026, 7, 8, 22), ()))
    datetime.timedelta(seconds=1800)
    """
    whole = window.end - window.start
    return next((length for length in ROUND if whole <= BARS * length), (whole // (BARS * DAY) + 1) * DAY)


def _pieces(mixes: Iterable[TransportMix], window: Watched) -> Iterable[Piece]:
    """The buckets cut to when somebody watched: nothing is drawn where nobody did."""
    observed = list(window.observed)
    first = 0
    for mix in mixes:
        while first < len(observed) and observed[first][1] <= mix.start:
            first += 1
        for start, end in observed[first:]:
            if start >= mix.end:
                break
            yield Piece(max(start, mix.start), min(end, mix.end), mix)


def _folded(pieces: list[Piece]) -> tuple[list[Piece], int]:
    """The pieces with no more types than can be told apart: those that held longest, and one for all others; and how
    many those others are."""
    totals: Counter[str] = Counter()
    for share in (share for piece in pieces for share in piece.mix.transports):
        totals[share.type] += share.link_time // MICROSECOND
    others = {kind for kind, _ in sorted(totals.items(), key=lambda each: (-each[1], each[0]))[MOST_TYPES:]}
    if not others:
        return pieces, 0
    name = f"{len(others)} other types"
    return [piece._replace(mix=_with_others(piece.mix, others, name)) for piece in pieces], len(others)


def _with_others(mix: TransportMix, others: set[str], name: str) -> TransportMix:
    kept = [share for share in mix.transports if share.type not in others]
    rest = [share for share in mix.transports if share.type in others]
    link_time = sum((share.link_time for share in rest), timedelta())
    only_time = sum((share.only_time for share in rest), timedelta())
    one = TransportShare(name, sum(share.links for share in rest), link_time, only_time)
    return replace(mix, transports=(*kept, one))


def heights(pieces: Sequence[Piece], kind: str) -> list[float]:
    """How many connections of a type held at a time in each piece's bucket, on average over its known time."""
    found = []
    for _, _, mix in pieces:
        times = [share.link_time for share in mix.transports if share.type == kind]
        found.append(sum(times, timedelta()) / mix.known if mix.known else 0.0)
    return found


def _draw(axes: Axes, pieces: Sequence[Piece], looks: Mapping[str, Look]) -> None:
    starts = [number(piece.start) for piece in pieces]
    widths = [(piece.end - piece.start) / DAY for piece in pieces]
    floors = [0.0] * len(pieces)
    spots: dict[str, tuple[float, float, float]] = {}
    for kind, look in looks.items():
        tops = heights(pieces, kind)
        style: dict[str, Any] = {"facecolor": look.color, "edgecolor": WHITE, "hatch": look.hatch, "linewidth": 0.3}
        for place, bar in enumerate(axes.bar(starts, tops, widths, floors, align="edge", zorder=3, **style)):
            bar.set_gid(f"type-{len(spots)}-{place}")
            bar.set_visible(tops[place] > 0)
        spots[kind] = _middle(starts, widths, floors, tops)
        floors = [floor + top for floor, top in zip(floors, tops, strict=True)]
    highest = max(floors, default=0.0) or 1.0
    axes.set_ylim(0, highest * 1.08)
    for kind, (x, y, top) in spots.items():
        if top > highest / 12:  # it has room within its colour
            box = {"facecolor": WHITE, "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
            axes.annotate(plain(kind), (x, y), ha="center", va="center", fontsize=SMALL_SIZE, bbox=box, zorder=5)


def _middle(
    starts: Sequence[float], widths: Sequence[float], floors: Sequence[float], tops: Sequence[float]
) -> tuple[float, float, float]:
    """The place for a name, where the bars beside it are high too; of such, near the middle of the picture. And the
    height of the bar there."""
    middle = (starts[0] + starts[-1] + widths[-1]) / 2

    def fitness(place: int) -> tuple[float, float, float]:
        beside = tops[max(place - BESIDE, 0) : place + BESIDE + 1]
        return round(min(beside), 3), round(tops[place], 3), -abs(starts[place] + widths[place] / 2 - middle)

    best = max(range(len(tops)), key=fitness)
    return starts[best] + widths[best] / 2, floors[best] + tops[best] / 2, tops[best]


def _keys(looks: Mapping[str, Look]) -> list[Patch]:
    return [
        Patch(label=plain(kind), facecolor=look.color, edgecolor=WHITE, hatch=look.hatch, linewidth=0.3)
        for kind, look in looks.items()
    ]
