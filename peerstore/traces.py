"""What the store holds of one peer, wherever that stands. Nothing is written here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.canonical import dumps, loads
from peerstore.database import chunks
from peerstore.dictionary import observer_ids
from peerstore.ditto_peers import GRAPH
from peerstore.forgetting import mentions
from peerstore.interning import element_digest
from peerstore.peer_keys import bytes_of_key, handles_of
from peerstore.removing import is_emptied
from peerstore.states import DAY, at_end_of
from peerstore.tables import day_digest, document, element, element_change, peer_document, reject
from peerstore.timelines import ChangeRow, element_rows

_LONG_KEY = 20  # a key so long is looked for within words too
_change = element_change.c


def as_observer(connection: Connection, key: str) -> tuple[int | None, dict[int, str]]:
    """The peer as an observer, and all others by their ids."""
    found = observer_ids(connection)
    number = found.pop(key, None)
    return number, {other: name for name, other in found.items()}


def elements_of(connection: Connection, key: str) -> list[int]:
    """The elements of a peer: itself, its connections, and whatever goes by a handle that it gave."""
    handles = handles_of(key)
    numbers = sa.select(element.c.id).where(element.c.kind != "graph")
    found: set[int] = set()
    for column in (element.c.peer1, element.c.peer2):
        for statement in (column == key, sa.and_(column >= handles, column < f"{handles[:-1]};")):
            found.update(connection.execute(numbers.where(statement)).scalars())
    return sorted(found)


def graph_element(connection: Connection) -> list[int]:
    """The element that stands for graphs themselves; none before the first graph."""
    statement = sa.select(element.c.id).where(element.c.digest == element_digest(GRAPH))
    return list(connection.execute(statement).scalars())


def change_rows(connection: Connection, observer_id: int, items: Collection[int]) -> list[ChangeRow]:
    """All change rows of some elements in an observer's history, from the last day back."""
    return [row for rows in change_rows_by_day(connection, observer_id, items) for row in rows]


def change_rows_by_day(connection: Connection, observer_id: int, items: Collection[int]) -> Iterator[list[ChangeRow]]:
    """The change rows of some elements in an observer's history, in order, day by day from the last one back."""
    days = sa.select(day_digest.c.day).where(day_digest.c.observer_id == observer_id, day_digest.c.changes > 0)
    for day in connection.execute(days.order_by(day_digest.c.day.desc())).scalars().all():
        bounds = at_end_of(day * DAY - 1), at_end_of((day + 1) * DAY - 1)
        found = [row for some in chunks(items) for row in element_rows(connection, observer_id, some, *bounds)]
        if found:
            yield sorted(((at, of, item, now, was) for at, of, item, now, was in found), key=_in_order)


def _in_order(row: ChangeRow) -> tuple[int, int, int]:
    return row[:3]


def documents_as_local_peer(connection: Connection, key: str, observers: Collection[int]) -> dict[int, str]:
    """The documents of the graphs of some observers whose local peer is this one, by id."""
    graph = graph_element(connection)
    told = {number for each in observers for row in change_rows(connection, each, graph) for number in row[3:]} - {None}
    bodies: dict[int, str] = {}
    for some in chunks(sorted(number for number in told if number is not None)):
        rows = connection.execute(sa.select(document.c.id, document.c.body).where(document.c.id.in_(some)))
        bodies.update((number, body) for number, body in rows if loads(body).get("local_peer") == key)
    return bodies


class Unused(NamedTuple):
    """What no history holds: elements, documents, and documents of peers."""

    elements: frozenset[int] = frozenset()
    documents: frozenset[int] = frozenset()
    pairs: frozenset[tuple[int, int]] = frozenset()


NOTHING = Unused()


def unused_rows(connection: Connection, without_observer: int | None, without_items: Collection[int]) -> Unused:
    """What no history would hold without that of an observer and without some elements."""
    pairs: set[tuple[int, int]] = set()
    for told in (_change.document_id, _change.previous_id):
        statement = sa.select(_change.element_id, told).where(told.is_not(None)).distinct()
        if without_observer is not None:
            statement = statement.where(_change.observer_id != without_observer)
        rows = connection.execute(statement, execution_options={"yield_per": 1000})
        pairs.update((item, number) for item, number in rows if item not in without_items)
    used_elements, used_documents = {item for item, _ in pairs}, {number for _, number in pairs}
    elements = connection.execute(sa.select(element.c.id).where(element.c.kind != "graph")).scalars()
    documents = connection.execute(sa.select(document.c.id).where(sa.not_(is_emptied(document.c.body)))).scalars()
    peers = connection.execute(sa.select(peer_document.c.element_id, peer_document.c.document_id))
    return Unused(
        frozenset(elements) - used_elements,
        frozenset(documents) - used_documents,
        frozenset((item, number) for item, number in peers) - pairs,
    )


def _speaks_of(key: str) -> Callable[[bytes], bool]:
    """Whether a text holds a peer's key: one that is long anywhere, in any spelling."""
    spelled: set[bytes] = set()
    if len(key) >= _LONG_KEY:
        spelled = {key.encode(), dumps(key)[1:-1].encode()}
        if content := bytes_of_key(key):
            spelled |= {base64.b64encode(content).rstrip(b"="), base64.urlsafe_b64encode(content).rstrip(b"=")}
            spelled |= {content.hex().encode(), content.hex().upper().encode()}
    return lambda text: any(each in text for each in spelled) or mentions(text, key.__eq__)


def rejects_that_speak(connection: Connection, key: str) -> list[int]:
    """The ids of what was kept aside and holds the key."""
    speaks = _speaks_of(key)
    columns = (reject.c.id, reject.c.source, reject.c.reason, reject.c.content)
    rows = connection.execute(sa.select(*columns).order_by(reject.c.id), execution_options={"yield_per": 100})
    return [
        number
        for number, source, reason, content in rows
        if speaks(bytes(content)) or speaks(source.encode()) or speaks(reason.encode())
    ]


def mentions_elsewhere(connection: Connection, key: str, unused: Unused) -> int:
    """How many documents and identities of others hold the key."""
    speaks = _speaks_of(key)
    return sum(speaks(text) for text in _texts(connection, key, unused))


def _texts(connection: Connection, key: str, unused: Unused) -> Iterator[bytes]:
    """The documents and identities, but for those of the peer, that may hold its key."""
    inside = dumps(key)[1:-1]
    renamed = f'"local_peer":"{inside}"'
    for number, body in connection.execute(_BODIES, execution_options={"yield_per": 1000}):
        if number not in unused.documents and (len(key) >= _LONG_KEY or inside in body) and renamed not in body:
            yield body.encode()
    for number, *parts in connection.execute(_IDENTITIES, execution_options={"yield_per": 1000}):
        if number not in unused.elements and any(key in part for part in parts if part):
            yield "\n".join(filter(None, parts)).encode()


_BODIES = sa.select(document.c.id, document.c.body)
_IDENTITIES = sa.select(element.c.id, element.c.peer1, element.c.peer2, element.c.source_id)
