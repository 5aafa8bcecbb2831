"""Where watching observers disagree: at one moment, and over time.

Each observer's view is walked on its own; the walks are merged by time into what :class:`Disputes` is told.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.disagreements import AgreedBy, Disagreement, DisagreementKind, Disagreements, HeldValue
from peerstore.canonical import ABSENT, loads
from peerstore.coverage import Scope
from peerstore.database import chunks
from peerstore.dictionary import Dictionary
from peerstore.inventory import connection_elements, peer_elements
from peerstore.model import Connection, Element, ElementKind
from peerstore.presence import observer_state, views_at
from peerstore.questions.disputes import NOT_SEEN, SEEN, Dispute, Disputes, Ended, Subject, Told
from peerstore.tables import element as element_table
from peerstore.times import LATEST, instant
from peerstore.walk import Walk

OF_PEERS: frozenset[DisagreementKind] = frozenset({"peer", "attribute"})
_RANK = {kind: rank for rank, kind in enumerate(("peer", "attribute", "connection", "listing"))}
_PEERS = sa.select(element_table.c.id).where(
    element_table.c.kind == "peer", element_table.c.peer1.in_(sa.bindparam("keys", expanding=True))
)


class Asked(NamedTuple):
    """What is asked about: kinds of disagreement, and elements (``None``: all) with those that must be known for it."""

    kinds: frozenset[DisagreementKind]
    wanted: Collection[int] | None
    walked: Collection[int] | ElementKind | None


def asked(
    connection: DatabaseConnection, dictionary: Dictionary, peer: str | None, kinds: frozenset[DisagreementKind]
) -> Asked:
    """A question about some kinds of disagreement, about all peers or one and its connections."""
    if peer is None:
        walked: ElementKind | None = None
        if kinds <= OF_PEERS:
            walked = "peer"
        elif kinds == {"connection"}:
            walked = "connection"
        return Asked(kinds, None, walked)
    mine = peer_elements(connection, peer)
    if kinds <= OF_PEERS:
        return Asked(kinds, mine, mine)
    links = connection_elements(connection, [peer])
    if kinds == {"connection"}:
        return Asked(kinds, links, links)
    elements = dictionary.elements(connection, links)
    ends = {end for number in links for end in elements[number][1:3]} - {peer}
    return Asked(kinds, [*mine, *links], [*mine, *links, *_peers(connection, ends)])


def _peers(connection: DatabaseConnection, keys: Collection[str]) -> list[int]:
    """The ids of the peers with these keys."""
    return [number for part in chunks(keys) for number in connection.execute(_PEERS, {"keys": part}).scalars()]


class Question:
    """One question about disagreements, put to one snapshot."""

    def __init__(self, connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, asked: Asked) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._scope = scope
        self._asked = asked
        self._names = {number: key for key, number in scope.observers.items()}

    def at(self, at: int) -> Disagreements:
        """The disagreements of one moment."""
        disputes = Disputes(self._connection, self._dictionary, self._scope, self._asked.wanted)
        views = views_at(self._connection, self._scope, at)
        disputes.step(at, [Told(at, view.observer_id, view.state, "started") for view in views if view.watching])
        states = tuple(observer_state(self._connection, self._scope, view.key, view.logged, at) for view in views)
        found = [self._answer(subject, dispute.sides(at)) for subject, dispute in self._open(disputes)]
        known_at = None if self._scope.known_at is None else instant(self._scope.known_at)
        return Disagreements(instant(at), known_at, states, tuple(found))

    def over(self, since: int | None, until: int | None, longer_than: int) -> Iterator[Disagreement]:
        """The disagreements that held within ``[since, until)`` for longer than that: as they end, then those that
        hold."""
        since = self._scope.begin(since)
        begin, last = self._scope.before_all if since is None else since, LATEST + 1 if until is None else until
        disputes = Disputes(self._connection, self._dictionary, self._scope, self._asked.wanted)
        for at, told in self._opened(disputes, begin, last):
            for ended in self._in_order(disputes.step(at, told)):
                if ended.end - ended.dispute.start > longer_than:
                    yield self._span(ended.subject, ended.dispute, ended.end, ended.reason)
        for subject, dispute in self._open(disputes, by_start=True):
            if last - dispute.start > longer_than:
                yield self._span(subject, dispute, last, None)

    def _opened(self, disputes: Disputes, since: int, until: int) -> Iterator[tuple[int, list[Told]]]:
        """What is told after ``since``, once the disagreements of that instant are known: with those that held just
        before it marked."""
        if since >= until:
            return
        walks = {
            number: Walk(
                self._connection,
                self._dictionary,
                self._scope._replace(observers={key: number}),
                max(since - 1, self._scope.before_all),
                until,
                self._asked.walked,
            )
            for key, number in self._scope.observers.items()
        }
        lit = [Told(since, number, dict(walk.shown), "started") for number, walk in walks.items() if walk.lit]
        disputes.step(since, lit, held_before=True)
        streams = [_told(number, walk) for number, walk in walks.items()]
        moments = groupby(heapq.merge(*streams, key=lambda told: (told.at, told.observer)), lambda told: told.at)
        first = next(moments, None)
        if first is not None and first[0] == since:
            disputes.step(since, list(first[1]))
            first = None
        disputes.begin_anew(since)
        if first is not None:
            yield first[0], list(first[1])
        for at, told in moments:
            yield at, list(told)

    def _in_order(self, ended: list[Ended]) -> list[Ended]:
        wanted = [each for each in ended if each.subject.kind in self._asked.kinds]
        return sorted(wanted, key=lambda each: self._place(each.subject)) if len(wanted) > 1 else wanted

    def _open(self, disputes: Disputes, *, by_start: bool = False) -> list[tuple[Subject, Dispute]]:
        found = [each for held in disputes.open.values() for each in held.items() if each[0].kind in self._asked.kinds]
        return sorted(found, key=lambda each: (each[1].start if by_start else 0, self._place(each[0])))

    def _place(self, subject: Subject) -> tuple[Any, ...]:
        return _RANK[subject.kind], self._element(subject), subject.detail

    def _element(self, subject: Subject) -> Element:
        return self._dictionary.elements(self._connection, [subject.element])[subject.element]

    def _span(self, subject: Subject, dispute: Dispute, end: int, reason: AgreedBy | None) -> Disagreement:
        answer = self._answer(subject, dispute.sides(end))
        answer.start, answer.end = instant(dispute.start), None if reason is None else instant(end)
        answer.held_before, answer.end_reason = dispute.held_before, reason
        return answer

    def _answer(self, subject: Subject, sides: Mapping[str, Collection[int]]) -> Disagreement:
        item = self._element(subject)
        answer = Disagreement(subject.kind)
        if item.kind == "peer":
            answer.peer_key = item.key
        else:
            answer.connection = Connection(item.id, item.key, item.other, item.type)
        if subject.kind == "attribute":
            answer.path = subject.detail
            answer.values = tuple(self._value(text, who) for text, who in sorted(sides.items()))
            answer.seen_by = self._keys([number for who in sides.values() for number in who])
        else:
            answer.listed_by = subject.detail or None
            answer.seen_by = self._keys(sides.get(SEEN, ()))
            answer.not_seen_by = self._keys(sides.get(NOT_SEEN, ()))
        return answer

    def _value(self, text: str, who: Collection[int]) -> HeldValue:
        return HeldValue(loads(text) if text else ABSENT, self._keys(who))

    def _keys(self, who: Collection[int]) -> tuple[str, ...]:
        return tuple(sorted(self._names[number] for number in who))


def _told(number: int, walk: Walk) -> Iterator[Told]:
    """What one observer tells, moment by moment, from a walk of its view alone."""
    for moment in walk:
        if moment.lit and not moment.lit_before:
            yield Told(moment.at, number, dict(walk.shown), "started")
        elif moment.lit_before and not moment.lit:
            _, turn = moment.turns[-1]
            yield Told(moment.at, number, dict.fromkeys(walk.shown), turn)
        elif moment.changed:
            assigned = {element: after for element, (_, after) in moment.changed.items()}
            yield Told(moment.at, number, assigned, None)
