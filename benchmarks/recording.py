"""How fast a history is recorded: beside parsing its lines with ``json.loads`` and throwing the result away, beside
the plainest tables that could hold it, and by many writers."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import peerstore
from benchmarks.churn import Churn
from benchmarks.databases import has_postgresql, postgresql_store, sqlite_store
from benchmarks.histories import many_observers, one_observer
from benchmarks.measuring import Figures, Measured, Table, Target, interleaved
from peerstore import PeerStore
from peerstore.envelope import ObservationReader
from peerstore.times import micros

Stores = Callable[[], AbstractContextManager[PeerStore]]

A_TRANSACTION = 100
FEW = 10
"""Observations in a transaction where each has a hundred changes."""
SNAPSHOTS = 1_000
ENDLESS = 20_000
WRITERS = 8


def tables(rounds: int) -> Iterator[Table]:
    """CPU time on SQLite, where all work is done in this process; wall time on PostgreSQL, where a server does most."""
    yield _snapshots(rounds)
    yield _changes(rounds)
    yield _one_by_one(rounds)
    yield _memory()
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
        yield _by_writers(rounds)


def _warm(debounce: float, count: int) -> tuple[list[bytes], list[bytes], str]:
    """The beginning of a history, which tells of all that is there, and so many observations after it."""
    history = Churn(10**9, debounce=debounce)
    lines = list(islice(history.lines(), 200 + count))
    return lines[:200], lines[200:], history.statistics.markdown()


def _snapshots(rounds: int) -> Table:
    first, lines, told = _warm(1.0, SNAPSHOTS)
    parts = [lines[start : start + A_TRANSACTION] for start in range(0, len(lines), A_TRANSACTION)]
    parsing, recording = Measured("`json.loads`", len(lines)), Measured("`record_many`, SQLite", len(lines))
    for _ in range(rounds):
        with sqlite_store() as store:
            store.record_many(first)
            took = [(_parse(part, time.process_time), _recorded(store, part, time.process_time)) for part in parts]
        parsing.seconds.append(sum(each for each, _ in took))
        recording.seconds.append(sum(each for _, each in took))
    note = f"{told} As JSON bytes, {A_TRANSACTION} observations a transaction, in turns with parsing the same bytes."
    table = Table("Recording snapshots of 200 peers", "CPU time", [parsing, recording], note)
    table.targets = [Target("rate beside that of `json.loads`", 1 / table.ratio(1), at_least=1.8)]
    return table


def _changes(rounds: int) -> Table:
    """Observations in which much changed, read before: what remains is recording the changes."""
    first, lines, _ = _warm(300.0, 300)
    parts = [lines[start : start + FEW] for start in range(0, len(lines), FEW)]
    reader = ObservationReader()
    ends = [reader.read(part[-1]).observed_at for part in parts]
    rows = _rows_of(first, parts, ends)
    changes = sum(map(len, rows))
    plain = Measured("`executemany` into a log and its plain index by element, `sqlite3`", changes)
    ours = Measured("recording the same changes, SQLite", changes)
    whole = Measured("the same with reading the observations from JSON", changes)
    for _ in range(rounds):
        reader = ObservationReader()
        for line in first:
            reader.read(line)
        with sqlite_store() as store, _plain() as connection:
            store.record_many(first)
            took = [
                (
                    _inserted(connection, some, time.process_time),
                    _recorded(store, part, time.process_time),
                    _read(reader, part, time.process_time),
                )
                for some, part in zip(rows, parts, strict=True)
            ]
        plain.seconds.append(sum(each for each, _, _ in took))
        whole.seconds.append(sum(each for _, each, _ in took))
        ours.seconds.append(whole.seconds[-1] - sum(each for _, _, each in took))
    note = (
        f"{changes:,} changes in {len(lines)} observations of 200 peers, 300 s apart: {FEW} observations with their"
        f" {changes / len(parts):,.0f} changes a transaction, in turns, WAL with `synchronous=FULL`. What recording"
        " takes is what is left once the reading of the same lines, measured by itself, is taken off: it compares"
        " graphs, and writes the log of observations, the changes with what was before each, their second order, the"
        " texts of new elements and documents, and keyframes. The plain log is given ids."
    )
    table = Table("Recording changes", "CPU time", [plain, ours, whole], note)
    table.targets = [Target("rate beside `executemany`", 1 / table.ratio(1), at_least=1.5)]
    return table


def _rows_of(first: list[bytes], parts: Sequence[list[bytes]], ends: Sequence[int]) -> list[list[tuple[int, ...]]]:
    """The change rows that the observations of each part make; ``ends`` is when the last of each was made."""
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        path = Path(folder, "rows.db")
        with peerstore.open(path) as store:
            store.record_many(first)
            begin = store.last_observed_at()
            for part in parts:
                store.record_many(part)
        assert begin is not None
        with closing(sqlite3.connect(path)) as stored:
            rows = stored.execute(
                "SELECT observer_id, observed_at, sequence, element_id, document_id FROM element_change"
                " WHERE observed_at > ? ORDER BY observed_at",
                (micros(begin),),
            ).fetchall()
    return [[row for row in rows if after < row[1] <= until] for after, until in pairwise([micros(begin), *ends])]


@contextmanager
def _plain() -> Iterator[sqlite3.Connection]:
    with (
        tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder,
        closing(sqlite3.connect(Path(folder, "plain.db"), isolation_level=None)) as connection,
    ):
        connection.executescript("""
            PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;
            CREATE TABLE log (observer INT, at INT, sequence INT, element INT, document INT,
                              PRIMARY KEY (observer, at, sequence, element)) WITHOUT ROWID;
            CREATE INDEX log_element ON log (observer, element, at);
        """)
        yield connection


def _inserted(connection: sqlite3.Connection, rows: list[tuple[int, ...]], clock: Callable[[], float]) -> float:
    begun = clock()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)
    connection.execute("COMMIT")
    return clock() - begun


def _read(reader: ObservationReader, lines: list[bytes], clock: Callable[[], float]) -> float:
    begun = clock()
    for line in lines:
        reader.read(line)
    return clock() - begun


def _one_by_one(rounds: int) -> Table:
    title, small = one_observer()
    start, large, _ = _warm(1.0, 300)
    cases: dict[str, Measured] = {}
    for _ in range(rounds):
        for name, seconds in _durably(small[:200], small[200:500], start, large):
            cases.setdefault(name, Measured(name, 300)).seconds.append(seconds)
    note = (
        "300 of each, in turns. One row is one page of a file; an observation is a row of the log, the changes in two"
        " orders, the observer's clock, and whatever is new in the dictionaries:"
        f" {_pages(small[:200], small[200:500]):.0f} pages in the median for a few peers (of {title} at its beginning,"
        f" when most of what is seen is new), {_pages(start, large):.0f} for 200, that are written and synchronised"
        " after the JSON was read and compared."
    )
    table = Table("One observation a transaction, on the disk", "wall time", list(cases.values()), note)
    table.targets = [
        Target("rate beside that of bare rows, small observations", 1 / table.ratio(1), at_least=0.7),
        Target("rate beside that of bare rows, 200 peers", 1 / table.ratio(2), at_least=0.7),
    ]
    return table


def _durably(
    first: list[bytes], small: list[bytes], start: list[bytes], large: list[bytes]
) -> Iterator[tuple[str, float]]:
    with (
        tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder,
        sqlite_store() as one,
        sqlite_store() as two,
    ):
        one.record_many(first)
        two.record_many(start)
        bare = sqlite3.connect(Path(folder, "bare.db"), isolation_level=None)
        bare.executescript("""
            PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
            CREATE TABLE row (id INTEGER PRIMARY KEY, at INT, body TEXT);
        """)
        took = [0.0, 0.0, 0.0]
        for number, (line, snapshot) in enumerate(zip(small, large, strict=True)):
            begun = time.perf_counter()
            bare.execute("BEGIN IMMEDIATE")
            bare.execute("INSERT INTO row VALUES (?, ?, ?)", (number, number, "x"))
            bare.execute("COMMIT")
            took[0] += time.perf_counter() - begun
            took[1] += _recorded(one, [line], time.perf_counter)
            took[2] += _recorded(two, [snapshot], time.perf_counter)
        bare.close()
    yield "a bare row, `sqlite3`", took[0]
    yield "an observation of a few peers", took[1]
    yield "an observation of 200 peers", took[2]


def _pages(first: list[bytes], lines: list[bytes]) -> float:
    """The pages that a transaction of one observation writes, in the median of those that write any."""
    with sqlite_store() as store:
        store.record_many(first)
        index = Path(f"{store.status().database}-shm")
        ends = []
        for line in lines:
            store.record_many([line])
            # https://sqlite.org/walformat.html: the number of frames in the log stands at byte 16 of its index.
            ends.append(int.from_bytes(index.read_bytes()[16:20], sys.byteorder))
    # It begins anew after a checkpoint.
    return statistics.median(after - before for before, after in pairwise(ends) if after > before)


_ENDLESS = """
import sys
import peerstore
with peerstore.open(sys.argv[1]) as store:
    store.record_many(sys.stdin.buffer)
"""


def _memory() -> Figures:
    command, library = (
        _resident([sys.executable, "-m", "peerstore", "--db", "store.db", "record", "-"]),
        _resident([sys.executable, "-c", _ENDLESS, "store.db"]),
    )
    head = ("MB", "at the beginning", "half way", "at the end", "at the most")
    return Figures(
        "Memory of recording without end",
        "",
        [],
        f"The resident memory of a process that records {ENDLESS:,} observations of 200 peers from a pipe. The command"
        " gives free memory back to the system now and then, which a library must leave to its process.",
        [
            Target("MB of `peerstore record` at the most", command.most, at_most=120),
            Target("its end beside half way", command.end / command.half_way, at_most=1.05),
        ],
        head=head,
        rows=[
            (name, *(f"{size:.0f}" for size in sizes))
            for name, sizes in (("`peerstore record -`", command), ("`record_many`", library))
        ],
        values={"resident_mb": list(command), "resident_mb_library": list(library)},
    )


class _Resident(NamedTuple):
    """The resident memory of a process in megabytes, while it records."""

    beginning: float
    half_way: float
    end: float
    most: float


def _resident(command: list[str]) -> _Resident:
    sizes: list[float] = []
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        recording = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert recording.stdin is not None
        for number, line in enumerate(islice(Churn(10**9).lines(), ENDLESS)):
            if number in (ENDLESS // 20, ENDLESS // 2):
                sizes.append(_megabytes(recording.pid, "VmRSS"))
            recording.stdin.write(line + b"\n")
        sizes += (_megabytes(recording.pid, name) for name in ("VmRSS", "VmHWM"))
        recording.stdin.close()
        assert recording.wait() == 0
    return _Resident(*sizes)


def _megabytes(pid: int, what: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def _on_postgresql(rounds: int) -> Table:
    title, lines = one_observer()
    cases = {
        "`json.loads` of every line": lambda: _parse(lines, time.perf_counter),
        "`record_many`, SQLite": lambda: _record(lines, sqlite_store, time.perf_counter),
        "`record_many`, PostgreSQL": lambda: _record(lines, postgresql_store, time.perf_counter),
    }
    note = f"A server on the same machine ({_server()}), reached over a socket, does its part at the same time."
    return Table(f"Recording on PostgreSQL: {title}", "wall time", interleaved(min(rounds, 3), cases, len(lines)), note)


def _server() -> str:
    """What the server is, and whether its commits wait for the disk: those of the tests do not."""
    with postgresql_store() as store, store._database.reading() as connection:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one().split()[0]
        fsync = connection.exec_driver_sql("SHOW fsync").scalar_one()
    waits = "commits wait for the disk" if fsync == "on" else "with `fsync=off`: commits do not wait for the disk"
    return f"PostgreSQL {version}, {waits}"


_WRITER = """
import sys, time
import peerstore
url, file, observer = sys.argv[1:]
with open(file, "rb") as source:
    lines = [line[:-1] + b',"observer":"%b"}' % observer.encode() for line in source.read().splitlines()]
with peerstore.open(url) as store:
    store.record_many(lines[:1])
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    for line in lines[1:]:
        store.record_many([line])
    print(begun, time.perf_counter(), flush=True)
"""


def _by_writers(rounds: int) -> Table:
    """Each writer is a process with an observer of its own, one observation a transaction."""
    _, lines = one_observer()
    count = 300
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        file = Path(folder, "lines.ndjson")
        file.write_bytes(b"\n".join(lines[: count + 1]))
        one, many = Measured("one writer", count), Measured(f"{WRITERS} writers", WRITERS * count)
        for _ in range(rounds):
            one.seconds.append(_written(file, 1))
            many.seconds.append(_written(file, WRITERS))
    note = (
        f"Small observations, one a transaction ({_server()}). Each of {WRITERS} processes records for an observer of"
        f" its own; the clients and the server share {os.cpu_count()} cores, and one writer and its server work by"
        " turns, which keeps about one core busy."
    )
    table = Table("Writers on PostgreSQL", "wall time", [one, many], note)
    table.targets = [Target(f"rate of {WRITERS} writers beside one", 1 / table.ratio(1), at_least=3)]
    return table


def _written(file: Path, writers: int) -> float:
    """From when the first writer begins to when the last one ends; the clock is the machine's."""
    with postgresql_store() as store:
        url = store._database.url.render_as_string(hide_password=False)
        command = [sys.executable, "-c", _WRITER, url, str(file)]
        children = [
            subprocess.Popen([*command, f"writer {number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for number in range(writers)
        ]
        for child in children:
            assert child.stdout is not None
            if child.stdout.readline() != "ready\n":
                raise RuntimeError("a writer did not begin")
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        times: list[float] = []
        for child in children:
            told, _ = child.communicate()
            if child.returncode:
                raise RuntimeError(f"a writer ended with {child.returncode}")
            times += map(float, told.split())
    return max(times) - min(times)


def _parse(lines: list[bytes], clock: Callable[[], float]) -> float:
    begun = clock()
    for line in lines:
        json.loads(line)
    return clock() - begun


def _record(lines: list[bytes], stores: Stores, clock: Callable[[], float]) -> float:
    with stores() as store:
        return _recorded(store, lines, clock)


def _recorded(store: PeerStore, lines: list[bytes], clock: Callable[[], float]) -> float:
    begun = clock()
    store.record_many(lines)
    return clock() - begun
