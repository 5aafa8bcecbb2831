"""The house: modules stand on floors, and a module imports from lower floors alone."""

from __future__ import annotations

import ast
import gc
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.syntax import parsed

ROOT = Path(__file__).parents[1]

FLOORS = (
    ("errors", "events", "prepared", "spreadsheets", "tables", "upgrade_steps", "url_text"),
    ("database_url", "inserting", "postgresql_link", "sqlite_file"),
    ("exporting", "canonical", "times", "keyframes", "ndjson", "database"),
    ("exporting.destination",),
    ("upgrade_backup",),
    ("model", "peer_keys", "retention", "schema", "states"),
    (
        "answers",
        "answers.changes",
        "answers.forgetting",
        "answers.health",
        "answers.inventory",
        "answers.moments",
        "answers.removals",
        "answers.sessions",
        "ditto_fields",
    ),
    ("answers.backup", "answers.repair", "answers.replaying"),
    ("answers.activity", "answers.cloud", "answers.fleet", "answers.identities", "answers.links"),
    ("answers.disagreements", "answers.online", "answers.shape", "answers.watching"),
    ("answers.why",),
    ("chain", "coverage", "dictionary", "merging", "timelines"),
    ("day_digests",),
    ("ditto_peers", "ditto_render", "late", "naming", "remnants"),
    ("ditto", "forgetting", "interning"),
    ("chain_rows", "keyframe_spacing", "store_clock"),
    ("envelope", "health", "inventory", "presence", "recording", "replay", "verification"),
    ("removing",),
    ("pruning", "thinning", "traces"),
    ("erasure",),
    ("batches", "content", "pacing", "rendering", "walk"),
    ("questions",),
    (
        "questions.buckets",
        "questions.changes",
        "questions.graphs",
        "questions.known",
        "questions.mesh",
        "questions.partition",
        "questions.sessions",
    ),
    ("questions.cuts", "questions.islands", "questions.sightings"),
    ("questions.following", "questions.disputes"),
    ("questions.clocks", "questions.disagreements"),
    ("questions.identities", "questions.rollout"),
    ("questions.activity", "questions.fleet", "questions.links", "questions.online", "questions.watching"),
    ("questions.cloud", "questions.fallbacks", "questions.shape", "questions.transports"),
    ("questions.evidence", "questions.findings"),
    ("questions.why",),
    ("store.asking",),
    ("store.forgetting", "store.history", "store.inventory", "store.recording", "store.replaying"),
    ("store.identities",),
    ("store.activity", "store.cloud", "store.fleet", "store.links", "store.online", "store.shape", "store.watching"),
    ("store.why",),
    ("store.reading",),
    ("store.copying",),
    ("store.retaining",),
    ("exporting.disguise", "exporting.manifest"),
    ("exporting.sorting", "exporting.source"),
    ("exporting.formats", "exporting.tables"),
    ("exporting.arrow", "exporting.csv_tables"),
    ("exporting.parquet",),
    ("exporting.graphs",),
    ("exporting.dot", "exporting.markup", "exporting.netjson"),
    ("exporting.gexf", "exporting.graphml"),
    ("exporting.ditto", "exporting.ndjson"),
    ("exporting.sqlite",),
    ("exporting.datasette",),
    ("exporting.export",),
    ("store.exports",),
    ("backup",),
    ("store.backing_up",),
    ("rescue",),
    ("rescue.pages",),
    ("rescue.shapes",),
    ("rescue.trees",),
    ("rescue.source",),
    ("rescue.days",),
    ("rescue.chains",),
    ("rescue.repair",),
    ("store",),
    ("plotting.labels", "plotting.layout"),
    ("plotting.style", "plotting.view"),
    ("plotting.mesh", "plotting.rollout", "plotting.rows", "plotting.transports"),
    ("plotting.timeline", "plotting.uptime"),
    ("plotting",),
    ("",),  # the package itself: the public names
    ("demo.mesh", "cli.chart", "cli.logs", "cli.output"),
    ("cli.options",),
    ("demo.day", "cli.people", "cli.program"),
    ("demo.observing", "demo.questions", "cli.database", "cli.moments", "cli.record"),
    ("demo", "cli.forget", "cli.history", "cli.rejects", "cli.retention"),
    ("cli.backup", "cli.demo", "cli.mesh", "cli.peers", "cli.repair", "cli.replay"),
    ("cli.activity", "cli.cloud", "cli.fleet", "cli.identities", "cli.links", "cli.online", "cli.shape"),
    ("cli.watching",),
    ("cli.disagreements", "cli.export", "cli.plot", "cli.why"),
    ("cli",),
    ("__main__",),
)
"""Modules of ``peerstore``, from the ground up."""

WRITERS = {
    "chain_rows",
    "recording",
    "erasure",
    "interning",
    "inserting",
    "pruning",
    "removing",
    "schema",
    "database",
    "thinning",
}
"""The modules that may hold a statement that writes."""

FORBIDDEN_NAMES = {
    "utils",
    "util",
    "helpers",
    "common",
    "constants",
    "base",
    "manager",
    "managers",
    "factories",
    "misc",
}
WRITING_WORDS = re.compile(
    r"\b(INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|(CREATE|DROP|ALTER)\s+(TABLE|VIEW|INDEX))\b"
)


def modules() -> dict[str, Path]:
    """Every module of the package by its name without the package's own."""
    names = {}
    for file in sorted((ROOT / "peerstore").rglob("*.py")):
        parts = file.relative_to(ROOT / "peerstore").with_suffix("").parts
        names[".".join(part for part in parts if part != "__init__")] = file
    return names


MODULES = modules()
HEIGHTS = {name: height for height, floor in enumerate(FLOORS) for name in floor}


def tree_of(name: str) -> ast.Module:
    return parsed(MODULES[name].read_text(encoding="utf-8"))


def imported(name: str) -> Iterator[str]:
    """The modules of the package that a module imports, anywhere in it."""
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            asked = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            asked = [(str(node.module), alias.name) for alias in node.names]
        else:
            continue
        for module, member in asked:
            if module.split(".")[0] == "peerstore":
                inner = module.removeprefix("peerstore").removeprefix(".")
                longer = f"{inner}.{member}".strip(".")
                yield longer if member and longer in MODULES else inner


def test_every_module_has_a_floor() -> None:
    assert set(MODULES) == set(HEIGHTS), "name the floor of each module in FLOORS"


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "peerstore")
def test_imports_go_down(name: str) -> None:
    upward = [other for other in imported(name) if HEIGHTS[other] >= HEIGHTS[name] and not name.startswith(f"{other}.")]
    assert upward == [], f"{name} may only import from below floor {HEIGHTS[name]}"


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "peerstore")
def test_only_the_writers_write(name: str) -> None:
    if name not in WRITERS:
        assert list(writing(tree_of(name))) == []


def writing(tree: ast.Module) -> Iterator[str]:
    """The places that write to a database: statements made by SQLAlchemy, statements in words, and our own doors."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sqlalchemy"):
            yield from (alias.name for alias in node.names if alias.name in ("insert", "update", "delete"))
        elif isinstance(node, ast.Attribute):
            of_sqlalchemy = isinstance(node.value, ast.Name) and node.value.id == "sa"
            if of_sqlalchemy and node.attr in ("insert", "update", "delete"):
                yield f"sa.{node.attr}, line {node.lineno}"
            if node.attr in ("writing", "insert_new", "without_transaction"):
                yield f".{node.attr}, line {node.lineno}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and WRITING_WORDS.search(node.value):
            yield f"{node.value[:60]!r}, line {node.lineno}"


@pytest.mark.parametrize(
    "text",
    [
        "import sqlalchemy as sa\nsa.insert(table)",
        "from sqlalchemy import delete",
        "database.writing()",
        "connection.exec_driver_sql('UPDATE observer SET id = 1')",
        "'insert or replace into x'.upper(); 'INSERT OR REPLACE INTO x'",
    ],
)
def test_writing_is_found(text: str) -> None:
    assert list(writing(parsed(text)))


def test_no_module_has_a_name_that_says_nothing() -> None:
    words = {part for name in MODULES for part in name.split(".")}
    words |= {file.stem for folder in ("tests", "docs", "benchmarks") for file in (ROOT / folder).rglob("*.py")}
    assert words & FORBIDDEN_NAMES == set()


def test_sources_are_parsed_whatever_the_collector_calls() -> None:
    """It may parse, too (tests/syntax.py), which went wrong once in some thousand times."""

    def parses(_phase: str, _what: object) -> None:
        ast.parse("a + b")

    thresholds = gc.get_threshold()
    gc.callbacks.append(parses)
    gc.set_threshold(50)
    try:
        assert all(isinstance(tree_of(name), ast.Module) for name in ("database", "recording"))
    finally:
        gc.callbacks.remove(parses)
        gc.set_threshold(*thresholds)
