"""A writer that is stopped in the midst of a transaction: readers go on, other writers are told that the database is
busy, and nothing is lost once it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import peerstore
import peerstore.database
import peerstore.sqlite_file
from tests.conftest import drop_url, fresh_url
from tests.faults.children import ROOT, acknowledged, command, kept_in
from tests.faults.oracle import Expected, batches, lines_of
from tests.faults.reporting import tried

GIVEN = batches(8)
STOPPED = """
import os, signal
import peerstore.recording as stopping
finish = stopping._Batch._finish
def stop_first(self, connection, of_observer):
    finish(self, connection, of_observer)
    if os.environ.pop("STOP_AT_THE_SECOND", "no") == "no":
        return
    if not stopped:
        stopped.append(True)
        os.environ["STOP_AT_THE_SECOND"] = "yes"
        return
    os.kill(os.getpid(), signal.SIGSTOP)
stopped = []
stopping._Batch._finish = stop_first
"""


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_others_are_told_that_it_is_busy(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peerstore.sqlite_file, "BUSY_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr(peerstore.database, "RETRY_SECONDS", 1)
    url = fresh_url(engine)
    peerstore.open(url).close()
    process = subprocess.Popen(
        command(url, kept_in(tmp_path, GIVEN), STOPPED),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "STOP_AT_THE_SECOND": "yes"},
    )
    try:
        assert os.waitpid(process.pid, os.WUNTRACED)[1] & 0xFF == 0x7F  # it stopped
        named = url if engine == "sqlite" else f"{url}&options=-c%20lock_timeout%3D700"
        with peerstore.open(named) as store:
            begun = time.monotonic()
            with pytest.raises(peerstore.DatabaseBusy, match="is held by another process for more than 1 s: try again"):
                store.record_many(lines_of(GIVEN))
            assert 0.5 < time.monotonic() - begun < 20
            begun = time.monotonic()
            assert store.status().observations == 3
            assert store.verify().ok
            assert time.monotonic() - begun < 10
            os.kill(process.pid, signal.SIGCONT)
            for _ in range(60):
                try:
                    store.record_many(GIVEN[7])
                except peerstore.DatabaseBusy:
                    continue
                break
        said = process.communicate(timeout=60)[0].split()
    finally:
        process.kill()
        process.communicate()
    tried("stopped writer", engine=engine)
    assert acknowledged(said) == list(range(8))
    assert Expected(GIVEN).findings(url, range(8), 0) == []
    drop_url(url)


def test_a_long_reader_keeps_nobody_from_writing(tmp_path: Path) -> None:
    """Its snapshot stays as it was, and the log is folded in once it ends."""
    path = tmp_path / "store.db"
    with peerstore.open(path) as store:
        store.record_many(GIVEN[0])
        with store.snapshot() as snapshot:
            before = snapshot.content_digest()
            for batch in batches(80):
                store.record_many(batch)
            assert snapshot.content_digest() == before
        store.record_many(GIVEN[1])
        log = Path(f"{path}-wal").stat().st_size
    assert log < 64_000_000
    assert not Path(f"{path}-wal").exists()
