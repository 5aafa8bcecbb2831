"""Verification finds any changed, missing or added row of the history, says where, and never writes.

The negative control of every case is the store before the damage: it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import peerstore
from peerstore.interning import digest
from tests.commands import run
from tests.conftest import ENGINES, drop_url, fresh_url

START = datetime(2026, 3, 1, 22, tzinfo=UTC)
DAYS = ("2026-03-01", "2026-03-02")


def history() -> Iterator[dict[str, Any]]:
    """Two observers over two days: peers that come, go and edit; one stops and begins again."""
    chance = random.Random(5)
    for minute in range(0, 300, 10):
        for observer in ("north", "south"):
            there = [number for number in range(12) if chance.random() < 0.8]
            peers = [
                {
                    "peerKey": f"peer-{number}",
                    "deviceName": f"Device {number}",
                    "peerMetadata": {"load": minute // 20},
                    "connections": [
                        {
                            "id": f"{number}-{observer}",
                            "peer1": f"peer-{number}",
                            "peer2": observer,
                            "connectionType": "Bluetooth",
                        }
                    ],
                }
                for number in there
            ]
            graph = {"localPeer": {"peerKey": observer, "connections": []}, "remotePeers": peers}
            stops = observer == "south" and minute == 100
            yield {
                "observed_at": START + timedelta(minutes=minute),
                "observer": observer,
                "graph": None if stops else graph,
                "max_silence": 200,
            }


@pytest.fixture(params=ENGINES)
def whole(request: pytest.FixtureRequest) -> Iterator[str]:
    url = fresh_url(request.param)
    with peerstore.open(url) as store:
        store.record_many(history())
        assert store.verify().ok
    yield url
    drop_url(url)


NORTH = "observer_id = (SELECT id FROM observer WHERE observer_key = 'north')"
LAST = f"{NORTH} AND observed_at = (SELECT max(observed_at) FROM observation_log WHERE {NORTH})"
SECOND_DAY = f"{NORTH} AND observed_at >= 1772409600000000"
CHANGE = f"{NORTH} AND observed_at = (SELECT min(observed_at) FROM element_change WHERE {SECOND_DAY})"
MOST = f"SELECT max(element_id) FROM element_change WHERE {CHANGE}"
NEWEST = f"SELECT max(document_id) FROM element_change WHERE {SECOND_DAY}"
COPY = "observer_id, observed_at + 5, sequence, recorded_at, stopped, max_silence, gap_from"
FORGED = '{"device_name":"Forged"}'

DAMAGE: dict[str, tuple[str, ...]] = {
    "when it was recorded": (f"UPDATE observation_log SET recorded_at = recorded_at - 1 WHERE {LAST}",),
    "the silence that it declared": (f"UPDATE observation_log SET max_silence = 201000000 WHERE {LAST}",),
    "the last observation is gone": (
        f"DELETE FROM element_change WHERE {LAST}",
        f"DELETE FROM keyframe WHERE {LAST}",
        f"DELETE FROM observation_log WHERE {LAST}",
    ),
    "a change is gone": (f"DELETE FROM element_change WHERE {CHANGE} AND element_id = ({MOST})",),
    "an observation that nobody made": (
        f"INSERT INTO observation_log SELECT {COPY} FROM observation_log WHERE {LAST}",
    ),
    "a day is gone": (
        f"DELETE FROM element_change WHERE {SECOND_DAY}",
        f"DELETE FROM keyframe WHERE {SECOND_DAY}",
        f"DELETE FROM observation_log WHERE {SECOND_DAY}",
    ),
    "the name of the observer": ("UPDATE observer SET observer_key = 'nort' WHERE observer_key = 'north'",),
    "a document and its digest": (f"UPDATE document SET body = '{FORGED}', digest = {{digest}} WHERE id = ({NEWEST})",),
    "a digest of a day": (f"DELETE FROM day_digest WHERE {NORTH} AND day = (SELECT max(day) FROM day_digest)",),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_any_damage_to_rows_is_found_and_placed(whole: str, what: str) -> None:
    hexadecimal = digest(FORGED.encode()).hex()
    with sa.create_engine(whole, poolclass=sa.NullPool).begin() as connection:
        binary = f"x'{hexadecimal}'" if connection.dialect.name == "sqlite" else f"'\\x{hexadecimal}'::bytea"
        for statement in DAMAGE[what]:
            connection.exec_driver_sql(statement.replace("{digest}", binary))
    with peerstore.open(whole, create=False) as store:
        found = store.verify()
    assert not found.ok
    placed = [each for each in found.findings if f"on {DAYS[1]}" in each or "observer nort " in each]
    assert placed, found.findings
    assert run("--db", whole, "verify").exit_code == 1


def test_what_comes_late_and_again_leaves_the_digests_true(whole: str) -> None:
    """They are those of the same history recorded in order, but for the times of recording."""
    other = fresh_url("sqlite")
    shuffled = list(history())
    random.Random(3).shuffle(shuffled)
    clock = iter(START + timedelta(days=1, seconds=number) for number in range(10**6))
    with peerstore.open(other, clock=lambda: next(clock)) as store:
        for start in range(0, len(shuffled), 7):
            store.record_many(shuffled[start : start + 9])
        assert store.verify().ok
        counts = {name: store.verify().checked[name] for name in ("days", "observations", "changes")}
    with peerstore.open(whole, create=False) as store:
        assert store.verify().checked.items() >= counts.items()
    drop_url(other)


def content(path: Path) -> list[str] | None:
    """All rows of a file, as text; None where they cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            connection.text_factory = bytes
            names = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
            tables = [name.decode() for (name,) in connection.execute(names)]
            return [
                f"{table} {row!r}"
                for table in tables
                for row in sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)
            ]
    except (sqlite3.Error, UnicodeDecodeError):
        return None


def flip(data: bytearray, chance: random.Random) -> None:
    """One bit."""
    data[chance.randrange(100, len(data))] ^= 1 << chance.randrange(8)


def zero(data: bytearray, chance: random.Random) -> None:
    """A page of zeros."""
    page = chance.randrange(1, len(data) // 4096) * 4096
    data[page : page + 4096] = bytes(4096)


def noise(data: bytearray, chance: random.Random) -> None:
    """A page of noise."""
    page = chance.randrange(1, len(data) // 4096) * 4096
    data[page : page + 4096] = chance.randbytes(4096)


def moved(data: bytearray, chance: random.Random) -> None:
    """A page in another one's place, as when a write went astray."""
    one, other = (chance.randrange(1, len(data) // 4096) * 4096 for _ in range(2))
    data[one : one + 4096] = data[other : other + 4096]


def torn(data: bytearray, chance: random.Random) -> None:
    """A sector of zeros within a page."""
    sector = chance.randrange(8, len(data) // 512) * 512
    data[sector : sector + 512] = bytes(512)


def short(data: bytearray, chance: random.Random) -> None:
    """The end is missing."""
    del data[chance.randrange(1, len(data) // 4096) * 4096 :]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, zero, noise, moved, torn, short)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("count", [10, pytest.param(300, marks=pytest.mark.slow)])
def test_whatever_changes_in_the_file_is_found(
    tmp_path: Path, mutation: Callable[[bytearray, random.Random], None], count: int
) -> None:
    """Of a mutated file, either not a row is another, or verification says so; and the file is left as it is."""
    original = tmp_path / "whole.db"
    with peerstore.open(original) as store:
        store.record_many(history())
    with closing(sqlite3.connect(original)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    data, expected = original.read_bytes(), content(original)
    chance = random.Random(f"{mutation.__name__} {count}")
    found = changed = 0
    for number in range(count):
        mutant = bytearray(data)
        mutation(mutant, chance)
        path = tmp_path / f"{number}.db"
        path.write_bytes(mutant)
        is_other = content(path) != expected
        changed += is_other
        before = hashlib.sha256(path.read_bytes()).digest()
        red = run("--db", str(path), "verify").exit_code in (1, 3)
        found += red
        assert red or not is_other, number
        assert hashlib.sha256(path.read_bytes()).digest() == before, number
        for each in tmp_path.glob(f"{number}.db*"):
            each.unlink()
    assert changed > 0
    report("mutants of a file", kind=mutation.__name__, tried=count, changed=changed, found=found)


def report(what: str, **counts: int | str) -> None:
    """Note what was tried, where somebody wants to know."""
    if file := os.environ.get("PEERSTORE_FAULTS_REPORT"):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"what": what, **counts}) + "\n")
