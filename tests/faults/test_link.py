"""The link to PostgreSQL: cut, refused, hung, or broken off just when a commit was answered. Waits are bounded, what is
sent again does no harm, and a store that was open goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy.engine import make_url

import peerstore
import peerstore.database
import peerstore.postgresql_link
from tests.conftest import drop_url, fresh_url
from tests.databases import plain
from tests.faults.oracle import Expected, batches, place, places
from tests.faults.proxy import Proxy, proxy
from tests.faults.reporting import tried

GIVEN = batches(60)


@pytest.fixture
def direct() -> Iterator[str]:
    """The URL of a store without a proxy before it."""
    url = fresh_url("postgresql")
    yield url
    drop_url(url)


@pytest.fixture
def link(direct: str) -> Iterator[Proxy]:
    """A proxy before the store."""
    with proxy(make_url(direct)) as made:
        yield made


def test_a_commit_whose_answer_is_lost_is_done_once(link: Proxy, direct: str) -> None:
    total = peerstore.Summary()
    with peerstore.open(link.url()) as store:
        for number in range(8):
            link.drop_answers = 1
            summary = store.record_many(GIVEN[number])
            total.recorded += summary.recorded
            total.duplicates += summary.duplicates
    tried("answer to COMMIT dropped", dropped=link.dropped, recorded=total.recorded, duplicates=total.duplicates)
    assert link.dropped == 8
    # The first try did record them, and the second one finds them there.
    assert (total.recorded, total.duplicates) == (0, 24)
    assert Expected(GIVEN).findings(direct, range(8), 0) == []


def test_the_proxy_finds_a_build_that_does_not_try_again(
    link: Proxy, direct: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peerstore.postgresql_link, "worth_another_try", lambda _error: False)
    with peerstore.open(link.url()) as store:
        store.record_many(GIVEN[0])
        link.drop_answers = 1
        with pytest.raises(peerstore.DatabaseError):
            store.record_many(GIVEN[1])
    # So the commit was done, and nobody was told.
    assert {place(line) for line in GIVEN[1]} <= places(direct)


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_cut_at_any_moment(link: Proxy, direct: str, count: int) -> None:
    ended = threading.Event()

    def cutting() -> None:
        while not ended.wait(0.15):
            link.cut()

    with peerstore.open(link.url()) as store:
        store.record_many(GIVEN[0])
        thread = threading.Thread(target=cutting)
        thread.start()
        try:
            for batch in GIVEN[1:count]:
                store.record_many(batch)
        finally:
            ended.set()
            thread.join()
    tried("link cut", cuts=link.cuts, batches=count)
    assert Expected(GIVEN).findings(direct, range(count), 0) == []


def test_refused_for_a_while(link: Proxy, direct: str) -> None:
    with peerstore.open(link.url()) as store:
        store.record_many(GIVEN[0])
        link.refuse(0.5)
        store.record_many(GIVEN[1])
    assert Expected(GIVEN).findings(direct, range(2), 0) == []


@pytest.mark.parametrize(
    "again", [pytest.param(True, id="for a while", marks=pytest.mark.slow), pytest.param(False, id="for ever")]
)
def test_a_link_that_hangs(link: Proxy, direct: str, again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that keeps the connection and passes nothing on: no timeout of the server or the network sees it."""
    monkeypatch.setattr(peerstore.postgresql_link, "ANSWER_SECONDS", 1)
    monkeypatch.setattr(peerstore.database, "RETRY_SECONDS", 20 if again else 1)
    with peerstore.open(link.url(connect_timeout="2")) as store:
        store.record_many(GIVEN[0])
        link.flowing.clear()
        begun = time.monotonic()
        if again:
            threading.Timer(2.5, link.flowing.set).start()
            store.record_many(GIVEN[1])
        else:
            with pytest.raises(peerstore.DatabaseError, match=r"timeout|did not answer for 1 s"):
                store.record_many(GIVEN[1])
        took = time.monotonic() - begun
        link.flowing.set()
        assert took < 15
        store.record_many(GIVEN[1])
    tried("link hung", again=again, seconds=round(took, 1))
    assert Expected(GIVEN).findings(direct, range(2), 0) == []


def test_what_bounds_the_waits_stands_on_every_connection(direct: str) -> None:
    with peerstore.open(direct) as store:
        database = store._database
        for engine in (database._writer, database._reader):
            with engine.connect() as connection:
                raw = connection.connection.driver_connection
                assert raw is not None
                told = raw.info.get_parameters()
                assert (told["tcp_user_timeout"], told["connect_timeout"]) == ("30000", "10")
                assert (told["keepalives_idle"], told["keepalives_count"]) == ("30", "3")


def test_connections_that_were_lost_while_idle_are_replaced(direct: str) -> None:
    """Each of several that a restarted server or a firewall has ended in the meantime, not the first alone."""
    with peerstore.open(direct) as store:
        store.record_many(GIVEN[0])
        whole = list(store.observation_log())
        for _ in range(3):
            walks = [iter(store.observation_log()) for _ in range(3)]
            begun = [[next(each)] for each in walks]  # on a connection each
            assert [[*first, *rest] for first, rest in zip(begun, walks, strict=True)] == [whole] * 3
            with plain(direct) as connection:
                ended = connection.exec_driver_sql(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                assert ended.scalar_one() >= 3
        assert list(store.observation_log()) == whole


def test_who_reads_cannot_write(direct: str) -> None:
    with peerstore.open(direct) as store:
        store.record_many(GIVEN[0])
        with (
            pytest.raises(peerstore.DatabaseError, match="read-only transaction"),
            store._database.reading() as connection,
        ):
            connection.exec_driver_sql("DELETE FROM observation_log")
        assert store.status().observations == len(GIVEN[0])


def test_options_of_the_url_are_kept(direct: str) -> None:
    """A schema to itself, as the tutorial has it, beside what peerstore itself sets."""
    url = make_url(direct)
    named = url.update_query_dict({"options": "-csearch_path=elsewhere -c lock_timeout=7000", "connect_timeout": "3"})
    with peerstore.open(direct) as store, store._database.writing() as connection:
        connection.exec_driver_sql("CREATE SCHEMA elsewhere")
    with peerstore.open(named) as store:
        with store._database.reading() as connection:
            assert connection.exec_driver_sql("SHOW search_path").scalar_one() == "elsewhere"
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "7s"
            assert connection.exec_driver_sql("SHOW timezone").scalar_one() == "UTC"
        store.record_many(GIVEN[0])
    assert places(direct) == set()
