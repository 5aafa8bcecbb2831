"""Too little memory: said in one sentence, and nothing is there by half."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import peerstore
from tests.faults.children import ROOT
from tests.faults.oracle import place, places
from tests.faults.reporting import tried

PROGRAM = """
import resource, sys
from pathlib import Path
import peerstore
from peerstore.cli import main
with peerstore.open(":memory:") as warm:
    warm.record_many([{"observedAt": "2026-07-08T18:00:00Z", "observer": "a", "graph": None}])
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
main(["--db", *sys.argv[2:]], prog_name="peerstore")
"""


def observation(number: int, size: int) -> dict[str, object]:
    graph = {"localPeer": {"peerKey": "till", "peerMetadata": {"text": "x" * size}, "connections": []}}
    return {
        "observedAt": f"2026-07-08T18:00:{number:02}.000000Z",
        "observer": "till",
        "sequence": 0,
        "graph": {**graph, "remotePeers": []},
    }


TOLD = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much memory it has is not told here")


def limited(megabytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command with so much memory beyond what it takes to begin."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(megabytes), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@TOLD
def test_an_answer_that_needs_more_than_there_is(tmp_path: Path) -> None:
    database = str(tmp_path / "store.db")
    with peerstore.open(database) as store:
        store.record_many([observation(0, 20_000_000)])
    asked = (database, "at", "2026-07-08T18:00:01Z", "--json")
    done = limited(30, *asked)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("Error: there is not enough memory")
    assert limited(2_000, *asked).returncode == 0


@TOLD
@pytest.mark.parametrize(
    "megabytes",
    [40, *(pytest.param(each, marks=pytest.mark.slow) for each in (10, 20, 30, 60, 80, 100, 130, 160, 300))],
)
def test_lines_that_need_more_than_there_is(tmp_path: Path, megabytes: int) -> None:
    """Small lines, then lines with ten megabytes of metadata each."""
    file, database = tmp_path / "large.ndjson", tmp_path / "store.db"
    lines = [observation(0, 10), *(observation(number, 10_000_000) for number in range(1, 6))]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    peerstore.open(database).close()
    done = limited(megabytes, str(database), "record", str(file))
    tried("memory", megabytes=megabytes, code=done.returncode)
    assert done.returncode in (0, 1, 2, 3), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert "memory" in done.stderr
    if megabytes <= 40:
        assert done.returncode
    with peerstore.open(database) as store:
        assert store.verify().findings == []
        there = places(str(database))
        assert there == {place(line) for line in lines[: len(there)]}
        assert (done.returncode != 0) or len(there) == len(lines)
        assert store.record_many(lines).rejected == 0
