"""What `status` tells of how a store is: sizes, growth, who still speaks, what was refused, and warnings."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import peerstore
from peerstore.health import MOST_WAL_BYTES, durability_warnings, file_system
from tests.commands import answer, run
from tests.conftest import fresh_url
from tests.databases import plain, rows

NOON = datetime(2026, 7, 8, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ASSETS = Path(__file__).parent / "assets"


def graph(*peers: str) -> dict[str, Any]:
    """What the observer ``hub`` sees."""
    remote = [{"peerKey": key, "deviceName": key, "connections": []} for key in peers]
    return {"localPeer": {"peerKey": "hub", "connections": []}, "remotePeers": remote}


class Clock:
    """A store's clock that stands still until it is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def store(store_url: str, clock: Clock) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url, clock=clock) as opened:
        yield opened


def test_an_empty_store(store: peerstore.PeerStore) -> None:
    found = store.status()
    assert (found.observations, found.changes, found.growth, found.by_observer, found.refused) == (0, 0, None, (), ())
    assert found.schema == found.schema_newest
    assert json.loads(json.dumps(found.to_dict()))["last_observed_at"] is None


def test_each_observer_is_told_with_its_lag_and_its_age(store: peerstore.PeerStore, clock: Clock) -> None:
    for observer, limit in (("declares", 45), ("declares nothing", None), ("stops", 45)):
        clock.now = NOON + timedelta(seconds=2)
        store.record(graph("a"), NOON, observer=observer, max_silence=limit)
    clock.now = NOON + timedelta(seconds=10)
    store.record(None, NOON + timedelta(seconds=9), observer="stops")
    clock.now = NOON + timedelta(minutes=1)
    store.record(graph("a", "b"), NOON - HOUR, observer="declares")
    told = {each.observer: each for each in store.status().by_observer}
    assert list(told) == ["declares", "declares nothing", "stops"]
    assert {key: each.state for key, each in told.items()} == {
        "declares": "silent",
        "declares nothing": "watching",
        "stops": "stopped",
    }
    declares = told["declares"]
    assert (declares.lag_seconds, declares.age_seconds, declares.max_silence_seconds) == (2.0, 60.0, 45.0)
    assert (declares.last_observed_at, declares.last_recorded_at) == (NOON, clock.now), "late ones count as recorded"
    assert (declares.observations, told["stops"].observations) == (2, 2)
    assert (told["stops"].lag_seconds, told["stops"].age_seconds) == (1.0, 51.0)
    clock.now = NOON + timedelta(seconds=45)
    assert store.status().by_observer[0].state == "watching", "at the limit it still holds"


def test_what_is_counted_is_there(store: peerstore.PeerStore, store_url: str) -> None:
    for hour in range(0, 60, 7):
        peers = [f"peer {number}" for number in range(hour % 5 + 1)]
        for observer in ("hub", "till"):
            store.record(graph(*peers), NOON + hour * HOUR, observer=observer)
    found, there = store.status(), rows(store_url)
    assert found.observations == len(there["observation_log"]) == 18
    assert found.changes == len(there["element_change"]) == sum(each.changes for each in found.by_observer)
    assert (found.documents, found.keyframes) == (len(there["document"]), len(there["keyframe"]))


def test_growth_is_that_of_the_last_days_of_the_history(store: peerstore.PeerStore, clock: Clock) -> None:
    store.record(graph("old"), NOON - timedelta(days=300))
    for hour in range(0, 48, 2):
        store.record(graph(f"peer {hour}"), NOON + hour * HOUR)
    clock.now = NOON + timedelta(days=30)
    found = store.status()
    assert found.growth is not None
    assert [(str(each.day), each.observations) for each in found.growth.days] == [
        ("2026-07-08", 6),
        ("2026-07-09", 12),
        ("2026-07-10", 6),
    ]
    assert found.growth.until == NOON + 46 * HOUR
    assert found.growth.since == datetime(2026, 7, 4, tzinfo=UTC)
    days = (found.growth.until - found.growth.since) / timedelta(days=1)
    assert found.growth.observations_per_day == round(24 / days)
    assert found.growth.bytes_per_day is not None
    assert 0 < found.growth.bytes_per_day * days < found.database_bytes


def test_an_observer_whose_clock_is_ahead_does_not_hide_the_growth(store: peerstore.PeerStore, clock: Clock) -> None:
    for hour in range(4):
        store.record(graph(f"peer {hour}"), NOON + hour * HOUR)
    clock.now = NOON + 3 * HOUR
    store.record(graph(), NOON + timedelta(days=4000), observer="ahead")
    growth, ahead = store.status().growth, store.status().by_observer[0]
    assert growth is not None
    assert (growth.until, growth.observations_per_day) == (clock.now, 4 * 24 // 3)
    assert ahead.lag_seconds < 0 > ahead.age_seconds


def test_a_short_history_has_no_rate(store: peerstore.PeerStore) -> None:
    store.record(graph(), NOON)
    store.record(graph("a"), NOON + timedelta(minutes=59))
    growth = store.status().growth
    assert growth is not None
    assert (growth.observations_per_day, growth.days[0].observations) == (None, 2)


def test_what_was_refused_is_told_by_kind_with_the_last_of_each(store: peerstore.PeerStore, clock: Clock) -> None:
    store.record(graph(), NOON)
    store.record_many(["{}", '{"observedAt": 1}'])
    clock.now = NOON + HOUR
    store.record(graph("another"), NOON)
    rejected, conflict = store.status().refused
    assert (rejected.kind, rejected.count, rejected.last_line, rejected.last_source) == (
        "rejected",
        2,
        2,
        "record_many",
    )
    assert (conflict.kind, conflict.count) == ("conflict", 1)
    assert conflict.last_recorded_at == NOON + HOUR
    assert "stays" in conflict.last_reason
    assert (store.status().rejected, store.status().conflicts) == (2, 1)


def test_the_settings_of_a_server_that_break_promises_are_warned_of(postgres_url: str) -> None:
    url = fresh_url("postgresql")
    with plain(url) as connection:
        off = [
            name
            for name in ("fsync", "synchronous_commit", "full_page_writes")
            if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off"
        ]
    assert [each.split()[0] for each in peerstore.status(url).warnings] == off
    loose = sa.make_url(url).update_query_dict({"options": "-csynchronous_commit=off"})
    told = peerstore.status(loose).warnings
    assert sum(each.startswith("synchronous_commit is off: ") for each in told) == 1
    assert answer("--db", loose.render_as_string(False), "status", "--check", code=1)["warnings"] == list(told)


def test_sound_settings_are_not_warned_of() -> None:
    assert durability_warnings({"journal_mode": "wal", "synchronous": "EXTRA"}) == []
    assert durability_warnings({"journal_mode": "read-only", "synchronous": "read-only"}) == []
    assert len(durability_warnings({"journal_mode": "memory", "synchronous": "OFF", "fsync": "off"})) == 3


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.db"
    with peerstore.open(path) as store:
        store.record(graph("a"), NOON)
    return path


def test_check_ends_with_1_where_there_is_a_warning(recorded: Path) -> None:
    assert run("--db", str(recorded), "status", "--check").exit_code == 0
    with closing(sqlite3.connect(recorded)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    assert run("--db", str(recorded), "status").exit_code == 0
    told = run("--db", str(recorded), "status", "--check")
    assert told.exit_code == 1
    assert "Warning: journal_mode is delete" in told.stdout
    peerstore.open(recorded).record(graph("b"), NOON + HOUR)
    assert run("--db", str(recorded), "status", "--check").exit_code == 0, "recording is the cure"


def test_a_long_log_is_warned_of_and_counted_apart(recorded: Path) -> None:
    log = recorded.with_name("mesh.db-wal")
    assert peerstore.status(recorded).wal_bytes == 0
    with log.open("wb") as file:
        file.truncate(MOST_WAL_BYTES + 1)
    found = peerstore.status(recorded)
    assert (found.wal_bytes, found.bytes) == (MOST_WAL_BYTES + 1, found.database_bytes + MOST_WAL_BYTES + 1)
    assert ["mesh.db-wal has 64 MB" in each for each in found.warnings] == [True]


def test_a_fault_of_sqlite_is_noted_only_while_somebody_writes(recorded: Path) -> None:
    assert peerstore.status(recorded).notes == ()
    with peerstore.open(recorded) as store:
        store.record(graph("b"), NOON + HOUR)
        notes = peerstore.status(recorded).notes
        assert len(notes) == (sqlite3.sqlite_version_info < (3, 51, 3))
        assert store.status().warnings == ()


def test_a_database_of_an_older_schema_is_told_about_and_left_as_it_is(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    shutil.copyfile(ASSETS / "schema_0003.db", old)
    before = old.read_bytes()
    found = answer("--db", str(old), "status")
    assert (found["schema"], found["growth"]) == ("0003", None)
    assert ["`peerstore upgrade`" in each for each in found["warnings"]] == [True]
    assert old.read_bytes() == before
    counted = {name: found[name] for name in ("observations", "changes", "rejected", "conflicts", "by_observer")}
    peerstore.upgrade(old)
    after = answer("--db", str(old), "status")
    assert (after["schema"], after["warnings"]) == (after["schema_newest"], [])
    for each in (*counted["by_observer"], *after["by_observer"]):
        del each["age_seconds"]
    assert counted == {name: after[name] for name in counted}


def test_status_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(peerstore.DatabaseMissing):
        peerstore.status(tmp_path / "missing.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(peerstore.DatabaseMissing):
        peerstore.status(tmp_path / "empty.db")
    assert [each.name for each in tmp_path.iterdir()] == ["empty.db"]


def test_status_writes_nothing(recorded: Path) -> None:
    before = recorded.read_bytes()
    with peerstore.open(recorded) as store:
        store.status()
    run("--db", str(recorded), "status")
    assert recorded.read_bytes() == before
    assert [each.name for each in recorded.parent.iterdir()] == ["mesh.db"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/mnt/mesh/mesh.db", "nfs4"),
        ("/mnt/meshes/mesh.db", "ext4"),
        ("/mnt/mesh/inner/mesh.db", "ext4"),
        ("/mnt/with space/mesh.db", "cifs"),
        ("/mesh.db", "overlay"),
    ],
)
def test_the_file_system_is_the_innermost_one(path: str, kind: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/b /mnt/mesh/inner ext4 rw 0 0\n/dev/a /mnt ext4 rw 0 0\nserver:/x /mnt/mesh nfs4 rw 0 0\n"
        "overlay / overlay rw 0 0\n//server/y /mnt/with\\040space cifs rw 0 0\n"
    )
    assert file_system(Path(path), mounts) == kind
    assert file_system(Path(path), tmp_path / "none") is None


def test_people_see_it_all(recorded: Path) -> None:
    with peerstore.open(recorded) as store:
        store.record(graph("\x1b[2J"), NOON, observer="till\x1b[2J\nWarning: forged")
        store.record(graph("another"), NOON)
    told = run("--db", str(recorded), "status").stdout
    assert "\x1b" not in told
    assert not any(line.startswith("Warning") for line in told.splitlines())
    for word in (
        "schema newest",
        "wal bytes",
        "Growth",
        "Observers",
        "watching",
        "Kept aside as conflict: 1; the last",
    ):
        assert word in told


def test_its_members_are_those_of_its_json(recorded: Path) -> None:
    found = peerstore.status(recorded)
    assert list(found.to_dict()) == [each.name for each in fields(found)]
    assert {"bytes", "schema", "rejected", "conflicts", "durability", "last_recorded_at"} < set(found.to_dict())
