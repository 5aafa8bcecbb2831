"""A forgotten peer: the history without it, its bytes, what comes of it later, and forgetting that is broken off."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import Phase, given, settings
from sqlalchemy import event

import peerstore
from peerstore import erasure, keyframe_spacing, sqlite_file
from peerstore.canonical import dumps, loads
from peerstore.erasure import Erasure
from peerstore.forgetting import Forgotten, mentions
from peerstore.model import Element, Observation, PresenceGraph
from peerstore.ndjson import Line
from peerstore.retention import forgotten_digest
from peerstore.times import instant
from tests.commands import answer, run
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.databases import plain, rows
from tests.faults.privileges import memory_folder, needs_strace
from tests.histories import stored
from tests.machine import START, STEP, Envelope, batches, line
from tests.mutants import method
from tests.strategies import pk
from tests.worlds import RECORDED, tried

ROOT = Path(__file__).parents[1]
SECRET = "the same in all stores"
GRAPH = Element("graph")
MOMENTS = tuple(START + step * STEP + edge for step in range(8) for edge in (-1, 0))


# What is left is what recording without the peer would have left.


class Broken(Exception):
    """The power went."""


def without(key: str) -> Callable[[Observation], Observation]:
    """What of another's observation is recorded once a peer is forgotten, told once more."""

    def change(given: Observation) -> Observation:
        if given.graph is None:
            return given
        kept = {item: text for item, text in given.graph.elements.items() if key not in (item.key, item.other)}
        local = given.graph.local_peer
        if local == key:
            local = f"forgotten-{forgotten_digest(key, SECRET.encode()).hex()}"
            kept[GRAPH] = dumps({**loads(kept[GRAPH]), "local_peer": local})
        return given._replace(graph=PresenceGraph(local, kept))

    return change


def named_the_same(url: str) -> str:
    with plain(url) as connection:
        connection.execute(sa.text("UPDATE store_info SET value = :it WHERE name = 'store_id'"), {"it": SECRET})
    return url


@contextmanager
def stores(engine: str, count: int) -> Iterator[list[tuple[str, peerstore.PeerStore]]]:
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            url = fresh_url(engine)
            stack.callback(drop_url, url)
            named_the_same(url)
            opened.append((url, stack.enter_context(peerstore.open(url, clock=lambda: instant(RECORDED)))))
        yield opened


@contextmanager
def broken_off(after: int) -> Iterator[None]:
    """The power goes as the transaction after so many is committed."""
    left = after

    def commit(_: sa.Connection) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Broken

    event.listen(sa.Engine, "commit", commit)
    try:
        with suppress(Broken):
            yield
    finally:
        event.remove(sa.Engine, "commit", commit)


def identities(url: str) -> list[Any]:
    """The peers and connections that the database knows."""
    with plain(url) as connection:
        found = connection.execute(
            sa.text("SELECT kind, peer1, peer2, type, source_id FROM element WHERE kind <> 'graph'")
        )
        return sorted(map(tuple, found), key=repr)


def told(store: peerstore.PeerStore, url: str, key: str) -> dict[str, Any]:
    """All that a history tells; that nothing is wrong with it, and nothing of the peer in it."""
    assert store.verify().findings == []
    assert not any(key in identity for identity in identities(url))
    return {
        "rows": stored(url),
        "digest": store.content_digest(),
        "presence": [store.presence_at(instant(at)).to_dict() for at in MOMENTS],
        "observers": store.observer_keys(),
    }


def hold_it_to_recording(engine: str, key: str, before: list[Envelope], late: list[Envelope], broken: int) -> None:
    before_lines, late_lines = list(map(line, before)), list(map(line, late))
    soon, later = late_lines[::2], late_lines[1::2]
    with stores(engine, 3) as ((url, first), (all_url, at_last), (plain_url, never)):
        first.record_many(before_lines)
        with broken_off(broken):
            first.forget(key, vacuum=False, in_advance=True)
        assert first.verify().findings == []
        first.record_many(soon)
        first.forget(key, vacuum=False, in_advance=True)
        first.record_many(later)
        at_last.record_many(before_lines + soon + later)
        for observer in at_last.observer_keys():
            if observer != key:
                never.record_from(at_last, observer=observer, change=without(key))
        at_last.forget(key, vacuum=False, in_advance=True)
        expected = told(never, plain_url, key)
        assert told(first, url, key) == expected
        assert told(at_last, all_url, key) == expected
        assert identities(all_url) == identities(plain_url)
        assert at_last.peer_keys() == never.peer_keys()


@pytest.mark.parametrize(
    ("engine", "floor", "most"),
    [
        pytest.param("sqlite", keyframe_spacing.KEYFRAME_FLOOR, erasure._MOST_ROWS, marks=pytest.mark.slow),
        ("sqlite", 1, 2),
        ("postgresql", 1, 2),
    ],
    ids=["in few steps", "sqlite", "postgresql"],
)
def test_to_forget_commutes_with_recording(engine: str, floor: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyframe_spacing, "KEYFRAME_FLOOR", floor)
    monkeypatch.setattr(erasure, "_MOST_ROWS", most)

    @settings(tried(engine), max_examples=max(tried(engine).max_examples // 2, 1))
    @given(
        key=st.sampled_from("abcdz"),
        before=batches(8),
        late=batches(6),
        broken=st.sampled_from((0, 1, 2, 3, 4, 5, 6, 8, 99)),
    )
    def holds(key: str, before: list[Envelope], late: list[Envelope], broken: int) -> None:
        hold_it_to_recording(engine, key, before, late, broken)

    drop_url(fresh_url(engine))
    holds()


def leaves_nothing_out(true: Any, forgotten: Forgotten, given: Observation) -> Observation:
    return given


def leaves_the_connections(true: Any, forgotten: Forgotten, item: Element) -> bool:
    return item.kind == "peer" and bool(true(forgotten, item))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        (Forgotten, "without", leaves_nothing_out),
        (Forgotten, "_touches", leaves_the_connections),
        (Erasure, "_strip_keyframes", lambda *_: None),
        (Erasure, "_rename_local_peer", lambda *_: 0),
        (Erasure, "_empty", lambda *_: None),
    ],
)
def test_a_store_that_forgets_by_halves_is_found_out(
    owner: type, name: str, instead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyframe_spacing, "KEYFRAME_FLOOR", 1)

    @settings(tried("sqlite"), max_examples=40, derandomize=True, phases=[Phase.generate])
    @given(key=st.sampled_from("abcdz"), before=batches(8), late=batches(6))
    def holds(key: str, before: list[Envelope], late: list[Envelope]) -> None:
        hold_it_to_recording("sqlite", key, before, late, 99)

    with method(owner, name, instead), pytest.raises(AssertionError):
        holds()


# Its bytes.

CONTENT = bytes.fromhex("0287028243" + "02") + bytes(range(101, 133))
KEY = pk(CONTENT)
NAME, VALUE = "canary-device-name", "canary-metadata-value"
TRACES = (
    KEY.encode(),
    CONTENT,
    CONTENT.hex().encode(),
    base64.b64encode(CONTENT)[:-2],
    json.dumps(list(CONTENT)).encode(),
    json.dumps(list(CONTENT)).replace(" ", "").encode(),
    NAME.encode(),
    VALUE.encode(),
)
OTHER, THIRD = (pk(bytes.fromhex("0287028243" + "02") + bytes([n]) * 32) for n in (7, 9))
AT = datetime(2026, 7, 8, 18, tzinfo=UTC)


def peer(key: str, name: str, *others: str, **metadata: Any) -> dict[str, Any]:
    links = [
        {"peer1": min(key, other), "peer2": max(key, other), "connectionType": "Bluetooth", "id": f"{key}<->{other}"}
        for other in others
    ]
    return {"peerKeyString": key, "deviceName": name, "peerMetadata": metadata, "connections": links}


def seen(second: float, local: dict[str, Any], *remotes: dict[str, Any], **more: Any) -> dict[str, Any]:
    at = (AT + timedelta(seconds=second)).isoformat()
    return {"observedAt": at, "graph": {"localPeer": local, "remotePeers": list(remotes)}, **more}


def canary(second: int) -> dict[str, Any]:
    return peer(KEY, NAME, OTHER, n=second, told=[VALUE, "x" * 5000 * (second % 3)])


def telling(seconds: range) -> Iterator[dict[str, Any]]:
    """What the canary and two others observe, each with it: as observer, remote peer, end of a connection, local peer
    of somebody else's graph, and member of an anonymous peer's handle."""
    for second in seconds:
        nameless = {"deviceName": f"nameless {second % 3}", "connections": []}
        yield seen(second, canary(second), peer(OTHER, "till", KEY), nameless)
        yield seen(second, peer(OTHER, "till", KEY, n=second % 5), canary(second // 3))
        if second % 4 == 0:
            yield seen(second, peer(THIRD, "lane", n=second), peer(OTHER, "till", KEY))
            yield seen(second, canary(second), peer(THIRD, "lane", n=second), observer="a script")


UNREADABLE = (
    json.dumps({"observedAt": "noon", "graph": {"localPeer": canary(0)}}),
    json.dumps({"observedAt": "noon", "who": list(CONTENT)}),
    json.dumps({"observedAt": "noon", "who": {str(place): byte for place, byte in enumerate(CONTENT)}}),
    json.dumps({"observedAt": "noon", "who": CONTENT.hex()}),
    json.dumps({"observedAt": "noon", "who": base64.b64encode(CONTENT).decode()}),
    json.dumps({"graph": json.dumps({"localPeer": {"peerKey": KEY}})}),
    '{"observedAt": "2026-07-08T18:00:00Z", "graph": {"localPeer": {"peerKey": "' + KEY + '", "deviceN',
)


def fill(store: peerstore.PeerStore, seconds: range) -> None:
    store.record_many([*telling(seconds), *UNREADABLE])
    # Another graph in the place of one of the other's: a conflict.
    store.record_many([seen(0, peer(OTHER, "another till"), canary(0))])


def database_bytes(url: str) -> bytes:
    """Everything in the files of a database, of all that are there."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return b"".join(file.read_bytes() for file in sorted(Path(str(parsed.database)).parent.iterdir()))
    with plain(url) as connection:
        connection.exec_driver_sql("CHECKPOINT")
        asked = "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
        folder, number = connection.exec_driver_sql(asked).one()
    files = Path(folder, "base", str(number))
    if not os.access(files, os.R_OK):
        pytest.skip("the server's files cannot be read")
    return b"".join(file.read_bytes() for file in sorted(files.iterdir()) if file.is_file())


def traces(url: str) -> list[bytes]:
    found = database_bytes(url)
    return [trace for trace in TRACES if trace in found]


def analyze(url: str) -> None:
    if url.startswith("postgresql"):
        with plain(url) as connection:
            connection.exec_driver_sql("ANALYZE")


def test_nothing_of_it_is_left_in_the_files(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        fill(store, range(60))
        analyze(store_url)
        assert {KEY.encode(), NAME.encode(), VALUE.encode()} <= set(traces(store_url))
        assert store.device_names()[KEY] == NAME
        foreseen = store.forget(KEY, dry_run=True)
        report = store.forget(KEY)
        assert traces(store_url) == []
        counts = ("observations", "altered", "changes", "elements", "documents", "rejects", "mentions")
        assert [getattr(report, name) for name in counts] == [getattr(foreseen, name) for name in counts]
        assert report.observations == 60
        assert report.rejects == len(UNREADABLE) + 1
        assert report.mentions == 0
        assert report.finished
        assert report.bytes_after < report.bytes_before
        assert set(store.peer_keys()) == {OTHER, THIRD}
        assert set(store.observer_keys()) == {OTHER, THIRD, "a script"}
        assert store.verify().findings == []
        # What comes late does not bring it back, in whatever place and spelling.
        fill(store, range(30, 90))
        store.record_lines([Line(f"exports/{KEY}.ndjson", 1, b"{}", True, 2, None)])
        store.record_lines(
            [Line("a file", 2, b'{"observedAt": "2026-07-08T18:01:00Z", "graph": null}', True, 9, None)], KEY
        )
        with pytest.raises(peerstore.InputError, match="forgotten"):
            store.record(seen(0, canary(0))["graph"], AT)
        assert set(store.peer_keys()) == {OTHER, THIRD}
        assert not any(each.content for each in store.rejects() if each.source != "(named after a forgotten peer)")
        assert store.verify().findings == []
    analyze(store_url)
    assert traces(store_url) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_vacuum_the_bytes_are_found(engine: str) -> None:
    """A control: the test above looks where they are."""
    with stores(engine, 1) as [(url, store)]:
        fill(store, range(60))
        report = store.forget(KEY, vacuum=False)
        assert any("vacuum" in each for each in report.out_of_reach)
        assert KEY.encode() in traces(url)
        store.forget(KEY)
        assert traces(url) == []


def test_without_secure_deletion_a_checkpoint_is_not_enough(tmp_path: Path) -> None:
    """A control: what is deleted is overwritten by us, not by chance."""
    found = []
    for name, careless in (("sound.db", False), ("careless.db", True)):
        url = f"sqlite:///{tmp_path / name}/store.db"
        (tmp_path / name).mkdir()
        with peerstore.open(url) as store:
            fill(store, range(60))
            with without_overwriting() if careless else nullcontext():
                store.forget(KEY, vacuum=False)
            with closing(sqlite3.connect(sa.make_url(url).database or "")) as plainly:
                plainly.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        found.append(traces(url))
    assert found[0] == []
    assert found[1] != []


@contextmanager
def without_overwriting() -> Iterator[None]:
    def statement(_connection: Any, _cursor: Any, text: str, values: Any, *_: Any) -> tuple[str, Any]:
        return text.replace("secure_delete=ON", "secure_delete=OFF"), values

    event.listen(sa.Engine, "before_cursor_execute", statement, retval=True)
    try:
        yield
    finally:
        event.remove(sa.Engine, "before_cursor_execute", statement)


def test_without_its_digest_it_comes_back(store_url: str) -> None:
    """A control: it is the digest that keeps it out."""
    with peerstore.open(store_url) as store:
        fill(store, range(4))
        store.forget(KEY, vacuum=False)
        with plain(store_url) as connection:
            connection.execute(sa.text("DELETE FROM forgotten_peer"))
    with peerstore.open(store_url) as store:
        fill(store, range(4))
        assert KEY in store.peer_keys()
        assert KEY in store.observer_keys()


@pytest.mark.parametrize("spelled", UNREADABLE)
def test_every_spelling_of_a_key_is_known(spelled: str) -> None:
    assert mentions(spelled.encode(), KEY.__eq__)
    assert not mentions(spelled.encode(), THIRD.__eq__)


def test_what_others_say_of_it_stays_and_is_counted(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record_many([seen(0, canary(0)), seen(0, peer(OTHER, "till", friend=KEY)), seen(0, peer(THIRD, "lane"))])
        assert store.forget(KEY, dry_run=True).mentions == 1
        assert store.forget(KEY).mentions == 1
        assert store.presence_at(AT).peers[OTHER].peer_metadata == {"friend": KEY}


# Who else has the store open, and what is broken off.


def test_a_dry_run_writes_nothing(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        fill(store, range(9))
        before = rows(store_url)
        store.forget(KEY, dry_run=True)
        assert rows(store_url) == before


def test_a_store_that_knows_it_by_heart_goes_on(store_url: str) -> None:
    named_the_same(store_url)
    late = [seen(99, peer(OTHER, "told in vain"), peer(THIRD, "told in vain too"))]
    with peerstore.open(store_url) as warm, peerstore.open(store_url) as store:
        fill(warm, range(40))
        warm.presence_at(AT)
        # What was only ever refused is known to the warm one too, and is emptied.
        warm.record_many([seen(0, peer(OTHER, "told in vain"), peer(THIRD, "told in vain too"))])
        store.forget(KEY)
        warm.record_many([*telling(range(30, 70)), *late])
        assert warm.verify().findings == []
        assert set(warm.presence_at(AT + timedelta(seconds=99)).peers) == {OTHER, THIRD}
        assert warm.device_names() == {OTHER: "told in vain", THIRD: "told in vain too"}
        digest = warm.content_digest()
    with stores("sqlite", 1) as [(_, other)]:
        other.forget(KEY, in_advance=True)
        other.record_many([*telling(range(70)), *late])
        assert other.content_digest() == digest


def test_others_record_while_it_is_forgotten(store_url: str) -> None:
    lines = list(telling(range(300)))
    named_the_same(store_url)
    with peerstore.open(store_url) as store, peerstore.open(store_url) as other:
        store.record_many(lines[:300])
        recorded = threading.Event()

        def record() -> None:
            for start in range(300, len(lines), 10):
                other.record_many(lines[start : start + 10])
            recorded.set()

        thread = threading.Thread(target=record)
        thread.start()
        store.forget(KEY)
        thread.join()
        assert recorded.is_set()
        store.forget(KEY)
        assert store.verify().findings == []
        found = stored(store_url)
    with stores("sqlite", 1) as [(url, at_once)]:
        at_once.forget(KEY, in_advance=True)
        at_once.record_many(lines)
        assert stored(url) == found


def test_readers_hold_up_the_vacuum_alone(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.3)
    with peerstore.open(store_url) as store, peerstore.open(store_url) as reader:
        fill(store, range(9))
        reading: Any = reader.changes()
        next(reading)
        with pytest.raises(peerstore.DatabaseBusy, match="forget"):
            store.forget(KEY)
        assert KEY not in store.peer_keys()
        assert removals(store_url) == [("forget", False)]
        reading.close()
        store.forget(KEY)
        assert removals(store_url) == [("forget", True)]
    assert traces(store_url) == []


def removals(url: str) -> list[tuple[str, bool]]:
    """What was removed, and whether that was finished."""
    with plain(url) as connection:
        found = connection.execute(sa.text("SELECT kind, finished_at IS NOT NULL FROM removal"))
        return [(kind, bool(finished)) for kind, finished in found]


def killed_at(number: int, folder: Path) -> int:
    """Forget; the process is killed as it writes to the store's files for the n-th time. How it ended."""
    path = folder / "store.db"
    names = [part for ending in ("", "-wal", "-journal") for part in ("-P", f"{path}{ending}")]
    traced = [needs_strace(), "-f", "-o", os.devnull, *names, "-etrace=pwrite64"]
    traced.append(f"--inject=pwrite64:signal=KILL:when={number}")
    command = [sys.executable, "-m", "peerstore", "--db", str(path), "forget", KEY, "--yes"]
    done = subprocess.run([*traced, *command], cwd=ROOT, check=False, capture_output=True, text=True)
    return done.returncode


@pytest.mark.parametrize(
    "numbers", [(1, 12, 60), pytest.param(tuple(range(1, 200, 5)), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_killed_while_it_forgets(numbers: tuple[int, ...]) -> None:
    with memory_folder() as kept:
        with peerstore.open(kept / "store.db") as store:
            fill(store, range(20))
        with plain(f"sqlite:///{kept / 'store.db'}") as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        killed = 0
        for number in numbers:
            with memory_folder() as folder:
                shutil.copyfile(kept / "store.db", folder / "store.db")
                code = killed_at(number, folder)
                assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL)
                killed += code != 0
                url = f"sqlite:///{folder / 'store.db'}"
                with peerstore.open(url) as store:
                    assert store.verify().findings == []
                    store.forget(KEY)
                    assert store.verify().findings == []
                    assert KEY not in store.peer_keys()
                    assert removals(url) == [("forget", True)]
                assert traces(url) == []
        assert killed >= len(numbers) // 3 + 1


# At the command line.


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "mesh.db"
    with peerstore.open(path) as store:
        fill(store, range(5))
    named = ("--db", str(path), "forget")
    refused = run(*named, NAME)
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert answer(*named, NAME, "--dry-run")["observations"] == 5
    report = answer(*named, NAME, "--yes")
    assert report["peer_key"] == KEY
    assert report["finished"]
    again = run(*named, KEY, "--yes", "--no-vacuum")
    assert again.exit_code == 0
    assert "out of reach" in again.stderr
    unknown = run(*named, pk(b"another"), "--yes")
    assert unknown.exit_code == 1 or unknown.exit_code == 2
    assert "no peer goes by" in unknown.stderr
    assert answer(*named, pk(b"another"), "--yes", "--in-advance")["finished"]
    assert answer("--db", str(path), "verify")["ok"]


# Beside other removals.


def test_a_pruned_history_forgets_too(store_url: str) -> None:
    horizon = AT + timedelta(seconds=33)
    moments = [horizon + timedelta(seconds=second) for second in (0, 1, 5, 30)]
    named_the_same(store_url)
    with peerstore.open(store_url) as store:
        fill(store, range(60))
        store.prune(horizon)
        store.forget(KEY)
        assert store.verify().findings == []
        store.record_many(telling(range(40, 70)))
        assert store.verify().findings == []
        found = [store.presence_at(moment).to_dict() for moment in moments]
    assert traces(store_url) == []
    with stores("sqlite", 1) as [(_, never)]:
        never.forget(KEY, in_advance=True)
        never.record_many(telling(range(70)))
        never.prune(horizon)
        assert found == [never.presence_at(moment).to_dict() for moment in moments]


def test_a_prune_that_goes_on_meanwhile_breaks_off(store_url: str) -> None:
    """What it has planned to leave may be the peer's."""
    with peerstore.open(store_url) as store, peerstore.open(store_url) as other:
        fill(store, range(40))
        meanwhile = after_commits(2, lambda: other.forget(KEY, vacuum=False))
        with meanwhile, pytest.raises(peerstore.DatabaseError, match="another removal"):
            store.prune(AT + timedelta(seconds=20))
        assert KEY not in store.peer_keys()
        store.prune(AT + timedelta(seconds=20))
        assert store.verify().findings == []
        assert KEY not in store.peer_keys()


@contextmanager
def after_commits(count: int, act: Callable[[], object]) -> Iterator[None]:
    """Do something in between: before the transaction that comes after so many commits."""
    left = count

    def begin(_: sa.Connection) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            act()

    event.listen(sa.Engine, "begin", begin)
    try:
        yield
    finally:
        event.remove(sa.Engine, "begin", begin)
