"""The keys of peers: one canonical text for every spelling of the same bytes, and handles for peers without a key.

A Ditto peer key is 38 bytes that begin with ``02 87 02 82 43``; its canonical text is ``pk`` and the base64url of the
bytes without padding. Sources of another kind have keys of their own, which stay as they are.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from collections.abc import Mapping

from peerstore.canonical import Json, normal
from peerstore.errors import InputError

MAX_KEY = 512
"""The most bytes of UTF-8 that a peer key may have."""
ANONYMOUS = "anonymous:"
"""How the handle of a peer without a key begins; no key that is given may begin so."""

_DITTO_KEY_PREFIX = bytes.fromhex("0287028243")
_DITTO_KEY_LENGTH = 38
_DITTO_SPELLING_LENGTHS = frozenset((51, 52, 53, 54, 76))  # of base64 and hex, with and without "pk" and padding
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+", re.ASCII)
_TO_STANDARD = str.maketrans("-_", "+/")
_MAX_PART = 200
_NOT_IN_HANDLES = re.compile(r"[\\:~\x00\ud800-\udfff]")


def canonical_peer_key(value: object) -> str:
    """The canonical text of a peer key in any spelling: text, or bytes as ``bytes``, a list or ``{"0": 2, ...}``.

    Text becomes another text only where it clearly spells a Ditto key (``pk`` or bare base64, base64url, hex); every
    other text is the key that its source gave, and stays. :class:`~peerstore.errors.InputError` for what is no key.

    >>> key = bytes.fromhex("0287028243" + "02" + "11" * 32)
    >>> canonical_peer_key(key)
    'pkAocCgkMCERERERERERERERERERERERERERERERERERERERERERE'
    >>> canonical_peer_key(key.hex()) == canonical_peer_key(list(key)) == canonical_peer_key(key)
    True
    >>> canonical_peer_key("badge-164"), canonical_peer_key([1, 2, 3])
    ('badge-164', 'pkAQID')
    """
    return _canonical_text(value) if type(value) is str else _canonical(value)


def _canonical(value: object) -> str:
    key = spelled_key(normal(value))
    if key is None:
        raise InputError("a peer key is empty; text or bytes were expected")
    return key


@functools.lru_cache(maxsize=4096)
def _canonical_text(value: str) -> str:
    return _canonical(value)


def spelled_key(value: Json) -> str | None:
    """The canonical text of a JSON value that spells a peer key; None for one that is empty (null, "", [], {})."""
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, str):
        found = _ditto_key_bytes(value)
        return _own_key(value) if found is None else key_of_bytes(found)
    return key_of_bytes(_listed_bytes(value))


def spelled_bytes(value: Json) -> str | None:
    """Like :func:`spelled_key`, for a place that holds bytes alone: text there is hex or base64, if it decodes."""
    if not isinstance(value, str) or not value:
        return spelled_key(value)
    if bytes_of_key(value) is not None:
        return spelled_key(value)
    found = bytes.fromhex(value) if _HEX.fullmatch(value) else _decoded(value)
    return spelled_key(value) if found is None else key_of_bytes(found)


def key_of_bytes(content: bytes) -> str:
    """``pk`` and the base64url of the bytes, without padding."""
    key = "pk" + base64.urlsafe_b64encode(content).decode().rstrip("=")
    return checked_text(key, "a peer key", MAX_KEY)


def bytes_of_key(key: str) -> bytes | None:
    """The bytes that a canonical key spells, or None for a key that spells none.

    >>> bytes_of_key("pkAQID"), bytes_of_key("badge-164")
    (b'\\x01\\x02\\x03', None)
    """
    content = _decoded(key[2:]) if key.startswith("pk") and len(key) > 2 else None
    return content if content and key_of_bytes(content) == key else None


def _own_key(text: str) -> str:
    if text.startswith(ANONYMOUS):
        raise InputError(f'a peer key begins with "{ANONYMOUS}", which is kept for peers without a key')
    return checked_text(text, "a peer key", MAX_KEY)


def checked_text(text: str, what: str, limit: int) -> str:
    """The text of an identity, if databases can hold it: no NUL, no lone surrogate, at most ``limit`` bytes."""
    if "\0" in text:
        raise InputError(f"{what} holds a NUL character, which databases cannot hold")
    if len(text) * 4 <= limit and text.isascii():
        return text
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InputError(f"{what} holds a lone surrogate, which UTF-8 cannot hold") from None
    if size > limit:
        raise InputError(f"{what} has {size} bytes; at most {limit} are kept")
    return text


def anonymous_peer(observer: str, device_name: str, ordinal: int) -> str:
    """The handle of a peer without a key: ``anonymous:<observer>:<device name>:<ordinal>``.

    A long part is shortened and ends in a digest of the whole; a backslash, ``:``, ``~``, NUL and lone surrogates in it
    are written as a backslash and four hexadecimal digits.

    >>> anonymous_peer("pkAQID", "till 1", 2)
    'anonymous:pkAQID:till 1:2'
    """
    return f"{ANONYMOUS}{_part(observer)}:{_part(device_name)}:{ordinal}"


def anonymous_end(observer: str, connection_id: str, end: int) -> str:
    """The handle of a connection's end (1 or 2) without a key: ``anonymous:<observer>:connection:<id>:<end>``."""
    return f"{ANONYMOUS}{_part(observer)}:connection:{_part(connection_id)}:{end}"


def handles_of(observer: str) -> str:
    """How every handle that an observer gave begins."""
    return f"{ANONYMOUS}{_part(observer)}:"


def _part(text: str) -> str:
    escaped = _NOT_IN_HANDLES.sub(lambda found: f"\\{ord(found[0]):04x}", text)
    if len(escaped) * 4 <= _MAX_PART or len(escaped.encode()) <= _MAX_PART:
        return escaped
    digest = hashlib.sha256(escaped.encode()).hexdigest()[:32]
    return escaped.encode()[: _MAX_PART - 33].decode(errors="ignore") + "~" + digest


def _ditto_key_bytes(text: str) -> bytes | None:
    if len(text) not in _DITTO_SPELLING_LENGTHS:
        return None
    if text.startswith("pk"):
        content = _decoded(text[2:])
    else:
        content = bytes.fromhex(text) if _HEX.fullmatch(text) else _decoded(text)
    if content is None or len(content) != _DITTO_KEY_LENGTH or not content.startswith(_DITTO_KEY_PREFIX):
        return None
    return content


def _decoded(text: str) -> bytes | None:
    if not _BASE64.fullmatch(text):
        return None
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare.translate(_TO_STANDARD) + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return None


def _listed_bytes(value: Json) -> bytes:
    if isinstance(value, Mapping):
        if not all(str(index) in value for index in range(len(value))):
            raise InputError('an object that spells bytes must have the keys "0", "1", ... without a gap')
        value = [value[str(index)] for index in range(len(value))]
    if not isinstance(value, list):
        raise InputError(f"a peer key is {json_kind(value)}; text or bytes were expected")
    if not all(type(byte) is int and 0 <= byte <= 255 for byte in value):
        raise InputError("an array that spells bytes holds something other than the integers 0 to 255")
    return bytes(value)


def json_kind(value: Json) -> str:
    """What JSON calls the kind of a value, with its article, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    for kind, name in ((str, "a string"), (int, "a number"), (float, "a number"), (list, "an array")):
        if isinstance(value, kind):
            return name
    return "an object"


def kind_of(value: object) -> str:
    """What JSON calls the kind of a value, or what Python calls it if JSON has no such kind."""
    try:
        return json_kind(normal(value))
    except InputError:
        return f"a {type(value).__name__}"
