"""Keyframes: a whole state (element id to document id) packed into few bytes.

Form 1 and 2: one byte with the form's number, then a zlib stream of two columns, one after the other: the element ids
in ascending order as differences, and the document ids. Each column is an array of little-endian unsigned integers
(form 1: 4 bytes, form 2: 8), stored byte plane by byte plane (all lowest bytes first), which zlib packs about twice as
well as the integers themselves.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from itertools import accumulate

from peerstore.errors import DatabaseError

State = dict[int, int]
"""The state of one observer: element id to document id; an absent element is missing."""

_TYPES = {1: "I", 2: "Q"}


def pack(state: State) -> bytes:
    """A state as the body of a keyframe.

    >>> unpack(pack({7: 3, 2: 9}))
    {2: 9, 7: 3}
    """
    elements = sorted(state)
    documents = [state[element] for element in elements]
    differences = [after - before for before, after in zip([0, *elements], elements, strict=False)]
    form = 1 if max([*elements, *documents], default=0) < 1 << 32 else 2
    columns = b"".join(_planes(array(_TYPES[form], column)) for column in (differences, documents))
    return bytes([form]) + zlib.compress(columns, 6)


def unpack(body: bytes) -> State:
    """The state that a keyframe's body holds; :class:`~peerstore.errors.DatabaseError` if it is damaged."""
    try:
        code = _TYPES[body[0]]
        raw = zlib.decompress(body[1:])
        half = len(raw) // 2
        differences, documents = (_values(code, raw[:half]), _values(code, raw[half:]))
        return dict(zip(accumulate(differences), documents, strict=True))
    except (KeyError, IndexError, ValueError, zlib.error) as error:
        raise DatabaseError(f"a keyframe is damaged ({error}): run `peerstore verify`") from error


def _planes(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    raw = values.tobytes()
    return b"".join(raw[plane :: values.itemsize] for plane in range(values.itemsize))


def _values(code: str, planes: bytes) -> array[int]:
    values = array(code)
    size, count = values.itemsize, len(planes) // values.itemsize
    raw = bytearray(len(planes))
    for plane in range(size):
        raw[plane::size] = planes[plane * count : (plane + 1) * count]
    values.frombytes(bytes(raw))
    if sys.byteorder == "big":
        values.byteswap()
    return values
