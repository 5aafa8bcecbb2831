"""Long histories, built once and kept: a million changes take minutes to record.

They lie in ``benchmarks/.built`` of the checkout, or where ``PEERSTORE_BENCHMARKS`` says; their names tell what they
are, and the version of the generator. They are upgraded as any database is: remove the folder after a change to how
histories are stored.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.churn import VERSION

MILLION = 1_000_000
"""The changes of the history that targets were set for, where its length matters."""
CHANGES = int(os.environ.get("PEERSTORE_BENCHMARK_CHANGES") or MILLION)
"""How long the history is that most is measured on."""
FEWER = CHANGES // 10
"""How long those are that are compared with one another."""

_BUILD = """
import json, sys
import peerstore
from benchmarks.churn import Churn, delivered

path, given, late = sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3])
history = Churn(**given)
lines = (seen.line for seen in (delivered(history, late) if late else history))
with peerstore.open(path) as store:
    store.record_many(lines)
with open(path + ".txt", "w") as file:
    file.write(history.statistics.markdown())
"""


def folder() -> Path:
    """Where they lie."""
    path = Path(os.environ.get("PEERSTORE_BENCHMARKS") or Path(__file__).parent / ".built")
    path.mkdir(parents=True, exist_ok=True)
    return path


def database(
    changes: int, *, live: int = 200, observers: int = 1, debounce: float = 1.0, late: float = 0.0
) -> tuple[Path, str]:
    """An SQLite database of a :class:`~benchmarks.churn.Churn`, and what that turned out to be.

    It is recorded by a process of its own, whose memory is nobody else's.
    """
    name = f"{changes}-live{live}-observers{observers}-debounce{debounce:g}-late{late:g}-generator{VERSION}.db"
    path = folder() / name
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes meanwhile waits for it
        if not path.exists():
            print(f"recording {name}, once", file=sys.stderr, flush=True)
            _record(path, late, changes=changes, live=live, observers=observers, debounce=debounce)
    return path, Path(f"{path}.txt").read_text(encoding="utf-8")


def _record(path: Path, late: float, **given: float) -> None:
    unfinished = path.with_suffix(".unfinished")
    for each in (unfinished, *(Path(f"{unfinished}{end}") for end in ("-wal", "-shm"))):
        each.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-c", _BUILD, str(unfinished), json.dumps(given), str(late)], check=True)
    Path(f"{unfinished}.txt").rename(f"{path}.txt")
    unfinished.rename(path)
