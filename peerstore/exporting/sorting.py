"""Sorting more rows than memory holds: runs that are sorted in memory, put aside in temporary files, and merged."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import IO, Any

RUN_SIZE = 4_000_000
"""About how many bytes of rows are held in memory."""
ROW_SIZE = 250  # of a row without the texts in it

Row = tuple[Any, ...]


class Sorter:
    """Rows in their order, however many there are: add them all, then iterate, as often as wanted.

    Rows are tuples of texts, integers and ``None``; no two may be equal in all that comes before a ``None``. They
    stay on disk while it is used as a context, in files without a name.

    >>> with Sorter() as rows:
    ...     rows.add(("b", 1))
    ...     rows.add(("a", 2))
    ...     list(rows)
    [('a', 2), ('b', 1)]
    """

    def __init__(self, run_size: int = RUN_SIZE) -> None:
        self._run_size = run_size
        self._run: list[Row] = []
        self._size = 0
        self._files: list[IO[str]] = []

    def __enter__(self) -> Sorter:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def add(self, row: Row) -> None:
        """Take a row."""
        self._run.append(row)
        self._size += ROW_SIZE + sum(len(value) for value in row if isinstance(value, str))
        if self._size > self._run_size:
            self._put_aside()

    def __iter__(self) -> Iterator[Row]:
        self._run.sort()
        return heapq.merge(*(_read(file) for file in self._files), self._run)

    def _put_aside(self) -> None:
        file = tempfile.TemporaryFile("w+", encoding="ascii", newline="\n")  # noqa: SIM115 (closed with the context)
        file.writelines(f"{json.dumps(row)}\n" for row in sorted(self._run))
        self._files.append(file)
        self._run, self._size = [], 0


def _read(file: IO[str]) -> Iterator[Row]:
    file.seek(0)
    for line in file:
        yield tuple(json.loads(line))


def beside(rows: Iterable[Row], others: Iterable[Row]) -> Iterator[tuple[Any, Row, list[Row]]]:
    """Each row, by its first member, with those others that have the same; both in the order of it.

    >>> list(beside([("a", 1), ("c", 2)], [("a", 7), ("a", 8), ("b", 9)]))
    [('a', (1,), [('a', 7), ('a', 8)]), ('c', (2,), [])]
    """
    groups = groupby(others, itemgetter(0))
    key, group = next(groups, (None, iter(())))
    for first, *rest in rows:
        while key is not None and key < first:
            key, group = next(groups, (None, iter(())))
        yield first, tuple(rest), list(group) if key == first else []
