"""Backups: whole, verified, or not there at all."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import peerstore
from tests.commands import answer, run
from tests.conftest import bare_url, drop_url, fresh_url

START = datetime(2026, 7, 8, 18, tzinfo=UTC)
ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "peerstore"]
WRITERS, BACKUPS = 3, 6
WRITER = """
import sys
from datetime import UTC, datetime, timedelta
import peerstore
database, name, acknowledged = sys.argv[1:]
with peerstore.open(database) as store, open(acknowledged, "ab", buffering=0) as told:
    for number in range(1_000_000):
        graph = {"localPeer": {"peerKey": name, "deviceName": str(number), "connections": []}, "remotePeers": []}
        store.record(graph, datetime(2026, 7, 8, tzinfo=UTC) + number * timedelta(seconds=1))
        told.write(b".")
"""


def graph(name: str, **metadata: Any) -> dict[str, Any]:
    peer = {"peerKey": "till", "deviceName": name, "peerMetadata": metadata, "connections": []}
    return {"localPeer": peer, "remotePeers": []}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.db"
    with peerstore.open(path) as store:
        store.record_many({"observed_at": START + timedelta(seconds=n), "graph": graph(str(n))} for n in range(10))
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that takes a moment to back up."""
    path = tmp_path_factory.mktemp("large") / "mesh.db"
    with peerstore.open(path) as store:
        store.record_many(
            {"observed_at": START + timedelta(seconds=n), "graph": graph(str(n), text=f"{n} {'x' * 40_000}")}
            for n in range(600)
        )
    return path


def left(folder: Path) -> set[str]:
    """The names in a folder but for those of the database."""
    return {each.name for each in folder.iterdir() if not each.name.startswith("mesh.db")}


def views(store: peerstore.PeerStore) -> list[Any]:
    return [each.to_dict() for each in store.graphs(observer="till", every=True)]


def test_a_backup_is_the_store(database: Path, tmp_path: Path) -> None:
    with peerstore.open(database) as store:
        made = store.backup(tmp_path / "backup.db")
        told = views(store)
        status = store.status()
    assert (made.database, made.destination) == (str(database), str(tmp_path / "backup.db"))
    assert (made.observations, made.verified) == (10, "full")
    assert made.bytes == (tmp_path / "backup.db").stat().st_size
    assert made.to_dict().keys() == {"database", "destination", "bytes", "observations", "verified", "seconds"}
    assert left(tmp_path) == {"backup.db"}
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "backup.db")) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0x70656572,)
    with peerstore.open(tmp_path / "backup.db", create=False) as restored:
        assert views(restored) == told
        assert restored.status().last_recorded_at == status.last_recorded_at
        assert restored.record(graph("more"), START + timedelta(hours=1)).status == "recorded"
        assert restored.verify().ok


def test_a_copy_of_another_make_is_a_store(database: Path, tmp_path: Path) -> None:
    """One that is not in WAL mode, as SQLite makes it: its first reader is in nobody's way, its writer makes it so."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", [str(tmp_path / "copy.db")])
    with peerstore.open(tmp_path / "copy.db", create=False) as copy:
        assert copy.status().durability == {"journal_mode": "delete", "synchronous": "FULL"}
        assert copy.record(graph("more"), START + timedelta(hours=1)).status == "recorded"
        assert copy.status().durability == {"journal_mode": "wal", "synchronous": "FULL"}


def test_a_private_store_is_backed_up_too(tmp_path: Path) -> None:
    with peerstore.open(":memory:") as store:
        store.record(graph("a"), START)
        assert store.backup(str(tmp_path / "it's ä backup?.db"), full=False).verified == "quick"
    with peerstore.open(tmp_path / "it's ä backup?.db", create=False) as restored:
        assert restored.status().observations == 1


def test_while_others_write(tmp_path: Path) -> None:
    """Everything that was acknowledged before a backup began is in it, and every backup verifies."""
    database = tmp_path / "mesh.db"
    peerstore.open(database).close()
    acknowledged = [tmp_path / f"mesh.db.{number}" for number in range(WRITERS)]
    with ExitStack() as stack, peerstore.open(database) as store:
        for path in acknowledged:
            path.touch()
            process = subprocess.Popen([sys.executable, "-c", WRITER, str(database), path.name, str(path)], cwd=ROOT)
            stack.callback(process.wait)
            stack.callback(process.kill)
        while (begun := sum(path.stat().st_size for path in acknowledged)) < 20:
            assert process.poll() is None
        for number in range(BACKUPS):
            before = [path.stat().st_size for path in acknowledged]
            store.backup(tmp_path / "backup.db", force=bool(number))
            with peerstore.open(tmp_path / "backup.db", create=False) as copy:
                held = {each.observer: each.observations for each in copy.observer_summaries()}
            assert all(held.get(path.name, 0) >= count for path, count in zip(acknowledged, before, strict=True))
        assert sum(path.stat().st_size for path in acknowledged) > begun + 20, "nobody wrote meanwhile"


def refusals(folder: Path) -> Iterator[tuple[Path, str]]:
    (folder / "there").write_text("precious")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(folder / "elsewhere")
    (folder / "same").hardlink_to(folder / "mesh.db")
    (folder / "in-use").write_bytes(b"")
    (folder / "in-use-wal").write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    yield folder / "there", "there is already there: give another name, or --force to replace it"
    yield folder / "no" / "backup.db", f"there is no folder {folder}/no"
    yield folder / "folder", "folder is a folder: name a file in it"
    yield folder / "link", "link is already there"
    yield folder / "pipe", "pipe is already there"
    yield folder / "mesh.db", "mesh.db is the database itself, or belongs to it"
    yield folder / "folder" / ".." / "mesh.db", "mesh.db is the database itself"
    yield folder / "mesh.db-wal", "mesh.db-wal is the database itself, or belongs to it"
    yield folder / "same", "same is the database itself"
    yield folder / "in-use", "in-use-wal is there, which SQLite would take for a part of the new file"


def test_bad_destinations(database: Path, tmp_path: Path) -> None:
    found = list(refusals(tmp_path))
    names = left(tmp_path)
    with peerstore.open(database) as store:
        for place, sentence in found:
            with pytest.raises(peerstore.DestinationError, match=re.escape(sentence)):
                store.backup(place)
            result = run("--db", str(database), "backup", str(place))
            assert (result.exit_code, result.stdout) == (1, "")
            assert sentence in result.stderr
            if "already there" not in sentence:
                with pytest.raises(peerstore.DestinationError, match=re.escape(sentence)):
                    store.backup(place, force=True)
        with pytest.raises(peerstore.DestinationError, match="pipe is no regular file"):
            store.backup(tmp_path / "pipe", force=True)
        assert left(tmp_path) == names
        assert (tmp_path / "there").read_text() == "precious"
        store.backup(tmp_path / "there", force=True)
        store.backup(tmp_path / "link", force=True)
    assert not (tmp_path / "link").is_symlink()  # it took the place of the link itself
    assert left(tmp_path) == names
    with peerstore.open(tmp_path / "there", create=False) as restored:
        assert restored.status().observations == 10


def test_what_is_damaged_is_not_backed_up(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE document SET body = replace(body, '7', '8') WHERE body LIKE '%\"7\"%'")
    result = run("--db", str(database), "backup", str(tmp_path / "backup.db"))
    assert result.exit_code == 3
    assert re.search(r"no backup was made, since .*mesh\.db is damaged \(document \d+ does not match", result.stderr)
    assert left(tmp_path) == set()
    assert run("--db", str(database), "backup", "--quick", str(tmp_path / "backup.db")).exit_code == 0


def test_the_command(database: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "backup.db")
    result = run("--db", str(database), "backup", place)
    assert result.stderr == ""
    assert re.fullmatch(
        rf"backed up {database} to {place}: 0\.\d MB, 10 observations, verified, \d+\.\d s\n", result.stdout
    )
    told = answer("--db", str(database), "backup", place, "--force", "--quick")
    assert (told["observations"], told["verified"], told["destination"]) == (10, "quick", place)
    result = run("--db", str(tmp_path / "missing.db"), "backup", place)
    assert result.exit_code == 3
    assert "there is no database" in result.stderr


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


def test_where_it_cannot_be_written_nothing_is_left(large: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "--db", str(large), "backup", str(tmp_path / "backup.db")]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, preexec_fn=limit_file_size, check=False)
    assert done.returncode == 1
    assert done.stderr.decode() == f"Error: {tmp_path}/backup.db cannot be written: disk I/O error\n"
    assert left(tmp_path) == set()


def test_a_full_disk(large: Path, tmp_path: Path) -> None:
    """A disk of a megabyte, in a name space of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" || exit 77; shift; "$@"; echo "code $?"; ls -A "$0"'
    backup = [*COMMAND, "--db", str(large), "backup", str(disk / "backup.db")]
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(disk), str(disk), *backup]
    try:
        done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no disk can be mounted here")
    assert done.stdout == "code 1\n"
    assert done.stderr == f"Error: {disk}/backup.db cannot be written: the disk is full\n"


def interrupted(command: list[str], folder: Path, number: int) -> int:
    """Run a command, and send it a signal as soon as it has begun to write to the folder; again, if it was quicker."""
    for _ in range(5):
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not any(each.stat().st_size > 0 for each in folder.rglob("backup.db")):
                pass
            process.send_signal(number)
            if process.wait() != 0:
                return process.returncode
        (folder / "backup.db").unlink()
    return 0


def test_whatever_ends_it_no_half_file_has_the_name(large: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "--db", str(large), "backup", str(tmp_path / "backup.db")]
    assert interrupted(command, tmp_path, signal.SIGINT) == 130
    assert left(tmp_path) == set()
    assert interrupted(command, tmp_path, signal.SIGKILL) == -signal.SIGKILL
    assert not (tmp_path / "backup.db").exists()
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    with peerstore.open(tmp_path / "backup.db", create=False) as restored:
        assert restored.status().observations == 600


# PostgreSQL has its own.


def told_command(url: str, place: Path) -> str:
    with peerstore.open(url) as store, pytest.raises(peerstore.QuestionError) as caught:
        store.backup(place)
    return str(caught.value).split(" backs up: ", 1)[1]


@pytest.fixture
def postgresql() -> Iterator[Callable[[Callable[[str], str]], str]]:
    urls: list[str] = []

    def make(maker: Callable[[str], str]) -> str:
        urls.append(maker("postgresql"))
        return urls[-1]

    yield make
    for url in urls:
        drop_url(url)


def test_the_command_for_postgresql_works(postgresql: Any, tmp_path: Path) -> None:
    url, other = postgresql(fresh_url), postgresql(bare_url)
    with peerstore.open(url) as store:
        store.record_many({"observed_at": START + timedelta(seconds=n), "graph": graph(str(n))} for n in range(10))
        told = views(store)
    place = tmp_path / "my backup.dump"
    command = told_command(url, place)
    assert run("--db", url, "backup", str(place)).exit_code == 2
    try:
        subprocess.run(shlex.split(command), check=True, capture_output=True)
        plain = other.replace("+psycopg", "")
        subprocess.run(["pg_restore", "--no-owner", f"--dbname={plain}", str(place)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no pg_dump here")
    with peerstore.open(other, create=False) as restored:
        assert views(restored) == told
        assert restored.verify().ok


def test_no_secret_is_told(postgresql: Any, tmp_path: Path) -> None:
    url = postgresql(fresh_url) + "&password=canary&application_name=x"
    command = told_command(url, tmp_path / "a.dump")
    assert "canary" not in command
    assert "application_name=x" in command
    result = run("--db", url, "backup", "a.dump")
    assert "canary" not in result.stderr
    assert json.dumps(command.replace(str(tmp_path / "a.dump"), "a.dump"))[1:-1] in result.stderr
