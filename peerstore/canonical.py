"""JSON as values: a strict reader, the one normal form of every value, its canonical text, and what differs.

Two values are equal if their canonical texts are. Key order means nothing, array order does; ``null``, a missing
member, ``""`` and ``{}`` are four things; ``True`` is not 1. Numbers are compared by their value:

* an integer is exact at any size (up to :data:`MAX_DIGITS` digits);
* a number with a point or an exponent whose decimal value is integral *is* that integer: ``1``, ``1.0`` and ``1e0`` are
  one value, ``-0.0`` is ``0``;
* every other number is the nearest IEEE double, written as Python's ``repr`` writes it (and again an integer, if that
  double is integral). A Python float is what its ``repr`` says.

A number too large for a double, NaN and Infinity are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from peerstore.errors import InputError

Json = Any
"""A JSON value in normal form: ``dict`` with ``str`` keys, ``list``, ``str``, ``int``, ``float``, ``bool`` or None."""

MAX_DEPTH = 64
"""How many arrays and objects may stand in one another."""
MAX_DIGITS = 4300
"""How many digits a number may have in a row."""

_SCALARS = frozenset((str, int, float, bool, type(None)))
_INTEGER_LIMIT = 10**MAX_DIGITS
_LARGEST_EXPONENT = 308
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_STRING_LITERAL = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_WHOLE_STRINGS = re.compile(rb'(?:[^"]*+"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[^"]*+', re.DOTALL)
_PIECE = 64 * 1024
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*", re.DOTALL)
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")
_LONG_NUMBER = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_DIGITS + 1))


class Absent:
    """The type of :data:`ABSENT`."""

    __slots__ = ()
    _only: Absent | None = None

    def __new__(cls) -> Absent:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ABSENT"

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT = Absent()
"""What stands for a missing value; it is false, and is not ``None``, which stands for a JSON ``null``."""


def json_or_absent(value: Json | Absent) -> Json:
    """A value as JSON, where a missing one is written as ``{"absent": true}``.

    >>> json_or_absent(ABSENT), json_or_absent(None)
    ({'absent': True}, None)
    """
    return {"absent": True} if value is ABSENT else value


def loads(content: bytes | str, max_depth: int = MAX_DEPTH) -> Json:
    """Read JSON text strictly, into normal form.

    :class:`~peerstore.errors.InputError` for text that is not UTF-8 or not JSON, for an object with a key twice, for
    more than ``max_depth`` levels, for more than :data:`MAX_DIGITS` digits in a row, and for a number that no double
    can hold. The escape of a lone surrogate inside a string (``"\\ud800"``) is kept.

    >>> loads('{"b": 1e3, "a": [1.0, 0.10]}')
    {'b': 1000, 'a': [1, 0.1]}
    """
    text, raw = _decoded(content)
    _check_limits(raw, max_depth)
    try:
        return _DECODER.decode(text)
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"this is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise InputError("this JSON is nested too deep for the stack that the calling code leaves") from None
    except ValueError as error:
        raise InputError(f"this JSON cannot be read: {error}") from None


def normal(value: object, path: str = "", depth: int = 1) -> Json:
    """The normal form of a value that Python code made, as a new value; the one given is never modified.

    Mappings with ``str`` keys, lists, tuples, ``str``, ``int``, ``float``, ``bool`` and ``None`` are JSON; ``bytes``,
    ``bytearray`` and ``memoryview`` become a list of integers. :class:`~peerstore.errors.InputError`, with a JSON
    Pointer below ``path``, for anything else. ``depth`` is the level at which the value stands.

    >>> normal({"n": 1.0, "key": b"\\x02\\x87", "t": (True, None)})
    {'n': 1, 'key': [2, 135], 't': [True, None]}
    """
    return _normal(value, path, depth)


def dumps(value: Json) -> str:
    """The canonical text of a value in normal form: keys sorted, no spaces, as few escapes as UTF-8 allows.

    >>> dumps({"b": 1, "a": "é"})
    '{"a":"é","b":1}'
    """
    text = _ENCODER.encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ASCII_ENCODER.encode(value)
    return text


class Document:
    """A JSON value that is known by its canonical text: immutable, equal by text, parsed when first asked for."""

    __slots__ = ("_value", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._value: Json = ABSENT

    @property
    def value(self) -> Json:
        """The value; it is shared, so do not modify it."""
        if self._value is ABSENT:
            self._value = json.loads(self.text)
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Document) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Document({self.text!r})"


def differences(before: Json, after: Json) -> Iterator[tuple[str, Json, Json]]:
    """What differs between two values in normal form: (JSON Pointer, before, after), in the order of the paths.

    Objects are descended into; arrays and scalars are compared whole, and so is an object against anything else. A
    member that comes or goes is one difference at its own path, whatever it holds, with :data:`ABSENT` on the other
    side.

    >>> list(differences({"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"x": 1}, "b": [True]}))
    [('/a/y', 2, ABSENT), ('/b', [1], [True])]
    """
    found = sorted(_differences("", before, after), key=lambda difference: difference[0])
    return iter(found)


def differences_at(before: Json, after: Json, path: str) -> Iterator[tuple[str, Json, Json]]:
    """What of :func:`differences` lies at a JSON Pointer or below it.

    Where an object that holds the place comes or goes as a whole, the place does with it, and is told at its own path.

    >>> list(differences_at({"a": {"x": 1}, "b": 1}, {"a": {"x": 2}, "b": 2}, "/a"))
    [('/a/x', 1, 2)]
    >>> list(differences_at({}, {"a": {"x": 1}}, "/a/x"))
    [('/a/x', ABSENT, 1)]
    """
    old, new = value_at(before, path), value_at(after, path)
    return ((path + below, *values) for below, *values in differences(old, new))


def value_at(value: Json, path: str) -> Json:
    """What stands at a JSON Pointer within a value, or :data:`ABSENT`; an array's items by their numbers.

    >>> value_at({"a/b": [1, {"": 2}]}, "/a~1b/1/"), value_at({"a": None}, "/a/b")
    (2, ABSENT)
    """
    for step in steps_of(path):
        if isinstance(value, dict):
            value = value.get(step, ABSENT)
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return ABSENT
    return value


def steps_of(path: str) -> list[str]:
    """The members that a JSON Pointer names, one below the other; :class:`~peerstore.errors.InputError` if it is none.

    >>> steps_of("/peer_metadata/a~1b~0c"), steps_of("")
    (['peer_metadata', 'a/b~c'], [])
    """
    if not _POINTER.fullmatch(path):
        raise InputError(f"{_quoted(path)} is no JSON Pointer, such as /device_name or /peer_metadata/role")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def pointer(path: str, member: str | int) -> str:
    """The JSON Pointer (RFC 6901) to a member of what ``path`` points to.

    >>> pointer("/a", "b/c~d")
    '/a/b~1c~0d'
    """
    return f"{path}/{str(member).replace('~', '~0').replace('/', '~1')}"


def _decoded(content: bytes | str) -> tuple[str, bytes]:
    try:
        if isinstance(content, str):
            return content, content.encode()
        return str(content, "utf-8"), bytes(content)
    except UnicodeEncodeError as error:
        raise InputError(
            f"this text holds a lone surrogate at character {error.start}, which UTF-8 cannot hold"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"this is not UTF-8, the encoding of JSON: {error.reason} at byte {error.start}") from None


def _check_limits(raw: bytes, max_depth: int) -> None:
    """Refuse JSON text that is nested too deep or holds a number that is too long, before any parser sees it."""
    deep = raw.count(b"[") + raw.count(b"{") > max_depth
    long = len(raw) > MAX_DIGITS and _LONG_NUMBER.search(raw) is not None
    if not (deep or long):
        return
    raw = _without_strings(raw)
    if long and _LONG_NUMBER.search(raw) is not None:
        raise InputError(f"this JSON holds a number of more than {MAX_DIGITS} digits, the most that is read")
    if deep and _is_deep(raw.translate(_TO_SQUARE, _NOT_BRACKETS), max_depth):
        raise InputError(f"this JSON is nested more than {max_depth} levels deep, the most that is read")


def _without_strings(raw: bytes) -> bytes:
    """JSON text without its strings. A piece at a time: for each string that it takes out, the pattern needs much more
    memory than the string, and a line may hold millions of them."""
    kept = bytearray()
    start, size = 0, _PIECE
    while start < len(raw):
        end = min(start + size, len(raw))
        whole = _WHOLE_STRINGS.match(raw, start, end)
        unended = whole.end() if whole is not None else start
        kept += _STRING_LITERAL.sub(b"", raw[start:unended])
        if end == len(raw):
            break
        start, size = unended, size * 2 if unended == start else _PIECE
    return bytes(kept)


def _is_deep(brackets: bytes, max_depth: int) -> bool:
    """Whether brackets stand too deep before the place where a parser would stop at one that closes nothing."""
    for _ in range(max_depth):  # each round takes the innermost level away
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    never_closed = len(brackets) - len(brackets.lstrip(b"["))
    return b"[]" in brackets or never_closed > max_depth


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InputError(f"an object holds the key {_quoted(twice)} more than once")
    return members


def _number(literal: str) -> int | float:
    value = float(literal)
    if value - value == 0 and not value.is_integer():
        return value
    if value == 0:
        return 0
    return _integral(literal, value)


def _integral(literal: str, value: float) -> int:
    try:
        exact = Decimal(literal)
    except InvalidOperation:
        exact = Decimal("Infinity")
    if not exact.is_finite() or exact.adjusted() > _LARGEST_EXPONENT:
        raise InputError(f"the number {_shortened(literal)} is too large: no double can hold it")
    if exact == exact.to_integral_value():
        return int(exact)
    if value - value != 0:
        raise InputError(f"the number {_shortened(literal)} is too large: no double can hold it")
    return int(Decimal(repr(value)))


def _no_number(literal: str) -> NoReturn:
    raise InputError(f"{literal} is no number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_no_number)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_ASCII_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _normal(value: object, path: str, depth: int) -> Json:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, Mapping):
        _check_depth(path, depth)
        return {_key(key, path): _normal(member, pointer(path, str(key)), depth + 1) for key, member in value.items()}
    if isinstance(value, list | tuple):
        _check_depth(path, depth)
        return [_normal(item, pointer(path, index), depth + 1) for index, item in enumerate(value)]
    if isinstance(value, bytes | bytearray | memoryview):
        _check_depth(path, depth)
        return list(bytes(value))
    return _normal_scalar(value, path)


def _normal_scalar(value: object, path: str) -> Json:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        if not -_INTEGER_LIMIT < value < _INTEGER_LIMIT:
            raise InputError(f"an integer has more than {MAX_DIGITS} digits, the most that is kept", path)
        return int.__int__(value)
    if isinstance(value, float):
        if value - value != 0:
            raise InputError(f"{value} is no number of JSON", path)
        return _number(float.__repr__(value))
    raise InputError(f"a {type(value).__name__} is no JSON value", path)


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise InputError(f"a key of an object must be a string, not {type(key).__name__}", path)
    return str.__str__(key)


def _check_depth(path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InputError(f"a value is nested more than {MAX_DEPTH} levels deep, the most that is kept", path)


def _differences(path: str, before: Json, after: Json) -> Iterator[tuple[str, Json, Json]]:
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if not _same(before, after):
            yield path, before, after
        return
    for key, old in before.items():
        new = after.get(key, ABSENT)
        if new is ABSENT:
            yield pointer(path, key), old, ABSENT
        elif not (type(old) is type(new) and type(old) in _SCALARS and old == new):  # most are: what follows is slower
            yield from _differences(pointer(path, key), old, new)
    for key in after.keys() - before.keys():
        yield pointer(path, key), ABSENT, after[key]


def _same(before: Json, after: Json) -> bool:
    """Whether two values are one; Python's == is not enough, since it holds that True is 1."""
    if type(before) is not type(after):
        return False
    return bool(before == after) and (type(before) in _SCALARS or before is after or dumps(before) == dumps(after))


def _quoted(text: str) -> str:
    return json.dumps(_shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."
