"""Whole processes, as users start them: what they take until they have ended, as the system tells it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.built import folder

_LAUNCH = """
import json, os, subprocess, sys, time
begun = time.perf_counter()
child = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(child.pid, 0)
wall = time.perf_counter() - begun
told = [used.ru_utime + used.ru_stime, wall, used.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)]
with open(sys.argv[1], "w") as report:
    json.dump(told, report)
"""


class Used(NamedTuple):
    """Seconds of CPU time (user and system), seconds by the clock on the wall, bytes of memory at the most."""

    cpu: float
    wall: float
    memory: int


@cache
def environment() -> dict[str, str]:
    """The environment that commands run in: Python keeps what it compiled, and buffers its output, as it does unless
    it is told otherwise."""
    told = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    return {
        **{name: value for name, value in os.environ.items() if name not in told},
        "PYTHONPYCACHEPREFIX": str(folder() / "bytecode"),
    }


def run(command: Sequence[str], output: Path) -> Used:
    """Run a command, its output into a file; :class:`RuntimeError` if it fails."""
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as place, output.open("wb") as written:
        report = Path(place, "report")
        # What a parent takes counts as its child's until that has begun its program: so the parent is a small one.
        launch = [sys.executable, "-S", "-c", _LAUNCH, str(report), *command]
        said = subprocess.run(launch, stdout=written, stderr=subprocess.PIPE, env=environment(), check=False).stderr
        if not report.exists():
            raise RuntimeError(f"{' '.join(command)} could not be run: {said.decode(errors='replace')}")
        cpu, wall, memory, ended = json.loads(report.read_text(encoding="utf-8"))
    if ended:
        raise RuntimeError(f"{' '.join(command)} ended with {ended}: {said.decode(errors='replace')}")
    return Used(cpu, wall, memory)
