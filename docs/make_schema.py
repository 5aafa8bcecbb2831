"""Write ``docs/schema.md`` from the tables and the views: ``python docs/make_schema.py`` (``--check``: only say whether
it is up to date, by the exit status)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from peerstore import schema
from peerstore.tables import DICTIONARIES, metadata

PAGE = Path(__file__).with_name("schema.md")
PROSE = Path(__file__).with_name("schema_prose.md")


def page() -> str:
    """The whole page: the prose, with the tables and the views in their places."""
    tables = "\n".join(line for table in metadata.sorted_tables for line in table_lines(table))
    views = "\n".join(line for name, view in views_told().items() for line in view_lines(name, *view))
    text = PROSE.read_text(encoding="utf-8")
    for name, made in (("tables", tables), ("views", views), ("head", schema.HEAD)):
        text = text.replace(f"<!-- {name} -->", made)
    return text


def views_told() -> dict[str, tuple[str, dict[str, str]]]:
    """Each view as the newest revision that makes it tells of it: its meaning and that of its columns."""
    views: dict[str, tuple[str, dict[str, str]]] = {}
    for file in sorted((schema.migrations_folder() / "versions").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"revision_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        views |= getattr(module, "VIEWS", {})
    return views


def view_lines(name: str, meaning: str, columns: dict[str, str]) -> Iterator[str]:
    """The section of one view."""
    yield from (f"### `{name}`", "", meaning, "", "| column | meaning |", "|---|---|")
    yield from (f"| `{column}` | {cell(told)} |" for column, told in columns.items())
    yield ""


def table_lines(table: sa.Table) -> Iterator[str]:
    """The section of one table."""
    kind = "a dictionary" if table.name in DICTIONARIES else "grows with the observations"
    yield from (f"### `{table.name}` ({kind})", "", str(table.comment), "")
    yield from ("| column | type | null | meaning |", "|---|---|---|---|")
    for column in table.columns:
        empty = "yes" if column.nullable else ""
        yield f"| `{column.name}` | {column_type(column)} | {empty} | {cell(str(column.comment))} |"
    yield ""
    yield from constraint_lines(table)
    yield ""


def column_type(column: sa.Column[Any]) -> str:
    """The column's type as PostgreSQL names it; SQLite's are INTEGER, TEXT and BLOB."""
    name = column.type.compile(dialect=sa.create_engine("postgresql+psycopg://").dialect)
    return name.split(" ", maxsplit=1)[0].lower()


def constraint_lines(table: sa.Table) -> Iterator[str]:
    """Keys, checks and indexes, one a line."""
    yield f"- primary key: {names(table.primary_key.columns)}"
    for constraint in sorted(table.constraints, key=lambda each: str(each.name)):
        if isinstance(constraint, sa.UniqueConstraint):
            yield f"- unique: {names(constraint.columns)}"
        elif isinstance(constraint, sa.ForeignKeyConstraint):
            referred = names(element.column for element in constraint.elements)
            yield f"- refers to `{constraint.referred_table.name}`: {names(constraint.columns)} to {referred}"
        elif isinstance(constraint, sa.CheckConstraint):
            yield f"- check: `{constraint.sqltext}`"
    for index in sorted(table.indexes, key=lambda each: str(each.name)):
        where = index.dialect_options["sqlite"]["where"]
        partial = "" if where is None else f", where `{where}`"
        yield f"- index `{index.name}`: {names(index.columns)}{partial}"


def names(columns: Any) -> str:
    """Columns by name, with commas."""
    return ", ".join(f"`{column.name}`" for column in columns)


def cell(text: str) -> str:
    """A text as it may stand in a cell."""
    return text.replace("|", "\\|")


def main() -> None:
    """Write the page, or compare it."""
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/schema.md is not up to date: run python docs/make_schema.py")


if __name__ == "__main__":
    main()
