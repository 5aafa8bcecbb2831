"""What changed, and when: the changes of the merged presence, and the attribute changes among them, as streams in
order of time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

import sqlalchemy as sa
from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore import inventory
from peerstore.answers.changes import AttributeChange, Change, ChangeKind, Difference
from peerstore.canonical import ABSENT, Json, differences, differences_at
from peerstore.coverage import Scope
from peerstore.dictionary import Dictionary
from peerstore.errors import QuestionError
from peerstore.merging import merged_holders
from peerstore.model import Connection, Element, ElementKind, Peer
from peerstore.presence import Presence, assembled, observer_state, presence_at
from peerstore.remnants import first_seen_before_horizon, last_before_horizon
from peerstore.states import at_end_of, last_logged
from peerstore.tables import element
from peerstore.times import LATEST, instant, micros
from peerstore.walk import Moment, Walk

KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)
OF_OBSERVERS = frozenset({"observer_started", "observer_stopped"})
OF_PEERS = frozenset({"appeared", "disappeared", "changed"})
OF_CONNECTIONS = frozenset({"connected", "disconnected"})
_FIRST_MINUTE = 60_000_000
_LEARNED_FIELDS = ("/os", "/sdk_version", "/is_compatible")
_METADATA_FIELDS = ("peer_metadata", "identity_service_metadata")
_LOOK_BACK = 86_400_000_000
_FEW_PEERS = 200  # of more, reading all rows of peers as they come costs less than picking

Elements = Collection[int] | ElementKind | None
"""Of which elements a walk tells: these, those of one kind, or all."""


@dataclass(slots=True)
class Gone:
    """What is remembered of a peer that is absent: its last document, and whether a time without any watcher
    followed."""

    document: int
    dark_since: bool = False


class Question:
    """One question about changes: who asks the walk, and what is remembered on the way."""

    def __init__(
        self,
        connection: DatabaseConnection,
        dictionary: Dictionary,
        scope: Scope,
        since: int | None,
        until: int | None,
        peer: str | None = None,
        elements: Elements = None,
        path: str | None = None,
    ) -> None:
        self.connection = connection
        self.dictionary = dictionary
        self.scope = scope
        since = scope.begin(since)
        self.after = scope.before_all if since is None else since - 1
        self.until = LATEST + 1 if until is None else until
        self.peer = peer
        self.elements = elements
        self.path = path
        self._names = {number: key for key, number in scope.observers.items()}
        self._gone: dict[int, Gone] = {}
        self._first_seen: dict[int, int] = {}
        self._from_the_start = since is None

    def changes(self, kinds: Collection[str] | None = None) -> Iterator[Change]:
        """The changes in ``[since, until)``, those of one instant in the order of :func:`_order`; with a path, only
        those of attributes at it or below it."""
        if self.path is not None:
            kinds = ("changed",)
        elements = self._elements_of(frozenset(KINDS if kinds is None else kinds))
        walk = Walk(self.connection, self.dictionary, self.scope, self.after, self.until, elements)
        if self._from_the_start:
            self._first_seen.update(dict.fromkeys(walk.shown, self.after))
        for moment in walk:
            for change in self._of_moment(moment):
                if kinds is None or change.kind in kinds:
                    yield change

    def _elements_of(self, kinds: frozenset[str]) -> Elements:
        """The elements that changes of these kinds can be of: a walk reads the rows of no other."""
        if self.elements is not None:
            return self.elements
        if kinds <= OF_OBSERVERS:
            return ()
        if kinds <= OF_OBSERVERS | OF_PEERS:
            return "peer" if self.peer is None else inventory.peer_elements(self.connection, self.peer)
        if kinds <= OF_OBSERVERS | OF_CONNECTIONS:
            return "connection" if self.peer is None else inventory.connection_elements(self.connection, [self.peer])
        return None if self.peer is None else elements_of_peer(self.connection, self.peer)

    def _of_moment(self, moment: Moment) -> list[Change]:
        at = instant(moment.at)
        gap = moment.known_before and not moment.lit_before
        elements = self.dictionary.elements(self.connection, moment.changed)
        found: list[Change] = [
            Change(
                "observer_started" if turn == "started" else "observer_stopped",
                at,
                observer=self._names[number],
                reason=None if turn == "started" else turn,
            )
            for number, turn in moment.turns
        ]
        for number, (before, after) in moment.changed.items():
            item = elements[number]
            who = min(self._names[each] for each in moment.causes[number])
            reason = moment.end_reason(number)
            if item.kind == "connection" and (before is None or after is None):
                kind: ChangeKind = "connected" if before is None else "disconnected"
                found.append(_link_change(kind, at, item, who, gap, reason))
            elif item.kind == "peer":
                found.extend(self._of_peer(moment, at, number, item.key, who, gap, reason))
        if not moment.lit:
            self._darken()
        found.sort(key=_order)
        return found

    def _darken(self) -> None:
        for gone in self._gone.values():
            gone.dark_since = True

    def _of_peer(
        self, moment: Moment, at: datetime, number: int, key: str, who: str, gap: bool, reason: str
    ) -> Iterator[Change]:
        before, after = moment.changed[number]
        if after is None:
            assert before is not None
            self._gone[number] = Gone(before, gap)
            yield Change("disappeared", at, key, observer=who, across_gap=gap, reason=reason)
            return
        across_absence = before is None
        if before is None:
            yield Change("appeared", at, key, observer=who, across_gap=gap)
            gone = self._gone.pop(number, None) or self._look_back(number)
            if gone is None:
                self._first_seen.setdefault(number, moment.at)
                return
            before, gap = gone.document, gap or gone.dark_since
        for path, old, new in self._differences(before, after):
            learned = self._learned(number, moment.at, path, before, old, new)
            yield Change(
                "changed",
                at,
                key,
                path=path,
                before=old,
                after=new,
                observer=who,
                learned=learned,
                across_absence=across_absence,
                across_gap=gap,
            )

    def _differences(self, before: int, after: int) -> Iterable[tuple[str, Json, Json]]:
        if before == after:
            return ()
        documents = self.dictionary.documents(self.connection, (before, after))
        return differences_at(documents[before].value, documents[after].value, self.path or "")

    def _learned(self, number: int, at: int, path: str, document: int, before: Json, after: Json) -> bool:
        """Rule 10: an unknown became known. Within metadata, null is a value like any other."""
        if path in _LEARNED_FIELDS:
            return (before is ABSENT or before is None) and not (after is ABSENT or after is None)
        field = path.split("/", 2)[1]
        if field not in _METADATA_FIELDS or (path == f"/{field}" and not after):
            return False
        value: Any = self.dictionary.documents(self.connection, [document])[document].value
        return not value.get(field) and at - self._seen_first(number) < _FIRST_MINUTE

    def _seen_first(self, number: int) -> int:
        if number not in self._first_seen:
            first = first_seen_before_horizon(self.connection, self.scope, number)
            if first is None:
                first_after = self.scope.before_all
                earliest = Walk(self.connection, self.dictionary, self.scope, first_after, LATEST + 1, [number])
                moments = (moment.at for moment in earliest if moment.changed.get(number, (0, None))[1] is not None)
                first = next(moments)
            self._first_seen[number] = first
        return self._first_seen[number]

    def _look_back(self, number: int) -> Gone | None:
        """What a peer was when it was last present before this question's window; looks back in steps that grow."""
        if self._from_the_start:
            return None
        step, first = _LOOK_BACK, self.scope.before_all
        while True:
            start = max(self.after - step, first)
            walk = Walk(self.connection, self.dictionary, self.scope, start, self.after + 1, [number])
            before = self._gone_before_horizon(walk, number) if start == first else None
            gone = _last_of(walk, number, before)
            if gone is not None or start == first:
                return gone
            step *= 8

    def _gone_before_horizon(self, walk: Walk, number: int) -> Gone | None:
        """What an absent peer was before the horizon. (Whether a time without any watcher followed before that is not
        known.)"""
        if number in walk.shown:
            return None
        last = last_before_horizon(self.connection, self.dictionary, self.scope, number)
        return None if last is None else Gone(last.document, not walk.lit)


def _last_of(walk: Walk, number: int, gone: Gone | None = None) -> Gone | None:
    present = walk.shown.get(number)
    for moment in walk:
        before, after = moment.changed.get(number, (present, present))
        if after is None and before is not None:
            gone = Gone(before, not moment.lit_before)
        elif after is not None:
            gone = None
        if gone is not None and not moment.lit:
            gone.dark_since = True
        present = after
    return gone


def _link_change(kind: ChangeKind, at: datetime, item: Element, who: str, gap: bool, reason: str) -> Change:
    link = Connection(item.id, item.key, item.other, item.type)
    why = reason if kind == "disconnected" else None
    return Change(kind, at, connection=link, observer=who, across_gap=gap, reason=why)


_RANK = {
    kind: rank
    for rank, kind in enumerate(
        ("observer_started", "appeared", "changed", "connected", "disconnected", "disappeared", "observer_stopped")
    )
}


def _order(change: Change) -> tuple[Any, ...]:
    link = change.connection
    ends = () if link is None else (link.peer1, link.peer2, link.type, link.id)
    return (_RANK[change.kind], change.peer_key or "", ends, change.path or "", change.observer or "")


def checked_kinds(kinds: Collection[str] | str | None, path: str | None = None) -> frozenset[str] | None:
    """The kinds of changes that are asked for (``None``: all); :class:`~peerstore.errors.QuestionError` if there are no
    such, or they have no path where one is asked for."""
    if kinds is None:
        return None
    wanted = frozenset([kinds] if isinstance(kinds, str) else kinds)
    unknown = sorted(wanted - set(KINDS))
    if unknown:
        raise QuestionError(f"there is no kind of change named {', '.join(unknown)}: the kinds are {', '.join(KINDS)}")
    if path is not None and "changed" not in wanted:
        raise QuestionError("only changes of the kind changed have a path")
    return wanted


def changing_peers(connection: DatabaseConnection) -> Elements:
    """The peers whose attributes can have changed at all: those of several documents, where they are few."""
    several = inventory.peers_with_several_documents(connection)
    return several if len(several) <= _FEW_PEERS else "peer"


def attribute_changes(question: Question) -> Iterator[AttributeChange]:
    """The attribute changes of a question."""
    for change in question.changes(("changed",)):
        assert change.peer_key is not None
        assert change.path is not None
        yield AttributeChange(
            change.peer_key,
            change.path,
            change.before,
            change.after,
            change.observed_at,
            change.observer,
            change.learned,
            change.across_absence,
            change.across_gap,
        )


def elements_of_peer(connection: DatabaseConnection, peer: str) -> list[int]:
    """The ids of a peer and of every connection with an end at it."""
    statement = (
        sa.select(element.c.id)
        .where(element.c.peer1 == peer)
        .union(sa.select(element.c.id).where(element.c.peer2 == peer))
    )
    return list(connection.execute(statement).scalars())


def tell_inside(connection: DatabaseConnection, dictionary: Dictionary, scope: Scope, difference: Difference) -> None:
    """Give a difference what it lacks: the members that tell what happened between its two moments."""
    first, last = sorted((micros(difference.since), micros(difference.until)))
    walk = Walk(connection, dictionary, scope, first, last + 1)
    before = set(walk.shown)
    visits: dict[int, int] = {}
    missed: set[int] = set()
    for moment in walk:
        for number, (_, document) in moment.changed.items():
            if document is None:
                missed.add(number)
            elif number not in before:
                visits[number] = document
    passed = {number: document for number, document in visits.items() if number not in walk.shown}
    back = {number: walk.shown[number] for number in missed & before & walk.shown.keys()}
    difference.came_and_went, difference.links_came_and_went = _things(
        walk, connection, dictionary, scope, passed, last
    )
    things = _things(walk, connection, dictionary, scope, back, last)
    difference.left_and_returned, difference.links_left_and_returned = things


def _things(
    walk: Walk,
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    documents: Mapping[int, int],
    at: int,
) -> tuple[tuple[Peer, ...], tuple[Connection, ...]]:
    """Elements with these documents as peers and connections, and who of those watching at the end of a walk sees
    them."""
    elements = dictionary.elements(connection, documents)
    bodies = dictionary.documents(connection, documents.values())
    names = {number: key for key, number in scope.observers.items()}
    peers, links = [], []
    for number in sorted(documents, key=elements.__getitem__):
        item = elements[number]
        seen_by = tuple(sorted(names[observer] for observer in walk.holders.by_element.get(number, ())))
        if item.kind == "peer":
            spoke = item.key in scope.observers and (
                last_logged(connection, scope.observers[item.key], at_end_of(at), scope.known_at) is not None
            )
            peers.append(Peer(item.key, bodies[documents[number]], spoke, seen_by))
        elif item.kind == "connection":
            links.append(Connection(item.id, item.key, item.other, item.type, seen_by))
    return tuple(peers), tuple(links)


def presence_over(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int,
    until: int,
    step: int | None,
) -> Iterator[Presence]:
    """The presence at ``since``, then at every instant in ``(since, until)`` at which it differs, or at every step."""
    if step is not None:
        for at in range(since, until, step):
            yield presence_at(connection, dictionary, scope, at)
        return
    last = presence_at(connection, dictionary, scope, since)
    yield last
    walk = Walk(connection, dictionary, scope, since, until)
    for moment in walk:
        states = []
        for key, number in scope.observers.items():
            logged = last_logged(connection, number, at_end_of(moment.at), scope.known_at)
            states.append(observer_state(connection, scope, key, logged, moment.at))
        found = merged_holders(scope.observers, walk.watching, walk.holders, walk.begins)
        here = assembled(connection, dictionary, scope, found, tuple(states), moment.at)
        if _differ(last, here):
            yield here
            last = here


def _differ(before: Presence, after: Presence) -> bool:
    if before.peers.keys() != after.peers.keys() or before.connections != after.connections:
        return True
    if not all(_alike(peer, after.peers[key]) for key, peer in before.peers.items()):
        return True
    return [each.watching for each in before.observers] != [each.watching for each in after.observers]


def _alike(one: Peer, other: Peer) -> bool:
    """Whether a peer is seen alike by the same; that it has itself spoken meanwhile makes no difference."""
    return one == other or (one.seen_by == other.seen_by and not any(differences(one.document, other.document)))
