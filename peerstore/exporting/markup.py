"""XML as text: tags whose attributes and contents a reader gets back as they were, whatever is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

from peerstore.exporting.graphs import escaped

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_KEPT = {"\r": "&#13;"}  # a reader makes a newline of a bare one
_PLAIN = re.compile(r"[\w .:/+-]*", re.ASCII)  # most texts: nothing in them needs an escape


def opened(name: str, attributes: Mapping[str, str | None], end: str = ">") -> str:
    r"""The tag that opens an element; attributes that are ``None`` are left out.

    >>> print(opened("node", {"id": "a\n<", "label": None}), opened("spell", {"start": "1"}, "/>"))
    <node id="a&#10;&lt;"> <spell start="1"/>
    """
    given = "".join([f" {key}={_quoted(value)}" for key, value in attributes.items() if value is not None])
    return f"<{name}{given}{end}"


def element(name: str, attributes: Mapping[str, str | None], text: str) -> str:
    """An element that holds a text.

    >>> element("data", {"key": "n0"}, "a & b")
    '<data key="n0">a &amp; b</data>'
    """
    content = text if _PLAIN.fullmatch(text) else escape(escaped(text), _KEPT)
    return f"{opened(name, attributes)}{content}</{name}>"


def _quoted(value: str) -> str:
    return f'"{value}"' if _PLAIN.fullmatch(value) else quoteattr(escaped(value))
