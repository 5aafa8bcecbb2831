"""What a short command takes as a whole process, beside sqlite-utils', which is built of the same libraries."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import peerstore
from benchmarks.measuring import Measured, Table, Target
from benchmarks.processes import Used, run
from peerstore.times import iso

AT_LEAST = 10
"""Rounds, even where fewer are asked for: a round takes two seconds."""

_OURS = "from peerstore.cli import main; main()"
_THEIRS = "from sqlite_utils.cli import cli; cli()"
WITHOUT_PANDAS = f"import sys; sys.modules['pandas'] = None; {_THEIRS}"
"""A program that is `sqlite-utils`, which loads pandas where it finds it."""


def tables(rounds: int) -> Iterator[Table]:
    """CPU time, then wall time; the ratios of a command are to that of sqlite-utils which is named before it."""
    rounds = max(rounds, AT_LEAST)
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        database = str(Path(folder, "demo.db"))
        run(_python(_OURS, "--db", database, "demo"), Path(folder, "output"))
        with peerstore.open(database, create=False) as store:
            last, status = store.last_observed_at(), store.status()
        assert last is not None
        rows = ("rows", database, "observation_log", "--limit", "20")
        commands = {
            "`sqlite-utils --help`": _python(WITHOUT_PANDAS, "--help"),
            "`peerstore --help`": _python(_OURS, "--help"),
            "`sqlite-utils rows FILE observation_log --limit 20`": _python(WITHOUT_PANDAS, *rows),
            "`peerstore at TIME`": _python(_OURS, "--db", database, "at", iso(last - timedelta(hours=1))),
            "`python -c pass`": _python("pass"),
            '`python -c "import sqlalchemy"`': _python("import sqlalchemy"),
        }
        pandas = find_spec("pandas") is not None
        if pandas:
            commands["`sqlite-utils --help`, pandas and all"] = _python(_THEIRS, "--help")
        used = _measured(rounds, commands, Path(folder, "output"))
    note = (
        f"Each as a process of its own, from its start to its end, {rounds} rounds. FILE is `peerstore demo`'s"
        f" ({status.observations:,} observations). sqlite-utils loads pandas where that is installed, which it is"
        f" {'here' if pandas else 'not here'}; for fairness it is kept from finding it"
        f"{', but in the last line' if pandas else ''}. Both are called as their scripts call them; what Python"
        " compiled is kept."
    )
    title = "Short commands as whole processes"
    table = Table(title, "CPU time", [_case(name, [each.cpu for each in found]) for name, found in used.items()], note)
    table.targets = [
        Target("`peerstore --help` beside `sqlite-utils --help`", table.ratio(1), at_most=1),
        Target("`peerstore at` beside `sqlite-utils rows`", table.ratio(3, 2), at_most=1),
    ]
    yield table
    walls = [_case(name, [each.wall for each in found]) for name, found in used.items()]
    yield Table(f"{title}, by the clock", "wall time", walls)


def _python(program: str, *words: str) -> list[str]:
    return [sys.executable, "-c", program, *words]


def _case(name: str, seconds: list[float]) -> Measured:
    return Measured(name, seconds=seconds)


def _measured(rounds: int, commands: Mapping[str, Sequence[str]], output: Path) -> dict[str, list[Used]]:
    used: dict[str, list[Used]] = {name: [] for name in commands}
    for command in commands.values():  # what Python compiles is kept from now on
        run(command, output)
    for _ in range(rounds):
        for name, command in commands.items():
            used[name].append(run(command, output))
    return used
