"""Upgrades that are killed, that fail, that several run at once, and that others write beside."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import peerstore
from peerstore import schema
from tests.conftest import ENGINES, bare_url, drop_url, fresh_url
from tests.databases import plain, relations, rows
from tests.faults.children import ROOT, SOUND, acknowledged, command, kept_in
from tests.faults.oracle import batches
from tests.faults.privileges import memory_folder, needs_strace
from tests.faults.reporting import tried
from tests.old_databases import ASSETS, KILLED_UPGRADE, old_database

UPGRADE = "import sys, peerstore; peerstore.upgrade(sys.argv[1])"
SELDOM = ("fdatasync", "fsync", "ftruncate", "unlink", "link", "rmdir", "mkdir")
BOTH = pytest.mark.parametrize("engine", ENGINES)


class Old:
    """A database of an older schema, and what may be found of it after an upgrade was cut off."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.rows, self.relations = rows(url), relations(url)
        self.revision = self._revision()

    def check(self) -> str:
        """How it stands: exactly as it was, or upgraded. What a backup's name stands for is whole."""
        found = self._revision()
        assert found in (self.revision, schema.HEAD)
        if found == self.revision:
            assert relations(self.url) == self.relations
            assert rows(self.url) == self.rows
        else:
            assert rows(self.url).items() >= self.rows.items()
        for backup in self.backups():
            with plain(f"sqlite:///{backup}") as connection:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert rows(f"sqlite:///{backup}") == self.rows
        return str(found)

    def finish(self) -> str:
        """Upgrade it, whatever was left; the digest of its content."""
        with peerstore.open(self.url) as store:
            assert store.status().schema == schema.HEAD
            assert store.verify().ok
            return store.content_digest()

    def backups(self) -> list[Path]:
        """The backups beside it."""
        if not self.url.startswith("sqlite"):
            return []
        file = Path(str(sa.make_url(self.url).database))
        return list(file.parent.glob(f"{file.name}.before-*"))

    def _revision(self) -> Any:
        with plain(self.url) as connection:
            return schema.revision(connection)


@contextmanager
def an_old_one(engine: str, asset: Path = ASSETS[0]) -> Iterator[Old]:
    """One on an engine: on SQLite, in memory, what an older version made."""
    if engine == "sqlite":
        with memory_folder() as folder:
            yield Old(f"sqlite:///{shutil.copyfile(asset, folder / 'mesh.db')}")
        return
    url = bare_url(engine)
    old_database(url, asset.stem[-4:])
    yield Old(url)
    drop_url(url)


def digest_of(engine: str, asset: Path = ASSETS[0]) -> str:
    """The digest that the content has after an upgrade that nothing disturbed."""
    with an_old_one(engine, asset) as old:
        return old.finish()


# Killed.


@pytest.mark.parametrize(
    ("engine", "numbers"),
    [
        ("sqlite", (22,)),
        pytest.param("sqlite", range(1, 1000), marks=pytest.mark.slow),
        pytest.param("postgresql", range(1, 1000, 3), marks=pytest.mark.slow),
    ],
)
def test_killed_before_a_statement(engine: str, numbers: Any) -> None:
    digest, stood = digest_of(engine), Counter[str]()
    for number in numbers:
        with an_old_one(engine) as old:
            done = subprocess.run([sys.executable, "-c", KILLED_UPGRADE, old.url, str(number)], check=False, cwd=ROOT)
            stood[old.check()] += 1
            assert old.finish() == digest
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL
    tried("upgrade killed before a statement", engine=engine, killed=sum(stood.values()))
    assert stood["0002"] >= 1


@cache
def calls_of_an_upgrade() -> Counter[str]:
    """How often an upgrade makes each of the calls that change a disk."""
    with an_old_one("sqlite") as old:
        log = Path(str(sa.make_url(old.url).database)).with_name("log")
        kinds = ",".join(("pwrite64", *SELDOM))
        subprocess.run(
            [needs_strace(), "-f", "-o", str(log), f"-etrace={kinds}", *upgrading(old.url)], check=True, cwd=ROOT
        )
        return Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))


def upgrading(url: str) -> list[str]:
    return [sys.executable, "-B", "-c", UPGRADE, url]


def injected(url: str, call: str, number: int, fault: str) -> subprocess.CompletedProcess[str]:
    """An upgrade whose n-th call of a kind meets a fault."""
    traced = [needs_strace(), "-f", "-o", os.devnull, f"-etrace={call}", f"--inject={call}:{fault}:when={number}"]
    return subprocess.run([*traced, *upgrading(url)], check=False, capture_output=True, text=True, cwd=ROOT)


def places(call: str, density: int | None) -> list[int]:
    """Some of the times that an upgrade makes a call, evenly spread; all if there are to be no fewer."""
    count = calls_of_an_upgrade()[call]
    if density is None:
        return list(range(1, count + 1))
    return sorted({1 + count * (2 * part + 1) // (2 * density) for part in range(density)})


@pytest.mark.parametrize(
    ("call", "density"),
    [
        ("pwrite64", 2),
        ("link", None),
        pytest.param("pwrite64", 60, marks=pytest.mark.slow),
        *(pytest.param(call, None, marks=pytest.mark.slow) for call in SELDOM),
    ],
)
def test_killed_at_a_call_that_writes(call: str, density: int | None) -> None:
    digest, stood, left = digest_of("sqlite"), Counter[str](), 0
    for number in places(call, density):
        with an_old_one("sqlite") as old:
            done = injected(old.url, call, number, "signal=KILL")
            assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (call, number, done.stderr)
            stood[old.check()] += 1
            left += len(old.backups())
            assert old.finish() == digest, (call, number)
    tried("upgrade killed at the n-th call", call=call, stood=str(dict(stood)), backups_left=left)
    assert sum(stood.values()) >= 1


@pytest.mark.parametrize(
    ("call", "error", "density"),
    [
        ("pwrite64", "ENOSPC", 1),
        pytest.param("pwrite64", "ENOSPC", 20, marks=pytest.mark.slow),
        pytest.param("pwrite64", "EIO", 20, marks=pytest.mark.slow),
        pytest.param("fdatasync", "EIO", None, marks=pytest.mark.slow),
        pytest.param("fsync", "EIO", None, marks=pytest.mark.slow),
    ],
)
def test_an_error_of_the_disk_leaves_it_old_or_new(call: str, error: str, density: int | None) -> None:
    digest, stood = digest_of("sqlite"), Counter[str]()
    for number in places(call, density):
        with an_old_one("sqlite") as old:
            done = injected(old.url, call, number, f"error={error}")
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1]
                assert re.match(r"peerstore\.errors\.\w*Error: ", last), done.stderr
            found = old.check()
            assert found == schema.HEAD or done.returncode
            stood[found] += 1
            assert old.finish() == digest, (call, number)
    tried("error of the disk in an upgrade", call=call, error=error, stood=str(dict(stood)))
    assert sum(stood.values()) >= 1


# At once.

COMMAND = [sys.executable, "-m", "peerstore", "--db"]


@BOTH
@pytest.mark.parametrize("rounds", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_four_at_once_all_succeed(engine: str, rounds: int) -> None:
    digest = digest_of(engine)
    for _ in range(rounds):
        with an_old_one(engine) as old:
            started = [
                subprocess.Popen(
                    [*COMMAND, old.url, "upgrade"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
                )
                for _ in range(4)
            ]
            ended = [(process.communicate(timeout=120), process.returncode) for process in started]
            assert [code for _, code in ended] == [0] * 4, ended
            assert sum(b"is upgraded from" in out for (out, _), _ in ended) == 1
            assert old.check() == schema.HEAD
            assert len(old.backups()) == (engine == "sqlite")
            assert old.finish() == digest
    tried("four upgrades at once", engine=engine, rounds=rounds)


# Others write meanwhile.

GIVEN = batches(900)
LATER = """
import sys
import peerstore
from peerstore import schema
known = schema.HEAD
schema.HEAD = "9999"
def steps(connection, before, tell):
    assert before == known
    connection.exec_driver_sql("CREATE TABLE mark AS SELECT count(*) AS observations FROM observation_log")
    connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
schema._run_revisions = steps
print("ready", flush=True)
sys.stdin.readline()
assert peerstore.upgrade(sys.argv[1]) == (known, "9999")
"""
"""A version to come: its step counts what there is, and nothing may come after that by those who know it not."""
UNAWARE = "from peerstore import schema\nschema._check_revision = lambda *_: None\n"


def writers_and_an_upgrade(engine: str, folder: Path, preamble: str) -> tuple[int, int, int, list[str]]:
    """How many observations were acknowledged, and there when it was upgraded, and afterwards; what writers said."""
    url, file = fresh_url(engine), kept_in(folder, GIVEN)
    upgrade = subprocess.Popen(
        [sys.executable, "-c", LATER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert upgrade.stdout is not None
    assert upgrade.stdout.readline() == "ready\n"
    writers = [
        subprocess.Popen(
            command(url, file, preamble, order=list(range(start, len(GIVEN), 3)), step=True),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for start in range(3)
    ]
    said = [each.stdout for each in writers if each.stdout is not None]
    orders = [each.stdin for each in writers if each.stdin is not None]
    assert [each.readline() for each in said] == ["ready\n"] * 3
    assert upgrade.stdin is not None
    left = 5
    for turn in range(len(GIVEN) // 3):
        if turn == 5:
            upgrade.stdin.write("go\n")
            upgrade.stdin.flush()
        left -= upgrade.poll() is not None
        if not left:
            break
        for each in orders:
            with suppress(BrokenPipeError):
                each.write("\n")
                each.flush()
        time.sleep(0.02)
    assert upgrade.wait(60) == 0
    for each in orders:
        with suppress(BrokenPipeError):
            each.close()
    told = [line.strip() for each in said for line in each]
    for writer in writers:
        writer.wait(60)
    with plain(url) as connection:
        marked = connection.exec_driver_sql("SELECT observations FROM mark").scalar_one()
        there = connection.exec_driver_sql("SELECT count(*) FROM observation_log").scalar_one()
        connection.exec_driver_sql("DROP TABLE mark")
    recorded = sum(len(GIVEN[number]) for number in acknowledged(told))
    for backup in Path(str(sa.make_url(url).database)).parent.glob("*.before-*") if engine == "sqlite" else ():
        with plain(f"sqlite:///{backup}") as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM observation_log").scalar_one() == marked
    drop_url(url)
    return recorded, int(marked), int(there), [line for line in told if line.startswith("error")]


@BOTH
def test_nobody_writes_under_a_schema_that_he_does_not_know(engine: str, tmp_path: Path) -> None:
    """What was acknowledged was there when it was upgraded (and is in the backup); afterwards nobody wrote."""
    told, marked, there, errors = writers_and_an_upgrade(engine, tmp_path, SOUND)
    tried("upgrade while others write", engine=engine, acknowledged=told, marked=marked)
    assert told == marked == there
    assert 0 < told < sum(map(len, GIVEN))
    assert len(errors) == 3
    assert all(re.search("at schema 9999 now.*nothing is recorded into it", error) for error in errors)


@pytest.mark.slow
def test_a_build_that_does_not_look_is_found(tmp_path: Path) -> None:
    told, marked, there, errors = writers_and_an_upgrade("sqlite", tmp_path, UNAWARE)
    assert there > marked
    assert told == there
    assert errors == []
