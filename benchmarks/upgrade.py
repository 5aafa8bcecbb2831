"""What an upgrade takes of a database of an older schema, for a million rows of its history."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import peerstore
from benchmarks import built
from benchmarks.databases import has_postgresql
from benchmarks.measuring import Figures, Measured, interleaved
from peerstore.schema import HEAD
from tests.old_databases import copy_to_revision
from tests.postgres import drop_database, fresh_database

CHANGES = 3 * built.FEWER
REVISIONS = ("0002", "0004")
"""Where the upgrades begin."""


def tables(rounds: int) -> Iterator[Figures]:
    """From each of some revisions to the newest, on both engines; on SQLite also the backup before."""
    newest, told = built.database(CHANGES)
    rounds, rows = min(rounds, 3), _rows(newest)
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        cases: dict[str, Callable[[], float]] = {}
        for revision in REVISIONS:
            old = Path(folder) / f"{revision}.db"
            copy_to_revision(f"sqlite:///{newest}", f"sqlite:///{old}", revision)
            cases[f"SQLite, from {revision}"] = lambda old=old: _upgraded(old, backup=False)  # type: ignore[misc]
            cases[f"SQLite, from {revision}, with the backup"] = lambda old=old: _upgraded(old, backup=True)  # type: ignore[misc]
            if has_postgresql():
                cases[f"PostgreSQL, from {revision}"] = lambda revision=revision: _on_postgresql(newest, revision)  # type: ignore[misc]
        measured = interleaved(rounds, cases)
    told = f"{told}\n\n{rows:,} rows of the log and of changes, brought to schema {HEAD}."
    yield Figures(
        "Upgrades from older schemas",
        "seconds",
        measured,
        f"{told} {'One round.' if rounds == 1 else f'Medians of {rounds} rounds.'}",
        head=("", "seconds", "seconds for a million rows"),
        rows=[_row(each, rows) for each in measured],
        values={each.name: each.median / rows * 1_000_000 for each in measured},
    )


def _row(case: Measured, rows: int) -> list[str]:
    return [case.name, f"{case.median:.1f}", f"{case.median / rows * 1_000_000:.1f}"]


def _rows(database: Path) -> int:
    with peerstore.open(database) as store:
        status = store.status()
    return status.observations + status.changes


def _upgraded(old: Path, *, backup: bool) -> float:
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        return _timed(str(shutil.copy(old, Path(folder) / "old.db")), backup=backup)


def _on_postgresql(newest: Path, revision: str) -> float:
    with _database() as url:
        copy_to_revision(f"sqlite:///{newest}", url, revision)
        return _timed(url, backup=False)


@contextmanager
def _database() -> Iterator[str]:
    url = fresh_database()
    try:
        yield url.render_as_string(hide_password=False)
    finally:
        drop_database(url)


def _timed(database: str, *, backup: bool) -> float:
    begun = time.perf_counter()
    assert peerstore.upgrade(database, backup=backup)[1] == HEAD
    return time.perf_counter() - begun
