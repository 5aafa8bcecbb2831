"""Recording, from outside: a set, on the disk once it is said, from many sides at once, and what is refused is kept."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import peerstore
from peerstore.ndjson import Line, read_lines
from tests.conftest import drop_url, fresh_url
from tests.databases import plain
from tests.histories import Line as Told
from tests.histories import history, shuffled, stored

AT = datetime(2026, 7, 8, 18, tzinfo=UTC)
HISTORY = history(1, 240)


def graph(name: str = "Till") -> dict[str, Any]:
    return {"localPeer": {"peerKey": "till", "deviceName": name}, "remotePeers": []}


@pytest.fixture(scope="module")
def expected() -> tuple[list[Any], ...]:
    """What is stored of the history once it was recorded in order, in one batch, on SQLite."""
    url = fresh_url("sqlite")
    with peerstore.open(url) as store:
        assert store.record_many(HISTORY).recorded == len(HISTORY)
    rows = stored(url)
    drop_url(url)
    return rows


def assert_whole(url: str, expected: Any) -> None:
    """The history is there, row for row, and nothing contradicts itself."""
    assert stored(url) == expected
    with peerstore.open(url) as store:
        assert store.verify().findings == []


# A set.


@pytest.mark.parametrize(
    "seed", [1, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_order_repetition_and_batches_mean_nothing(store_url: str, expected: Any, seed: int) -> None:
    given = shuffled(HISTORY, seed)
    source = random.Random(seed)
    total = peerstore.Summary()
    while given:
        size = source.choice((1, 2, 5, 60))
        with peerstore.open(store_url) as store:
            for _ in range(4):
                batch, given = given[:size], given[size:]
                summary = store.record_many(batch)
                total.recorded += summary.recorded
                total.duplicates += summary.duplicates
                assert (summary.conflicts, summary.rejected) == (0, 0)
    assert (total.recorded, total.duplicates) == (len(HISTORY), len(HISTORY) // 3)
    assert_whole(store_url, expected)


def test_one_by_one_backwards(store_url: str, expected: Any) -> None:
    with peerstore.open(store_url) as store:
        for line in reversed(HISTORY):
            recorded = store.record(
                line["graph"],
                observed_at=datetime.fromisoformat(line["observedAt"]),
                observer=line["observer"],
                sequence=line["sequence"],
                max_silence=line.get("maxSilenceSeconds"),
            )
            assert recorded.status == "recorded"
    assert_whole(store_url, expected)


def test_recorded_again_is_counted_and_changes_nothing(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        assert store.record(graph(), AT) == peerstore.Recorded("recorded", 1)
        assert store.record(graph(), AT, max_silence=5) == peerstore.Recorded("duplicate", 0)
        before = stored(store_url)
        assert store.record_many([{"observedAt": AT.isoformat(), "graph": graph()}] * 3).duplicates == 3
    assert stored(store_url) == before


def test_recorded_at_goes_on_though_the_clock_does_not(store_url: str) -> None:
    with peerstore.open(store_url, clock=lambda: AT) as store:
        for second in range(5):
            store.record(graph(str(second)), AT + timedelta(seconds=second))
    with peerstore.open(store_url, clock=lambda: AT - timedelta(days=1)) as store:
        store.record(graph("late"), AT - timedelta(seconds=1))
    with plain(store_url) as connection:
        times = list(connection.execute(sa.text("SELECT recorded_at FROM observation_log ORDER BY 1")).scalars())
        [late] = connection.execute(
            sa.text("SELECT recorded_at FROM observation_log ORDER BY observed_at LIMIT 1")
        ).scalars()
    assert len(set(times)) == 6
    assert late == times[-1]


# What is refused is kept.


def test_a_conflict_is_kept_aside_once_and_the_first_one_stays(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record(graph("first"), AT)
        for _ in range(2):
            assert store.record(graph("second"), AT).status == "conflict"
        assert store.record(None, AT, observer="till").status == "conflict"
        assert store.record(graph("first"), AT).status == "duplicate"
        assert store.presence_at(AT).peers["till"].device_name == "first"
        kept = list(store.rejects())
        assert [each.kind for each in kept] == ["conflict", "conflict"]
        assert [json.loads(each.content)["graph"] for each in kept] == [graph("second"), None]
        assert "till" in kept[0].reason
        assert (store.status().conflicts, store.status().rejected) == (2, 0)


def test_in_one_batch_the_first_given_stays(store_url: str) -> None:
    told = [{"observedAt": AT.isoformat(), "graph": graph(name)} for name in ("first", "second", "first")]
    with peerstore.open(store_url) as store:
        summary = store.record_many(told)
        assert (summary.recorded, summary.conflicts, summary.duplicates) == (1, 1, 1)
        assert store.presence_at(AT).peers["till"].device_name == "first"


BROKEN = (b'{"observedAt": "yesterday", "graph": null}', b"not JSON \xff\x00", b'{"graph": {}}')


def lines_of(*contents: bytes) -> Iterator[Line]:
    return (Line("day.ndjson", number, content, True, len(content)) for number, content in enumerate(contents, 1))


def test_a_line_that_cannot_be_read_is_kept_and_the_rest_goes_on(store_url: str) -> None:
    good = json.dumps({"observedAt": AT.isoformat(), "graph": graph()}).encode()
    told: list[tuple[int, str]] = []
    with peerstore.open(store_url) as store:
        for times in (1, 2):
            given = lines_of(BROKEN[0], good, *BROKEN[1:], good)
            summary = store.record_lines(given, on_refused=lambda line, reason: told.append((line.number, reason)))
            counts = (summary.recorded, summary.duplicates, summary.rejected, summary.conflicts)
            assert counts == (2 - times, times, 3, 0)
        kept = list(store.rejects())
    assert [(each.source, each.line, each.content, each.complete) for each in kept] == [
        ("day.ndjson", number, content, True) for number, content in zip((1, 3, 4), BROKEN, strict=True)
    ]
    assert told == [(each.line, each.reason) for each in kept] * 2
    assert all("\n" not in each.reason for each in kept)


def test_a_line_over_the_limit_is_kept_in_part(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        summary = store.record_lines([Line("day.ndjson", 7, b'{"observedAt": ', False, 2**25, b"")])
        [kept] = store.rejects()
    assert (summary.rejected, kept.line, kept.content, kept.complete) == (1, 7, b'{"observedAt": ', False)


def test_what_was_rejected_can_be_tried_again(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record_many([*BROKEN, {"observedAt": AT.isoformat(), "graph": graph()}])
        assert store.retry_rejects().rejected == 3
        assert len(list(store.rejects())) == 3
    good = json.dumps({"observedAt": (AT + timedelta(1)).isoformat(), "graph": graph("mended")}).encode()
    with plain(store_url) as connection:  # as if a newer version could read it
        connection.execute(sa.text("UPDATE reject SET content = :good WHERE line = 2"), {"good": good})
    with peerstore.open(store_url) as store:
        summary = store.retry_rejects()
        assert (summary.recorded, summary.rejected) == (1, 2)
        assert [each.line for each in store.rejects()] == [1, 3]
        assert store.presence_at(AT + timedelta(2)).peers["till"].device_name == "mended"


def test_an_iterator_that_fails_leaves_what_came_before_recordable(store_url: str) -> None:
    def broken() -> Iterator[Told]:
        yield from HISTORY[:5]
        raise RuntimeError("the source is gone")

    with peerstore.open(store_url) as store:
        with pytest.raises(RuntimeError, match="the source is gone"):
            store.record_many(broken())
        summary = store.record_many(HISTORY)
        assert summary.recorded + summary.duplicates == len(HISTORY)


# From many sides at once.

WRITER = """
import json, sys
import peerstore

lines, size = json.load(open(sys.argv[2])), int(sys.argv[3])
with peerstore.open(sys.argv[1]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for start in range(0, len(lines), size):
        summary = store.record_many(lines[start : start + size])
        assert summary.conflicts == summary.rejected == 0
        print(start + size, flush=True)
    print("done", flush=True)
    sys.stdin.readline()
"""


def writer(url: str, lines: list[Told], folder: Path, size: int) -> subprocess.Popen[str]:
    """A process that is about to record lines, in batches, each acknowledged on its standard output."""
    file = folder / f"lines-{len(list(folder.iterdir()))}.json"
    file.write_text(json.dumps(lines))
    command = [sys.executable, "-c", WRITER, url, str(file), str(size)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_that_record_at_once_lose_nothing(store_url: str, tmp_path: Path, expected: Any) -> None:
    """All of the same observers, in different orders, with much in common."""
    peerstore.open(store_url).close()
    parts = [shuffled(HISTORY, seed)[: len(HISTORY)] for seed in (1, 2)] + [HISTORY[::2], HISTORY[1::2]]
    started = [writer(store_url, part, tmp_path, 7) for part in parts]
    assert [said(process) for process in started] == ["ready"] * 4
    for process in started:
        go(process)
    ended = [process.communicate("\n", timeout=120)[0].split()[-1] for process in started]
    assert ended == ["done"] * 4
    assert [process.returncode for process in started] == [0] * 4
    assert_whole(store_url, expected)


def test_a_killed_process_loses_nothing_that_it_acknowledged(store_url: str, tmp_path: Path, expected: Any) -> None:
    given = shuffled(HISTORY, 5)
    acknowledged = 0
    for attempt in range(3):
        process = writer(store_url, given, tmp_path, 3)
        assert said(process) == "ready"
        go(process)
        for _ in range(10 * (attempt + 1)):
            acknowledged = max(acknowledged, int(said(process)))
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(each) for each in process.communicate()[0].split() if each != "done")])
        assert process.returncode == -signal.SIGKILL
        places = {(row[0], row[1], row[2]) for row in stored(store_url)[0]}
        with peerstore.open(store_url) as store:
            assert store.verify().findings == []
            assert store.record_many(given[:acknowledged]).recorded == 0
        assert len(places) >= acknowledged * 3 // 4
    with peerstore.open(store_url) as store:
        store.record_many(given)
    assert_whole(store_url, expected)


def test_a_process_that_ends_without_closing_loses_nothing(store_url: str) -> None:
    program = (
        "import os, sys, peerstore\nfrom datetime import UTC, datetime\n"
        "store = peerstore.open(sys.argv[1])\n"
        "graph = {'localPeer': {'peerKey': 'till', 'deviceName': 'Till'}, 'remotePeers': []}\n"
        "store.record(graph, datetime(2026, 7, 8, 18, tzinfo=UTC))\nos._exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, store_url], check=False)
    assert done.returncode == 7
    with peerstore.open(store_url) as store:
        assert list(store.presence_at(AT).peers) == ["till"]


def test_threads_record_and_ask_at_once(store_url: str, expected: Any) -> None:
    parts = [HISTORY[start::4] for start in range(4)]
    failures: list[BaseException] = []
    with peerstore.open(store_url) as store:

        def record(part: list[Told]) -> None:
            try:
                for start in range(0, len(part), 6):
                    store.record_many(part[start : start + 6])
                    store.presence_at(AT + timedelta(minutes=10)).to_dict()
                    assert all(change.observed_at for change in store.changes(until=AT + timedelta(minutes=5)))
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=record, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
    assert failures == []
    assert_whole(store_url, expected)


def test_a_commit_is_on_the_disk(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        told = store.status().durability
    if store_url.startswith("sqlite"):
        assert told == {"journal_mode": "wal", "synchronous": "FULL"}
    else:
        assert told["synchronous_commit"] == "on"


# Secrets.


def assert_hidden(text: str) -> None:
    assert "canary" not in text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:canary@127.0.0.1:1/none",
        "postgresql+psycopg://me@127.0.0.1:1/none?password=canary",
        "postgresql+psycopg://me@127.0.0.1:1/none?sslpassword=canary",
        "mysql://me:canary@127.0.0.1/none",
        "postgresql+psycopg://me:canary/7@127.0.0.1:1/none",
        "postgresql+psycopg://me:canary@127.0.0.1:none/none",
    ],
)
def test_a_database_that_cannot_be_reached_shows_no_secret(url: str) -> None:
    with pytest.raises(peerstore.PeerstoreError) as failure:
        peerstore.open(url)
    assert_hidden(str(failure.value) + repr(failure.value))
    assert_hidden("".join(traceback.format_exception(failure.value)))
    program = [sys.executable, "-m", "peerstore", "status"]
    done = subprocess.run(
        program, env={**os.environ, "PEERSTORE_DB": url}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 3
    assert_hidden(done.stdout + done.stderr)


def test_a_status_shows_no_secret() -> None:
    url = fresh_url("postgresql")
    named = graph("private")
    secret = sa.make_url(url).set(password="canary").render_as_string(hide_password=False)
    with peerstore.open(secret) as store:
        assert_hidden(json.dumps(store.status().to_dict()))
        store.record(graph(), AT)
    with plain(url) as connection:
        connection.exec_driver_sql("DROP VIEW attribute_change, peer_history, connection_history")
        connection.exec_driver_sql("ALTER TABLE document RENAME TO lost")
    with peerstore.open(secret) as store, pytest.raises(peerstore.DatabaseError) as failure:
        store.record(named, AT + timedelta(1))
    told = "".join(traceback.format_exception(failure.value))
    assert_hidden(told)
    assert "private" not in told
    drop_url(url)


def test_lines_of_a_stream_are_recorded(store_url: str, tmp_path: Path, expected: Any) -> None:
    file = tmp_path / "day.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in HISTORY))
    with peerstore.open(store_url) as store, file.open("rb") as stream:
        assert store.record_lines(read_lines(stream, "day.ndjson")).recorded == len(HISTORY)
    assert_whole(store_url, expected)
