"""The views of the database, read as anybody would, against the answers of the Python interface."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings

import peerstore
from peerstore.times import instant, iso, micros
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.databases import emptied, plain
from tests.machine import DOCUMENTS, SECOND, START, STEP, Envelope, batches, line
from tests.model import Graph

END: Final = START + 100 * STEP
FULL: Final = os.environ.get("PEERSTORE_HYPOTHESIS") == "full"
FEW: Final = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=500 if FULL else 25)


@pytest.fixture(params=ENGINES, scope="module")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """One database for all examples of an engine, emptied by each."""
    url = fresh_url(request.param)
    peerstore.upgrade(url)
    yield url
    drop_url(url)


class Interval(NamedTuple):
    """What held in the view of one observer, from when until when (``None``: it still holds)."""

    observer: str
    what: Any
    start: int
    end: int | None


def seen(url: str, view: str) -> list[dict[str, Any]]:
    """All rows of a view."""
    with plain(url) as connection:
        return [dict(row._mapping) for row in connection.execute(sa.text(f"SELECT * FROM {view}"))]


def times(row: dict[str, Any]) -> tuple[int, int | None]:
    """The bounds of an interval, told alike by its texts and its integers."""
    start, end = row["valid_from"], row["valid_to"]
    told = (micros(datetime.fromisoformat(start)), None if end is None else micros(datetime.fromisoformat(end)))
    assert told == (row["valid_from_us"], row["valid_to_us"])
    return told


def readable(value: Any, url: str) -> Any:
    """A JSON value as the views of an engine can show it."""
    if isinstance(value, str):
        return value if url.startswith("sqlite") else value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [readable(each, url) for each in value]
    if isinstance(value, dict):
        return {readable(name, url): readable(each, url) for name, each in value.items()}
    return value


def frozen(value: Any) -> str:
    """A JSON value as text, so that 1 is not true."""
    return "(absent)" if value is peerstore.ABSENT else json.dumps(value, sort_keys=True)


def of_view(text: str | None) -> str:
    """A value of ``attribute_change`` as :func:`frozen` tells it."""
    return "(absent)" if text is None else json.dumps(json.loads(text), sort_keys=True)


def folded(presences: list[tuple[int, dict[Any, Any]]]) -> Iterator[tuple[Any, Any, int, int | None]]:
    """Maximal intervals (key, value, start, end) out of a function of time given at its change points."""
    held: dict[Any, tuple[Any, int]] = {}
    for at, now in presences:
        for key in list(held):
            value, start = held[key]
            if key not in now or now[key] != value:
                yield key, value, start, at
                del held[key]
        for key, value in now.items():
            held.setdefault(key, (value, at))
    for key, (value, start) in held.items():
        yield key, value, start, None


def presences(store: peerstore.PeerStore, observer: str) -> list[peerstore.Presence]:
    return list(store.presence_over(instant(START - STEP), instant(END), observer=observer))


@contextmanager
def recorded(url: str, envelopes: list[Envelope]) -> Iterator[peerstore.PeerStore]:
    """A store that holds just these."""
    emptied(url)
    with peerstore.open(url) as store:
        store.record_many(map(line, envelopes))
        yield store


@FEW
@given(envelopes=batches(8))
def test_histories(url: str, envelopes: list[Envelope]) -> None:
    with recorded(url, envelopes) as store:
        observers = [summary.observer for summary in store.observer_summaries()]
        over = {observer: presences(store, observer) for observer in observers}
        check_peers(url, store, over)
        check_connections(url, over)
        check_coverage(url, over)


def check_peers(url: str, store: peerstore.PeerStore, over: dict[str, list[peerstore.Presence]]) -> None:
    shown = []
    for row in seen(url, "peer_history"):
        document = json.loads(row["document"])
        check_columns(url, row, document)
        shown.append(Interval(row["observer"], (row["peer_key"], frozen(document)), *times(row)))
    expected = [
        Interval(observer, (key, value), start, end)
        for observer, given in over.items()
        for key, value, start, end in folded(
            [(micros(each.at), {key: frozen(peer.document) for key, peer in each.peers.items()}) for each in given]
        )
    ]
    assert Counter(shown) == Counter(expected)
    check_ids(url, "peer_history", "e.peer1 = h.peer_key")
    for observer in over:
        sessions = [(each.peer_key, each.start, each.end) for each in store.sessions(observer=observer)]
        assert Counter(joined(shown, observer)) == Counter(sessions)


def check_ids(url: str, view: str, names: str) -> None:
    """The ids in a history lead to the observer and the element that it tells of."""
    with plain(url) as connection:
        wrong = connection.exec_driver_sql(
            f"SELECT h.* FROM {view} h LEFT JOIN observer o ON o.id = h.observer_id AND o.observer_key = h.observer"
            f" LEFT JOIN element e ON e.id = h.element_id AND e.kind = '{view.removesuffix('_history')}' AND {names}"
            " WHERE o.id IS NULL OR e.id IS NULL"
        ).all()
    assert wrong == []


def check_columns(url: str, row: dict[str, Any], document: dict[str, Any]) -> None:
    """The columns beside the document say what it says."""
    for name in ("device_name", "os", "sdk_version"):
        text = document.get(name)
        if url.startswith("sqlite") and text is not None and "\0" in text:
            text = json.dumps(text)[1:-1]
        assert row[name] == readable(text, url)
    for name in ("is_connected_to_cloud", "is_compatible"):
        assert row[name] == document.get(name)
    for name in ("peer_metadata", "identity_service_metadata"):
        assert of_view(row[name]) == frozen(readable(document.get(name, peerstore.ABSENT), url))


def joined(shown: list[Interval], observer: str) -> Iterator[tuple[str, datetime, datetime | None]]:
    """The intervals of one observer's peers without their versions: as sessions."""
    of_observer = sorted((each.what[0], each.start, each.end) for each in shown if each.observer == observer)
    while of_observer:
        key, start, end = of_observer.pop(0)
        while of_observer and of_observer[0][:2] == (key, end):
            end = of_observer.pop(0)[2]
        yield key, instant(start), None if end is None else instant(end)


def check_connections(url: str, over: dict[str, list[peerstore.Presence]]) -> None:
    shown = []
    for row in seen(url, "connection_history"):
        ends = {1: row["peer1"], 2: row["peer2"]}
        listed_by = tuple(sorted(ends[end] for end in json.loads(row["listed_by"])))
        link = (row["peer1"], row["peer2"], row["type"], row["id"])
        shown.append(Interval(row["observer"], (link, listed_by), *times(row)))
    expected = [
        Interval(observer, (link, listed_by), start, end)
        for observer, given in over.items()
        for link, listed_by, start, end in folded(
            [
                (micros(each.at), {(c.peer1, c.peer2, c.type, c.id): c.listed_by for c in each.connections})
                for each in given
            ]
        )
    ]
    assert Counter(shown) == Counter(expected)
    check_ids(url, "connection_history", "(e.peer1, e.peer2, e.type, e.source_id) = (h.peer1, h.peer2, h.type, h.id)")


def check_coverage(url: str, over: dict[str, list[peerstore.Presence]]) -> None:
    shown = [Interval(row["observer"], "watching", *times(row)) for row in seen(url, "coverage")]
    expected = [
        Interval(observer, "watching", start, end)
        for observer, given in over.items()
        for _, _, start, end in folded(
            [(micros(each.at), dict.fromkeys([o.observer for o in each.observers if o.watching])) for each in given]
        )
    ]
    assert Counter(shown) == Counter(expected)


_BEFORE, _AFTER = (Graph("a", {"a": document}, {}) for document in DOCUMENTS[1:3])
_CHANGED_WHILE_STOPPING = [
    Envelope("a", START, 0, _BEFORE),
    Envelope("a", START + STEP, 0, _AFTER),
    Envelope("a", START + STEP, 1, None),
    Envelope("a", START + 2 * STEP, 0, _AFTER),
]


@FEW
@given(envelopes=batches(8))
@example(_CHANGED_WHILE_STOPPING)
@example(_CHANGED_WHILE_STOPPING[:3])
@example([*_CHANGED_WHILE_STOPPING[:3], Envelope("a", START + 2 * STEP, 0, _BEFORE)])
def test_attribute_changes(url: str, envelopes: list[Envelope]) -> None:
    with recorded(url, envelopes) as store:
        expected: Counter[Any] = Counter()
        for summary in store.observer_summaries():
            for each in store.metadata_changes(observer=summary.observer):
                before, after = (frozen(readable(value, url)) for value in (each.before, each.after))
                key = (summary.observer, each.peer_key, iso(each.observed_at), each.path)
                expected[key, before, after, each.across_absence] += before != after
    assert shown_changes(url) == +expected


def shown_changes(url: str) -> Counter[Any]:
    """The rows of ``attribute_change``, comparable."""
    shown: Counter[Any] = Counter()
    for row in seen(url, "attribute_change"):
        at = datetime.fromisoformat(row["observed_at"])
        assert micros(at) == row["observed_at_us"]
        key = (row["observer"], row["peer_key"], iso(at), row["path"])
        shown[key, of_view(row["before_value"]), of_view(row["after_value"]), bool(row["across_absence"])] += 1
    return shown


# Every character but a quotation mark in keys, below which SQLite rounds numbers, and the one that stands for NUL.
_text = st.text(st.characters(codec="utf-8", exclude_characters='"\ufffd'), max_size=5)
_numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | _text | st.sampled_from(['"', "\\", 'a\\"b', "\\u0000", "{}", "null"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text, inner, max_size=2),
    max_leaves=4,
)
_metadata = st.dictionaries(_text | st.sampled_from(["a", "b", "a/b", "~1", "", "a.b[0]", "\\"]), _values, max_size=3)


@FEW
@given(before=_metadata, after=_metadata)
@example({"a": 0.1 + 0.2, "b": 2**64}, {"a": 0.3, "b": 2**64 + 1})
@example({"\\u0000": "\\u0000", "x": ["\\u0000\0"]}, {"\\u0000": "\\ud800", "x": ["\\u0000\0\0"]})
@example({"a": {"b": {}}}, {"a": {"b": {"c": None}}})
@example({"a": True, "b": "1"}, {"a": 1, "b": 1})
def test_values(url: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Of any metadata that changes, the view tells what Python tells."""
    emptied(url)
    with peerstore.open(url) as store:
        for second, metadata in enumerate((before, after)):
            graph = {"localPeer": {"peerKey": "me", "peerMetadata": metadata}, "remotePeers": []}
            store.record(graph, instant(START + second * SECOND))
        expected: Counter[Any] = Counter()
        for each in store.metadata_changes(observer="me"):
            key = ("me", "me", iso(each.observed_at), readable(shown_path(url, each.path), url))
            expected[key, *(frozen(readable(value, url)) for value in (each.before, each.after)), False] += 1
    assert shown_changes(url) == expected


def shown_path(url: str, path: str) -> str:
    """SQLite shows a key that holds U+0000 as JSON escapes it."""
    if not url.startswith("sqlite"):
        return path
    keys = path.split("/")
    return "/".join(json.dumps(key, ensure_ascii=False)[1:-1] if "\0" in key else key for key in keys)


@FEW
@given(envelopes=batches(8))
def test_observations(url: str, envelopes: list[Envelope]) -> None:
    with recorded(url, envelopes):
        pass
    expected: dict[Any, Any] = {}
    for each in envelopes:
        silence = None if each.max_silence is None else each.max_silence / SECOND
        told = (int(each.graph is None), silence)
        expected.setdefault((each.observer, each.observed_at, each.sequence), told)
    rows = seen(url, "observation")
    shown = {
        (row["observer"], row["observed_at_us"], row["sequence"]): (row["stopped"], row["max_silence_seconds"])
        for row in rows
    }
    assert shown == expected
    assert len(rows) == len(shown)
    assert all(iso(datetime.fromisoformat(row["observed_at"])) == iso(row["observed_at_us"]) for row in rows)


@pytest.mark.parametrize("year", [1, 1583, 1969, 1970, 2400, 9999])
def test_years(url: str, year: int) -> None:
    """The texts of times are right in every year that can be recorded."""
    emptied(url)
    first = datetime(year, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    last = datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    graph = {"localPeer": {"peerKey": "me"}, "remotePeers": []}
    with peerstore.open(url) as store:
        store.record(graph, first)
        store.record({**graph, "future": 1}, last, max_silence=timedelta(days=9000))
    told = [row["observed_at"] for row in sorted(seen(url, "observation"), key=lambda row: str(row["observed_at"]))]
    assert told == [f"{year:04}-01-01T00:00:00.000001Z", f"{year:04}-12-31T23:59:59.999999Z"]
    [coverage] = seen(url, "coverage")
    assert (coverage["valid_to"] is None) == (coverage["valid_to_us"] is None) == (year == 9999)


def test_text_that_an_engine_cannot_show(url: str) -> None:
    """Half of a surrogate pair and U+0000 never make a view fail; the document is exact."""
    emptied(url)
    name = "a\0b\ud800c\\u0000"
    with peerstore.open(url) as store:
        for second, value in enumerate(("x\udfff", "é\udfff", 1.5)):
            metadata = {"half\ud800": value, "é": "ü", 'q"': [value]}
            graph = {"localPeer": {"peerKey": "me", "deviceName": name, "peerMetadata": metadata}, "remotePeers": []}
            store.record(graph, instant(START + second * SECOND))
    rows = seen(url, "peer_history")
    assert [json.loads(row["document"])["device_name"] for row in rows] == [name] * 3
    sqlite = url.startswith("sqlite")
    assert {row["device_name"] for row in rows} == {r"a\u0000b\ud800c\\u0000" if sqlite else "a\ufffdb\ufffdc\\u0000"}
    paths = {row["path"] for row in seen(url, "attribute_change")}
    assert paths == {'/peer_metadata/q"', "/peer_metadata/half" + (r"\ud800" if sqlite else "\ufffd")}


@pytest.mark.parametrize("view", ["peer_history", "connection_history"])
@pytest.mark.parametrize("column", ["observer_id", "element_id"])
def test_an_id_reaches_the_tables(url: str, view: str, column: str) -> None:
    """A history asked by a literal id reads no change of another observer or element."""
    asked = f"SELECT * FROM {view} WHERE {column} = 1"
    with plain(url) as connection:
        if url.startswith("sqlite"):
            if column == "element_id":
                pytest.skip("SQLite does not tell what it filters by without an index")
            steps = [step[3] for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}")]
            assert sum("ix_element_change" in step for step in steps) == 1
            assert any("ix_element_change" in step and f"({column}=?" in step for step in steps)
        else:
            [plan] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {asked}").scalar_one()
            read = [node for node in steps_of(plan["Plan"]) if node.get("Relation Name") == "element_change"]
            assert len(read) == 1
            assert (
                f"({column} = 1)"
                in f"{read[0].get('Filter')} {read[0].get('Index Cond')} {read[0].get('Recheck Cond')}"
            )


def steps_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every step of a plan of PostgreSQL."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from steps_of(inner)
