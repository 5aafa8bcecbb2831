"""The statements of ``docs/sql.md``, and the way in which anybody's program would ask them.

A statement is a ``sql`` block; the ``text`` block behind it is its answer on the demo's day. ``<!-- sqlite -->`` or
``<!-- postgresql -->`` above it: it is for that engine alone; ``<!-- grafana -->``: Grafana fills in its variables.
What can be changed stands in ``asked``, the first ``WITH`` of a statement.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from peerstore.times import instant, micros
from tests.conftest import ENGINES
from tests.databases import plain
from tests.test_docs import DOCS, FENCE

DOCUMENT: Final = DOCS / "sql.md"
MARK: Final = re.compile(r"<!-- (sqlite|postgresql|grafana) -->\s*\Z")
ASKED: Final = re.compile(r"\basked\((?P<names>[^)]*)\) AS \((?:\s*--[^\n]*)?\s*VALUES \(.*?\)\)(?=[,\n ])", re.DOTALL)
GRAFANA: Final = {"$__from": "1783497600000", "$__to": "1783519200000", "$__interval_ms": "3600000"}  # 08:00 to 14:00

Row = dict[str, Any]


class Recipe(NamedTuple):
    """A statement of the document: under which heading, the how-manieth there, for which engine if not for both."""

    heading: str
    place: int
    mark: str | None
    statement: str
    shown: str
    line: int

    @property
    def engines(self) -> tuple[str, ...]:
        return (self.mark,) if self.mark in ENGINES else ENGINES

    @property
    def runnable(self) -> str:
        """The statement, with what Grafana would fill in."""
        statement = self.statement
        for name, value in GRAFANA.items() if self.mark == "grafana" else ():
            statement = statement.replace(name, value)
        return statement


def _recipes() -> Iterator[Recipe]:
    text = DOCUMENT.read_text(encoding="utf-8")
    places: Counter[str] = Counter()
    for block, after in pairwise([*FENCE.finditer(text), None]):
        if block is None or block["kind"] != "sql":
            continue
        before = text[: block.start()]
        heading = re.findall(r"^#+ (.+)$", before, re.MULTILINE)[-1]
        places[heading] += 1
        mark = MARK.search(before)
        shown = after["body"] if after is not None and after["kind"] == "text" else ""
        number = before.count("\n") + 2
        yield Recipe(heading, places[heading], mark and mark[1], block["body"], shown, number)


RECIPES: Final = list(_recipes())
"""Every statement, in the order of the document."""


def recipe(question: str, place: int = 1, /, **values: str | int) -> str:
    """The statement under the heading that begins so, with other values under ``asked``, if any are given."""
    [found] = [each.statement for each in RECIPES if each.heading.startswith(question) and each.place == place]
    if not values:
        return found
    asked = ASKED.search(found)
    assert asked is not None, found
    names = [name.strip() for name in asked["names"].split(",")]
    assert sorted(names) == sorted(values), found
    words = ", ".join(f"'{values[name]}'" if isinstance(values[name], str) else str(values[name]) for name in names)
    return f"{found[: asked.start()]}asked({asked['names']}) AS (VALUES ({words})){found[asked.end() :]}"


@contextmanager
def reader(url: str) -> Iterator[Any]:
    """A cursor of the engine's own driver, which can only read."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(f"sqlite:///file:{parsed.database}?mode=ro&uri=true", poolclass=sa.NullPool)
    else:
        options = {"options": "-c default_transaction_read_only=on"}
        engine = sa.create_engine(url, connect_args=options, poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection.connection.cursor()
    engine.dispose()


def analysed(url: str) -> None:
    """Let PostgreSQL count its rows now, as it does by itself after a minute: plans do not depend on when it did."""
    if not url.startswith("sqlite"):
        with plain(url) as connection:
            connection.exec_driver_sql("ANALYZE observer, observation_log, element, element_change, document")


def answer(url: str, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names of the columns and the rows."""
    with reader(url) as cursor:
        cursor.execute(statement)
        return [column[0] for column in cursor.description], [tuple(row) for row in cursor.fetchall()]


def rows(url: str, statement: str) -> list[Row]:
    columns, found = answer(url, statement)
    return [dict(zip(columns, row, strict=True)) for row in found]


def table(columns: list[str], found: list[tuple[Any, ...]]) -> str:
    """An answer as SQLite's shell shows it with ``-header -column``, but for zeros at the end of a fraction."""
    lines = [columns, *(list(map(_cell, row)) for row in found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float | Decimal):
        return f"{float(value):.10g}"
    return "" if value is None else str(value)


def text(at: datetime | int) -> str:
    """An instant as the views tell it."""
    moment = instant(at) if isinstance(at, int) else at
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def told(moment: str | None) -> datetime | None:
    """An instant of a view, or none."""
    return None if moment is None else datetime.fromisoformat(moment)


def told_us(moment: str) -> int:
    """An instant of a view in microseconds."""
    return micros(datetime.fromisoformat(moment))


def seconds(start: datetime, end: datetime | None) -> int | None:
    """How long it lasted, in whole seconds, as the statements tell it."""
    return None if end is None else (end - start) // timedelta(seconds=1)
