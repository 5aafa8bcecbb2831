"""Texts that a spreadsheet would run: what begins as a formula is guarded by an apostrophe, which can be taken off.

Names and metadata come from strangers, and a spreadsheet that opens a CSV file runs a cell such as ``=HYPERLINK(...)``.
"""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # fullwidth = + - @
"""How a cell begins that a spreadsheet may take for a formula; some drop white space before they look."""

_GUARDED = (*FORMULA, "'")


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet runs: with an apostrophe before it, if it begins as a formula or with an
    apostrophe, or is empty (so that it is not taken for a value that is missing). :func:`unguarded` undoes it.

    >>> guarded("=1+2"), guarded("'quoted'"), guarded(""), guarded("till 1")
    ("'=1+2", "''quoted'", "'", 'till 1')
    """
    return f"'{text}" if not text or text.startswith(_GUARDED) else text


def unguarded(cell: str) -> str:
    """The text of a cell that :func:`guarded` made: one apostrophe at its beginning is dropped.

    >>> unguarded("'=1+2"), unguarded("''quoted'"), unguarded("'"), unguarded("till 1")
    ('=1+2', "'quoted'", '', 'till 1')
    """
    return cell.removeprefix("'")
