"""The query plans that speed rests on: no question reads a growing table from end to end, on either engine.

The statements are those that public calls really issue, caught on their way to the engine and then explained.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event

import peerstore
from peerstore.cli.options import find_observer
from tests.conftest import ENGINES, drop_url, fresh_url

GROWING = ("observation_log", "element_change", "keyframe")
DICTIONARIES = ("observer", "element", "document", "peer_document", "store_info", "removal", "forgotten_peer")
SMALL = (*DICTIONARIES, "day_digest", "reject", "peerstore_revision", "sqlite_master", "days", "steps", "CONSTANT")
START = datetime(2026, 1, 1, tzinfo=UTC)
OBSERVERS = ("o1", "o2", "o3")


def history() -> Iterator[dict[str, Any]]:
    """Three observers over sixty days: peers that come and go, an observer that falls silent now and then."""
    chance = random.Random(7)
    for observer in OBSERVERS:
        present = {f"p{number:02}" for number in range(12)}
        for step in range(2500):
            present ^= {f"p{chance.randrange(40):02}" for _ in range(4)}
            peers = [
                {"peerKeyString": key, "deviceName": named(key, step), "connections": links(key, present)}
                for key in sorted(present)
            ]
            yield {
                "observed_at": START + timedelta(minutes=35 * step),
                "graph": {"localPeer": {"peerKeyString": observer, "connections": []}, "remotePeers": peers},
                "max_silence": 60 if step % 500 == 499 else 3000,
            }


def named(key: str, step: int) -> str:
    """One peer goes by several names, one by very many."""
    if key == "p04":
        return f"{key}, {step}"
    return f"{key}, renamed" if key == "p05" and step > 1000 else key


def links(key: str, present: set[str]) -> list[dict[str, Any]]:
    others = [other for other in sorted(present) if other[-1] == key[-1] and other != key]
    return [
        {
            "id": f"{min(key, other)}<->{max(key, other)}:Bluetooth",
            "peer1": key,
            "peer2": other,
            "connectionType": "Bluetooth",
        }
        for other in others
    ]


@pytest.fixture(scope="module", params=ENGINES)
def filled(request: pytest.FixtureRequest) -> Iterator[str]:
    url = fresh_url(request.param)
    with peerstore.open(url) as store:
        store.record_many(history())
    with sa.create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")
    yield url
    drop_url(url)


@contextmanager
def caught() -> Iterator[list[tuple[str, Any]]]:
    """The statements that reach an engine meanwhile, each with its parameters."""
    statements: list[tuple[str, Any]] = []

    def catch(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            statements.append((statement, parameters))

    event.listen(sa.Engine, "before_cursor_execute", catch)
    try:
        yield statements
    finally:
        event.remove(sa.Engine, "before_cursor_execute", catch)


def generic_plan(cursor: Any, statement: str, parameters: Any) -> list[str]:
    """PostgreSQL's plan for any values, as our readers have it."""
    if not parameters:
        cursor.execute(f"EXPLAIN {statement}", None)
        return [row[0] for row in cursor.fetchall()]
    names: dict[str, str] = {}
    text = re.sub(r"%\((\w+)\)s", lambda found: names.setdefault(found[1], f"${len(names) + 1}"), statement)
    cursor.execute("SET plan_cache_mode = force_generic_plan")
    cursor.execute(f"PREPARE asked AS {text.replace('%%', '%')}")
    values = psycopg.ClientCursor(cursor.connection).mogrify(
        f"EXPLAIN EXECUTE asked({', '.join(['%s'] * len(names))})", [parameters[name] for name in names]
    )
    cursor.execute(values.replace("%", "%%"))
    return [row[0] for row in cursor.fetchall()]


def full_scans(url: str, statement: str, parameters: Any) -> list[str]:
    """What the engine's plan says of reading a growing table from end to end."""
    with sa.create_engine(url).connect() as connection:
        cursor = connection.connection.cursor()
        if connection.dialect.name == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [row[3].split(maxsplit=2) for row in cursor.fetchall()]
            derived = {step[1] for step in steps if step[0] in ("CO-ROUTINE", "MATERIALIZE")}
            read = [step for step in steps if step[0] in ("SCAN", "SEARCH") and not step[1].startswith("(subquery-")]
            own = [step for step in read if step[1] not in derived]  # the steps of the others are among them
            return [" ".join(step) for step in own if step[1] not in SMALL and "(observer_id=?" not in step[-1]]
        steps = generic_plan(cursor, statement, parameters)
        return [step for step in steps if "Seq Scan" in step and any(name in step for name in GROWING)]


Question = Callable[[peerstore.PeerStore], Any]
MIDDLE = START + timedelta(days=30, minutes=7)
HOUR = timedelta(hours=1)

QUESTIONS: dict[str, Question] = {
    "presence_at": lambda store: store.presence_at(MIDDLE),
    "presence_at of one observer": lambda store: store.presence_at(MIDDLE, observer="o1"),
    "presence_at as known": lambda store: store.presence_at(MIDDLE, known_at=datetime.now(UTC)),
    "diff": lambda store: store.diff(MIDDLE, MIDDLE + HOUR),
    "changes in an hour": lambda store: list(store.changes(MIDDLE, MIDDLE + HOUR)),
    "changes of a peer": lambda store: list(store.changes(peer="p03", since=MIDDLE, until=MIDDLE + HOUR)),
    "metadata_changes of a peer": lambda store: list(store.metadata_changes("p03")),
    "why": lambda store: store.why("p03", MIDDLE),
    "evidence": lambda store: store.evidence(MIDDLE, "p03", path="/device_name"),
    "evidence of a connection": lambda store: store.evidence(MIDDLE, "p03", other="p13"),
    "diff inside": lambda store: store.diff(MIDDLE, MIDDLE + HOUR, inside=True),
    "metadata_changes at a path": lambda store: list(store.metadata_changes(path="/device_name", since=MIDDLE)),
    "changes of observers": lambda store: list(store.changes(kinds=["observer_stopped"])),
    "activity in an hour": lambda store: list(store.activity(60, MIDDLE, MIDDLE + HOUR)),
    "activity of a peer": lambda store: list(store.activity(HOUR, MIDDLE, MIDDLE + 9 * HOUR, peer="p03")),
    "sessions of a peer": lambda store: list(store.sessions("p03")),
    "sessions in an hour": lambda store: list(store.sessions(since=MIDDLE, until=MIDDLE + HOUR)),
    "connection_sessions of a pair": lambda store: list(store.connection_sessions("p03", "p13")),
    "device_names": lambda store: store.device_names(),
    "resolve_peer": lambda store: store.resolve_peer("p05, renamed"),
    "an observer by name": lambda store: (find_observer(store, "o1"), find_observer(store, "p05, renamed")),
    "contacts of a pair": lambda store: list(store.contacts("p03", "p13")),
    "contacts in an hour": lambda store: list(store.contacts(since=MIDDLE, until=MIDDLE + HOUR)),
    "flapping of a peer": lambda store: list(store.flapping(of="peer", peer="p03")),
    "flapping in an hour": lambda store: list(store.flapping(since=MIDDLE, until=MIDDLE + HOUR)),
    "transports in an hour": lambda store: list(store.transports(60, since=MIDDLE, until=MIDDLE + HOUR)),
    "fallbacks of a peer": lambda store: list(store.fallbacks("p03")),
    "degrees of a peer": lambda store: list(store.degrees("p03")),
    "degrees in an hour": lambda store: list(store.degrees(since=MIDDLE, until=MIDDLE + HOUR)),
    "degree_over": lambda store: list(store.degree_over("p03")),
    "presence_over": lambda store: list(store.presence_over(MIDDLE, MIDDLE + HOUR)),
    "cloud_sessions of a peer": lambda store: list(store.cloud_sessions("p03")),
    "cloud_sessions in an hour": lambda store: list(store.cloud_sessions(since=MIDDLE, until=MIDDLE + HOUR)),
    "cloud_at": lambda store: store.cloud_at(MIDDLE),
    "cloud_over": lambda store: list(store.cloud_over(MIDDLE, MIDDLE + HOUR)),
    "islands_at": lambda store: store.islands_at(MIDDLE),
    "islands_over": lambda store: list(store.islands_over(MIDDLE, MIDDLE + HOUR)),
    "cuts_at": lambda store: store.cuts_at(MIDDLE),
    "path_at": lambda store: store.path_at("p03", "p13", MIDDLE),
    "paths_over": lambda store: list(store.paths_over("p03", "p13", MIDDLE, MIDDLE + HOUR)),
    "distances_at": lambda store: store.distances_at("p03", MIDDLE, observer="o1"),
    "uptime of a peer": lambda store: list(store.uptime("p03")),
    "uptime in an hour": lambda store: list(store.uptime(since=MIDDLE, until=MIDDLE + HOUR)),
    "timeline of a peer": lambda store: list(store.timeline("p03", MIDDLE, MIDDLE + HOUR)),
    "seen of a peer": lambda store: list(store.seen("p03")),
    "seen of all": lambda store: list(store.seen()),
    "sessions clipped": lambda store: list(store.sessions(since=MIDDLE, until=MIDDLE + HOUR, clip=True)),
    "values_at": lambda store: store.values_at(MIDDLE, "/device_name"),
    "rollout in an hour": lambda store: list(store.rollout("/device_name", since=MIDDLE, until=MIDDLE + HOUR)),
    "rollout_at": lambda store: store.rollout_at("/device_name", "p05", MIDDLE),
    "laggards": lambda store: list(store.laggards("/device_name", "p05", MIDDLE)),
    "incompatible": lambda store: list(store.incompatible()),
    "incompatible in an hour": lambda store: list(store.incompatible("p03", MIDDLE, MIDDLE + HOUR)),
    "expected": lambda store: store.expected(["p03", "p05, renamed", "o1"], MIDDLE),
    "population in an hour": lambda store: list(store.population(MIDDLE, MIDDLE + HOUR)),
    "shared_names": lambda store: list(store.shared_names(MIDDLE)),
    "name_collisions in an hour": lambda store: list(store.name_collisions(MIDDLE, MIDDLE + HOUR)),
    "new_keys in an hour": lambda store: list(store.new_keys(since=MIDDLE, until=MIDDLE + HOUR)),
    "new_peers in an hour": lambda store: list(store.new_peers(MIDDLE, MIDDLE + HOUR)),
    "coverage in an hour": lambda store: list(store.coverage(since=MIDDLE, until=MIDDLE + HOUR)),
    "coverage as known": lambda store: list(store.coverage("o1", known_at=datetime.now(UTC))),
    "coverage_gaps": lambda store: list(store.coverage_gaps(HOUR)),
    "coverage_gaps with a limit": lambda store: list(store.coverage_gaps(since=MIDDLE, max_silence=60)),
    "coverage_shares": lambda store: list(store.coverage_shares()),
    "clock_skew in ten hours": lambda store: list(store.clock_skew(since=MIDDLE, until=MIDDLE + 10 * HOUR)),
    "disagreements_at": lambda store: store.disagreements_at(MIDDLE),
    "disagreements in an hour": lambda store: list(store.disagreements(MIDDLE, MIDDLE + HOUR)),
    "graphs in an hour": lambda store: list(store.graphs(MIDDLE, MIDDLE + HOUR, observer="o1")),
    "disagreements about a peer": lambda store: list(store.disagreements(peer="p03")),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_reads_a_growing_table_from_end_to_end(filled: str, name: str) -> None:
    with peerstore.open(filled) as store, caught() as statements:
        QUESTIONS[name](store)
    assert statements
    distinct = dict(statements)
    for statement, parameters in distinct.items():
        assert full_scans(filled, statement, parameters) == [], statement


def test_status_reads_no_history(filled: str) -> None:
    """It counts the keyframes, of which there are few, and on SQLite by their index; all else is looked up."""
    with peerstore.open(filled) as store, caught() as statements:
        assert store.status().observations == len(OBSERVERS) * 2500
    found = {step for each in dict(statements).items() for step in full_scans(filled, *each)}
    assert all("keyframe" in step for step in found), found
    assert found <= {"SCAN keyframe USING COVERING INDEX sqlite_autoindex_keyframe_1"} or "postgresql" in filled


def test_a_full_scan_would_be_seen(filled: str) -> None:
    assert full_scans(filled, "SELECT max(document_id) FROM element_change", ())


def test_a_presence_takes_few_statements_and_reads_few_rows(filled: str) -> None:
    """Three statements an observer and few for names; the rows read are at most twice the live elements and a floor."""
    with peerstore.open(filled) as store:
        store.presence_at(MIDDLE, observer="o1")
        with caught() as statements:
            presence = store.presence_at(MIDDLE, observer="o1")
    assert len(statements) <= 4
    live = len(presence.peers) + len(presence.connections) + 1
    [(statement, parameters)] = [each for each in statements if "FROM element_change" in each[0]]
    with sa.create_engine(filled).connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(statement, parameters)
        rows = len(cursor.fetchall())
    assert rows <= 2 * max(live, 64)


def test_recording_in_order_reads_nothing_of_the_past(store_url: str) -> None:
    """Once a store has recorded an observer, it knows where the chain ends, unless another process wrote to it."""
    observations = list(history())[:20]
    with peerstore.open(store_url) as store:
        store.record_many(observations[:19])
        with caught() as statements:
            store.record_many(observations[19:])
    growing = [statement for statement, _ in statements if any(f"FROM {name}" in statement for name in GROWING)]
    assert growing == []


def test_a_filter_picks_from_the_whole_answer(filled: str) -> None:
    """Asking for one peer, pair or kind reads by another way, and answers the same."""
    since, until = MIDDLE, MIDDLE + timedelta(days=5)
    with peerstore.open(filled) as store:
        changes = list(store.changes(since, until))
        for peer in ("p03", "p17", "o1"):
            touching = [each for each in changes if peer in ends(each) or each.kind.startswith("observer")]
            assert list(store.changes(since, until, peer=peer)) == touching
            mine = [each for each in store.metadata_changes(since=since, until=until) if each.peer_key == peer]
            assert list(store.metadata_changes(peer, since, until)) == mine
            assert by_start(store.sessions(peer, since, until)) == by_start(
                each for each in store.sessions(since=since, until=until) if each.peer_key == peer
            )
        links = by_start(store.connection_sessions(since=since, until=until))
        pair = [each for each in links if {each.connection.peer1, each.connection.peer2} == {"p03", "p13"}]
        assert pair
        assert by_start(store.connection_sessions("p13", "p03", since, until)) == pair
        assert list(store.changes(since, until, kinds=["connected"])) == [
            each for each in changes if each.kind == "connected"
        ]


def test_parts_of_a_range_make_the_whole(filled: str) -> None:
    """Changes over a range are those over its parts, wherever it is cut."""
    cuts = [START + timedelta(days=20, minutes=35 * number) for number in (0, 1, 7, 300, 301)]
    with peerstore.open(filled) as store:
        whole = list(store.changes(cuts[0], cuts[-1]))
        parts = [change for begin, end in pairwise(cuts) for change in store.changes(begin, end)]
    assert parts == whole


def ends(change: peerstore.Change) -> set[str | None]:
    link = change.connection
    return {change.peer_key} if link is None else {link.peer1, link.peer2}


def by_start(sessions: Iterable[Any]) -> list[Any]:
    return sorted(sessions, key=lambda each: (each.start, str(each)))


def test_the_gaps_of_an_observer_are_read_by_their_index(filled: str) -> None:
    """Without statistics SQLite would read the log of the observer instead, from the question's beginning on."""
    with peerstore.open(filled) as store, caught() as statements:
        list(store.sessions("p03", since=MIDDLE))
    [asked] = {text for text, _ in statements if "gap.gap_from IS NOT NULL" in text}
    values = next(values for text, values in statements if text == asked)
    with sa.create_engine(filled, poolclass=sa.NullPool).connect() as connection:
        cursor = connection.connection.cursor()
        if connection.dialect.name == "sqlite":
            plan = cursor.execute(f"EXPLAIN QUERY PLAN {asked}", values).fetchall()
        else:
            plan = generic_plan(cursor, asked, values)
        assert any("ix_observation_log_gap" in str(row) for row in plan)
