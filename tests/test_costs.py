"""What answers and records cost, in counters that no machine's mood changes: rows, statements, bytes.

The clocks are in ``benchmarks/``; what is pinned here is why they are fast. ``tests/test_plans.py`` pins the plans.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

import peerstore
from benchmarks.churn import Churn
from peerstore.canonical import ABSENT
from peerstore.keyframe_spacing import KEYFRAME_FLOOR
from tests.conftest import ENGINES, drop_url, fresh_url

LIVE = 60
OBSERVATIONS = 1_500


@contextmanager
def caught() -> Iterator[list[tuple[str, Any, bool]]]:
    """Every statement that reaches an engine meanwhile, with its values, and whether it is run for many."""
    statements: list[tuple[str, Any, bool]] = []

    def catch(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not statement.startswith(("BEGIN", "COMMIT")):
            statements.append((statement, parameters, many))

    event.listen(sa.Engine, "before_cursor_execute", catch)
    try:
        yield statements
    finally:
        event.remove(sa.Engine, "before_cursor_execute", catch)


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return list(islice(Churn(10**9, live=LIVE, debounce=5.0).lines(), OBSERVATIONS))


@pytest.fixture(scope="module", params=ENGINES)
def recorded(request: pytest.FixtureRequest, lines: list[bytes]) -> Iterator[str]:
    url = fresh_url(request.param)
    with peerstore.open(url) as store:
        store.record_many(lines)
    yield url
    drop_url(url)


def instants(store: peerstore.PeerStore, count: int) -> list[datetime]:
    [observer] = store.observer_summaries()
    length = (observer.last_observed_at - observer.first_observed_at).total_seconds()
    chance = random.Random(4)
    return [observer.first_observed_at + timedelta(seconds=length * chance.random()) for _ in range(count)]


def rows(url: str, statement: str, parameters: Any) -> int:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(statement, parameters)
        return len(cursor.fetchall())


def test_a_moment_reads_a_keyframe_and_half_as_many_rows_as_are_live(recorded: str) -> None:
    with peerstore.open(recorded) as store:
        for at in instants(store, 40):
            with caught() as statements:
                state = store.ids_at(at)
            read = sum(rows(recorded, text, values) for text, values, _ in statements if "FROM observer" not in text)
            # The observation in force, its keyframe, and the changes since.
            assert read <= 2 + max(KEYFRAME_FLOOR, len(state) // 2) + LIVE // 2
            assert read <= 2 * len(state)


@pytest.mark.parametrize("question", ["ids_at", "presence_at"])
def test_a_moment_takes_three_statements_however_long_the_history(recorded: str, question: str) -> None:
    with peerstore.open(recorded) as store:
        at = instants(store, 1)[0]
        ask = getattr(store, question)
        ask(at)  # the dictionaries are read once
        with caught() as statements:
            ask(at)
    assert len(statements) <= 3, statements


def test_a_moment_that_is_new_takes_two_statements_more(recorded: str) -> None:
    with peerstore.open(recorded) as store, caught() as statements:
        store.presence_at(instants(store, 1)[0])
    asked = [text for text, _, _ in statements if "FROM element" in text or "FROM document" in text]
    assert 2 <= len(asked) <= 4


@pytest.fixture(params=ENGINES)
def fresh(request: pytest.FixtureRequest) -> Iterator[str]:
    url = fresh_url(request.param)
    yield url
    drop_url(url)


def test_an_observation_takes_a_dozen_statements(fresh: str, lines: list[bytes]) -> None:
    with peerstore.open(fresh) as store:
        store.record_many(lines[:100])
        counts = []
        for line in lines[100:150]:
            with caught() as statements:
                store.record_many([line])
            counts.append(len(statements))
    assert max(counts) <= 14, counts


def test_a_batch_takes_few_statements_more_than_one(fresh: str, lines: list[bytes]) -> None:
    more = lines[:200]
    with peerstore.open(fresh) as store:
        store.record_many(more[:1])
        with caught() as statements:
            store.record_many(more[1:])
    assert len(statements) <= 40, [text[:60] for text, _, _ in statements]


def test_a_change_takes_few_bytes(lines: list[bytes]) -> None:
    """What is asserted is the second half: what a database takes before anything is in it does not grow."""
    url = fresh_url("sqlite")
    sizes, changes = [], []
    with peerstore.open(url) as store:
        for part in (lines[: len(lines) // 2], lines[len(lines) // 2 :]):
            store.record_many(part)
            with store._database.without_transaction() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                tables = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall())
            growing = ("element_change", "ix_element_change_timeline", "observation_log", "keyframe")
            sizes.append(sum(tables[name] for name in growing))
            changes.append(store.status().changes)
    drop_url(url)
    each = (sizes[1] - sizes[0]) / (changes[1] - changes[0])
    assert each < 85, each


def test_only_what_is_asked_for_is_parsed(recorded: str) -> None:
    with peerstore.open(recorded) as store:
        presence = store.presence_at(instants(store, 1)[0])
        peers = list(presence.peers.values())[1:]
        assert all(peer._document._value is ABSENT for peer in peers)
        assert peers[0].peer_metadata
        assert peers[0]._document._value is not ABSENT


def test_answers_share_what_is_equal_in_them(recorded: str) -> None:
    with peerstore.open(recorded) as store:
        at = instants(store, 1)[0]
        one, other = store.presence_at(at), store.presence_at(at + timedelta(microseconds=1))
        shared = [key for key in one.peers if one.peers[key] is other.peers[key]]
        assert len(shared) >= len(one.peers) - 1  # all but the observer itself
        assert all(link is again for link, again in zip(one.connections, other.connections, strict=True))
