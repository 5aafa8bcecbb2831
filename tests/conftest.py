"""Fixtures: databases on both engines, and the real data beside the checkout where it is there."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy.engine import make_url

from tests.postgres import NoServer, drop_database, fresh_database, server_url

SHARED = Path(__file__).parents[2] / "shared" / "data"
ENGINES = ("sqlite", "postgresql")

hypothesis.settings.register_profile("dev", deadline=None, max_examples=50, database=None, print_blob=True)
hypothesis.settings.register_profile("full", deadline=None, max_examples=1000, database=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("PEERSTORE_HYPOTHESIS", "dev"))


def fresh_url(engine: str) -> str:
    """The URL of a new, empty database on an engine; skips (in CI: fails) the test where PostgreSQL cannot be had."""
    if engine == "sqlite":
        return f"sqlite:///{tempfile.mkdtemp(prefix='peerstore-test-')}/store.db"
    try:
        return fresh_database().render_as_string(hide_password=False)
    except NoServer as reason:
        if os.environ.get("CI"):
            pytest.fail(f"PostgreSQL cannot be had, and in CI it must be: {reason}")
        pytest.skip(f"PostgreSQL cannot be had: {reason}")


def drop_url(url: str) -> None:
    """Remove a database that :func:`fresh_url` made."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        drop_database(parsed)
    else:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{parsed.database}{suffix}").unlink(missing_ok=True)
        Path(str(parsed.database)).parent.rmdir()


@pytest.fixture(params=ENGINES)
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database, on each engine in turn."""
    url = fresh_url(request.param)
    yield url
    drop_url(url)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a PostgreSQL server's maintenance database; skips (in CI: fails) where there is none."""
    url = fresh_url("postgresql")
    drop_url(url)
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
