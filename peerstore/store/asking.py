"""How a question is put to the database: of whom, as known when, over which window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore import schema
from peerstore.coverage import Scope
from peerstore.database import Database
from peerstore.dictionary import TOLD_AND_OBSERVERS, Dictionary, retention_and_observers
from peerstore.ditto import canonical_peer_key
from peerstore.errors import QuestionError
from peerstore.retention import TOLD, retention_of
from peerstore.times import duration_micros, iso, micros

Answer = TypeVar("Answer")


class Asking:
    """The part of a store that all its questions share: the database, what was read of its dictionaries, the clock."""

    def __init__(self, database: Database, clock: Callable[[], datetime] | None = None) -> None:
        self.upgraded = schema.ensure(database)
        """What opening the store did to its database: ``None`` if it was at the newest schema."""
        self._database = database
        self._dictionary = Dictionary()
        self._given_clock = clock
        self._clock = clock or (lambda: datetime.now(UTC))

    @contextmanager
    def _asking(
        self,
        observer: str | None,
        known_at: datetime | None,
        max_silence: timedelta | float | None,
        earliest: int | None = None,
        until: int | None = None,
    ) -> Iterator[tuple[DatabaseConnection, Scope]]:
        """One snapshot of the database, and the scope of a question about the time from ``earliest`` on (``None``: from
        the beginning of the history) to ``until`` (``None``: to its end); :class:`~peerstore.errors.BeforeHorizon` if
        that was pruned."""
        key = None if observer is None else canonical_peer_key(observer)
        known, silence = None if known_at is None else micros(known_at), duration_micros(max_silence)
        first = TOLD_AND_OBSERVERS if key is None else TOLD
        with self._database.reading_first(first) as (connection, rows):
            kept, observers = retention_and_observers(rows) if key is None else (retention_of(rows), {})
            if kept.generation != self._dictionary.generation:
                self._dictionary = self._dictionary.of_generation(kept.generation)
            if key is not None:  # one that was never recorded has no rows, so it is unobserved
                observers = self._dictionary.observer(connection, key) or {key: -1}
            before = until if earliest is None and until is not None and until <= kept.before_all else earliest
            kept.check(before, known, silence)
            yield connection, Scope(observers, known, silence, kept)

    def _stream(
        self,
        ask: Callable[[DatabaseConnection, Scope], Iterator[Answer]],
        observer: str | None,
        known_at: datetime | None,
        max_silence: timedelta | float | None,
        earliest: int | None = None,
        until: int | None = None,
    ) -> Iterator[Answer]:
        """The answers of a question one by one, all of one snapshot; it is put as to :meth:`_asking`."""
        with self._asking(observer, known_at, max_silence, earliest, until) as (connection, scope):
            yield from ask(connection, scope)


def window_micros(since: datetime | None, until: datetime | None) -> tuple[int | None, int | None]:
    """The bounds of ``[since, until)`` in microseconds; :class:`~peerstore.errors.QuestionError` if it ends before it
    begins."""
    begin, end = None if since is None else micros(since), None if until is None else micros(until)
    if begin is not None and end is not None and begin > end:
        raise QuestionError(f"the range ends at {iso(end)}, before it begins at {iso(begin)}")
    return begin, end


def positive_micros(duration: timedelta | float, name: str) -> int:
    """A duration in microseconds; :class:`~peerstore.errors.QuestionError` if it is not longer than nothing."""
    length = duration_micros(duration)
    if length is None or length <= 0:
        raise QuestionError(f"{name} must be longer than nothing")
    return length
