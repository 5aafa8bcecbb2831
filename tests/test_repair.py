"""Repair: what is rescued is as it was recorded, what is not is told, and the damaged database stays as it is.

Each check of what was rescued is one function, :func:`rescued`; broken repairs, which it must find, are its negative
controls.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

import peerstore
from peerstore.interning import digest
from peerstore.rescue import chains, days, source
from tests import histories
from tests.commands import answer, run
from tests.conftest import ENGINES, bare_url, drop_url, fresh_url
from tests.databases import plain
from tests.test_verification import DAMAGE, FORGED, MUTATIONS, history, report

START = datetime(2026, 3, 1, tzinfo=UTC)
ASSETS = sorted((Path(__file__).parent / "assets").glob("*.db"))
PAGE = 4096
Told = dict[tuple[str, str, int], str]


def told(url: str | Path, folder: Path) -> Told:
    """Every observation of a store, with all that is recorded of it, by its observer, time and sequence."""
    place = folder / "told.ndjson"
    with peerstore.open(url, create=False) as store:
        store.export(place, recorded_at=True, force=True)
    lines = [(json.loads(line), line) for line in place.read_text(encoding="utf-8").splitlines()]
    return {(each["observer"], each["observedAt"], each.get("sequence", 0)): line for each, line in lines}


def covers(lost: peerstore.Lost, observer: str, at: str) -> bool:
    when = datetime.fromisoformat(at)
    begun, ended = lost.since is None or lost.since <= when, lost.until is None or when <= lost.until
    return lost.observer in (observer, None) and begun and ended


def rescued(damaged: str | Path, whole: Told, folder: Path, new: str | Path | None = None) -> peerstore.Repaired:
    """Repair a database, and hold what came of it against what was recorded. The repair itself verifies the new one."""
    target = folder / "new.db" if new is None else new
    made = peerstore.repair(damaged, target, markers=False)
    found = told(target, folder)
    if new is None:
        target.unlink()  # type: ignore[union-attr]
    assert found.items() <= whole.items(), "what was rescued is not what was recorded"
    gone = whole.keys() - found.keys()
    assert len(found) == made.observations
    assert made.lost_observations >= len(gone) or any(each.observations is None for each in made.lost)
    assert made.ok == (not gone)
    for observer, at, _ in gone:
        assert any(covers(each, observer, at) for each in made.lost), (observer, at)
    return made


def share(made: peerstore.Repaired) -> float:
    return made.observations / (made.observations + made.lost_observations)


def settled(path: Path) -> bytes:
    """The bytes of a database that is one file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    return path.read_bytes()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Told]:
    """A database of two observers and two days, and what it tells."""
    folder = tmp_path_factory.mktemp("small")
    with peerstore.open(folder / "whole.db") as store:
        store.record_many(history())
    return settled(folder / "whole.db"), told(folder / "whole.db", folder)


@pytest.mark.parametrize("engine", ENGINES)
def test_of_a_whole_database_everything_is_rescued(engine: str, tmp_path: Path) -> None:
    """Onto the other engine, in which the store is one of its own."""
    url, new = fresh_url(engine), bare_url("postgresql" if engine == "sqlite" else "sqlite")
    with peerstore.open(url) as store:
        store.record_many([*history(), {"observed_at": START, "graph": {"remotePeers": "none"}}])
        given, rejects = store.content_digest(), list(store.rejects())
    assert len(rejects) == 1
    made = rescued(url, told(url, tmp_path), tmp_path, new)
    assert made.ok
    assert (made.rejects, made.lost, made.markers) == (1, [], 0)
    with peerstore.open(new, create=False) as store:
        assert store.content_digest() == given
        assert [each.to_dict() for each in store.rejects()] == [each.to_dict() for each in rejects]
        assert store.verify().ok
        later = store.record(
            {"localPeer": {"peerKey": "north", "connections": []}, "remotePeers": []}, datetime.now(UTC)
        )
        assert later.status == "recorded"
    ids = [connection.exec_driver_sql(STORE_ID).scalar() for each in (url, new) for connection in opened(each)]
    assert ids[0] != ids[1]
    drop_url(url)
    drop_url(new)


STORE_ID = "SELECT value FROM store_info WHERE name = 'store_id'"


def opened(url: str) -> Iterator[sa.Connection]:
    with plain(url) as connection:
        yield connection


QUICK_ON_A_SERVER = {"a change is gone", "the last observation is gone"}
DAMAGED = [
    pytest.param(engine, what, marks=[pytest.mark.slow] if engine != "sqlite" and what not in QUICK_ON_A_SERVER else [])
    for engine in ENGINES
    for what in DAMAGE
]


@pytest.mark.parametrize(("engine", "what"), DAMAGED)
def test_damaged_rows_are_rescued_or_told(engine: str, what: str, tmp_path: Path) -> None:
    url = fresh_url(engine)
    with peerstore.open(url) as store:
        store.record_many(history())
    whole = told(url, tmp_path)
    with plain(url) as connection:
        hexadecimal = digest(FORGED.encode()).hex()
        binary = f"x'{hexadecimal}'" if engine == "sqlite" else f"'\\x{hexadecimal}'::bytea"
        for statement in DAMAGE[what]:
            connection.exec_driver_sql(statement.replace("{digest}", binary))
    if what == "the name of the observer":  # then what is lost is told of that name
        whole = {("nort" if key[0] == "north" else key[0], *key[1:]): line for key, line in whole.items()}
    made = rescued(url, whole, tmp_path)
    assert share(made) >= LEAST_RESCUED.get(what, 0.7)
    drop_url(url)


LEAST_RESCUED = {
    "an observation that nobody made": 1,
    "a digest of a day": 1,
    "a document and its digest": 0.4,  # a day of both observers
    "the name of the observer": 0.5,
}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("count", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_of_a_mutated_file_nothing_false_is_rescued(
    small: tuple[bytes, Told], tmp_path: Path, mutation: Callable[[bytearray, random.Random], None], count: int
) -> None:
    """And the file stays as it is, with nothing beside it."""
    data, whole = small
    chance = random.Random(f"repair {mutation.__name__} {count}")
    kept, refused, shares = 0, 0, []
    for _ in range(count):
        mutant = bytearray(data)
        mutation(mutant, chance)
        path = tmp_path / "mutant.db"
        path.write_bytes(mutant)
        try:
            made = rescued(path, whole, tmp_path)
        except peerstore.DatabaseError:
            refused += 1
        else:
            kept += made.ok
            shares.append(share(made))
        assert path.read_bytes() == mutant
        assert {each.name for each in tmp_path.iterdir()} <= {"mutant.db", "told.ndjson", "told.ndjson.manifest.json"}
    report("repairs", kind=mutation.__name__, tried=count, refused=refused, everything=kept)
    if mutation.__name__ == "flip":
        assert sum(shares) / count > 0.7


def trusting_days(_: Path) -> AbstractContextManager[Any]:
    """Every day is taken for one whose digest is right."""
    true = days._day

    def day(found: Any, key: str, _: Any, *rows: Any, **named: Any) -> Any:
        return true(found, key, "certified", *rows, missing=0)

    return patch.object(days, "_day", day)


def trusting_documents(path: Path) -> AbstractContextManager[Any]:
    """Every document is taken for one whose digest is right."""
    with closing(sqlite3.connect(path)) as connection:
        stored = {body.encode(): key for key, body in connection.execute("SELECT digest, body FROM document")}
    return patch.object(source, "digest", lambda body: stored.get(body) or digest(body))


BROKEN = {
    "digests of days": (trusting_days, "UPDATE observation_log SET max_silence = 7 WHERE observer_id = 1"),
    "digests of documents": (
        trusting_documents,
        "UPDATE document SET body = replace(body, 'Device 3', 'Device 4')",
    ),
}
"""What a repair trusts that is broken, and damage by which that is found."""


def damaged(folder: Path, data: bytes, statement: str) -> Path:
    """A database with these bytes, changed by a statement."""
    path = folder / "mutant.db"
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    return path


@pytest.mark.parametrize("broken", BROKEN)
def test_a_repair_that_trusts_what_it_reads_is_found(small: tuple[bytes, Told], tmp_path: Path, broken: str) -> None:
    """Of damage that SQLite itself does not see."""
    data, whole = small
    trusting, statement = BROKEN[broken]
    path = damaged(tmp_path, data, statement)
    rescued(path, whole, tmp_path)
    with trusting(path), pytest.raises(AssertionError, match="not what was recorded"):
        rescued(path, whole, tmp_path)


def test_a_repair_that_reports_nothing_is_found(small: tuple[bytes, Told], tmp_path: Path) -> None:
    data, whole = small
    path = damaged(tmp_path, data, "DELETE FROM observation_log WHERE observer_id = 1 AND observed_at % 3 = 0")
    assert not rescued(path, whole, tmp_path).ok
    with patch.object(chains.ObserverHistory, "losses", []), pytest.raises(AssertionError):
        rescued(path, whole, tmp_path)


def rhythm(hours: int) -> Iterator[dict[str, Any]]:
    """An observer that says every few seconds what it sees: mostly what it saw before."""
    chance = random.Random(11)
    there, load = set(range(30)), dict.fromkeys(range(30), 0)
    for second in range(0, hours * 3600, 15):
        if chance.random() < 0.6:
            there ^= {chance.randrange(30)}
            load[chance.randrange(30)] = second // 60
        peers = [
            {
                "peerKey": f"peer-{number}",
                "deviceName": f"Device {number}",
                "peerMetadata": {"load": load[number], "note": "-" * 50},
                "connections": [
                    {
                        "id": f"peer-{number}<->watcher:Bluetooth",
                        "peer1": f"peer-{number}",
                        "peer2": "watcher",
                        "connectionType": "Bluetooth",
                    }
                ],
            }
            for number in sorted(there)
        ]
        graph = {"localPeer": {"peerKey": "watcher", "connections": []}, "remotePeers": peers}
        yield {"observed_at": START + timedelta(seconds=second), "graph": graph, "max_silence": 45}


def leaves(path: Path, table: str) -> list[int]:
    """The pages in which rows of a table or an index stand, by SQLite's own account."""
    asked = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno"
    with closing(sqlite3.connect(path)) as connection:
        try:
            return [number for (number,) in connection.execute(asked, [table])]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")


def without_page(data: bytes, number: int) -> bytes:
    start = (number - 1) * PAGE
    return data[:start] + bytes(PAGE) + data[start + PAGE :]


REDUNDANT = ("element_change", "ix_element_change_timeline", "keyframe", "day_digest", "element", "observer", "reject")


def test_a_page_costs_no_more_than_what_stands_in_it_alone(tmp_path: Path) -> None:
    """Of the log that is its rows; what is kept twice, or follows from the rest, is all there."""
    path = tmp_path / "whole.db"
    with peerstore.open(path) as store:
        store.record_many(rhythm(1))
    data, whole = settled(path), told(path, tmp_path)
    pages = leaves(path, "observation_log")
    path.write_bytes(without_page(data, pages[len(pages) // 2]))
    made = rescued(path, whole, tmp_path)
    assert 0 < made.lost_observations < 160
    [lost] = made.lost
    assert lost.observations == made.lost_observations
    for number in (1, leaves_of(data, "element_change", tmp_path)[1], leaves_of(data, "element", tmp_path)[0]):
        path.write_bytes(without_page(data, number))
        assert rescued(path, whole, tmp_path).ok, number


def leaves_of(data: bytes, table: str, folder: Path) -> list[int]:
    (folder / "counted.db").write_bytes(data)
    return leaves(folder / "counted.db", table)


@pytest.mark.slow
def test_of_two_megabytes_that_lose_a_page_99_of_100_observations_are_rescued(tmp_path: Path) -> None:
    path = tmp_path / "whole.db"
    with peerstore.open(path) as store:
        store.record_many(rhythm(60))
    data, whole = settled(path), told(path, tmp_path)
    assert len(data) > 2_000_000
    chance = random.Random(2)
    for table in ("observation_log", "document", *chance.sample(REDUNDANT, 3)):
        pages = leaves_of(data, table, tmp_path)
        for number in chance.sample(pages, 1):
            path.write_bytes(without_page(data, number))
            made = rescued(path, whole, tmp_path)
            assert made.ok or table not in REDUNDANT, (table, number)
            # A document stands once, and every graph needs all of its own.
            assert share(made) >= (0.95 if table == "document" else 0.99), (table, number)


def test_what_stands_in_the_log_alone_is_rescued_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "mesh.db"
    with peerstore.open(path) as store:
        store.record_many(history())
        for name in ("mesh.db", "mesh.db-wal"):
            shutil.copyfile(tmp_path / name, tmp_path / f"copy-of-{name}")
    damaged = tmp_path / "copy-of-mesh.db"
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir() if each.name.startswith("copy-of")}
    assert len(before["copy-of-mesh.db-wal"]) > len(before["copy-of-mesh.db"])
    made = peerstore.repair(damaged, tmp_path / "new.db")
    assert (made.ok, made.observations) == (True, 60)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir() if each.name.startswith("copy-of")} == before


def test_a_damaged_log_hides_nothing_that_was_recorded_after_the_damage(tmp_path: Path) -> None:
    """SQLite reads the log up to there alone."""
    path, damaged = tmp_path / "mesh.db", tmp_path / "damaged.db"
    with peerstore.open(path) as store:
        given = list(history())
        for start in range(0, len(given), 5):
            store.record_many(given[start : start + 5])
        data, log = path.read_bytes(), (tmp_path / "mesh.db-wal").read_bytes()
    whole, chance = told(path, tmp_path), random.Random(4)
    for _ in range(3):
        torn = bytearray(log)
        torn[chance.randrange(len(log) // 4, len(log) // 2)] ^= 16
        damaged.write_bytes(data)
        (tmp_path / "damaged.db-wal").write_bytes(torn)
        assert share(rescued(damaged, whole, tmp_path)) > 0.7


@pytest.fixture(scope="module")
def once_torn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """A database of an observer that was there all the time, and of which twenty minutes in the midst are lost."""
    path = tmp_path_factory.mktemp("torn") / "torn.db"
    with peerstore.open(path) as store:
        store.record_many(unlimited())
    whole = told(path, path.parent)
    settled(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        first, last = (int((MIDST + minutes).timestamp() * 10**6) for minutes in (-TEN, TEN))
        connection.execute("DELETE FROM observation_log WHERE observed_at >= ? AND observed_at < ?", (first, last))
    return path, whole


TEN = timedelta(minutes=10)
MIDST = START + timedelta(minutes=30)


def unlimited() -> Iterator[dict[str, Any]]:
    """An hour without declared limits of silence."""
    return ({**each, "max_silence": None} for each in rhythm(1))


@pytest.fixture
def torn(once_torn: tuple[Path, Told], tmp_path: Path) -> tuple[Path, Told]:
    path = tmp_path / "torn.db"
    shutil.copyfile(once_torn[0], path)
    return path, once_torn[1]


def test_a_lost_stretch_is_unobserved(torn: tuple[Path, Told], tmp_path: Path) -> None:
    path, whole = torn
    made = rescued(path, whole, tmp_path)
    assert share(made) > 0.6
    lost = next(each for each in made.lost if covers(each, "watcher", MIDST.isoformat()))
    marked = peerstore.repair(path, tmp_path / "marked.db")
    assert marked.markers > 0
    assert (marked.observations, marked.lost) == (made.observations, made.lost)
    with peerstore.open(tmp_path / "marked.db", create=False) as store:
        assert store.status().observations == marked.observations + marked.markers
        assert lost.since is not None
        assert lost.until is not None
        for at, watching in ((lost.since, True), (MIDST, False), (lost.until, True)):
            for known_at in (None, datetime.now(UTC)):
                assert [each.watching for each in store.presence_at(at, known_at=known_at).observers] == [watching]
    peerstore.repair(path, tmp_path / "unmarked.db", markers=False)
    with peerstore.open(tmp_path / "unmarked.db", create=False) as store:
        assert [each.watching for each in store.presence_at(MIDST).observers] == [True]  # why markers are the default


def test_the_lost_stretch_is_recorded_from_a_backup(torn: tuple[Path, Told], tmp_path: Path) -> None:
    path, whole = torn
    with peerstore.open(tmp_path / "backup.db") as backup:
        backup.record_many(unlimited())
    peerstore.repair(path, tmp_path / "new.db", markers=False)
    with (
        peerstore.open(tmp_path / "new.db", create=False) as store,
        peerstore.open(tmp_path / "backup.db", create=False) as backup,
    ):
        assert store.record_from(backup).conflicts == 0
        assert store.status().observations == len(whole)
        assert store.content_digest() == backup.content_digest()
        assert store.verify().ok


def test_a_peer_whose_document_is_lost_is_not_made_up(small: tuple[bytes, Told], tmp_path: Path) -> None:
    data, whole = small
    path = damaged(tmp_path, data, "DELETE FROM document WHERE body LIKE '%Device 7%' AND body LIKE '%\"load\":3%'")
    made = rescued(path, whole, tmp_path)
    assert {each.reason for each in made.lost} == {"a document or an element of its graphs is lost"}
    assert share(made) > 0.8


@pytest.mark.parametrize("asset", ASSETS, ids=lambda path: path.stem)
def test_older_schemas_are_rescued_too(asset: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    shutil.copyfile(asset, path)
    made = peerstore.repair(path, tmp_path / "new.db")
    assert made.ok
    assert path.read_bytes() == asset.read_bytes()
    with peerstore.open(path) as upgraded, peerstore.open(tmp_path / "new.db", create=False) as new:
        assert new.content_digest() == upgraded.content_digest()
        assert new.status().observations == made.observations > 0


def test_the_command_tells_what_came_of_it(torn: tuple[Path, Told], tmp_path: Path) -> None:
    path, _ = torn
    new = tmp_path / "new.db"
    result = run("--db", str(path), "repair", "--to", str(new))
    assert result.exit_code == 1
    assert "NOT ALL rescued" in result.stdout
    assert "observer watcher, from 2026-03-01T00:" in result.stdout
    assert run("--db", str(new), "verify").exit_code == 0
    given = answer("--db", str(path), "repair", "--to", str(tmp_path / "again.db"), code=1)
    assert (given["ok"], given["destination"]) == (False, str(tmp_path / "again.db"))
    assert given["lost"][0].keys() == {"observer", "since", "until", "observations", "reason"}
    assert given["lost_observations"] == sum(each["observations"] for each in given["lost"])
    whole = answer("--db", str(new), "repair", "--to", str(tmp_path / "whole.db"))
    assert (whole["ok"], whole["lost"]) == (True, [])


def test_what_cannot_be_done_is_said_and_leaves_nothing(small: tuple[bytes, Told], tmp_path: Path) -> None:
    path, new = tmp_path / "mesh.db", tmp_path / "new.db"
    path.write_bytes(small[0])
    (tmp_path / "text.db").write_text("hello")
    (tmp_path / "there.db").write_text("")
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as connection, connection:
        connection.execute("CREATE TABLE other (id)")
    shutil.copyfile(path, tmp_path / "hot.db")
    (tmp_path / "hot.db-journal").write_bytes(b"undo this")
    shutil.copyfile(path, tmp_path / "newer.db")
    with closing(sqlite3.connect(tmp_path / "newer.db")) as connection, connection:
        connection.execute("UPDATE peerstore_revision SET version_num = '9999'")
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    for damaged, target, said in (
        ("nowhere.db", new, "there is no database"),
        ("text.db", new, "nothing can be rescued"),
        ("foreign.db", new, "no peerstore database"),
        ("hot.db", new, "undone"),
        ("newer.db", new, "newer peerstore"),
        ("mesh.db", tmp_path / "there.db", "already there"),
        ("mesh.db", path, "already there"),
        ("mesh.db", tmp_path / "no" / "new.db", "no folder"),
        ("mesh.db", Path(":memory:"), "names no file"),
    ):
        result = run("--db", str(tmp_path / damaged), "repair", "--to", str(target))
        assert (result.exit_code, result.stdout) == (3, ""), (damaged, result.stdout)
        assert said in result.stderr
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before
    assert run("--db", str(path), "repair").exit_code == 2


def test_a_database_that_holds_something_is_not_written_to(store_url: str, tmp_path: Path) -> None:
    with peerstore.open(tmp_path / "mesh.db") as store:
        store.record_many(history())
    if make_url(store_url).get_backend_name() == "sqlite":
        store_url = str(make_url(store_url).database)
    with pytest.raises(peerstore.DatabaseError, match="already"):
        peerstore.repair(tmp_path / "mesh.db", store_url)
    with peerstore.open(store_url, create=False) as store:
        assert store.status().observations == 0


def test_a_database_that_is_written_to_meanwhile_is_not_repaired(tmp_path: Path) -> None:
    path = tmp_path / "mesh.db"
    with peerstore.open(path) as store:
        store.record_many(history())

    def write(_: int) -> None:
        with path.open("ab") as file:
            file.write(bytes(PAGE))

    with pytest.raises(peerstore.DatabaseBusy, match="written to"):
        peerstore.repair(path, tmp_path / "new.db", progress=write)
    assert {each.name for each in tmp_path.iterdir()} == {"mesh.db"}


def test_what_was_removed_stays_removed(store_url: str, tmp_path: Path) -> None:
    """A pruned store from which a peer was forgotten: the new one begins at the same horizon, and refuses the peer."""
    lines = histories.history(4, 200)
    with peerstore.open(store_url) as store:
        store.record_many(lines)
        last = store.last_observed_at()
        assert last is not None
        horizon = last - timedelta(minutes=30)
        store.prune(horizon)
        store.forget("printer")
        moments = [horizon + timedelta(minutes=number) for number in range(31)]
        expected = [store.presence_at(at).to_dict() for at in moments]
        removals = [each.to_dict() for each in store.removals()]
    made = peerstore.repair(store_url, tmp_path / "new.db")
    assert made.ok, made
    with peerstore.open(tmp_path / "new.db") as rescued:
        assert [rescued.presence_at(at).to_dict() for at in moments] == expected
        assert [each.to_dict() for each in rescued.removals()] == removals
        with pytest.raises(peerstore.BeforeHorizon):
            rescued.presence_at(horizon - timedelta(seconds=1))
        rescued.record_many(lines)
        assert "printer" not in {each.peer.peer_key for each in rescued.known_peers()}
        assert rescued.verify().ok


def test_a_graph_that_stopped_at_once_is_rescued_with_the_one_before_it(store_url: str, tmp_path: Path) -> None:
    """A pruned store whose last graph before the horizon was never in force."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    link = {"id": "a link", "peer1": "a", "peer2": "b", "connectionType": "Bluetooth"}
    with peerstore.open(store_url) as store:
        for second, links in ((0, [link]), (10, [])):
            local = {"peerKey": "b", "connections": links}
            graph = {"localPeer": local, "remotePeers": [{"peerKey": "a", "connections": []}]}
            store.record(graph, noon + timedelta(seconds=second))
        store.record(None, noon + timedelta(seconds=10), "b", sequence=1)
        horizon = noon + timedelta(seconds=11)
        store.prune(horizon)
        store.record(
            {"localPeer": {"peerKey": "a", "connections": []}, "remotePeers": []}, noon + timedelta(seconds=20)
        )
        expected = [change.to_dict() for change in store.changes(since=horizon)]
    assert peerstore.repair(store_url, tmp_path / "new.db").ok
    with peerstore.open(tmp_path / "new.db") as rescued:
        assert [change.to_dict() for change in rescued.changes(since=horizon)] == expected
        assert ("disconnected", True) in {(each["kind"], each["across_gap"]) for each in expected}
