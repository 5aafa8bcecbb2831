"""How many bytes a change takes on disk, table by table; and beside what it would take to keep every graph."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.built import CHANGES, FEWER, MILLION, database
from benchmarks.churn import Churn
from benchmarks.measuring import Figures, Table, Target
from benchmarks.peers import Missing, opened

SAMPLED = 300
"""How many graphs are packed, to tell how large one is."""
HISTORY = ("observation_log", "element_change", "keyframe", "document", "peer_document")
"""The tables of the history with the texts of its documents; what is left are names: of elements and observers."""


@dataclass
class Taken:
    """What a database takes: bytes by table, indexes included, and in all."""

    told: str
    changes: int
    observations: int
    days: float
    by_table: dict[str, int]
    whole: int

    @property
    def history(self) -> float:
        """Bytes a change with documents, without the dictionary of elements."""
        return sum(self.by_table.get(name, 0) for name in HISTORY) / self.changes

    @property
    def all_in_all(self) -> float:
        """Bytes of the file a change."""
        return self.whole / self.changes


def tables(rounds: int) -> Iterator[Table]:  # noqa: ARG001 - a size is the same in every round
    """Of a long history and of a short one, whose dictionaries weigh more."""
    long = taken(*database(CHANGES))
    short = taken(*database(FEWER, debounce=5.0))
    packed = _packed(long.days)
    snapshots = packed * long.observations / long.changes
    names = sorted(long.by_table, key=lambda name: -long.by_table[name])
    rows = [
        (f"`{name}`" if name in HISTORY else f"`{name}` (not of the history)", *_each(name, long, short))
        for name in names
        if long.by_table[name] >= long.changes / 100
    ]
    rows += [
        ("**the history with its documents**", f"**{long.history:.1f}**", f"**{short.history:.1f}**"),
        ("**all in all**", f"**{long.all_in_all:.1f}**", f"**{short.all_in_all:.1f}**"),
        ("each graph's JSON, zlib level 6", f"{snapshots:,.0f}", f"{packed * short.observations / short.changes:,.0f}"),
    ]
    note = (
        f"{long.told}\n\nBeside it a shorter history: {short.told}\n\nEach table with its indexes, without free pages."
        " `element` holds a row for each peer and for each connection by its ends, its type and its id: the longer the"
        " history, the more of what is seen was seen before. `document` grows with each edit. A packed graph"
        f" has {packed:,.0f} bytes on average, of {SAMPLED} over the whole time; as many of these as there are"
        f" observations take {snapshots / long.all_in_all:,.0f} times as much as all in all."
    )
    table = Figures("Bytes a change", "bytes", [], note)
    table.head = ("", f"{long.changes:,} changes", f"{short.changes:,} changes")
    table.rows = rows
    table.values = {"long": vars(long), "short": vars(short), "packed_graph": packed}
    if CHANGES >= MILLION:
        table.targets = [
            Target("bytes a change, with documents", long.history, at_most=60),
            Target("packed graphs beside all in all", snapshots / long.all_in_all, at_least=400),
        ]
    yield table


def taken(path: Path, told: str) -> Taken:
    """Measure a built database; :class:`~benchmarks.peers.Missing` if this SQLite cannot tell the tables apart."""
    with closing(opened(path)) as connection:
        try:
            by_table = connection.execute(
                "SELECT tbl_name, SUM(pgsize) FROM dbstat JOIN sqlite_schema USING (name) GROUP BY tbl_name"
            ).fetchall()
        except sqlite3.OperationalError as error:
            raise Missing("This SQLite was built without dbstat, which tells what a table takes") from error
        [changes] = connection.execute("SELECT COUNT(*) FROM element_change").fetchone()
        log = "SELECT COUNT(*), MIN(observed_at), MAX(observed_at) FROM observation_log"
        observations, begin, end = connection.execute(log).fetchone()
    days = (end - begin) / 86_400_000_000
    return Taken(told, changes, observations, days, dict(by_table), path.stat().st_size)


def _packed(days: float) -> float:
    """The mean bytes of a graph's JSON, packed: of the same mesh, looked at now and then over so many days."""
    seldom = Churn(10**9, debounce=days * 86400 / SAMPLED, stops=False)
    sizes = [len(zlib.compress(line, 6)) for line in islice(seldom.lines(), SAMPLED)]
    return sum(sizes) / len(sizes)


def _each(name: str, *each: Taken) -> Iterator[str]:
    return (f"{one.by_table.get(name, 0) / one.changes:.1f}" for one in each)
