"""What it costs that observations come late, beside appending as many in their order."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import peerstore
from benchmarks.churn import Churn
from benchmarks.databases import sqlite_store
from benchmarks.histories import one_observer
from benchmarks.measuring import Measured, Table, Target, interleaved
from peerstore import PeerStore

LATE = 1_000
ONE_BY_ONE = 200
LARGE = 2_000
"""Observations of 200 peers onto which late ones come."""


def tables(rounds: int) -> Iterator[Table]:
    """Late ones are taken out at random from everywhere, and come last, in a random order."""
    title, lines = one_observer()
    source = random.Random(1)
    chosen = set(source.sample(range(len(lines) - 1), LATE))
    late = [lines[number] for number in chosen]
    source.shuffle(late)
    others = [line for number, line in enumerate(lines) if number not in chosen]
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        without_last = _stored(Path(folder) / "without-last.db", lines[:-LATE])
        without_late = _stored(Path(folder) / "without-late.db", others)
        cases = {
            "the last ones, in order": lambda: _added(without_last, lines[-LATE:], _at_once),
            "late ones, all in one batch": lambda: _added(without_late, late, _at_once),
        }
        note = f"{LATE} observations onto {len(others)} that are stored."
        yield Table(f"Late observations: {title}", "CPU time", interleaved(rounds, cases, LATE), note)
        cases = {
            "the last ones, in order": lambda: _added(without_last, lines[-LATE:][:ONE_BY_ONE], _one_by_one),
            "late ones": lambda: _added(without_late, late[:ONE_BY_ONE], _one_by_one),
        }
        note = f"{ONE_BY_ONE} observations, each with a durable commit of its own."
        yield Table(f"Late, one by one: {title}", "CPU time", interleaved(rounds, cases, ONE_BY_ONE), note)
    yield _large(rounds)
    yield Table(f"In any order: {title}", "CPU time", _in_any_order(rounds, lines), "The whole history.")


def _large(rounds: int) -> Table:
    """Of the observations of a large mesh some were lost at random, and come one by one once the others are stored;
    beside as many that come in their order onto as many."""
    history = Churn(10**9)
    lines = list(islice(history.lines(), LARGE))
    told = history.statistics.markdown()
    source = random.Random(1)
    chosen = source.sample(range(200, LARGE - 1), ONE_BY_ONE)
    without = set(chosen)
    others = [line for number, line in enumerate(lines) if number not in without]
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        without_last = _stored(Path(folder) / "without-last.db", lines[:-ONE_BY_ONE])
        without_late = _stored(Path(folder) / "without-late.db", others)
        warm = lines[LARGE - ONE_BY_ONE - 1]
        cases = {
            "the last ones, in order": lambda: _added(without_last, lines[-ONE_BY_ONE:], _as_json, warm),
            "late ones": lambda: _added(without_late, [lines[number] for number in chosen], _as_json, warm),
        }
        measured = interleaved(rounds, cases, ONE_BY_ONE)
    note = (
        f"{told}\n\n{ONE_BY_ONE} observations as JSON, each with a durable commit of its own, onto"
        f" {LARGE - ONE_BY_ONE} that are stored."
    )
    table = Table("Late, one by one: 200 peers", "CPU time", measured, note)
    table.targets = [Target("a late observation beside one in order", table.ratio(1), at_most=5)]
    return table


def _in_any_order(rounds: int, lines: list[bytes]) -> list[Measured]:
    shuffled = list(lines)
    random.Random(1).shuffle(shuffled)
    cases = {"in order": lambda: _added(None, lines, _at_once), "shuffled": lambda: _added(None, shuffled, _at_once)}
    return interleaved(min(rounds, 3), cases, len(lines))


def _stored(file: Path, lines: list[bytes]) -> Path:
    with peerstore.open(file) as store:
        store.record_many(lines)
    return file


def _added(
    content: Path | None,
    lines: list[bytes],
    add: Callable[[PeerStore, list[bytes]], None],
    warm: bytes | None = None,
) -> float:
    """The seconds that adding takes; ``warm`` is recorded before, lest the first one pay for what all need."""
    with sqlite_store(content) as store:
        if warm is not None:
            store.record_many([warm])
        begun = time.process_time()
        add(store, lines)
        return time.process_time() - begun


def _at_once(store: PeerStore, lines: list[bytes]) -> None:
    store.record_many(lines)


def _one_by_one(store: PeerStore, lines: list[bytes]) -> None:
    for line in lines:
        store.record_many([json.loads(line)])


def _as_json(store: PeerStore, lines: list[bytes]) -> None:
    for line in lines:
        store.record_many([line])
