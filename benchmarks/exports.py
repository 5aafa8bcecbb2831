"""What an export of a million changes costs, beside the two tools that everybody has for the same file.

Each is a process of its own; the peak of its memory is what the system says of it when it has ended.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import peerstore
from benchmarks.built import CHANGES, database
from benchmarks.churn import BEGIN
from benchmarks.commands import WITHOUT_PANDAS
from benchmarks.measuring import Measured, Table, short
from benchmarks.processes import run
from peerstore.times import iso

OBSERVERS, DEBOUNCE, LATE = 3, 60.0, 0.02
GRAPHS = "ndjson.zst"
"""The format of whole graphs, a quarter of a MB each: of all of them there are too many to measure."""
PART = ("--since", iso(BEGIN + timedelta(hours=12)), "--until", iso(BEGIN + timedelta(hours=18)))
FORMATS = (GRAPHS, "db", "csv", "parquet", "gexf", "graphml", "netjson", "dot")


@dataclass
class Cost(Measured):
    """What one tool took, round by round: seconds, bytes of memory at the most; and the rows (``count``) and bytes
    that it made."""

    bytes: int = 0
    memory: list[int] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The cost as JSON."""
        return {**super().to_dict(), "bytes": self.bytes, "memory": self.memory}


@dataclass
class Costs(Table):
    """A table of such costs; a ratio is that of the seconds for each row."""

    costs: list[Cost] = field(default_factory=list)

    def _lines(self) -> list[str]:
        lines = [
            "| | rows | MB written | wall time, median (fastest to slowest round) | rows a second | peak memory |",
            "|---|---|---|---|---|---|",
        ]
        for each in self.costs:
            low, high = each.spread
            seconds = f"{short(each.median)} ({short(low)} to {short(high)})"
            size, memory = each.bytes / 1e6, median(each.memory) / 1e6
            rate = f"{each.count / each.median:,.0f}"
            lines.append(f"| {each.name} | {each.count:,} | {size:.1f} | {seconds} | {rate} | {memory:.0f} MB |")
        return lines


def tables(rounds: int) -> Iterator[Table]:
    """Every format, then the other tools on the tables of the store itself."""
    rounds = min(rounds, 3)
    built, told = database(CHANGES, observers=OBSERVERS, debounce=DEBOUNCE, late=LATE)
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        copy = Path(folder, "million.db")
        shutil.copy(built, copy)
        with peerstore.open(copy, create=False) as store:
            changes = store.status().changes
        costs = {name: Cost(f"`peerstore export x.{name}`") for name in FORMATS}
        costs[GRAPHS].name += ", a quarter of a day"
        others = {
            "`sqlite-utils rows million.db element_change --nl`": [
                *(sys.executable, "-c", WITHOUT_PANDAS, "rows", str(copy), "element_change", "--nl")
            ],
            "`sqlite3 million.db .dump`": ["sqlite3", str(copy), ".dump"],
        }
        for _ in range(rounds):
            for name in FORMATS:
                _export(costs[name], copy, Path(folder, f"x.{name}"), PART if name == GRAPHS else ())
            for title, command in others.items():
                if shutil.which(command[0]):
                    _write(costs.setdefault(title, Cost(title, changes)), command, Path(folder, "x.other"))
    note = (
        f"{told} In SQLite, by {OBSERVERS} observers. An export tells what happened (sessions, whole graphs), which"
        " takes a walk over the history, and ends with the digest of the content; the other two copy the rows of the"
        " store as they stand: `element_change` as JSON, and the whole file as SQL, of which only the change rows are"
        f" counted. Medians of {rounds} rounds."
    )
    found = list(costs.values())
    yield Costs("Exports of a million changes", "wall time", list(found), note, costs=found)


def _export(cost: Cost, store: Path, path: Path, window: Sequence[str]) -> None:
    words = ("--db", str(store), "export", str(path), "--force", "--json", *window)
    command = [sys.executable, "-m", "peerstore", *words]
    output = path.with_name("said.json")
    used = run(command, output)
    told = json.loads(output.read_text(encoding="utf-8"))
    cost.seconds.append(used.wall)
    cost.memory.append(used.memory)
    cost.count = sum(told["counts"].values())
    cost.bytes = sum(file["bytes"] for file in told["files"])


def _write(cost: Cost, command: list[str], path: Path) -> None:
    used = run(command, path)
    cost.seconds.append(used.wall)
    cost.memory.append(used.memory)
    cost.bytes = path.stat().st_size
    path.unlink()
