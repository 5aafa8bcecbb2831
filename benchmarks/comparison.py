"""peerstore beside what the same history could be kept in instead: the same work, and the same answers.

``PEERSTORE_BENCHMARK_CHANGES`` makes it another history than one of a million changes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from operator import eq
from pathlib import Path

from benchmarks.built import CHANGES, MILLION, database
from benchmarks.databases import sqlite_store
from benchmarks.measuring import Table, Target
from benchmarks.peers import BATCH, Missing, Peer, batches, changes_of, fresh
from benchmarks.peers.asking import INSTANTS, Case, ask, tails
from benchmarks.peers.continuum import Continuum
from benchmarks.peers.duckdb import Duckdb
from benchmarks.peers.history import History, Ours
from benchmarks.peers.intervals import BtreeIntervals, CoveringIntervals
from benchmarks.peers.loading import loading
from benchmarks.peers.mariadb import IndexedMariadb, Mariadb
from benchmarks.peers.raphtory import Raphtory
from benchmarks.peers.sizes import Size, sizes
from benchmarks.peers.snapshots import Snapshots

BEGINNING = 2_000
"""How many changes of it those are given which could not take all of it in a reasonable time."""

WHOLE: tuple[type[Peer], ...] = (Raphtory, Duckdb, CoveringIntervals, BtreeIntervals, IndexedMariadb, Mariadb)
SLOW: tuple[type[Peer], ...] = (Continuum,)

AT_LEAST: tuple[tuple[type[Peer], float], ...] = ((Raphtory, 30), (Mariadb, 100), (BtreeIntervals, 200))
"""How many times what `ids_at` takes at a million changes each of these is to take."""


def tables(rounds: int) -> Iterator[Table]:
    """At an instant (CPU time, then wall time), loading, and size."""
    history = History(*database(CHANGES), CHANGES)
    beginning = history.beginning(BEGINNING)
    end, few = beginning[-1].at, sum(len(each.changes) for each in beginning)
    missing: list[str] = []
    found: list[type[Peer]] = []
    loaded: list[str] = []
    taken: list[Size] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peerstore-peers-")))
        truth, ours = (Ours(stack.enter_context(sqlite_store(history.file)), history) for _ in range(2))
        cases = [
            Case("peerstore, `ids_at`", ours.ids, history.end, eq),
            Case("peerstore, `presence_at`", ours.presence, history.end, ours.is_presence),
        ]
        for kind in (*WHOLE, *SLOW):
            whole = kind in WHOLE
            try:
                peer = stack.enter_context(closing(kind(fresh(folder), history.elements)))
            except Missing as sentence:
                if f"{sentence}." not in missing:
                    missing.append(f"{sentence}.")
                continue
            begun = time.perf_counter()
            peer.load(changes_of(history.file) if whole else beginning)
            title = kind.title if whole else f"{kind.title}, the first {few:,} changes only"
            loaded.append(f"{title} {time.perf_counter() - begun:.0f} s")
            found.append(kind)
            taken.append(Size(title, peer.size(), history.changes if whole else few))
            until = history.end if whole else end
            cases.append(Case(title, peer.at, until, eq, kind.every, issubclass(kind, Mariadb)))
        snapshots = stack.enter_context(closing(Snapshots(fresh(folder))))
        for batch in batches(history.lines(end)):
            snapshots.record(batch)
        title = f"{Snapshots.title}, the first {few:,} changes only"
        taken.append(Size(title, snapshots.size(), few, whole=True))
        cases.append(Case(title, snapshots.at, end, history.is_said_by))
        ask(rounds, cases, truth, history.begin)
        yield _inside(rounds, history, cases, missing)
        yield _servers_too(cases, loaded, missing)
    yield loading(
        rounds,
        history,
        [kind for kind in found if kind in WHOLE],
        [kind for kind in found if kind in SLOW],
        missing,
    )
    yield sizes(history, taken, missing)


def _inside(rounds: int, history: History, cases: Sequence[Case], missing: Sequence[str]) -> Table:
    inside = [case for case in cases if not case.own_process]
    slow = max(case.every for case in cases)
    asked = (
        f"{history.told} {rounds} rounds of {INSTANTS} random instants at which the observer was watching (the slow are"
        f" asked at one in {slow}), in each round one after the other; a round counts with its median. `presence_at`"
        " gives a whole answer: peers with their attributes, connections, observers; `ids_at` and the others give ids."
        " Each answer was compared with peerstore's, and all are equal. CPU time is that of all threads."
    )
    note = [asked, tails(inside, "cpu"), *missing]
    measured = [case.measured("cpu") for case in inside]
    return _aimed(Table("Presence at an instant, beside others", "CPU time", measured, "\n\n".join(note)))


def _servers_too(cases: Sequence[Case], loaded: Sequence[str], missing: Sequence[str]) -> Table:
    same = "The same answers by the clock on the wall: a server's work is not in the CPU time of this process."
    before = (
        f"Loading before, once, in transactions of {BATCH} observations (DuckDB: all in one statement):"
        f" {', '.join(loaded)}."
    )
    note = [same, tails(cases, "wall"), before, *missing]
    measured = [case.measured("wall") for case in cases]
    title = "Presence at an instant, beside others, servers too"
    return _aimed(Table(title, "wall time", measured, "\n\n".join(note)))


def _aimed(table: Table) -> Table:
    if CHANGES < MILLION:
        return table
    places = {each.name: place for place, each in enumerate(table.measured)}
    table.targets = [
        Target(f"{kind.title}, beside `ids_at`", table.ratio(places[kind.title]), at_least=least)
        for kind, least in AT_LEAST
        if kind.title in places
    ]
    return table
