"""How fast the presence at an instant is told, beside reading the same answer as rows that lie beside one another; and
how that grows with the history, the mesh and the observers."""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

import peerstore
from benchmarks.built import CHANGES, FEWER, database
from benchmarks.databases import has_postgresql, postgresql_store
from benchmarks.measuring import Measured, Table, Target, percentile, short
from peerstore import PeerStore
from peerstore.presence import Presence

INSTANTS = 100
LONGEST = int(os.environ.get("PEERSTORE_BENCHMARK_LONGEST") or 10_000_000)
"""The changes of the longest history, which takes a quarter of an hour to make, once."""
GROWING = (LONGEST // 100, LONGEST // 10, LONGEST)
POLLED = 120.0
"""Seconds from a change to the observation that tells of it, in the histories that differ in length."""

Question = Callable[[datetime, int], object]


def tables(rounds: int) -> Iterator[Table]:
    """Each round asks at every instant, the questions in turns; what counts of a round is its median."""
    path, told = database(CHANGES)
    with peerstore.open(path, create=False) as store:
        yield _beside_rows(rounds, path, store, told)
        yield _questions(rounds, store)
    yield _of_observers(rounds)
    yield _of_size(rounds)
    yield _of_length(rounds)
    if has_postgresql():
        yield _on_postgresql(rounds)


def measured(
    rounds: int, instants: Sequence[datetime], questions: Mapping[str, Question], clock: Callable[[], float]
) -> tuple[list[Measured], dict[str, list[float]]]:
    """What each question took, round by round, and at every instant of all rounds.

    A question is asked at all instants of a round before the next one is, as a program that has one question asks it.
    """
    found = {name: Measured(name) for name in questions}
    single: dict[str, list[float]] = {name: [] for name in questions}
    for _ in range(rounds):
        for name, ask in questions.items():
            took = []
            for number, at in enumerate(instants):
                begun = clock()
                ask(at, number)
                took.append(clock() - begun)
            found[name].seconds.append(median(took))
            single[name] += took
    return list(found.values()), single


def instants_of(store: PeerStore, count: int = INSTANTS, seed: int = 1) -> list[datetime]:
    """Random instants of a history, at which its first observer was watching."""
    observer = store.observer_summaries()[0]
    length = (observer.last_observed_at - observer.first_observed_at).total_seconds()
    source = random.Random(seed)
    found: list[datetime] = []
    while len(found) < count:
        at = observer.first_observed_at + timedelta(seconds=source.random() * length)
        if store.ids_at(at, observer=observer.observer):
            found.append(at)
    return found


def _tails(single: Mapping[str, Sequence[float]]) -> str:
    parts = [
        f"{name} {short(percentile(took, 0.99))} ({percentile(took, 0.99) / median(took):.1f} times its median)"
        for name, took in single.items()
    ]
    return f"The 99th percentile of all answers: {'; '.join(parts)}."


class Rows:
    """Answers as rows of a table clustered by the number of the answer: what nobody can be much faster than."""

    def __init__(self, path: Path, ids: Sequence[Mapping[int, int]], answers: Sequence[Presence]) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.executescript("""
            PRAGMA cache_size=-65536;
            CREATE TABLE ids (at INT, element INT, document INT, PRIMARY KEY (at, element)) WITHOUT ROWID;
            CREATE TABLE texts (at INT, number INT, key TEXT, other TEXT, type TEXT, id TEXT, document TEXT,
                                PRIMARY KEY (at, number)) WITHOUT ROWID;
        """)
        for at, held in enumerate(ids):
            rows = [(at, element, document) for element, document in held.items()]
            self._connection.executemany("INSERT INTO ids VALUES (?, ?, ?)", rows)
        for at, answer in enumerate(answers):
            self._connection.executemany("INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?, ?)", _texts(at, answer))
        self._connection.commit()

    def ids(self, at: int) -> dict[int, int]:
        """Element and document ids of an answer."""
        read = "SELECT element, document FROM ids WHERE at = ?"
        return dict(self._connection.execute(read, (at,)).fetchall())

    def texts(self, at: int) -> list[tuple[str, ...]]:
        """Keys, ends, types, ids and documents of an answer, as text."""
        read = "SELECT key, other, type, id, document FROM texts WHERE at = ?"
        return self._connection.execute(read, (at,)).fetchall()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _texts(at: int, answer: Presence) -> list[tuple[object, ...]]:
    peers = [(peer.peer_key, "", "", "", peer._document.text) for peer in answer.peers.values()]
    links = [(link.peer1, link.peer2, link.type, link.id, '{"listed_by":[1,2]}') for link in answer.connections]
    return [(at, number, *row) for number, row in enumerate([*peers, *links])]


def _beside_rows(rounds: int, path: Path, store: PeerStore, told: str) -> Table:
    instants = instants_of(store)
    observer = store.observer_summaries()[0].observer
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="peerstore-benchmark-"))
        # A store of its own, lest the one that is measured find the answers in its memory.
        other = stack.enter_context(peerstore.open(path, create=False))
        ids = [other.ids_at(at, observer=observer) for at in instants]
        answers = [other.presence_at(at, observer=observer) for at in instants]
        rows = stack.enter_context(closing(Rows(Path(folder, "rows.db"), ids, answers)))
        elsewhere = iter(instants_of(other, INSTANTS * rounds, seed=2))
        for at in instants:
            store.presence_at(at, observer=observer)
        questions: dict[str, Question] = {
            "reading the ids of the answer, clustered, `sqlite3`": lambda _, number: rows.ids(number),
            "`ids_at`: the same ids": lambda at, _: store.ids_at(at, observer=observer),
            "reading the texts of the answer, clustered, `sqlite3`": lambda _, number: rows.texts(number),
            "`presence_at`, at instants asked for before": lambda at, _: store.presence_at(at, observer=observer),
            "`presence_at`, at new instants each time": lambda *_: store.presence_at(
                next(elsewhere), observer=observer
            ),
        }
        found, single = measured(rounds, instants, questions, time.process_time)
        assert all(rows.ids(number) == store.ids_at(at, observer=observer) for number, at in enumerate(instants))
    touched = [_touched(store, at, observer) for at in instants]
    live = median(map(len, ids))
    note = (
        f"{told}\n\n{INSTANTS} random instants; an answer has {live:.0f} elements in the median."
        f" An answer reads one keyframe and {median(touched):.0f} change rows in the median, {max(touched)} at most."
        f" The rows beside it are the answers themselves. {_tails(single)}"
    )
    table = Table("Presence at an instant", "CPU time", found, note)
    ours = single[found[1].name]
    table.targets = [
        Target("`ids_at` beside reading the ids", table.ratio(1), at_most=1.2),
        Target("`presence_at` beside reading the texts", table.ratio(3, 2), at_most=2),
        Target("`presence_at` at new instants beside reading the texts", table.ratio(4, 2), at_most=2),
        Target("99th percentile of `ids_at` beside its median", percentile(ours, 0.99) / median(ours), at_most=3),
        Target("rows read for each live element", (max(touched) + 1) / live, at_most=2),
    ]
    return table


def _touched(store: PeerStore, at: datetime, observer: str) -> int:
    """How many change rows an answer reads."""
    from peerstore.states import at_end_of, state_at
    from peerstore.times import micros

    with store._database.reading() as connection:
        number = store._dictionary.observer(connection, observer)[observer]
        return state_at(connection, number, at_end_of(micros(at)))[1]


def _questions(rounds: int, store: PeerStore) -> Table:
    instants = instants_of(store)
    observer = store.observer_summaries()[0].observer
    known_at = datetime(9000, 1, 1, tzinfo=UTC)
    minute, day = timedelta(minutes=1), timedelta(days=1)
    questions: dict[str, Question] = {
        "`presence_at`": lambda at, _: store.presence_at(at, observer=observer),
        "`presence_at`, as known at a time": lambda at, _: store.presence_at(at, observer=observer, known_at=known_at),
        "`diff` over a minute": lambda at, _: store.diff(at, at + minute, observer=observer),
        "`diff` over a day": lambda at, _: store.diff(at, at + day, observer=observer),
    }
    found, _ = measured(rounds, instants, questions, time.process_time)
    differences = [store.diff(at, at + day, observer=observer) for at in instants]
    attributes = median(len(each.changed) for each in differences)
    others = median(
        sum(map(len, (each.connected, each.disconnected, each.appeared, each.disappeared))) for each in differences
    )
    per_row, rows = _timeline(rounds, store, instants[0], observer)
    note = (
        f"The same history, at instants asked for before. A `diff` over a day has {attributes:.0f} attributes of peers"
        f" in the median, whose documents it compares, and {others:.0f} peers and connections that came or went. The"
        f" longest timeline of every tenth peer of an instant: {rows:,} rows, {short(per_row)} for each of"
        " `changes(peer=...)`."
    )
    table = Table("Other questions about instants", "CPU time", found, note)
    table.targets = [
        Target("as known at a time beside `presence_at`", table.ratio(1), at_most=1.2),
        Target("`diff` over a minute beside `presence_at`", table.ratio(2), at_most=2),
        Target("`diff` over a day beside `presence_at`, with its answer", table.ratio(3), at_most=2),
        Target("microseconds for a row of a timeline", per_row * 1e6, at_most=1),
    ]
    return table


def _timeline(rounds: int, store: PeerStore, at: datetime, observer: str) -> tuple[float, int]:
    """The seconds that each row of the longest timeline takes, and how many rows it has."""
    keys = list(store.presence_at(at, observer=observer).peers)[1::10]
    lengths = {key: sum(1 for _ in store.changes(peer=key, observer=observer)) for key in keys}
    longest = max(keys, key=lambda key: lengths[key])
    took = []
    for _ in range(rounds):
        begun = time.process_time()
        for _each in store.changes(peer=longest, observer=observer):
            pass
        took.append((time.process_time() - begun) / lengths[longest])
    return median(took), lengths[longest]


def _of_observers(rounds: int) -> Table:
    path, told = database(FEWER, observers=4, debounce=5.0, late=0.05)
    with peerstore.open(path, create=False) as store:
        instants = instants_of(store)
        one = store.observer_summaries()[0].observer
        for at in instants:
            store.presence_at(at, observer=one)
            store.presence_at(at)
        questions: dict[str, Question] = {
            "one observer": lambda at, _: store.presence_at(at, observer=one),
            "four observers, merged": lambda at, _: store.presence_at(at),
        }
        found, _ = measured(rounds, instants, questions, time.process_time)
    table = Table(
        "Presence of several observers",
        "CPU time",
        found,
        f"{told} A part of it came late. At instants asked for before.",
    )
    table.targets = [Target("four observers beside one", table.ratio(1), at_most=4)]
    return table


def _of_size(rounds: int) -> Table:
    built = [database(FEWER, live=live, debounce=5.0) for live in (200, 2000)]
    questions: dict[str, Question] = {}
    sizes: list[float] = []
    with ExitStack() as stack:
        for path, _ in built:
            store = stack.enter_context(peerstore.open(path, create=False))
            instants = instants_of(store, 40)
            observer = store.observer_summaries()[0].observer
            sizes.append(median(len(store.ids_at(at, observer=observer)) for at in instants))
            for at in instants:
                store.presence_at(at, observer=observer)
            questions[f"`ids_at`, {sizes[-1]:.0f} live elements"] = _ids(store, instants, observer)
            questions[f"`presence_at`, {sizes[-1]:.0f} live elements"] = _presence(store, instants, observer)
        found, _ = measured(rounds, [datetime.min.replace(tzinfo=UTC)] * 40, questions, time.process_time)
    table = Table("Presence in a larger mesh", "CPU time", found)
    table.note = (
        f"{built[1][1]} For an answer of {sizes[1] / sizes[0]:.1f} times as many elements `ids_at` takes"
        f" {table.ratio(2):.1f} times as long, and `presence_at` {table.ratio(3, 1):.1f} times, at instants asked for"
        " before."
    )
    return table


def _ids(store: PeerStore, instants: Sequence[datetime], observer: str) -> Question:
    """Ask one of several stores, each of which has instants of its own."""
    return lambda _, number: store.ids_at(instants[number], observer=observer)


def _presence(store: PeerStore, instants: Sequence[datetime], observer: str) -> Question:
    return lambda _, number: store.presence_at(instants[number], observer=observer)


def _of_length(rounds: int) -> Table:
    questions: dict[str, Question] = {}
    with ExitStack() as stack:
        for changes in GROWING:
            store = stack.enter_context(peerstore.open(database(changes, debounce=POLLED)[0], create=False))
            observer = store.observer_summaries()[0].observer
            questions[f"{changes:,} changes"] = _ids(store, instants_of(store), observer)
        found, _ = measured(rounds, [datetime.min.replace(tzinfo=UTC)] * INSTANTS, questions, time.process_time)
    note = (
        f"`ids_at` at random instants of histories of the same mesh, in which an observation follows {POLLED:g} s after"
        " what changed first."
    )
    table = Table("Presence in a longer history", "CPU time", found, note)
    table.targets = [
        Target(f"{after:,} changes beside {before:,}", table.ratio(place + 1, place), at_most=1.1)
        for place, (before, after) in enumerate(pairwise(GROWING))
    ]
    return table


def _on_postgresql(rounds: int) -> Table:
    path, told = database(min(CHANGES, 30_000), debounce=5.0)
    with peerstore.open(path, create=False) as source, postgresql_store() as store:
        store.record_from(source)
        instants = instants_of(store)
        observer = store.observer_summaries()[0].observer
        with store._database.writing() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE answer (at int, element bigint, document bigint, PRIMARY KEY (at, element))"
            )
            for number, at in enumerate(instants):
                rows = [(number, *pair) for pair in store.ids_at(at, observer=observer).items()]
                connection.exec_driver_sql("INSERT INTO answer VALUES (%s, %s, %s)", rows)
        with store._database.writing() as connection:
            connection.exec_driver_sql("ANALYZE")

        def read(number: int) -> dict[int, int]:
            with store._database.reading() as connection:
                cursor = connection.connection.cursor()
                cursor.execute("SELECT element, document FROM answer WHERE at = %s", (number,))
                return dict(cursor.fetchall())

        questions: dict[str, Question] = {
            "reading the ids of the answer by primary key": lambda _, number: read(number),
            "`ids_at`": lambda at, _: store.ids_at(at, observer=observer),
            "`presence_at`": lambda at, _: store.presence_at(at, observer=observer),
        }
        found, _ = measured(rounds, instants, questions, time.perf_counter)
    note = f"{told} A server on the same machine, reached over a socket; each answer is a transaction of its own."
    table = Table("Presence on PostgreSQL", "wall time", found, note)
    table.targets = [Target("`ids_at` beside reading its rows", table.ratio(1), at_most=1.5)]
    return table
