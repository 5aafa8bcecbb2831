"""What peers are called, and the table of their documents that this rests on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from sqlalchemy import event

import peerstore
from peerstore import inventory
from peerstore.database import Database
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.databases import emptied, plain

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = (None, None, "Till", "Scanner", '100 %_\\"é\U0001f355')


def graph(**names: str | None) -> dict[str, Any]:
    """What ``till`` sees: itself, and these peers by their names."""
    return graph_of("till", {key: (name, 0) for key, name in names.items()})


def graph_of(observer: str, peers: dict[str, tuple[str | None, int]]) -> dict[str, Any]:
    told = [
        {"peerKey": key, "peerMetadata": {"n": number, "device_name": "no"}} | ({"deviceName": name} if name else {})
        for key, (name, number) in peers.items()
    ]
    return {"localPeer": {"peerKey": observer, "deviceName": observer}, "remotePeers": told}


# The newest name.


def test_the_newest_name_is_that_of_the_version_that_began_last(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record(graph(a="Old", b="Steady"), START)
        store.record(graph(a="New", b="Steady"), START + 3 * DAY)
        store.record(graph(a=None), START + 90 * DAY)  # it tells no name any more
        store.record(graph(), START + 400 * DAY)
        store.record(graph(a="Old"), START + 2 * DAY, observer="other")
        assert store.device_names() == {"a": "New", "b": "Steady", "till": "till"}
        store.record(graph(a="Newest"), START + 800 * DAY, observer="other")
        assert store.device_names()["a"] == "Newest"
        store.record(graph(a="Late"), START + 1 * DAY)
        assert store.device_names()["a"] == "Newest"
        assert {store.resolve_peer(name) for name in ("Old", "New", "Newest", "Late")} == {"a"}


def test_of_two_observations_of_an_instant_the_later_names(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record(graph(a="Z first"), START)
        store.record(graph(a="A second"), START, sequence=1)
        assert store.device_names()["a"] == "A second"


def test_names_are_found_however_far_back(store_url: str) -> None:
    """Each day another peer takes its last name; all go by two names, the second of which tells that day."""
    keys = [f"p{number:03}" for number in range(90)]
    names = dict.fromkeys(keys, "Old")
    with peerstore.open(store_url) as store:
        lines = []
        for number, key in enumerate(["", *keys]):
            names |= {key: f"New {key}"} if key else {}
            lines.append({"observed_at": START + number * DAY, "graph": graph(**names)})
        store.record_many(lines)
        found = store.device_names()
    assert {key: found[key] for key in keys} == {key: f"New {key}" for key in keys}


def test_a_name_of_nobody(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        assert store.device_names() == {}
        store.record(graph(a="Till 1", b="Till 1"), START)
        for name in ("no", "Till", "Till_1", "%"):
            with pytest.raises(peerstore.UnknownPeer):
                store.resolve_peer(name)
        with pytest.raises(peerstore.UnknownPeer, match="several peers"):
            store.resolve_peer("Till 1")


@pytest.mark.parametrize("name", ["Till\0", "Till\ud800", "\U0001f355 \ud83c", "\0", "x" * 5000], ids=ascii)
def test_a_name_that_no_database_can_be_asked_for(store_url: str, name: str) -> None:
    """NUL, halves of characters, and what is too long for a key: nobody's name, unless a device has it."""
    with peerstore.open(store_url) as store:
        store.record(graph(a="Till", b="Till 2"), START)
        with pytest.raises(peerstore.UnknownPeer, match="no peer goes by"):
            store.resolve_peer(name)
        store.record(graph(a=name), START + DAY)
        assert store.resolve_peer(name) == "a"


def test_observer_keys(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        assert store.observer_keys() == []
        for key in ("b", "B", "é", "a"):
            store.record(graph(), START, observer=key)
        assert store.observer_keys() == ["B", "a", "b", "é"]


# Of any history: against the definition.


class Said(NamedTuple):
    """An observation."""

    observer: str
    day: int
    sequence: int
    peers: dict[str, tuple[str | None, int]] | None

    def line(self) -> dict[str, Any]:
        told = None if self.peers is None else graph_of(self.observer, self.peers)
        at = START + self.day * DAY / 2
        return {"observed_at": at, "observer": self.observer, "sequence": self.sequence, "graph": told}


peers = st.dictionaries(st.sampled_from("ab"), st.tuples(st.sampled_from(NAMES), st.integers(0, 30)))
said = st.builds(
    Said,
    st.sampled_from(("o1", "o2", "o3")),
    st.one_of(st.integers(0, 6), st.integers(0, 1500)),
    st.integers(0, 1),
    st.one_of(peers, peers, peers, st.none()),
)


@pytest.fixture(params=ENGINES, scope="module")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """One database for all examples of an engine, emptied by each."""
    url = fresh_url(request.param)
    peerstore.upgrade(url)
    yield url
    drop_url(url)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(history=st.lists(said, max_size=60), size=st.integers(1, 30))
def test_names_and_documents_of_any_history(url: str, history: list[Said], size: int) -> None:
    taken: dict[tuple[str, int, int], Said] = {}
    for each in history:
        taken.setdefault((each.observer, each.day, each.sequence), each)  # another at its place is a conflict
    emptied(url)
    with peerstore.open(url) as store:
        for start in range(0, len(history), size):
            store.record_many(each.line() for each in history[start : start + size])
        shown = {key: name for key, name in store.device_names().items() if key in "ab"}
        assert shown == newest_names(list(taken.values()))
        assert store.verify().findings == []
        bearers = had(list(taken.values()))
        for name in NAMES[2:]:
            known = {key for key, documents in bearers.items() if name in {told for told, _ in documents}}
            assert resolved(store, str(name)) == (known.pop() if len(known) == 1 else None)
    assert documents_of(url) == bearers
    assert several(url) == {key for key, documents in bearers.items() if len(documents) > 1}


def newest_names(history: list[Said]) -> dict[str, str]:
    found: dict[str, tuple[int, str]] = {}
    for observer in {each.observer for each in history}:
        chain = sorted((each for each in history if each.observer == observer), key=lambda each: each[1:3])
        before: dict[str, tuple[str | None, int]] = {}
        last: dict[str, tuple[int, str]] = {}
        for each in chain:
            if each.peers is not None:
                for key, document in each.peers.items():
                    if document != before.get(key) and document[0]:
                        last[key] = each.day, document[0]
                before = each.peers
        for key, named in last.items():
            found[key] = max(found.get(key, named), named)
    return {key: name for key, (_, name) in found.items()}


def had(history: list[Said]) -> dict[str, set[tuple[str | None, int]]]:
    documents: dict[str, set[tuple[str | None, int]]] = {}
    for each in history:
        for key, document in (each.peers or {}).items():
            documents.setdefault(key, set()).add(document)
    return documents


def resolved(store: peerstore.PeerStore, name: str) -> str | None:
    try:
        return store.resolve_peer(name)
    except peerstore.UnknownPeer:
        return None


def documents_of(url: str) -> dict[str, set[tuple[str | None, int]]]:
    """The documents of ``a`` and ``b`` as the table has them."""
    query = """
        SELECT e.peer1, d.body FROM peer_document p
        JOIN element e ON e.id = p.element_id JOIN document d ON d.id = p.document_id WHERE e.peer1 IN ('a', 'b')"""
    found: dict[str, set[tuple[str | None, int]]] = {}
    with plain(url) as connection:
        for key, body in connection.execute(sa.text(query)):
            told = json.loads(body)
            found.setdefault(key, set()).add((told.get("device_name"), told["peer_metadata"]["n"]))
    return found


def several(url: str) -> set[str]:
    database = Database(url)
    with database.reading() as connection:
        keys = inventory.all_peers(connection)
        found = {keys[number] for number in inventory.peers_with_several_documents(connection)}
    database.close()
    return found


# The table of documents, when something goes wrong.


def test_a_conflict_gives_a_peer_no_document(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record(graph(a="Mine"), START)
        summary = store.record_many([{"observed_at": START, "graph": graph(a="Not mine", z="Nobody")}])
        assert summary.conflicts == 1
        assert store.device_names() == {"a": "Mine", "till": "till"}
        assert resolved(store, "Not mine") is None
        assert store.verify().findings == []
        store.record(graph(a="Not mine"), START + DAY)
        assert resolved(store, "Not mine") == "a"
        assert store.verify().findings == []


class Failure(Exception):
    """What an engine says of a commit; ``sqlstate`` 40001: try again."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("no commit")
        self.sqlstate = sqlstate


@pytest.mark.parametrize("sqlstate", ["40001", None], ids=["tried again", "failed"])
def test_what_was_not_committed_is_not_believed(store_url: str, sqlstate: str | None) -> None:
    failures = [Failure(sqlstate)]

    def fail(_: sa.Connection) -> None:
        if failures:
            raise sa.exc.OperationalError("COMMIT", {}, failures.pop())

    with peerstore.open(store_url) as store:
        event.listen(sa.Engine, "commit", fail)
        try:
            if sqlstate is None:
                with pytest.raises(peerstore.DatabaseError):
                    store.record(graph(a="Till"), START)
            assert store.record(graph(a="Till"), START).status == "recorded"
        finally:
            event.remove(sa.Engine, "commit", fail)
        assert failures == []
        assert store.verify().findings == []
        assert store.device_names()["a"] == "Till"


def damaged(url: str, statement: str) -> list[str]:
    """What ``verify`` finds after somebody else's hand was at the table."""
    with peerstore.open(url) as store:
        store.record(graph(a="Till", b="Scanner"), START)
        store.record(graph(a="Kasse", b="Scanner"), START + DAY)
        assert store.verify().findings == []
        assert store.verify().checked["peer_documents"] == 4
        with plain(url) as connection:
            assert connection.exec_driver_sql(statement).rowcount == 1
        return store.verify().findings


PEER = "(SELECT id FROM element WHERE kind = 'peer' AND peer1 = '{}')"
NAMED = "(SELECT id FROM document WHERE body LIKE '{}')"


def test_verify_finds_a_document_that_is_missing(store_url: str) -> None:
    number = NAMED.format("%Till%").replace("%", "%%" if store_url.startswith("postgresql") else "%")
    [finding] = damaged(store_url, f"DELETE FROM peer_document WHERE document_id = {number}")
    assert "does not tell that peer" in finding


@pytest.mark.parametrize("key", ["b", "till"])
def test_verify_finds_a_document_that_the_peer_never_had(store_url: str, key: str) -> None:
    number = NAMED.format("%Kasse%").replace("%", "%%" if store_url.startswith("postgresql") else "%")
    [finding] = damaged(store_url, f"INSERT INTO peer_document SELECT {PEER.format(key)}, {number}")
    assert "no change row does" in finding
