"""What the questions about connections must answer, by brute force over the model of the time model's rules.

Written from the meaning of the answers alone. Instants and durations are integer microseconds; every answer is made of
the pieces of time over which the presence is constant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from tests.model import Link, Moment, Thing, View
from tests.worlds import pieces

END_OF_TIME = 2**62
Ends = tuple[str | None, str | None]


class Run(NamedTuple):
    """A stretch ``[start, end)`` over which a value holds."""

    value: Any
    start: int
    end: int


def window_of(view: View, since: int | None, until: int | None) -> tuple[int, int] | None:
    """What is measured: where an end is open, from the first observation to the last one."""
    moments = [said.observed_at for stored in view.said.values() for said in stored]
    if not moments:
        return None
    begin, end = min(moments) if since is None else since, max(moments) if until is None else until
    return (begin, end) if begin < end else None


def runs(view: View, since: int, until: int, value: Callable[[Moment], Any]) -> list[Run]:
    """The values of a function of the presence over time, equal neighbours united."""
    found: list[Run] = []
    for start, end in pieces(view, since, until):
        here = value(view.presence(start))
        if found and found[-1].value == here:
            found[-1] = found[-1]._replace(end=end)
        else:
            found.append(Run(here, start, end))
    return found


def known(view: View, since: int, until: int) -> int:
    return sum(end - start for start, end in pieces(view, since, until) if view.presence(start).watching)


def links_ever(view: View) -> set[Link]:
    return {link for point in view.change_points() for link in view.presence(point).connections}


def peers_ever(view: View) -> set[str]:
    return {peer for point in view.change_points() for peer in view.presence(point).peers}


def of_peer(moment: Moment, peer: str) -> list[Link]:
    return [link for link in moment.connections if peer in link[:2]]


def _between(pair: tuple[str | None, ...], ends: Ends) -> bool:
    """Whether it is of the peer asked for, or the pair of the two."""
    named = [end for end in ends if end is not None]
    return set(pair) == set(named) if len(named) == 2 else set(named) <= set(pair)


# Contacts: (peer1, peer2, type): (episodes, total, longest, lengths, first, last, ids, known, unobserved).


def contacts(view: View, since: int | None, until: int | None, ends: Ends, grace: int) -> list[tuple[Any, ...]]:
    window = window_of(view, since, until)
    if window is None:
        return []
    times = known(view, *window), window[1] - window[0] - known(view, *window)
    found = []
    for key in sorted({link[:3] for link in links_ever(view) if _between(link[:2], ends)}):
        there = [run for run in runs(view, *window, partial(_held, key)) if run.value]
        if not there:
            continue
        episodes = _joined(there, grace)
        lengths = [episode.end - episode.start for episode in episodes]
        last = None if there[-1].end == window[1] else there[-1].end
        ids = {link[3] for start, _ in pieces(view, *window) for link in view.presence(start).connections}
        ids &= {link[3] for link in links_ever(view) if link[:3] == key}
        total = sum(run.end - run.start for run in there)
        measures = len(episodes), total, max(lengths), sum(lengths)
        found.append((key, *measures, there[0].start, last, tuple(sorted(ids)), *times))
    return found


def _held(key: tuple[str, ...], moment: Moment) -> bool:
    return any(link[:3] == key for link in moment.connections)


def _joined(there: list[Run], grace: int) -> list[Run]:
    episodes: list[Run] = []
    for run in there:
        if episodes and (run.start - episodes[-1].end < grace):
            episodes[-1] = episodes[-1]._replace(end=run.end)
        else:
            episodes.append(run)
    return episodes


# Flapping: (subject, episodes, most, window start, shortest, five counts, open, cut).


def flapping(
    view: View, since: int | None, until: int | None, peers: bool, peer: str | None, limits: tuple[int, int, int | None]
) -> list[tuple[Any, ...]]:
    count, within, shorter = limits
    things = sorted(peers_ever(view)) if peers else sorted(links_ever(view))
    wanted = [each for each in things if peer is None or each == peer or (not peers and peer in each[:2])]
    found = []
    for thing in wanted:
        row = _flaps(view, thing, since, until, within)
        if row is not None and (row[2] >= count or (shorter is not None and row[4] is not None and row[4] < shorter)):
            found.append(row)
    return found


def _flaps(view: View, thing: Thing, since: int | None, until: int | None, within: int) -> tuple[Any, ...] | None:
    spans = [span for span in view.sessions() if span.subject == thing]
    begun = [span for span in spans if (since is None or span.start >= since) and (until is None or span.start < until)]
    own = [span for span in begun if _came(view, thing, span.start) and span.end_reason in (None, "left")]
    if not own:
        return None
    starts = sorted(span.start for span in own)
    counts = {start: sum(start <= each < start + within for each in starts) for start in starts}
    most = max(counts.values())
    lengths = [span.end - span.start for span in own if span.end is not None]
    bounds = (0, 1_000_000, 5_000_000, 30_000_000, 300_000_000, END_OF_TIME)
    parted = tuple(sum(low <= length < high for length in lengths) for low, high in pairwise(bounds))
    window = min(start for start in starts if counts[start] == most)
    still = len(own) - len(lengths)
    return thing, len(own), most, window, min(lengths, default=None), parted, still, len(begun) - len(own)


def _came(view: View, thing: Thing, start: int) -> bool:
    """Whether someone who sees it begin had been watching just before."""
    return any(view.graph(observer, start - 1) is not None for observer in view.presence(start).seen_by(thing))


# Transports: (start, end, known, peer time, connected peer time, {type: (links, link time, only time)}).


def transports(
    view: View, since: int | None, until: int | None, every: int | None, peer: str | None
) -> list[tuple[Any, ...]]:
    window = window_of(view, since, until)
    if window is None:
        return []
    cuts = [] if every is None else range(window[0] // every * every, window[1], every)
    bounds = [window[0], *(cut for cut in cuts if cut > window[0]), window[1]]
    return [_mix(view, start, end, peer) for start, end in pairwise(bounds)]


def _mix(view: View, since: int, until: int, peer: str | None) -> tuple[Any, ...]:
    links: dict[str, set[Link]] = {}
    link_time: Counter[str] = Counter()
    only: Counter[str] = Counter()
    peer_time = connected = 0
    for start, end in pieces(view, since, until):
        moment, length = view.presence(start), end - start
        for link in moment.connections if peer is None else of_peer(moment, peer):
            links.setdefault(link[2], set()).add(link)
            link_time[link[2]] += length
        for each in moment.peers:
            if peer in (None, each):
                types = {link[2] for link in of_peer(moment, each)}
                peer_time += length
                connected += length if types else 0
                if len(types) == 1:
                    only[types.pop()] += length
    shares = {kind: (len(links[kind]), link_time[kind], only[kind]) for kind in links}
    return since, until, known(view, since, until), peer_time, connected, shares


# Fallbacks: (at, group, before, after, across_gap).


def fallbacks(
    view: View, since: int | None, until: int | None, peers: bool, named: Ends, ends: bool, grace: int
) -> list[tuple[Any, ...]]:
    groups: set[tuple[str, str | None]] = set()
    for link in links_ever(view):
        groups |= {(link[0], None), (link[1], None)} if peers else {(link[0], link[1])}
    found = [
        event
        for group in groups
        if _between(group, named)
        for event in _changes_of(view, group, grace)
        if (since is None or event[0] >= since) and (until is None or event[0] < until)
        if ends or (event[2] and event[3])
    ]
    return sorted(found, key=lambda event: (event[0], event[1][0], event[1][1] or ""))


def _changes_of(view: View, group: tuple[str, str | None], grace: int) -> Iterator[tuple[Any, ...]]:
    """Its stretches of known types one after another, with the dark and the empty ones between."""
    points = view.change_points()
    every = runs(view, points[0] - 1, points[-1] + 1, lambda moment: _types(moment, group))
    first = next(place for place, run in enumerate(every) if run.value is not None)
    every = every[first:]
    there = [place for place, run in enumerate(every) if run.value]
    for place in there[:1]:
        yield every[place].start, group, (), every[place].value, place > 0 and every[place - 1].value is None
    for left, right in zip(there, [*there[1:], None], strict=True):
        between = every[left + 1 : right]
        empty = [run for run in between if run.value == ()]
        dark = any(run.value is None for run in between)
        last = every[left]
        if right is None:
            if empty:
                yield empty[0].start, group, last.value, (), empty[0].start > last.end
            continue
        fresh = every[right]
        if not empty or fresh.start - last.end < grace:
            if last.value != fresh.value:
                yield fresh.start, group, last.value, fresh.value, dark
        else:
            yield empty[0].start, group, last.value, (), empty[0].start > last.end
            yield fresh.start, group, (), fresh.value, between[-1].value is None


def _types(moment: Moment, group: tuple[str, str | None]) -> tuple[str, ...] | None:
    """``None``: nobody watches."""
    if not moment.watching:
        return None
    peer, other = group
    links = of_peer(moment, peer) if other is None else [link for link in moment.connections if link[:2] == group]
    return tuple(sorted({link[2] for link in links}))


# Degrees: (peer, present, link time, most, first at, {type: most}, {cap: time}, known, unobserved).


def degrees(
    view: View, since: int | None, until: int | None, peer: str | None, caps: dict[str, int]
) -> list[tuple[Any, ...]]:
    window = window_of(view, since, until)
    if window is None:
        return []
    times = known(view, *window), window[1] - window[0] - known(view, *window)
    rows = [_degree(view, each, window, caps) for each in sorted(peers_ever(view)) if peer in (None, each)]
    return [(*row, *times) for row in rows if row is not None]


def _degree(view: View, peer: str, window: tuple[int, int], caps: dict[str, int]) -> tuple[Any, ...] | None:
    there = [piece for piece in pieces(view, *window) if peer in view.presence(piece[0]).peers]
    if not there:
        return None
    counts = [Counter(link[2] for link in of_peer(view.presence(start), peer)) for start, _ in there]
    lengths = [end - start for start, end in there]
    most = max(count.total() for count in counts)
    most_at = min(start for (start, _), count in zip(there, counts, strict=True) if count.total() == most)
    types = {kind for count in counts for kind in count}
    at_cap = {
        name: sum(
            length
            for length, count in zip(lengths, counts, strict=True)
            if sum(count[kind] for kind in name.split("+")) >= limit
        )
        for name, limit in caps.items()
    }
    link_time = sum(length * count.total() for length, count in zip(lengths, counts, strict=True))
    by_type = {kind: max(count[kind] for count in counts) for kind in types}
    return peer, sum(lengths), link_time, most, most_at, by_type, at_cap


def degree_over(view: View, since: int | None, until: int | None, peer: str) -> list[Run]:
    window = window_of(view, since, until)
    if window is None:
        return []

    def held(moment: Moment) -> tuple[str, dict[str, int]]:
        if not moment.watching:
            return "unobserved", {}
        if peer not in moment.peers:
            return "absent", {}
        return "present", dict(Counter(link[2] for link in of_peer(moment, peer)))

    return runs(view, *window, held)
