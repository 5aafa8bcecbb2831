"""Who had what, who did not fit, who was expected, and how many there were."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.fleet import Bearers, Expectation, ExpectedPeer, Incompatibility, Population, Values
from peerstore.canonical import Json, value_at
from peerstore.coverage import Scope, measured_window
from peerstore.dictionary import Dictionary
from peerstore.ditto import canonical_peer_key
from peerstore.errors import InputError
from peerstore.inventory import all_peers
from peerstore.peer_keys import bytes_of_key
from peerstore.presence import Presence, presence_at
from peerstore.questions.identities import name_bearers
from peerstore.questions.known import known_among
from peerstore.questions.rollout import text_of
from peerstore.tables import document, peer_document
from peerstore.times import LATEST, instant
from peerstore.walk import Moment, Walk, growing_parts

_WHOLE_KEY = 38  # bytes of a Ditto peer's key


def values_at(connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, at: int, path: str) -> Values:
    """The peers present at an instant by their value at a path."""
    presence = presence_at(connection, dictionary, scope, at)
    values: dict[str, Json] = {}
    bearers: dict[str, list[str]] = {}
    for key, peer in presence.peers.items():
        value = value_at(peer.document, path)
        text = text_of(value)
        values.setdefault(text, value)
        bearers.setdefault(text, []).append(key)
    order = sorted(values, key=lambda text: (-len(bearers[text]), text))
    rows = tuple(Bearers(values[text], tuple(bearers[text])) for text in order)
    return Values(presence.at, presence.known_at, presence.observers, path, rows)


def population(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    below: int | None,
) -> Iterator[Population]:
    """How many peers were present, over the measured window; or only where there were fewer than ``below``."""
    window = measured_window(connection, scope, since, until)
    if window is None:
        return
    start, end = window
    walk = Walk(connection, dictionary, scope, start, end, "peer")
    count = len(walk.shown) if walk.lit else None
    most = count
    for moment in walk:
        now = len(walk.shown) if moment.lit else None
        if _same_stretch(count, now, below):
            if count is not None and now is not None and most is not None:
                count, most = min(count, now), max(most, now)
            continue
        yield from _counted(start, moment.at, count, most, below)
        start, count, most = moment.at, now, now
    yield from _counted(start, end, count, most, below)


def _same_stretch(count: int | None, now: int | None, below: int | None) -> bool:
    if below is None or count is None or now is None:
        return count == now
    return (count < below) == (now < below)


def _counted(start: int, end: int, count: int | None, most: int | None, below: int | None) -> Iterator[Population]:
    if below is None or (count is not None and count < below):
        yield Population(instant(start), instant(end), count is not None, count, most)


@dataclass(slots=True)
class _Misfit:
    """An incompatibility in the making."""

    start: int
    end: int | None = None
    reason: Literal["changed", "left", "stopped", "silence"] | None = None


class Incompatibilities:
    """Over which stretches the views of single observers held peers as incompatible."""

    def __init__(self, connection: DatabaseConnection, dictionary: Dictionary, scope: Scope) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._scope = scope

    def over(self, peer: str | None, since: int | None, until: int | None) -> Iterator[Incompatibility]:
        """Those that overlap ``[since, until)``, whole; by peer, then by observer, then in order of time."""
        keys = all_peers(self._connection, peer)
        ever = _ever_incompatible(self._connection)
        for part in growing_parts(number for number in keys if number in ever):
            found = [each for key in self._scope.observers for each in self._of_observer(key, part, since, until)]
            for number, observer, misfit in sorted(found, key=lambda row: (keys[row[0]], row[1], row[2].start)):
                end = None if misfit.end is None else instant(misfit.end)
                yield Incompatibility(keys[number], observer, instant(misfit.start), end, misfit.reason)

    def _of_observer(
        self, key: str, numbers: Collection[int], since: int | None, until: int | None
    ) -> Iterator[tuple[int, str, _Misfit]]:
        scope = self._scope._replace(observers={key: self._scope.observers[key]})
        since = scope.begin(since)
        if since is not None:
            numbers = self._held_in(scope, numbers, since, LATEST + 1 if until is None else until)
        for number, misfit in self._misfits(scope, numbers, scope.before_all, LATEST + 1) if numbers else ():
            ended = since is not None and misfit.end is not None and misfit.end <= since
            if not ended and (until is None or misfit.start < until):
                misfit.start = scope.told(misfit.start)
                yield number, key, misfit

    def _held_in(self, scope: Scope, numbers: Collection[int], since: int, until: int) -> list[int]:
        """Those of these peers that one view held as incompatible at some time of a window: seldom many."""
        return sorted({number for number, _ in self._misfits(scope, numbers, since, until)})

    def _misfits(self, scope: Scope, numbers: Collection[int], after: int, until: int) -> Iterator[tuple[int, _Misfit]]:
        walk = Walk(self._connection, self._dictionary, scope, after, until, list(numbers))
        held = {number: _Misfit(after) for number in walk.shown if walk.lit and self._is_one(walk.shown[number])}
        for moment in walk:
            for number in [*moment.changed, *(walk.shown if moment.lit != moment.lit_before else ())]:
                now = moment.lit and self._is_one(walk.shown.get(number))
                if now and number not in held:
                    held[number] = _Misfit(moment.at)
                elif not now and number in held:
                    misfit = held.pop(number)
                    misfit.end, misfit.reason = moment.at, _reason(moment, number, number in walk.shown)
                    yield number, misfit
        yield from held.items()

    def _is_one(self, number: int | None) -> bool:
        if number is None:
            return False
        return self._dictionary.documents(self._connection, [number])[number].value.get("is_compatible") is False


def _reason(moment: Moment, number: int, shown: bool) -> Literal["changed", "left", "stopped", "silence"]:
    return "changed" if moment.lit and shown else moment.end_reason(number)


def _ever_incompatible(connection: DatabaseConnection) -> set[int]:
    """The ids of the peers that were ever recorded as incompatible with anybody."""
    told = (
        sa.select(peer_document.c.element_id)
        .select_from(peer_document.join(document))
        .where(document.c.body.contains('"is_compatible":false', autoescape=True))
        .distinct()
    )
    return set(connection.execute(told).scalars())


class Expected:
    """A list of expected peers, held against a presence."""

    def __init__(self, connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, at: int) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._scope = scope
        self._presence = presence_at(connection, dictionary, scope, at)
        self._peers = all_peers(connection)
        self._keys = sorted(self._peers.values())

    def answer(self, entries: Iterable[str]) -> Expectation:
        """Which of the entries were there, and who else was."""
        entries = list(dict.fromkeys(entries))
        named = name_bearers(self._connection, entries)
        present, absent, ambiguous = [], [], []
        unknown: list[str] = []
        for entry in entries:
            keys, by_name = self._standing_for(entry, named[entry])
            there = self._there(entry, keys, by_name)
            if not keys:
                unknown.append(entry)
            elif len(keys if not by_name else there) > 1:
                ambiguous.append((entry, there if by_name else keys))
            elif there:
                present.append((entry, there))
            else:
                absent.append((entry, keys))
        return self._told(present, absent, ambiguous, tuple(unknown))

    def _standing_for(self, entry: str, named: set[int]) -> tuple[list[str], bool]:
        """The keys that an entry stands for, and whether by name. A whole key of a Ditto peer stands for itself, also
        if it was never heard of."""
        try:
            key = canonical_peer_key(entry)
        except InputError:
            key = entry
        place = bisect_left(self._keys, key)
        if self._keys[place : place + 1] == [key] or len(bytes_of_key(key) or b"") == _WHOLE_KEY:
            return [key], False
        start = bisect_left(self._keys, entry)
        beginning = list(takewhile(lambda each: each.startswith(entry), self._keys[start:]))
        if beginning:
            return beginning, False
        return sorted(self._peers[number] for number in named), True

    def _there(self, entry: str, keys: list[str], by_name: bool) -> list[str]:
        """Those of the keys that were present; by name rather those that went by it just then."""
        there = [key for key in keys if key in self._presence.peers]
        now_named = [key for key in there if by_name and self._presence.peers[key].device_name == entry]
        return now_named or there

    def _told(
        self,
        present: list[tuple[str, list[str]]],
        absent: list[tuple[str, list[str]]],
        ambiguous: list[tuple[str, list[str]]],
        unknown: tuple[str, ...],
    ) -> Expectation:
        presence = self._presence
        seen = self._last_seen({key for _, keys in (*present, *absent, *ambiguous) for key in keys}, presence)
        rows = [tuple(self._row(*each, seen) for each in group) for group in (present, absent, ambiguous)]
        claimed = {key for _, keys in (*present, *ambiguous) for key in keys}
        return Expectation(
            presence.at,
            presence.known_at,
            presence.observers,
            present=rows[0],
            missing=rows[1] if presence.watched else (),
            unobserved=() if presence.watched else rows[1],
            unexpected=tuple(key for key in presence.peers if key not in claimed),
            unknown=unknown,
            ambiguous=rows[2],
        )

    def _last_seen(self, keys: set[str], presence: Presence) -> dict[str, datetime]:
        wanted = {number: key for number, key in self._peers.items() if key in keys}
        found = known_among(self._connection, self._dictionary, self._scope, presence, wanted)
        return {known.peer.peer_key: known.last_seen for known in found}

    @staticmethod
    def _row(entry: str, keys: list[str], seen: dict[str, datetime]) -> ExpectedPeer:
        return ExpectedPeer(entry, tuple(keys), max((seen[key] for key in keys if key in seen), default=None))
