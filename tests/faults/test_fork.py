"""A process that forks with an open store: parent and child go on, each with connections of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import drop_url, fresh_url
from tests.faults.children import ROOT, SOUND, kept_in
from tests.faults.oracle import Expected, batches
from tests.faults.reporting import tried

GIVEN = batches(40, padding=100)
SHARING = """
import peerstore.database as broken
broken.Database._leave_to_parent = lambda self: None
"""
PROGRAM = """
import json, os, sys
url, file, preamble = sys.argv[1:]
exec(preamble)
import peerstore
with open(file) as lines:
    given = json.load(lines)
with peerstore.open(url) as store:
    store.record_many(given[0])
    for turn in range(2):
        child = os.fork()
        mine = range(1 + 2 * turn, 40, 4) if child == 0 else range(2 + 2 * turn, 40, 4)
        for number in mine:
            assert store.record_many(given[number]).conflicts == 0
            assert store.status().observations >= 3
        if child == 0:
            break  # and close, as a program does that does not know what it is
        assert os.waitpid(child, 0)[1] == 0
    if child != 0:
        held = store.status().observations
        assert held == 120 or ":memory:" in url and held > 60, held
        assert store.verify().ok
"""


def forked(url: str, folder: Path, preamble: str = SOUND) -> subprocess.CompletedProcess[str]:
    """Run a program that forks twice, each time with an open store on both sides."""
    try:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, url, str(kept_in(folder, GIVEN)), preamble],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    except subprocess.TimeoutExpired as hung:
        return subprocess.CompletedProcess(hung.cmd, 124, "", "it hung")


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_parent_and_child_record(engine: str, tmp_path: Path) -> None:
    url = fresh_url(engine)
    done = forked(url, tmp_path)
    tried("fork", engine=engine, code=done.returncode)
    assert (done.returncode, done.stderr) == (0, "")
    assert Expected(GIVEN).findings(url, range(40), 0) == []
    drop_url(url)


OUTLIVING = """
import os, sys
url, preamble = sys.argv[1:]
exec(preamble)
import peerstore
def record(number):
    line = {"observedAt": f"2026-07-08T18:00:{number:02}Z", "observer": "a", "graph": None}
    assert store.record_many([line]).recorded == 1
(told, tell), (heard, hear) = os.pipe(), os.pipe()
store = peerstore.open(url)
record(1)
child = os.fork()
if child == 0:
    record(2)
    os.write(tell, b".")
    os.read(heard, 1)
    record(3)
    os._exit(0)
os.read(told, 1)
store.close()
with peerstore.open(url) as store:
    record(4)
    os.write(hear, b".")
    assert os.waitpid(child, 0)[1] == 0
    assert store.status().observations == 4
    assert store.verify().ok
"""


@pytest.mark.parametrize(("preamble", "sound"), [(SOUND, True), (SHARING, False)], ids=["sound", "broken"])
def test_a_child_has_locks_of_its_own(preamble: str, sound: bool, tmp_path: Path) -> None:
    """What SQLite has open when a process forks it takes for locked in the child, which has no lock: there the write-
    ahead log was removed from under it when the parent closed."""
    command = [sys.executable, "-c", OUTLIVING, str(tmp_path / "store.db"), preamble]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode == 0) == sound, done.stderr


def test_a_fork_in_the_midst_of_reading(tmp_path: Path) -> None:
    """The child is told that it cannot use the store; the parent goes on."""
    program = (
        "import os, sys, peerstore\nstore = peerstore.open(sys.argv[1])\n"
        "with store.snapshot() as before:\n"
        "    if os.fork() == 0:\n"
        "        try:\n            store.status()\n"
        "        except peerstore.DatabaseError as error:\n            os.write(1, str(error).encode())\n"
        "        os._exit(0)\n"
        "    os.wait()\n    assert before.content_digest() == store.content_digest()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "store.db")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "store.db was being read or written when this process was forked off: open it in the new" in done.stdout


@pytest.mark.slow
def test_a_private_store_outlives_the_child(tmp_path: Path) -> None:
    done = forked(":memory:", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["postgresql", ":memory:"])
def test_forks_find_a_broken_build(engine: str, tmp_path: Path) -> None:
    url = engine if engine == ":memory:" else fresh_url(engine)
    done = forked(url, tmp_path, SHARING)
    assert done.returncode != 0
    if url != engine:
        drop_url(url)
