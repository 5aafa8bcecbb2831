"""What the store holds: peers by name, observers, rejects, counts."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.answers.inventory import LoggedObservation, ObserverSummary, Reject
from peerstore.canonical import dumps
from peerstore.coverage import Scope, from_horizon, is_watching
from peerstore.database import chunks
from peerstore.dictionary import FORGOTTEN_OBSERVER, observer_ids
from peerstore.ditto import canonical_peer_key
from peerstore.errors import InputError, UnknownPeer
from peerstore.model import Element
from peerstore.naming import device_name, newest_names
from peerstore.peer_keys import MAX_KEY, checked_text
from peerstore.states import (
    AFTER_ALL,
    BEFORE_ALL,
    Logged,
    Position,
    after_bound,
    at_end_of,
    last_logged,
    logged_between,
)
from peerstore.tables import (
    document,
    element,
    element_change,
    observation_log,
    observer,
    peer_document,
    reject,
)
from peerstore.times import instant

_FEW_DOCUMENTS = 8  # a peer with more may be one whose attributes change all day: better not read them all


def peer_elements(connection: Connection, key: str) -> list[int]:
    """The id of a peer, in a list; an empty one if it was never recorded."""
    statement = sa.select(element.c.id).where(element.c.peer1 == key, element.c.kind == "peer")
    return list(connection.execute(statement).scalars())


def all_peers(connection: Connection, key: str | None = None) -> dict[int, str]:
    """The key of every peer ever heard of by its id, in the byte order of the keys; or of the one asked for."""
    statement = sa.select(element.c.id, element.c.peer1).where(element.c.kind == "peer").order_by(element.c.peer1)
    if key is not None:
        statement = statement.where(element.c.peer1 == key)
    return {row.id: row.peer1 for row in connection.execute(statement)}


def connection_elements(connection: Connection, ends: Sequence[str]) -> list[int]:
    """The ids of the connections of a peer, or of those between two."""
    links = sa.select(element.c.id).where(element.c.kind == "connection")
    if len(ends) == 2:
        smaller, greater = sorted(ends)
        statement: sa.Select[Any] | sa.CompoundSelect[Any] = links.where(
            element.c.peer1 == smaller, element.c.peer2 == greater
        )
    else:
        statement = links.where(element.c.peer1 == ends[0]).union(links.where(element.c.peer2 == ends[0]))
    return list(connection.execute(statement).scalars())


def resolve_peer(connection: Connection, name: str) -> str:
    """The key of the peer with this key, unique prefix of a key, or unique device name."""
    found = _keyed(connection, name) or _named(connection, name)
    if len(found) == 1:
        return found.pop()
    if not found:
        raise UnknownPeer(f"no peer goes by {name!r}: `peerstore peers` lists them")
    shown = ", ".join(sorted(found)[:5]) + (", ..." if len(found) > 5 else "")
    raise UnknownPeer(f"several peers go by {name!r}: {shown}; give more of the key")


def _keyed(connection: Connection, name: str) -> set[str]:
    """The key that a text spells, or else the first keys that begin with it."""
    try:
        checked_text(name, "a peer key", MAX_KEY)
    except InputError:
        return set()  # no database can be asked for it, and no key begins like that
    try:
        key = canonical_peer_key(name)
    except InputError:
        key = name
    peers = sa.select(element.c.peer1).where(element.c.kind == "peer")
    observers = sa.select(observer.c.observer_key).where(observer.c.observer_key.not_like(f"{FORGOTTEN_OBSERVER}%"))
    exact = [peers.where(element.c.peer1 == key), observers.where(observer.c.observer_key == key)]
    if any(connection.execute(statement).first() for statement in exact):
        return {key}
    beginning = [peers.where(*_from(element.c.peer1, name)), observers.where(*_from(observer.c.observer_key, name))]
    found = {each for statement in beginning for each in connection.execute(statement.limit(10)).scalars()}
    return {each for each in found if each.startswith(name)}


def _from(column: sa.Column[Any], name: str) -> tuple[sa.ColumnElement[bool], ...]:
    # Not BETWEEN: PostgreSQL knows no COLLATE within it.
    return column >= name, column <= name + chr(0x10FFFF)


def _named(connection: Connection, name: str) -> set[str]:
    """The keys of peers that ever had this device name."""
    text = dumps({"device_name": name})[1:-1]
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    documents = sa.select(document.c.id, document.c.body).where(document.c.body.like(pattern, escape="\\"))
    numbers = [row.id for row in connection.execute(documents) if device_name(row.body) == name]
    bearers = (
        sa.select(element.c.peer1)
        .select_from(peer_document.join(element, element.c.id == peer_document.c.element_id))
        .where(peer_document.c.document_id.in_(sa.bindparam("ids", expanding=True)))
    )
    return {key for ids in chunks(numbers) for key in connection.execute(bearers, {"ids": ids}).scalars()}


def peer_keys(connection: Connection) -> list[str]:
    """The key of every peer ever heard of, in byte order."""
    statement = sa.select(element.c.peer1).where(element.c.kind == "peer").order_by(element.c.peer1)
    return [str(key) for key in connection.execute(statement).scalars()]


def observer_keys(connection: Connection) -> list[str]:
    """The key of every observer, in byte order."""
    return list(observer_ids(connection))


def peers_with_several_documents(connection: Connection, most: int = 1) -> list[int]:
    """The ids of the peers that were recorded with more than one document (with more than so many), whoever saw them:
    all others never changed."""
    peer = peer_document.c.element_id
    statement = sa.select(peer).group_by(peer).having(sa.func.count() > most).order_by(peer)
    return list(connection.execute(statement).scalars())


def device_names(connection: Connection) -> dict[str, str]:
    """The newest device name of every peer that ever had one, by key, whoever saw it."""
    names = _only_names(connection)
    several = [number for number, name in names.items() if name is None]
    several += peers_with_several_documents(connection, _FEW_DOCUMENTS)
    newest = newest_names(connection, several)
    found = {number: newest.get(number, name) for number, name in (dict.fromkeys(several) | names).items()}
    return {key: name for number, key in all_peers(connection).items() if (name := found.get(number))}


def _only_names(connection: Connection) -> dict[int, str | None]:
    """The name of each peer that has few documents and a name in them; ``None`` if they tell several names."""
    peer = peer_document.c.element_id
    few = sa.select(peer).group_by(peer).having(sa.func.count() <= _FEW_DOCUMENTS)
    told = sa.select(peer, document.c.body).select_from(peer_document.join(document)).where(peer.in_(few))
    names: dict[int, str | None] = {}
    for number, body in connection.execute(told):
        if name := device_name(body):
            names[number] = name if names.setdefault(number, name) == name else None
    return names


def observer_summaries(connection: Connection, scope: Scope, now: int) -> list[ObserverSummary]:
    """Every observer of a scope that had spoken; of a pruned history, by its observations from the horizon on and those
    that were in force at it."""
    log = observation_log.c
    statement = sa.select(
        sa.func.min(log.observed_at), sa.func.max(log.observed_at), sa.func.max(log.recorded_at), sa.func.count()
    ).where(log.observer_id == sa.bindparam("observer"))
    if scope.known_at is not None:
        statement = statement.where(log.recorded_at <= scope.known_at)
    if scope.retention.horizon is not None:
        statement = statement.where(after_bound(observation_log))
    found = []
    for key, number in scope.observers.items():
        values = {"observer": number, **from_horizon(connection, number, scope.retention, scope.known_at)}
        first, last, recorded, count = connection.execute(statement, values).one()
        if count:
            logged = last_logged(connection, number, at_end_of(now), scope.known_at)
            watching = is_watching(logged, now, scope)
            found.append(ObserverSummary(key, instant(first), instant(last), instant(recorded), count, watching))
    return found


def last_observed_at(connection: Connection) -> int | None:
    """When the last observation was made, whoever made it."""
    found = (last_logged(connection, number, AFTER_ALL) for number in observer_ids(connection).values())
    return max((logged.observed_at for logged in found if logged is not None), default=None)


def observation_log_between(
    connection: Connection, scope: Scope, since: int | None, until: int | None
) -> Iterator[LoggedObservation]:
    """The observations of a scope in ``[since, until)``, in order of time, then of the observers' keys."""
    since = scope.begin(since)
    after = BEFORE_ALL if since is None else at_end_of(since - 1)
    upto = AFTER_ALL if until is None else at_end_of(until - 1)
    streams = [_of_observer(connection, key, number, after, upto) for key, number in scope.observers.items()]
    for at, key, logged in heapq.merge(*streams):
        if scope.known_at is None or logged.recorded_at <= scope.known_at:
            silence = None if logged.max_silence is None else timedelta(microseconds=logged.max_silence)
            yield LoggedObservation(
                key, instant(at), logged.sequence, instant(logged.recorded_at), bool(logged.stopped), silence
            )


def _of_observer(
    connection: Connection, key: str, number: int, after: Position, until: Position
) -> Iterator[tuple[int, str, Logged]]:
    for logged in logged_between(connection, number, after, until):
        yield logged.observed_at, key, logged


def connections_ever(connection: Connection, observer_id: int | None) -> Iterator[Element]:
    """Every connection that a recorded graph held, by its ends, type and id; or of one observer's graphs."""
    change = element_change.c
    held = sa.select(change.element_id).where(change.document_id.is_not(None))
    if observer_id is not None:
        held = held.where(change.observer_id == observer_id)
    identity = (element.c.peer1, element.c.peer2, element.c.type, element.c.source_id)
    statement = sa.select(*identity).where(element.c.kind == "connection", element.c.id.in_(held)).order_by(*identity)
    for row in connection.execute(statement, execution_options={"yield_per": 1000}):
        yield Element("connection", *row)


def rejects(connection: Connection) -> Iterator[Reject]:
    """What was kept aside, in the order in which it came."""
    statement = sa.select(reject).order_by(reject.c.id)
    for row in connection.execute(statement, execution_options={"yield_per": 100}):
        yield Reject(
            row.id,
            row.kind,
            row.source,
            row.line,
            row.reason,
            instant(row.recorded_at),
            bytes(row.content),
            bool(row.complete),
        )
