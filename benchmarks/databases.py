"""Fresh databases to measure on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import peerstore
from tests.postgres import NoServer, drop_database, fresh_database, server_url


@contextmanager
def sqlite_store(content: Path | None = None) -> Iterator[peerstore.PeerStore]:
    """A store in a file of its own, with the content of another if one is given."""
    with tempfile.TemporaryDirectory(prefix="peerstore-benchmark-") as folder:
        file = Path(folder) / "store.db"
        if content is not None:
            shutil.copy(content, file)
        with peerstore.open(file) as store:
            yield store


@contextmanager
def postgresql_store() -> Iterator[peerstore.PeerStore]:
    """A store in a PostgreSQL database of its own."""
    url = fresh_database()
    try:
        with peerstore.open(url.render_as_string(hide_password=False)) as store:
            yield store
    finally:
        drop_database(url)


def has_postgresql() -> bool:
    """Whether a server can be had."""
    try:
        server_url()
    except NoServer:
        return False
    return True
