"""Answers about the fleet by brute force, from their definitions and :class:`tests.model.View` alone.

Instants are integer microseconds; a missing value is :class:`tests.model.MISSING`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple

from tests.model import MISSING, View, freeze
from tests.worlds import pieces

BEGINNING, END = -(2**62), 2**62


def value_of(attributes: Any, path: str) -> Any:
    """What a JSON Pointer leads to."""
    for name in path.split("/")[1:]:
        step = name.replace("~1", "/").replace("~0", "~")
        if isinstance(attributes, list):
            attributes = attributes[int(step)] if step.isdecimal() and int(step) < len(attributes) else MISSING
        else:
            attributes = attributes.get(step, MISSING) if isinstance(attributes, dict) else MISSING
    return attributes


def value_in(view: View, peer: str, t: int, path: str) -> Any:
    return value_of(view.presence(t).peers[peer][0], path)


def values(view: View, t: int, path: str) -> list[tuple[Hashable, set[str]]]:
    """The values of present peers and their bearers, as often as they occur."""
    bearers: dict[Hashable, set[str]] = {}
    for peer in view.presence(t).peers:
        bearers.setdefault(freeze(value_in(view, peer, t, path)), set()).add(peer)
    return sorted(bearers.items(), key=lambda row: (-len(row[1]), sorted(row[1])))


class First(NamedTuple):
    """The first time of a peer with a value."""

    at: int
    peer: str
    value: Hashable
    previous: Hashable
    previous_until: int | None
    appeared: bool
    learned: bool


def firsts(view: View, path: str, wanted: Any = MISSING) -> Iterator[First]:
    """Every first time, in the order of time and keys."""
    had = set()
    points = view.change_points()
    for t in points:
        for peer in sorted(view.presence(t).peers):
            value = value_in(view, peer, t, path)
            nothing = value is MISSING or (value is None and wanted is not None)
            other = wanted is not MISSING and freeze(value) != freeze(wanted)
            if nothing or other or (peer, freeze(value)) in had:
                continue
            had.add((peer, freeze(value)))
            before = [point for point in points if point < t and peer in view.presence(point).peers]
            if before:
                previous = value_in(view, peer, before[-1], path)
                until = points[points.index(before[-1]) + 1]
                yield First(t, peer, freeze(value), freeze(previous), until, False, previous in (None, MISSING))
            else:
                yield First(t, peer, freeze(value), MISSING, None, True, True)


def last_presence(view: View, peer: str, t: int) -> int | None:
    """The last change point at or before t with the peer in it."""
    points = [point for point in view.change_points() if point <= t and peer in view.presence(point).peers]
    return points[-1] if points else None


def everybody(view: View, t: int) -> list[str]:
    """Every peer present at some time up to t."""
    return sorted({peer for point in view.change_points() if point <= t for peer in view.presence(point).peers})


def last_values(view: View, t: int, path: str) -> dict[str, Hashable]:
    """The last known value of every peer known by t."""
    found = {}
    for peer in everybody(view, t):
        last = last_presence(view, peer, t)
        assert last is not None
        found[peer] = freeze(value_in(view, peer, last, path))
    return found


def everywhere(view: View, t: int, path: str, wanted: Any) -> tuple[int | None, int | None]:
    """When all present peers had a value first; and since when, at all known instants up to t, they have."""
    first = since = None
    for point in view.change_points():
        moment = view.presence(point)
        if point > t or not moment.watching:
            continue
        if moment.peers and all(freeze(value_in(view, peer, point, path)) == freeze(wanted) for peer in moment.peers):
            since = point if since is None else since
            first = point if first is None else first
        else:
            since = None
    return first, since


def incompatible(view: View) -> Iterator[tuple[str, str, int, int | None, str | None]]:
    """(peer, observer, start, end, reason) of every stretch in which an observer's graph says so."""
    for observer in view.said:
        for peer in everybody(view, END):
            start = None
            for point in view.change_points():
                graph = view.graph(observer, point)
                says = graph is not None and graph.peers.get(peer, {}).get("is_compatible") is False
                if says and start is None:
                    start = point
                elif start is not None and not says:
                    gone = "left" if graph is not None else view.stop_reason(observer, point)
                    yield peer, observer, start, point, "changed" if graph and peer in graph.peers else gone
                    start = None
            if start is not None:
                yield peer, observer, start, None, None


def population(view: View, since: int, until: int, below: int | None) -> list[tuple[int, int, Any, Any]]:
    """(start, end, least, most) of the stretches of a window; ``None``: unobserved."""
    joined: list[tuple[int, int, Any, Any]] = []
    for start, end in pieces(view, since, until):
        moment = view.presence(start)
        count = len(moment.peers) if moment.watching else None
        if below is not None and (count is None or count >= below):
            continue
        if joined and joined[-1][1] == start and (below is not None or joined[-1][2] == count):
            first, _, least, most = joined.pop()
            bounds = (None, None) if count is None else (min(least, count), max(most, count))
            joined.append((first, end, *bounds))
        else:
            joined.append((start, end, count, count))
    return joined


def bearers(view: View, t: int) -> dict[str, set[str]]:
    """Who bears which name."""
    found: dict[str, set[str]] = {}
    for peer, (attributes, _, _) in view.presence(t).peers.items():
        if attributes.get("device_name"):
            found.setdefault(attributes["device_name"], set()).add(peer)
    return found


def collisions(view: View, since: int, until: int) -> Iterator[tuple[str, set[str], int, int | None, str | None]]:
    """(name, keys, start, end, reason) of the stretches in which several bore a name."""
    names = {name for t in [since, *view.change_points()] for name in bearers(view, t)}
    for name in names:
        start: int | None = None
        keys: set[str] = set()
        for at, _ in pieces(view, since, until):
            now = bearers(view, at).get(name, set())
            if len(now) > 1:
                start, keys = at if start is None else start, keys | now
            elif start is not None:
                yield name, keys, start, at, "parted" if view.presence(at).watching else "unobserved"
                start, keys = None, set()
        if start is not None:
            yield name, keys, start, None, None


class Life(NamedTuple):
    """Of one peer by an instant: its first presence, the end of its last, its last attributes."""

    peer: str
    first: int
    end: int | None
    attributes: Any


def lives(view: View, until: int) -> Iterator[Life]:
    points = [point for point in view.change_points() if point < until]
    for peer in everybody(view, until - 1):
        there = [point for point in points if peer in view.presence(point).peers]
        later = [point for point in points if point > there[-1]]
        yield Life(peer, there[0], later[0] if later else None, view.presence(there[-1]).peers[peer][0])


class Guess(NamedTuple):
    """A new key, as told by its definition."""

    new_start: int
    new: str
    old: str
    strong: bool
    gap: int
    unobserved: int
    shared: set[str]
    differing: set[str]
    others: set[str]


def new_keys(view: View, since: int, until: int, identity: str | None) -> Iterator[Guess]:
    """The guesses, in the order of time and keys."""
    everyone = list(lives(view, until))
    for new in sorted(everyone, key=lambda life: (life.first, life.peer)):
        alike = [each for each in everyone if each is not new and _alike(each, new, identity)]
        ended = [(-each.end, each.peer, each) for each in alike if each.end is not None and each.end <= new.first]
        if new.first < since or not ended:
            continue
        _, _, old = min(ended, key=lambda row: row[:2])
        assert old.end is not None
        others = {
            each.peer
            for each in alike
            if each is not old and each.first <= new.first and (each.end is None or each.end > old.first)
        }
        dark = [end - start for start, end in pieces(view, old.end, new.first) if not view.presence(start).watching]
        mine, theirs = (each.attributes.get("peer_metadata") or {} for each in (old, new))
        both = mine.keys() & theirs.keys()
        shared = {name for name in both if freeze(mine[name]) == freeze(theirs[name])}
        strong = not others and not sum(dark) and bool(shared or identity)
        gap = new.first - old.end
        yield Guess(new.first, new.peer, old.peer, strong, gap, sum(dark), shared, both - shared, others)


def _alike(one: Life, other: Life, identity: str | None) -> bool:
    names = ("/device_name", "/os") if identity is None else ("/device_name", "/os", identity)
    given = [tuple(value_of(each.attributes, name) for name in names) for each in (one, other)]
    known = all(value not in (None, MISSING) for value in given[0]) and "" not in given[0][:2]
    return known and freeze(given[0]) == freeze(given[1])


class Standing(NamedTuple):
    """What is to be said of one expected entry."""

    state: str
    peers: set[str]


def expected(view: View, t: int, entry: str, named: set[str], keys: Iterable[str]) -> Standing:
    """``named``: the peers that ever went by the entry; ``keys``: all that were ever heard of."""
    now = view.presence(t)
    beginning = {entry} if entry in keys else {key for key in keys if key.startswith(entry)}
    meant = beginning or named
    there = meant & now.peers.keys()
    if not beginning:
        there = {key for key in there if now.peers[key][0].get("device_name") == entry} or there
    if not meant:
        return Standing("unknown", set())
    if len(beginning) > 1:
        return Standing("ambiguous", beginning)
    if there:
        return Standing("present" if len(there) == 1 else "ambiguous", there)
    return Standing("missing" if now.watching else "unobserved", meant)
