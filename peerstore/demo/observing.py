"""Four devices record what they see: from the events of the day to the observations that they deliver.

Each observer keeps its own :class:`~peerstore.demo.mesh.Picture` of the mesh, into which news comes a little after the
event. What it delivers has the SDK's rhythm: at once when something changes, at most once a second, and the same again
after a while without change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import chain, pairwise
from typing import Any

from peerstore.demo.day import DAY, HOUR, MINUTE, SECOND, Event, clock, events
from peerstore.demo.mesh import Graph, Picture, dice

MAX_SILENCE_SECONDS = 45
CLOSING_TIME = clock("22:00")

Envelope = dict[str, Any]
View = tuple[int, Graph | None]
"""What an observer sees from a moment on (milliseconds since midnight); None while its device is down."""


@dataclass(frozen=True)
class DemoObserver:
    """A device that records, from ``since`` until it sends a stop marker at ``until`` (None: it never does)."""

    device: str
    since: str
    until: str | None
    uploads_late: bool = False


OBSERVERS = (
    DemoObserver("sim-office-1", "06:30", "22:00"),
    DemoObserver("sim-kitchen-1", "06:30", None),
    DemoObserver("sim-till-3", "10:00", "21:00"),
    DemoObserver("sim-manager-tablet", "08:00", "18:30", uploads_late=True),
)


def demo_observations(seed: int = 2026) -> Iterator[Envelope]:
    """The envelopes of the simulated day, as the store receives them: live ones by time, then those uploaded late.

    The same seed gives the same envelopes, byte for byte, on every platform. An envelope that repeats an unchanged
    graph holds the very same object, so treat graphs as read-only.
    """
    yield from live_observations(seed)
    yield from late_observations(seed)


def live_observations(seed: int = 2026) -> Iterator[Envelope]:
    """The envelopes of the observers that upload as they record, merged by time."""
    happened = events(seed)
    live = [_envelopes(observer, happened, seed) for observer in OBSERVERS if not observer.uploads_late]
    return merge(*live, key=_observed_at)


def late_observations(seed: int = 2026) -> Iterator[Envelope]:
    """The envelopes of the observer that uploads its whole day after closing time."""
    happened = events(seed)
    for observer in OBSERVERS:
        if observer.uploads_late:
            yield from _envelopes(observer, happened, seed)


def _observed_at(envelope: Envelope) -> str:
    at: str = envelope["observedAt"]
    return at


def _envelopes(observer: DemoObserver, happened: Iterable[Event], seed: int) -> Iterator[Envelope]:
    end = clock(observer.until) if observer.until else CLOSING_TIME
    views = _from_start(_changes(_views(observer.device, happened, seed)), clock(observer.since))
    sequence = 0
    for at, graph in _with_repetitions(_throttled(views, end), end):
        yield {
            "observedAt": _iso(at),
            "graph": graph,
            "sequence": sequence,
            "maxSilenceSeconds": MAX_SILENCE_SECONDS,
        }
        sequence += 1
    if observer.until:
        key = Picture(seed).keys[observer.device]
        yield {"observedAt": _iso(end), "graph": None, "observer": key, "sequence": sequence}


def _views(device: str, happened: Iterable[Event], seed: int) -> Iterator[View]:
    """What the device sees each time that news has reached it."""
    picture = Picture(seed)
    for at, event in _news(device, happened, seed):
        event.happen(picture)
        yield at, picture.graph(device)


def _news(device: str, happened: Iterable[Event], seed: int) -> list[tuple[int, Event]]:
    """When the device hears of each event: of its own at once, of others within a second, unless the news is late."""
    chance = dice(seed, "news", device)
    heard = []
    for event in happened:
        usual = 20 if event.concerns(device) else chance.randint(100, 900)
        heard.append((event.at + event.late.get(device, usual), event))
    return sorted(heard, key=lambda news: news[0])


def _changes(views: Iterable[View]) -> Iterator[View]:
    """The views that differ from the one before."""
    before: Graph | None = None
    for at, graph in views:
        if graph != before:
            yield at, graph
            before = graph


def _from_start(views: Iterable[View], start: int) -> Iterator[View]:
    """The views from ``start`` on; what is seen when the recording starts is the first of them."""
    first: Graph | None = None
    waiting = True
    for at, graph in views:
        if at <= start:
            first = graph
            continue
        if waiting:
            yield start, first
            waiting = False
        yield at, graph


def _throttled(views: Iterable[View], end: int) -> Iterator[View]:
    """At most one delivery a second: changes that come sooner wait, and the last of them is delivered."""
    last = -SECOND
    for (at, graph), (following, _) in pairwise(chain(views, [(end, None)])):
        due = at if graph is None else max(at, last + SECOND)
        if due < min(following, end):
            yield due, graph
            last = due if graph is not None else last


def _with_repetitions(deliveries: Iterable[View], end: int) -> Iterator[tuple[int, Graph]]:
    """Each delivery, and the same again in the rhythm of the hour, but not within a second of the one that follows."""
    for (at, graph), (following, _) in pairwise(chain(deliveries, [(end, None)])):
        if graph is None:
            continue
        yield at, graph
        repeated = at + _rhythm(at)
        while repeated < following - SECOND:
            yield repeated, graph
            repeated += _rhythm(repeated)


def _rhythm(at: int) -> int:
    """The time until an unchanged graph is delivered again: the SDK's 15 s around the split, else 30 s to save room."""
    return 15 * SECOND if clock("13:30") <= at < clock("14:30") else 30 * SECOND


def _iso(at: int) -> str:
    """Milliseconds since midnight as an instant of the day.

    >>> _iso(50_610_250)
    '2026-07-08T14:03:30.250Z'
    """
    seconds, milliseconds = divmod(at, SECOND)
    hours, minutes = at // HOUR, at % HOUR // MINUTE
    return f"{DAY}T{hours:02}:{minutes:02}:{seconds % 60:02}.{milliseconds:03}Z"
