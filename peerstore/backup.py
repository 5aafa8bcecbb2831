"""Backups of an SQLite database while it is in use: one snapshot, verified before it stands under its name."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

from peerstore.answers.backup import Backup
from peerstore.database import Database
from peerstore.database_url import redacted, without_secrets
from peerstore.errors import DatabaseError, DestinationError, QuestionError
from peerstore.exporting.destination import check_apart, check_no_log, destination
from peerstore.tables import observation_log
from peerstore.verification import verify


def back_up(database: Database, place: Path, force: bool = False, full: bool = True) -> Backup:
    """Write what is committed to a new database at ``place``; see :meth:`peerstore.PeerStore.backup`."""
    if database.path is None:
        raise QuestionError(_on_postgresql(database.url, place))
    _check(database.path, place)
    begun = time.monotonic()
    with destination(place, folder=False, force=force) as written:
        database.vacuum_into(written)
        observations = _verified(written, database.path, full)
        size = written.stat().st_size
    seconds = round(time.monotonic() - begun, 3)
    return Backup(str(database.path), str(place), size, observations, "full" if full else "quick", seconds)


def _check(database: Path, place: Path) -> None:
    check_apart(place, database)
    if place.is_dir():
        raise DestinationError(f"{place} is a folder: name a file in it")
    check_no_log(place)


def _verified(written: Path, original: Path, full: bool) -> int:
    """How many observations a backup holds; :class:`~peerstore.errors.DatabaseError` if it is not whole."""
    copy = Database(written, create=False)
    try:
        with copy.reading() as connection:
            found = verify(copy, connection, full)
            count = sa.select(sa.func.count()).select_from(observation_log)
            observations = int(connection.execute(count).scalar_one())
    finally:
        copy.close()
    if not found.ok:
        raise DatabaseError(
            f"no backup was made, since {original} is damaged ({found.findings[0]}): see `peerstore verify`, and keep"
            " the backups that you have"
        )
    return observations


def _on_postgresql(url: URL, place: Path) -> str:
    plain = without_secrets(url).set(drivername="postgresql").render_as_string(hide_password=False)
    command = f"pg_dump --format=custom --file={shlex.quote(str(place))} {shlex.quote(plain)}"
    return f"{redacted(url)} is a PostgreSQL database, which pg_dump backs up: {command}"
