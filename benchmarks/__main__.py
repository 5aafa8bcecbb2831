"""``python -m benchmarks``: run benchmarks, and print their tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
from pathlib import Path

from benchmarks import exports, late, presence, questions, recording
from benchmarks.measuring import Table

BENCHMARKS = {
    "recording": recording.tables,
    "presence": presence.tables,
    "late": late.tables,
    "questions": questions.tables,
    "exports": exports.tables,
}

PAGE = """\
# How fast it is

Measured, not promised: medians of {rounds} rounds in which the cases take turns. A ratio says more than a time, since
both sides of it were measured on the same machine at the same moment. "Each" is the median for one observation or one
answer.

{machine}.

To repeat it, in a checkout (this page was written by it):

<!-- not run: takes minutes -->
```sh
python -m benchmarks --page docs/performance.md
```

{tables}"""


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case is measured (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write docs/performance.md there")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    found: list[Table] = []
    for name in given.names or BENCHMARKS:
        for table in BENCHMARKS[name](given.rounds):
            print(table.markdown(), flush=True)
            found.append(table)
    if given.json:
        report = {"machine": machine(), "rounds": given.rounds, "tables": [table.to_dict() for table in found]}
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if given.page:
        tables = "\n".join(table.markdown() for table in found)
        page = PAGE.format(rounds=given.rounds, machine=machine(), tables=tables)
        given.page.write_text(page, encoding="utf-8")


def machine() -> str:
    """The kind of machine, and what ran on it."""
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {versions}"


if __name__ == "__main__":
    main()
