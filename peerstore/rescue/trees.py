"""The rows of an SQLite file: b-trees walked from their roots, and where one is broken, the pages that lost their way.

What a page must hold follows from the page above it, so that one that was overwritten, also with another page of the
same file, is seen to be wrong. Where pages are missing, there is a *hole*: the keys between which rows may be lost.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from peerstore.rescue.pages import (
    INDEX_INTERIOR,
    INDEX_LEAF,
    TABLE_INTERIOR,
    TABLE_LEAF,
    Cell,
    Page,
    Pages,
    Unreadable,
    Values,
)
from peerstore.rescue.shapes import REPEATING, SHAPES, Shape

Key = tuple[Any, ...]
_DEEPEST = 20
_MOST_PAGES = 256
_MOST_RUNS = 32  # of pages that overlap, which only damage brings about
_VERSION_TABLE = "peerstore_revision"


class Hole(NamedTuple):
    """Rows may be lost between two keys (``None``: no bound)."""

    after: Key | None
    before: Key | None


class Row(NamedTuple):
    """A row, and whether nothing in its surroundings is damaged or out of date."""

    values: Values
    sure: bool


class _Run(NamedTuple):
    """A page of rows, or the single row of an entry above others, by its keys."""

    first: Key
    last: Key
    number: int
    sure: bool
    row: Values | None = None


class Tree:
    """The rows of a table or an index, in the order of its key."""

    def __init__(self, pages: Pages, shape: Shape) -> None:
        self.holes: list[Hole] = []
        self._pages = pages
        self._shape = shape
        self._runs: list[_Run] = []
        self._is_sorted = False
        self._last_pages: dict[int, dict[Key, Values]] = {}

    def rows(self) -> Iterator[Row]:
        """All rows, each key once; of two with one key the surer one."""
        waiting: list[tuple[Key, bool, int, Values, Iterator[tuple[Key, Values]]]] = []
        last: Key | None = None
        runs = self._sorted()
        for place, run in enumerate([*runs, None]):
            while waiting and (run is None or waiting[0][0] < run.first):
                key, unsure, number, values, rest = heapq.heappop(waiting)
                if key != last:
                    yield Row(values, not unsure)
                    last = key
                self._push(waiting, unsure, number, rest)
            if run is not None:
                self._push(waiting, not run.sure, place, self._of_run(run))

    def _sorted(self) -> list[_Run]:
        if not self._is_sorted:
            self._runs.sort(key=lambda run: (run.first, run.last, run.number))
            self._is_sorted = True
        return self._runs

    def _push(self, waiting: list[Any], unsure: bool, number: int, rest: Iterator[tuple[Key, Values]]) -> None:
        found = next(rest, None)
        if found is not None:
            heapq.heappush(waiting, (found[0], unsure, number, found[1], rest))

    def _kept(self, run: _Run) -> dict[Key, Values]:
        """The rows of a page, which is likely to be asked for again."""
        found = self._last_pages.get(run.number)
        if found is None:
            if len(self._last_pages) >= _MOST_PAGES:
                self._last_pages.clear()
            found = self._last_pages[run.number] = dict(self._of_run(run))
        return found

    def _of_run(self, run: _Run) -> Iterator[tuple[Key, Values]]:
        if run.row is not None:
            yield run.first, run.row
            return
        page = self._pages.page(run.number)
        yield from sorted((self.key(cell), self.values(cell)) for cell in page.cells if self.fits(cell))

    def numbered(self) -> Iterator[tuple[int, Row]]:
        """All rows of a table with rowids, with these."""
        for run in self._sorted():
            yield from ((key[0], Row(values, run.sure)) for key, values in self._of_run(run))

    def find(self, key: Key) -> Iterator[Values]:
        """Every row with a key: more than one only where something is damaged."""
        runs = self._sorted()
        place = bisect_right(runs, key, key=attrgetter("first"))
        for run in reversed(runs[max(0, place - _MOST_RUNS) : place]):
            if run.last >= key:
                values = self._kept(run).get(key)
                if values is not None:
                    yield values
            elif not self.holes:
                return

    def key(self, cell: Cell) -> Key:
        """The key of an entry."""
        if self._shape.with_rowid:
            return (cell.rowid,)
        key = cell.values[: self._shape.key]
        return tuple("" if value is None else value for value in key) if None in key else key

    def values(self, cell: Cell) -> Values:
        """The row of an entry."""
        return (cell.rowid, *cell.values[1:]) if self._shape.rowid_first else cell.values

    def fits(self, cell: Cell) -> bool:
        """Whether an entry can be a row of this table."""
        return bool(cell.values) and self._shape.fits(self.values(cell))

    def takes(self, page: Page) -> bool:
        """Whether a page that was found can be one of this tree: most of its rows fit."""
        leaf, interior = (TABLE_LEAF, None) if self._shape.with_rowid else (INDEX_LEAF, INDEX_INTERIOR)
        fitting = sum(map(self.fits, page.cells))
        return page.kind in (leaf, interior) and 2 * fitting > len(page.cells)

    def add(self, number: int, page: Page, *, sure: bool) -> None:
        """Take the rows of a page."""
        fitting = [cell for cell in page.cells if self.fits(cell)]
        keys = [self.key(cell) for cell in fitting]
        sure = sure and page.whole and len(fitting) == len(page.cells) and keys == sorted(keys)
        if not keys:
            return
        self._is_sorted = False
        if page.is_leaf:
            self._runs.append(_Run(min(keys), max(keys), number, sure))
        else:
            self._runs += [
                _Run(key, key, number, sure, self.values(cell)) for key, cell in zip(keys, fitting, strict=True)
            ]

    def narrow_holes(self) -> None:
        """Where pages were found that belong in a hole, only what is between them may be lost."""
        runs = [run for run in self._sorted() if run.sure]
        narrowed = []
        for after, before in self.holes:
            for run in runs:
                if (after is None or run.first > after) and (before is None or run.last < before):
                    narrowed.append(Hole(after, run.first))
                    after = run.last  # noqa: PLW2901 - the rest of the hole
            narrowed.append(Hole(after, before))
        self.holes = narrowed

    def walk(self, root: int, seen: set[int]) -> None:
        """Take the rows of all pages below a root; where one is not what it should be, note the hole."""
        self._walk(root, None, None, seen, _DEEPEST)

    def _walk(self, number: int, low: Key | None, high: Key | None, seen: set[int], depth: int) -> None:
        try:
            if number in seen or not depth:
                raise Unreadable
            page = self._pages.page(number)
            kinds = (TABLE_INTERIOR, TABLE_LEAF) if self._shape.with_rowid else (INDEX_INTERIOR, INDEX_LEAF)
            cells = page.cells if page.kind == TABLE_INTERIOR else [cell for cell in page.cells if self.fits(cell)]
            keys = [self.key(cell) for cell in cells]
            if page.kind not in kinds or not self._within(keys, low, high, page):
                raise Unreadable
        except Unreadable:
            self.holes.append(Hole(low, high))
            return
        seen.add(number)
        if page.kind != TABLE_INTERIOR:
            self.add(number, page, sure=True)
        if not page.whole or len(cells) < len(page.cells):
            self.holes.append(Hole(low, high))
        if page.is_leaf:
            return
        for cell, after, before in zip(cells, [low, *keys], keys, strict=False):
            self._walk(cell.child, after, before, seen, depth - 1)
        self._walk(page.right, keys[-1] if keys else low, high, seen, depth - 1)

    def _within(self, keys: list[Key], low: Key | None, high: Key | None, page: Page) -> bool:
        """Whether keys ascend, and stay within what the page above says."""
        if any(one >= other for one, other in pairwise(keys)):
            return False
        if not keys:
            return low is None and high is None and page.whole and not page.cells  # the root of an empty table
        below = high is None or (keys[-1] <= high if self._shape.with_rowid else keys[-1] < high)
        return below and (low is None or keys[0] > low)


class File:
    """An SQLite file of ours: its trees by the names of tables and indexes. ``is_known``: its schema can be read to the
    end, and ``names`` are all that there are."""

    def __init__(self, path: Path) -> None:
        self.pages = Pages(path)
        try:
            roots, self.is_known = _schema(self.pages)
            self._roots = roots
            self.names = set(roots)
            self.trees: dict[str, Tree] = {}
            self._seen: set[int] = set()
            for name, shape in {**SHAPES, **REPEATING}.items():
                self._read(name, shape, roots)
            self._find_lost(roots)
        except BaseException:
            self.pages.close()
            raise

    def revision(self) -> str | None:
        """The revision of the schema; ``None`` if it cannot be read."""
        tree = Tree(self.pages, Shape(_is_revision, with_rowid=True))
        if _VERSION_TABLE in self._roots:
            tree.walk(self._roots[_VERSION_TABLE], set())
        return next((str(row.values[0]) for row in tree.rows()), None)

    def _read(self, name: str, shape: Shape, roots: dict[str, int]) -> None:
        tree = self.trees[name] = Tree(self.pages, shape)
        if name in roots:
            tree.walk(roots[name], self._seen)
        elif not self.is_known:
            tree.holes.append(Hole(None, None))

    def _find_lost(self, roots: dict[str, int]) -> None:
        """Look for the pages that no tree leads to any more. They are sure where it is known which ones are free."""
        for name, root in roots.items():
            if name not in self.trees and root > 1:
                _mark(self.pages, root, self._seen, _DEEPEST)
        free = self.pages.free() if self.is_known else None
        trees = [self.trees[name] for name in SHAPES if name in roots or not self.is_known]
        for number in range(1, self.pages.count + 1):
            if number in self._seen or number in (free or ()):
                continue
            try:
                page = self.pages.page(number)
            except Unreadable:
                continue
            tree = next((tree for tree in trees if tree.takes(page)), None)
            if tree is not None:
                tree.add(number, page, sure=free is not None)
                tree.holes = tree.holes or [Hole(None, None)]  # a root that is another page
        for tree in trees:
            tree.narrow_holes()


def _mark(pages: Pages, number: int, seen: set[int], depth: int) -> None:
    """Note all pages of a tree that is not read."""
    try:
        page = pages.page(number)
    except Unreadable:
        return
    if number in seen or not depth:
        return
    seen.add(number)
    for child in () if page.is_leaf else (*(cell.child for cell in page.cells), page.right):
        _mark(pages, child, seen, depth - 1)


def _is_revision(row: Values) -> bool:
    return len(row) == 1 and isinstance(row[0], str)


def _is_object(row: Values) -> bool:
    return len(row) == 5 and isinstance(row[1], str) and isinstance(row[3], int)


def _schema(pages: Pages) -> tuple[dict[str, int], bool]:
    """The roots of tables and indexes by name, and whether these are all that there are."""
    tree = Tree(pages, Shape(_is_object, with_rowid=True))
    tree.walk(1, set())
    return {row.values[1]: row.values[3] for row in tree.rows() if row.values[3]}, not tree.holes
