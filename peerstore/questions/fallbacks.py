"""What pairs, or peers, fell back to: changes of the types of their connections."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.links import TransportChange
from peerstore.coverage import Scope
from peerstore.dictionary import Dictionary
from peerstore.inventory import connection_elements
from peerstore.model import Element
from peerstore.questions.links import Elements
from peerstore.times import EARLIEST, LATEST, instant
from peerstore.walk import Moment, Walk

Grouping = Literal["pair", "peer"]
Group = tuple[str, str | None]
"""A pair, or a peer and nobody."""
Types = tuple[str, ...]


@dataclass(slots=True)
class _Slot:
    """A change in its place in the order of time; ``sure`` once it is certain, ``dropped`` once it is none."""

    change: TransportChange
    sure: bool = True
    dropped: bool = False


class _Emptied(NamedTuple):
    """A group lost its last connection: since when, what it had before, the dark stretches so far, and the place of
    that change (``None``: it is not asked for)."""

    at: int
    before: Types
    darks: int
    slot: _Slot | None


class Fallbacks:
    """Changes of the types of connections: ``of`` pairs, or of each peer with whomever."""

    def __init__(
        self,
        connection: DatabaseConnection,
        dictionary: Dictionary,
        scope: Scope,
        of: Grouping,
        grace: int,
        with_ends: bool,
    ) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._scope = scope
        self._of = of
        self._grace = grace
        self._with_ends = with_ends
        self._types: dict[Group, Counter[str]] = {}
        self._emptied: OrderedDict[Group, _Emptied] = OrderedDict()  # in the order of time; may yet be joined
        self._slots: deque[_Slot] = deque()
        self._darks = 0
        self._dark_since = EARLIEST

    def over(self, since: int | None, until: int | None, elements: Elements) -> Iterator[TransportChange]:
        """The changes in ``[since, until)``, in the order of time."""
        since, first = self._scope.begin(since), self._scope.before_all
        after = first if since is None else max(since - 1 - self._grace, first)
        last = LATEST + 1 if until is None else until
        ahead = min(last + self._grace, LATEST + 1) if self._with_ends else last
        walk = Walk(self._connection, self._dictionary, self._scope, after, ahead, elements)
        for number in walk.shown:
            for group in self._groups(number):
                self._types.setdefault(group, Counter())[self._type(number)] += 1
        self._dark_since = after
        for moment in walk:
            self._settle(moment.at)
            within = (since is None or since <= moment.at) and moment.at < last
            self._step(moment, within)
            yield from self._given()
        self._settle(None)
        yield from self._given()

    def _given(self) -> Iterator[TransportChange]:
        while self._slots and self._slots[0].sure:
            slot = self._slots.popleft()
            if not slot.dropped:
                yield slot.change

    def _step(self, moment: Moment, within: bool) -> None:
        if moment.lit_before and not moment.lit:
            self._darks += 1
            self._dark_since = moment.at
        before = self._follow(moment)
        for group in sorted(before, key=lambda group: (group[0], group[1] or "")):
            after = self._held(group)
            if before[group] != after:
                self._note(moment, group, before[group], after, within)

    def _follow(self, moment: Moment) -> dict[Group, Types]:
        """Keep the types up to date; those before of the groups that were touched."""
        touched: dict[Group, Types] = {}
        for number, (before, after) in moment.changed.items():
            if before is not None and after is not None:
                continue
            kind, step = self._type(number), 1 if before is None else -1
            for group in self._groups(number):
                touched.setdefault(group, self._held(group))
                self._count(group, kind, step)
        return touched

    def _count(self, group: Group, kind: str, step: int) -> None:
        types = self._types.setdefault(group, Counter())
        types[kind] += step
        if not types[kind]:
            del types[kind]
        if not types:
            del self._types[group]

    def _held(self, group: Group) -> Types:
        return tuple(sorted(self._types.get(group, ())))

    def _note(self, moment: Moment, group: Group, before: Types, after: Types, within: bool) -> None:
        gap = moment.known_before and not moment.lit_before
        if not before:
            lost = self._emptied.pop(group, None)
            if lost is not None:
                before, gap = lost.before, gap or lost.darks != self._darks
                if lost.slot is not None:
                    lost.slot.sure = lost.slot.dropped = True
        elif not after and self._grace:
            self._lose(moment, group, before, gap, within)
            return
        if within and before != after and (self._with_ends or (before and after)):
            self._slots.append(_Slot(TransportChange(instant(moment.at), *group, before, after, gap)))

    def _lose(self, moment: Moment, group: Group, before: Types, gap: bool, within: bool) -> None:
        slot = None
        if within and self._with_ends:
            slot = _Slot(TransportChange(instant(moment.at), *group, before, (), gap), sure=False)
            self._slots.append(slot)
        at, darks = (self._dark_since, self._darks - 1) if gap else (moment.at, self._darks)
        self._emptied[group] = _Emptied(at, before, darks, slot)

    def _settle(self, at: int | None) -> None:
        """What has been without a connection for as long as the grace stays so."""
        while self._emptied:
            group, lost = next(iter(self._emptied.items()))
            if at is not None and at - lost.at < self._grace:
                return
            del self._emptied[group]
            if lost.slot is not None:
                lost.slot.sure = True

    def _type(self, number: int) -> str:
        return self._element(number).type

    def _groups(self, number: int) -> set[Group]:
        link = self._element(number)
        return {(link.key, link.other)} if self._of == "pair" else {(link.key, None), (link.other, None)}

    def _element(self, number: int) -> Element:
        return self._dictionary.elements(self._connection, [number])[number]


def fallbacks(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    of: Grouping,
    ends: Sequence[str],
    from_type: str | None,
    to_type: str | None,
    with_ends: bool,
    grace: int,
) -> Iterator[TransportChange]:
    """Changes of the types of connections of pairs or peers, those that left one type and hold the other."""
    elements: Elements = connection_elements(connection, ends) if ends else "connection"
    for change in Fallbacks(connection, dictionary, scope, of, grace, with_ends).over(since, until, elements):
        wanted = of == "pair" or not ends or change.peer1 == ends[0]
        if wanted and _left(change, from_type) and (to_type is None or to_type.casefold() in _folded(change.after)):
            yield change


def _left(change: TransportChange, kind: str | None) -> bool:
    if kind is None:
        return True
    return kind.casefold() in _folded(change.before) and kind.casefold() not in _folded(change.after)


def _folded(types: Types) -> set[str]:
    return {each.casefold() for each in types}
