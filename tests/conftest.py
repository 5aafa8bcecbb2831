"""Fixtures: databases on both engines, and the real data beside the checkout where it is there."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy.engine import URL, make_url

import peerstore
from tests.postgres import NoServer, fresh_database, give_back, new_store, server_url

SHARED = Path(__file__).parents[2] / "shared" / "data"
ENGINES = ("sqlite", "postgresql")

# What nohup or a shell lets the tests ignore, the programs that they start would ignore too. A handler, unlike that,
# is not inherited, and this one ignores them here still.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

hypothesis.settings.register_profile("dev", deadline=None, max_examples=50, database=None, print_blob=True)
hypothesis.settings.register_profile("full", deadline=None, max_examples=1000, database=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("PEERSTORE_HYPOTHESIS", "dev"))


def fresh_url(engine: str) -> str:
    """The URL of a new store that holds nothing; skips (in CI: fails) the test where PostgreSQL cannot be had."""
    if engine == "sqlite":
        url = bare_url(engine)
        path = str(make_url(url).database)
        shutil.copyfile(_new_sqlite_store(), path)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("UPDATE store_info SET value = ? WHERE name = 'store_id'", [str(uuid.uuid4())])
        return url
    return _on_postgresql(new_store)


def bare_url(engine: str) -> str:
    """The URL of a database in which nothing is, not even our tables; as :func:`fresh_url` otherwise."""
    if engine == "sqlite":
        return f"sqlite:///{tempfile.mkdtemp(prefix='peerstore-test-')}/store.db"
    return _on_postgresql(fresh_database)


def _on_postgresql(database: Callable[[], URL]) -> str:
    try:
        return database().render_as_string(hide_password=False)
    except NoServer as reason:
        if os.environ.get("CI"):
            pytest.fail(f"PostgreSQL cannot be had, and in CI it must be: {reason}")
        pytest.skip(f"PostgreSQL cannot be had: {reason}")


@cache
def _new_sqlite_store() -> Path:
    folder = tempfile.mkdtemp(prefix="peerstore-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    peerstore.open(f"sqlite:///{folder}/new.db").close()
    return Path(folder, "new.db")


def drop_url(url: str) -> None:
    """Give back what :func:`fresh_url` or :func:`bare_url` gave; nothing may be connected to it any more."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        give_back(parsed)
    else:
        file = Path(str(parsed.database))
        for each in [file, *file.parent.glob(f"{file.name}-*"), *file.parent.glob(f"{file.name}.before-*")]:
            each.unlink(missing_ok=True)
        file.parent.rmdir()


@pytest.fixture(params=ENGINES)
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A store that holds nothing, on each engine in turn."""
    url = fresh_url(request.param)
    yield url
    drop_url(url)


@pytest.fixture(params=ENGINES)
def bare_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database in which nothing is, on each engine in turn."""
    url = bare_url(request.param)
    yield url
    drop_url(url)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a PostgreSQL server's maintenance database; skips (in CI: fails) where there is none."""
    _on_postgresql(server_url)
    return server_url().render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data; skips the test where it is not there."""
    if not SHARED.is_dir():
        pytest.skip("the real data is not beside this checkout")
    return SHARED


def pytest_report_header() -> list[str]:
    """What the suite runs on; says loudly where PostgreSQL is left out."""
    try:
        url = server_url()
        given = "PEERSTORE_TEST_POSTGRES" in os.environ
        engine = "PostgreSQL " + ("as PEERSTORE_TEST_POSTGRES names it" if given else f"started in {url.query['host']}")
    except NoServer as reason:
        engine = f"*** PostgreSQL IS LEFT OUT: {reason} ***"
    data = "there" if SHARED.is_dir() else "not there: the tests on it are left out"
    return [f"SQLite {sqlite3.sqlite_version}; {engine}; real data: {data}"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once more, at the end, where PostgreSQL was left out."""
    try:
        server_url()
    except NoServer as reason:
        terminalreporter.write_sep("!", f"PostgreSQL was left out: {reason}", red=True)
