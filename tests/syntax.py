"""The syntax trees of our own sources, for the tests that look at them."""

from __future__ import annotations

import ast
import gc


def parsed(source: str) -> ast.Module:
    """The syntax tree of a source.

    The collector rests meanwhile. In CPython 3.11 parsing can't be entered twice ("AST constructor recursion depth
    mismatch"), and what the collector finds may be told as a traceback, whose carets are placed by parsing lines.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if was_on:
            gc.enable()
