"""The link to a PostgreSQL server: what bounds each wait, and when to try again."""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from peerstore.prepared import Prepared, Row, run

if TYPE_CHECKING:
    import psycopg

ANSWER_SECONDS = 35
"""So long who records waits for one answer of PostgreSQL: longer than the server lets it wait for a lock."""
_RETRIED = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available
_LOST = ("08", "57P", "53300", "40003")  # no connection, the server shuts down or starts, too many, outcome unknown
_LINK = {  # what bounds the wait for a server or a network that is gone
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "application_name": "peerstore",
}
_OPTIONS = "-c timezone=UTC -c lock_timeout=30000 -c idle_in_transaction_session_timeout=0"
_READING = "-c plan_cache_mode=force_generic_plan"
"""What readers ask goes by keys, in the same way whatever the values are: to plan it anew each time took longer than to
do it."""


def arguments(given: Mapping[str, Any], *, reading: bool) -> dict[str, Any]:
    """What to connect with, beside what the URL gives."""
    options = f"{_OPTIONS} {_READING}" if reading else _OPTIONS
    link: dict[str, Any] = {name: value for name, value in _LINK.items() if name not in given}
    link["options"] = f"{options} {given.get('options', '')}".strip()
    return link


def worth_another_try(error: BaseException | None) -> bool:
    """Whether the same transaction may succeed a moment later."""
    if not isinstance(error, DBAPIError) or error.orig is None or isinstance(error.orig, sqlite3.Error):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # the driver's own word: it is without a connection
        return any(kind.__name__ == "OperationalError" for kind in type(error.orig).__mro__)
    return state in _RETRIED or state.startswith(_LOST)


_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


def begin_reading(connection: Connection, first: Prepared | None = None) -> list[Row]:
    """Begin the transaction of one snapshot, in which nothing can be written, on a connection that commits by itself;
    the rows of the statement that is asked first, for which one goes to the server and back once.

    Where it fails for a connection that :func:`is_lost`, it may be begun anew with another: that spares a ping before
    each answer.
    """
    if first is None:
        run(connection, _BEGIN_READING, None)
        return []
    return ask_in_turn(connection, _BEGIN_READING, first.text(connection))


def ask_in_turn(connection: Connection, *statements: str) -> list[Row]:
    """The rows of the last of some statements without values: one way to the server and back, but each of them sees
    what was committed when it began."""
    rows: list[Row] = run(connection, "; ".join(statements), None, _all_of_the_last, prepare=False)
    return rows


def _all_of_the_last(cursor: Any) -> Callable[[], list[Row]]:
    while cursor.nextset():
        pass
    fetch: Callable[[], list[Row]] = cursor.fetchall
    return fetch


def end_reading(connection: Connection) -> None:
    """End it, however far it came."""
    if connection.invalidated:
        return
    raw: Any = connection.connection.driver_connection
    if raw.info.transaction_status.name in {"INTRANS", "INERROR"}:
        run(connection, "COMMIT", None)


def is_lost(connection: Connection) -> bool:
    """Whether the driver has given a connection up."""
    raw: Any = connection.connection.driver_connection
    return bool(raw.closed)


@functools.cache
def _impatient() -> type[psycopg.Connection[Any]]:
    """A connection to PostgreSQL that gives up when no answer comes for :data:`ANSWER_SECONDS`: a server that is stuck,
    or something between that only holds the line, is noticed by no timeout of the server's or the network's."""
    import psycopg

    class Impatient(psycopg.Connection[Any]):
        patient = False

        def wait(self, gen: Any, *given: Any, **named: Any) -> Any:
            return super().wait(gen if self.patient else self._bounded(gen), *given, **named)

        def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
            until = time.monotonic() + ANSWER_SECONDS
            try:
                waits_for = next(gen)
                while True:
                    ready = yield waits_for
                    if not ready and time.monotonic() > until:
                        self.close()
                        raise psycopg.OperationalError(f"the server did not answer for {ANSWER_SECONDS} s")
                    waits_for = gen.send(ready)
            except StopIteration as ended:
                return ended.value

    return Impatient


def connect_impatiently(
    _dialect: object, _record: object, given: Sequence[Any], named: dict[str, Any]
) -> psycopg.Connection[Any]:
    """Connect as those do who record."""
    return _impatient().connect(*given, **named)


@contextmanager
def patiently_waiting(connection: Connection) -> Iterator[None]:
    """Let a statement take as long as it takes: an upgrade of much data does."""
    raw: Any = connection.connection.driver_connection
    raw.patient = True
    try:
        yield
    finally:
        raw.patient = False
