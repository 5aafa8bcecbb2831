"""The SQL cookbook holds: each statement of ``docs/sql.md`` runs as it stands, on both engines, gives what is shown
below it on the demo's day, and what the Python interface answers there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa

import peerstore
from peerstore.cli import main
from peerstore.demo import demo_observations
from peerstore.times import micros
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.cookbook import DOCUMENT, RECIPES, Recipe, analysed, answer, recipe, rows, seconds, table, text, told
from tests.test_docs import check_output

TABLE = re.compile(r"^\| [\d, ]+ \| (`.+`) \| [^|]* \| ([^|]*) \|$", re.MULTILINE)


@pytest.fixture(params=ENGINES, scope="module")
def demo(request: pytest.FixtureRequest) -> Iterator[str]:
    """The demo's day, recorded once for each engine."""
    url = fresh_url(request.param)
    with peerstore.open(url) as store:
        observers: set[str] = set()
        for observation in demo_observations():
            if observation["graph"] is not None:
                local = observation["graph"]["localPeer"]
                key = str(local.get("peerKeyString") or local["peerKey"])
                if key not in observers:  # alone, so that the ids of the observers do not depend on the clock
                    store.record_many([observation])
                observers.add(key)
        store.record_many(demo_observations())
    analysed(url)
    yield url
    drop_url(url)


@pytest.fixture(scope="module")
def store(demo: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(demo) as opened:
        yield opened


@pytest.mark.parametrize("each", RECIPES, ids=lambda each: f"{each.heading} ({each.place})")
def test_a_statement_gives_what_is_shown(demo: str, each: Recipe) -> None:
    if sa.make_url(demo).get_backend_name() in each.engines:
        assert each.shown, f"docs/sql.md:{each.line} shows no answer"
        check_output(f"docs/sql.md:{each.line}", each.shown, table(*answer(demo, each.runnable)))
    else:
        with pytest.raises(Exception):  # noqa: B017, PT011 - each driver has its own; else it would need no mark
            answer(demo, each.statement)


def test_each_question_has_its_place() -> None:
    titles = re.findall(r"^### (\d+)\. .+$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert titles == [str(number) for number in range(1, 24)]
    answered = {each.heading.split(".")[0] for each in RECIPES}
    assert set(titles) - answered == {"23"}, "which SQL cannot answer"


def test_each_command_that_is_named_is_there() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    cells = " ".join(f"{left} {right}" for left, right in TABLE.findall(document))
    named = {command.split()[0] for command in re.findall(r"`([^`]+)`", cells)}
    assert len(named) > 20
    named |= set(re.findall(r"`peerstore ([a-z][a-z-]+)", " ".join(document.split())))
    assert named - set(main.commands) == set()


# The ways to connect.


def test_the_shells_give_what_is_shown(demo: str) -> None:
    """SQLite's and PostgreSQL's own shells, called as the document says, on the first statement."""
    url, statement = sa.make_url(demo), recipe("1. ")
    sqlite = url.get_backend_name() == "sqlite"
    server = url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = ["sqlite3", "-readonly", "-header", "-column", str(url.database)] if sqlite else ["psql", "-X", server]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")

    def said(words: str) -> str:
        done = subprocess.run(command, input=words, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout + done.stderr

    shown = table(*answer(demo, statement))
    assert re.findall(r"pkA[\w-]+", said(statement)) == re.findall(r"pkA[\w-]+", shown)
    if sqlite:
        assert [line.rstrip() for line in said(statement).splitlines()] == shown.splitlines()
        assert "readonly" in said("DELETE FROM observer;")


def test_rights_on_the_views_are_enough(demo: str) -> None:
    if demo.startswith("sqlite"):
        pytest.skip("SQLite knows no rights")
    [granted] = re.findall(
        r"^GRANT SELECT ON (.+) TO mesh_reader;$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    with sa.create_engine(demo, poolclass=sa.NullPool).connect() as connection:  # ends without a commit: no role stays
        connection.exec_driver_sql("CREATE ROLE mesh_reader_in_a_test")
        connection.exec_driver_sql(f"GRANT SELECT ON {granted} TO mesh_reader_in_a_test")
        connection.exec_driver_sql("SET LOCAL ROLE mesh_reader_in_a_test")
        for view in granted.split(", "):
            assert connection.exec_driver_sql(f"SELECT * FROM {view} LIMIT 1").all()
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            connection.exec_driver_sql("SELECT * FROM observer")


# Against the Python interface.


def day(time: str) -> datetime:
    return datetime.fromisoformat(f"2026-07-08T{time}+00:00")


def all_day(store: peerstore.PeerStore, observer: str | None = None) -> list[peerstore.Presence]:
    return list(store.presence_over(day("06:00"), day("22:00"), observer=observer))


def links_of(presence: peerstore.Presence, peer: str) -> set[str]:
    """Over what a peer is connected."""
    return {link.type for link in presence.connections if peer in (link.peer1, link.peer2)}


def test_merged_attributes(demo: str, store: peerstore.PeerStore) -> None:
    cloud = {True: "yes", False: "no", None: None}
    for at in (day("10:25"), day("12:20:20"), day("14:03:30"), day("15:55"), day("20:00")):
        assert [tuple(row.values()) for row in rows(demo, recipe("2. ", at=text(at)))] == [
            (peer.device_name, peer.os, peer.sdk_version, len(peer.seen_by), cloud[peer.is_connected_to_cloud])
            for peer in store.presence_at(at).peers.values()
        ]


def test_first_and_last_seen(demo: str, store: peerstore.PeerStore) -> None:
    known = {each.peer.peer_key: each for each in store.known_peers()}
    assert {row["peer_key"]: told(row["first_seen"]) for row in rows(demo, recipe("4. "))} == {
        name: each.first_seen for name, each in known.items()
    }
    last: dict[tuple[str, str], datetime] = {}
    for each in sorted(demo_observations(), key=lambda each: each["observedAt"]):
        if each["graph"] is not None:
            for peer in (each["graph"]["localPeer"], *each["graph"]["remotePeers"]):
                observer = each["graph"]["localPeer"]["peerKeyString"]
                last[peer["peerKeyString"], observer] = datetime.fromisoformat(each["observedAt"])
    names = {name for name in known if known[name].peer.device_name == "sim-till-8"}
    assert [(row["peer"], row["observer"], told(row["last_seen"])) for row in rows(demo, recipe("4. ", 2))] == [
        (name[:14], observer[:14], at) for (name, observer), at in sorted(last.items()) if name in names
    ]


def test_flapping(demo: str, store: peerstore.PeerStore) -> None:
    starts = defaultdict(list)
    for each in store.connection_sessions():
        link = each.connection
        starts[link.type, link.peer1[:14], link.peer2[:14]].append(each.start)
    expected = {}
    for link_, begun in starts.items():
        begun.sort()
        fast = [at for before, at in zip(begun, begun[4:], strict=False) if at - before <= timedelta(minutes=10)]
        if fast:
            expected[link_] = (fast[0], fast[-1])
    shown = rows(demo, recipe("8. "))
    assert {
        (row["type"], row["peer1"], row["peer2"]): (told(row["flapping_since"]), told(row["last_made"]))
        for row in shown
    } == expected
    office = store.resolve_peer("sim-office-1")
    lasted = [seconds(each.start, each.end) for each in store.sessions(observer=office)]
    short = sum(each is not None and each < 30 for each in lasted)
    assert sum(row["sessions"] for row in rows(demo, recipe("8. ", 2))) == len(lasted)
    assert sum(row["sessions"] for row in rows(demo, recipe("8. ", 2)) if row["lasted"] < "4") == short


def test_transports(demo: str, store: peerstore.PeerStore) -> None:
    """Connections by the hour; the part of the time with Bluetooth alone; falls from AccessPoint to Bluetooth."""
    for row in rows(demo, recipe("9. ")):
        start = datetime.fromisoformat(f"{row['hour']}:00:00+00:00")
        hour = store.connection_sessions(since=start, until=start + timedelta(hours=1))
        kinds = Counter(kind for kind, _ in {(each.connection.type, each.connection.id) for each in hour})
        assert (row["access_point"], row["bluetooth"]) == (kinds["AccessPoint"], kinds["Bluetooth"])
        assert row["other"] == kinds.total() - row["access_point"] - row["bluetooth"]
    till = store.resolve_peer("sim-till-4")
    falls, only, connected = [], timedelta(), timedelta()
    for before, now in pairwise(all_day(store)):
        if "AccessPoint" in links_of(before, till) and links_of(now, till) == {"Bluetooth"}:
            falls.append(now.at)
        only += (now.at - before.at) * (links_of(before, till) == {"Bluetooth"})
        connected += (now.at - before.at) * bool(links_of(before, till))
    assert [told(row["fell_at"]) for row in rows(demo, recipe("9. ", 3))] == falls
    [share] = [row for row in rows(demo, recipe("9. ", 2)) if row["peer_key"] == till]
    assert float(share["only_bluetooth"]) == pytest.approx(only.total_seconds(), abs=0.6)
    assert float(share["connected_seconds"]) == pytest.approx(connected.total_seconds(), abs=0.6)


def test_links_to_the_cloud(demo: str, store: peerstore.PeerStore) -> None:
    office = store.resolve_peer("sim-office-1")
    begun = []
    for before, now in pairwise(all_day(store, office)):
        linked, still = (
            {str(peer.device_name) for peer in view.peers.values() if peer.is_connected_to_cloud}
            for view in (now, before)
        )
        begun += [(now.at, name) for name in sorted(linked - still)]
    assert [(told(row["valid_from"]), row["device_name"]) for row in rows(demo, recipe("10. "))] == begun


def test_versions(demo: str, store: peerstore.PeerStore) -> None:
    """Who had which version first when, and since when everyone has it."""
    first: dict[tuple[str, str], datetime] = {}
    for summary in store.observer_summaries():
        for presence in all_day(store, summary.observer):
            for name, peer in presence.peers.items():
                if peer.sdk_version is not None:
                    known = first.setdefault((name, peer.sdk_version), presence.at)
                    first[name, peer.sdk_version] = min(known, presence.at)
    shown = {
        (row["peer_key"], row["sdk_version"]): told(row["first_seen_with_it"]) for row in rows(demo, recipe("13. "))
    }
    assert shown == first
    [everyone] = rows(demo, recipe("15. ", 4))
    assert told(everyone["all_since"]) == max(at for (_, version), at in first.items() if version == "5.1.0")


def test_incompatible_peers(store_url: str) -> None:
    """The demo has none, so here is one."""
    peers = [{"peerKey": "old", "isCompatible": False}, {"peerKey": "new", "isCompatible": True}, {"peerKey": "shy"}]
    with peerstore.open(store_url) as store:
        store.record({"localPeer": {"peerKey": "me"}, "remotePeers": peers}, observed_at=day("12:00"))
    assert [(row["observer"], row["peer_key"]) for row in rows(store_url, recipe("14. "))] == [("me", "old")]


def test_changes_of_attributes(demo: str, store: peerstore.PeerStore) -> None:
    observer = store.resolve_peer("sim-office-1")
    for name in ("sim-till-6", "sim-till-3", "sim-manager-tablet"):
        peer = store.resolve_peer(name)
        shown = rows(demo, recipe("15. ", 3, observer=observer, peer_key=peer))
        assert [(told(row["observed_at"]), row["path"], bool(row["across_absence"])) for row in shown] == [
            (change.observed_at, change.path, change.across_absence)
            for change in store.metadata_changes(peer, observer=observer)
        ]
    names = [(told(row["observed_at"]), row["after_value"]) for row in rows(demo, recipe("16. "))]
    observers = [each.observer for each in store.observer_summaries()]
    changes = [each for one in observers for each in store.metadata_changes(observer=one)]
    assert names == sorted((each.observed_at, f'"{each.after}"') for each in changes if each.path == "/device_name")


def test_new_and_missing_peers(demo: str, store: peerstore.PeerStore) -> None:
    known = sorted((each.first_seen, each.peer.peer_key) for each in store.known_peers())
    shown = rows(demo, recipe("17. "))
    assert [(told(row["first_seen"]), row["peer_key"]) for row in shown] == [
        each for each in known if each[0] >= day("08:00")
    ]
    fewer, before = [], False
    for presence in store.presence_over(day("08:05"), day("14:15")):
        now = len(presence.peers) < 18
        if now and not before:
            fewer.append(presence.at)
        before = now
    since = [told(row["fewer_since"]) for row in rows(demo, recipe("17. ", 3))]
    assert since == [at for at in fewer if at >= day("11:00")]


def test_direct_connections(demo: str, store: peerstore.PeerStore) -> None:
    office = store.resolve_peer("sim-office-1")
    seen, direct = Counter[str](), Counter[str]()
    presences = all_day(store, office)
    for presence, end in zip(presences, [*(each.at for each in presences[1:]), day("22:00")], strict=True):
        lasts = micros(end) - micros(presence.at)
        seen.update(dict.fromkeys(presence.peers.keys() - {office}, lasts))
        ends = {
            end
            for link in presence.connections
            for end in (link.peer1, link.peer2)
            if office in (link.peer1, link.peer2)
        }
        direct.update(dict.fromkeys(ends - {office}, lasts))
    for row in rows(demo, recipe("19. ", 2)):
        assert float(row["seen_seconds"]) == pytest.approx(seen.pop(row["peer_key"]) / 1e6, abs=0.6)
        assert float(row["direct_seconds"]) == pytest.approx(direct.pop(row["peer_key"], 0) / 1e6, abs=0.6)
    assert not seen
    assert not direct
