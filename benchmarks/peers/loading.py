"""How many changes a second each of them takes up, in the same transactions."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.databases import sqlite_store
from benchmarks.measuring import Measured, Table
from benchmarks.peers import BATCH, Observation, Peer, batches, fresh
from benchmarks.peers.history import History
from benchmarks.peers.snapshots import Differences, Snapshots

LOADED = 3_000
"""How many changes a round loads."""
ONE_BY_ONE = 300
"""How many, where each observation is a transaction."""

RECORDING = "peerstore, `record_many` of JSON: durable (WAL, `synchronous=FULL`)"
FINDING = "finding the changes with `json.loads` and comparisons of dicts, storing nothing"
PACKING = f"{Snapshots.title}: {Snapshots.durability}"


@dataclass
class Rates(Table):
    """A table that tells changes a second: as they were loaded, and as they come from graphs in JSON.

    ``finding`` is what it takes to find the changes in the graphs, for the cases in ``given``, which are given changes.
    """

    finding: Measured | None = None
    given: frozenset[str] = frozenset()

    def each(self, case: Measured) -> float:
        """The seconds that a change takes, from the graphs on."""
        seconds = case.median / case.count
        if self.finding is not None and case.name in self.given:
            seconds += self.finding.median / self.finding.count
        return seconds

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON; ratios are of what a change takes from the graphs on."""
        told = super().to_dict()
        for case, of in zip(told["cases"], self.measured, strict=True):
            case.update(seconds_from_json=self.each(of), ratio=self.each(of) / self.each(self.measured[0]))
        return told

    def _lines(self) -> list[str]:
        lines = [
            "| | changes a round | changes a second, median (slowest to fastest round) | from JSON | times slower |",
            "|---|---|---|---|---|",
        ]
        for case in self.measured:
            low, high = case.spread
            rates = f"{case.count / case.median:,.0f} ({case.count / high:,.0f} to {case.count / low:,.0f})"
            each = self.each(case)
            ratio = each / self.each(self.measured[0])
            lines.append(f"| {case.name} | {case.count:,} | {rates} | {1 / each:,.0f} | {ratio:.3g} |")
        return lines


class Loads:
    """What loading took each of them, by title."""

    def __init__(self) -> None:
        self.measured: dict[str, Measured] = {}

    def begin(self, title: str, changes: int) -> None:
        """A round of so many changes begins for one of them."""
        self.measured.setdefault(title, Measured(title, changes)).seconds.append(0.0)

    def add(self, title: str, work: Callable[[], object]) -> None:
        """Do a part of the round."""
        begun = time.perf_counter()
        work()
        self.measured[title].seconds[-1] += time.perf_counter() - begun


def loading(
    rounds: int, history: History, kinds: Sequence[type[Peer]], one_by_one: Sequence[type[Peer]], missing: Sequence[str]
) -> Table:
    """Each batch is given to each of them in turn; then the next one is made. Those that go ``one_by_one`` follow."""
    loads = Loads()
    observations, few = history.beginning(LOADED), history.beginning(ONE_BY_ONE)
    for _ in range(rounds):
        _round(loads, history, observations, kinds)
        for kind in one_by_one:
            with (
                tempfile.TemporaryDirectory(prefix="peerstore-peers-") as folder,
                closing(kind(Path(folder), history.elements)) as peer,
            ):
                _by_changes(loads, peer, few)
    note = (
        f"The beginning of the same history, {len(observations) - 1:,} observations, onto databases that have but the"
        f" first one, in transactions of {BATCH}. peerstore reads whole graphs as JSON and finds what changed, while"
        " the others are given what it found: `from JSON` counts the finding too, in the plain way, for which there is"
        " a line."
    )
    table = Rates("Loading, beside others", "wall time", list(loads.measured.values()), "\n\n".join([note, *missing]))
    table.finding = loads.measured[FINDING]
    table.given = frozenset(f"{kind.title}: {kind.durability}" for kind in (*kinds, *one_by_one))
    return table


def _round(loads: Loads, history: History, observations: Sequence[Observation], kinds: Iterable[type[Peer]]) -> None:
    changes = sum(len(each.changes) for each in observations[1:])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peerstore-peers-")))
        store = stack.enter_context(sqlite_store())
        differences = Differences()
        snapshots = stack.enter_context(closing(Snapshots(fresh(folder))))
        peers = [stack.enter_context(closing(kind(fresh(folder), history.elements))) for kind in kinds]
        lines = history.lines(observations[-1].at)
        first = next(lines)
        store.record_many([first.text])
        differences.add([first])
        snapshots.record([first])
        for peer in peers:
            peer.record(observations[:1])
        before = differences.found
        for title in [RECORDING, FINDING, PACKING, *map(_title, peers)]:
            loads.begin(title, changes)
        for batch in batches(lines):
            texts = [line.text for line in batch]
            changed = [each for each in observations if batch[0].at <= each.at <= batch[-1].at]
            loads.add(RECORDING, partial(store.record_many, texts))
            loads.add(FINDING, partial(differences.add, batch))
            loads.add(PACKING, partial(snapshots.record, batch))
            for peer in peers:
                loads.add(_title(peer), partial(peer.record, changed))
        if differences.found - before != changes:
            raise AssertionError(f"{differences.found - before} changes are in the JSON, and {changes} are stored")


def _by_changes(loads: Loads, peer: Peer, observations: Sequence[Observation]) -> None:
    """A round of one that has a transaction for each observation anyway."""
    peer.record(observations[:1])
    loads.begin(_title(peer), sum(len(each.changes) for each in observations[1:]))
    loads.add(_title(peer), partial(peer.record, observations[1:]))


def _title(peer: Peer) -> str:
    return f"{peer.title}: {peer.durability}"
