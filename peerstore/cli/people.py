"""What goes to stdout for people: tables that fit the screen, short keys, names, times and values.

A key is shortened to a beginning that no other known peer shares, so that what is shown can be typed back.
"""

from __future__ import annotations

import shutil
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import click
from tabulate import tabulate

from peerstore.canonical import ABSENT, dumps
from peerstore.cli.output import Format, Item, print_rows, safe
from peerstore.model import Connection
from peerstore.times import iso

if TYPE_CHECKING:
    from peerstore.store import PeerStore

NARROWEST, WIDEST, UNKNOWN_WIDTH = 80, 160, 120
SHORTEST_KEY = 14  # all keys of Ditto peers share their first ten characters
READABLE_CELL = 24  # rather leave a column out than cut the others to less
SHORTEST_CELL = 8
TITLE_PADDING = 2  # tabulate leaves at least this much beside a title
ROWS_OF_A_TABLE = 1000

T = TypeVar("T")
I = TypeVar("I", bound=Item)  # noqa: E741


class Column(NamedTuple, Generic[T]):
    """A column of a table; where the screen is narrow, that with the highest ``rank`` goes first.

    A column of rank 0 always stays; any other is left out where it is empty. A ``rigid`` cell is never cut.
    """

    title: str
    cell: Callable[[T], str]
    rank: int = 0
    rigid: bool = False


class Names:
    """How people are shown peers, and how they may type them back."""

    def __init__(self, store: PeerStore) -> None:
        known = {entry.peer.peer_key: entry.peer.device_name for entry in store.known_peers()}
        observers = (summary.observer for summary in store.observer_summaries())
        self._keys = sorted({*known, *observers})
        self._names = {key: name for key, name in known.items() if name}
        self._bearers = Counter(self._names.values())

    def key(self, key: str) -> str:
        """The key, shortened as far as no other known key begins alike."""
        place = bisect_left(self._keys, key)
        neighbours = [other for other in self._keys[max(0, place - 1) : place + 2] if other != key]
        shared = max((_shared(key, other) for other in neighbours), default=0)
        return safe(key[: max(SHORTEST_KEY, shared + 1)])

    def name(self, key: str | None) -> str:
        """The device name if one peer alone has it, else the name with the key, else the key."""
        if key is None:
            return ""
        name = self._names.get(key)
        if name is None:
            return self.key(key)
        return safe(name) if self._bearers[name] == 1 else f"{safe(name)} ({self.key(key)})"

    def connection(self, connection: Connection) -> str:
        """Both ends."""
        return f"{self.name(connection.peer1)} - {self.name(connection.peer2)}"


@dataclass(frozen=True)
class Listing(Generic[I]):
    """How rows of one kind are printed: the fields of their CSV, their columns for people, and what to say of none."""

    fields: tuple[str, ...]
    columns: Callable[[Names], list[Column[I]]]
    nothing: str


def print_listing(items: Iterable[I], listing: Listing[I], format: Format | None, store: PeerStore) -> None:
    """Print rows as asked; if there are none, people are told so on stderr."""
    if format is not None:
        print_rows(items, format, listing.fields)
    elif not print_table(items, listing.columns(Names(store))):
        click.echo(listing.nothing, err=True)


def print_table(items: Iterable[T], columns: Sequence[Column[T]]) -> int:
    """A table, or a new one every thousand rows; gives the number of rows."""
    count = 0
    for part in _parts(items):
        if count:
            sys.stdout.write("\n")
        _print_part([[column.cell(item) for column in columns] for item in part], columns)
        count += len(part)
    return count


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    sys.stdout.write(tabulate(list(facts), tablefmt="plain", disable_numparse=True) + "\n")


def print_title(title: str) -> None:
    """A line above a table, with a blank line before it."""
    sys.stdout.write(f"\n{title}\n")


def show_time(moment: datetime | None) -> str:
    """An instant without decimals that are zero; it can be typed back."""
    if moment is None:
        return ""
    text = iso(moment)
    return text.replace(".000000Z", "Z") if text.endswith(".000000Z") else text.replace("000Z", "Z")


def show_value(value: Any) -> str:
    """A JSON value, or a word for a missing one."""
    return "(absent)" if value is ABSENT else safe(dumps(value))


def show_text(value: Any) -> str:
    """A text that may be missing."""
    return "" if value is None else safe(str(value))


def show_truth(value: bool | None) -> str:
    """A truth that may be unknown."""
    return "" if value is None else ("yes" if value else "no")


def plural(count: int, word: str) -> str:
    """A number of things.

    >>> plural(1, "peer"), plural(2, "peer")
    ('1 peer', '2 peers')
    """
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _shared(key: str, other: str) -> int:
    pairs = enumerate(zip(key, other, strict=False))
    return next((place for place, (one, two) in pairs if one != two), min(len(key), len(other)))


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(items)
    while part := list(islice(remaining, ROWS_OF_A_TABLE)):
        yield part


def _print_part(rows: list[list[str]], columns: Sequence[Column[T]]) -> None:
    told = [index for index, column in enumerate(columns) if not column.rank or any(row[index] for row in rows)]
    kept, widths = _fitted(told, columns, _widths(rows, columns))
    cells = [[_cut(row[index], widths[index]) for index in kept] for row in rows]
    titles = [columns[index].title for index in kept]
    sys.stdout.write(tabulate(cells, titles, tablefmt="simple", disable_numparse=True) + "\n")


def _widths(rows: list[list[str]], columns: Sequence[Column[T]]) -> list[int]:
    titles = [len(column.title) + TITLE_PADDING for column in columns]
    return [max(titles[index], *(len(row[index]) for row in rows)) for index in range(len(columns))]


def _fitted(told: list[int], columns: Sequence[Column[T]], widths: list[int]) -> tuple[list[int], list[int]]:
    """Which of the columns that tell something stay, and how wide each may be, so that the table fits the screen."""
    screen = min(max(shutil.get_terminal_size((UNKNOWN_WIDTH, 24)).columns, NARROWEST), WIDEST)
    kept = list(told)
    readable = _least(columns, widths, READABLE_CELL)
    while _total(readable[index] for index in kept) > screen and any(columns[index].rank for index in kept):
        kept.remove(max(kept, key=lambda index: columns[index].rank))
    least, widths = _least(columns, widths, SHORTEST_CELL), list(widths)
    while _total(widths[index] for index in kept) > screen:
        widest = max(kept, key=lambda index: widths[index] - least[index])
        if widths[widest] == least[widest]:
            break
        widths[widest] -= 1
    return kept, widths


def _least(columns: Sequence[Column[T]], widths: list[int], cell: int) -> list[int]:
    """How narrow each column may become, if a cell may be cut to so many characters."""
    return [
        width if column.rigid else min(width, max(cell, len(column.title) + TITLE_PADDING))
        for column, width in zip(columns, widths, strict=True)
    ]


def _total(widths: Iterable[int]) -> int:
    listed = list(widths)
    return sum(listed) + 2 * (len(listed) - 1)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
