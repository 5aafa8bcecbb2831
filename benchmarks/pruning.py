"""What a prune of half a history takes, and how long those who record meanwhile wait for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

import peerstore
from benchmarks import built
from benchmarks.measuring import Figures, Target

LONGEST_WAIT = 1.0
"""Seconds that who records may wait."""

_WAITING = """
import sqlite3, sys, threading, time
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
longest = 0.0
while not ended.wait(0.01):
    begun = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    longest = max(longest, time.perf_counter() - begun)
    connection.execute("ROLLBACK")
print(longest)
"""
"""Asks to write a hundred times a second, as who records does, and tells how long it waited at the most."""


class _Pruned(NamedTuple):
    rows: int
    seconds: float
    longest_wait: float


def tables(rounds: int) -> Iterator[Figures]:
    """In SQLite."""
    path, told = built.database(built.CHANGES)
    with peerstore.open(path, create=False) as store:
        status = store.status()
    first, last = (datetime.fromisoformat(str(each)) for each in (status.first_observed_at, status.last_observed_at))
    found = [_pruned(path, first + (last - first) / 2) for _ in range(min(rounds, 3))]
    rows = found[0].rows
    seconds, longest = median(each.seconds for each in found), max(each.longest_wait for each in found)
    table = Figures(
        "Pruning half a history",
        "seconds",
        [],
        f"{told}\n\nThe median of {len(found)} rounds, and the longest wait of all: another process asks to write, a"
        " hundred times a second. Observations and changes are rows.",
        head=("rows removed", "seconds", "seconds for a million rows", "the longest wait of who records, in seconds"),
        rows=[[f"{rows:,}", f"{seconds:.1f}", f"{seconds / rows * 1_000_000:.1f}", f"{longest:.2f}"]],
        values={"seconds for a million rows": seconds / rows * 1_000_000, "the longest wait": longest},
    )
    table.targets = [Target("seconds that who records waits at the most", longest, at_most=LONGEST_WAIT)]
    yield table


def _pruned(path: Path, horizon: datetime) -> _Pruned:
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        copy = shutil.copy(path, Path(folder) / "copy.db")
        command = [sys.executable, "-c", _WAITING, str(copy)]
        with (
            peerstore.open(copy, create=False) as store,
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer,
        ):
            begun = time.perf_counter()
            removed = store.prune(horizon)
            seconds = time.perf_counter() - begun
            longest = float(writer.communicate()[0])
    return _Pruned(removed.observations + removed.changes, seconds, longest)
