"""Where exports go: whole or not at all, nothing overwritten unasked, one sentence for what is wrong."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import peerstore
from peerstore.errors import DestinationError
from tests.commands import run
from tests.test_export_ndjson import at, mesh


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with peerstore.open(tmp_path / "mesh.db") as store:
        for second in range(5):
            store.record(mesh("a", *(["b"] if second % 2 else [])), at(second))
    return tmp_path / "mesh.db"


def left(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir() if not each.name.startswith("mesh.db")}


def test_an_export_comes_with_a_manifest_that_tells_what_it_is(database: Path) -> None:
    folder = database.parent
    result = run("--db", str(database), "export", str(folder / "x.ndjson"), "--until", "2026-07-08T12:00:03Z")
    assert result.exit_code == 0, result.stderr
    assert "3 observations" in result.stdout
    manifest = json.loads((folder / "x.ndjson.manifest.json").read_text())
    assert manifest["selection"]["until"] == "2026-07-08T12:00:03.000000Z"
    assert manifest["counts"] == {"observations": 3}
    [file] = manifest["files"]
    assert file["bytes"] == (folder / "x.ndjson").stat().st_size
    with peerstore.open(":memory:") as again:
        again.record_many((folder / "x.ndjson").read_bytes().splitlines())
        assert manifest["content_digest"] == again.content_digest()
    assert stat.S_IMODE((folder / "x.ndjson").stat().st_mode) == 0o600
    assert left(folder) == {"x.ndjson", "x.ndjson.manifest.json"}


def test_nothing_is_overwritten_unasked(database: Path) -> None:
    folder = database.parent
    (folder / "x.ndjson").write_text("mine")
    (folder / "y.csv").mkdir()
    (folder / "y.csv" / "mine").write_text("mine")
    for name, said in (("x.ndjson", "already there"), ("y.csv", "already there"), ("no/x.ndjson", "no folder")):
        result = run("--db", str(database), "export", str(folder / name))
        assert (result.exit_code, said in result.stderr) == (1, True), result.stderr
        assert result.stderr.count("\n") == 1
    forced = run("--db", str(database), "export", str(folder / "y.csv"), "--force")
    assert "no export" in forced.stderr
    assert (folder / "y.csv" / "mine").read_text() == "mine"
    assert run("--db", str(database), "export", str(folder / "x.ndjson"), "--force").exit_code == 0
    assert (folder / "x.ndjson").read_bytes().startswith(b'{"observedAt"')
    assert left(folder) == {"x.ndjson", "x.ndjson.manifest.json", "y.csv"}


def test_the_database_itself_is_never_replaced(database: Path) -> None:
    folder = database.parent
    (folder / "other.db").hardlink_to(database)
    before = database.read_bytes()
    for name in ("mesh.db", "other.db", "mesh.db-wal"):
        result = run("--db", str(database), "export", str(folder / name), "--force", "--format", "sqlite")
        assert (result.exit_code, "the database itself" in result.stderr) == (1, True), result.stderr
    assert database.read_bytes() == before
    (folder / "other.db").unlink()


def test_what_stands_beside_is_not_overwritten_unasked_either(database: Path) -> None:
    folder = database.parent
    (folder / "x.db.metadata.json").write_text("mine")
    assert "x.db.metadata.json is already there" in run("--db", str(database), "export", str(folder / "x.db")).stderr
    assert left(folder) == {"x.db.metadata.json"}
    assert run("--db", str(database), "export", str(folder / "x.db"), "--force").exit_code == 0
    assert json.loads((folder / "x.db.metadata.json").read_text())["databases"]


def test_a_folder_of_others_is_never_replaced(database: Path) -> None:
    folder = database.parent / "x.csv"
    assert run("--db", str(database), "export", str(folder)).exit_code == 0
    assert run("--db", str(database), "export", str(folder), "--force").exit_code == 0
    (folder / "notes.txt").write_text("mine")
    assert "files of others" in run("--db", str(database), "export", str(folder), "--force").stderr
    (folder / "notes.txt").unlink()
    (folder / "manifest.json").write_text('{"name": "an app of mine"}')
    assert "no export" in run("--db", str(database), "export", str(folder), "--force").stderr


def test_a_log_that_would_be_taken_for_the_file_s_own_is_said(database: Path) -> None:
    folder = database.parent
    (folder / "x.db-wal").write_text("of another program")
    result = run("--db", str(database), "export", str(folder / "x.db"), "--force")
    assert (result.exit_code, "x.db-wal is there" in result.stderr) == (1, True), result.stderr
    assert left(folder) == {"x.db-wal"}


def test_a_name_that_leaves_no_room_for_its_manifest_s_is_said_before_any_work(database: Path) -> None:
    result = run("--db", str(database), "export", str(database.parent / f"{'x' * 245}.dot"))
    assert (result.exit_code, "too long a name" in result.stderr) == (1, True), result.stderr
    assert left(database.parent) == set()


def test_a_link_is_replaced_and_not_what_it_leads_to(database: Path) -> None:
    folder = database.parent
    (folder / "target").write_text("precious")
    (folder / "x.ndjson").symlink_to(folder / "target")
    assert "already there" in run("--db", str(database), "export", str(folder / "x.ndjson")).stderr
    assert run("--db", str(database), "export", str(folder / "x.ndjson"), "--force").exit_code == 0
    assert (folder / "target").read_text() == "precious"
    assert not (folder / "x.ndjson").is_symlink()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x.what"], "means no format"),
        (["x", "--format", "csw"], "Invalid value"),
        (["-"], "--format"),
        (["-", "--format", "csv"], "folder"),
        (["x.ndjson", "--at", "now", "--since", "now"], "not for both"),
        (["x.ndjson", "--since", "now", "--until", "-1d"], "before it begins"),
        (["x.ndjson", "--key-file", __file__], "--pseudonymise"),
        (["x.ndjson", "--peer", "nobody"], "no peer goes by"),
        (["x.ndjson", "--redact", "owner"], "owner"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(database: Path, arguments: list[str], said: str) -> None:
    result = run("--db", str(database), "export", *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert left(database.parent) == set()


def test_a_file_can_go_to_stdout(database: Path) -> None:
    result = run("--db", str(database), "export", "-", "--format", "ndjson")
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 5
    assert left(database.parent) == set()


def test_an_export_that_breaks_off_leaves_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_rows: int) -> None:
        raise KeyboardInterrupt

    with peerstore.open(database) as store, pytest.raises(KeyboardInterrupt):
        store.export(database.parent / "x.ndjson", progress=interrupt)
    assert left(database.parent) == set()


def test_a_full_disk_is_said_and_leaves_nothing(database: Path) -> None:
    """No file may grow over 500 bytes, which to a process looks like a disk that is full."""
    program = """
import resource, signal, sys
import peerstore, peerstore.exporting.export, peerstore.exporting.ndjson
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with peerstore.open(sys.argv[1]) as store:
    store.status()
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    try:
        store.export("x.ndjson")
    except peerstore.DestinationError as error:
        print(error)
"""
    command = [sys.executable, "-B", "-c", program, str(database)]
    done = subprocess.run(command, cwd=database.parent, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("x.ndjson cannot be written: "), done.stderr
    assert done.stdout.count("\n") == 1
    assert left(database.parent) == set()


def test_a_name_that_was_taken_meanwhile_stays(tmp_path: Path) -> None:
    from peerstore.exporting.destination import destination

    def written() -> None:
        with destination(tmp_path / "x", folder=False) as whole:
            whole.write_text("new")
            (tmp_path / "x").write_text("mine")

    with pytest.raises(DestinationError, match="meanwhile"):
        written()
    assert (tmp_path / "x").read_text() == "mine"
    assert os.listdir(tmp_path) == ["x"]  # noqa: PTH208 - hidden files count too


def test_a_copy_needs_two_databases(database: Path) -> None:
    folder = database.parent
    assert run("copy", str(database), str(folder / "copy.db")).stdout.startswith("recorded 5")
    assert run("copy", str(database), str(folder / "copy.db")).stdout.startswith("recorded 0, duplicates 5")
    assert "one database" in run("copy", str(database), str(database)).stderr
    assert run("copy", str(folder / "none.db"), str(database)).exit_code == 3


# While others record.


def test_an_export_is_of_one_moment_whoever_records_meanwhile(store_url: str, tmp_path: Path) -> None:
    """Each time rows are written, somebody records more: nothing of that is in any table."""
    with peerstore.open(store_url) as store, peerstore.open(store_url) as other:
        for second in range(300):
            store.record(mesh(*(["a"] if second % 2 else [])), at(second))
        before = store.content_digest()
        seconds = iter(range(1000, 9000))

        def meanwhile(_rows: int) -> None:
            for _ in range(3):
                other.record(mesh("late", f"b{next(seconds)}"), at(next(seconds)))

        found = store.export(tmp_path / "x.csv", progress=meanwhile)
        assert found.counts["observations"] == 300
        assert found.counts["peer_sessions"] == 151
        assert found.content_digest == before != store.content_digest()
        assert not any(b"late" in each.read_bytes() for each in (tmp_path / "x.csv").glob("*.csv"))
        assert next(seconds) > 1000
        with store.snapshot() as snapshot:
            one = snapshot.status().observations
            other.record(mesh("c"), at(9999))
            assert snapshot.status().observations == one == len(list(snapshot.observation_log()))
            assert [each.observations for each in snapshot.observer_summaries()] == [one]
        assert store.status().observations == one + 1
