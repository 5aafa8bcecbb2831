"""How a value spreads: who was first known to have it when, how far it had got, who lacks it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import chain

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.fleet import Laggard, Reached, Rollout
from peerstore.canonical import ABSENT, Json, dumps, value_at
from peerstore.coverage import Scope
from peerstore.dictionary import Dictionary
from peerstore.model import ElementKind
from peerstore.presence import last_known, observer_state
from peerstore.questions.known import known_peers
from peerstore.remnants import last_before_horizon
from peerstore.states import at_end_of, last_logged
from peerstore.times import LATEST, instant
from peerstore.walk import Moment, Walk

_LOOK_BACK = 86_400_000_000  # at first; then eight times as far, and so on


def text_of(value: Json) -> str:
    """What stands for a value where values are compared: its canonical text; "" for a missing one."""
    return "" if value is ABSENT else dumps(value)


@dataclass(slots=True)
class _Past:
    """What is known of a peer so far: its last document, until when that was known to hold (``None``: it still is), and
    the values that it had, as numbers."""

    document: int
    until: int | None = None
    had: set[int] = field(default_factory=set)


class _Track:
    """A walk over peers that keeps for each of them what was known last, and until when."""

    def __init__(self, connection: DatabaseConnection, walk: Walk, scope: Scope, after: int) -> None:
        self._walk = walk
        self.pasts = {number: _Past(document) for number, document in walk.shown.items()}
        self.checked: set[tuple[int, int]] = set()
        self._dark_since = after
        if not walk.lit and walk.known:
            known = last_known(connection, scope, after)
            self._dark_since = after if known is None else known + 1

    def arrivals(self) -> Iterator[tuple[int, dict[int, int]]]:
        """The instants at which peers appeared or changed, each with their documents from then on."""
        for moment in self._walk:
            arrived = self._step(moment)
            if arrived:
                yield moment.at, arrived
            if moment.lit_before and not moment.lit:
                self._dark_since = moment.at

    def _step(self, moment: Moment) -> dict[int, int]:
        arrived = {}
        ended = moment.at if moment.lit_before else self._dark_since
        for number, (before, after) in moment.changed.items():
            if before is not None:
                self.pasts[number].until = ended
            if after is not None:
                arrived[number] = after
        return arrived


class Firsts:
    """The first times at which peers were known to have values at a path; of one value, if one is wanted (as its
    canonical text). A missing value is none, and neither is null unless it is wanted."""

    def __init__(
        self, connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, path: str, wanted: str | None
    ) -> None:
        self._asked = connection, dictionary, scope
        self._connection = connection
        self._dictionary = dictionary
        self._scope = scope
        self._path = path
        self._wanted = wanted
        self._numbers: dict[str, int] = {}

    def over(self, since: int | None, until: int | None) -> Iterator[Reached]:
        """Those in ``[since, until)``, in order of time, then of the keys."""
        since = self._scope.begin(since)
        after = self._scope.before_all if since is None else since - 1
        track = self._track(after, LATEST + 1 if until is None else until, "peer")
        for at, arrived in track.arrivals():
            if since is not None:
                self._complete(track, arrived, after)
            rows = [self._arrive(track, at, number, document) for number, document in arrived.items()]
            yield from sorted((row for row in rows if row is not None), key=lambda row: row.peer_key)

    def _track(self, after: int, until: int, elements: Collection[int] | ElementKind) -> _Track:
        walk = Walk(self._connection, self._dictionary, self._scope, after, until, elements)
        return _Track(self._connection, walk, self._scope, after)

    def _value(self, document: int) -> Json:
        body = self._dictionary.documents(self._connection, [document])[document]
        return value_at(body.value, self._path)

    def _number(self, value: Json) -> int | None:
        """The number of a value; ``None`` if nothing is to be told of it."""
        if value is ABSENT or (value is None and self._wanted is None):
            return None
        text = text_of(value)
        if self._wanted is not None and text != self._wanted:
            return None
        return self._numbers.setdefault(text, len(self._numbers))

    def _complete(self, track: _Track, arrived: dict[int, int], after: int) -> None:
        """Learn of those peers that may reach a value here what they were before the window."""
        doubtful: dict[int, int] = {}
        for number, document in arrived.items():
            past = track.pasts.get(number)
            value = self._number(self._value(document))
            stays = past is not None and value == self._number(self._value(past.document))
            if value is not None and (number, value) not in track.checked and not stays:
                doubtful[number] = value
        track.checked.update(doubtful.items())
        step, first = _LOOK_BACK, self._scope.before_all
        while doubtful:
            start = max(after - step, first)
            for number, found in self._between(start, after, doubtful).items():
                track.pasts.setdefault(number, found).had.update(found.had)
            had = {number: track.pasts[number].had for number in doubtful if number in track.pasts}
            doubtful = {number: value for number, value in doubtful.items() if value not in had.get(number, ())}
            step *= 8
            if start == first:
                self._remember(track, doubtful)
                return

    def _remember(self, track: _Track, doubtful: dict[int, int]) -> None:
        """Learn what peers that were absent at the horizon were before it."""
        for number in doubtful:
            last = None if number in track.pasts else last_before_horizon(*self._asked, number)
            if last is not None:
                track.pasts[number] = past = _Past(last.document, last.end)
                value = self._number(self._value(last.document))
                if value is not None:
                    past.had.add(value)

    def _between(self, start: int, after: int, numbers: Collection[int]) -> dict[int, _Past]:
        """What peers were from a start on; it may have to lie farther back."""
        track = self._track(start, after + 1, list(numbers))
        for number, past in list(track.pasts.items()):
            self._note(track, number, past.document)
        for _, arrived in track.arrivals():
            for number, document in arrived.items():
                self._note(track, number, document)
        return track.pasts

    def _note(self, track: _Track, number: int, document: int) -> bool:
        """Remember a document of a peer; whether its value is one that the peer was not known to have had."""
        past = track.pasts.setdefault(number, _Past(document))
        past.document, past.until = document, None
        value = self._number(self._value(document))
        if value is None or value in past.had:
            return False
        past.had.add(value)
        return True

    def _arrive(self, track: _Track, at: int, number: int, document: int) -> Reached | None:
        past = track.pasts.get(number)
        previous = ABSENT if past is None else self._value(past.document)
        until = None if past is None or past.until is None else instant(past.until)
        if past is not None and (earlier := self._number(previous)) is not None:
            past.had.add(earlier)  # what it had when the window began
        if not self._note(track, number, document):
            return None
        key = self._dictionary.elements(self._connection, [number])[number].key
        learned = previous is ABSENT or previous is None
        value = self._value(document)
        return Reached(key, self._path, value, instant(at), previous, until, past is None, learned)


class _Progress:
    """How far a value got, followed along a walk over all peers."""

    def __init__(self) -> None:
        self.having: dict[int, bool] = {}
        self.reached: set[int] = set()
        self.first: int | None = None
        self.last: int | None = None
        self.everywhere_since: int | None = None
        self.first_everywhere: int | None = None
        self._shown = 0
        self._shown_having = 0

    def follow(self, moment: Moment, has: dict[int, bool]) -> None:
        """Take in a moment; ``has`` tells of each document that comes or goes in it whether it holds the value."""
        for number, (before, after) in moment.changed.items():
            if before is not None:
                self._shown -= 1
                self._shown_having -= has[before]
            if after is not None:
                self._shown += 1
                self._shown_having += has[after]
                self.having[number] = has[after]
                if has[after] and number not in self.reached:
                    self.reached.add(number)
                    self.first, self.last = moment.at if self.first is None else self.first, moment.at
        if moment.lit:
            self._note_everywhere(moment.at)

    def _note_everywhere(self, at: int) -> None:
        if self._shown == 0 or self._shown_having < self._shown:
            self.everywhere_since = None
        elif self.everywhere_since is None:
            self.everywhere_since = at
            self.first_everywhere = at if self.first_everywhere is None else self.first_everywhere


def rollout(
    connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, path: str, value: Json, at: int
) -> Rollout:
    """How far a value had got by an instant."""
    wanted = text_of(value)
    progress = _Progress()
    walk = Walk(connection, dictionary, scope, scope.opening, at + 1, "peer")
    there: dict[int, tuple[int | None, int | None]] = {number: (None, shown) for number, shown in walk.shown.items()}
    opening = Moment(scope.opening, False, walk.lit, False, there)
    for moment in chain([opening] if there else (), walk):
        told = {document for change in moment.changed.values() for document in change if document is not None}
        bodies = dictionary.documents(connection, told)
        progress.follow(moment, {each: text_of(value_at(bodies[each].value, path)) == wanted for each in told})
    states = [
        observer_state(connection, scope, key, last_logged(connection, number, at_end_of(at), scope.known_at), at)
        for key, number in scope.observers.items()
    ]
    moments = (progress.first, progress.last, progress.first_everywhere, progress.everywhere_since)
    return Rollout(
        instant(at),
        None if scope.known_at is None else instant(scope.known_at),
        tuple(states),
        path,
        value,
        len(progress.having),
        len(progress.reached),
        sum(progress.having.values()),
        *(None if each is None else instant(each) for each in moments),
    )


def laggards(
    connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, path: str, value: Json, at: int
) -> Iterator[Laggard]:
    """The peers known by an instant whose last known value is another one, by key."""
    wanted = text_of(value)
    for known in known_peers(connection, dictionary, scope, at):
        last = value_at(known.peer.document, path)
        if text_of(last) != wanted:
            yield Laggard(known.peer.peer_key, path, last, known.last_seen, known.present)
