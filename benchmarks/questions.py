"""How soon every command of the questions answers, on a history of a million changes.

Each is a process of its own, as users start it: the time until its first byte of output, and until its end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import peerstore
from benchmarks.churn import BEGIN, observations
from benchmarks.measuring import Measured, Table
from peerstore.times import iso

CHANGES = 1_000_000
_PEER, _OTHER = "peer-077", "peer-012"


def _at(hours: float) -> str:
    return iso(BEGIN + timedelta(hours=hours))


_MOMENT = _at(70.01)
_DAY = ("--since", _at(60), "--until", _at(84))
_HOUR = ("--since", _at(70), "--until", _at(71))

COMMANDS: list[tuple[str, ...]] = [
    ("at", _MOMENT),
    ("why", _PEER, _MOMENT),
    ("evidence", _MOMENT, _PEER),
    ("values", "--at", _MOMENT),
    ("names", "--at", _MOMENT),
    ("reach", "peer-000", _MOMENT),
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
    ("population", "--below", "40"),
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


_SLOW = (
    "What goes over a second finds nothing in this history, and so must read all of it before it can say so: "
    "connections that flap, peers that flap, a time with fewer than 40 peers, devices that came back under a new key. "
    "With `--since` and `--until` they read the window alone. About 0.4 s of every line is the start of Python and its "
    "libraries."
)


def tables(rounds: int) -> Iterator[Table]:
    """Until the first byte, and until the end."""
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        database = str(Path(folder) / "million.db")
        with peerstore.open(database) as store:
            store.record_many(observations(CHANGES))
            changes, observed = store.status().changes, store.status().observations
        first = {command: Measured(_title(command), 1) for command in COMMANDS}
        whole = {command: Measured(_title(command), 1) for command in COMMANDS}
        for _ in range(rounds):
            for command in COMMANDS:
                soon, late = _timed(database, command)
                first[command].seconds.append(soon)
                whole[command].seconds.append(late)
    note = (
        f"{changes:,} change rows of {observed:,} observations by three observers (`benchmarks/churn.py`), in SQLite; "
        "each command with `--ndjson`, as a process of its own, the start of Python and SQLAlchemy included."
    )
    yield Table("Until the first row, of a million changes", "wall time", list(first.values()), f"{note}\n\n{_SLOW}")
    yield Table("Until the last row, of a million changes", "wall time", list(whole.values()), note)


def _title(command: tuple[str, ...]) -> str:
    return f"`{' '.join(command)}`"


def _timed(database: str, command: tuple[str, ...]) -> tuple[float, float]:
    """Seconds until the first byte of output and until the end."""
    words = [sys.executable, "-m", "peerstore", "--db", database, *command, "--ndjson"]
    begun = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        soon = time.perf_counter() - begun
        child.stdout.read()
        assert child.stderr is not None
        said = child.stderr.read().decode()
    late = time.perf_counter() - begun
    if child.returncode not in {0, 1}:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}: {said}")
    return soon, late
