"""Signals to `peerstore record`: whatever comes when, a batch is there or it is not, what is told is so, and the exit
code says what happened."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import peerstore
from tests.faults.children import ROOT
from tests.faults.oracle import Expected, Line, batches, lines_of, place, places
from tests.faults.reporting import tried

COMMAND = [sys.executable, "-m", "peerstore"]
LINES = lines_of(batches(1200, padding=100))
MOST = 1000  # lines in a batch of the command's
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lines") / "day.ndjson"
    made.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return made


def signalled(number: int, after: float, database: Path, file: Path) -> tuple[int, str, str]:
    """The command's exit code and words, when it gets a signal after so many seconds of recording."""
    with subprocess.Popen(
        [*COMMAND, "--db", str(database), "record", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 30
        while not Path(f"{database}-wal").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(after)
        process.send_signal(number)
        begun = time.monotonic()
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - begun < 20
    return process.returncode, out, err


def wrong_with(database: Path, told: int) -> list[str]:
    """What the oracle finds: the store holds a beginning of the lines, of whole batches, with all that was told."""
    if not database.exists():
        return []
    with peerstore.open(database) as store:
        findings = store.verify().findings
        there = places(str(database))
        beginning = {place(line) for line in LINES[: len(there)]}
        if there != beginning:
            findings.append("what is there is no beginning of the lines")
        if not told <= len(there) <= told + MOST:
            findings.append(f"{told} were told to be recorded, and {len(there)} are there")
        if not findings and store.content_digest() != digest_of(LINES[: len(there)]):
            findings.append("another content than that of a fresh store")
        if store.record_many(LINES[len(there) : len(there) + 3]).rejected:
            findings.append("the next recording failed")
    return findings


def digest_of(lines: list[Line]) -> str:
    if not lines:
        return Expected(()).digest(())
    return Expected((tuple(lines),)).digest([0])


@pytest.mark.parametrize("count", [1, pytest.param(24, marks=pytest.mark.slow)])
def test_a_signal_at_any_time(count: int, tmp_path: Path, file: Path) -> None:
    source = random.Random(count)
    ended: dict[int, int] = {}
    for turn in range(count):
        number, database = SIGNALS[turn % 3], tmp_path / f"{turn}.db"
        code, out, err = signalled(number, source.uniform(0, 0.8 if count > 1 else 0.3), database, file)
        ended[code] = ended.get(code, 0) + 1
        assert code in (128 + number, -number, 0), (number, err)
        assert "Traceback" not in err
        assert "Exception ignored" not in err
        recorded = re.search(r"recorded (\d+)", out)
        told = int(recorded[1]) if recorded else 0
        assert (code != 0) or told == len(LINES)
        assert wrong_with(database, told) == []
        for each in tmp_path.glob(f"{turn}.db*"):
            each.unlink()
    tried("signals", sent=count, ended=ended)
    assert any(code > 128 for code in ended)


@pytest.mark.parametrize("number", [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in SIGNALS[1:])])
def test_waiting_for_lines_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """A command that waits for the next line of a pipe has said what it recorded, and is gone within two seconds."""
    database = tmp_path / f"{number}.db"
    with subprocess.Popen(
        [*COMMAND, "--db", str(database), "record", "-"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps(LINES[0]) + "\n")
        process.stdin.flush()
        until = time.monotonic() + 60
        while time.monotonic() < until and not (database.exists() and stored(database)):
            time.sleep(0.05)
        begun = time.monotonic()
        process.send_signal(number)
        process.wait(30)
        assert time.monotonic() - begun < 5
        assert process.returncode == 128 + number
        assert process.stdout.read().startswith("recorded 1,")
        said = process.stderr.read()
        assert said == ("interrupted\n" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}\n")


def stored(database: Path) -> bool:
    try:
        return bool(places(str(database)))
    except Exception:  # it is still being made
        return False


CLOSING = """
import os, signal, sys
from sqlalchemy.engine import default
from peerstore.cli import main
close = default.DefaultDialect.do_close
def closing(self, connection):
    default.DefaultDialect.do_close = close
    os.kill(os.getpid(), signal.SIGTERM)
    close(self, connection)
default.DefaultDialect.do_close = closing
sys.exit(main(sys.argv[1:]))
"""


def test_a_signal_while_connections_are_closed(tmp_path: Path, file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSING, "--db", str(tmp_path / "mesh.db"), "record", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == "ended by SIGTERM\n"


@pytest.mark.slow
def test_an_ignored_signal_stays_ignored(tmp_path: Path, file: Path) -> None:
    """As under nohup."""
    database = tmp_path / "store.db"
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *COMMAND, "--db", str(database), "record", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        while not database.exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.split(",")[0]) == (0, f"recorded {len(LINES)}")


@pytest.mark.parametrize(
    "closed", ["| true", *(pytest.param(each, marks=pytest.mark.slow) for each in (">&-", ">/dev/full"))]
)
def test_nobody_reads_what_it_says(tmp_path: Path, closed: str) -> None:
    """The lines are recorded; the exit code says that nobody was told."""
    file, database = tmp_path / "few.ndjson", tmp_path / "store.db"
    file.write_text("".join(json.dumps(line) + "\n" for line in LINES[:30]))
    script = f'{{ "$@"; echo $? >&3; }} {closed}' if closed.startswith("|") else f'"$@" {closed}; echo $? >&3'
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&1; {script}", "bash", *COMMAND, "--db", str(database), "record", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert int(done.stdout.split()[-1]) in {"| true": (141, 0), ">&-": (0,), ">/dev/full": (1,)}[closed]
    assert len(places(str(database))) == 30
