"""Questions about the connections of pairs: contacts and flapping.

:mod:`peerstore.questions.fallbacks` tells what pairs fell back to, and :mod:`peerstore.questions.transports` answers
questions about the connections of each peer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby, islice
from typing import Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.links import DURATION_BOUNDS, Contact, Flapping
from peerstore.coverage import Scope, measured_window, watched
from peerstore.dictionary import Dictionary
from peerstore.inventory import all_peers, connection_elements
from peerstore.model import Connection, Element, ElementKind
from peerstore.tables import element as element_table
from peerstore.times import LATEST, instant
from peerstore.walk import Moment, Walk

Elements = Collection[int] | ElementKind
Place = tuple[str, str, str]
"""Where an answer stands among the others: a pair and a type, or a peer and nothing."""

_FIRST_PARTS = (1, 8, 64)

_BOUNDS = [bound // timedelta(microseconds=1) for bound in DURATION_BOUNDS]
_element = element_table.c
_ALL_CONNECTIONS = (
    sa.select(_element.id, _element.peer1, _element.peer2, _element.type)
    .where(_element.kind == "connection")
    .order_by(_element.peer1, _element.peer2, _element.type)
)


class Step(NamedTuple):
    """An instant at which elements came into the known presence, or went from it; whether anybody watches from it on.

    Where nobody watches any more, all that was there goes; where somebody does again, all that is there comes.
    """

    at: int
    lit: bool
    came: Sequence[int]
    went: Sequence[int]


def steps(walk: Walk, after: int) -> Iterator[Step]:
    """A walk as what comes and goes, from what is there at ``after`` on."""
    yield Step(after, walk.lit, list(walk.shown) if walk.lit else (), ())
    for moment in walk:
        if moment.lit != moment.lit_before:
            shown = list(walk.shown)
            yield Step(moment.at, True, shown, ()) if moment.lit else Step(moment.at, False, (), shown)
        elif moment.changed:
            came = [number for number, (before, _) in moment.changed.items() if before is None]
            went = [number for number, (_, after) in moment.changed.items() if after is None]
            yield Step(moment.at, moment.lit, came, went)


def known_time(connection: DatabaseConnection, scope: Scope, window: tuple[int, int]) -> tuple[timedelta, timedelta]:
    """How much of a window anybody watched, and how much nobody did."""
    known = sum(end - start for start, end in watched(connection, scope, *window))
    return micro(known), micro(window[1] - window[0] - known)


def micro(count: int) -> timedelta:
    """A number of microseconds as a duration."""
    return timedelta(microseconds=count)


class Part(NamedTuple):
    """What to walk for the answers whose places are in ``(after, upto]`` (``None``: open)."""

    elements: Elements | None
    after: Place | None = None
    upto: Place | None = None

    def covers(self, place: Place) -> bool:
        """Whether the answer of this place is to be given from this walk."""
        return (self.after is None or place > self.after) and (self.upto is None or place <= self.upto)


def parts(
    groups: Iterator[tuple[Place, Collection[int]]], everything: Elements | None, first: Sequence[int]
) -> Iterator[Part]:
    """What to walk for answers about groups of elements, which come in the order of their places: parts of so many
    groups ``first``, so that their answers come soon, and then everything once, which costs least."""
    after: Place | None = None
    for size in first:
        part = list(islice(groups, size))
        if not part:
            return
        upto = part[-1][0]
        yield Part([number for _, group in part for number in group], after, upto)
        after = upto
    if next(groups, None) is not None:
        yield Part(everything, after)


# Contacts.


@dataclass(slots=True)
class _Meeting:
    """What becomes the contact of one pair over one type."""

    ids: set[str] = field(default_factory=set)
    holding: int = 0
    since: int = 0
    started: int | None = None
    ended: int = 0
    first: int = 0
    total: int = 0
    episodes: int = 0
    lengths: int = 0
    longest: int = 0

    def begin(self, at: int, name: str, grace: int) -> None:
        self.ids.add(name)
        self.holding += 1
        if self.holding > 1:
            return
        self.since = at
        if self.started is not None and at - self.ended >= grace:
            self.close()
        if self.started is None:
            self.started = at
            self.first = at if not self.episodes else self.first

    def end(self, at: int) -> None:
        self.holding -= 1
        if not self.holding:
            self.total += at - self.since
            self.ended = at

    def close(self) -> None:
        """The episode is over: nothing will be joined to it."""
        assert self.started is not None
        length = self.ended - self.started
        self.episodes += 1
        self.lengths += length
        self.longest = max(self.longest, length)
        self.started = None


def contacts(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    ends: Sequence[str],
    grace: int,
) -> Iterator[Contact]:
    """The contacts of all pairs, of a peer's, or of one pair, in the order of their keys."""
    window = measured_window(connection, scope, since, until)
    if window is None:
        return
    times = known_time(connection, scope, window)
    for part in _connection_parts(connection, ends, since is not None):
        walk = Walk(connection, dictionary, scope, *window, part.elements)
        meetings = _meetings(connection, dictionary, steps(walk, window[0]), grace)
        for place in sorted(filter(part.covers, meetings)):
            yield _contact(place, meetings[place], window[1], times)


def _meetings(
    connection: DatabaseConnection, dictionary: Dictionary, walked: Iterator[Step], grace: int
) -> dict[Place, _Meeting]:
    meetings: dict[Place, _Meeting] = {}
    for step in walked:
        elements = dictionary.elements(connection, (*step.came, *step.went))
        for number in step.came:  # before what went: a connection that only took another id is unbroken
            link = elements[number]
            meeting = meetings.setdefault(_place(link), _Meeting())
            meeting.begin(step.at, link.id, grace)
        for number in step.went:
            link = elements[number]
            meetings[_place(link)].end(step.at)
    return meetings


def _contact(place: Place, meeting: _Meeting, until: int, times: tuple[timedelta, timedelta]) -> Contact:
    holds = meeting.holding > 0
    if holds:
        meeting.holding = 1
        meeting.end(until)
    meeting.close()
    return Contact(
        *place,
        meeting.episodes,
        micro(meeting.total),
        micro(meeting.longest),
        micro(meeting.lengths) / meeting.episodes,
        instant(meeting.first),
        None if holds else instant(meeting.ended),
        tuple(sorted(meeting.ids)),
        *times,
    )


def _connection_parts(connection: DatabaseConnection, ends: Sequence[str], at_once: bool) -> Iterator[Part]:
    """Connections to walk, pairs unparted: of a peer or a pair, or all of them, ``at_once`` or not."""
    if ends:
        yield Part(connection_elements(connection, ends))
    elif at_once:
        yield Part("connection")
    else:
        yield from parts(_pairs(connection), "connection", _FIRST_PARTS)


def _pairs(connection: DatabaseConnection) -> Iterator[tuple[Place, list[int]]]:
    """The ids of all connections by pair and type."""
    rows = connection.execute(_ALL_CONNECTIONS, execution_options={"yield_per": 100})
    for place, group in groupby(rows, key=lambda row: (row[1], row[2], row[3])):
        yield place, [row[0] for row in group]


def _place(element: Element) -> Place:
    return element.key, element.other, element.type


# Flapping.


class _Episode(NamedTuple):
    """An unbroken presence of an element; ``own``: neither its start nor its end was made by who watched."""

    element: int
    start: int
    end: int | None
    own: bool


@dataclass(slots=True)
class _Flaps:
    """What is counted of one subject; its episodes come in the order of their starts."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    episodes: int = 0
    most: int = 0
    window_start: int = 0
    shortest: int | None = None
    open: int = 0
    cut: int = 0
    recent: deque[int] = field(default_factory=deque)

    def add(self, episode: _Episode, within: int) -> None:
        if not episode.own:
            self.cut += 1
            return
        self.episodes += 1
        self.recent.append(episode.start)
        while episode.start - self.recent[0] >= within:
            self.recent.popleft()
        if len(self.recent) > self.most:
            self.most, self.window_start = len(self.recent), self.recent[0]
        if episode.end is None:
            self.open += 1
        else:
            length = episode.end - episode.start
            self.counts[sum(length >= bound for bound in _BOUNDS)] += 1
            self.shortest = length if self.shortest is None else min(self.shortest, length)


def flapping(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    kind: Literal["connection", "peer"],
    peer: str | None,
    count: int,
    within: int,
    shorter_than: int | None,
) -> Iterator[Flapping]:
    """The subjects that flap, in the order of their keys."""
    for part in _parts_of_kind(connection, kind, peer, since is not None):
        flaps: dict[int, _Flaps] = {}
        for episode in _episodes(connection, dictionary, scope, since, until, part.elements):
            flaps.setdefault(episode.element, _Flaps()).add(episode, within)
        identities = dictionary.elements(connection, flaps)
        for number in sorted(flaps, key=identities.__getitem__):
            found = flaps[number]
            short = shorter_than is not None and found.shortest is not None and found.shortest < shorter_than
            if (found.most >= count or short) and part.covers(_place(identities[number])):
                yield _flapping(identities[number], found, within)


def _parts_of_kind(
    connection: DatabaseConnection, kind: Literal["connection", "peer"], peer: str | None, at_once: bool
) -> Iterator[Part]:
    if kind == "connection":
        yield from _connection_parts(connection, () if peer is None else (peer,), at_once)
    elif at_once and peer is None:
        yield Part(kind)
    else:
        places = (((key, "", ""), [number]) for number, key in all_peers(connection, peer).items())
        yield from parts(places, kind, _FIRST_PARTS)


def _flapping(subject: Element, found: _Flaps, within: int) -> Flapping:
    is_peer = subject.kind == "peer"
    return Flapping(
        subject.key if is_peer else None,
        None if is_peer else Connection(subject.id, subject.key, subject.other, subject.type),
        found.episodes,
        found.most,
        instant(found.window_start),
        instant(min(found.window_start + within, LATEST)),
        None if found.shortest is None else micro(found.shortest),
        tuple(found.counts),
        found.open,
        found.cut,
    )


def _episodes(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    elements: Elements | None,
) -> Iterator[_Episode]:
    """The episodes that begin in ``[since, until)``, each followed to its end, wherever that lies."""
    since = scope.begin(since)
    after = scope.before_all if since is None else since - 1
    begun: dict[int, _Episode] = {}
    walk = Walk(connection, dictionary, scope, after, LATEST + 1 if until is None else until, elements)
    for moment in walk:
        yield from _ended(walk, moment, begun)
        _begin(walk, moment, begun)
    yield from (episode for episode in begun.values() if not episode.own)
    begun = {number: episode for number, episode in begun.items() if episode.own}
    if begun and until is not None:
        walk = Walk(connection, dictionary, scope, until - 1, LATEST + 1, list(begun))
        for moment in walk:
            yield from _ended(walk, moment, begun)
            if not begun:
                return
    yield from begun.values()


def _ended(walk: Walk, moment: Moment, begun: dict[int, _Episode]) -> Iterator[_Episode]:
    went: Collection[int] = [number for number, (_, after) in moment.changed.items() if after is None]
    if moment.lit_before and not moment.lit:
        went = walk.shown
    for number in went if moment.lit_before else ():
        episode = begun.pop(number, None)
        if episode is not None:
            own = episode.own and moment.end_reason(number) == "left"
            yield episode._replace(end=moment.at, own=own)


def _begin(walk: Walk, moment: Moment, begun: dict[int, _Episode]) -> None:
    if not moment.lit:
        return
    came: Collection[int] = [number for number, (before, _) in moment.changed.items() if before is None]
    if not moment.lit_before:
        came = walk.shown
    started = {observer for observer, turn in moment.turns if turn == "started"}
    for number in came:
        own = not started.issuperset(walk.holders.by_element[number])
        begun[number] = _Episode(number, moment.at, None, own)
