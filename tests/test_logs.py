"""What is logged: nothing unless it is asked for; then events with fields, one line each whatever is in them."""

from __future__ import annotations

import inspect
import json
import logging
import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

import peerstore
from peerstore import events
from peerstore.ndjson import Line
from peerstore.schema import HEAD
from tests.commands import run
from tests.conftest import drop_url, fresh_url
from tests.databases import plain
from tests.faults.proxy import proxy

NOON = datetime(2026, 7, 8, 12, tzinfo=UTC)
OPERATING = Path(__file__).parents[1] / "docs" / "operating.md"
ROW = re.compile(r"^\| `(?P<event>\w+)` \| (?P<level>\w+) \| `(?P<logger>[\w.]+)` \| (?P<fields>.*) \|", re.MULTILINE)
NASTY = "a\nERROR forged\x1b[2J\u202e.ndjson"


def graph(*peers: str) -> dict[str, Any]:
    remote = [{"peerKey": key, "deviceName": key, "connections": []} for key in peers]
    return {"localPeer": {"peerKey": "hub", "connections": []}, "remotePeers": remote}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "peerstore")
    return caplog


def told(log: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Of each record: its level, its logger, its event; and none is of any other kind."""
    ours = [record for record in log.records if record.name.startswith("peerstore")]
    found = [(record.levelname, record.name.removeprefix("peerstore."), vars(record)["event"]) for record in ours]
    log.clear()
    return found


def fields(record: logging.LogRecord) -> set[str]:
    return set(vars(record)) - set(vars(logging.makeLogRecord({}))) - {"message", "asctime", "event"}


def test_opening_tells_where_the_schema_came_from(bare_database: str, log: pytest.LogCaptureFixture) -> None:
    with peerstore.open(bare_database):
        upgraded = log.records[0]
        assert (vars(upgraded)["schema_before"], vars(upgraded)["schema"]) == (None, HEAD)
        assert told(log) == [("INFO", "schema", "database_upgraded"), ("INFO", "schema", "database_opened")]
    with peerstore.open(bare_database):
        assert told(log) == [("INFO", "schema", "database_opened")]


def test_a_batch_is_one_record_and_what_is_refused_another(store_url: str, log: pytest.LogCaptureFixture) -> None:
    with peerstore.open(store_url) as store:
        log.clear()
        summary = store.record_many(
            [{"observed_at": NOON + timedelta(seconds=n), "graph": graph("a", f"b{n}")} for n in range(9)]
        )
        batch = vars(log.records[0])
        assert (batch["recorded"], batch["duplicates"], batch["refused"]) == (9, 0, 0)
        assert batch["changes"] == summary.changes
        assert batch["milliseconds"] > 0
        assert told(log) == [("DEBUG", "recording", "batch_recorded")]
        store.record_lines([Line(NASTY, 7, b"{", True, 1, None)])
        refused = log.records[0]
        assert {name: vars(refused)[name] for name in ("rejected", "conflicts", "line", "source")} == {
            "rejected": 1,
            "conflicts": 0,
            "line": 7,
            "source": NASTY,
        }
        assert len(refused.getMessage().splitlines()) == 1
        assert "\x1b" not in refused.getMessage()
        assert told(log) == [("WARNING", "recording", "lines_refused"), ("DEBUG", "recording", "batch_recorded")]
        store.record(graph("another"), NOON)
        assert vars(log.records[0])["conflicts"] == 1
        log.clear()
        log.set_level(logging.INFO, "peerstore")
        store.record(graph("more"), NOON + timedelta(days=1))
        assert told(log) == []


def test_findings_of_verification_are_told(store_url: str, log: pytest.LogCaptureFixture) -> None:
    with peerstore.open(store_url) as store:
        store.record(graph("a"), NOON)
        log.clear()
        store.verify()
        assert told(log) == [("INFO", "verification", "verification_ended")]
        with plain(store_url) as connection:
            connection.exec_driver_sql("UPDATE document SET body = '{}'")
        found = store.verify()
        assert [vars(each)["finding"] for each in log.records[:-1]] == found.findings != []
        assert told(log)[0] == ("WARNING", "verification", "verification_finding")


def test_a_lost_connection_is_told(log: pytest.LogCaptureFixture) -> None:
    url = fresh_url("postgresql")
    secret = make_url(url).set(password="canary")
    with proxy(secret) as link, peerstore.open(link.url()) as store:
        store.record(graph("a"), NOON)
        log.clear()
        link.drop_answers = 1
        store.record(graph("b"), NOON + timedelta(seconds=1))
        assert "cannot be used" in vars(log.records[0])["error"]
        assert "canary" not in log.text
        assert told(log)[0] == ("WARNING", "database", "transaction_retried")
    drop_url(url)


def test_waiting_for_another_program_is_told(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mesh.db"
    with peerstore.open(path) as store, closing(sqlite3.connect(path, check_same_thread=False)) as other:
        log.clear()
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(events.LONG_WAIT_SECONDS + 0.1, other.rollback).start()
        store.record(graph("a"), NOON)
        assert vars(log.records[0])["seconds"] > events.LONG_WAIT_SECONDS
        assert told(log)[0] == ("WARNING", "database", "writer_waited_for")
        store.record(graph("b"), NOON + timedelta(seconds=1))
        assert ("WARNING", "database", "writer_waited_for") not in told(log), "nobody was in the way"


EVENTS = {
    name: function
    for name, function in inspect.getmembers(events, inspect.isfunction)
    if function.__module__ == events.__name__ and name != "batches_are_told"
}
GIVEN: dict[str, Any] = {"counts": {}, "checked": {}, "full": True, "error": ValueError()}
NUMBERS = ("findings", "changes", "refused", "seconds", "rejected", "conflicts", "line")


@pytest.mark.parametrize("name", EVENTS)
def test_each_event_is_documented_as_it_is(name: str, log: pytest.LogCaptureFixture) -> None:
    parameters = inspect.signature(EVENTS[name]).parameters
    EVENTS[name](*(GIVEN.get(each, 2 if each in NUMBERS else NASTY) for each in parameters))
    [record] = log.records
    rows = {row["event"]: row for row in ROW.finditer(OPERATING.read_text(encoding="utf-8"))}
    assert set(rows) == set(EVENTS)
    row = rows[vars(record)["event"]]
    assert (row["level"], row["logger"]) == (record.levelname.lower(), record.name)
    assert set(re.findall(r"`(\w+)`", row["fields"])) == fields(record)
    assert len(record.getMessage().splitlines()) == 1


def test_nothing_is_said_by_default(tmp_path: Path) -> None:
    """In a process of its own: without a handler, Python prints warnings itself."""
    program = """
import logging, peerstore
with peerstore.open(":memory:") as store:
    store.record_many(["{"])
    print(store.status().rejected)
    logging.getLogger("elsewhere").warning("a control")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("1\n", "a control\n")


@pytest.fixture
def nasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path(NASTY).write_text("{\n")
    return NASTY


def test_the_command_says_nothing_unless_asked(nasty: str) -> None:
    handlers = logging.getLogger("peerstore").handlers[:]
    assert "peerstore.recording" not in run("record", nasty).stderr
    assert "peerstore.recording" in run("--log-level", "warning", "record", nasty).stderr
    assert "batch_recorded" not in run("--log-level", "info", "record", nasty).stderr
    assert "batch_recorded" in run("record", nasty, env={"PEERSTORE_LOG_LEVEL": "DEBUG"}).stderr
    assert "peerstore.recording" not in run("record", nasty).stderr, "it ends with the command"
    assert logging.getLogger("peerstore").level == logging.NOTSET
    assert logging.getLogger("peerstore").handlers == handlers


def test_json_is_an_object_a_line(nasty: str) -> None:
    before = datetime.now(UTC)
    words = ("--log-level", "debug", "--log-format", "json", "record", nasty)
    told = run(*words).stderr.splitlines()
    records = [json.loads(line) for line in told if line.startswith("{")]
    assert [each["event"] for each in records] == [
        "database_upgraded",
        "database_opened",
        "lines_refused",
        "batch_recorded",
    ]
    assert all(list(each) == ["time", "level", "logger", "event", "message", "fields"] for each in records)
    assert all(each["time"].endswith("Z") for each in records)
    assert before <= datetime.fromisoformat(records[0]["time"]) <= datetime.now(UTC)
    refused = records[2]
    assert (refused["level"], refused["logger"]) == ("warning", "peerstore.recording")
    assert refused["fields"]["source"] == r"a\x0aERROR forged\x1b[2J\u202e.ndjson"


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_name_forges_a_line_or_steers_the_terminal(form: str, nasty: str) -> None:
    told = run("--log-level", "debug", "--log-format", form, "record", nasty).stderr
    assert "forged" in told
    assert not any(line.startswith("ERROR") for line in told.splitlines())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", told)


def test_a_level_that_is_none_is_wrong_usage(nasty: str) -> None:
    told = run("record", nasty, env={"PEERSTORE_LOG_LEVEL": "loud"})
    assert told.exit_code == 2
    assert "'off', 'error', 'warning', 'info', 'debug'" in told.stderr
