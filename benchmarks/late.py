"""What it costs that observations come late, beside appending as many in their order."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import peerstore
from benchmarks.databases import sqlite_store
from benchmarks.histories import one_observer
from benchmarks.measuring import Measured, Table, interleaved
from peerstore import PeerStore

LATE = 1_000
ONE_BY_ONE = 200


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
    yield Table(f"In any order: {title}", "CPU time", _in_any_order(rounds, lines), "The whole history.")


def _in_any_order(rounds: int, lines: list[bytes]) -> list[Measured]:
    shuffled = list(lines)
    random.Random(1).shuffle(shuffled)
    cases = {"in order": lambda: _added(None, lines, _at_once), "shuffled": lambda: _added(None, shuffled, _at_once)}
    return interleaved(min(rounds, 3), cases, len(lines))


def _stored(file: Path, lines: list[bytes]) -> Path:
    with peerstore.open(file) as store:
        store.record_many(lines)
    return file


def _added(content: Path | None, lines: list[bytes], add: Callable[[PeerStore, list[bytes]], None]) -> float:
    with sqlite_store(content) as store:
        begun = time.process_time()
        add(store, lines)
        return time.process_time() - begun


def _at_once(store: PeerStore, lines: list[bytes]) -> None:
    store.record_many(lines)


def _one_by_one(store: PeerStore, lines: list[bytes]) -> None:
    for line in lines:
        store.record_many([json.loads(line)])
