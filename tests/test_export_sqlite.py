"""The SQLite export: what others read in the file is what the store answers, and Datasette serves it."""

from __future__ import annotations

import asyncio
import html
import json
import random
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from datasette.app import Datasette
from hypothesis import given

import peerstore
from peerstore.exporting.datasette import datasette_metadata, write_beside
from peerstore.exporting.source import Selection, Source
from peerstore.exporting.sqlite import write
from peerstore.exporting.tables import TABLES
from peerstore.times import instant, iso
from tests.commands import envelope, unconnected
from tests.conftest import drop_url, fresh_url
from tests.machine import instants, line
from tests.strategies import OBSERVER, graphs
from tests.worlds import RECORDED, World, arguments, recorded, tried, worlds

NASTY = (
    "é",
    "a\0b",
    "\ud800",
    "]]>\u2028\x1b[31m",
    '"; DROP TABLE peers; --',
    "=cmd()",
    "../../x",
    "\\u0000",
    "x" * 10_000,
    "",
)

NAMES = ["sim-kitchen-1", "Café Ünïque", *NASTY[:8]]


def exported(store: peerstore.PeerStore, path: Path, selection: Selection | None = None) -> dict[str, int]:
    """Export to a file that is there and empty; whatever was there before is gone."""
    path.unlink(missing_ok=True)
    path.touch()
    with store.snapshot() as snapshot:
        return write(Source(snapshot, selection or Selection()), path)


def as_sql(kind: str, value: Any) -> Any:
    """A value of a table as the file is to hold it."""
    if value is None:
        return None
    if kind == "time":
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    return {False: 0, True: 1}[value] if kind == "boolean" else value


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


def assert_sound(path: Path) -> None:
    with opened(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(path.name)] == [path.name]


def assert_same(path: Path, store: peerstore.PeerStore, selection: Selection, counts: dict[str, int]) -> None:
    """Every table of the file holds the rows that the source gives, in their order."""
    with store.snapshot() as snapshot, opened(path) as connection:
        source = Source(snapshot, selection)
        for name, table in TABLES.items():
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            read = connection.execute(f'SELECT {columns} FROM "{name}" ORDER BY rowid').fetchall()
            kinds = [column.kind for column in table.columns]
            told = [tuple(map(as_sql, kinds, row)) for row in table.rows(source)]
            assert read == told, name
            assert counts[name] == len(told)
    assert counts.keys() == TABLES.keys()


@contextmanager
def recorded_in_two(world: World, engine: str) -> Iterator[peerstore.PeerStore]:
    """A store that recorded the first half of a world a second before the other."""
    url, now = fresh_url(engine), [instant(RECORDED)]
    half = len(world.envelopes) // 2
    try:
        with peerstore.open(url, clock=lambda: now[0]) as store:
            store.record_many([line(each) for each in world.envelopes[:half]])
            now[0] += timedelta(seconds=1)
            store.record_many([line(each) for each in world.envelopes[half:]])
            yield store
    finally:
        drop_url(url)


@st.composite
def selections(draw: st.DrawFn, world: World) -> Selection:
    """All of a history, a window, or a moment of it."""
    given_arguments = arguments(world)
    known_at = draw(st.sampled_from((None, None, instant(RECORDED))))
    scope = Selection(known_at=known_at, **given_arguments)
    which = draw(st.sampled_from(("all", "window", "window", "moment")))
    if which == "all":
        return scope
    if which == "moment":
        return replace(scope, at=instant(draw(instants)))
    first, second = sorted((instant(draw(instants)), instant(draw(instants))))
    return replace(scope, since=draw(st.sampled_from((None, first))), until=second)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_file_holds_what_the_store_answers(engine: str, tmp_path: Path) -> None:
    @tried(engine)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        world = data.draw(worlds())
        with recorded_in_two(world, engine) as store:
            for _ in range(3):
                selection = data.draw(selections(world))
                counts = exported(store, tmp_path / "x.db", selection)
                assert_sound(tmp_path / "x.db")
                assert_same(tmp_path / "x.db", store, selection, counts)

    holds()


def test_whatever_a_device_says_is_held(tmp_path: Path) -> None:
    @tried("sqlite")
    @given(st.lists(graphs(), min_size=1, max_size=3))
    def holds(said: list[dict[str, Any]]) -> None:
        url = fresh_url("sqlite")
        try:
            with peerstore.open(url) as store:
                for number, graph in enumerate(said):
                    at = datetime(2026, 1, 1, 0, 0, number, tzinfo=UTC)
                    with suppress(peerstore.InvalidGraph):  # some generated graphs contradict themselves
                        store.record(graph, observed_at=at, observer=OBSERVER)
                counts = exported(store, tmp_path / "x.db")
                assert_sound(tmp_path / "x.db")
                assert_same(tmp_path / "x.db", store, Selection(), counts)
                with opened(tmp_path / "x.db") as connection:
                    documents = dict(connection.execute("SELECT peer_key, document FROM peers WHERE is_listed"))
                known = {known.peer.peer_key: dict(known.peer.document) for known in store.known_peers()}
                assert {key: json.loads(text) for key, text in documents.items()} == known
        finally:
            drop_url(url)

    holds()


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A small history with nasty names, exported."""
    url = fresh_url("sqlite")
    with peerstore.open(url) as store:
        store.record_many([envelope(0, ["one", "two", "three"]), unconnected(3, NAMES)])
        exported(store, tmp_path / "mesh.db")
    drop_url(url)
    return tmp_path / "mesh.db"


def test_nasty_names_are_held(demo: Path) -> None:
    with opened(demo) as connection:
        read = connection.execute("SELECT device_name, document FROM peers").fetchall()
    assert {json.loads(document)["device_name"] for _, document in read} == {*NAMES}
    assert {"a\\u0000b", "\\ud800", "\\u005cu0000", "é", "../../x"} <= {name for name, _ in read}


@pytest.mark.parametrize(
    ("term", "found"),
    [("Kitchen", "sim-kitchen-1"), ('"sim-kitchen-1"', "sim-kitchen-1"), ("unique", "Café Ünïque"), ("none", None)],
)
def test_search_minds_neither_case_nor_accents(demo: Path, term: str, found: str | None) -> None:
    peers = "SELECT device_name FROM peers WHERE rowid IN (SELECT rowid FROM peers_fts WHERE peers_fts MATCH ?)"
    metadata = "SELECT text FROM metadata WHERE rowid IN (SELECT rowid FROM metadata_fts WHERE metadata_fts MATCH ?)"
    with opened(demo) as connection:
        for query in (peers, metadata):
            assert {text for (text,) in connection.execute(query, [term])} == ({found} if found else set())


def test_the_file_explains_every_column(demo: Path) -> None:
    with opened(demo) as connection:
        explained = {
            (table, column) for table, column in connection.execute("SELECT table_name, column_name FROM meanings")
        }
        tables = [name for (name,) in connection.execute("SELECT name FROM pragma_table_list WHERE type = 'table'")]
        there = {
            (table, column)
            for table in tables
            if table != "meanings" and not table.startswith("sqlite_")
            for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", [table])
        }
    assert {pair for pair in explained if pair[1]} == there
    assert {table for table, column in explained if not column} == TABLES.keys()


def test_the_sqlite3_shell_reads_it(demo: Path) -> None:
    shell = shutil.which("sqlite3")
    if shell is None:
        pytest.skip("there is no sqlite3 shell")
    query = "SELECT count(*), sum(is_observer) FROM peers; PRAGMA foreign_key_check;"
    result = subprocess.run([shell, "-readonly", str(demo), query], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("10|1\n", "")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_bytes_depend_on_the_history_alone(engine: str) -> None:
    @tried("postgresql")
    @given(worlds(), st.randoms(use_true_random=False))
    def same(world: World, chance: random.Random) -> None:
        said = [line(each) for each in {each[:3]: each for each in world.envelopes}.values()]
        nasty = [unconnected(number, ["one", *NASTY[: number + 1]]) for number in range(3)]
        reordered = chance.sample([*said, *nasty], len(said) + 3)
        assert bytes_of([*said, *nasty], "sqlite") == bytes_of(reordered, engine)

    same()


def bytes_of(said: list[dict[str, Any]], engine: str) -> bytes:
    """The bytes of an export of what was said, recorded in this order in one batch."""
    url = fresh_url(engine)
    try:
        with tempfile.TemporaryDirectory() as folder, peerstore.open(url, clock=lambda: instant(RECORDED)) as store:
            store.record_many(said)
            exported(store, Path(folder, "x.db"))
            return Path(folder, "x.db").read_bytes()
    finally:
        drop_url(url)


def test_durations_in_views_are_exact(tmp_path: Path) -> None:
    @tried("sqlite")
    @given(worlds(), st.integers(0, 10**6))
    def exact(world: World, shift: int) -> None:
        moved = [each._replace(observed_at=each.observed_at + shift * 7) for each in world.envelopes]
        with recorded(World(moved, world.question), "sqlite") as (store, _):
            exported(store, tmp_path / "x.db")
            sessions = [(each.peer_key, iso(each.start), seconds(each)) for each in store.sessions()]
            links = sorted((iso(each.start), seconds(each) or 0.0) for each in store.connection_sessions())
        with opened(tmp_path / "x.db") as connection:
            assert sessions == connection.execute("SELECT peer_key, start, seconds FROM peer_sessions_named").fetchall()
            query = "SELECT start, coalesce(seconds, 0.0) FROM connection_sessions_named"
            assert links == sorted(connection.execute(query))

    exact()


def seconds(session: Any) -> float | None:
    return None if session.end is None else (session.end - session.start).total_seconds()


def canned(file: Path, name: str, **parameters: str) -> list[dict[str, Any]]:
    """The rows of one of Datasette's queries."""
    query = datasette_metadata("x")["databases"]["x"]["queries"][name]
    assert set(query["params"]) == set(parameters)
    with opened(file) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query["sql"], parameters)]


def test_queries_of_a_moment_agree_with_the_store(tmp_path: Path) -> None:
    @tried("sqlite")
    @given(worlds(), st.lists(instants, min_size=3, max_size=6))
    def agree(world: World, moments: list[int]) -> None:
        with recorded(world, "sqlite") as (store, _):
            exported(store, tmp_path / "x.db")
            for moment in moments:
                presence = store.presence_at(instant(moment))
                at = iso(moment)
                peers = [row["peer_key"] for row in canned(tmp_path / "x.db", "presence_at", at=at)]
                assert sorted(peers) == sorted(presence.peers)
                links = [
                    (row["peer1"], row["peer2"], row["type"])
                    for row in canned(tmp_path / "x.db", "connections_at", at=at)
                ]
                assert sorted(links) == sorted((link.peer1, link.peer2, link.type) for link in presence.connections)
                watching = {row["observer"]: row["watching"] for row in canned(tmp_path / "x.db", "watching_at", at=at)}
                said = {each.observer for each in presence.observers if each.watching}
                assert {observer for observer, is_watching in watching.items() if is_watching} == said

    agree()


@pytest.mark.parametrize("at", ["2026-07-08T18:00:01Z", "2026-07-08 18:00:01", "2026-07-08T20:00:01+02:00", ""])
def test_a_moment_may_be_spelt_in_many_ways(demo: Path, at: str) -> None:
    assert len(canned(demo, "presence_at", at=at)) == (3 if at else 10)


def test_no_time_is_no_moment(demo: Path) -> None:
    assert canned(demo, "presence_at", at="once upon a time") == []


def test_queries_of_values_and_of_a_peer(tmp_path: Path) -> None:
    url = fresh_url("sqlite")
    with peerstore.open(url) as store:
        store.record_many([unconnected(0, ["one", "é"]), unconnected(5, ["one", "two"]), unconnected(9, ["one", "é"])])
        exported(store, tmp_path / "x.db")
        exported(store, tmp_path / "window.db", Selection(since=datetime(2026, 7, 8, 18, 0, 7, tzinfo=UTC)))
        exported(store, tmp_path / "moment.db", Selection(at=datetime(2026, 7, 8, 18, 0, 7, tzinfo=UTC)))
    drop_url(url)
    held = [("00", "05"), ("09", None)]
    spans = [(f"2026-07-08T18:00:{a}.000000Z", b and f"2026-07-08T18:00:{b}.000000Z") for a, b in held]
    for path, value in (("", "é"), ("/device_name", '"é"'), ("/peer_metadata/role", "é")):
        rows = canned(tmp_path / "x.db", "who_had_value", path=path, value=value)
        assert [(row["since"], row["until"]) for row in rows] == spans
    assert len(canned(tmp_path / "x.db", "who_had_value", path="", value="")) == 4
    [one, before, _] = canned(tmp_path / "window.db", "who_had_value", path="", value="")
    assert {one["since"], before["since"]} == {"2026-07-08T18:00:09.000000Z"}, (
        "it does not speak of what it does not hold"
    )
    assert {row["since"] for row in canned(tmp_path / "moment.db", "who_had_value", path="", value="")} == {None}
    [session] = canned(tmp_path / "x.db", "sessions_of_peer", peer="é")
    assert session == canned(tmp_path / "x.db", "sessions_of_peer", peer=session["peer_key"][:-2])[0]
    assert len(canned(tmp_path / "x.db", "sessions_of_peer", peer="")) == 2


# In Datasette itself.


async def served(path: Path, *requests: str) -> list[Any]:
    """What Datasette answers to requests, with the metadata that stands beside the file."""
    metadata = json.loads(write_beside(path).read_text())
    datasette = Datasette([str(path)], metadata=metadata)
    try:
        return [await datasette.client.get(request) for request in requests]
    finally:
        for database in datasette.databases.values():
            database.close()


def test_datasette_serves_every_page_with_its_descriptions(demo: Path) -> None:
    described = datasette_metadata("mesh")["databases"]["mesh"]
    views = ("peer_sessions_named", "connections_named", "connection_sessions_named")
    assert described["tables"].keys() == {*TABLES, *views, "meanings"}
    pages = ["/", "/mesh", *(f"/mesh/{name}" for name in (*described["tables"], *described["queries"]))]
    answers = dict(zip(pages, asyncio.run(served(demo, *pages)), strict=True))
    assert {page: answer.status_code for page, answer in answers.items()} == dict.fromkeys(pages, 200)
    assert "The history of a Ditto mesh" in answers["/"].text
    for name, table in described["tables"].items():
        text = html.unescape(answers[f"/mesh/{name}"].text)
        assert table["description"] in text
        assert all(f"<dt>{column}</dt><dd>{meaning}</dd>" in text for column, meaning in table["columns"].items())
    for name, query in described["queries"].items():
        assert query["title"] in answers["/mesh"].text
        assert query["description"] in html.unescape(answers[f"/mesh/{name}"].text)


def test_datasette_describes_the_columns_that_are_there(demo: Path) -> None:
    tables = datasette_metadata("mesh")["databases"]["mesh"]["tables"]
    with opened(demo) as connection:
        for name, table in tables.items():
            there = {column for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", [name])}
            assert there == table["columns"].keys(), name
            assert {*table.get("facets", ()), table.get("sort", "meaning"), table.get("sort_desc", "start")} <= (
                there | {"meaning", "start"}
            )


def test_datasette_searches_and_shows_names_in_place_of_keys(demo: Path) -> None:
    asked = (
        "/mesh/peers.json?_search=sim-kitchen-1&_shape=array",
        "/mesh/metadata.json?_search=cafe&_shape=array",
        "/mesh/connections",
        "/mesh/peers?_search=drop",
        "/mesh/presence_at.json?at=2026-07-08T18:00:01Z&_shape=array",
    )
    peers, metadata, connections, dropped, present = asyncio.run(served(demo, *asked))
    assert [row["device_name"] for row in peers.json()] == ["sim-kitchen-1"]
    assert {row["text"] for row in metadata.json()} == {"Café Ünïque"}
    assert ">sim-kitchen-1</a>" in connections.text
    assert "DROP TABLE" in dropped.text
    assert len(present.json()) == 3


# Failures, and what it costs.


def test_what_the_file_system_refuses_is_an_error_of_sqlite(tmp_path: Path) -> None:
    url = fresh_url("sqlite")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with peerstore.open(url) as store:
        store.record_many([unconnected(0, ["one", *("x" * 100_000 for _ in range(8))])])
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
            with pytest.raises(sqlite3.OperationalError, match=r"disk"):
                exported(store, tmp_path / "x.db")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    drop_url(url)


def test_progress_is_told_of_every_row_and_may_stop_it(tmp_path: Path) -> None:
    told: list[int] = []

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    url = fresh_url("sqlite")
    with peerstore.open(url) as store, store.snapshot() as snapshot:
        store.record_many([envelope(number, ["one", "two"]) for number in range(3)])
    with peerstore.open(url) as store, store.snapshot() as snapshot:
        (tmp_path / "x.db").touch()
        counts = write(Source(snapshot, progress=told.append), tmp_path / "x.db")
        assert sum(told) == sum(counts.values())
        (tmp_path / "y.db").touch()
        with pytest.raises(KeyboardInterrupt):
            write(Source(snapshot, progress=stop), tmp_path / "y.db")
    drop_url(url)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.db", "y.db"]


def test_memory_holds_few_of_many_long_texts(tmp_path: Path) -> None:
    url = fresh_url("sqlite")
    start = datetime(2026, 7, 8, 18, tzinfo=UTC)
    with peerstore.open(url) as store:
        for number in range(40):
            graph = {"localPeer": {"peerKey": f"peer-{number}", "deviceName": "x" * 500_000}, "remotePeers": []}
            store.record(graph, observed_at=start + timedelta(seconds=number))
    with peerstore.open(url) as store:
        tracemalloc.start()
        exported(store, tmp_path / "x.db")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    drop_url(url)
    assert (tmp_path / "x.db").stat().st_size > 80_000_000
    assert peak < 30_000_000
