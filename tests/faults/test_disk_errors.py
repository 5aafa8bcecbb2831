"""A disk that fails: the n-th write or sync gives an error. It is told, never acknowledged, and recording goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.children import ROOT, SOUND, acknowledged, command, kept_in
from tests.faults.oracle import Expected, batches
from tests.faults.privileges import memory_folder, needs_strace
from tests.faults.reporting import tried

GIVEN = batches(12)
DEAF = """
import sqlite3
import peerstore.database as broken
def deaf(self, work):
    try:
        with self._transaction() as connection:
            return work(connection)
    except broken.DatabaseError:
        return []
broken.Database.write = deaf
"""
"""A build that takes an error for done."""


def with_errors(folder: Path, given: list[str], file: Path, preamble: str = SOUND) -> tuple[int, list[str]]:
    """Record into a new store, on whose files some system calls fail; how it ended and what it said. Who records
    tries again after each error."""
    database = folder / "store.db"
    names = [part for ending in ("", "-wal") for part in ("-P", f"{database}{ending}")]
    traced = [needs_strace(), "-f", "-o", os.devnull, *names, *given]
    done = subprocess.run(
        [*traced, *command(str(database), file, preamble, patient=True)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.splitlines()


def injected(call: str, error: str, when: str) -> list[str]:
    """The options of strace that make a system call fail."""
    return [f"-etrace={call}", f"--inject={call}:error={error}:when={when}"]


SOME = [("fdatasync", "EIO", "7"), ("pwrite64", "EIO", "120+7")]
ALL = [
    *(("pwrite64", "ENOSPC", f"{number}") for number in (1, 3, 9, 20, 60, 80, 100, 140)),
    *(("pwrite64", "EIO", f"{number}") for number in (2, 5, 12, 40, 75, 90, 130)),
    *(("pwrite64", "EIO", f"{number}+{step}") for number, step in ((100, 9), (120, 31))),
    *(("fdatasync", "EIO", f"{number}") for number in range(1, 20)),
    *(("fdatasync", "EIO", f"{number}+3") for number in (5, 6, 7)),
    *(("fdatasync", "ENOSPC", f"{number}") for number in (4, 8)),
    ("ftruncate", "EIO", "1"),
    ("pread64", "EIO", "30"),
    ("pread64", "EIO", "60+20"),
]


@pytest.mark.parametrize("faults", [SOME, pytest.param(ALL, marks=pytest.mark.slow)], ids=["some", "all"])
def test_an_error_is_told_and_nothing_is_lost(faults: list[tuple[str, str, str]], tmp_path: Path) -> None:
    file, expected = kept_in(tmp_path, GIVEN), Expected(GIVEN)
    told_errors = ended = 0
    for fault in faults:
        with memory_folder() as folder:
            code, said = with_errors(folder, injected(*fault), file)
            errors = [line for line in said if line.startswith("error")]
            told = acknowledged(said)
            # While the store is made, an error ends the process; afterwards it goes on.
            assert code in (0, 1, 4), (fault, said)
            assert code != 0 or told == list(range(len(GIVEN))), (fault, said)
            assert all("acknowledged is" in error for error in errors), (fault, errors)
            assert expected.findings(str(folder / "store.db"), told) == [], (fault, said)
            told_errors += len(errors)
            ended += code != 0
    tried("disk errors", faults=len(faults), errors_told=told_errors, processes_ended=ended)
    assert told_errors > 0


@pytest.mark.slow
def test_disk_errors_find_a_broken_build(tmp_path: Path) -> None:
    file = kept_in(tmp_path, GIVEN)
    with memory_folder() as folder:
        _, said = with_errors(folder, injected("pwrite64", "ENOSPC", "150+40"), file, DEAF)
        assert acknowledged(said)
        assert Expected(GIVEN).findings(str(folder / "store.db"), acknowledged(said))


@pytest.mark.slow
def test_syncs_that_fail_at_random(tmp_path: Path) -> None:
    """With libfiu, in a process that lives on."""
    fiu = shutil.which("fiu-run")
    if fiu is None:
        pytest.skip("there is no fiu-run here")
    file, expected, errors = kept_in(tmp_path, GIVEN), Expected(GIVEN), 0
    for _ in range(20):
        with memory_folder() as folder:
            database = str(folder / "store.db")
            named = "enable_random name=posix/io/sync/*,probability=0.1,failinfo=5"
            done = subprocess.run(
                [fiu, "-x", "-c", named, *command(database, file, patient=True)],
                cwd=ROOT,
                check=False,
                capture_output=True,
                text=True,
            )
            said = done.stdout.splitlines()
            errors += sum(line.startswith("error") for line in said)
            assert done.returncode in (0, 1), said
            assert expected.findings(database, acknowledged(said)) == []
    tried("syncs that fail at random", runs=20, errors_told=errors)
    assert errors > 0
