"""Asking a command, and what every answer must be: without a traceback, harmless on a terminal, whole for a program."""

from __future__ import annotations

import csv
import io
import json
import re

from click.testing import CliRunner

from peerstore.cli import main
from tests.hostile.strings import UNSAFE

MOMENT, LATER = "2026-07-08T18:00:15Z", "2026-07-08T18:00:25Z"
PEER, OTHER, OBSERVER = "' OR '1'='1", "\x1b]0;owned\x07", "'; DROP TABLE peer; --"
SHAPES = ("", "--json", "--ndjson", "--csv")

QUESTIONS: tuple[tuple[str, ...], ...] = (
    ("at", MOMENT),
    ("at", MOMENT, "--observer", OBSERVER),
    ("diff", MOMENT, LATER),
    ("diff", MOMENT, LATER, "--inside"),
    ("changes",),
    ("changes", PEER, "--kind", "changed"),
    ("metadata",),
    ("metadata", PEER),
    ("sessions",),
    ("sessions", "--connections", "--grace", "9s"),
    ("connections",),
    ("connections", "--at", MOMENT),
    ("activity", "--every", "10s"),
    ("cloud",),
    ("cloud", "--at", MOMENT),
    ("cloud", "--over"),
    ("disagreements",),
    ("disagreements", "--at", MOMENT),
    ("values", "/os", "--at", MOMENT),
    ("values", "/peer_metadata/role", "--at", MOMENT),
    ("rollout", "/os"),
    ("rollout", "/device_name", "--value", "\x1b[31mred", "--lacking"),
    ("incompatible",),
    ("incompatible", "--at", MOMENT),
    ("population",),
    ("peers",),
    ("peers", "--at", MOMENT),
    ("peer", PEER),
    ("observers",),
    ("names",),
    ("names", "--at", MOMENT),
    ("new-keys",),
    ("new-peers",),
    ("contacts",),
    ("contacts", OBSERVER),
    ("flapping", "--within", "1m"),
    ("transports",),
    ("fallbacks",),
    ("degree",),
    ("degree", "--cap", "Bluetooth=1"),
    ("uptime",),
    ("timeline",),
    ("seen",),
    ("rejects",),
    ("rejects", "list"),
    ("rejects", "show", "1"),
    ("rejects", "show", "4"),
    ("islands",),
    ("islands", "--at", MOMENT),
    ("islands", "--members"),
    ("cuts", MOMENT),
    ("path", PEER, OTHER),
    ("path", PEER, OTHER, "--at", MOMENT),
    ("reach", PEER, MOMENT),
    ("coverage",),
    ("coverage", "--gaps"),
    ("coverage", "--totals"),
    ("skew",),
    ("why", PEER, MOMENT),
    ("why", OTHER, LATER),
    ("evidence", MOMENT, PEER),
    ("evidence", MOMENT, PEER, OBSERVER),
    ("expected", "expected.txt", "--at", MOMENT),
    ("status",),
    ("verify",),
    ("forget", PEER, "--dry-run"),
    ("prune", "--before", MOMENT, "--dry-run"),
    ("thin", "--before", MOMENT, "--every", "1s", "--dry-run"),
    ("removals",),
    ("upgrade",),
    ("completion", "bash"),
)
"""A question, or more, to every command that answers in a table."""

OF_PROGRAMS: tuple[tuple[str, ...], ...] = (
    ("at", MOMENT, "--observer", OBSERVER, "--ditto", "js-5"),
    ("replay", "--observer", OBSERVER, "--speed", "max"),
    ("replay", "--observer", OBSERVER, "--speed", "max", "--envelope"),
)
"""What answers in JSON whatever it is asked."""


def shaped(words: tuple[str, ...], shapes: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The same question for people and in each of these shapes for programs."""
    return [(*words, shape) if shape else words for shape in shapes]


def asked(*words: str, stdin: bytes = b"", database: str = "peerstore.db") -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command, which must not end in a traceback."""
    result = CliRunner().invoke(main, ["--db", database, *words], prog_name="peerstore", input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"{words!r} ended in {result.exception!r}") from result.exception
    out, err = (each.decode("utf-8", "surrogatepass") for each in (result.stdout_bytes, result.stderr_bytes))
    assert "Traceback" not in err, words
    return result.exit_code, out, err


def faults(words: tuple[str, ...], out: str, err: str) -> list[str]:
    """What is wrong with an answer: what reaches a terminal, formulas, and JSON that is none."""
    found = [f"on stderr: {err[hit.start() - 40 : hit.end() + 20]!r}" for hit in UNSAFE.finditer(err)]
    if "--csv" in words:
        cells = [cell for row in csv.reader(io.StringIO(out, newline="")) for cell in row]
        return found + [f"a formula: {cell!r}" for cell in cells if is_formula(cell)]
    found += [f"on stdout: {out[hit.start() - 40 : hit.end() + 20]!r}" for hit in UNSAFE.finditer(out)]
    try:
        if "--json" in words and out:
            json.loads(out)
        if "--ndjson" in words:
            [json.loads(line) for line in out.splitlines()]
    except ValueError as error:
        found.append(f"no JSON: {error}")
    return found


_STARTS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?")


def is_formula(cell: str) -> bool:
    """Whether some spreadsheet may run a cell: written anew here, so that the product is not asked about itself."""
    begins = "".join(cell.split()).lstrip("\0\xad\u200b\u2060\ufeff")
    return cell[:1] in tuple("\t\r\n") or (begins.startswith(_STARTS) and not _NUMBER.fullmatch(begins))
