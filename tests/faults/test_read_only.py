"""Media that nothing can be written to: what is there is read, never less of it in silence, and who would write is told
why not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

import peerstore
from tests.commands import run
from tests.faults.oracle import Expected, batches, lines_of
from tests.faults.privileges import mounted
from tests.faults.reporting import tried

*GIVEN, MORE = batches(7)
OBSERVATIONS = len(lines_of(GIVEN))
READ_ONLY = "is read-only: it can be asked, and nothing can be recorded into it"


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """The folder where nothing can be written: mounted read-only elsewhere by root, else without the right to."""
    if os.geteuid() == 0:
        elsewhere = folder.with_name("read-only")
        with mounted(elsewhere, "-o", "bind,ro", str(folder)) as mount:
            yield mount
        return
    folder.chmod(0o500)
    try:
        yield folder
    finally:
        folder.chmod(0o700)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a store that was closed."""
    made = tmp_path / "disk"
    made.mkdir()
    with peerstore.open(made / "store.db") as store:
        for batch in GIVEN:
            store.record_many(batch)
    return made


def test_what_was_closed_is_read(folder: Path, tmp_path: Path) -> None:
    with read_only(folder) as place, peerstore.open(place / "store.db", create=False) as store:
        status = store.status()
        assert status.observations == OBSERVATIONS
        assert status.durability == {"journal_mode": "read-only", "synchronous": "read-only"}
        assert store.verify().ok
        assert store.content_digest() == Expected(tuple(GIVEN)).digest(range(len(GIVEN)))
        assert store.backup(tmp_path / "backup.db").observations == OBSERVATIONS
        with pytest.raises(peerstore.DatabaseError, match=READ_ONLY):
            store.record_many(MORE)
        assert store.status().observations == OBSERVATIONS
    tried("read-only media", closed=True)
    assert {each.name for each in folder.iterdir()} == {"store.db"}


def test_the_commands(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "day.ndjson"
    file.write_text('{"observedAt": "2026-07-08T18:00:00Z", "observer": "x", "graph": null}\n')
    with read_only(folder) as place:
        database = str(place / "store.db")
        assert f"{OBSERVATIONS}" in run("--db", database, "status").stdout
        assert run("--db", database, "verify").exit_code == 0
        result = run("--db", database, "record", str(file))
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr == f"Error: {database} {READ_ONLY}\n"
        missing = run("--db", str(place / "other.db"), "record", str(file))
        assert (missing.exit_code, missing.stderr.count("\n")) == (3, 1)


def left_open(folder: Path, *, shared_memory: bool) -> Path:
    """A copy of a store as a process leaves it that was killed: what it recorded last is in the log."""
    copy = folder.with_name("left")
    copy.mkdir()
    with peerstore.open(folder / "store.db") as store:
        store.record_many(MORE)
        for each in folder.iterdir():
            if shared_memory or not each.name.endswith("-shm"):
                shutil.copy(each, copy)
    assert (copy / "store.db-wal").stat().st_size > 0
    return copy


@pytest.mark.parametrize("shared_memory", [True, False])
def test_what_stands_in_the_log_is_never_left_out(folder: Path, shared_memory: bool, tmp_path: Path) -> None:
    with read_only(left_open(folder, shared_memory=shared_memory)) as place:
        refused = ""
        try:
            with peerstore.open(place / "store.db", create=False) as store:
                assert store.status().observations == OBSERVATIONS + 3
        except peerstore.DatabaseError as error:
            refused = str(error)
            assert "cannot be read where nothing can be written" in refused
            assert "store.db-wal alone. Copy both to a folder that can be written to" in refused
        cured = tmp_path / "cured"
        cured.mkdir()
        for each in ("store.db", "store.db-wal"):
            shutil.copy(place / each, cured)
    with peerstore.open(cured / "store.db") as store:
        assert store.status().observations == OBSERVATIONS + 3
    tried("read-only media", closed=False, shared_memory=shared_memory, refused=bool(refused))


def test_reading_finds_a_broken_build(folder: Path) -> None:
    """One that reads whatever SQLite calls immutable has fewer observations, and says nothing."""
    with read_only(left_open(folder, shared_memory=False)) as place:
        address = f"sqlite:///file:{place}/store.db?immutable=1&uri=true"
        engine = sa.create_engine(address, poolclass=sa.NullPool)
        with engine.connect() as connection:
            [count] = connection.execute(sa.text("SELECT count(*) FROM observation_log")).one()
    assert count == OBSERVATIONS


def test_what_somebody_writes_after_all_is_not_missed(folder: Path) -> None:
    """Read-only here, and written through another door."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    with read_only(folder) as place, peerstore.open(place / "store.db", create=False) as store:
        assert store.status().observations == OBSERVATIONS
        with peerstore.open(folder / "store.db") as writer:
            writer.record_many(MORE)
            with pytest.raises(peerstore.DatabaseError, match="somebody has written to it since: open it again"):
                store.status()
            with closing(peerstore.open(place / "store.db", create=False)) as again:
                assert again.status().observations == OBSERVATIONS + 3
