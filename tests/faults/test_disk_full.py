"""A full disk: said in one sentence, nothing acknowledged is lost, and recording goes on once there is room."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import peerstore
from tests.commands import run
from tests.faults.children import ROOT
from tests.faults.oracle import Expected, batches, lines_of
from tests.faults.privileges import mounted, needs_root, remount
from tests.faults.reporting import tried

GIVEN = batches(120)
COMMAND = [sys.executable, "-m", "peerstore"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    needs_root()
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as folder:
        yield folder


def until_full(store: peerstore.PeerStore) -> int:
    """Record until the disk is full, which is said; how many batches were acknowledged."""
    said, told = "", 0
    while not said and told < len(GIVEN):
        try:
            store.record_many(GIVEN[told])
            told += 1
        except peerstore.DatabaseError as error:
            said = str(error)
    assert "the disk is full. Nothing that was acknowledged is lost" in said
    return told


def test_the_same_store_goes_on_once_there_is_room(small_disk: Path) -> None:
    path = small_disk / "store.db"
    with peerstore.open(path) as store:
        told = until_full(store)
        assert 0 < told < len(GIVEN)
        with pytest.raises(peerstore.DatabaseError, match="the disk is full"):
            store.record_many(GIVEN[told])
        remount(small_disk, "size=40m")
        assert store.verify().findings == []
        for batch in GIVEN[told:]:
            store.record_many(batch)
    tried("disk full", acknowledged_before=told, after=len(GIVEN) - told)
    assert Expected(GIVEN).findings(str(path), range(len(GIVEN))) == []


def fill(path: Path) -> None:
    """Write to a file until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_every_byte_that_was_free_is_gone(small_disk: Path) -> None:
    """Others have filled the disk: not even the files are made that a reader needs."""
    path = small_disk / "store.db"
    with peerstore.open(path) as store:
        store.record_many(GIVEN[0])
    fill(small_disk / "others")
    for _ in range(2):
        done = run("--db", str(path), "status")
        if done.exit_code:
            assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
            assert "the disk is full" in done.stderr
    (small_disk / "others").unlink()
    assert Expected(GIVEN).findings(str(path), [0], 0) == []


@pytest.mark.slow
def test_the_command_says_so_and_can_be_run_again(small_disk: Path, tmp_path: Path) -> None:
    file, path = tmp_path / "day.ndjson", small_disk / "store.db"
    given = batches(400)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines_of(given)))
    command = [*COMMAND, "--db", str(path), "record", str(file), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == (
        f"Error: {path} cannot be used: the disk is full. Nothing that was acknowledged is lost: make room, and run it"
        " again\n"
    )
    before = json.loads(done.stdout)["recorded"] if done.stdout else 0
    remount(small_disk, "size=60m")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert summary["recorded"] + summary["duplicates"] == 1200
    assert summary["duplicates"] == before
    with peerstore.open(path) as store:
        assert store.verify().findings == []


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


@pytest.mark.slow
def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """What needs no root: a limit for the size of each file."""
    path, file = tmp_path / "store.db", tmp_path / "day.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines_of(batches(800))))
    command = [*COMMAND, "--db", str(path), "record", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit_file_size)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "Nothing that was acknowledged is" in done.stderr
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    with peerstore.open(path) as store:
        assert store.status().observations == 2400
        assert store.verify().findings == []


def test_a_full_disk_finds_a_broken_build(small_disk: Path) -> None:
    """One that takes an error for done."""
    path = small_disk / "store.db"
    told = 0
    with peerstore.open(path) as store:
        for batch in GIVEN[:100]:
            try:
                store.record_many(batch)
            except peerstore.DatabaseError:
                os.sync()
            told += 1
    remount(small_disk, "size=40m")
    assert Expected(GIVEN).findings(str(path), range(told)) != []
