"""Texts that a spreadsheet would run: what begins as a formula is guarded by an apostrophe, which can be taken off.

Names and metadata come from strangers, and a spreadsheet that opens a CSV file runs a cell such as ``=HYPERLINK(...)``.
"""

from __future__ import annotations

import re

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # fullwidth = + - @
"""How a cell begins that a spreadsheet may take for a formula; some drop white space before they look."""

_MAY_BE_RUN = re.compile(
    r"[\t\r\n]|[\x00-\x20\x7f-\xa0\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]*"
    r"[=+@\-\uff1d\uff0b\uff0d\uff20]"
)


def may_be_run(text: str) -> bool:
    """Whether a spreadsheet may take a cell with this text for a formula: it begins as one, or would if white space and
    what cannot be seen before it were dropped.

    >>> may_be_run("=1+2"), may_be_run(" =1+2"), may_be_run("1+2")
    (True, True, False)
    """
    return _MAY_BE_RUN.match(text) is not None


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet runs: with an apostrophe before it, if it :func:`may_be_run` or begins
    with an apostrophe, or is empty (so that it is not taken for a value that is missing). :func:`unguarded` undoes it.

    >>> guarded("=1+2"), guarded("'quoted'"), guarded(""), guarded("till 1")
    ("'=1+2", "''quoted'", "'", 'till 1')
    """
    return f"'{text}" if not text or text[0] == "'" or may_be_run(text) else text


def unguarded(cell: str) -> str:
    """The text of a cell that :func:`guarded` made: one apostrophe at its beginning is dropped.

    >>> unguarded("'=1+2"), unguarded("''quoted'"), unguarded("'"), unguarded("till 1")
    ('=1+2', "'quoted'", '', 'till 1')
    """
    return cell.removeprefix("'")
