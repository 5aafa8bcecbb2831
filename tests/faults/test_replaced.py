"""A database that is removed, replaced or written over while it is open: noticed within a batch, and nothing is
acknowledged that nobody would find."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import peerstore
from tests.faults.children import BLIND, ROOT, SOUND, command, kept_in
from tests.faults.oracle import Expected, batches
from tests.faults.reporting import tried

GIVEN = batches(12)


def remove(path: Path) -> None:
    """Remove the database and all that belongs to it."""
    for each in path.parent.glob("store.db*"):
        each.unlink()


def remove_alone(path: Path) -> None:
    """Remove the database itself."""
    path.unlink()


def remove_log(path: Path) -> None:
    """Remove the write-ahead log."""
    Path(f"{path}-wal").unlink()


def move_away(path: Path) -> None:
    """Move the database away."""
    path.rename(path.with_name("elsewhere.db"))


def restore(path: Path) -> None:
    """Put another store in its place, and remove the log, as somebody does who restores a backup."""
    restore_beside_log(path)
    for ending in ("-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def restore_beside_log(path: Path) -> None:
    """Put another store in its place, and leave the log there: SQLite would take it for the other's."""
    other = path.with_name("other.db")
    with peerstore.open(other) as store:
        store.record_many(GIVEN[0])
    other.replace(path)


def restore_same(path: Path) -> None:
    """Put a copy of itself in its place."""
    other = path.with_name("other.db")
    shutil.copy(path, other)
    other.replace(path)


WAYS = [
    remove,
    remove_log,
    *(
        pytest.param(way, marks=pytest.mark.slow)
        for way in (restore, remove_alone, move_away, restore_beside_log, restore_same)
    ),
]


def played(folder: Path, way: Callable[[Path], None], preamble: str = SOUND) -> tuple[list[int], list[str]]:
    """A process records three batches, the file is dealt with, it is to record three more: what was acknowledged after
    that, and the errors."""
    path = folder / "store.db"
    peerstore.open(path).close()
    process = subprocess.Popen(
        command(str(path), kept_in(folder, GIVEN), preamble, step=1),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in range(3):
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{number}\n"
        way(path)
        said = process.communicate("\n\n\n")[0].splitlines()
    return [int(line) for line in said if line.isdigit()], [line for line in said if line.startswith("error")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_writer_notices_within_a_batch(tmp_path: Path, way: Callable[[Path], None]) -> None:
    told, errors = played(tmp_path, way)
    tried("file replaced", way=way.__name__, acknowledged_after=len(told))
    assert told == []
    assert len(errors) > 0
    assert all("was removed or replaced while it was open" in error for error in errors)


@pytest.mark.parametrize("way", [remove, pytest.param(restore, marks=pytest.mark.slow)])
def test_replacing_finds_a_broken_build(tmp_path: Path, way: Callable[[Path], None]) -> None:
    told, errors = played(tmp_path, way, BLIND)
    findings = Expected(GIVEN).findings(str(tmp_path / "store.db"), {0, 1, 2, *told})
    assert told == [3, 4, 5]
    assert errors == []
    assert findings


@pytest.mark.parametrize("way", [remove_alone, restore], ids=lambda way: way.__name__)
def test_readers_notice_too(tmp_path: Path, way: Callable[[Path], None]) -> None:
    path = tmp_path / "store.db"
    with peerstore.open(path) as store:
        store.record_many(GIVEN[0])
        way(path)
        with pytest.raises(peerstore.DatabaseError, match="was removed or replaced while it was open"):
            store.status()
        with pytest.raises(peerstore.DatabaseError, match="was removed or replaced while it was open"):
            store.last_observed_at()
    with peerstore.open(path) as store:
        store.record_many(GIVEN[1])


def test_another_folder_is_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was opened by a relative path goes on when the process changes its folder."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with peerstore.open("store.db") as store:
        store.record_many(GIVEN[0])
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.record_many(GIVEN[1])
        assert store.status().observations == 6
