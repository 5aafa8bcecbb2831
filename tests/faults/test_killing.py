"""Kills: at random moments, and at each of the system calls that write. Nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import drop_url, fresh_url
from tests.faults.children import AUTOCOMMIT, HASTY, ROOT, SOUND, acknowledged, command, kept_in, nursery
from tests.faults.oracle import Expected, batches
from tests.faults.privileges import memory_folder, needs_strace
from tests.faults.reporting import tried

GIVEN = batches(200, size=3, padding=600)
SHORT = batches(12)


@contextmanager
def new_store(engine: str) -> Iterator[str]:
    url = fresh_url(engine)
    yield url
    drop_url(url)


class Killings:
    """Children that record into one store, each killed after a short while, until it is full; then into another."""

    def __init__(self, engine: str, folder: Path, preamble: str = SOUND) -> None:
        self.engine, self.preamble = engine, preamble
        self.file = kept_in(folder, GIVEN)
        self.expected = Expected(GIVEN)
        self.killed = self.batches = self.stores = 0
        self.findings: list[str] = []

    def go(self, kills: int, seed: int) -> None:
        source = random.Random(seed)
        with nursery() as children:
            while self.killed < kills and not self.findings:
                self.stores += 1
                with new_store(self.engine) as url:
                    there: set[int] = set()
                    while self.killed < kills and len(there) < len(GIVEN) and not self.findings:
                        child = children(url, self.file, max(there, default=-1) + 1, self.preamble)
                        child.wait(source.randrange(6))
                        time.sleep(source.uniform(0, 0.04))
                        code = child.killed()
                        assert code in (0, -signal.SIGKILL)
                        self.killed += code != 0
                        self.batches += len(child.told)
                        there.update(child.told)
                        self.findings += self.expected.findings(url, there)
                        # The oracle has recorded the batch that came next.
                        there.update({max(there, default=-1) + 1} & set(range(len(GIVEN))))

    def report(self, what: str) -> None:
        tried(
            what,
            engine=self.engine,
            killed=self.killed,
            batches=self.batches,
            stores=self.stores,
            findings=len(self.findings),
        )


def test_a_kill_may_cross_the_end(tmp_path: Path) -> None:
    with nursery() as children, new_store("sqlite") as url:
        child = children(url, kept_in(tmp_path, GIVEN[:1]))
        child.wait(1)
        time.sleep(0.3)
        assert child.killed() == 0


@pytest.mark.parametrize(
    ("engine", "kills"),
    [
        ("sqlite", 4),
        pytest.param("sqlite", 6, marks=pytest.mark.slow),
        pytest.param("sqlite", 120, marks=pytest.mark.slow),
        pytest.param("postgresql", 50, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments(engine: str, kills: int, tmp_path: Path) -> None:
    killings = Killings(engine, tmp_path)
    killings.go(kills, seed=kills)
    killings.report("kill -9 at random moments")
    assert killings.findings == []
    assert killings.killed == kills
    assert killings.batches > kills


@pytest.mark.parametrize(
    "preamble",
    [
        pytest.param(HASTY, id="acknowledges early"),
        pytest.param(AUTOCOMMIT, id="autocommit", marks=pytest.mark.slow),
    ],
)
def test_random_kills_find_a_broken_build(preamble: str, tmp_path: Path) -> None:
    killings = Killings("sqlite", tmp_path, preamble)
    killings.go(60, seed=1)
    killings.report("kill -9 at random moments, broken build")
    assert killings.findings


def killed_at(call: str, number: int, file: Path, folder: Path, preamble: str = SOUND) -> tuple[int, list[int]]:
    """Record into a new store; the process is killed as it enters a system call on the store's files for the n-th
    time. How it ended, and what it acknowledged."""
    database = folder / "store.db"
    names = [part for ending in ("", "-wal", "-journal") for part in ("-P", f"{database}{ending}")]
    traced = [needs_strace(), "-f", "-o", os.devnull, *names, f"-etrace={call}"]
    traced.append(f"--inject={call}:signal=KILL:when={number}")
    done = subprocess.run(
        [*traced, *command(str(database), file, preamble)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    return done.returncode, acknowledged(done.stdout.split())


class KillsAtCalls:
    """Kills at the n-th system call of a kind."""

    def __init__(self, folder: Path, preamble: str = SOUND) -> None:
        self.file, self.preamble = kept_in(folder, SHORT), preamble
        self.expected = Expected(SHORT)
        self.killed = self.ran_through = 0
        self.findings: list[str] = []

    def go(self, call: str, numbers: range | list[int]) -> None:
        for number in numbers:
            with memory_folder() as folder:
                code, told = killed_at(call, number, self.file, folder, self.preamble)
                self.findings += [
                    f"{call} {number}: {each}" for each in self.expected.findings(str(folder / "store.db"), told)
                ]
                if code == 0:
                    self.ran_through += 1
                    return
                assert code in (-signal.SIGKILL, 128 + signal.SIGKILL)
                self.killed += 1


SMOKE_CALLS = [("pwrite64", [130]), ("fdatasync", [4])]
ALL_CALLS = [
    ("pwrite64", list(range(1, 61)) + list(range(64, 200, 20))),
    ("fdatasync", list(range(1, 21))),
    ("fsync", list(range(1, 5))),
    ("ftruncate", list(range(1, 5))),
    ("unlink", list(range(1, 5))),
]


@pytest.mark.parametrize("calls", [SMOKE_CALLS, pytest.param(ALL_CALLS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_killed_at_each_call_that_writes(calls: list[tuple[str, list[int]]], tmp_path: Path) -> None:
    """Making the store is among them: the first calls belong to its creation."""
    killing = KillsAtCalls(tmp_path)
    for call, numbers in calls:
        killing.go(call, numbers)
    tried("kill at the n-th call", killed=killing.killed, ran_through=killing.ran_through, findings=killing.findings)
    assert killing.findings == []
    assert killing.killed >= len(calls) - 1


@pytest.mark.slow
def test_kills_at_calls_find_a_broken_build(tmp_path: Path) -> None:
    killing = KillsAtCalls(tmp_path, HASTY)
    for number in range(90, 150, 7):
        killing.go("pwrite64", [number])
        if killing.findings:
            break
    tried("kill at the n-th call, broken build", killed=killing.killed, findings=len(killing.findings))
    assert killing.findings
