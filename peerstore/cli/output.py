"""What goes to stdout for programs: JSON, NDJSON and CSV, as a stream; and texts made harmless for a terminal.

Device names and metadata come from strangers: they may hold line breaks, escape sequences that steer a terminal,
characters that reorder what is shown, and formulas for a spreadsheet.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from peerstore.spreadsheets import may_be_run

Format = Literal["json", "ndjson", "csv"]

_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_INVISIBLE = r"\u00ad\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
_UNSAFE = re.compile(f"[{_CONTROLS}{_INVISIBLE}]")
_UNSAFE_IN_CSV = re.compile(f"[{_CONTROLS}{_INVISIBLE}]".replace(r"\x00-\x1f", r"\x00-\x08\x0b\x0c\x0e-\x1f"))
_ALWAYS_JSON = ("before", "after")
SECONDS_BETWEEN_FLUSHES = 0.1


class Item(Protocol):
    """What can be printed as one row."""

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON."""


@dataclass(frozen=True)
class Row:
    """A row put together from parts."""

    values: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON."""
        return self.values


def safe(text: str) -> str:
    r"""A text in which everything that could steer a terminal is shown by its code.

    >>> print(safe("till\x1b[2J\n\u202e9"))
    till\x1b[2J\x0a\u202e9
    """
    return _UNSAFE.sub(_code, text)


def to_json(value: Any) -> str:
    """One line of JSON in ASCII, which no terminal takes for a command."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def print_document(value: Any) -> None:
    """One JSON document."""
    json.dump(value, sys.stdout, ensure_ascii=True, allow_nan=False, indent=2)
    sys.stdout.write("\n")


def print_rows(items: Iterable[Item], format: Format, fields: Sequence[str]) -> None:
    """The rows as they come: a JSON array with a row a line, a line of JSON a row, or CSV with these fields."""
    if format == "csv":
        _print_csv(_flushed(items), fields)
    elif format == "ndjson":
        for item in _flushed(items):
            sys.stdout.write(to_json(item.to_dict()) + "\n")
    else:
        _print_array(_flushed(items))


def _flushed(items: Iterable[Item]) -> Iterator[Item]:
    """The items; what was written of the first one, and then of some now and then, reaches the reader at once."""
    flushed = -SECONDS_BETWEEN_FLUSHES
    for item in items:
        yield item
        now = time.monotonic()
        if now - flushed >= SECONDS_BETWEEN_FLUSHES:
            sys.stdout.flush()
            flushed = now


def _print_array(items: Iterable[Item]) -> None:
    separator = "[\n"
    for item in items:
        sys.stdout.write(separator + to_json(item.to_dict()))
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


def _print_csv(items: Iterable[Item], fields: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(fields)
    for item in items:
        values = _flat(item.to_dict())
        writer.writerow([_cell(name, values[name]) if name in values else "" for name in fields])


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**(values.get("connection") or {}), **values}


def _cell(name: str, value: Any) -> str:
    if name in _ALWAYS_JSON or isinstance(value, (dict, list, bool)):
        return to_json(value)
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = _UNSAFE_IN_CSV.sub(_code, value)
    return f"'{text}" if may_be_run(text) else text


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
