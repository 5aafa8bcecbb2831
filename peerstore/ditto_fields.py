"""One peer, one connection of Ditto's JSON: which field means what, by whatever name and in whatever spelling.

A field is recognised by its *folded* name: lowercase, without underscores. So ``deviceName``, ``DeviceName`` and
``device_name`` are one. Where a member is given under several names, the first name in the order of the tables below
wins; another one that says the same is a repeat, and one that says something else stays among the unknown fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from peerstore.canonical import Json, dumps, pointer
from peerstore.errors import InputError, InvalidGraph
from peerstore.model import Element
from peerstore.peer_keys import anonymous_end, checked_text, json_kind, kind_of, spelled_bytes, spelled_key

MAX_ID = 2048
"""The most bytes of UTF-8 that the id of a connection may have."""
MAX_TYPE = 128
"""The most bytes of UTF-8 that the type of a connection may have."""

NOISE = frozenset(("approximatedistanceinmeters", "rssi", "queryoverlapgroup"))
TYPE_NUMBERS = ("Bluetooth", "AccessPoint", "P2PWiFi", "WebSocket")
TYPE_WORDS = {word.lower(): word for word in (*TYPE_NUMBERS, "Multicast", "Unknown")}


class Member(NamedTuple):
    """A member of a peer's document: its names in Ditto's JSON, the preferred one first, and the types it may have."""

    name: str
    given_names: tuple[str, ...]
    types: tuple[type, ...]
    expected: str
    repeats: str = ""


MEMBERS = (
    Member("device_name", ("deviceName",), (str,), "a string or null"),
    Member("os", ("os",), (str, int), "a string, an integer or null"),
    Member("sdk_version", ("dittoSdkVersion",), (str,), "a string or null"),
    Member(
        "is_connected_to_cloud",
        ("isConnectedToDittoCloud", "isConnectedToDittoServer", "isDittoCloudConnected"),
        (bool,),
        "a boolean or null",
    ),
    Member("is_compatible", ("isCompatible",), (bool,), "a boolean or null"),
    Member("peer_metadata", ("peerMetadata",), (dict,), "an object or null", "peerInfo"),
    Member(
        "identity_service_metadata",
        ("identityServiceMetadata",),
        (dict,),
        "an object or null",
        "identityServiceInfo",
    ),
)


class Link(NamedTuple):
    """A connection as one list has it; ``extra`` is the canonical text of its unknown fields, or "" for none."""

    element: Element
    extra: str


class OpenLink(NamedTuple):
    """A connection with an end that has no key: its handle waits for the observer's key."""

    ends: tuple[str | None, str | None]
    type: str
    id: str
    extra: dict[str, Json]

    def close(self, observer: str) -> Link:
        """The connection, with handles for the ends that have no key."""
        first, second = self.ends
        first = anonymous_end(observer, self.id, 1) if first is None else first
        second = anonymous_end(observer, self.id, 2) if second is None else second
        return _link(first, second, self.type, self.id, self.extra)


def folded(name: str) -> str:
    """The name by which a field is recognised.

    >>> folded("DittoSDKVersion") == folded("ditto_sdk_version") == folded("dittoSdkVersion")
    True
    """
    return _FOLDED.get(name) or name.replace("_", "").lower()


_FOLDED = {
    name: name.lower()
    for name in (
        *(name for member in MEMBERS for name in (*member.given_names, member.repeats) if name),
        *("peerKeyString", "peerKey", "address", "connections", "id", "connectionType", "dittoSDKVersion"),
        *("peerKeyString1", "peerKeyString2", "peer1", "peer2"),
    )
}


class Fields:
    """The fields of one object by folded name, from which the known ones are taken until only the unknown are left."""

    def __init__(self, value: Mapping[str, Json], path: str) -> None:
        self.value = value
        self.path = path
        self._names: dict[str, list[str]] = {}
        for name in value:
            self._names.setdefault(folded(name), []).append(name)

    def take(self, *given_names: str) -> list[str]:
        """The names in the object that mean one of these, the preferred first."""
        found: list[str] = []
        for given_name in given_names:
            names = self._names.pop(folded(given_name), None)
            if names is not None:
                found += names if len(names) == 1 else sorted(names, key=lambda name: (name != given_name, name))
        return found

    def take_only(self, given_name: str) -> str | None:
        """The one name in the object that means this; None if there is none."""
        names = self.take(given_name)
        if len(names) > 1:
            raise InvalidGraph(f"both {names[0]} and {names[1]} are given; one of them was expected", self.path)
        return names[0] if names else None

    def rest(self, noise: frozenset[str] = frozenset()) -> list[str]:
        """The names that nobody took, without those that are noise."""
        return [name for key, names in self._names.items() if key not in noise for name in names]


def read_peer(value: Mapping[str, Json], path: str) -> tuple[str | None, dict[str, Json]]:
    """The key (None: it has none) and the document of a peer, given in normal form without its connections.

    :class:`~peerstore.errors.InvalidGraph` names the place of what is wrong.
    """
    fields = Fields(value, path)
    document: dict[str, Json] = {}
    extra: dict[str, Json] = {}
    for member in MEMBERS:
        _read_member(fields, member, document, extra)
    key = _read_key(fields, document, extra)
    extra.update((name, value[name]) for name in fields.rest(NOISE))
    if key is None:
        document["anonymous"] = True
    if extra:
        document["extra"] = extra
    return key, document


def _read_member(fields: Fields, member: Member, document: dict[str, Json], extra: dict[str, Json]) -> None:
    names = fields.take(*member.given_names)
    if names:
        value = fields.value[names[0]]
        if value is not None and type(value) not in member.types:
            raise _wrong_type(names[0], value, member.expected, fields.path)
        document[member.name] = value
        if member.repeats:
            names += fields.take(member.repeats)
        for name in names[1:]:
            if not _same(fields.value[name], value):
                extra[name] = fields.value[name]


def _read_key(fields: Fields, document: dict[str, Json], extra: dict[str, Json]) -> str | None:
    candidates = [(name, _key(fields, name, spelled_key)) for name in fields.take("peerKeyString", "peerKey")]
    addresses = [name for name in fields.take("address") if fields.value[name] not in (None, {})]
    keys = [key for _, key in candidates if key is not None]
    keys += [key for name in addresses for key in _address_keys(fields, name)]
    key = keys[0] if keys else None
    extra.update((name, fields.value[name]) for name, other in candidates if other not in (None, key))
    for name in addresses:
        unknown = _read_address(fields.value[name], pointer(fields.path, name), key, document)
        if unknown != {}:
            extra[name] = unknown
    return key


def _address_keys(fields: Fields, name: str) -> list[str]:
    if not isinstance(fields.value[name], dict):
        return []
    address = Fields(fields.value[name], pointer(fields.path, name))
    return [key for given in address.take("pubkey") if (key := _key(address, given, spelled_bytes)) is not None]


def _read_address(value: Json, path: str, key: str | None, document: dict[str, Json]) -> Json:
    """What of an address is neither the peer's key nor its site id, which goes into the document."""
    if not isinstance(value, dict):
        return value
    address = Fields(value, path)
    unknown: dict[str, Json] = {}
    for name in address.take("pubkey"):
        if _key(address, name, spelled_bytes) not in (None, key):
            unknown[name] = value[name]
    for name in address.take("siteId"):
        if type(value[name]) is int and document.setdefault("site_id", value[name]) == value[name]:
            continue
        unknown[name] = value[name]
    unknown.update((name, value[name]) for name in address.rest())
    return unknown


def listed(value: Any, path: str) -> Iterator[tuple[int | str, Any]]:
    """The connections of a list, by their index, or of a map, by their id."""
    if isinstance(value, list | tuple):
        return iter(enumerate(value))
    if isinstance(value, Mapping):
        return iter(value.items())
    if value is None:
        return iter(())
    raise InvalidGraph(f"connections are {kind_of(value)}; an array, an object or null was expected", path)


def read_link(value: Json, path: str, filed_id: str = "") -> Link | OpenLink:
    """Read one connection, given in normal form; ``filed_id`` is the id under which a map has it.

    :class:`~peerstore.errors.InvalidGraph` names the place of what is wrong.
    """
    if not isinstance(value, dict):
        raise InvalidGraph(f"a connection is {json_kind(value)}; an object was expected", path)
    fields = Fields(value, path)
    extra: dict[str, Json] = {}
    link_id = _read_first(fields, ("id",), _link_id, extra) or ""
    if filed_id and link_id and filed_id != link_id:
        raise InvalidGraph("a connection is filed under another id than its own; one id was expected", path)
    link_id = link_id or _checked(_link_id, filed_id, path) or ""
    link_type = _read_first(fields, ("connectionType", "type"), _link_type, extra) or "Unknown"
    first, second = (read_end(fields, end, extra) for end in (1, 2))
    extra.update((name, value[name]) for name in fields.rest(NOISE))
    if first is None or second is None:
        return OpenLink((first, second), link_type, link_id, extra)
    return _link(first, second, link_type, link_id, extra)


class _PlainLink(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    id: str
    peer_key_string1: str
    peer_key_string2: str
    connection_type: str


_PLAIN_LINK = msgspec.json.Decoder(_PlainLink)
_PLAIN_FRAME = len('{"id":"","peerKeyString1":"","peerKeyString2":"","connectionType":""}')
_SHORTEST_REPEAT = len('"id":"",')


def read_plain_link(content: bytes) -> Link | None:
    """Read the JSON text of a connection that has an id, a type and the keys of its ends as texts, and nothing else.

    None for every other one, and for a wrong one: much quicker than :func:`read_link`, with the same result.
    """
    try:
        plain = _PLAIN_LINK.decode(content)
        parts = (plain.id, plain.peer_key_string1, plain.peer_key_string2, plain.connection_type)
        if len(content) - sum(map(len, parts)) >= _PLAIN_FRAME + _SHORTEST_REPEAT:
            return None  # there is room for a member that is given twice
        link_id, link_type = _link_id(plain.id), _link_type(plain.connection_type)
        first, second = spelled_key(plain.peer_key_string1), spelled_key(plain.peer_key_string2)
    except (msgspec.MsgspecError, UnicodeDecodeError, InputError):
        return None
    if link_id is None or link_type is None or first is None or second is None:
        return None
    return _link(first, second, link_type, link_id, {})


def _link(first: str, second: str, link_type: str, link_id: str, extra: dict[str, Json]) -> Link:
    if first > second:  # strings without surrogates sort as their UTF-8 does
        first, second = second, first
        extra = swapped_ends(extra)
    link_id = link_id or f"{first}<->{second}:{link_type}"
    return Link(Element("connection", first, second, link_type, link_id), dumps(extra) if extra else "")


def swapped_ends(extra: Mapping[str, Json]) -> dict[str, Json]:
    """Unknown fields of a connection, those that speak of end 1 renamed to end 2 and the other way round."""
    return {_swapped(name) if end_of(name) else name: value for name, value in extra.items()}


def end_of(name: str) -> int:
    """Which end of a connection a field speaks of: 1, 2, or 0 for neither."""
    key = folded(name)
    return int(key[-1]) if key[:-1] in ("peer", "peerkey", "peerkeystring") and key[-1] in "12" else 0


def _swapped(name: str) -> str:
    at = max(name.rfind("1"), name.rfind("2"))
    return name[:at] + ("2" if name[at] == "1" else "1") + name[at + 1 :]


def _read_first(
    fields: Fields, given_names: tuple[str, ...], read: Callable[[Json], str | None], extra: dict[str, Json]
) -> str | None:
    """The first value that is not empty; those that say something else go to ``extra``."""
    first: str | None = None
    for name in fields.take(*given_names):
        found = _checked(read, fields.value[name], pointer(fields.path, name))
        first = found if first is None else first
        if found not in (None, first):
            extra[name] = fields.value[name]
    return first


def end_names(end: int) -> tuple[str, str, str]:
    """The names under which a connection may give the key of its end 1 or 2, the preferred one first."""
    return f"peerKeyString{end}", f"peerKey{end}", f"peer{end}"


def read_end(fields: Fields, end: int, extra: dict[str, Json]) -> str | None:
    """The key of an end of a connection, None if it has none; what else is said of that end goes to ``extra``."""
    first: str | None = None
    for name in fields.take(*end_names(end)):
        value = fields.value[name]
        if isinstance(value, dict) and "0" not in value:
            address = Fields(value, pointer(fields.path, name))
            found = next(iter(_address_keys(fields, name)), None)
            first = found if first is None else first
            if unknown := _unknown_of_end(address, first):
                extra[name] = unknown
            continue
        found = _key(fields, name, spelled_key)
        first = found if first is None else first
        if found not in (None, first):
            extra[name] = value
    return first


def _unknown_of_end(address: Fields, key: str | None) -> dict[str, Json]:
    names = [name for name in address.take("pubkey") if _key(address, name, spelled_bytes) not in (None, key)]
    return {name: address.value[name] for name in (*names, *address.rest())}


def _link_id(value: Json) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InputError(f"the id of a connection is {json_kind(value)}; a string was expected")
    return checked_text(value, "the id of a connection", MAX_ID)


def _link_type(value: Json) -> str | None:
    if value is None or value == "":
        return None
    if type(value) is int:
        return TYPE_NUMBERS[value] if 0 <= value < len(TYPE_NUMBERS) else checked_text(str(value), "a type", MAX_TYPE)
    if not isinstance(value, str):
        raise InputError(f"the type of a connection is {json_kind(value)}; a string or an integer was expected")
    return TYPE_WORDS.get(value.lower()) or checked_text(value, "the type of a connection", MAX_TYPE)


def _key(fields: Fields, name: str, read: Callable[[Json], str | None]) -> str | None:
    return _checked(read, fields.value[name], pointer(fields.path, name))


def _checked(read: Callable[[Json], str | None], value: Json, path: str) -> str | None:
    try:
        return read(value)
    except InputError as error:
        raise InvalidGraph(str(error), path) from None


def _wrong_type(name: str, value: Json, expected: str, path: str) -> InvalidGraph:
    return InvalidGraph(f"{name} is {json_kind(value)}; {expected} was expected", pointer(path, name))


def _same(one: Json, other: Json) -> bool:
    return bool(one == other) and dumps(one) == dumps(other)
