"""What comes to stand beside an SQLite database that is upgraded: a backup of it as it was; and the room for it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import Connection

from peerstore.database import Database
from peerstore.errors import DatabaseError, DestinationError
from peerstore.exporting.destination import destination

PART_FOR_STEPS = 0.25
"""So much of its size a database and its log grow by at most while the steps run; the tests measure it."""
LEAST_FOR_STEPS = 1 << 20


def check_room(database: Database, connection: Connection, *, backup: bool) -> None:
    """:class:`~peerstore.errors.DatabaseError` if the disk has no room for an upgrade: for its backup, if one is made,
    and for what its steps write."""
    assert database.path is not None
    folder = database.path.absolute().parent
    size, pages, free = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_size", "page_count", "freelist_count")
    )
    copy = size * (pages - free) if backup else 0
    steps = int(size * pages * PART_FOR_STEPS) + LEAST_FOR_STEPS
    room = _room(folder)
    if room is not None and room < copy + steps:
        parts = f"{_megabytes(copy)} for the backup before it, {_megabytes(steps)} for its steps"
        cure = "make room" + (", or leave the backup out (peerstore upgrade --no-backup)" if room >= steps else "")
        raise DatabaseError(
            f"{database.path} is not upgraded, and is as it was: {_megabytes(room)} are free in {folder}, and the"
            f" upgrade needs {_megabytes(copy + steps)} ({parts}): {cure}"
        )


def back_up(database: Database, revision: str) -> Path:
    """Write all that is committed to a new file beside the database, named after the revision that it is about to be
    brought to and the time: whole, on the disk, its owner's alone; or nothing."""
    assert database.path is not None
    try:
        place = _free_name(database.path, revision)
        with destination(place, folder=False) as written:
            database.vacuum_into(written)
    except DestinationError as error:
        raise DatabaseError(
            f"{database.path} is not upgraded, and is as it was, since its backup could not be made: {error}; mend"
            " that, or leave the backup out (peerstore upgrade --no-backup)"
        ) from error
    return place


def how_to_go_back(database: Path, backup: Path) -> str:
    """What to do with a backup, in a sentence."""
    return (
        f"{backup} is a backup of {database} as it was before the upgrade; to go back, end all that use {database},"
        f" remove it with its -wal and -shm, rename the backup to {database.name}, and install the peerstore of before"
    )


def _free_name(path: Path, revision: str) -> Path:
    name = f"{path.name}.before-{revision}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    place, number = path.with_name(name), 1
    while os.path.lexists(place):
        number += 1
        place = path.with_name(f"{name}-{number}")
    return place


def _room(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    return found.f_bavail * found.f_frsize


def _megabytes(count: int) -> str:
    return f"{count / 1_000_000:,.1f} MB"
