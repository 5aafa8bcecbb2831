"""PostgreSQL is restarted while many record: nothing acknowledged is lost, and nobody has to be started again.

Quickly, `test_link.py` tries the same with a link that is cut, refused or silent.
"""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import pytest

import peerstore
from tests.faults.children import NEVER_AGAIN, ROOT, SOUND, acknowledged, command, kept_in
from tests.faults.oracle import Expected, batches
from tests.faults.reporting import tried
from tests.faults.servers import own_server

FEW, MANY = batches(80, padding=100), batches(400, padding=100)


def through_restarts(name: str, modes: list[str], folder: Path, preamble: str = SOUND) -> tuple[list[str], int]:
    """Two processes record while the server is restarted; what the oracle finds, and how many restarts there were."""
    server = own_server()
    url = server.new_database(name)
    peerstore.open(url).close()
    given = MANY if len(modes) > 2 else FEW
    file = kept_in(folder, given)
    shares = [list(range(start, len(given), 2)) for start in range(2)]
    started = [
        subprocess.Popen(
            command(url, file, preamble, order=share, step=1),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    source = random.Random(name)
    try:
        for process, share in zip(started, shares, strict=True):
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("\n" * len(share))
            process.stdin.flush()
        restarts = 0
        for mode in modes:
            time.sleep(source.uniform(0.1, 0.6))
            if all(process.poll() is not None for process in started):
                break
            server.restart(mode)
            restarts += 1
        said = [process.communicate(timeout=300)[0].splitlines() for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    told = [number for lines in said for number in acknowledged(lines)]
    errors = [line for lines in said for line in lines if line.startswith("error")]
    findings = Expected(given).findings(url, told, most_unacknowledged=2)
    tried("server restarted", modes=modes, restarts=restarts, acknowledged=len(told), findings=findings, errors=errors)
    return [*findings, *errors], restarts


@pytest.mark.slow
@pytest.mark.parametrize("modes", [["fast", "immediate"], ["fast", "immediate"] * 5], ids=["some", "all"])
def test_nothing_is_lost_when_the_server_is_restarted(modes: list[str], tmp_path: Path) -> None:
    findings, restarts = through_restarts(f"restarted_{len(modes)}", modes, tmp_path)
    assert findings == []
    assert restarts >= 1


@pytest.mark.slow
def test_restarts_find_a_build_that_does_not_try_again(tmp_path: Path) -> None:
    findings, _ = through_restarts("restarted_broken", ["immediate", "fast"], tmp_path, NEVER_AGAIN)
    assert any(each.startswith("error") for each in findings)
