"""Questions about links to the cloud: since when, over whom."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.cloud import CloudEndReason, CloudPresence, CloudStretch, Route
from peerstore.coverage import Scope, measured_window
from peerstore.dictionary import Dictionary
from peerstore.model import ElementKind
from peerstore.presence import Presence
from peerstore.questions.mesh import Keys, Levels, graph_library, graph_of, unknown_ends
from peerstore.times import LATEST, instant
from peerstore.walk import Moment, Walk

_LOOK_BACK = 86_400_000_000


def cloud_of(presence: Presence) -> CloudPresence:
    """The bridges of a presence, and how each of its peers reached them."""
    graph = graph_of(presence, "cloud_at")
    bridges = tuple(key for key, peer in presence.peers.items() if peer.is_connected_to_cloud is True)
    levels = Levels(graph, bridges, "cloud_at")
    reachable: dict[str, Keys] = {}
    for island in graph_library("cloud_at").connected_components(graph):
        reachable.update(dict.fromkeys(island, tuple(key for key in bridges if key in island)))
    nearest, counts = levels.nearest(), levels.counts()
    routes = {
        key: Route(
            key,
            levels.steps.get(key),
            tuple(sorted(nearest.get(key, ()))),
            reachable[key],
            counts.get(key, 0),
            levels.paths,
        )
        for key in presence.peers
    }
    opening = presence.at, presence.known_at, presence.observers
    return CloudPresence(*opening, bridges, routes, unknown_ends(presence))


class Flags:
    """Which documents of peers say that the peer has a link of its own to the cloud."""

    def __init__(self, connection: DatabaseConnection, dictionary: Dictionary) -> None:
        self._connection = connection
        self._dictionary = dictionary

    def raised(self, shown: Mapping[int, int | None]) -> set[int]:
        """Of peers with their documents (``None``: absent), those whose document says so."""
        wanted = {document for document in shown.values() if document is not None}
        bodies = self._dictionary.documents(self._connection, wanted)
        says = {document for document in wanted if bodies[document].value.get("is_connected_to_cloud") is True}
        return {number for number, document in shown.items() if document in says}

    def lowered_and_raised(self, moment: Moment) -> tuple[set[int], set[int]]:
        """Of the peers that changed at a moment: those without the flag now, those with it."""
        now = {number: after for number, (_, after) in moment.changed.items()}
        raised = self.raised(now)
        return now.keys() - raised, raised


@dataclass(slots=True)
class CloudStay:
    """A session in the making: a present peer's flag was up over ``[start, end)``."""

    element: int
    start: int
    end: int | None = None
    reason: CloudEndReason | None = None


class CloudStays:
    """The stays with the cloud of some peers, or of all."""

    def __init__(
        self,
        connection: DatabaseConnection,
        dictionary: Dictionary,
        scope: Scope,
        elements: Collection[int] | ElementKind,
    ) -> None:
        self._asked = connection, dictionary, scope
        self._connection, self._dictionary, self._scope = connection, dictionary, scope
        self._elements = elements
        self._flags = Flags(connection, dictionary)
        self._open: dict[int, CloudStay] = {}

    def over(self, since: int | None, until: int | None) -> Iterator[CloudStay]:
        """The stays that overlap ``[since, until)``, whole; as they end, then those that hold, by their starts."""
        since = self._scope.begin(since)
        start, end = self._scope.before_all if since is None else since, LATEST + 1 if until is None else until
        if start >= end:
            return
        walk = Walk(*self._asked, start, end, self._elements)
        self._open_at(walk, start)
        self._mend_starts(list(self._open), start)
        for moment in walk:
            yield from self._step(walk, moment)
        if self._open and end <= LATEST:
            yield from self._followed(end)
        yield from sorted(self._in_order(self._open), key=lambda stay: stay.start)

    def _followed(self, end: int) -> Iterator[CloudStay]:
        """The stays that hold when the range ends, as far as they end later; none that begin later."""
        waiting = dict(self._open)
        walk = Walk(*self._asked, end - 1, LATEST + 1, list(waiting))
        for moment in walk:
            for stay in self._step(walk, moment):
                if waiting.pop(stay.element, None) is not None:
                    yield stay
            if not waiting:
                break
        self._open = waiting

    def _open_at(self, walk: Walk, at: int) -> None:
        if walk.lit:
            self._open = {number: CloudStay(number, at) for number in self._flags.raised(walk.shown)}

    def _step(self, walk: Walk, moment: Moment) -> list[CloudStay]:
        """Follow one moment; the stays that ended."""
        if not moment.lit:
            return self._end(self._open.keys() if moment.lit_before else (), moment)
        if not moment.lit_before:
            self._open_at(walk, moment.at)
            return []
        lowered, raised = self._flags.lowered_and_raised(moment)
        for number in raised - self._open.keys():
            self._open[number] = CloudStay(number, moment.at)
        return self._end(lowered & self._open.keys(), moment)

    def _end(self, numbers: Collection[int], moment: Moment) -> list[CloudStay]:
        ended = self._in_order({number: self._open[number] for number in numbers})
        for stay in ended:
            there = moment.changed.get(stay.element, (None, None))[1] is not None
            stay.end, stay.reason = moment.at, "flag" if there else moment.end_reason(stay.element)
            del self._open[stay.element]
        return ended

    def _in_order(self, stays: Mapping[int, CloudStay]) -> list[CloudStay]:
        """Stays by the keys of their peers, which unlike ids do not depend on the order of recording."""
        elements = self._dictionary.elements(self._connection, stays)
        return sorted(stays.values(), key=lambda stay: elements[stay.element])

    def _mend_starts(self, numbers: list[int], at: int) -> None:
        """Give the stays that held at ``at`` the starts that they had before it, looking back in steps that grow."""
        step, first = _LOOK_BACK, self._scope.before_all
        while numbers and at > first:
            after = max(at - step, first)
            earlier = CloudStays(*self._asked, numbers)
            earlier._through(after, at)
            for number in numbers:
                self._open[number].start = self._scope.told(earlier._open[number].start)
            numbers = [number for number in numbers if earlier._open[number].start == after > first]
            step *= 8

    def _through(self, after: int, until: int) -> None:
        walk = Walk(*self._asked, after, until + 1, self._elements)
        self._open_at(walk, after)
        for moment in walk:
            self._step(walk, moment)


def cloud_over(
    connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, since: int | None, until: int | None
) -> Iterator[CloudStretch]:
    """The stretches of the measured window over which the same peers were bridges, or nobody was watching."""
    window = measured_window(connection, scope, since, until)
    if window is None:
        return
    walk, flags = Walk(connection, dictionary, scope, *window, "peer"), Flags(connection, dictionary)
    up = flags.raised(walk.shown)
    start, known, held = window[0], walk.lit, frozenset(up if walk.lit else ())
    for moment in walk:
        lowered, raised = flags.lowered_and_raised(moment)
        up = (up - lowered) | raised
        now = frozenset(up if moment.lit else ())
        if (moment.lit, now) != (known, held):
            yield _stretch(connection, dictionary, start, moment.at, known, held)
            start, known, held = moment.at, moment.lit, now
    yield _stretch(connection, dictionary, start, window[1], known, held)


def _stretch(
    connection: DatabaseConnection, dictionary: Dictionary, start: int, end: int, known: bool, held: frozenset[int]
) -> CloudStretch:
    elements = dictionary.elements(connection, held)
    return CloudStretch(instant(start), instant(end), known, tuple(sorted(elements[number].key for number in held)))
