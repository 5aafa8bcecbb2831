"""The schema: one truth in code and revisions, upgrades as a whole or not at all, rules for distribution."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event

import peerstore
from peerstore import schema
from peerstore.tables import DICTIONARIES, metadata
from tests.conftest import ENGINES, bare_url, drop_url
from tests.databases import described, plain, relations, rows, upgrade_to
from tests.old_databases import ASSETS, KILLED_UPGRADE, START, graph, old_database

ROOT = Path(__file__).parents[1]
TABLES = list(metadata.tables.values())
GROWING = [table for table in TABLES if table.name not in DICTIONARIES]


def name_of(value: Any) -> str:
    return str(getattr(value, "name", value))


@pytest.fixture
def another_url(bare_database: str) -> Iterator[str]:
    """A second database on the same engine."""
    url = bare_url(sa.make_url(bare_database).get_backend_name())
    yield url
    drop_url(url)


# One truth.


def test_the_tables_are_what_the_revisions_make(bare_database: str, another_url: str) -> None:
    peerstore.upgrade(bare_database)
    with plain(another_url) as connection:
        metadata.create_all(connection)
    assert described(bare_database) == described(another_url)
    assert relations(bare_database) == {*metadata.tables, *schema.VIEWS, schema.VERSION_TABLE}


def test_a_difference_would_be_seen(bare_database: str, another_url: str) -> None:
    """The test above is worth something: it sees what autogenerate does not."""
    changed = sa.MetaData()
    for table in TABLES:
        table.to_metadata(changed)
    log = changed.tables["observation_log"]
    gap = next(index for index in log.indexes if str(index.name).endswith("gap"))
    for engine in ENGINES:
        gap.dialect_options[engine]["where"] = sa.text("gap_from > 0")
    peerstore.upgrade(bare_database)
    with plain(another_url) as connection:
        changed.create_all(connection)
    assert described(bare_database) != described(another_url)


def test_autogenerate_finds_nothing_to_do(bare_database: str) -> None:
    peerstore.upgrade(bare_database)
    options = {
        "compare_type": True,
        "compare_server_default": True,
        "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables,
        "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
    }
    with plain(bare_database) as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_there_is_one_newest_revision() -> None:
    scripts = ScriptDirectory(str(schema.migrations_folder()))
    assert scripts.get_heads() == [schema.HEAD]
    assert [script.revision for script in scripts.walk_revisions()] == sorted(
        (script.revision for script in scripts.walk_revisions()), reverse=True
    )


def test_alembics_own_command_comes_to_the_same(bare_database: str, another_url: str) -> None:
    peerstore.upgrade(bare_database)
    upgrade_to(another_url, "head")
    assert described(bare_database) == described(another_url)
    assert relations(bare_database) == relations(another_url)


# The page that tells of it.


def schema_page() -> Any:
    spec = importlib.util.spec_from_file_location("make_schema", ROOT / "docs" / "make_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
    assert page == schema_page().page(), "run python docs/make_schema.py"


def test_everything_is_told_about(bare_database: str) -> None:
    peerstore.upgrade(bare_database)
    assert [column for table in TABLES for column in table.columns if not column.comment] == []
    told = schema_page().views_told()
    with plain(bare_database) as connection:
        there = sa.inspect(connection)
        columns = {view: [column["name"] for column in there.get_columns(view)] for view in there.get_view_names()}
        assert columns == {view: list(named) for view, (_, named) in told.items()}
        if connection.dialect.name == "postgresql":
            for view, (meaning, named) in told.items():
                assert there.get_table_comment(view)["text"] == meaning
                assert {column["name"]: column["comment"] for column in there.get_columns(view)} == named
    assert set(columns) == set(schema.VIEWS)


def test_the_queries_of_the_page_run(bare_database: str) -> None:
    with peerstore.open(bare_database) as store:
        store.record(graph(3), START)
    page = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert len(queries) > len(schema.VIEWS)
    with plain(bare_database) as connection:
        for query in queries:
            connection.exec_driver_sql(query.rstrip().rstrip(";")).all()


# The rules that let it be distributed.


@pytest.mark.parametrize("table", GROWING, ids=name_of)
def test_every_key_of_a_growing_table_begins_with_the_observer(table: sa.Table) -> None:
    unique = [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    keys = [table.primary_key.columns, *(each.columns for each in unique), *(each.columns for each in table.indexes)]
    assert {next(iter(columns)).name for columns in keys} == {"observer_id"}
    for foreign_key in table.foreign_key_constraints:
        if foreign_key.referred_table.name not in DICTIONARIES:
            pair = (foreign_key.column_keys[0], foreign_key.elements[0].column.name)
            assert pair == ("observer_id", "observer_id"), foreign_key.name


@pytest.mark.parametrize("table", TABLES, ids=name_of)
def test_a_table_is_portable(table: sa.Table) -> None:
    """Dictionaries refer to dictionaries alone; nothing cascades; a table that refers to another numbers no rows."""
    for foreign_key in table.foreign_key_constraints:
        assert (foreign_key.ondelete, foreign_key.onupdate) == (None, None)
        assert table.name not in DICTIONARIES or foreign_key.referred_table.name in DICTIONARIES
    if table.foreign_keys:
        assert table.autoincrement_column is None
    assert not any(column.identity or column.computed or column.server_default for column in table.columns)
    assert metadata.tables.keys() >= DICTIONARIES


def test_there_are_no_triggers(bare_database: str) -> None:
    peerstore.upgrade(bare_database)
    assert [table["triggers"] for table in described(bare_database).values() if table["triggers"]] == []


# An upgrade happens as a whole or not at all.


class Interrupted(Exception):
    """What goes wrong in the middle of an upgrade."""


@contextmanager
def interrupted_at(number: int) -> Iterator[list[str]]:
    """Whatever is executed: the statement of this number raises instead; gives the statements."""
    ran: list[str] = []

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        ran.append(statement)
        if len(ran) == number + 1:
            raise Interrupted(statement)

    event.listen(sa.Engine, "before_cursor_execute", before)
    try:
        yield ran
    finally:
        event.remove(sa.Engine, "before_cursor_execute", before)


def upgrade_with_interruptions(url: str, look: Any) -> int:
    """Upgrade again and again, each time interrupted some statements later, and look at it each time."""
    number, step = 0, 1 if url.startswith("sqlite") else 5
    while True:
        with interrupted_at(number):
            try:
                peerstore.upgrade(url)
            except Interrupted:
                number += step
            else:
                return number
        look()


def test_an_interrupted_creation_leaves_nothing(bare_database: str) -> None:
    def look() -> None:
        assert relations(bare_database) == set()

    statements = upgrade_with_interruptions(bare_database, look)
    assert statements > len(TABLES) + len(schema.VIEWS)
    with peerstore.open(bare_database) as store:
        assert store.record(graph(1), START).status == "recorded"


def answers(url: str) -> Any:
    """What a store says of the time that :func:`old_database` tells about."""
    with peerstore.open(url) as store:
        moments = [START + timedelta(seconds=second / 2) for second in range(-1, 140, 7)]
        presences = [store.presence_at(moment).to_dict() for moment in moments]
        assert store.verify().ok
        return presences, [change.to_dict() for change in store.changes()]


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_an_interrupted_upgrade_of_a_database_with_data_leaves_it_as_it_was(bare_database: str, revision: str) -> None:
    old_database(bare_database, revision)
    before, there = rows(bare_database), relations(bare_database)

    def look() -> None:
        assert relations(bare_database) == there
        assert rows(bare_database) == before
        assert backups(bare_database) == []

    assert upgrade_with_interruptions(bare_database, look) > (len(schema.VIEWS) if revision == "0001" else 2)
    assert rows(bare_database).items() >= before.items()


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_an_upgrade_keeps_the_data(bare_database: str, another_url: str, revision: str) -> None:
    old_database(bare_database, revision)
    before = rows(bare_database)
    assert peerstore.upgrade(bare_database) == (revision, schema.HEAD)
    assert rows(bare_database).items() >= before.items()
    old_database(another_url, "head")
    assert answers(bare_database) == answers(another_url)
    assert peerstore.upgrade(bare_database) == (schema.HEAD, schema.HEAD)


def backups(url: str) -> list[str]:
    """The files beside a database that an upgrade left."""
    if not url.startswith("sqlite"):
        return []
    file = Path(str(sa.make_url(url).database))
    return [
        each.name
        for each in file.parent.iterdir()
        if each.name not in (file.name, f"{file.name}-wal", f"{file.name}-shm")
    ]


def test_an_upgrade_fills_in_what_documents_peers_had(bare_database: str, another_url: str) -> None:
    old_database(bare_database, "0002")
    old_database(another_url, "head")
    assert "peer_document" not in rows(bare_database)
    peerstore.upgrade(bare_database)
    pairs = rows(bare_database)["peer_document"]
    assert len(pairs) > 6
    assert pairs == rows(another_url)["peer_document"]


def test_an_upgrade_keeps_what_others_made_of_the_views(bare_database: str) -> None:
    """Rights on the views, and views that read them."""
    old_database(bare_database, "0003")
    with plain(bare_database) as connection:
        connection.exec_driver_sql("CREATE VIEW song AS SELECT peer_key FROM peer_history")
        if not bare_database.startswith("sqlite"):
            connection.exec_driver_sql("GRANT SELECT ON coverage, peer_history TO PUBLIC")
    peerstore.upgrade(bare_database)
    with plain(bare_database) as connection:
        assert connection.exec_driver_sql("SELECT * FROM song").all()
        if not bare_database.startswith("sqlite"):
            granted = "SELECT table_name FROM information_schema.role_table_grants WHERE grantee = 'PUBLIC'"
            shared = connection.exec_driver_sql(f"{granted} AND table_schema = current_schema()").scalars()
            assert set(shared) == {"coverage", "peer_history"}


def test_the_views_made_again_tell_what_they_told(bare_database: str) -> None:
    old_database(bare_database, "0002")
    before = told_by_views(bare_database)
    peerstore.upgrade(bare_database)
    after = told_by_views(bare_database)
    for view, told in before.items():
        names = told[0].keys()
        assert Counter(tuple(row[name] for name in names) for row in after[view]) == Counter(
            tuple(row.values()) for row in told
        )


def told_by_views(url: str) -> dict[str, list[Any]]:
    """All rows of each view; none of them is empty."""
    with plain(url) as connection:
        told = {view: connection.exec_driver_sql(f"SELECT * FROM {view}").mappings().all() for view in schema.VIEWS}
    assert all(told.values())
    return {view: list(found) for view, found in told.items()}


@pytest.mark.parametrize("number", [12, 25, pytest.param(18, marks=pytest.mark.slow)])
def test_a_killed_upgrade_leaves_nothing(bare_database: str, number: int) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_UPGRADE, bare_database, str(number)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert relations(bare_database) == set()
    assert peerstore.upgrade(bare_database) == (None, schema.HEAD)


OPENING = """
import sys
import peerstore

print("ready", flush=True)
sys.stdin.readline()
with peerstore.open(sys.argv[1]) as store:
    print(store.status().schema, flush=True)
"""


def test_four_processes_that_open_a_new_database_at_once_all_succeed(bare_database: str) -> None:
    command = [sys.executable, "-c", OPENING, bare_database]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert ended == [(f"{schema.HEAD}\n", "", 0)] * 4
    with plain(bare_database) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM store_info WHERE name = 'store_id'").scalar() == 1


# What is not ours is left alone.


def contents(url: str) -> Any:
    """All that is stored: the bytes of a file, or every relation and its rows."""
    if url.startswith("sqlite"):
        folder = Path(str(sa.make_url(url).database)).parent
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    return relations(url), rows(url)


def refused(url: str, *words: str) -> None:
    before = contents(url)
    for attempt in (peerstore.open, peerstore.upgrade):
        with pytest.raises(peerstore.SchemaError) as refusal:
            attempt(url)
        assert all(word in str(refusal.value) for word in words), refusal.value
        assert contents(url) == before


def test_a_newer_database_is_refused_untouched(bare_database: str) -> None:
    with peerstore.open(bare_database) as store:
        store.record(graph(1), START)
    with plain(bare_database) as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    if bare_database.startswith("sqlite"):
        with plain(bare_database) as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    refused(bare_database, "9999", "newer", schema.HEAD)


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE song (title TEXT)", "CREATE VIEW song AS SELECT 1 AS title"], ids=["table", "view"]
)
def test_an_sqlite_file_of_something_else_is_refused_untouched(tmp_path: Path, statement: str) -> None:
    with sqlite3.connect(tmp_path / "songs.db") as connection:
        connection.execute(statement)
    connection.close()
    refused(f"sqlite:///{tmp_path}/songs.db", "songs.db", "something else")


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("to do: buy a till\n" * 100)
    before = contents(f"sqlite:///{tmp_path}/notes.db")
    with pytest.raises(peerstore.DatabaseError, match=r"notes\.db is not an SQLite database"):
        peerstore.open(tmp_path / "notes.db")
    assert contents(f"sqlite:///{tmp_path}/notes.db") == before


@pytest.mark.parametrize("taken", ["observer", "coverage"])
def test_tables_of_others_are_not_taken_over(taken: str) -> None:
    url = bare_url("postgresql")
    with plain(url) as connection:
        connection.exec_driver_sql(f"CREATE TABLE {taken} (id INTEGER)")
    for attempt in (peerstore.open, peerstore.upgrade):
        with pytest.raises(peerstore.SchemaError, match=taken):
            attempt(url)
    assert relations(url) == {taken}
    drop_url(url)


def test_postgresql_holds_other_tables_beside_ours() -> None:
    url = bare_url("postgresql")
    with plain(url) as connection:
        connection.exec_driver_sql("CREATE TABLE song (title TEXT)")
    with peerstore.open(url) as store:
        assert store.record(graph(1), START).status == "recorded"
    drop_url(url)


# Databases that older versions made.


def test_there_is_an_old_database() -> None:
    assert ASSETS


@pytest.mark.parametrize("asset", ASSETS, ids=lambda path: path.stem)
def test_an_old_database_answers_as_it_did(asset: Path, tmp_path: Path) -> None:
    told = json.loads(asset.with_suffix(".json").read_text(encoding="utf-8"))
    database = tmp_path / asset.name
    shutil.copyfile(asset, database)
    database.chmod(0o600)
    with peerstore.open(database) as store:
        assert store.verify().ok
        assert store.verify().checked["peer_documents"] > len(store.device_names()) == 6
        for question in told["questions"]:
            assert as_told(asked(store, question), question["answer"]) == question["answer"], question
        assert store.record(graph(1), START + timedelta(days=999)).status == "recorded"


def as_told(answer: Any, told: Any) -> Any:
    """An answer without what answers did not tell in those days."""
    if isinstance(answer, dict) and isinstance(told, dict):
        return {name: as_told(value, told[name]) for name, value in answer.items() if name in told}
    if isinstance(answer, list) and isinstance(told, list) and len(answer) == len(told):
        return [as_told(*each) for each in zip(answer, told, strict=True)]
    return answer


def asked(store: peerstore.PeerStore, question: dict[str, Any]) -> Any:
    """A question of an asset's JSON, put to a store."""
    words = {
        name: datetime.fromisoformat(value) if name in ("at", "since", "until", "known_at") else value
        for name, value in question["arguments"].items()
    }
    answer = getattr(store, question["method"])(**words)
    told = answer.to_dict() if hasattr(answer, "to_dict") else [each.to_dict() for each in answer]
    return json.loads(json.dumps(told))
