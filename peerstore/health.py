"""How a store is: what ``status`` tells. Never writes.

Nothing here reads the history: observations and changes are counted by the digests of days, a row a day and observer;
of each observer the first and the last observation are read. Counted in full are the dictionaries, what was refused,
and the index of the keyframes, of which there is one for many changes. (A database of a schema before 0005 has no
digests of days: its history is counted, and its growth not told.)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.answers.health import DayGrowth, Growth, ObserverHealth, RefusedCount, Status
from peerstore.coverage import Scope, from_horizon, is_watching
from peerstore.database import Database
from peerstore.database_url import redacted
from peerstore.dictionary import observer_ids
from peerstore.retention import Retention, retention
from peerstore.schema import HEAD, revision
from peerstore.states import AFTER_ALL, DAY, Logged, after_bound, last_logged
from peerstore.tables import (
    day_digest,
    document,
    element,
    element_change,
    keyframe,
    observation_log,
    observer,
    reject,
)
from peerstore.times import instant, iso

GROWTH_DAYS = 7
"""Over so many of the last days of the history growth is measured."""
MOST_WAL_BYTES = 64_000_000
"""A write-ahead log above this is warned of: it is folded into the database every few megabytes, if nothing is in the
way."""
WAL_RESET_MENDED = (3, 51, 3)
"""The version of SQLite in which the WAL-reset bug is mended (https://sqlite.org/wal.html#walresetbug)."""
NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "orangefs", "smb3", "smbfs", "vboxsf", "fuse.ceph", "fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs"}
    | {"fuse.rclone", "fuse.s3fs", "fuse.sshfs"}
)
"""The types of file systems, as Linux names them, that do not lock and share memory as SQLite needs it."""

_HOUR = DAY // 24
_MICROS = 1_000_000
_SOUND = {
    "journal_mode": ("wal", "read-only"),
    "synchronous": ("FULL", "EXTRA", "read-only"),
    "fsync": ("on",),
    "synchronous_commit": ("on", "local", "remote_write", "remote_apply"),
    "full_page_writes": ("on",),
}
_BROKEN = {
    "journal_mode": "readers and writers wait for each other; the next recording makes it wal again",
    "synchronous": "a loss of power can take with it what was acknowledged: nothing of peerstore sets it so",
    "fsync": "a crash of the server's machine can damage the database and lose what was acknowledged: set fsync=on in"
    " postgresql.conf and reload the server",
    "synchronous_commit": "a crash of the server can lose what was acknowledged last: set synchronous_commit=on for the"
    " server, the database, the role, or in the URL, wherever it is turned off",
    "full_page_writes": "a crash of the server's machine can leave pages torn: set full_page_writes=on in"
    " postgresql.conf and reload the server",
}

Tally = tuple[int, int]
"""Observations and changes."""


def status(database: Database, connection: Connection, now: int) -> Status:
    """The status of a database of any schema, at a moment in microseconds since 1970."""
    found = revision(connection) or "none"
    ids = observer_ids(connection)
    has_days = sa.inspect(connection).has_table(day_digest.name)
    tallies = _tallies(connection) if has_days else _counted(connection)
    last = {number: logged for number in ids.values() if (logged := last_logged(connection, number, AFTER_ALL))}
    kept = retention(connection)
    first = [begun for number in last if (begun := _first(connection, number, kept)) is not None]
    recorded = dict(connection.execute(sa.select(observer.c.id, observer.c.last_recorded_at)).all())
    refused = tuple(_refused(connection))
    count_of = {each.kind: each.count for each in refused}
    database_bytes, wal_bytes = sizes(database, connection)
    durability = database.durability(connection)
    ends = (min(first), max(logged.observed_at for logged in last.values())) if first else None
    version = tuple(map(int, connection.dialect.server_version_info or ()))
    return Status(
        database=str(database.path) if database.path is not None else redacted(database.url),
        engine=f"{connection.dialect.name} {'.'.join(map(str, version))}",
        schema=found,
        schema_newest=HEAD,
        bytes=database_bytes + (wal_bytes or 0),
        database_bytes=database_bytes,
        wal_bytes=wal_bytes,
        observers=len(ids),
        observations=sum(observations for observations, _ in tallies.values()),
        peers=_count(connection, element, element.c.kind == "peer"),
        connections=_count(connection, element, element.c.kind == "connection"),
        changes=sum(changes for _, changes in tallies.values()),
        documents=_count(connection, document),
        keyframes=_count(connection, keyframe),
        rejected=count_of.get("rejected", 0),
        conflicts=count_of.get("conflict", 0),
        first_observed_at=None if ends is None else iso(ends[0]),
        last_observed_at=None if ends is None else iso(ends[1]),
        last_recorded_at=iso(max(recorded[number] for number in last)) if last else None,
        durability=durability,
        growth=None if ends is None or not has_days else _growth(connection, *ends, now, database_bytes, tallies),
        by_observer=tuple(
            _observer(key, last[number], recorded[number], now, tallies.get(number, (0, 0)))
            for key, number in ids.items()
            if number in last
        ),
        refused=refused,
        warnings=tuple(_warnings(database, found, durability, wal_bytes)),
        notes=tuple(_notes(version, durability, wal_bytes)),
        horizon=None if kept.horizon is None else iso(kept.horizon),
        thinned_before=None if kept.thinned_before is None else iso(kept.thinned_before),
    )


def _count(connection: Connection, table: sa.Table, *conditions: Any) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one())


def _tallies(connection: Connection) -> dict[int, Tally]:
    day = day_digest.c
    statement = sa.select(day.observer_id, sa.func.sum(day.observations), sa.func.sum(day.changes)).group_by(
        day.observer_id
    )
    return {
        number: (int(observations), int(changes)) for number, observations, changes in connection.execute(statement)
    }


def _counted(connection: Connection) -> dict[int, Tally]:
    log, change = (_rows_of(connection, table) for table in (observation_log, element_change))
    return {number: (count, change.get(number, 0)) for number, count in log.items()}


def _rows_of(connection: Connection, table: sa.Table) -> dict[int, int]:
    number = table.c.observer_id
    statement = sa.select(number, sa.func.count()).group_by(number)
    return dict(connection.execute(statement).all())


def _first(connection: Connection, number: int, kept: Retention) -> int | None:
    log = observation_log.c
    statement = sa.select(sa.func.min(log.observed_at)).where(log.observer_id == number)
    if kept.horizon is not None:
        statement = statement.where(after_bound(observation_log))
    found: int | None = connection.execute(statement, from_horizon(connection, number, kept)).scalar_one()
    return found


def _observer(key: str, last: Logged, recorded_at: int, now: int, tally: Tally) -> ObserverHealth:
    watching = is_watching(last, now, Scope({}))
    return ObserverHealth(
        key,
        "stopped" if last.stopped else "watching" if watching else "silent",
        *tally,
        instant(last.observed_at),
        instant(recorded_at),
        (last.recorded_at - last.observed_at) / _MICROS,
        (now - last.observed_at) / _MICROS,
        None if last.max_silence is None else last.max_silence / _MICROS,
    )


def _refused(connection: Connection) -> Iterator[RefusedCount]:
    statement = sa.select(reject.c.kind, sa.func.count(), sa.func.max(reject.c.id)).group_by(reject.c.kind)
    for kind, count, newest in connection.execute(statement.order_by(reject.c.kind.desc())).all():
        last = sa.select(reject.c.recorded_at, reject.c.source, reject.c.line, reject.c.reason)
        recorded_at, *told = connection.execute(last.where(reject.c.id == newest)).one()
        yield RefusedCount(kind, count, instant(recorded_at), *told)


def _growth(connection: Connection, first: int, last: int, now: int, size: int, tallies: Mapping[int, Tally]) -> Growth:
    if first <= now < last:
        last = now  # some observer's clock is ahead
    day = day_digest.c
    final = last // DAY
    statement = (
        sa.select(day.day, sa.func.sum(day.observations), sa.func.sum(day.changes))
        .where(day.day.between(final - GROWTH_DAYS + 1, final))
        .group_by(day.day)
        .order_by(day.day)
    )
    days = [
        DayGrowth(date(1970, 1, 1) + timedelta(number), int(observations), int(changes))
        for number, observations, changes in connection.execute(statement)
    ]
    since = max(first, (final - GROWTH_DAYS + 1) * DAY)
    observations, changes = sum(each.observations for each in days), sum(each.changes for each in days)
    share = (observations + changes) / max(sum(map(sum, tallies.values())), 1)

    def a_day(amount: float) -> int | None:
        return round(amount * DAY / (last - since)) if last - since >= _HOUR else None

    rates = (a_day(observations), a_day(changes), a_day(size * share))
    return Growth(instant(since), instant(last), *rates, tuple(days))


def sizes(database: Database, connection: Connection) -> tuple[int, int | None]:
    """The bytes of the database, and of the write-ahead log that SQLite keeps beside it (``None`` elsewhere)."""
    everything = database.size(connection)
    if database.path is None:
        return everything, None
    log = _size(database.path.with_name(database.path.name + "-wal"))
    return max(everything - log, 0), log


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _warnings(database: Database, found: str, durability: Mapping[str, str], wal_bytes: int | None) -> Iterator[str]:
    if found != HEAD:
        yield (
            f"the schema is {found}, and the newest is {HEAD}: the next command but `status` upgrades it, or"
            " `peerstore upgrade` does"
        )
    yield from durability_warnings(durability)
    if wal_bytes is not None and wal_bytes > MOST_WAL_BYTES:
        yield (
            f"the write-ahead log {database.path}-wal has {wal_bytes / 1e6:.0f} MB: a reader has been open for long, or"
            " nobody folds it in. End long answers and exports; once every program has closed the database, the last"
            " of them folds it in"
        )
    if database.path is not None:
        kind = file_system(database.path)
        if kind in NETWORK_FILE_SYSTEMS:
            yield (
                f"{database.path} is on a network file system ({kind}), where SQLite's locks do not hold: what several"
                " programs record there can damage it. Move it to a local disk, or use PostgreSQL"
            )


def durability_warnings(durability: Mapping[str, str]) -> list[str]:
    """What settings break of "a returned commit is on the disk", a sentence each.

    >>> durability_warnings({"journal_mode": "wal", "synchronous": "NORMAL"})[0][:70]
    'synchronous is NORMAL: a loss of power can take with it what was ackno'
    """
    return [f"{name} is {value}: {_BROKEN[name]}" for name, value in durability.items() if value not in _SOUND[name]]


def _notes(version: tuple[int, ...], durability: Mapping[str, str], wal_bytes: int | None) -> Iterator[str]:
    # It takes two connections that fold the log in or write: where no log has grown, nobody has it open to write.
    if durability.get("journal_mode") == "wal" and wal_bytes and version < WAL_RESET_MENDED:
        yield (
            f"SQLite {'.'.join(map(str, version))} has a rare fault, mended in"
            f" {'.'.join(map(str, WAL_RESET_MENDED))}, by which two programs that write to a file in the same"
            " moment can damage it: let one program record, or use a newer SQLite"
        )


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The type of the file system that a file is on, as ``mounts`` lists them; ``None`` where that is not told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found, longest = None, -1
    for line in lines:
        _, place, kind, *_ = line.split(" ")
        folder = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place)
        if len(folder) >= longest and (real == folder or real.startswith(folder.rstrip("/") + "/")):
            found, longest = kind, len(folder)
    return found
