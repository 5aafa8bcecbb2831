"""The mesh at one moment: who was there, over what they were connected, who watched."""

from __future__ import annotations

import math
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from peerstore.errors import QuestionError
from peerstore.model import Connection, Peer
from peerstore.plotting.labels import Labels, clock, listed, plain, plural
from peerstore.plotting.layout import Placed, Places, placed
from peerstore.plotting.style import (
    EDGE,
    INK,
    ORANGE,
    PALE,
    SKY,
    SMALL_SIZE,
    WHITE,
    Paper,
    Sheet,
    Target,
    transport_looks,
)
from peerstore.plotting.view import View
from peerstore.times import format_duration

if TYPE_CHECKING:
    from peerstore.presence import Presence
    from peerstore.store import PeerStore

LONG_AGO = timedelta(days=1)
MOST_PEERS = 1000
CROWD = 60
BEND, MOST_BEND = 0.16, 0.6
LONGEST_LINE = 20
PLACE_INCHES, CROWDED_INCHES = 1.15, 0.85
FRAME = "#bbbbbb"
LEAST_WIDTH, LEAST_HEIGHT = 7.5, 4.0


def plot_mesh(
    store: PeerStore,
    out: Target,
    at: datetime,
    peers: Sequence[str] | None = None,
    observer: str | None = None,
    known_at: datetime | None = None,
    max_silence: timedelta | float | None = None,
    *,
    title: str | None = None,
    width: float | None = None,
    height: float | None = None,
) -> tuple[str, ...]:
    """Draw the mesh at a moment: peers, connections by type, islands apart from each other.

    Bridges to the cloud are squares, watching observers have a ring. Of ``peers`` (keys): these, and whom they are
    connected with. Where nobody was watching the picture says so, and shows nobody. The places of the peers follow from
    the mesh alone. Gives the remarks that stand at the foot of the picture; ``out`` and sizes are told by
    :class:`~peerstore.plotting.style.Paper`. A mesh of more than a thousand peers is a
    :class:`~peerstore.errors.QuestionError`: name some.
    """
    paper = Paper(out, title, width, height)
    presence = store.presence_at(at, observer=observer, known_at=known_at, max_silence=max_silence)
    labels, view = Labels(store), View(observer, known_at, max_silence)
    if not presence.watched:
        return _nobody(paper, presence, labels, view)
    shown, links = _shown(presence, peers)
    if len(shown) > MOST_PEERS:
        raise QuestionError(
            f"{len(shown)} peers are too many for one picture (at most {MOST_PEERS}): name some of them"
        )
    places = placed(shown, links)
    remarks = _remarks(presence, shown, links, labels, peers)
    inches = CROWDED_INCHES if len(shown) > CROWD else PLACE_INCHES
    size = max(places.width * inches + 1, LEAST_WIDTH), max(places.height * inches + 1.6, LEAST_HEIGHT)
    with paper.sheet(*size) as sheet:
        sheet.head(f"The mesh at {clock(at)} UTC", f"{_watchers(presence, labels)}{view.told(labels)}")
        sheet.notes(remarks)
        sheet.legend(_legend(shown, links, presence))
        axes = _canvas(sheet, places)
        _draw_islands(axes, places)
        _draw_links(axes, links, places.places)
        _draw_peers(axes, places.places, shown, presence, labels)
    return remarks


def _shown(presence: Presence, keys: Sequence[str] | None) -> tuple[dict[str, Peer | None], list[Connection]]:
    """The peers to show, ``None`` for an end that is not among the present ones, and the connections between them."""
    wanted = None if keys is None else set(keys)
    links = [link for link in presence.connections if wanted is None or {link.peer1, link.peer2} & wanted]
    ends = {end for link in links for end in (link.peer1, link.peer2)}
    chosen = set(presence.peers) if wanted is None else wanted & set(presence.peers)
    return {key: presence.peers.get(key) for key in sorted(ends | chosen)}, links


def _remarks(
    presence: Presence,
    shown: Mapping[str, Peer | None],
    links: Sequence[Connection],
    labels: Labels,
    keys: Sequence[str] | None,
) -> tuple[str, ...]:
    remarks = []
    left_out = len(presence.peers) - sum(peer is not None for peer in shown.values())
    if left_out:
        remarks.append(f"{left_out} more present peers are not shown: only the named ones, and whom they connect to.")
    missing = [labels.of(key) for key in keys or () if key not in presence.peers]
    if missing:
        remarks.append(f"Not present at that moment: {listed(missing)}.")
    one_sided = sum(len(link.listed_by) < 2 and link.peer1 != link.peer2 for link in links)
    if one_sided:
        remarks.append(f"Connections listed by one of their ends only: {one_sided}.")
    aged = [(state.age, state.observer) for state in presence.observers if state.watching and state.age is not None]
    old = [f"{labels.of(key)} ({format_duration(age)})" for age, key in sorted(aged, reverse=True) if age > LONG_AGO]
    if old:
        remarks.append(f"States older than a day are still counted: {listed(old)}.")
    return tuple(remarks)


def _watchers(presence: Presence, labels: Labels) -> str:
    watching = [state.observer for state in presence.observers if state.watching]
    names = [labels.of(key) for key in sorted(watching, key=labels.order)]
    return f"watching: {len(watching)} of {plural(len(presence.observers), 'observer')} ({listed(names, 6)})"


def _nobody(paper: Paper, presence: Presence, labels: Labels, view: View) -> tuple[str, ...]:
    """The picture of a moment at which nobody was watching."""
    untils = [state.watched_until for state in presence.observers if state.watched_until is not None]
    since = f" since {clock(max(untils))} UTC" if untils else "; there is no observation by then"
    remark = f"Nobody was watching at {clock(presence.at)} UTC{since}: who was there is unknown, which is not absent."
    told = f"watching: 0 of {plural(len(presence.observers), 'observer')}{view.told(labels)}"
    return paper.blank(f"The mesh at {clock(presence.at)} UTC", told, "unobserved: nobody was watching", [remark])


def _canvas(sheet: Sheet, mesh: Placed) -> Axes:
    axes = sheet.axes(EDGE, EDGE, 0.05)
    axes.set_axis_off()
    axes.set_aspect("equal", anchor="N")
    axes.set_xlim(0, max(mesh.width, 1))
    axes.set_ylim(-max(mesh.height, 1), 0)
    return axes


def _draw_islands(axes: Axes, mesh: Placed) -> None:
    """A frame around each island, where there are several."""
    for x, y, width, height, peers in mesh.boxes if len(mesh.boxes) > 1 else ():
        axes.add_patch(
            Rectangle((x + 0.04, y + 0.04), width - 0.08, height - 0.08, fill=False, edgecolor=FRAME, linewidth=0.6)
        )
        told = f"island of {peers} peers" if peers > 1 else "alone"
        axes.text(x + 0.1, y + height - 0.1, told, fontsize=SMALL_SIZE - 1, color=PALE, va="top")


def _draw_links(axes: Axes, links: Iterable[Connection], places: Places) -> None:
    """Each connection as a line of its type's look; parallel ones as curves beside each other."""
    pairs: dict[tuple[str, str], list[Connection]] = defaultdict(list)
    for link in links:
        pairs[link.peer1, link.peer2].append(link)
    curves: dict[str, list[Any]] = defaultdict(list)
    for (one, other), parallel in sorted(pairs.items()):
        for place, link in enumerate(sorted(parallel, key=lambda each: (each.type, each.id))):
            bend = (place - (len(parallel) - 1) / 2) * min(BEND, MOST_BEND / len(parallel))
            curves[link.type].append(
                _loop(places[one], place) if one == other else _curve(places[one], places[other], bend)
            )
    for kind, look in transport_looks(curves).items():
        lines = LineCollection(curves[kind], colors=look.color, linestyles=[look.line], linewidths=1.3, zorder=2)
        axes.add_collection(lines)


def _curve(start: tuple[float, float], end: tuple[float, float], bend: float) -> Any:
    """A line between two points, bent to its side."""
    one, other = numpy.array(start), numpy.array(end)
    across = numpy.array([one[1] - other[1], other[0] - one[0]])
    length = float(numpy.hypot(*across)) or 1.0
    middle = (one + other) / 2 + across / length * bend * 2
    steps = numpy.linspace(0, 1, 2 if bend == 0 else 17)[:, None]
    return (1 - steps) ** 2 * one + 2 * (1 - steps) * steps * middle + steps**2 * other


def _loop(at: tuple[float, float], place: int) -> Any:
    """A peer's connection with itself: a loop above it."""
    turns = numpy.linspace(0, 2 * math.pi, 25)
    radius = 0.12 + 0.05 * place
    return numpy.column_stack([at[0] + radius * numpy.sin(turns), at[1] + radius * (1 - numpy.cos(turns))])


class Kind(NamedTuple):
    """How peers of one kind are drawn."""

    label: str
    marker: str
    color: str
    edge: str


PLAIN = Kind("peer", "o", SKY, INK)
BRIDGE = Kind("peer with a link to the cloud", "s", ORANGE, INK)
UNKNOWN = Kind("end of a connection, itself not seen", "X", WHITE, PALE)
RING = "observer, watching"


def _kind(peer: Peer | None) -> Kind:
    if peer is None:
        return UNKNOWN
    return BRIDGE if peer.is_connected_to_cloud else PLAIN


def _draw_peers(
    axes: Axes, places: Places, shown: Mapping[str, Peer | None], presence: Presence, labels: Labels
) -> None:
    size = 60 if len(shown) > CROWD else 130
    for kind in (PLAIN, BRIDGE, UNKNOWN):
        spots = [places[key] for key, peer in shown.items() if _kind(peer) is kind]
        if spots:
            x, y = zip(*spots, strict=True)
            looks: dict[str, Any] = {"marker": kind.marker, "c": kind.color, "edgecolors": kind.edge, "linewidths": 0.9}
            axes.scatter(x, y, size, zorder=4, **looks)
    watching = _watching(presence)
    rings = [places[key] for key in shown if key in watching]
    if rings:
        x, y = zip(*rings, strict=True)
        axes.scatter(x, y, size * 2.6, marker="o", facecolors="none", edgecolors=INK, linewidths=1.4, zorder=3)
    font = SMALL_SIZE - 2 if len(shown) > CROWD else SMALL_SIZE
    box = {"facecolor": WHITE, "alpha": 0.75, "edgecolor": "none", "pad": 0.4}
    for key in shown:
        drop = -(math.sqrt(size * 2.6 if key in watching else size) / 2 + 2)
        axes.annotate(
            _lines(labels.of(key)),
            places[key],
            (0, drop),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=font,
            bbox=box,
            zorder=5,
        )


def _lines(label: str) -> str:
    """A label in as many lines as it needs to be no wider than its place."""
    return label if len(label) <= LONGEST_LINE else "\n".join(textwrap.wrap(label, LONGEST_LINE))


def _watching(presence: Presence) -> set[str]:
    return {state.observer for state in presence.observers if state.watching}


def _legend(shown: Mapping[str, Peer | None], links: Sequence[Connection], presence: Presence) -> list[Artist]:
    """What is there, each with its number."""
    return [*_peer_keys(shown, presence), *_link_keys(links)]


def _peer_keys(shown: Mapping[str, Peer | None], presence: Presence) -> Iterator[Artist]:
    counts = Counter(_kind(peer) for peer in shown.values())
    for kind in (PLAIN, BRIDGE, UNKNOWN):
        if counts[kind]:
            yield Line2D(
                *([], []),
                color=kind.color,
                marker=kind.marker,
                markeredgecolor=kind.edge,
                linestyle="none",
                label=f"{kind.label} ({counts[kind]})",
            )
    rings = len(_watching(presence) & set(shown))
    if rings:
        yield Line2D(
            *([], []),
            color="none",
            marker="o",
            markersize=10,
            markeredgecolor=INK,
            markeredgewidth=1.4,
            linestyle="none",
            label=f"{RING} ({rings})",
        )


def _link_keys(links: Sequence[Connection]) -> Iterator[Artist]:
    counts = Counter(link.type for link in links)
    for kind, look in transport_looks(counts).items():
        yield Line2D([], [], color=look.color, linestyle=look.line, label=f"{plain(kind)} ({counts[kind]})")
