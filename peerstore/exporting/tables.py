"""The tables of an export: what each holds, as columns with meanings and rows as a stream.

SQLite files, CSV folders, Parquet folders and Arrow tables all hold these, so that one description is true of all.
Rows are tuples in the order of the columns. Their values are those of Python: ``str``, ``int``, ``bool``, aware
``datetime`` in UTC, and, in columns of the kind ``json``, canonical JSON text, which is exact whatever a device said.

Text that SQL cannot hold (NUL, lone surrogates: names come from strangers) stands in ``text`` columns by its JSON
escape (``\\u0000``); the ``json`` columns hold it exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from peerstore.canonical import ABSENT, Json, dumps, pointer
from peerstore.exporting.source import Source
from peerstore.interning import element_digest
from peerstore.model import Connection, Element

Kind = Literal["text", "integer", "boolean", "time", "seconds", "json"]
Row = tuple[Any, ...]


class Column(NamedTuple):
    """A column; ``refers_to``: the table and column whose values its values are."""

    name: str
    kind: Kind
    meaning: str
    required: bool = False
    refers_to: tuple[str, str] | None = None


class ExportTable(NamedTuple):
    """A table: its name, what it holds, its columns, the names of those that tell its rows apart, how to read it.

    ``by_day``: the column of kind ``time`` by whose UTC day a partitioned export parts it.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rows: Callable[[Source], Iterator[Row]]
    by_day: str | None = None


def connection_key(connection: Connection) -> str:
    """The key of a connection in every export: a digest of its identity, the same in all stores.

    >>> connection_key(Connection("1", "pkAQID", "pkBAUG", "Bluetooth"))
    '3d9993255955f9172135daad038c3f50'
    """
    identity = Element("connection", connection.peer1, connection.peer2, connection.type, connection.id)
    return element_digest(identity).hex()


_NOT_IN_SQL = re.compile(r"[\x00\ud800-\udfff]|\\(?=u[0-9a-f]{4})")


def plain(text: str | None) -> str | None:
    r"""A text as every engine and format can hold it: NUL and lone surrogates by their JSON escapes, and a backslash
    that would be taken for the beginning of one.

    >>> print(plain("a\x00b"), plain("a\\u0000b"), plain("C:\\users"))
    a\u0000b a\u005cu0000b C:\users
    """
    return None if text is None else _NOT_IN_SQL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def leaves(value: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every value within objects by its JSON Pointer; an array, and an object without members, is one value.

    >>> list(leaves({"a": {"b": 1, "c": [2]}, "d": {}}))
    [('/a/b', 1), ('/a/c', [2]), ('/d', {})]
    """
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for name in sorted(value):
        yield from leaves(value[name], pointer(path, name))


def _json(value: Json) -> str | None:
    return None if value is ABSENT else dumps(value)


def _os(value: str | int | None) -> str | None:
    return None if value is None else plain(str(value))


def _observers(source: Source) -> Iterator[Row]:
    for each in source.observers():
        yield (
            each.observer,
            each.first_observed_at,
            each.last_observed_at,
            each.last_recorded_at if source.options.recorded_at else None,
            each.observations,
            each.watching,
        )


def _peers(source: Source) -> Iterator[Row]:
    observers = source.observer_keys()
    told = set()
    for known in source.peers():
        peer = known.peer
        told.add(peer.peer_key)
        yield (
            peer.peer_key,
            plain(peer.device_name),
            _os(peer.os),
            plain(peer.sdk_version),
            peer.is_connected_to_cloud,
            peer.is_compatible,
            dumps(dict(peer.peer_metadata)),
            dumps(dict(peer.identity_service_metadata)),
            peer.peer_key in observers,
            True,
            known.first_seen,
            known.last_seen,
            dumps(dict(peer.document)),
        )
    for key in sorted((source.connection_ends() | observers) - told):
        yield (key, None, None, None, None, None, None, None, key in observers, False, None, None, None)


def _connections(source: Source) -> Iterator[Row]:
    for each in source.connections():
        yield connection_key(each), each.id, each.peer1, each.peer2, each.type


def _peer_sessions(source: Source) -> Iterator[Row]:
    for each in source.sessions():
        yield each.peer_key, each.start, each.end, each.end_reason, each.gaps


def _connection_sessions(source: Source) -> Iterator[Row]:
    for each in source.connection_sessions():
        link = each.connection
        yield connection_key(link), link.peer1, link.peer2, link.type, each.start, each.end, each.end_reason, each.gaps


def _attribute_changes(source: Source) -> Iterator[Row]:
    for each in source.attribute_changes():
        yield (
            each.peer_key,
            plain(each.path),
            each.observed_at,
            _json(each.before),
            _json(each.after),
            each.observer,
            each.learned,
            each.across_absence,
            each.across_gap,
        )


def _metadata(source: Source) -> Iterator[Row]:
    for known in source.peers():
        for path, value in leaves(dict(known.peer.document)):
            if path:
                yield known.peer.peer_key, plain(path), dumps(value), plain(value) if isinstance(value, str) else None


def _observations(source: Source) -> Iterator[Row]:
    for each in source.observations():
        silence = None if each.max_silence is None else each.max_silence.total_seconds()
        recorded_at = each.recorded_at if source.options.recorded_at else None
        yield each.observer, each.observed_at, each.sequence, recorded_at, each.stopped, silence


_PEER = ("peers", "peer_key")
_CONNECTION = ("connections", "connection_key")
_OBSERVER = ("observers", "observer")
_SESSION = (
    Column("start", "time", "When it began; at the horizon of a pruned history: then or before.", required=True),
    Column("end", "time", "When it ended, exclusive; none: it still holds."),
    Column(
        "end_reason",
        "text",
        "left: an observer saw it gone; stopped, silence: the last one that saw it ceased to watch.",
    ),
    Column("gaps", "integer", "How many gaps were joined.", required=True),
)

TABLES = {
    table.name: table
    for table in (
        ExportTable(
            "observers",
            "Whoever recorded presence graphs.",
            (
                Column("observer", "text", "Its peer key, or the name it was given.", required=True),
                Column("first_observed_at", "time", "Its first observation, on its own clock.", required=True),
                Column(
                    "last_observed_at",
                    "time",
                    "Its last observation in the whole history, on its own clock.",
                    required=True,
                ),
                Column("last_recorded_at", "time", "When something of it was last recorded, if that was asked for."),
                Column("observations", "integer", "How many observations it made in the whole history.", required=True),
                Column("watching", "boolean", "Whether it was watching at the end.", required=True),
            ),
            ("observer",),
            _observers,
        ),
        ExportTable(
            "peers",
            "Every peer that was heard of, with its last known attributes.",
            (
                Column("peer_key", "text", "Its key; anonymous:... is a handle for one without a key.", required=True),
                Column("device_name", "text", "The name that the device gives itself: not unique."),
                Column("os", "text", "Its operating system, as given."),
                Column("sdk_version", "text", "The version of its Ditto SDK."),
                Column("is_connected_to_cloud", "boolean", "Whether it says that it has a link to the cloud."),
                Column("is_compatible", "boolean", "Whether the observer found its SDK compatible with its own."),
                Column("peer_metadata", "json", "What the device's app set."),
                Column("identity_service_metadata", "json", "What the identity service set."),
                Column("is_observer", "boolean", "Whether it recorded presence graphs itself.", required=True),
                Column("is_listed", "boolean", "False: known only as the end of a connection.", required=True),
                Column(
                    "first_seen",
                    "time",
                    "When it was first present; at the horizon of a prune: then or before.",
                ),
                Column("last_seen", "time", "The newest observation that confirmed it."),
                Column("document", "json", "All that was recorded of it, exactly."),
            ),
            ("peer_key",),
            _peers,
        ),
        ExportTable(
            "metadata",
            "The last known attributes of every peer, one row a path.",
            (
                Column("peer_key", "text", "The peer.", required=True, refers_to=_PEER),
                Column("path", "text", "The attribute, as a JSON Pointer.", required=True),
                Column("value", "json", "Its value.", required=True),
                Column("text", "text", "Its value, where that is a text."),
            ),
            ("peer_key", "path"),
            _metadata,
        ),
        ExportTable(
            "connections",
            "Every connection that was there.",
            (
                Column("connection_key", "text", "A digest of the four columns that follow.", required=True),
                Column("id", "text", "The id that Ditto gave it.", required=True),
                Column("peer1", "text", "The smaller key of its ends.", required=True, refers_to=_PEER),
                Column("peer2", "text", "The greater key of its ends.", required=True, refers_to=_PEER),
                Column("type", "text", "Its transport, such as Bluetooth.", required=True),
            ),
            ("connection_key",),
            _connections,
        ),
        ExportTable(
            "peer_sessions",
            "Unbroken presences of peers, whole.",
            (Column("peer_key", "text", "The peer.", required=True, refers_to=_PEER), *_SESSION),
            ("peer_key", "start"),
            _peer_sessions,
            "start",
        ),
        ExportTable(
            "connection_sessions",
            "Unbroken presences of connections, whole.",
            (
                Column("connection_key", "text", "The connection.", required=True, refers_to=_CONNECTION),
                Column("peer1", "text", "The smaller key of its ends.", required=True, refers_to=_PEER),
                Column("peer2", "text", "The greater key of its ends.", required=True, refers_to=_PEER),
                Column("type", "text", "Its transport.", required=True),
                *_SESSION,
            ),
            ("connection_key", "start"),
            _connection_sessions,
            "start",
        ),
        ExportTable(
            "attribute_changes",
            "Every attribute of a peer that took another value.",
            (
                Column("peer_key", "text", "The peer.", required=True, refers_to=_PEER),
                Column("path", "text", "The attribute, as a JSON Pointer.", required=True),
                Column("observed_at", "time", "When it was observed.", required=True),
                Column("before", "json", "The value before; none: there was none."),
                Column("after", "json", "The value after; none: there is none."),
                Column("observer", "text", "The observer that reported it first."),
                Column("learned", "boolean", "An unknown became known; nothing need have changed.", required=True),
                Column("across_absence", "boolean", "The peer was away in between.", required=True),
                Column("across_gap", "boolean", "Nobody was watching just before.", required=True),
            ),
            ("peer_key", "path", "observed_at"),
            _attribute_changes,
            "observed_at",
        ),
        ExportTable(
            "observations",
            "What was observed when, and when it was recorded.",
            (
                Column("observer", "text", "The observer.", required=True, refers_to=_OBSERVER),
                Column("observed_at", "time", "When, on the observer's clock.", required=True),
                Column("sequence", "integer", "Which one of the same instant.", required=True),
                Column("recorded_at", "time", "When the store recorded it, if that was asked for."),
                Column("stopped", "boolean", "Whether it says that the observer stopped watching.", required=True),
                Column("max_silence_seconds", "seconds", "After how long a silence it no longer holds."),
            ),
            ("observer", "observed_at", "sequence"),
            _observations,
            "observed_at",
        ),
    )
}
"""Every table, by its name; each after those that its columns refer to."""
