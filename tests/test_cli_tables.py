"""The tables that the command line prints for people: what they show, and that they fit the screen."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from peerstore.cli.people import display_width
from peerstore.demo import late_observations, live_observations
from tests.commands import SPLIT, answer, lines, run, unconnected


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of the simulated day, with something refused."""
    database = str(tmp_path_factory.mktemp("day") / "day.db")
    assert run("--db", database, "record", "-", input=lines(live_observations()) + "{broken\n").exit_code == 1
    assert run("--db", database, "record", "-", input=lines(late_observations())).exit_code == 0
    return database


@pytest.fixture
def own(tmp_path: Path) -> str:
    """The name of a database that a test makes."""
    return str(tmp_path / "own.db")


def table(text: str) -> list[dict[str, str]]:
    """The rows of the first table in what people are shown, by the titles of their columns."""
    title, rule, *rows = text.splitlines()
    spans = [match.span() for match in re.finditer("-+", rule)]
    names = [title[start:end].strip() for start, end in spans]
    return [
        dict(zip(names, (row[start:end].strip() for start, end in spans), strict=True))
        for row in itertools.takewhile(bool, rows)
    ]


def test_changes_say_which_observer_started_or_stopped(day: str) -> None:
    given_rows = answer("--db", day, "changes", "--kind", "observer_started", "--kind", "observer_stopped")
    shown = table(run("--db", day, "changes", "--kind", "observer_started", "--kind", "observer_stopped").stdout)
    names = {peer["peer_key"]: peer["device_name"] for peer in answer("--db", day, "peers")}
    assert [row["of"] for row in shown] == [names[row["observer"]] for row in given_rows]
    assert {row["change"] for row in shown} == {"observer started", "observer stopped"}


@pytest.mark.parametrize("columns", [80, 100, 160])
@pytest.mark.parametrize("words", [["metadata"], ["changes", "--kind", "changed"]], ids=lambda words: words[0])
def test_remarks_outlive_the_values_they_are_about(own: str, columns: int, words: list[str]) -> None:
    names = [["one", "two" * 50], ["one"], ["one", "three" * 50], ["one", "three" * 50]]
    given_lines = [unconnected(10 * number, each) for number, each in enumerate(names)]
    del given_lines[2]["graph"]["remotePeers"][0]["os"]
    answer("--db", own, "record", input=lines(given_lines))
    shown = run("--db", own, *words, env={"COLUMNS": str(columns)}).stdout
    assert max(map(len, shown.splitlines())) <= columns
    assert {"across absence", "learned"} <= {row["remarks"] for row in table(shown)}
    assert "…" in shown
    for shape in ("--json", "--ndjson", "--csv"):
        assert "three" * 50 in run("--db", own, *words, shape, env={"COLUMNS": str(columns)}).stdout


def test_what_ended_a_connection_outlives_its_id(day: str) -> None:
    for columns in (80, 100):
        shown = table(run("--db", day, "connections", env={"COLUMNS": str(columns)}).stdout)
        assert {"left", "stopped"} & {row["ended by"] for row in shown}
        assert "id" not in shown[0]
    assert "id" in table(run("--db", day, "connections", env={"COLUMNS": "250"}).stdout)[0]


@pytest.mark.parametrize("columns", [80, 100, 160, 250])
def test_tables_fit_the_screen(day: str, columns: int) -> None:
    asked = [["at", SPLIT], ["diff", "2026-07-08T14:02:50Z", SPLIT], ["connections", "--at", SPLIT]]
    for words in [*asked, *([name] for name in ("changes", "metadata", "peers", "sessions", "connections", "rejects"))]:
        shown = run("--db", day, *words, env={"COLUMNS": str(columns)}).stdout.splitlines()
        assert max(map(len, shown)) <= columns, words
        assert not any(line.endswith(" ") for line in shown), words


def test_wide_characters_stand_in_line(own: str) -> None:
    names = ["厨房のディスプレイ", "till", "🍕" * 70, "e\u0301" * 9, "\u0301" * 5000]
    answer("--db", own, "record", input=lines([unconnected(0, names)]))
    _title, rule, *rows = run("--db", own, "sessions", env={"COLUMNS": "80"}).stdout.splitlines()
    assert max(map(display_width, rows)) <= len(rule) <= 80
    times = [row.index("2026-07-08T18:00:00Z") for row in rows]
    assert {display_width(row[:place]) for row, place in zip(rows, times, strict=True)} == {rule.index(" ") + 2}
    assert max(map(len, rows)) < 300
