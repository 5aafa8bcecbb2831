"""A PostgreSQL server that a test may stop and start again."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from tests.postgres import NoServer, _binaries, _run, _system_server


class OwnServer:
    """A running server that nobody else uses."""

    def __init__(self) -> None:
        self.url: URL = _system_server()
        self._folder = Path(str(self.url.query["host"]))

    def restart(self, mode: str) -> None:
        """Stop it, ``fast`` or ``immediate``, and start it again."""
        binaries = _binaries()
        assert binaries is not None
        user = self._folder.owner() if os.geteuid() == 0 else None
        data, log = self._folder / "data", self._folder / "log"
        _run([binaries / "pg_ctl", "-D", data, "-l", log, "-m", mode, "-w", "restart"], user, self._folder)

    def new_database(self, name: str) -> str:
        """The URL of a new, empty database."""
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return self.url.set(database=name).render_as_string(hide_password=False)


@cache
def _started() -> OwnServer:
    return OwnServer()


_starting = threading.Lock()


def own_server() -> OwnServer:
    """The server; skips (in CI: fails) the test where none can be started."""
    try:
        with _starting:
            return _started()
    except NoServer as reason:
        if os.environ.get("CI"):
            pytest.fail(f"no PostgreSQL server can be started, and in CI it must be: {reason}")
        pytest.skip(f"no PostgreSQL server can be started: {reason}")
