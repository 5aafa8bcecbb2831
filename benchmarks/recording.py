"""How fast a history is recorded, beside parsing its lines with ``json.loads`` and throwing the result away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from benchmarks.databases import has_postgresql, postgresql_store, sqlite_store
from benchmarks.histories import many_observers, one_observer
from benchmarks.measuring import Table, interleaved
from peerstore import PeerStore

Stores = Callable[[], AbstractContextManager[PeerStore]]


def tables(rounds: int) -> Iterator[Table]:
    """CPU time on SQLite, where all work is done in this process; wall time on PostgreSQL, where a server does most."""
    for title, lines in (one_observer(), many_observers()):
        cases = {
            "`json.loads` of every line": lambda lines=lines: _parse(lines, time.process_time),
            "`record_many`, SQLite": lambda lines=lines: _record(lines, sqlite_store, time.process_time),
        }
        measured = interleaved(rounds, cases, len(lines))
        note = f"{len(lines)} observations into a fresh file, WAL with `synchronous=FULL`, one durable commit a batch."
        yield Table(f"Recording: {title}", "CPU time", measured, note)
    if has_postgresql():
        yield _on_postgresql(rounds)


def _on_postgresql(rounds: int) -> Table:
    title, lines = one_observer()
    cases = {
        "`json.loads` of every line": lambda: _parse(lines, time.perf_counter),
        "`record_many`, SQLite": lambda: _record(lines, sqlite_store, time.perf_counter),
        "`record_many`, PostgreSQL": lambda: _record(lines, postgresql_store, time.perf_counter),
    }
    note = "A server on the same machine, reached over a socket, does its part at the same time."
    return Table(f"Recording on PostgreSQL: {title}", "wall time", interleaved(min(rounds, 3), cases, len(lines)), note)


def _parse(lines: list[bytes], clock: Callable[[], float]) -> float:
    begun = clock()
    for line in lines:
        json.loads(line)
    return clock() - begun


def _record(lines: list[bytes], stores: Stores, clock: Callable[[], float]) -> float:
    with stores() as store:
        begun = clock()
        store.record_many(lines)
        return clock() - begun
