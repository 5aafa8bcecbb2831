"""Generated histories, as lines of the contract's input, and what is stored of one, told without surrogate ids."""

from __future__ import annotations

import random
from typing import Any

import sqlalchemy as sa

from peerstore.times import iso
from tests.databases import plain

START = 1_783_533_600_000_000
SECOND = 1_000_000
OBSERVERS = ("till-1", "till-2", "till-3")
PEERS = (*OBSERVERS, "scanner", "printer", "kitchen", "server")
TYPES = ("Bluetooth", "AccessPoint", "P2PWiFi", "WebSocket")

Line = dict[str, Any]


def history(seed: int, observations: int) -> list[Line]:
    """Lines in the order of time, each place once: graphs that change little, unchanged ones, stop markers, silences,
    several of one instant."""
    source = random.Random(seed)
    present: dict[str, dict[str, dict[str, Any]]] = {observer: {} for observer in OBSERVERS}
    lines, at, sequence = [], START, 0
    for _ in range(observations):
        observer = source.choice(OBSERVERS)
        if source.random() < 0.1:
            sequence += 1
        else:
            at, sequence = at + source.randrange(1, 40 * SECOND), 0
        line: Line = {"observedAt": iso(at), "observer": observer, "sequence": sequence, "graph": None}
        if source.random() < 0.95:
            alter(present[observer], source)
            line["graph"] = graph(observer, present[observer], source)
        if source.random() < 0.3:
            line["maxSilenceSeconds"] = source.choice((1, 20, 45.5))
        lines.append(line)
    return lines


def alter(present: dict[str, dict[str, Any]], source: random.Random) -> None:
    """Let nothing, a coming, a going or a change of attributes happen in a view."""
    key, what = source.choice(PEERS), source.random()
    if what < 0.4:
        present[key] = {"deviceName": f"{key} {source.randrange(3)}", "peerMetadata": {"n": source.choice((1, 1.0, 2))}}
    elif what < 0.6:
        present.pop(key, None)


def graph(observer: str, present: dict[str, dict[str, Any]], source: random.Random) -> dict[str, Any]:
    """The view as a graph in the shape of the SDK 5, its peers in any order."""
    others = [{"peerKey": key, **told} for key, told in present.items() if key != observer]
    source.shuffle(others)
    links = [link(observer, other["peerKey"]) for other in others]
    local = {"peerKey": observer, "connections": links, **present.get(observer, {})}
    return {"localPeer": local, "remotePeers": others}


def link(one: str, other: str) -> dict[str, Any]:
    """The connection of two peers; its type is always the same."""
    first, second = sorted((one, other))
    return {"peer1": first, "peer2": second, "connectionType": TYPES[len(one + other) % len(TYPES)]}


def shuffled(lines: list[Line], seed: int) -> list[Line]:
    """The lines in another order, a third of them twice."""
    source = random.Random(seed)
    given = [*lines, *source.sample(lines, len(lines) // 3)]
    source.shuffle(given)
    return given


_LOG = """
    SELECT o.observer_key, l.observed_at, l.sequence, l.stopped, l.max_silence, l.gap_from
    FROM observation_log l JOIN observer o ON o.id = l.observer_id
    ORDER BY o.observer_key, l.observed_at, l.sequence"""
_CHANGES = """
    SELECT o.observer_key, c.observed_at, c.sequence, e.kind, COALESCE(e.peer1, ''), COALESCE(e.peer2, ''),
           COALESCE(e.type, ''), COALESCE(e.source_id, ''), after.body, previous.body, c.day
    FROM element_change c JOIN observer o ON o.id = c.observer_id JOIN element e ON e.id = c.element_id
    LEFT JOIN document after ON after.id = c.document_id LEFT JOIN document previous ON previous.id = c.previous_id"""

_DOCUMENTS = """
    SELECT e.kind, e.peer1, d.body FROM peer_document p
    JOIN element e ON e.id = p.element_id JOIN document d ON d.id = p.document_id"""


def stored(url: str) -> tuple[list[Any], list[Any], list[Any]]:
    """The rows of the observation log, the change rows and the documents of peers, with keys instead of ids and without
    ``recorded_at``."""
    with plain(url) as connection:
        log = [tuple(row) for row in connection.execute(sa.text(_LOG))]
        changes, documents = (
            sorted((tuple(row) for row in connection.execute(sa.text(query))), key=repr)
            for query in (_CHANGES, _DOCUMENTS)
        )
    return log, changes, documents
