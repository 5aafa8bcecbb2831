"""Processes that record batches and acknowledge each over a pipe; and the ways to break peerstore in them.

A nursery is a process that has everything imported and forks a child for each recording: a hundred kills cost a hundred
forks, not a hundred starts of Python.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.faults.oracle import Batches

ROOT = Path(__file__).parents[2]

# Broken builds: what is done to peerstore in a process before it opens anything.
SOUND = ""
CARELESS = """
import peerstore.sqlite_file as broken
settle = broken.settle
def carelessly(connection, record, *, reading):
    settle(connection, record, reading=reading)
    connection.execute("PRAGMA synchronous=OFF")
broken.settle = carelessly
"""
NORMAL = CARELESS.replace("OFF", "NORMAL")
WITHOUT_JOURNAL = CARELESS.replace(
    'connection.execute("PRAGMA synchronous=OFF")',
    'reading or [connection.execute(f"PRAGMA {each}") for each in ("journal_mode=MEMORY", "synchronous=OFF")]',
)
AUTOCOMMIT = """
import peerstore.database as broken
run = broken.run
def each_alone(connection, text, *given, **named):
    if text != "BEGIN IMMEDIATE":
        return run(connection, text, *given, **named)
broken.run = each_alone
"""
BLIND = """
from peerstore.sqlite_file import SQLiteFile
SQLiteFile.check = SQLiteFile.check_log = lambda self: None
"""
NEVER_AGAIN = """
import peerstore.postgresql_link as broken
broken.worth_another_try = lambda error: False
"""
HASTY = "early = True\n"  # acknowledges before it records

RECORDER = """
import json, os, sys
early = False
def record(url, file, start, preamble, step=None, order=None):
    scope = globals()
    exec(preamble, scope)
    import peerstore
    batches = json.load(open(file))
    numbers = range(start, len(batches)) if order is None else order
    with peerstore.open(url) as store:
        os.write(1, b"ready\\n")
        for number in numbers:
            if step is not None and not sys.stdin.readline():
                break
            if scope["early"]:
                os.write(1, b"%d\\n" % number)
            while True:
                try:
                    summary = store.record_many(batches[number])
                except peerstore.DatabaseError as error:
                    os.write(1, f"error {number} {error}\\n".encode())
                    if errors_end:
                        os._exit(3)
                    failures.append(error)
                    if len(failures) > 50:
                        os._exit(4)
                else:
                    break
            assert summary.conflicts == summary.rejected == 0, summary
            if not scope["early"]:
                os.write(1, b"%d\\n" % number)
    os.write(1, b"done\\n")
errors_end, failures = True, []
"""
"""Records batches from a file, each acknowledged by a line with its number; an error is told, and ends it."""

NURSERY = (
    RECORDER
    + """
import peerstore
with peerstore.open(":memory:") as warm:
    warm.record_many([{"observedAt": "2026-07-08T18:00:00Z", "observer": "a", "graph": None}])
del warm
child = None
while line := sys.stdin.readline():
    if child is not None:
        os.waitpid(child, 0)
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        code = 70
        try:
            record(**order)
            code = 0
        finally:
            os._exit(code)
    os.write(1, b"child %d\\n" % child)
    # Its number stays its own until the next order, so that a kill which crosses its end finds it.
    end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
    os.write(1, b"ended %d\\n" % code)
"""
)


def kept_in(folder: Path, given: Batches) -> Path:
    """A file with batches, for children to read."""
    file = folder / "batches.json"
    file.write_text(json.dumps(given))
    return file


def command(url: str, file: Path, preamble: str = SOUND, *, patient: bool = False, **named: object) -> list[str]:
    """The command that records batches from a file; a patient one tries again after an error."""
    given = {"url": url, "file": str(file), "start": 0, "preamble": preamble, **named}
    before = "errors_end = False\n" if patient else ""
    return [sys.executable, "-c", f"{RECORDER}{before}record(**json.loads(sys.argv[1]))", json.dumps(given)]


class Recording:
    """A child that records: what it said so far."""

    def __init__(self, said: IO[str]) -> None:
        self._said = said
        self.pid = 0
        self.ready = False
        self.code: int | None = None
        self.told: list[int] = []
        while not self.pid:
            self.hear()

    def hear(self) -> None:
        """Wait for the next thing that it, or the nursery, says."""
        line = self._said.readline()
        assert line, "the nursery is gone"
        word, _, number = line.strip().partition(" ")
        if word.isdigit():
            self.told.append(int(word))
        elif word == "ready":
            self.ready = True
        elif word == "child":
            self.pid = int(number)
        elif word == "ended":
            self.code = int(number)

    def wait(self, batches: int) -> None:
        """Wait until it has acknowledged so many, or has ended."""
        while self.code is None and (not self.ready or len(self.told) < batches):
            self.hear()

    def killed(self) -> int:
        """Kill it, where it has not ended by itself; how it ended."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
        while self.code is None:
            self.hear()
        return self.code


@contextmanager
def nursery() -> Iterator[Callable[..., Recording]]:
    """A nursery until the block ends: each call, with what a child is to record, forks one."""
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        orders, said = process.stdin, process.stdout

        def begin(url: str, file: Path, start: int = 0, preamble: str = SOUND) -> Recording:
            orders.write(json.dumps({"url": url, "file": str(file), "start": start, "preamble": preamble}) + "\n")
            orders.flush()
            return Recording(said)

        yield begin
        process.stdin.close()


def acknowledged(lines: Sequence[str]) -> list[int]:
    """The numbers of the batches that a child acknowledged."""
    return [int(line) for line in lines if line.isdigit()]
