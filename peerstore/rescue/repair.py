"""The repair of a damaged database: what is known for sure is recorded into a new one, the rest is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from peerstore import schema
from peerstore.answers.repair import Lost, Repaired
from peerstore.batches import of_moderate_size
from peerstore.database import Database
from peerstore.database_url import database_url, redacted
from peerstore.errors import DatabaseBusy, DatabaseError, DatabaseMissing, DestinationError, SchemaError
from peerstore.exporting.destination import check_apart, check_no_log, destination
from peerstore.interning import digest
from peerstore.model import Observation
from peerstore.recording import Recorder, Refused
from peerstore.removing import keep_removed
from peerstore.rescue.chains import ObserverHistory
from peerstore.rescue.days import DayRows, days, is_reliable, joined, parted
from peerstore.rescue.source import FileSource, Known, ServerSource, Source
from peerstore.rescue.trees import Row
from peerstore.states import DAY
from peerstore.tables import metadata
from peerstore.verification import verify

_MOST_REJECTS = 500
_OURS = {"observer", "observation_log", "element_change"}


def repair(
    database: str | Path | URL,
    to: str | Path | URL,
    *,
    markers: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Repaired:
    """Record what can be rescued of a damaged database into a new one; tell what cannot.

    ``database`` is read, and never written to; on SQLite neither is its log. Nobody may write to it meanwhile, and no
    store of this process may have it open (that would lose its locks). ``to`` is made: a file that is not there, or a
    database that holds nothing. An observation is rescued if it is known for sure, as it was recorded: with its times,
    also that of recording. ``markers``: where a lost stretch begins, a stop marker says that nothing is known from
    there on; without them, the state before it seems to hold until the next observation. ``progress`` is told how many
    observations each batch had.

    :class:`~peerstore.errors.DatabaseError` if nothing can be read, or the new database cannot be made.
    """
    url, new = database_url(database), database_url(to)
    with _new(url, new) as target, closing(_opened(url)) as source:
        made = Repaired(_named(url), _named(new))
        state = _state(url)
        recorder = Recorder(target)
        known = Known(source)
        for batch in of_moderate_size(_observations(source, known, made, markers=markers)):
            recorder.record(batch)
            made.observations += len(batch)
            if progress is not None:
                progress(len(batch))
        made.observations -= made.markers
        _copy_rejects(source, recorder, made)
        keep_removed(target, known.removed)
        if _state(url) != state:
            raise DatabaseBusy(f"{made.database} was written to while it was read: stop whoever records, and try again")
        if not (made.observations or made.rejects or _is_empty(source)):
            raise DatabaseError(f"of {made.database} nothing can be rescued: restore a backup")
        with target.reading() as connection:
            found = verify(target, connection)
        if not found.ok:
            raise DatabaseError(f"what was rescued does not verify ({found.findings[0]}): please report this")
    return made


def _named(url: URL) -> str:
    return str(url.database) if url.get_backend_name() == "sqlite" else redacted(url)


def _state(url: URL) -> object:
    """What changes when somebody writes to an SQLite file or its log."""
    if url.get_backend_name() != "sqlite":
        return None
    names = (Path(f"{url.database}{ending}") for ending in ("", "-wal"))
    return [
        (found.st_ino, found.st_size, found.st_mtime_ns) for each in names if each.exists() and (found := each.stat())
    ]


def _opened(url: URL) -> Source:
    """The damaged database."""
    if url.get_backend_name() != "sqlite":
        return _on_server(url)
    path = Path(url.database or "")
    if not path.is_file():
        raise DatabaseMissing(f"there is no database at {path}")
    journal = path.with_name(f"{path.name}-journal")
    if journal.exists() and journal.stat().st_size:
        raise DatabaseError(
            f"{journal} holds what must be undone in {path} first: copy both to another folder, open the copy with"
            " SQLite once (sqlite3 COPY .schema), and repair that"
        )
    try:
        source = FileSource(path)
    except OSError as error:
        raise DatabaseError(f"{path} cannot be read: {error.strerror}") from error
    try:
        if source.file.is_known:
            if not _OURS.issubset(source.file.names):
                raise SchemaError(f"{path} is no peerstore database: name another file")
            _check_revision(str(path), source.file.revision())
    except BaseException:
        source.close()
        raise
    return source


def _on_server(url: URL) -> Source:
    database = Database(url, create=False)
    try:
        with database.reading() as connection:
            names = sa.inspect(connection).get_table_names()
            if not _OURS.issubset(names):
                raise SchemaError(f"{redacted(url)} is no peerstore database: name another one")
            _check_revision(redacted(url), schema.revision(connection))
    except BaseException:
        database.close()
        raise
    return ServerSource(database, set(names) & set(metadata.tables))


def _check_revision(where: str, found: str | None) -> None:
    if found is not None and found > schema.HEAD:
        raise SchemaError(
            f"{where} is at schema {found}, made by a newer peerstore; this one knows up to {schema.HEAD}:"
            " pip install --upgrade peerstore"
        )


@contextmanager
def _new(source: URL, new: URL) -> Iterator[Database]:
    """The new database, which must not hold anything yet; a file is there as a whole or not at all."""
    try:
        if new.get_backend_name() != "sqlite":
            with closing(Database(new)) as target:
                _make(target)
                yield target
            return
        place = Path(new.database or "")
        if str(place) in (".", ":memory:") or str(place).startswith("file:"):
            raise DestinationError(f"{new.database!r} names no file: what is rescued would be gone at once")
        if os.path.lexists(place):
            raise DestinationError(f"{place} is already there: name a file that is not")
        check_apart(place, Path(source.database or "") if source.get_backend_name() == "sqlite" else None)
        check_no_log(place)
        with destination(place, folder=False) as written:
            with closing(Database(written)) as target:
                _make(target)
                yield target
            if (log := written.with_name(f"{written.name}-wal")).exists() and log.stat().st_size:
                raise DatabaseError(f"{place} cannot be made: SQLite leaves a part of it in its log")
    except DestinationError as error:
        raise DatabaseError(str(error)) from error


def _make(target: Database) -> None:
    before, _ = schema.upgrade(target)
    if before is not None:
        raise DatabaseError(f"{redacted(target.url)} is a peerstore database already: name an empty one")


def _observations(source: Source, known: Known, made: Repaired, *, markers: bool) -> Iterator[Observation]:
    """All that is known for sure, observer by observer."""
    for _, units in groupby(days(source, known), key=lambda unit: unit.observer):
        history: ObserverHistory | None = None
        opening = None if known.removed.horizon is None else _Opening(known.removed.horizon)
        for unit in units:
            history = history or ObserverHistory(known, unit.key, mark=markers)
            rest = unit if opening is None else opening.take(unit)
            if rest is not None:
                if opening is not None:
                    yield from opening.given(history)
                yield from history.take(rest)
        if history is not None:
            if opening is not None:
                yield from opening.given(history)
            yield from history.end()
            made.lost += history.losses
            made.lost_observations += history.lost
            made.markers += history.markers
    if source.holes("observer") and not known.keys:
        made.lost.append(Lost(None, None, None, None, "the observers are lost"))


class _Opening:
    """With what an observer's history begins at the horizon of a pruned store."""

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._left: DayRows | None = None
        self._is_given = False

    def take(self, unit: DayRows) -> DayRows | None:
        """Note what stands before the horizon; the rest of a day, if there is any."""
        if unit.day * DAY >= self._horizon:
            return unit
        early, rest = parted(unit, self._horizon)
        if is_reliable(unit):
            self._left = early if self._left is None else joined(self._left, early)
        return rest if (unit.day + 1) * DAY > self._horizon and (rest.log or rest.missing) else None

    def given(self, history: ObserverHistory) -> Iterator[Observation]:
        """The observations that are in force at the horizon, once."""
        if not self._is_given and self._left is not None:
            yield from history.begin(self._left)
        self._is_given = True


def _is_empty(source: Source) -> bool:
    """Whether there never was anything to rescue."""
    names = ("observation_log", "element_change", "observer", "reject", "document")
    return not any(source.holes(name) or next(source.rows(name), None) for name in names if source.has(name))


def _copy_rejects(source: Source, recorder: Recorder, made: Repaired) -> None:
    """Keep aside in the new database what was kept aside in the old one."""
    if not source.has("reject"):
        return
    waiting: list[Refused] = []
    there: set[int] = set()
    for row in source.rows("reject"):
        there.add(row.values[0])
        refused = _refused(row)
        if refused is None:
            continue
        waiting.append(refused)
        made.rejects += 1
        if len(waiting) >= _MOST_REJECTS:
            recorder.keep_aside(waiting)
            waiting = []
    recorder.keep_aside(waiting)
    if source.holes("reject"):
        there |= source.reject_ids()
    made.lost_rejects = len(there) - made.rejects


def _refused(row: Row) -> Refused | None:
    """What was kept aside, if it is as its digest says."""
    values: dict[str, Any] = dict(zip(metadata.tables["reject"].columns.keys(), row.values, strict=True))
    content = bytes(values["content"])
    if digest(repr((values["kind"], values["source"], values["line"])).encode() + content) != values["digest"]:
        return None
    return Refused(
        values["kind"],
        values["source"],
        values["line"],
        values["reason"],
        content,
        bool(values["complete"]),
        values["recorded_at"],
    )
