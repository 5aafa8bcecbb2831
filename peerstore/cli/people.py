"""What goes to stdout for people: tables that fit the screen, short keys, names, times and values.

A key is shortened to a beginning that no other known peer shares, so that what is shown can be typed back.
"""

from __future__ import annotations

import shutil
import sys
import time
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import click

from peerstore.canonical import ABSENT, dumps
from peerstore.cli.output import Format, Item, print_rows, safe
from peerstore.model import Connection
from peerstore.times import iso

if TYPE_CHECKING:
    from peerstore.store import PeerStore

NARROWEST, UNKNOWN_WIDTH = 80, 120
SHORTEST_KEY = 14  # all keys of Ditto peers share their first ten characters
READABLE_CELL = 12  # rather leave a column out than cut the others to less
SHORTEST_CELL = 8
LONGEST_VALUE = 40  # where a value stands within a sentence
MOST_CHARACTERS = 4  # for each column of the screen: a pile of combining marks takes no room and no end
ROWS_OF_A_TABLE = 1000
SECONDS_TO_WAIT = 0.5
IF_TOLD = -1
"""The rank of a column that is left out where it is empty, but never for lack of room."""

T = TypeVar("T")
I = TypeVar("I", bound=Item)  # noqa: E741


class Column(NamedTuple, Generic[T]):
    """A column of a table; where the screen is narrow, that with the highest ``rank`` goes first.

    A column of rank 0 always stays; any other is left out where it is empty. ``keep`` says what stays of a cell that is
    too long; of "both", the end more than the start: that is where names, ids and new values differ. Before a column is
    left out, the others are cut to what is ``readable``; if nothing more can be left out, to ``least``.
    """

    title: str
    cell: Callable[[T], str]
    rank: int = 0
    keep: Literal["start", "both", "end", "whole"] = "start"
    readable: int = READABLE_CELL
    least: int = SHORTEST_CELL


class Names:
    """How people are shown peers, and how they may type them back."""

    def __init__(self, store: PeerStore) -> None:
        self._names = store.device_names()
        self._keys = sorted({*store.peer_keys(), *store.observer_keys()})
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
    """A table, or a new one every thousand rows (on a terminal sooner, if they come slowly); gives the number of
    rows."""
    count = 0
    for part in _parts(items):
        if count:
            sys.stdout.write("\n")
        _print_part([[column.cell(item) for column in columns] for item in part], columns)
        count += len(part)
    return count


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    _print_lines(list(facts))


def print_title(title: str) -> None:
    """A line above a table, with a blank line before it."""
    sys.stdout.write(f"\n{title}\n")


def screen_width() -> int:
    """How many columns what is shown to people may take."""
    return max(shutil.get_terminal_size((UNKNOWN_WIDTH, 24)).columns, NARROWEST)


def show_time(moment: datetime | None) -> str:
    """An instant without decimals that are zero; it can be typed back."""
    if moment is None:
        return ""
    text = iso(moment)
    return text.replace(".000000Z", "Z") if text.endswith(".000000Z") else text.replace("000Z", "Z")


def show_value(value: Any) -> str:
    """A JSON value, or a word for a missing one."""
    return "(absent)" if value is ABSENT else safe(dumps(value))


def show_edit(path: Any, before: Any, after: Any) -> str:
    """An attribute's old and new value, short enough for both to be seen."""
    shown = (_cut(show_value(value), LONGEST_VALUE, "both") for value in (before, after))
    return f"{show_text(path)}: {' -> '.join(shown)}"


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
    """Rows by the thousand; but whoever sits at a terminal need not wait for a thousand slow ones."""
    remaining, patience = iter(items), SECONDS_TO_WAIT
    while True:
        begun = time.monotonic()
        part: list[T] = []
        for item in islice(remaining, ROWS_OF_A_TABLE):
            part.append(item)
            if time.monotonic() - begun > patience and sys.stdout.isatty():
                break
        if not part:
            return
        yield part
        sys.stdout.flush()
        patience *= 4


def _print_part(rows: list[list[str]], columns: Sequence[Column[T]]) -> None:
    told = [index for index, column in enumerate(columns) if not column.rank or any(row[index] for row in rows)]
    kept, widths = _fitted(told, columns, _widths(rows, columns))
    cells = [[_cut(row[index], widths[index], columns[index].keep) for index in kept] for row in rows]
    rule = ["-" * widths[index] for index in kept]
    _print_lines([[columns[index].title for index in kept], rule, *cells])


def _print_lines(lines: Sequence[Sequence[str]]) -> None:
    """Cells beside each other, each column as wide as its widest cell, and nothing behind the last one."""
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell + " " * (width - display_width(cell)) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _widths(rows: list[list[str]], columns: Sequence[Column[T]]) -> list[int]:
    return [
        max(len(column.title), *(display_width(row[index]) for row in rows)) for index, column in enumerate(columns)
    ]


def _fitted(told: list[int], columns: Sequence[Column[T]], widths: list[int]) -> tuple[list[int], list[int]]:
    """Which of the columns that tell something stay, and how wide each may be, so that the table fits the screen."""
    screen = screen_width()
    kept = list(told)
    readable, least = (
        [_narrowed(*each) for each in zip(columns, widths, rooms, strict=True)]
        for rooms in ([max(column.readable, column.least) for column in columns], [column.least for column in columns])
    )
    while _total(readable[index] for index in kept) > screen and any(columns[index].rank > 0 for index in kept):
        kept.remove(max(kept, key=lambda index: columns[index].rank))
    for floor in (readable, least):
        widths = _shrunk(kept, widths, floor, screen)
    return kept, widths


def _shrunk(kept: list[int], widths: list[int], floor: list[int], screen: int) -> list[int]:
    """The widths after the widest columns have given what does not fit, none more than to its floor."""
    widths = list(widths)
    while _total(widths[index] for index in kept) > screen:
        giving = [index for index in kept if widths[index] > floor[index]]
        if not giving:
            break
        widths[max(giving, key=widths.__getitem__)] -= 1
    return widths


def _narrowed(column: Column[T], width: int, room: int) -> int:
    """How narrow a column of this width may become, if its cells may be cut to so much room."""
    return width if column.keep == "whole" else min(width, max(room, len(column.title)))


def _total(widths: Iterable[int]) -> int:
    listed = list(widths)
    return sum(listed) + 2 * (len(listed) - 1)


def display_width(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese, Japanese, Korean and emoji take two a character.

    >>> display_width("till"), display_width("厨房"), display_width("e\u0301"), display_width("🍕")
    (4, 4, 1, 2)
    """
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, room: int, keep: str) -> str:
    r"""As much of a text as there is room for.

    >>> [_cut("/peer_metadata/role", 11, keep) for keep in ("start", "both", "end")]
    ['/peer_meta…', '/pe…ta/role', '…adata/role']
    >>> _cut("厨房のディスプレイ", 8, "start")
    '厨房の…'
    """
    if keep == "whole" or (display_width(text) <= room and len(text) <= MOST_CHARACTERS * room):
        return text
    start = {"start": room - 1, "both": room // 3, "end": 0}[keep]
    return f"{_beginning(text, start)}…{_beginning(text[::-1], room - 1 - start)[::-1]}"


def _beginning(text: str, room: int) -> str:
    taken, end = 0, 0
    for character in text[: MOST_CHARACTERS * room]:
        taken += _character_width(character)
        if taken > room:
            break
        end += 1
    return text[:end]
