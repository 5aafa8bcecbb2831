"""Statements for what is asked most: compiled once for each engine, their rows plain tuples.

SQLAlchemy prepares every execution and every row; for the few hundred small rows of a state that takes longer than
reading them. What runs here is the same statement of SQLAlchemy Core, on the same connection and in its transaction.
Those who listen to the statements of an engine hear of these too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError

Row = tuple[Any, ...]

ALL, FIRST = attrgetter("fetchall"), attrgetter("fetchone")
"""What :func:`run` may take from a cursor."""


class _Compiled(NamedTuple):
    """The text for a driver, the names of its values in their order (``None``: it takes them by name), and the values
    that the statement has of its own."""

    text: str
    order: tuple[str, ...] | None
    own: dict[str, Any]


class Prepared:
    """A statement whose values are all named, with ``bindparam``.

    What the driver raises is a :class:`~sqlalchemy.exc.DBAPIError`, as from SQLAlchemy.
    """

    def __init__(self, statement: sa.Select[Any] | sa.CompoundSelect[Any] | sa.Update | sa.Delete) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def all(self, connection: Connection, values: Mapping[str, Any]) -> list[Row]:
        """All rows."""
        rows: list[Row] = self._fetched(connection, values, ALL)
        return rows

    def first(self, connection: Connection, values: Mapping[str, Any]) -> Row | None:
        """The first row; ``None`` if there is none."""
        row: Row | None = self._fetched(connection, values, FIRST)
        return row

    def text(self, connection: Connection) -> str:
        """Its text for the driver of a connection."""
        return self._for_driver(connection, ())[0]

    def run(self, connection: Connection, values: Iterable[Mapping[str, Any]]) -> None:
        """Run a statement that gives no rows, with each of some values."""
        text, given = self._for_driver(connection, values)
        run(connection, text, given, many=True)

    def _fetched(self, connection: Connection, values: Mapping[str, Any], fetch: Callable[[Any], Any]) -> Any:
        text, (given,) = self._for_driver(connection, (values,))
        return run(connection, text, given, fetch)

    def _for_driver(self, connection: Connection, values: Iterable[Mapping[str, Any]]) -> tuple[str, list[Any]]:
        text, order, own = self._compiled.get(connection.dialect.name) or self._compile(connection.dialect)
        if own:
            values = [{**own, **each} for each in values]
        if order is None:
            return text, list(values)
        return text, [tuple([each[name] for name in order]) for each in values]

    def _compile(self, dialect: Dialect) -> _Compiled:
        compiled = self._statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        order = tuple(compiled.positiontup or ()) if compiled.positional else None
        own = {name: value for name, value in compiled.params.items() if value is not None}
        found = self._compiled[dialect.name] = _Compiled(str(compiled), order, own)
        return found


class PreparedByIds:
    """A statement for the rows with some ids, however many: it is prepared for a few sizes, and asked as often as it
    takes."""

    def __init__(self, statement: sa.Select[Any], column: sa.Column[int]) -> None:
        self._statement = statement
        self._column = column
        self._sizes: dict[int, Prepared] = {}

    def all(self, connection: Connection, ids: Sequence[int]) -> Iterator[Row]:
        """The rows, in no order."""
        for start in range(0, len(ids), _SIZES[-1]):
            some = ids[start : start + _SIZES[-1]]
            size = next(size for size in _SIZES if size >= len(some))
            padded = [*some, *repeat(some[-1], size - len(some))]
            prepared = self._sizes.get(size) or self._prepare(size)
            yield from prepared.all(connection, dict(zip(_NAMES, padded, strict=False)))

    def _prepare(self, size: int) -> Prepared:
        """Only where it is asked: every command imports this, and hundreds of values take their time to name."""
        values = [sa.bindparam(name, type_=self._column.type) for name in _NAMES[:size]]
        prepared = self._sizes[size] = Prepared(self._statement.where(self._column.in_(values)))
        return prepared


_SIZES = (1, 8, 64, 512)
_NAMES = tuple(map(str, range(_SIZES[-1])))


def run(
    connection: Connection,
    text: str,
    values: Any,
    fetch: Callable[[Any], Any] | None = None,
    *,
    many: bool = False,
    **how: Any,
) -> Any:
    """Run a text with values as the driver takes them (``many``: with each of a list of them; ``how``: what else the
    driver is told) in the transaction of a connection; what ``fetch`` takes from the cursor afterwards."""
    cursor = connection.connection.cursor()
    # SQLAlchemy itself asks so whether anybody listens: to look for listeners takes longer.
    if connection._has_events or connection.engine._has_events:
        for listener in connection.dispatch.before_cursor_execute:
            listener(connection, cursor, text, values, None, many)
    try:
        (cursor.executemany if many else cursor.execute)(text, values, **how)
        return None if fetch is None else fetch(cursor)()
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError(text, None, error) from error
    finally:
        cursor.close()
