"""Upgrades: the backup before, the room for it, what is told meanwhile, and those who write under the old schema."""

from __future__ import annotations

import os
import pty
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import peerstore
from peerstore import schema
from peerstore.upgrade_backup import LEAST_FOR_STEPS, PART_FOR_STEPS
from tests.commands import run
from tests.conftest import bare_url, drop_url
from tests.databases import plain, relations, rows
from tests.faults.privileges import mounted, needs_root
from tests.faults.reporting import tried
from tests.old_databases import ASSETS, START, graph, old_database

OLD = ASSETS[0]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of the oldest schema of which one is kept."""
    return Path(shutil.copyfile(OLD, tmp_path / "mesh.db"))


def backups(database: Path) -> list[Path]:
    return sorted(database.parent.glob(f"{database.name}.before-*"))


def url(database: Path) -> str:
    return f"sqlite:///{database}"


@pytest.mark.parametrize("asset", ASSETS, ids=lambda path: path.stem)
def test_a_database_that_holds_anything_is_backed_up_before(asset: Path, tmp_path: Path) -> None:
    database = Path(shutil.copyfile(asset, tmp_path / "mesh.db"))
    before, there = rows(url(database)), relations(url(database))
    mask = os.umask(0)
    try:
        upgraded = peerstore.upgrade(database)
    finally:
        os.umask(mask)
    assert list(upgraded) == [asset.stem[-4:], schema.HEAD]
    assert upgraded.backup is not None
    assert backups(database) == [upgraded.backup]
    assert re.fullmatch(rf"mesh\.db\.before-{schema.HEAD}-\d{{8}}T\d{{6}}Z", upgraded.backup.name)
    assert stat.S_IMODE(upgraded.backup.stat().st_mode) == 0o600
    assert (rows(url(upgraded.backup)), relations(url(upgraded.backup))) == (before, there)
    assert {each.name for each in tmp_path.iterdir()} == {"mesh.db", upgraded.backup.name}


def test_the_way_back_is_told_and_leads_back(old: Path) -> None:
    before = rows(url(old))
    told = run("--db", str(old), "upgrade")
    [backup] = backups(old)
    assert told.stdout == f"sqlite:///{old} is upgraded from revision 0002 to {schema.HEAD}\n"
    assert told.stderr == (
        f"{backup} is a backup of {old} as it was before the upgrade; to go back, end all that use {old}, remove it"
        " with its -wal and -shm, rename the backup to mesh.db, and install the peerstore of before\n"
    )
    with peerstore.open(old) as store:
        digest = store.content_digest()
        assert store.upgraded is None
    old.unlink()
    backup.rename(old)
    assert rows(url(old)) == before
    with peerstore.open(old) as store:
        assert store.content_digest() == digest


def test_any_command_that_upgrades_does_so_and_says_so(old: Path) -> None:
    told = run("--db", str(old), "observers")
    assert "to go back" in told.stderr
    assert f'"schema": "{schema.HEAD}"' in run("--db", str(old), "status", "--json").stdout
    assert len(backups(old)) == 1
    other = Path(shutil.copyfile(OLD, old.with_name("other.db")))
    assert "other.db.before-" in run("copy", str(other), str(old.with_name("copy.db"))).stderr
    again = run("--db", str(old), "upgrade")
    assert (again.stdout, again.stderr) == (f"sqlite:///{old} is up to date, at revision {schema.HEAD}\n", "")
    assert len(backups(old)) == 1


def test_opening_tells_of_the_backup(old: Path) -> None:
    with peerstore.open(old) as store:
        assert store.upgraded is not None
        assert list(store.upgraded) == ["0002", schema.HEAD]
        assert store.upgraded.backup in backups(old)


def test_it_can_be_left_out(old: Path) -> None:
    told = run("--db", str(old), "upgrade", "--no-backup")
    assert (told.exit_code, told.stderr) == (0, "")
    assert [each.name for each in old.parent.iterdir()] == ["mesh.db"]


def test_what_holds_nothing_is_not_backed_up(bare_database: str) -> None:
    old_database(bare_database, "0002", ())
    upgraded = peerstore.upgrade(bare_database)
    assert [*upgraded, upgraded.backup] == ["0002", schema.HEAD, None]
    if bare_database.startswith("sqlite"):
        assert backups(Path(str(sa.make_url(bare_database).database))) == []


def test_that_of_postgresql_is_left_to_others_which_is_said() -> None:
    there = bare_url("postgresql")
    old_database(there, "0003")
    told = run("--db", there, "upgrade")
    assert "is upgraded from revision 0003" in told.stdout
    assert told.stderr == "no backup was made: that of a database on PostgreSQL is pg_dump's\n"
    assert run("--db", there, "upgrade").stderr == ""
    drop_url(there)


def test_no_file_is_replaced(old: Path) -> None:
    now = datetime.now(UTC)
    taken = [
        old.with_name(f"mesh.db.before-{schema.HEAD}-{now + timedelta(seconds=second):%Y%m%dT%H%M%SZ}")
        for second in range(20)
    ]
    for each in taken:
        each.write_text("precious")
    backup = peerstore.upgrade(old).backup
    assert backup is not None
    assert backup.name.endswith("Z-2")
    assert {each.read_text() for each in taken} == {"precious"}


# The room for it.


def test_it_is_refused_before_it_begins_where_there_is_no_room(tmp_path: Path) -> None:
    needs_root()
    content = OLD.read_bytes()
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1600k", "tmpfs") as folder:
        database = folder / "mesh.db"
        database.write_bytes(content)
        filler = folder / "filler"
        filler.write_bytes(bytes(280_000))
        told = run("--db", str(database), "upgrade")
        assert (told.exit_code, told.stdout) == (3, "")
        assert re.fullmatch(
            rf"Error: {database} is not upgraded, and is as it was: \d\.\d MB are free in {folder}, and the upgrade"
            r" needs 1\.3 MB \(0\.2 MB for the backup before it, 1\.1 MB for its steps\): make room, or leave the"
            r" backup out \(peerstore upgrade --no-backup\)\n",
            told.stderr,
        ), told.stderr
        assert database.read_bytes() == content
        assert {each.name for each in folder.iterdir()} == {"mesh.db", "filler"}
        with pytest.raises(peerstore.DatabaseError, match="is not upgraded"):
            peerstore.open(database)
        assert database.read_bytes() == content
        assert run("--db", str(database), "upgrade", "--no-backup").exit_code == 0
        database.write_bytes(content)
        filler.unlink()
        assert run("--db", str(database), "upgrade").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_no_more_room_is_needed_than_is_asked_for(revision: str) -> None:
    """Of a database that is large beside the least that is asked for."""
    there = bare_url("sqlite")
    old_database(there, revision, range(20_000))
    database = Path(str(sa.make_url(there).database))
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size, most = taken(database), 0

    def look(_step: peerstore.UpgradeStep) -> None:
        nonlocal most
        most = max(most, taken(database))

    upgraded = peerstore.upgrade(there, tell=look)
    most = max(most, taken(database))
    assert upgraded.backup is not None
    copy = upgraded.backup.stat().st_size
    assert size > 4 * LEAST_FOR_STEPS
    assert copy <= size
    grown = most - size - copy
    tried("room for an upgrade", revision=revision, bytes=size, grown=grown)
    assert 2 * grown < size * PART_FOR_STEPS  # what is new stands in the log, and then in the database too
    drop_url(there)


def taken(database: Path) -> int:
    return sum(each.stat().st_size for each in database.parent.iterdir() if not each.name.endswith("-shm"))


# What is told meanwhile.


def test_its_steps_are_told(bare_database: str) -> None:
    old_database(bare_database, "0002")
    told: list[peerstore.UpgradeStep] = []
    peerstore.upgrade(bare_database, tell=told.append)
    ended = [step for step in told if step.done]
    assert [step.number for step in ended] == list(range(1, ended[-1].steps + 1))
    assert (ended[0].revision, ended[-1].revision) == ("0003", schema.HEAD)
    assert [step.number for step in told] == sorted(step.number for step in told)
    by_revision = {step.revision: step for step in ended}
    assert by_revision["0003"].rows == len(rows(bare_database)["peer_document"])
    history = rows(bare_database)
    assert by_revision["0005"].rows == len(history["observation_log"]) + len(history["element_change"])
    assert all(step.title and step.seconds >= 0 for step in told)
    told.clear()
    peerstore.upgrade(bare_database, tell=told.append)
    assert told == []


def test_the_command_tells_them_on_a_terminal_alone(old: Path) -> None:
    command = [sys.executable, "-m", "peerstore", "--db", str(old), "upgrade"]
    ours, theirs = pty.openpty()
    done = subprocess.run(command, stderr=theirs, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    os.close(theirs)
    said = os.read(ours, 100_000).decode()
    os.close(ours)
    assert f"to {schema.HEAD}" in done.stdout
    assert re.search(r"step 1 of \d+, schema 0003 \(.*\): \d+ rows, \d+ rows/s, done in \d+\.\d s\r\n", said), said
    assert "to go back" in said


# Those who have it open.


def test_who_has_it_open_records_nothing_once_others_upgraded_it(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record(graph(1), START)
        with plain(store_url) as connection:
            connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
        for _ in range(2):
            with pytest.raises(peerstore.SchemaError, match=f"at schema 9999 now, and was at {schema.HEAD}"):
                store.record(graph(2), START + timedelta(seconds=1))
        assert store.status().observations == 1
        with plain(store_url) as connection:
            connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{schema.HEAD}'")
        assert store.record(graph(2), START + timedelta(seconds=1)).status == "recorded"


def test_record_says_so_and_ends(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of an older version, here one that takes the newest schema for a later one."""
    peerstore.upgrade(old, backup=False)
    real: Any = schema._check_revision

    def meanwhile(database: Any, connection: Any) -> None:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
        real(database, connection)

    monkeypatch.setattr(schema, "_check_revision", meanwhile)
    line = '{"observedAt":"2026-07-08T18:00:00Z","observer":"x","graph":null}'
    told = run("--db", str(old), "record", "-", input=line)
    assert told.exit_code == 3
    assert "nothing is recorded into it" in told.stderr
    monkeypatch.undo()
    assert run("--db", str(old), "status").exit_code == 0
