"""``python -m benchmarks``: run benchmarks, and print their tables; or compare two runs."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import changed, page
from benchmarks.measuring import Table
from benchmarks.peers import Missing
from peerstore.errors import MissingExtra

NAMES = (
    "recording",
    "presence",
    "late",
    "sizes",
    "commands",
    "comparison",
    "questions",
    "exports",
    "upgrade",
    "pruning",
)
"""The benchmarks, each a module with a function ``tables``, in the order in which they run."""


def main() -> None:
    """Run the benchmarks that are named, or all."""
    if sys.argv[1:2] == ["compare"]:
        _compare(sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run benchmarks, and print their tables. `compare OLD.json NEW.json` compares two runs.",
        epilog="\n".join(f"{name:<11} {_title(name)}" for name in NAMES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which of those below (all); `list`: tell their names")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case is measured (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="replace the tables in a page (docs/performance.md)")
    given = parser.parse_args()
    if given.names == ["list"]:
        print(parser.epilog)
        return
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}")
    found: list[Table] = []
    for name in given.names or NAMES:
        measured = []
        for table in _tables(name, given.rounds):
            print(table.markdown(), flush=True)
            measured.append(table)
        found += measured
        if given.page and measured:
            machine = f"Measured on {page.machine()}. Medians of {given.rounds} rounds, unless a table says otherwise."
            page.write(given.page, {name: "\n".join([machine, "", *(table.markdown() for table in measured)])})
        if given.json:
            report = {"machine": page.machine(), "rounds": given.rounds, "tables": [each.to_dict() for each in found]}
            given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _tables(name: str, rounds: int) -> Iterator[Table]:
    """The tables of a benchmark, as far as what they need is installed."""
    try:
        yield from importlib.import_module(f"benchmarks.{name}").tables(rounds)
    except (ImportError, Missing, MissingExtra) as error:
        print(f"{name} is not complete: {error} (pip install -e '.[benchmarks]')", file=sys.stderr, flush=True)


def _title(name: str) -> str:
    told = importlib.import_module(f"benchmarks.{name}").__doc__ or ""
    return " ".join(told.partition("\n\n")[0].split())


def _compare(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare",
        description="How every ratio changed from one run to another; the exit code is 1 if a target that was met is"
        " missed now. Marked is what changed by more than the rounds of either run lie apart.",
    )
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    given = parser.parse_args(arguments)
    told, kept = changed.compare(given.old, given.new)
    print(told)
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    main()
