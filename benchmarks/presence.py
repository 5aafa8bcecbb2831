"""How fast the presence at an instant is told, beside reading as many rows by their primary key."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from statistics import median

from benchmarks.databases import sqlite_store
from benchmarks.histories import one_observer
from benchmarks.measuring import Measured, Table
from peerstore import PeerStore
from peerstore.presence import Presence

INSTANTS = 300


def tables(rounds: int) -> Iterator[Table]:
    """Each round asks at every instant, by turns; what is counted of a round is its median."""
    title, lines = one_observer()
    with sqlite_store() as store:
        store.record_many(lines)
        instants = _instants(store)
        answers = [store.presence_at(at) for at in instants]
        rows = _rows(answers)
        told, read = Measured("`presence_at`"), Measured("reading as many rows by primary key, `sqlite3`")
        for _ in range(rounds):
            took = [(_told(store, at), _read(rows, number)) for number, at in enumerate(instants)]
            told.seconds.append(median(each for each, _ in took))
            read.seconds.append(median(each for _, each in took))
    size = sum(len(answer.peers) + len(answer.connections) for answer in answers) / len(answers)
    note = (
        f"{INSTANTS} random instants of {len(lines)} observations; an answer has {size:.0f} peers and connections on"
        " average. The rows that are read are the answers themselves, in a table that is keyed by the instant."
    )
    yield Table(f"Presence at an instant: {title}", "wall time", [read, told], note)


def _instants(store: PeerStore) -> list[datetime]:
    observers = store.observer_summaries()
    begin = min(each.first_observed_at for each in observers)
    length = max(each.last_observed_at for each in observers) - begin
    source = random.Random(1)
    return [begin + timedelta(seconds=source.random() * length.total_seconds()) for _ in range(INSTANTS)]


def _rows(answers: list[Presence]) -> sqlite3.Connection:
    """The answers as rows, each instant's beside one another."""
    rows = sqlite3.connect(":memory:")
    rows.execute("CREATE TABLE answer (at INTEGER, number INTEGER, body TEXT, PRIMARY KEY (at, number)) WITHOUT ROWID")
    for at, answer in enumerate(answers):
        told = [*answer.to_dict()["peers"], *answer.to_dict()["connections"]]
        rows.executemany("INSERT INTO answer VALUES (?, ?, ?)", [(at, n, str(each)) for n, each in enumerate(told)])
    return rows


def _told(store: PeerStore, at: datetime) -> float:
    begun = time.perf_counter()
    store.presence_at(at)
    return time.perf_counter() - begun


def _read(rows: sqlite3.Connection, at: int) -> float:
    begun = time.perf_counter()
    rows.execute("SELECT number, body FROM answer WHERE at = ?", (at,)).fetchall()
    return time.perf_counter() - begun
