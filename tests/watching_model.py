"""By brute force over the model's view: coverage, its gaps, the observers' clocks, and where observers disagree."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import partial
from itertools import combinations, groupby, pairwise
from statistics import median
from typing import Any, NamedTuple

from tests.model import MISSING, Graph, Link, View, differences, freeze

Window = tuple[int | None, int | None]
Subject = tuple[Any, ...]
"""("peer", key), ("attribute", key, path), ("connection", link) or ("listing", link, the end that lists it)."""

Stretch = tuple[int, int, dict[Subject, dict[str, Hashable]]]

ENDLESS = 10**18


class Watched(NamedTuple):
    """One observer was watching over ``[start, end)``."""

    observer: str
    start: int
    end: int | None
    reason: str | None
    observations: int
    longest: int | None


class Gap(NamedTuple):
    observer: str | None
    start: int
    end: int | None
    reason: str | None


class Skew(NamedTuple):
    observer: str
    reference: str
    offset: float
    spread: float
    samples: int


class Disagreed(NamedTuple):
    """A disagreement over time; ``sides``: each side, with the observers that took it for longest."""

    subject: Subject
    sides: frozenset[tuple[Hashable, frozenset[str]]]
    start: int
    end: int | None
    held_before: bool
    reason: str | None


# Coverage.


def coverage(view: View, window: Window = (None, None)) -> list[Watched]:
    """Every span of watching that overlaps the window."""
    return [
        span for observer in view.said for span in _spans(view, observer) if _overlaps(span.start, span.end, window)
    ]


def _spans(view: View, observer: str) -> Iterator[Watched]:
    start = None
    for point in [*view.change_points(), None]:
        watching = point is not None and view.graph(observer, point) is not None
        if watching and start is None:
            start = point
        elif start is not None and not watching:
            reason = None if point is None else view.stop_reason(observer, point)
            inside = [said for said in view.said[observer] if start <= said.observed_at < (point or ENDLESS)]
            times = _times(view, observer, start, point, reason)
            longest = max((there - here for here, there in pairwise(times)), default=None)
            graphs = sum(said.graph is not None for said in inside)
            yield Watched(observer, start, point, reason, graphs, longest)
            start = None


def _times(view: View, observer: str, start: int, end: int | None, reason: str | None) -> list[int]:
    """When an observer spoke in a span; a stop marker at its end is one of them."""
    times = [said.observed_at for said in view.said[observer] if said.observed_at >= start]
    return [at for at in times if end is None or at < end or (at == end and reason == "stopped")]


def _overlaps(start: int, end: int | None, window: Window) -> bool:
    since, until = window
    return (until is None or start < until) and (since is None or end is None or end > since)


def measured(view: View, window: Window) -> tuple[int, int] | None:
    times = [said.observed_at for stored in view.said.values() for said in stored]
    if not times:
        return None
    since, until = window
    found = (min(times) if since is None else since, max(times) if until is None else until)
    return found if found[0] < found[1] else None


def gaps_of_observers(view: View, window: Window, longer_than: int) -> list[Gap]:
    """The gaps of each observer after its first observation, and its silences where a length is given."""
    if None not in window and window[0] == window[1]:
        return []
    found: list[Gap] = []
    for observer in view.said:
        spans = list(_spans(view, observer))
        for span, following in zip(spans, [*spans[1:], None], strict=False):
            if span.end is not None:
                found.append(Gap(observer, span.end, following and following.start, span.reason))
            times = _times(view, observer, span.start, span.end, span.reason)
            found += [Gap(observer, here, there, "quiet") for here, there in pairwise(times) if longer_than]
    return [
        gap
        for gap in found
        if _overlaps(gap.start, gap.end, window) and (gap.end is None or gap.end - gap.start > longer_than)
    ]


def gaps_of_all(view: View, window: Window, longer_than: int) -> list[Gap]:
    """The stretches of the measured window in which nobody was watching."""
    limits = measured(view, window)
    if limits is None:
        return []
    found = []
    dark = [piece for piece in pieces(view, *limits) if not view.presence(piece[0]).watching]
    for start, end in _joined(dark):
        ceased = view.presence(start - 1).watching if start > limits[0] else set()
        reasons = {view.stop_reason(observer, start) for observer in ceased}
        reason = "stopped" if "stopped" in reasons else min(reasons, default=None)
        if end - start > longer_than:
            found.append(Gap(None, start, end, reason))
    return found


def watched_in(view: View, window: Window) -> list[tuple[str | None, int, int]]:
    """(observer, how long it was watching in the measured window, in how many stretches); last: anybody."""
    limits = measured(view, window)
    if limits is None:
        return []
    found: list[tuple[str | None, int, int]] = []
    for observer in [*view.said, None]:
        lit = [
            piece
            for piece in pieces(view, *limits)
            if (view.presence(piece[0]).watching if observer is None else view.graph(observer, piece[0]))
        ]
        if observer is None:
            stretches = _joined(lit)
        else:
            stretches = [
                (max(span.start, limits[0]), min(span.end or ENDLESS, limits[1]))
                for span in _spans(view, observer)
                if _overlaps(span.start, span.end, limits)
            ]
        found.append((observer, sum(end - start for start, end in lit), len(stretches)))
    return found


def pieces(view: View, since: int, until: int) -> Iterator[tuple[int, int]]:
    return pairwise([since, *(point for point in view.change_points() if since < point < until), until])


def _joined(found: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in found:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


# Clocks.


def skews(view: View, window: Window, within: int) -> list[Skew]:
    since, until = window
    reports = {
        observer: [
            (point, what)
            for point in view.change_points()
            if (since is None or since <= point) and (until is None or point < until)
            for what in _reported(view.graph(observer, point - 1), view.graph(observer, point))
        ]
        for observer in view.said
    }
    found = []
    for one, other in combinations(sorted(view.said), 2):
        differences = [
            here - there
            for here, what in reports[one]
            for there, same in reports[other]
            if what == same
            and abs(here - there) <= within
            and _only_one(reports[one], what, there, within)
            and _only_one(reports[other], what, here, within)
        ]
        if len(differences) >= 3:
            middle = median(differences)
            spread = median(abs(each - middle) for each in differences)
            found.append(Skew(one, other, middle, spread, len(differences)))
    return found


def _only_one(reports: list[tuple[int, Hashable]], what: Hashable, at: int, within: int) -> bool:
    return sum(same == what and abs(time - at) <= within for time, same in reports) == 1


def _reported(before: Graph | None, after: Graph | None) -> Iterator[Hashable]:
    """What a graph tells that was not so in the one before; while an observer is watching."""
    if before is None or after is None:
        return
    parts: list[tuple[Mapping[Any, Any], Mapping[Any, Any]]]
    parts = [(before.peers, after.peers), (before.connections, after.connections)]
    for old, new in parts:
        for thing in old.keys() | new.keys():
            was, now = (freeze(graph.get(thing, MISSING)) for graph in (old, new))
            if was != now:
                yield (thing, now)


# Disagreements.


def told(view: View, t: int) -> dict[Subject, dict[str, Hashable]]:
    """What the watching observers disagree about, and which side each of them takes."""
    graphs = {observer: graph for observer in view.said if (graph := view.graph(observer, t)) is not None}
    found: dict[Subject, dict[str, Hashable]] = {}
    for kind, what in (("peer", "peers"), ("connection", "connections")):
        for thing in {thing for graph in graphs.values() for thing in getattr(graph, what)}:
            sides = {observer: thing in getattr(graph, what) for observer, graph in graphs.items()}
            if len(set(sides.values())) > 1:
                found[kind, thing] = dict(sides)
    for peer in {peer for graph in graphs.values() for peer in graph.peers}:
        holding = {observer: graph.peers[peer] for observer, graph in graphs.items() if peer in graph.peers}
        for path in _differing(holding.values()):
            found["attribute", peer, path] = {who: freeze(at_path(each, path)) for who, each in holding.items()}
    for observer, graph in graphs.items():
        for subject in _one_sided(graph):
            found.setdefault(subject, {})[observer] = True
    return found


def _differing(documents: Iterable[Any]) -> set[str]:
    paths = {path for one, other in combinations(documents, 2) for path, *_ in differences(one, other)}
    return paths - {"/is_compatible"}


def _one_sided(graph: Graph) -> Iterator[Subject]:
    for link, listed_by in graph.connections.items():
        lister = alone(link, listed_by, graph)
        if lister is not None:
            yield ("listing", link, lister)


def alone(link: Link, listed_by: frozenset[str], graph: Graph) -> str | None:
    """The end that lists a connection alone while the other end is there."""
    ends = set(link[:2])
    listers = ends & listed_by
    if len(ends) == 2 and len(listers) == 1 and ends - listers <= graph.peers.keys():
        return next(iter(listers))
    return None


def at_path(value: Any, path: str) -> Any:
    for step in path.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        value = value.get(name, MISSING) if isinstance(value, Mapping) else MISSING
    return value


def disagreements(view: View, window: Window) -> list[Disagreed]:
    since, until = window
    points = view.change_points()
    begin = points[0] - 1 if since is None else since
    end = max(points[-1], begin) + ENDLESS if until is None else until
    if begin >= end:
        return []
    stretches = [(start, stop, told(view, start)) for start, stop in pieces(view, begin, end)]
    before = {} if since is None else told(view, since - 1)
    subjects = {subject for *_, subjects in stretches for subject in subjects}
    found = []
    for subject in subjects:
        for held, run in groupby(stretches, partial(_holds, subject)):
            if held:
                found.append(_run(view, subject, list(run), end, begin, subject in before))
    return found


def _holds(subject: Subject, stretch: Stretch) -> bool:
    return subject in stretch[2]


def _run(
    view: View,
    subject: Subject,
    run: list[Stretch],
    end: int,
    begin: int,
    before: bool,
) -> Disagreed:
    totals: dict[str, dict[Hashable, int]] = {}
    for start, stop, subjects in run:
        for observer, side in subjects[subject].items():
            taken = totals.setdefault(observer, {})
            taken[side] = taken.get(side, 0) + stop - start
    longest = {observer: max(taken, key=taken.__getitem__) for observer, taken in totals.items()}
    sides = {side for taken in totals.values() for side in taken}
    named = frozenset((side, frozenset(who for who in longest if longest[who] == side)) for side in sides)
    start, stop = run[0][0], run[-1][1]
    reason = None if stop == end else _end_reason(view, subject, stop)
    return Disagreed(subject, named, start, None if stop == end else stop, start == begin and before, reason)


def _end_reason(view: View, subject: Subject, t: int) -> str:
    """``agreed`` if an observer that goes on watching tells something new of the thing, else why one stopped."""
    thing = subject[1]
    reasons = set()
    for observer in view.said:
        before, after = view.graph(observer, t - 1), view.graph(observer, t)
        if before is not None and after is None:
            reasons.add(view.stop_reason(observer, t))
        elif before is not None and after is not None and _view_of(thing, before) != _view_of(thing, after):
            return "agreed"
    return "stopped" if "stopped" in reasons else "silence"


def _view_of(thing: Any, graph: Graph) -> Hashable:
    if isinstance(thing, str):
        return freeze(graph.peers.get(thing, MISSING))
    if thing not in graph.connections:
        return None
    return (graph.connections[thing], thing[0] in graph.peers, thing[1] in graph.peers)
