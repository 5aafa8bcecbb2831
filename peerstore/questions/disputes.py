"""What watching observers disagree about, kept up to date from instant to instant.

Only what some observer touched is looked at again. What is held is the live views, and the disagreements that hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy.engine import Connection

from peerstore.answers.disagreements import AgreedBy, DisagreementKind
from peerstore.canonical import ABSENT, Json, dumps, pointer
from peerstore.coverage import Scope
from peerstore.dictionary import Dictionary
from peerstore.merging import Holders
from peerstore.model import Element
from peerstore.walk import Turn

_RELATIVE = "/is_compatible"  # to the observer's own SDK: views that differ in it do not contradict each other


class Subject(NamedTuple):
    """What a disagreement is about: an element in some respect (a path, or the end that lists a connection)."""

    kind: DisagreementKind
    element: int
    detail: str = ""


Sides = dict[int, str]
"""Which side each observer takes: of an attribute the canonical text of the value in its view (none for a missing one),
else whether it sees the element."""

SEEN, NOT_SEEN = "seen", "not seen"


class Dispute:
    """A disagreement that holds: since when, who stands on which side, and for how long who stood where."""

    __slots__ = ("_taken", "_totals", "held_before", "start")

    def __init__(self, start: int, held_before: bool, sides: Sides) -> None:
        self.held_before = held_before
        self.begin_anew(start, sides)

    def begin_anew(self, at: int, sides: Sides) -> None:
        """Let it begin at an instant, whatever was before."""
        self.start = at
        self._taken = sides
        self._totals: dict[int, dict[str, int]] = {}  # of those alone that have not stood on one side since the start

    def take(self, at: int, observers: Iterable[int], sides: Sides) -> None:
        """At an instant, these observers are on these sides (or on none)."""
        for observer in observers:
            before, side = self._taken.get(observer), sides.get(observer)
            if side == before:
                continue
            totals = self._totals.get(observer)
            if totals is None:
                totals = self._totals[observer] = {} if before is None else {before: -self.start}
            if before is not None:
                totals[before] += at
                del self._taken[observer]
            if side is not None:
                totals[side] = totals.get(side, 0) - at
                self._taken[observer] = side

    def sides(self, end: int) -> dict[str, list[int]]:
        """Every side that was taken until an instant, with the observers that took it for longer than any other (of
        equals, the one that they took first)."""
        self.take(end, self._totals, {})
        found: dict[str, list[int]] = {side: [] for totals in self._totals.values() for side in totals}
        for observer, side in self._taken.items():
            found.setdefault(side, []).append(observer)
        for observer, totals in self._totals.items():
            found[max(totals, key=totals.__getitem__)].append(observer)
        return found


class Told(NamedTuple):
    """One observer told something new at one instant: elements took documents (``None``: gone); or it turned."""

    at: int
    observer: int
    assigned: Mapping[int, int | None]
    turn: Turn | None


class Ended(NamedTuple):
    """A disagreement that held until an instant."""

    subject: Subject
    dispute: Dispute
    end: int
    reason: AgreedBy


class Disputes:
    """Where the watching observers disagree, kept up to date from instant to instant."""

    def __init__(
        self, connection: Connection, dictionary: Dictionary, scope: Scope, wanted: Collection[int] | None
    ) -> None:
        self.open: dict[int, dict[Subject, Dispute]] = {}
        self._connection = connection
        self._dictionary = dictionary
        self._wanted = wanted
        self._watching: set[int] = set()
        self._holders = Holders(scope.observers, lambda number: dictionary.elements(connection, [number])[number])
        self._peers: dict[str, int] = {}
        self._links: dict[str, set[int]] = {}
        self._differing = lru_cache(maxsize=4096)(self._find_differing)

    def step(self, at: int, told: Collection[Told], *, held_before: bool = False) -> list[Ended]:
        """What was told at one instant; the disagreements that it ended."""
        turns = {each.observer: each.turn for each in told if each.turn is not None}
        touched: dict[int, set[int]] = {}
        if turns:  # whoever sees an element, more or fewer are watching now
            touched = {element: set(turns) for element in self._holders.by_element}
        for each in told:
            self._apply(each, touched)
        if turns:
            for observers in touched.values():
                observers.update(turns)
        if self._wanted is not None:
            touched = {number: touched[number] for number in self._wanted if number in touched}
        elements = self._dictionary.elements(self._connection, touched)
        ended: list[Ended] = []
        for number, observers in touched.items():
            ended += self._examine(at, number, elements[number], observers, turns, held_before)
        return ended

    def begin_anew(self, at: int) -> None:
        """Forget who stood on which side before an instant: what holds is told from there on."""
        elements = self._dictionary.elements(self._connection, self.open)
        for number, disputes in self.open.items():
            for subject, sides in self._told_of(number, elements[number], self._watching).items():
                disputes[subject].begin_anew(at, sides)

    def _apply(self, told: Told, touched: dict[int, set[int]]) -> None:
        number = told.observer
        if told.turn is not None:
            (self._watching.add if told.turn == "started" else self._watching.discard)(number)
        elements = self._dictionary.elements(self._connection, told.assigned)
        for element, document in told.assigned.items():
            item = elements[element]
            if item.kind == "graph":
                continue
            held = number in self._holders.by_element.get(element, ())
            self._holders.put(number, element, document)
            touched.setdefault(element, set()).add(number)
            if item.kind == "connection":
                self._index(element, item)
            elif held != (document is not None):
                self._peers[item.key] = element
                self._touch_links(item.key, number, touched)

    def _touch_links(self, key: str, number: int, touched: dict[int, set[int]]) -> None:
        """A peer came or went in an observer's view: its connections there may now be listed by one of two."""
        for link in self._links.get(key, ()):
            if number in self._holders.by_element[link]:
                touched.setdefault(link, set()).add(number)

    def _index(self, element: int, item: Element) -> None:
        for key in {item.key, item.other}:
            if element in self._holders.by_element:
                self._links.setdefault(key, set()).add(element)
            elif key in self._links:
                self._links[key].discard(element)
                if not self._links[key]:
                    del self._links[key]

    def _examine(
        self,
        at: int,
        number: int,
        item: Element,
        observers: set[int],
        turns: Mapping[int, Turn],
        held_before: bool,
    ) -> Iterator[Ended]:
        """Look again at an element that these observers touched."""
        before = self.open.get(number, {})
        told = self._told_of(number, item, observers if before else self._watching)
        whole = told if not before or told.keys() <= before.keys() else self._told_of(number, item, self._watching)
        now: dict[Subject, Dispute] = {}
        for subject, sides in told.items():
            if subject in before:
                now[subject] = before.pop(subject)
                now[subject].take(at, observers, sides)
            else:
                now[subject] = Dispute(at, held_before, whole[subject])
        for subject, dispute in before.items():
            yield Ended(subject, dispute, at, _reason({turns.get(observer) for observer in observers}))
        if now:
            self.open[number] = now
        else:
            self.open.pop(number, None)

    def _told_of(self, number: int, item: Element, observers: set[int]) -> dict[Subject, Sides]:
        """What the watching observers disagree about in an element, and on which sides these of them stand."""
        held = self._holders.by_element.get(number, {})
        found: dict[Subject, Sides] = {}
        kind: DisagreementKind = "peer" if item.kind == "peer" else "connection"
        if 0 < len(held) < len(self._watching):
            watching = observers & self._watching
            found[Subject(kind, number)] = {each: SEEN if each in held else NOT_SEEN for each in watching}
        if item.kind == "connection":
            self._add_listings(number, item, held, observers, found)
        elif len(documents := frozenset(held.values())) > 1:
            holding = observers & held.keys()
            for path, texts in self._differing(documents).items():
                found[Subject("attribute", number, path)] = {each: texts.get(held[each], "") for each in holding}
        return found

    def _add_listings(
        self, number: int, item: Element, held: Mapping[int, int], observers: set[int], found: dict[Subject, Sides]
    ) -> None:
        documents = self._dictionary.documents(self._connection, set(held.values()))
        for observer, document in held.items():
            end = self._one_sided(item, documents[document].value, observer)
            if end is not None:
                sides = found.setdefault(Subject("listing", number, end), {})
                if observer in observers:
                    sides[observer] = SEEN

    def _one_sided(self, item: Element, value: Json, observer: int) -> str | None:
        """The end that lists a connection alone, although the other end is in the observer's view."""
        ends = {1: item.key, 2: item.other}
        listers = {ends.get(lister, lister) for lister in value.get("listed_by", ())} & set(ends.values())
        if item.key == item.other or len(listers) != 1:
            return None
        [lister] = listers
        other = self._peers.get(item.other if lister == item.key else item.key)
        return lister if other is not None and observer in self._holders.by_element.get(other, ()) else None

    def _find_differing(self, documents: frozenset[int]) -> dict[str, dict[int, str]]:
        """Where some documents of a peer differ: path to the text of the value of each document."""
        bodies = self._dictionary.documents(self._connection, documents)
        return dict(_differing("", {number: bodies[number].value for number in documents}))


def _reason(turns: Collection[Turn | None]) -> AgreedBy:
    """Why a disagreement ended, by what the observers behind it did (``None``: changed their view)."""
    if None in turns:
        return "agreed"
    return "stopped" if "stopped" in turns else "silence"


def _differing(path: str, values: Mapping[int, Json]) -> Iterator[tuple[str, dict[int, str]]]:
    """The paths at which any two of several values differ, as :func:`peerstore.canonical.differences` names them: each
    with the texts of what is there (none where nothing is)."""
    if path == _RELATIVE:
        return
    objects = {number: value for number, value in values.items() if isinstance(value, dict)}
    if len(objects) < len(values):
        texts = {number: "" if value is ABSENT else dumps(value) for number, value in values.items()}
        if len(set(texts.values())) > 1:
            yield path, texts
    if len(objects) > 1:
        for name in sorted({name for value in objects.values() for name in value}):
            yield from _differing(
                pointer(path, name), {number: value.get(name, ABSENT) for number, value in objects.items()}
            )
