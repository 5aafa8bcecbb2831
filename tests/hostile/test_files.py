"""Files: who may read what is written, names that are no peer's text, and what is planted where it is written."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import peerstore
from peerstore.exporting.formats import FORMATS
from tests.hostile.asking import MOMENT, OBSERVER, asked
from tests.hostile.counting import report
from tests.hostile.strings import KEYS, TEXTS, observations

PRIVATE = {True: 0o700, False: 0o600}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of a part of the hostile mesh."""
    path = tmp_path_factory.mktemp("hostile") / "peerstore.db"
    with peerstore.open(path) as store:
        assert store.record_many(observations()[1:4]).recorded == 3
    return path


@pytest.fixture
def folder(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a copy of it; everybody may read and write what is made without a care."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(recorded, tmp_path / "peerstore.db")
    before = os.umask(0)
    try:
        yield tmp_path
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def written(place: Path) -> list[Path]:
    return [each for each in place.rglob("*") if not each.name.startswith("peerstore.db")]


def arguments(name: str) -> list[str]:
    return ["--at", MOMENT, "--observer", OBSERVER] if name == "ditto" else []


@pytest.mark.parametrize("name", list(FORMATS))
def test_an_export_is_its_owner_s_alone_and_named_by_nobody_else(folder: Path, name: str) -> None:
    """Under umask 0, and with a mesh whose peers are called ../../x, -rf, CON and a line break."""
    before = set(folder.parent.rglob("*"))
    code, out, err = asked("export", "x", "--format", name, *arguments(name))
    assert code == 0, out + err
    files = written(folder)
    assert files
    assert {str(each): mode(each) for each in files} == {str(each): PRIVATE[each.is_dir()] for each in files}
    assert set(folder.parent.rglob("*")) - before == set(files)
    for each in files:
        assert each.name.isascii()
        assert not any(text in each.name for text in (*TEXTS, *KEYS) if len(text) > 2 and text not in ("null", "true"))
    report("names and rights of an export", format=name, files=len(files), strings=len(TEXTS))


def test_a_backup_is_its_owner_s_alone(folder: Path) -> None:
    assert asked("backup", "b.db", "--quick")[0] == 0
    assert mode(folder / "b.db") == 0o600
    assert written(folder) == [folder / "b.db"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
@pytest.mark.parametrize("linked", [False, True], ids=["", "by a link to nothing"])
def test_a_new_database_is_its_owner_s_alone(folder: Path, umask: int, linked: bool) -> None:
    """And so are the files that SQLite keeps beside it, while it is used."""
    place = folder / "new.db"
    if linked:
        place.symlink_to(folder / "elsewhere.db")
    os.umask(umask)
    try:
        with peerstore.open(place) as store:
            store.record({"localPeer": {"peerKey": "a"}}, observed_at=peerstore.times.EPOCH)
            files = written(folder)
            assert len([each for each in files if not each.is_symlink()]) == 3
            assert {mode(each) for each in files if not each.is_symlink()} == {0o600 & ~umask}
    except peerstore.DatabaseError:
        assert umask & 0o200
        assert os.geteuid() != 0


def test_one_that_is_there_keeps_its_mode(folder: Path) -> None:
    place = folder / "shared.db"
    peerstore.open(place).close()
    place.chmod(0o664)
    with peerstore.open(place) as store:
        store.record({"localPeer": {"peerKey": "a"}}, observed_at=peerstore.times.EPOCH)
        assert {mode(each) for each in written(folder)} == {0o664}
    empty = folder / "empty.db"
    empty.touch(mode=0o640)
    peerstore.open(empty).close()
    assert mode(empty) == 0o640


def test_a_private_store_is_in_a_folder_of_its_owner_s(folder: Path) -> None:
    with peerstore.open(":memory:") as store:
        path = Path(str(store.status().database))
        there = path if path.exists() else Path(str(store._database.path))
        assert mode(there.parent) == 0o700


@pytest.mark.parametrize("name", ["ndjson", "csv", "sqlite"])
@pytest.mark.parametrize("force", [False, True])
def test_what_is_planted_is_not_written_through(folder: Path, name: str, force: bool) -> None:
    """Links, dangling links, a pipe and a folder in the place of the export and of its manifest."""
    precious = folder / "peerstore.db.precious"
    precious.write_text("precious")
    count = 0
    for number, planted in enumerate(("link", "dangling", "pipe", "manifest")):
        place = folder / f"x{number}"
        beside = folder / f"x{number}.manifest.json"
        if planted == "pipe":
            os.mkfifo(place)
        elif planted == "manifest":
            beside.symlink_to(precious)
        else:
            place.symlink_to(precious if planted == "link" else folder / "peerstore.db.nothing")
        code, _, err = asked("export", place.name, "--format", name, *arguments(name), *(["--force"] if force else []))
        assert code == 0 or err.startswith("Error: "), err
        if not force and planted != "manifest":
            assert (code, "already there" in err) == (1, True), err
        assert precious.read_text() == "precious"
        assert not (folder / "peerstore.db.nothing").exists()
        count += 1
    assert not list(folder.glob(".x*"))
    report("planted where an export is written", format=name, plants=count)


@pytest.mark.parametrize("planted", ["link", "dangling", "hard link"])
def test_nor_does_a_backup_write_through_a_link(folder: Path, planted: str) -> None:
    precious = folder / "peerstore.db.precious"
    precious.write_text("precious")
    place = folder / "b.db"
    if planted == "hard link":
        place.hardlink_to(precious)
    else:
        place.symlink_to(precious if planted == "link" else folder / "peerstore.db.nothing")
    for force in ([], ["--force"]):
        code, _, err = asked("backup", "b.db", "--quick", *force)
        assert code == 0 or err.startswith("Error: ")
        assert precious.read_text() == "precious"
        assert not (folder / "peerstore.db.nothing").exists()


@pytest.mark.parametrize("name", ["../../x", "-rf", "CON", "a\nb", "a\x1bb", "..", ".", "", "x" * 300, "x\udcff", "/"])
def test_a_destination_of_any_name_is_a_file_there_or_a_sentence(folder: Path, name: str) -> None:
    deep = folder / "one" / "two"
    deep.mkdir(parents=True)
    os.chdir(deep)
    code, out, err = asked("export", "--format", "ndjson", "--", name, database=str(folder / "peerstore.db"))
    if code == 0:
        assert Path(name).read_bytes().startswith(b'{"observedAt"')
        assert json.loads(Path(f"{name}.manifest.json").read_text())["counts"]
        assert "\x1b" not in out
    else:
        assert code in (1, 2)
        assert "Error: " in err
        assert list(deep.iterdir()) == []
