"""What can be seen without running: statements are put together from constants alone, and whoever says so says why."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.counting import report
from tests.syntax import parsed

ROOT = Path(__file__).parents[2]
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in ("peerstore", "migrations")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
SILENCED = re.compile(r"#\s*noqa(?P<rules>:[ A-Z0-9,]+)?(?P<reason>.*)")
KNOWN = {
    ("peerstore/database.py", "f'PRAGMA secure_delete={before}'"),
    ("peerstore/database.py", "f\"VACUUM (FULL, ANALYZE) {', '.join(texts)}\""),
    ("peerstore/database.py", "f\"VACUUM {', '.join(others)}\""),
    ("migrations/versions/0004_views.py", "f'DROP VIEW {view}'"),
    ("migrations/versions/0004_views.py", "f\"COMMENT ON COLUMN {view}.{name} IS '{text}'\""),
    ("peerstore/sqlite_file.py", "f'PRAGMA {setting}'"),
    ("peerstore/inserting.py", "f'{text} ON CONFLICT DO NOTHING RETURNING {returning}, id'"),
    ("peerstore/database.py", "f'{asked} {name}'"),
    ("peerstore/exporting/sqlite.py", "f'PRAGMA {setting}'"),
    ("peerstore/upgrade_backup.py", "f'PRAGMA {name}'"),
    ("peerstore/verification.py", "f'PRAGMA {check}'"),
}
"""Looked at one by one: what stands in them is a name of ours, from a list in the same file."""
RUNNERS = {"execute", "executemany", "executescript", "exec_driver_sql", "text", "run", "literal_column"}
NEVER = {"eval", "exec", "compile", "__import__"}


def silenced(source: str) -> Iterator[str]:
    """The lines that silence a security rule, or every rule, without saying why."""
    for line in source.splitlines():
        found = SILENCED.search(line)
        if found is None:
            continue
        rules = re.findall(r"[A-Z]+[0-9]+", found["rules"] or "")
        is_of_security = not rules or any(re.fullmatch(r"S[0-9]+", rule) for rule in rules)
        if is_of_security and not re.search(r"[a-z]{3}", found["reason"]):
            yield line


def put_together(source: str) -> Iterator[str]:
    """The calls that run a text with something in it that is no constant: no name in capitals."""
    lines = source.splitlines()
    for node in ast.walk(parsed(source)):
        if not isinstance(node, ast.Call) or called(node) not in RUNNERS:
            continue
        for given in node.args[:2]:
            parts = [each.value for each in ast.walk(given) if isinstance(each, ast.FormattedValue)]
            names = [ast.unparse(part) for part in parts]
            if any(not re.fullmatch(r"(\w+\.)?_?[A-Z][A-Z_]+", name) for name in names):
                whole = lines[node.lineno - 1 : (node.end_lineno or node.lineno)]
                if not any("noqa: S608 - " in line for line in whole):
                    yield f"{node.lineno}: {ast.unparse(given)}"


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_who_silences_a_security_rule_says_why() -> None:
    assert [(path, line) for path, source in SOURCES.items() for line in silenced(source)] == []
    report("static", files=len(SOURCES))


def test_statements_are_put_together_from_constants() -> None:
    found = {
        (path, call.partition(": ")[2])
        for path, source in SOURCES.items()
        if any(word in source for word in ("execute", "exec_driver_sql", "text("))
        for call in put_together(source)
    }
    assert found <= KNOWN, found - KNOWN


def test_nothing_runs_text_as_code() -> None:
    words = (*(f"{word}(" for word in NEVER), "import pickle", "import shelve", "import subprocess", "import xml")
    for path, source in SOURCES.items():
        if not any(word in source for word in words):
            continue
        tree = parsed(source)
        names = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not names & NEVER, path
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not imported & {"pickle", "shelve", "subprocess", "xml.sax", "xml.dom"}, path


def test_the_watch_sees_what_it_looks_for() -> None:
    assert list(
        silenced("x = 1  # noqa: S608\ny = 2  # noqa\nz = 3  # noqa: E501\na = 4  # noqa: S608 - a constant")
    ) == [
        "x = 1  # noqa: S608",
        "y = 2  # noqa",
    ]
    assert list(put_together('c.execute(f"SELECT {name}")\nc.execute(f"SELECT {TABLE}")')) == ["1: f'SELECT {name}'"]
