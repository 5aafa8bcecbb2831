"""Who is who: peers that are new, names that several bear, and keys that may be one device's."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.identities import NameCollision, NewKey
from peerstore.answers.inventory import KnownPeer
from peerstore.canonical import ABSENT, Json, dumps, pointer, value_at
from peerstore.coverage import Scope, watched
from peerstore.dictionary import Dictionary
from peerstore.model import Element
from peerstore.naming import device_name
from peerstore.presence import last_known, presence_at
from peerstore.questions.known import known_among
from peerstore.remnants import held_before_horizon
from peerstore.tables import document, peer_document
from peerstore.times import LATEST, instant
from peerstore.walk import Moment, Walk, growing_parts

_LONGEST_PATTERN = 1000
_LOOK_BACK = 86_400_000_000  # at first; then eight times as far, and so on
_FEW_NAMES = 32  # so many are looked for by the database; of more, every name is read


def first_appearances(
    connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, since: int | None, until: int | None
) -> Iterator[int]:
    """The ids of the peers that the merged presence held for the first time in ``[since, until)``, in order of time,
    then of the keys."""
    since = scope.begin(since)
    after = scope.before_all if since is None else since - 1
    walk = Walk(connection, dictionary, scope, after, LATEST + 1 if until is None else until, "peer")
    fresh = _fresh(connection, dictionary, walk)
    if since is None:
        yield from fresh
        return
    for part in growing_parts(fresh):
        never = _never_before(connection, dictionary, scope, after, part)
        yield from (number for number in part if number in never)


def _never_before(
    connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, after: int, numbers: Collection[int]
) -> set[int]:
    """Those of these peers that were not present at any time up to ``after``; most that come back were lately."""
    never, step = set(numbers) - held_before_horizon(connection, scope, numbers), _LOOK_BACK
    while never:
        start = max(after - step, scope.before_all)
        walk = Walk(connection, dictionary, scope, start, after + 1, list(never))
        never -= walk.shown.keys()
        for moment in walk:
            never.difference_update(number for number, (_, now) in moment.changed.items() if now is not None)
        if start == scope.before_all:
            return never
        step *= 8
    return never


def _fresh(connection: DatabaseConnection, dictionary: Dictionary, walk: Walk) -> Iterator[int]:
    seen = set(walk.shown)
    for moment in walk:
        new = [number for number, (_, after) in moment.changed.items() if after is not None and number not in seen]
        seen.update(new)
        yield from _by_key(connection, dictionary, new)


def _by_key(connection: DatabaseConnection, dictionary: Dictionary, numbers: Collection[int]) -> list[int]:
    elements = dictionary.elements(connection, numbers)
    return sorted(numbers, key=lambda number: elements[number])


def new_peers(
    connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, since: int | None, until: int
) -> Iterator[KnownPeer]:
    """The peers first seen in ``[since, until)``, as known at ``until``."""
    if since is not None and since >= until:
        return
    now = presence_at(connection, dictionary, scope, until)
    for part in growing_parts(first_appearances(connection, dictionary, scope, since, until)):
        elements = dictionary.elements(connection, part)
        keys = {number: elements[number].key for number in part}
        yield from known_among(connection, dictionary, scope, now, keys)


def name_bearers(connection: DatabaseConnection, names: Collection[str]) -> dict[str, set[int]]:
    """The ids of the peers that were ever recorded with each of these device names, by name."""
    told = sa.select(peer_document.c.element_id, document.c.body).select_from(peer_document.join(document))
    if len(names) <= _FEW_NAMES:
        told = told.where(sa.or_(sa.false(), *(_tells(name) for name in names)))
    found: dict[str, set[int]] = {name: set() for name in names}
    for number, body in connection.execute(told, execution_options={"yield_per": 1000}):
        name = device_name(body)
        if name in found:
            found[name].add(number)
    return found


def _names_of(connection: DatabaseConnection, numbers: Collection[int]) -> set[str]:
    """Every device name with which any of these peers was ever recorded."""
    told = (
        sa.select(document.c.body)
        .select_from(peer_document.join(document))
        .where(peer_document.c.element_id.in_(list(numbers)))
    )
    return {name for body in connection.execute(told).scalars() if (name := device_name(body))}


def _tells(name: str) -> sa.ColumnElement[bool]:
    """Whether a document may tell this name; it certainly does not where this is false."""
    told = {"device_name": name}
    # A document that holds a lone surrogate anywhere is written in ASCII.
    texts = {dumps(told)[1:-1], json.dumps(told, separators=(",", ":"))[1:-1]}
    return sa.or_(*(document.c.body.contains(text[:_LONGEST_PATTERN], autoescape=True) for text in sorted(texts)))


class Collisions:
    """The stretches in which names are shared, followed along a walk."""

    def __init__(self, connection: DatabaseConnection, dictionary: Dictionary) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._bearers: dict[str, set[int]] = {}
        self._open: dict[str, tuple[int, set[int]]] = {}

    def over(self, scope: Scope, since: int | None, until: int | None) -> Iterator[NameCollision]:
        """Those in ``[since, until)`` as they end, then those that hold at its end, by name."""
        since = scope.begin(since)
        after, end = scope.before_all if since is None else since, LATEST + 1 if until is None else until
        if after >= end:
            return
        walk = Walk(self._connection, self._dictionary, scope, after, end, "peer")
        self._take_in({number: (None, shown) for number, shown in walk.shown.items()}, after, walk.lit)
        for moment in walk:
            yield from self._follow(moment)
        for name in sorted(self._open):
            yield self._closed(name, None)

    def _follow(self, moment: Moment) -> Iterator[NameCollision]:
        if moment.lit_before and not moment.lit:
            for name in sorted(self._open):
                yield self._closed(name, moment.at, unobserved=True)
            self._open.clear()
        touched = self._take_in(moment.changed, moment.at, moment.lit)
        if moment.lit and not moment.lit_before:
            self._begin(self._bearers, moment.at)
        for name in sorted(touched & self._open.keys()):
            if len(self._bearers.get(name, ())) < 2:
                yield self._closed(name, moment.at)
                del self._open[name]

    def _take_in(self, changed: dict[int, tuple[int | None, int | None]], at: int, lit: bool) -> set[str]:
        """Know of documents that came and went; the names that they tell."""
        told = {each for change in changed.values() for each in change if each is not None}
        bodies = self._dictionary.documents(self._connection, told)
        names = {each: bodies[each].value.get("device_name") or "" for each in told}
        touched = set()
        for number, (before, after) in changed.items():
            old, new = ("" if each is None else names[each] for each in (before, after))
            if old and old != new:
                self._bearers[old].discard(number)
                if not self._bearers[old]:
                    del self._bearers[old]
            if new and old != new:
                self._bearers.setdefault(new, set()).add(number)
            touched |= {old, new}
        if lit:
            self._begin(touched, at)
        return touched

    def _begin(self, names: Iterable[str], at: int) -> None:
        for name in names:
            bearers = self._bearers.get(name, set())
            if name in self._open and len(bearers) > 1:
                self._open[name][1].update(bearers)
            elif len(bearers) > 1:
                self._open[name] = at, set(bearers)

    def _closed(self, name: str, at: int | None, unobserved: bool = False) -> NameCollision:
        start, numbers = self._open[name]
        elements = self._dictionary.elements(self._connection, numbers)
        keys = tuple(sorted(elements[number].key for number in numbers))
        if at is None:
            return NameCollision(name, keys, instant(start), None, None)
        return NameCollision(name, keys, instant(start), instant(at), "unobserved" if unobserved else "parted")


@dataclass(slots=True)
class _Life:
    """A peer from its first presence to the end of its last (``None``: it is present), with its last document."""

    first: int
    end: int | None
    document: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A peer that may be a device's old key or its new one."""

    key: str
    life: _Life
    value: dict[str, Json]
    mark: tuple[str, ...]


class NewKeys:
    """Guesses that a device came back under a new key."""

    def __init__(
        self, connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, identity_path: str | None
    ) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._scope = scope
        self._identity = identity_path

    def over(self, since: int | None, until: int | None) -> Iterator[NewKey]:
        """Those whose new key was first present in ``[since, until)``, from all that was known before ``until``; in
        the order of that time."""
        end = LATEST + 1 if until is None else until
        for part in growing_parts(first_appearances(self._connection, self._dictionary, self._scope, since, end)):
            alike = self._alike(part, end)
            elements = self._dictionary.elements(self._connection, part)
            for number in part:
                yield from self._guess(elements[number], alike)

    def _alike(self, part: list[int], until: int) -> dict[tuple[str, ...], list[_Candidate]]:
        """These peers, and all others that ever bore a name of theirs, by what has to agree."""
        bearers = name_bearers(self._connection, _names_of(self._connection, part)).values()
        lives = self._lives({number for group in bearers if len(group) > 1 for number in group}, until)
        values = self._values(lives)
        elements = self._dictionary.elements(self._connection, lives)
        found: dict[tuple[str, ...], list[_Candidate]] = {}
        for number, life in lives.items():
            mark = self._mark(values[number])
            if mark is not None:
                candidate = _Candidate(elements[number].key, life, values[number], mark)
                found.setdefault(mark, []).append(candidate)
        return found

    def _lives(self, numbers: Collection[int], until: int) -> dict[int, _Life]:
        walk = Walk(self._connection, self._dictionary, self._scope, self._scope.before_all, until, list(numbers))
        lives = self._lives_at_opening(walk)
        for moment in walk:
            for number, (_, after) in moment.changed.items():
                if after is None:
                    if moment.lit_before:
                        lives[number].end = moment.at
                elif number in lives:
                    lives[number].document, lives[number].end = after, None
                else:
                    lives[number] = _Life(moment.at, None, after)
            self._dim(walk, moment, lives)
        for number in held_before_horizon(self._connection, self._scope, lives):
            lives[number].first = self._scope.before_all
        return lives

    def _lives_at_opening(self, walk: Walk) -> dict[int, _Life]:
        """Of those that were there when the history begins, or when somebody last watched before that."""
        first, end = self._scope.before_all, None
        if walk.shown and not walk.lit:
            last = last_known(self._connection, self._scope, first)
            end = first if last is None else last + 1
        return {number: _Life(first, end, document) for number, document in walk.shown.items()}

    @staticmethod
    def _dim(walk: Walk, moment: Moment, lives: dict[int, _Life]) -> None:
        """Where watching turns, so does all that is shown: unobserved is no presence."""
        if moment.lit != moment.lit_before:
            for number in walk.shown:
                lives[number].end = None if moment.lit else moment.at

    def _values(self, lives: dict[int, _Life]) -> dict[int, dict[str, Json]]:
        bodies = self._dictionary.documents(self._connection, {life.document for life in lives.values()})
        return {number: bodies[life.document].value for number, life in lives.items()}

    def _mark(self, value: dict[str, Json]) -> tuple[str, ...] | None:
        """What has to agree, as text; ``None`` of a peer that cannot be recognized again."""
        name, os = value.get("device_name"), value.get("os")
        if not name or not os or value.get("anonymous"):
            return None
        if self._identity is None:
            return name, os
        own = value_at(value, self._identity)
        return None if own is ABSENT or own is None else (name, os, dumps(own))

    def _guess(self, element: Element, alike: dict[tuple[str, ...], list[_Candidate]]) -> Iterator[NewKey]:
        for group in alike.values():
            new = next((each for each in group if each.key == element.key), None)
            if new is None:
                continue
            ended = [(each.life.end, each) for each in group if each is not new and each.life.end is not None]
            before = [(end, each) for end, each in ended if end <= new.life.first]
            if before:
                last = max(end for end, _ in before)
                yield self._told(min((each for end, each in before if end == last), key=_key), last, new, group)

    def _told(self, old: _Candidate, end: int, new: _Candidate, group: list[_Candidate]) -> NewKey:
        start = new.life.first
        seen = sum(stop - begin for begin, stop in watched(self._connection, self._scope, self._scope.told(end), start))
        others = tuple(sorted(each.key for each in group if each not in (old, new) and _meant_as_well(each, old, new)))
        shared, differing = _members(old.value, new.value)
        sure = not others and seen == start - end and (shared or self._identity is not None)
        return NewKey(
            old.key,
            new.key,
            "strong" if sure else "weak",
            new.mark[0],
            new.mark[1],
            instant(end),
            instant(start),
            instant(start) - instant(end),
            instant(start - seen) - instant(end),
            shared,
            differing,
            None if self._identity is None else value_at(new.value, self._identity),
            others,
        )


def _key(candidate: _Candidate) -> str:
    return candidate.key


def _meant_as_well(other: _Candidate, old: _Candidate, new: _Candidate) -> bool:
    return other.life.first <= new.life.first and (other.life.end is None or other.life.end > old.life.first)


def _members(old: dict[str, Json], new: dict[str, Json]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pointers to the members of the peer metadata that both have: those with equal values, and the others."""
    mine, theirs = (value.get("peer_metadata") or {} for value in (old, new))
    both = sorted(name for name in mine if name in theirs)
    shared = [name for name in both if dumps(mine[name]) == dumps(theirs[name])]
    places = {name: pointer("/peer_metadata", name) for name in both}
    return tuple(places[name] for name in shared), tuple(places[name] for name in both if name not in shared)
