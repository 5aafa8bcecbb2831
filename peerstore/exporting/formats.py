"""The formats of an export: their names, how files of them are named, and which module writes each.

Every module has ``write(source, path) -> dict[str, int]``: it writes what of the source was asked for to ``path``, a
file that is there and empty or, where the format is a folder of files, a folder that is there and empty. It gives how
many rows of what it wrote. A module is imported when its format is asked for, so that what needs an optional library
is missed only then.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from peerstore.errors import QuestionError

if TYPE_CHECKING:
    from peerstore.exporting.source import Source

    Write = Callable[[Source, Path], dict[str, int]]


class Format(NamedTuple):
    """A format: what it is for, the endings of names that mean it, whether it is a folder, and the module's name."""

    meaning: str
    endings: tuple[str, ...]
    folder: bool
    module: str


FORMATS = {
    "ndjson": Format(
        "every observation, as `peerstore record` takes it back",
        (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz", ".ndjson.zst", ".jsonl.zst"),
        False,
        "ndjson",
    ),
    "sqlite": Format(
        "a database of plain tables, for Datasette and SQL", (".db", ".sqlite", ".sqlite3"), False, "sqlite"
    ),
    "csv": Format("a folder of CSV tables, for spreadsheets", (".csv",), True, "csv_tables"),
    "parquet": Format("a folder of Parquet tables by day, for DuckDB, pandas, Polars", (".parquet",), True, "parquet"),
    "graphml": Format("the graph, for yEd, igraph, networkx", (".graphml",), False, "graphml"),
    "gexf": Format("the graph with its times, for Gephi", (".gexf",), False, "gexf"),
    "netjson": Format("the graph as NetJSON NetworkGraph", (".netjson",), False, "netjson"),
    "dot": Format("the graph for Graphviz", (".dot", ".gv"), False, "dot"),
    "ditto": Format("presence graphs as Ditto's SDK gives them", (".json",), False, "ditto"),
}
"""Every format by its name."""


def format_of(name: str) -> str:
    """The format that the name of a file or folder means; :class:`~peerstore.errors.QuestionError`.

    >>> format_of("history.ndjson.gz"), format_of("Mesh.DB")
    ('ndjson', 'sqlite')
    """
    lowered = name.lower().rstrip("/")
    for known, (_, endings, _, _) in FORMATS.items():
        if lowered.endswith(endings):
            return known
    all_endings = ", ".join(each.endings[0] for each in FORMATS.values())
    raise QuestionError(f"the name {name!r} means no format: end it in one of {all_endings}, or give --format")


def writer(name: str) -> Write:
    """What writes a format; :class:`~peerstore.errors.MissingExtra` if a library is missing that it needs."""
    if name not in FORMATS:
        raise QuestionError(f"there is no format {name!r}: choose from {', '.join(FORMATS)}")
    return cast("Write", import_module(f"peerstore.exporting.{FORMATS[name].module}").write)
