"""How soon every command of the questions answers, on a history of a million changes.

Each is a process of its own, as users start it: the time until its first byte of output, and until its end.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from benchmarks.built import CHANGES, MILLION, database
from benchmarks.churn import BEGIN, key_of
from benchmarks.measuring import Measured, Table
from benchmarks.processes import environment
from peerstore.times import iso

OBSERVERS, DEBOUNCE, LATE = 3, 60.0, 0.02
SLOW = 1.0
"""Seconds after which people wonder."""
_PEER, _OTHER, _OBSERVER = key_of(77), key_of(79), key_of(0)


def _at(hours: float) -> str:
    return iso(BEGIN + timedelta(hours=hours) * CHANGES / MILLION)


_MOMENT = _at(70.01)
_DAY = ("--since", _at(60), "--until", _at(84))
_HOUR = ("--since", _at(70), "--until", _at(71))

COMMANDS: list[tuple[str, ...]] = [
    ("at", _MOMENT),
    ("why", _PEER, _MOMENT),
    ("evidence", _MOMENT, _PEER),
    ("values", "--at", _MOMENT),
    ("names", "--at", _MOMENT),
    ("reach", _OBSERVER, _MOMENT),
    ("cuts", _MOMENT),
    ("islands", "--at", _MOMENT),
    ("islands",),
    ("path", _PEER, _OTHER, "--at", _MOMENT),
    ("path", _PEER, _OTHER),
    ("cloud", "--at", _MOMENT),
    ("cloud",),
    ("cloud", "--over"),
    ("changes",),
    ("changes", "--kind", "observer_stopped"),
    ("changes", "--peer", _PEER),
    ("metadata",),
    ("metadata", _PEER),
    ("metadata", "--path", "/sdk_version"),
    ("diff", *_DAY[1::2]),
    ("diff", *_HOUR[1::2], "--inside"),
    ("activity", "--every", "1h"),
    ("timeline",),
    ("timeline", _PEER),
    ("peers",),
    ("peer", _PEER),
    ("seen",),
    ("seen", _PEER),
    ("sessions",),
    ("sessions", _PEER),
    ("uptime",),
    ("uptime", _PEER),
    ("uptime", *_DAY),
    ("population", "--below", "190"),
    ("new-peers",),
    ("new-keys",),
    ("connections",),
    ("connections", _PEER),
    ("contacts",),
    ("contacts", _PEER),
    ("contacts", _PEER, _OTHER),
    ("flapping",),
    ("flapping", "--peers"),
    ("flapping", _PEER),
    ("transports", "--every", "1h"),
    ("fallbacks",),
    ("fallbacks", _PEER, _OTHER),
    ("degree",),
    ("degree", _PEER),
    ("rollout",),
    ("rollout", "/sdk_version", "--value", "5.1.0", "--lacking"),
    ("incompatible",),
    ("observers",),
    ("coverage",),
    ("coverage", "--gaps"),
    ("disagreements", "--at", _MOMENT),
    ("disagreements",),
    ("skew",),
]
"""The commands and the arguments that they are measured with; all of the history where no window is given."""


def tables(rounds: int) -> Iterator[Table]:
    """Until the first byte, and until the end. A round takes minutes."""
    rounds = min(rounds, 3)
    built, told = database(CHANGES, observers=OBSERVERS, debounce=DEBOUNCE, late=LATE)
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        copy = str(Path(folder, "million.db"))
        shutil.copy(built, copy)
        _timed(copy, COMMANDS[0])  # what Python compiles is kept from now on
        first: dict[str, Measured] = {}
        whole: dict[str, Measured] = {}
        for _ in range(rounds):
            for command in COMMANDS:
                soon, late, rows = _timed(copy, command)
                title = _title(command, rows)
                first.setdefault(title, Measured(title)).seconds.append(soon)
                whole.setdefault(title, Measured(title)).seconds.append(late)
    note = (
        f"{told} In SQLite, by {OBSERVERS} observers. Each command with `--ndjson`, as a process of its own, the start"
        f" of Python and SQLAlchemy included, {rounds} rounds; after the colon, how many rows it told. KEY and OTHER"
        " are peers. What tells of nothing has read all of the history before it could say so."
    )
    slow = [each.name for each in first.values() if each.median > SLOW]
    waits = f"\n\nOver a second until the first row: {', '.join(slow)}." if slow else ""
    yield Table("Until the first row, of a million changes", "wall time", list(first.values()), f"{note}{waits}")
    yield Table("Until the last row, of a million changes", "wall time", list(whole.values()), note)


def _title(command: tuple[str, ...], rows: int) -> str:
    names = {_PEER: "KEY", _OTHER: "OTHER", _OBSERVER: "OBSERVER"}
    return f"`{' '.join(names.get(word, word) for word in command)}`: {rows:,}"


def _timed(database: str, command: tuple[str, ...]) -> tuple[float, float, int]:
    """Seconds until the first byte of output and until the end, and how many rows there were."""
    words = [sys.executable, "-m", "peerstore", "--db", database, *command, "--ndjson"]
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, env=environment()) as child:
            assert child.stdout is not None
            told = child.stdout.read(1)
            soon = time.perf_counter() - begun
            rows = told.count(b"\n")
            while more := child.stdout.read(2**20):
                rows += more.count(b"\n")
        late = time.perf_counter() - begun
        if child.returncode not in {0, 1}:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}: {said.read().decode()}")
    return soon, late, rows
