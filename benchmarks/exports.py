"""What an export of a million changes costs, beside the two tools that everybody has for the same file.

Each is a process of its own; the peak of its memory is what the system says of it when it has ended.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import peerstore
from benchmarks.measuring import Table

CHANGES = 1_000_000
FORMATS = ("ndjson.zst", "db", "csv", "parquet", "gexf", "graphml", "netjson", "dot")


_RECORD = """
import sys, peerstore
from benchmarks.churn import observations
with peerstore.open(sys.argv[1]) as store:
    store.record_many(observations(int(sys.argv[2])))
"""


@dataclass
class Cost:
    """What one tool took, round by round: seconds, bytes of memory at the most; and the rows and bytes that it made."""

    name: str
    rows: int = 0
    bytes: int = 0
    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


@dataclass
class Costs(Table):
    """A table of such costs."""

    costs: list[Cost] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON."""
        return {"title": self.title, "note": self.note, "cases": [vars(each) for each in self.costs]}

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = ["| | rows | MB written | seconds | rows a second | peak memory |", "|---|---|---|---|---|---|"]
        for each in self.costs:
            seconds = median(each.seconds)
            rate = f"{each.rows / seconds:,.0f}"
            size, memory = each.bytes / 1e6, median(each.memory) / 1e6
            lines.append(f"| {each.name} | {each.rows:,} | {size:.1f} | {seconds:.1f} | {rate} | {memory:.0f} MB |")
        return "\n".join([f"## {self.title}", "", self.note, "", *lines, ""])


def tables(rounds: int) -> Iterator[Table]:
    """Every format, then the other tools on the tables of the store itself."""
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        database = Path(folder, "million.db")
        # A process of its own: what a child's parent takes counts as the child's until it has begun its program.
        subprocess.run([sys.executable, "-c", _RECORD, str(database), str(CHANGES)], check=True)
        with peerstore.open(database) as store:
            changes = store.status().changes
        costs = {name: Cost(f"`peerstore export x.{name}`") for name in FORMATS}
        others = {
            "`sqlite-utils rows million.db element_change --nl`": [
                *(sys.executable, "-m", "sqlite_utils", "rows", str(database), "element_change", "--nl")
            ],
            "`sqlite3 million.db .dump`": ["sqlite3", str(database), ".dump"],
        }
        for _ in range(min(rounds, 3)):
            for name in FORMATS:
                _export(costs[name], database, Path(folder, f"x.{name}"))
            for title, command in others.items():
                if shutil.which(command[0]):
                    _write(costs.setdefault(title, Cost(title, changes)), command, Path(folder, "x.other"))
    note = (
        f"{changes:,} change rows (`benchmarks/churn.py`), in SQLite. An export tells what happened (sessions, whole "
        "graphs), which takes a walk over the history, and ends with the digest of the content; the other two copy the "
        "rows of the store as they stand: `element_change` as JSON, and the whole file as SQL. Medians of "
        f"{min(rounds, 3)} rounds."
    )
    yield Costs("Exports of a million changes", "wall time", [], note, list(costs.values()))


def _export(cost: Cost, database: Path, path: Path) -> None:
    command = [sys.executable, "-m", "peerstore", "--db", str(database), "export", str(path), "--force", "--json"]
    told = json.loads(_run(cost, command, None))
    cost.rows = sum(told["counts"].values())
    cost.bytes = sum(file["bytes"] for file in told["files"])


def _write(cost: Cost, command: list[str], path: Path) -> None:
    _run(cost, command, path)
    cost.bytes = path.stat().st_size
    path.unlink()


def _run(cost: Cost, command: list[str], path: Path | None) -> bytes:
    """Run a command, its output into a file or given back."""
    with tempfile.TemporaryFile() if path is None else path.open("w+b") as out:
        begun = time.perf_counter()
        child = subprocess.Popen(command, stdout=out)
        _, status, used = os.wait4(child.pid, 0)
        cost.seconds.append(time.perf_counter() - begun)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
        cost.memory.append(used.ru_maxrss * 1024)
        out.seek(0)
        return out.read() if path is None else b""
