"""Power cuts: whatever of the unsynced writes the disk kept, nothing acknowledged is lost and nothing is there by
half."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import peerstore
from tests.faults.children import CARELESS, HASTY, NORMAL, SOUND, acknowledged, command, kept_in
from tests.faults.oracle import Expected, batches
from tests.faults.power import Event, recorded, states
from tests.faults.privileges import memory_folder
from tests.faults.reporting import tried

FEW, MANY = batches(8), batches(60)


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory_folder() as made:
        yield made


class PowerCuts:
    """Power cuts at any moment while batches are recorded into a new store."""

    def __init__(self, folder: Path, many: bool, preamble: str = SOUND) -> None:
        given = MANY if many else FEW
        self.given, self.preamble, self.expected = given, preamble, Expected(given)
        self.disk, self.after = folder / "disk", folder / "after"
        self.disk.mkdir()
        file = kept_in(folder, given)
        self.events: list[Event] = recorded(command(str(self.disk / "store.db"), file, preamble), self.disk)
        self.findings: Counter[str] = Counter()
        self.red = 0
        self.acknowledged: set[int] = set()

    def go(self, count: int, seed: int) -> None:
        seen = set()
        for files, said in states(self.events, str(self.disk), count, seed):
            told = acknowledged(said)
            self.acknowledged.update(told)
            state = (tuple(sorted(files.items())), len(told))
            if state in seen:
                continue
            seen.add(state)
            self.after.mkdir()
            for name, content in files.items():
                (self.after / name).write_bytes(content)
            found = self.expected.findings(str(self.after / "store.db"), told)
            self.red += bool(found)
            self.findings.update(" ".join(word for word in each.split()[:4] if not word.isdigit()) for each in found)
            shutil.rmtree(self.after)
        tried(
            "power cuts",
            build=next(name for name in ("SOUND", "CARELESS", "NORMAL", "HASTY") if globals()[name] == self.preamble),
            batches=len(self.given),
            calls=len(self.events),
            states=count,
            distinct=len(seen),
            red=self.red,
            findings=self.findings,
        )


@pytest.mark.parametrize(
    ("many", "count"), [(False, 25), pytest.param(True, 600, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_nothing_acknowledged_is_lost(folder: Path, many: bool, count: int) -> None:
    cuts = PowerCuts(folder, many)
    cuts.go(count, seed=1)
    assert cuts.findings == {}
    assert len(cuts.acknowledged) > len(cuts.given) * 3 // 4


@pytest.mark.parametrize(
    "preamble",
    [
        pytest.param(CARELESS, id="OFF"),
        pytest.param(HASTY, id="acknowledges early", marks=pytest.mark.slow),
        pytest.param(NORMAL, id="NORMAL", marks=pytest.mark.slow),
    ],
)
def test_power_cuts_find_a_broken_build(folder: Path, preamble: str) -> None:
    cuts = PowerCuts(folder, many=False, preamble=preamble)
    cuts.go(20, seed=2)
    assert cuts.red > 0


@pytest.mark.slow
def test_an_upgrade_that_the_power_cut_off_happened_or_did_not(folder: Path) -> None:
    """From the older schemas that are kept beside the tests."""
    assets = Path(__file__).parents[1] / "assets"
    source = max(assets.glob("schema_*.db"))
    disk = folder / "disk"
    disk.mkdir()
    shutil.copy(source, disk / "store.db")
    begin = there_before(disk / "store.db")
    program = "import sys, peerstore; peerstore.open(sys.argv[1]).close(); print('upgraded', flush=True)"
    events = recorded([sys.executable, "-c", program, str(disk / "store.db")], disk)
    with peerstore.open(disk / "store.db") as store:
        digest = store.content_digest()
    count = 30
    for number, (files, _) in enumerate(states([*begin, *events], str(disk), count, seed=3, first=len(begin))):
        after = folder / str(number)
        after.mkdir()
        for name, content in files.items():
            (after / name).write_bytes(content)
        with peerstore.open(after / "store.db") as store:
            assert store.verify().findings == []
            assert store.content_digest() == digest
        shutil.rmtree(after)
    tried("power cuts while upgrading", states=count, calls=len(events))


BACKUP = "import sys\nfrom peerstore.cli import main\nmain(sys.argv[1:], prog_name='peerstore')"
UNSYNCED = f"import peerstore.exporting.destination as broken\nbroken._sync = lambda path: None\n{BACKUP}"


def wrong_backups(folder: Path, force: bool, program: str = BACKUP) -> list[str]:
    """What is wrong with a backup after power cuts: once it is told to be made it is there; it is whole; where one was
    to be replaced, the old one or the new one is there."""
    disk, after = folder / "disk", folder / "after"
    disk.mkdir()
    events: list[Event] = []
    with peerstore.open(folder / "store.db") as store:
        for batch in FEW[:4]:
            store.record_many(batch)
        old = store.content_digest()
        if force:
            store.backup(disk / "backup.db")
            events += there_before(disk / "backup.db")
        for batch in FEW[4:]:
            store.record_many(batch)
        new = store.content_digest()
    begun, arguments = len(events), ["--db", str(folder / "store.db"), "backup", str(disk / "backup.db")]
    events += recorded([sys.executable, "-c", program, *arguments, *(["--force"] if force else [])], disk)
    findings: list[str] = []
    there = 0
    # Until shortly before the end nothing has the name.
    for files, said in states(events, str(disk), 60, seed=4, first=max(begun, len(events) - 12)):
        findings += [f"{name} is there too" for name in files if name != "backup.db"]
        if "backup.db" not in files:
            findings += ["it is not there"] if said or force else []
            continue
        there += 1
        after.mkdir()
        (after / "backup.db").write_bytes(files["backup.db"])
        try:
            with peerstore.open(after / "backup.db", create=False) as store:
                findings += store.verify().findings
                if store.content_digest() not in ((new,) if said or not force else (old, new)):
                    findings.append("it has another content")
        except peerstore.DatabaseError as error:
            findings.append(f"it cannot be used: {error}")
        shutil.rmtree(after)
    tried("power cuts while backing up", force=force, states=60, with_a_backup=there, findings=len(findings))
    assert there > 0
    return findings


def there_before(path: Path) -> list[Event]:
    """A file that was on the disk before anything happened."""
    made = [Event("create", str(path)), Event("write", str(path), path.read_bytes())]
    return [*made, Event("sync", str(path)), Event("sync", str(path.parent))]


@pytest.mark.slow
@pytest.mark.parametrize("force", [False, True])
def test_a_backup_is_whole_or_is_not_there(folder: Path, force: bool) -> None:
    assert wrong_backups(folder, force) == []


@pytest.mark.slow
def test_power_cuts_find_a_backup_that_is_not_synced(folder: Path) -> None:
    assert wrong_backups(folder, False, UNSYNCED) != []
