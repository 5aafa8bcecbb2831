"""Many processes record into one store at once: nothing is lost, and the content is that of one writer."""

from __future__ import annotations

import json
import random
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import drop_url, fresh_url
from tests.faults.children import AUTOCOMMIT, ROOT, SOUND, acknowledged, command
from tests.faults.oracle import Batches, Expected, batches
from tests.faults.reporting import tried

MEETING = (
    AUTOCOMMIT
    + """
import pathlib, time
from peerstore.inserting import Inserting
insert, arrived = Inserting.insert, pathlib.Path({folder!r})
def after_another_looked(self, connection, table, *given, **named):
    if table.name == "observation_log":
        (arrived / str(os.getpid())).touch()
        while len(list(arrived.iterdir())) < 2:
            time.sleep(0.001)
    return insert(self, connection, table, *given, **named)
Inserting.insert = after_another_looked
"""
)
"""A broken build in which two writers have looked what is there before either writes, however busy the machine is."""


def orders(kind: str, writers: int, count: int) -> list[list[int]]:
    """Which batches each writer records, in its order."""
    if kind == "disjoint":
        return [list(range(number, count, writers)) for number in range(writers)]
    if kind == "identical":
        return [list(range(count)) for _ in range(writers)]
    shuffled = []
    for number in range(writers):
        source = random.Random(number)
        own = sorted({*range(number, count, writers), *source.sample(range(count), count // 2)})
        source.shuffle(own)
        shuffled.append(own)
    return shuffled


def recorded_at_once(
    url: str, given: Batches, shares: list[list[int]], folder: Path, preamble: str = SOUND
) -> tuple[list[int], list[int], float]:
    """Let a process record each share; their exit codes, what was acknowledged, and after how many seconds the last one
    was through."""
    file = folder / "batches.json"
    file.write_text(json.dumps(given))
    with ExitStack() as stack:
        started = []
        for share in shares:
            process = subprocess.Popen(
                command(url, file, preamble, order=share, step=1),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            started.append(process)
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        begun = time.monotonic()
        told: list[int] = []
        for process, share in zip(started, shares, strict=True):
            assert process.stdin is not None
            process.stdin.write("\n" * len(share))
            process.stdin.flush()
        for process in started:
            told += acknowledged(process.communicate(timeout=300)[0].split("\n"))
        return [process.returncode for process in started], told, time.monotonic() - begun


@pytest.mark.parametrize(
    ("engine", "kind", "writers", "count"),
    [
        ("sqlite", "overlapping", 2, 16),
        pytest.param("sqlite", "overlapping", 4, 24, marks=pytest.mark.slow),
        pytest.param("postgresql", "overlapping", 4, 24, marks=pytest.mark.slow),
        pytest.param("sqlite", "disjoint", 8, 800, marks=pytest.mark.slow),
        pytest.param("sqlite", "identical", 8, 100, marks=pytest.mark.slow),
        pytest.param("sqlite", "overlapping", 8, 160, marks=pytest.mark.slow),
        pytest.param("postgresql", "disjoint", 50, 300, marks=pytest.mark.slow),
        pytest.param("postgresql", "overlapping", 50, 12, marks=pytest.mark.slow),
    ],
)
def test_nothing_is_lost(engine: str, kind: str, writers: int, count: int, tmp_path: Path) -> None:
    given, shares = batches(count), orders(kind, writers, count)
    url = fresh_url(engine)
    codes, told, seconds = recorded_at_once(url, given, shares, tmp_path)
    findings = Expected(given).findings(url, range(count))
    tried("many writers", engine=engine, kind=kind, writers=writers, batches=len(told), seconds=round(seconds, 1))
    assert codes == [0] * writers
    assert sorted(told) == sorted(number for share in shares for number in share)
    assert findings == []
    drop_url(url)


@pytest.mark.parametrize(("writers", "count"), [(2, 12), pytest.param(4, 30, marks=pytest.mark.slow)])
def test_many_writers_find_a_broken_build(writers: int, count: int, tmp_path: Path) -> None:
    """Where a batch is no transaction, writers meet each other's halves."""
    given, shares = batches(count), orders("identical", writers, count)
    url = fresh_url("sqlite")
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    codes, _, _ = recorded_at_once(url, given, shares, tmp_path, MEETING.format(folder=str(arrived)))
    findings = Expected(given).findings(url, range(count))
    tried("many writers, broken build", codes=codes, findings=len(findings))
    assert any(codes) or findings
    drop_url(url)
