"""The command line: every example in the help texts runs, the ways out are as promised, and output is harmless."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstore.cli import main
from peerstore.cli.output import safe
from peerstore.cli.program import SECTIONS
from peerstore.demo import late_observations, live_observations
from tests.commands import KEYS, SPLIT, answer, envelope, lines, run

UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
HOSTILE = [
    "\x1b]0;owned\x07",
    "a\nb\rc",
    "\x9b2J",
    "\u202egnp.exe",
    "=cmd|' /C calc'!A0",
    "\ud800",
    "[/foo]",
    "@x",
    "x\x00y",
]


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command there is, by the words that name it."""
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def examples() -> list[str]:
    texts = ((command.help or "").partition("Examples:")[2] for _, command in commands())
    return [line.strip() for text in texts for line in text.splitlines() if line.strip()]


RUNNABLE = [line for line in examples() if not re.search(r"[|>]", line)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the examples in the help texts name."""
    folder = tmp_path_factory.mktemp("demo")
    day = lines(live_observations())
    (folder / "mesh.ndjson").write_text(lines([envelope(0, ["one", "two"])]), encoding="utf-8")
    (folder / "mesh.ndjson.gz").write_bytes(gzip.compress(lines([envelope(1, ["one", "two"])]).encode()))
    (folder / "graph.json").write_text(json.dumps(envelope(2, ["one", "two"])["graph"]), encoding="utf-8")
    (folder / "tills.txt").write_text("# at the front\nsim-hub\nsim-till-1\nsim-till-2\n", encoding="utf-8")
    database = str(folder / "peerstore.db")
    assert run("--db", database, "record", "-", input=day + "{broken\n").exit_code == 1
    assert run("--db", database, "record", "-", input=lines(late_observations())).exit_code == 0
    shutil.copy(folder / "peerstore.db", folder / "mesh.db")
    return folder


@pytest.fixture
def demo(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, as the current one."""
    folder = tmp_path / "demo"
    shutil.copytree(recorded, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PEERSTORE_DB", raising=False)
    return folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEERSTORE_DB", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "command"), list(commands()), ids=lambda part: " ".join(part) if isinstance(part, tuple) else ""
)
def test_every_command_has_help_and_an_example(path: tuple[str, ...], command: click.Command) -> None:
    for option in ("--help", "-h"):
        result = run(*path, option)
        assert result.exit_code == 0
        assert " ".join(["peerstore", *path]) in result.stdout.partition("Examples:")[2]
    assert all(getattr(parameter, "help", "") for parameter in command.params if isinstance(parameter, click.Option))


def test_the_list_of_commands_is_not_cut_off(empty: Path) -> None:
    for words, title in (([], "Record"), (["rejects"], "Commands")):
        listed = run(*words, "--help", env={"COLUMNS": "80"}).stdout.partition(f"\n{title}:\n")[2]
        assert listed
        assert "..." not in listed


def test_every_command_is_listed_by_what_it_is_about() -> None:
    named = [name for names in SECTIONS.values() for name in names]
    assert len(named) == len(set(named))
    assert set(main.commands) <= set(named)


def test_help_starts_without_a_database_library() -> None:
    help_alone = "import sys; from peerstore.cli import main; main(['--help'], standalone_mode=False)"
    heavy = "print(sorted({'sqlalchemy', 'alembic', 'msgspec'} & set(sys.modules)))"
    with start("-c", f"{help_alone}; {heavy}", python=True) as child:
        out, _ = child.communicate(timeout=60)
    assert out.splitlines()[-1] == b"[]"


@pytest.mark.parametrize("example", RUNNABLE)
def test_every_example_runs(demo: Path, example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/bash")
    if shlex.split(example)[:2] == ["peerstore", "demo"]:
        pytest.skip("it has a test of its own")
    result = run(*shlex.split(example)[1:])
    assert result.exit_code == (1 if "rejects retry" in example else 0), result.stderr
    assert result.stdout or result.stderr


@pytest.mark.slow
def test_the_demo_walks_through_its_questions_and_can_be_repeated(empty: Path) -> None:
    first, again = run("demo"), run("demo")
    assert first.exit_code == again.exit_code == 0, first.stderr
    assert "SIMULATED" in first.stdout.splitlines()[0]
    shown = [shlex.split(line[2:]) for line in first.stdout.splitlines() if line.startswith("$ ")]
    assert len(shown) >= 10
    assert all(run(*words[1:]).stdout in first.stdout for words in shown)
    assert first.stdout.partition("\n1. ")[2] == again.stdout.partition("\n1. ")[2]


def test_the_demo_keeps_out_of_other_databases(empty: Path) -> None:
    assert run("record", input=lines([envelope(0, ["one"])])).exit_code == 0
    refused = run("demo", "--db", "peerstore.db")
    assert refused.exit_code == 2
    assert "already holds other observations" in refused.stderr
    assert refused.stdout == ""
    assert [summary["observations"] for summary in answer("observers")] == [1]


def test_version(empty: Path) -> None:
    assert re.fullmatch(r"peerstore, version \d+\.\d+\.\d+.*\n", run("--version").stdout)


@pytest.mark.parametrize(
    "words",
    [
        ["at", "now"],
        ["peers"],
        ["observers"],
        ["status"],
        ["verify"],
        ["rejects"],
        ["peer", "x"],
        ["diff", "-2h", "now"],
    ],
)
def test_a_missing_database_is_exit_3_and_is_not_made(empty: Path, words: list[str]) -> None:
    result = run(*words, "--db", "missing.db")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "missing.db" in result.stderr
    assert "peerstore record" in result.stderr
    assert list(empty.iterdir()) == []


def test_a_missing_folder_is_exit_3_and_the_command_is_not_advised_again(empty: Path) -> None:
    result = run("--db", "missing/mesh.db", "record", input=lines([envelope(0, ["one"])]))
    assert (result.exit_code, result.stdout) == (3, "")
    assert re.fullmatch(r"Error: there is no folder .+ to make the database missing/mesh\.db in\n", result.stderr)


def test_a_file_that_is_no_database_is_exit_3(empty: Path) -> None:
    (empty / "peerstore.db").write_text("a text\n" * 1000, encoding="utf-8")
    result = run("peers")
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["at", "yesterday"], "ISO 8601"),
        (["at", "2026-07-08T14:03:30"], "time zone"),
        (["at"], "TIME"),
        (["sessions", "--grace", "soon"], "no duration"),
        (["changes", "--kind", "exploded"], "appeared"),
        (["peer", "nobody-at-all"], "nobody-at-all"),
        (["sessions", "sim-till-8"], "sim-till-8"),
        (["peer", "pkAocCgkM"], "pkAocCgkM"),
        (["at", "now", "--observer", "nobody-at-all"], "nobody-at-all"),
        (["sessions", "sim-till-5", "--peer", "sim-till-5"], "once"),
        (["connections", "--at", "now", "--since", "-2h"], "--at"),
        (["connections", "--at", "now", "--grace", "60s"], "--grace"),
        (["at", SPLIT, "--observer", "sim-kitchen-1", "--ditto", "js-5", "--json"], "--ditto"),
        (["at", SPLIT, "--observer", "sim-kitchen-1", "--ditto", "js-5", "--csv"], "--csv"),
        (["peers", "--db", ""], "no database"),
        (["record", ""], "empty name"),
        (["rejects", "show", "12345"], "12345"),
        (["rejects", "shwo", "1"], "shwo"),
        (["rejects", "drop"], "--all"),
        (["rejects", "drop", "1", "--all", "--yes"], "--all"),
        (["rejects", "drop", "--all"], "would remove 1 reject for good"),
        (["record", "missing.ndjson"], "missing.ndjson"),
        (["record", "."], "name a readable file"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_is_exit_2_and_one_sentence(demo: Path, words: list[str], said: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_database_is_named_before_or_after_the_command_or_by_the_environment(demo: Path) -> None:
    (demo / "peerstore.db").rename(demo / "other.db")
    expected = answer("--db", "other.db", "peers")
    assert len(expected) > 10
    assert answer("peers", "--db", "other.db") == expected
    assert answer("--db", "missing.db", "peers", "--db", "other.db") == expected
    assert answer("peers", env={"PEERSTORE_DB": "other.db"}) == expected
    assert run("peers").exit_code == 3


def test_at_gives_the_documented_json(demo: Path) -> None:
    presence = answer("at", SPLIT)
    assert set(presence) >= {"at", "known_at", "observers", "peers", "connections"}
    assert presence["at"] == "2026-07-08T14:03:30.000000Z"
    assert [peer["peer_key"] for peer in presence["peers"]] == sorted(peer["peer_key"] for peer in presence["peers"])
    assert all(link["peer1"] < link["peer2"] for link in presence["connections"])
    assert {observer["watching"] for observer in presence["observers"]} == {True}


def test_at_gives_people_a_summary_and_tables(demo: Path) -> None:
    presence, shown = answer("at", SPLIT), run("at", SPLIT).stdout
    peers, links = len(presence["peers"]), len(presence["connections"])
    assert shown.startswith(f"{SPLIT}: {peers} peers, {links} connections, 4 of 4 observers watching\n")
    assert "sim-till-5" in shown
    assert max(map(len, shown.splitlines())) <= 120
    assert not any(peer["peer_key"] in shown for peer in presence["peers"])


def test_rows_are_the_same_in_every_format(demo: Path) -> None:
    for words in (
        ["sessions", "sim-till-5"],
        ["changes", "--since", "2026-07-08T14:02:00Z", "--until", SPLIT],
        ["peers"],
    ):
        rows = answer(*words)
        assert [json.loads(line) for line in run(*words, "--ndjson").stdout.splitlines()] == rows
        table = list(csv.DictReader(io.StringIO(run(*words, "--csv").stdout, newline="")))
        assert len(table) == len(rows) > 0
        flat = [{**row.get("connection", {}), **row} for row in rows]
        assert all(set(row) - {"connection"} <= set(table[0]) for row in flat)


def test_relative_times_may_begin_with_a_dash(demo: Path) -> None:
    assert answer("at", "-2h")["at"] <= answer("at", "now")["at"]


def test_unobserved_is_said_and_not_shown_as_absent(demo: Path) -> None:
    for moment in ("2026-07-08T23:30:00Z", "2026-07-08T06:00:00Z"):
        result = run("at", moment)
        assert result.exit_code == 0
        assert f"nobody was watching at {moment}" in result.stdout
        assert not any(observer["watching"] for observer in answer("at", moment)["observers"])
    assert "2026-07-08T22:00:00Z" in run("at", "2026-07-08T23:30:00Z").stdout


def test_an_old_state_that_still_counts_is_warned_of(demo: Path) -> None:
    result = run("at", "2026-07-11T22:00:00Z", "--max-silence", "forever")
    assert re.search(r"Warning: states older than a day .*: sim-kitchen-1 \(3 d 02 h\)", result.stderr)
    assert "old" not in result.stdout


def test_grace_joins_the_sessions_of_connections(empty: Path) -> None:
    answer("record", input=lines([envelope(0, ["one", "two"]), envelope(5, ["one"]), envelope(9, ["one", "two"])]))
    assert len(answer("connections")) == len(answer("connections", "--grace", "4s")) == 2
    assert [session["gaps"] for session in answer("connections", "--grace", "5s")] == [1]
    assert answer("connections", "--grace", "5s") == answer("sessions", "--connections", "--grace", "5s")


def test_a_short_key_can_be_typed_back(demo: Path) -> None:
    shown = [line.split()[0] for line in run("peers").stdout.splitlines()[2:]]
    keys = [peer["peer_key"] for peer in answer("peers")]
    assert [answer("peer", short)["peer_key"] for short in shown] == keys


def test_recording_counts_and_a_repetition_changes_nothing(empty: Path) -> None:
    given_lines = lines([envelope(0, ["one", "two"]), envelope(5, ["one"])])
    assert answer("record", "-", input=given_lines) == {
        "recorded": 2,
        "duplicates": 0,
        "conflicts": 0,
        "rejected": 0,
        "changes": answer("record", "--db", "other.db", input=given_lines)["changes"],
    }
    again = answer("record", "-", input=gzip.compress(given_lines.encode()))
    assert (again["recorded"], again["duplicates"], again["changes"]) == (0, 2, 0)


def test_what_is_refused_is_told_and_kept(empty: Path) -> None:
    conflicting = {**envelope(0, ["two"]), "observer": KEYS[0]}
    path = empty / "mesh.ndjson"
    path.write_text(lines([envelope(0, ["one"])]) + "\n{broken\n" + lines([conflicting]), encoding="utf-8")
    result = run("record", "mesh.ndjson")
    assert result.exit_code == 1
    assert "recorded 1" in result.stdout
    assert re.search(r"^mesh\.ndjson:3: .+", result.stderr, re.MULTILINE)
    assert "peerstore rejects" in result.stderr
    kept = answer("rejects")
    assert [(reject["kind"], reject["line"]) for reject in kept] == [("rejected", 3), ("conflict", 4)]
    assert run("rejects", "show", str(kept[0]["id"]), "--raw").stdout == "{broken\n"
    assert run("rejects", "retry").exit_code == 1


def test_what_was_refused_is_retried_with_what_it_lacked(empty: Path) -> None:
    graph = {**envelope(0, ["one"])["graph"], "localPeer": None}
    assert answer("record", input=json.dumps(graph) + "\n", code=1)["rejected"] == 1
    assert answer("rejects", "retry", "--at", SPLIT, code=1)["rejected"] == 1
    assert "tells why" in run("rejects", "retry").stderr
    declared = ["--at", SPLIT, "--observer", "till-1", "--max-silence", "45s"]
    assert answer("rejects", "retry", *declared)["recorded"] == 1
    assert answer("rejects") == []
    [state] = answer("at", "2026-07-08T14:05:00Z")["observers"]
    assert (state["observer"], state["watched_until"]) == ("till-1", "2026-07-08T14:04:15.000001Z")


def test_what_was_refused_can_be_dropped_for_good(empty: Path) -> None:
    assert answer("record", input="{a\n{b\n{c\n{d\n", code=1)["rejected"] == 4
    first, second, *_ = [reject["id"] for reject in answer("rejects")]
    assert run("rejects", "drop", str(second)).stdout == "dropped 1\n"
    told = run("rejects", "drop", str(second), str(first), "12345")
    assert (told.exit_code, told.stdout) == (1, "dropped 1\n")
    assert f"no reject {second}, 12345" in told.stderr
    assert answer("rejects", "drop", str(first), code=1) == {"dropped": 0, "unknown": [first]}
    assert [reject["content"] for reject in answer("rejects")] == ["{c", "{d"]
    assert run("rejects", "drop", "--all").exit_code == 2
    assert answer("rejects", "drop", "--all", "--yes") == {"dropped": 2, "unknown": []}
    assert answer("rejects") == []


def test_a_file_that_breaks_off_gives_what_came_before(empty: Path) -> None:
    whole = gzip.compress(lines(envelope(number, ["one", os.urandom(30).hex()]) for number in range(60)).encode())
    (empty / "broken.gz").write_bytes(whole[:-500])
    result = run("record", "broken.gz", "--json")
    assert result.exit_code == 1
    assert 0 < json.loads(result.stdout)["recorded"] < 60
    assert "Error: broken.gz breaks off after line" in result.stderr


def test_a_bare_graph_needs_a_time(empty: Path) -> None:
    graph = json.dumps(envelope(0, ["one"])["graph"])
    assert answer("record", input=graph, code=1)["rejected"] == 1
    assert answer("record", "--at", SPLIT, input=graph)["recorded"] == 1
    assert [observer["first_observed_at"] for observer in answer("observers")] == ["2026-07-08T14:03:30.000000Z"]


def test_what_strangers_write_does_not_reach_the_terminal(empty: Path) -> None:
    answer(
        "record", input=lines([envelope(0, HOSTILE), envelope(5, ["x", *reversed(HOSTILE[1:])]), envelope(9, ["y"])])
    )
    run("record", input="\x1b]0;owned\x07\n")
    asked = [
        ["at", "2026-07-08T18:00:03Z"],
        ["diff", "2026-07-08T18:00:03Z", "2026-07-08T18:00:06Z"],
        ["peer", KEYS[1]],
    ]
    asked += [[name] for name in ("peers", "changes", "metadata", "sessions", "connections", "observers", "rejects")]
    for words in [
        *asked,
        ["connections", "--at", "2026-07-08T18:00:03Z"],
        ["peer", "\x1b[2J"],
        ["rejects", "show", "1"],
    ]:
        for shape in ([], ["--json"], ["--ndjson"]):
            result = run(*words, *shape)
            assert not UNSAFE.search(result.stdout + result.stderr), words
        cells = [cell for row in csv.reader(io.StringIO(run(*words, "--csv").stdout, newline="")) for cell in row]
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
        assert not any("\x1b" in cell or "\u202e" in cell for cell in cells)


@given(st.text(st.characters()))
def test_safe_leaves_nothing_that_steers_a_terminal(text: str) -> None:
    assert not UNSAFE.search(safe(text))
    assert "\n" not in safe(text)
    safe(text).encode()


def start(*arguments: str, python: bool = False, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *([] if python else ["-m", "peerstore"]), *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_a_reader_that_goes_away_is_no_error(demo: Path) -> None:
    with start("changes", "--ndjson") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline().startswith(b"{")
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode in {0, 141}


@pytest.mark.parametrize("library", [None, object()], ids=["this C library", "another C library"])
def test_a_long_recording_gives_memory_back(library: object, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or does without that."""
    monkeypatch.setattr("peerstore.cli.record.BATCHES_BETWEEN_TRIMS", 1)
    if library is not None:
        monkeypatch.setattr("ctypes.CDLL", lambda _: library)
    result = run("--db", "long.db", "record", "-", input=lines([envelope(0, ["one"])]))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("recorded 1,")


def test_a_slow_pipe_is_committed_at_once_and_may_be_interrupted(empty: Path) -> None:
    with start("record", "-", "--db", "live.db", stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(lines([envelope(0, ["one"])]).encode())
        child.stdin.flush()
        deadline = time.monotonic() + 20
        while run("--db", "live.db", "observers", "--ndjson").stdout == "" and time.monotonic() < deadline:
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert out.startswith(b"recorded 1,")
    assert err.endswith(b"interrupted\n")
