"""Envelopes: one observation, as a line of NDJSON or as a mapping that Python code made.

::

    {"observedAt": "2026-07-08T18:00:05.123456Z", "graph": {...} | null,
     "observer": "pk...", "sequence": 0, "maxSilenceSeconds": 45, "recordedAt": "2026-07-08T18:00:06Z"}

* ``observedAt``: ISO 8601 with a zone; or ``observedAtMs``: whole milliseconds since 1970-01-01T00:00Z. If both are
  given they must name one instant.
* ``graph``: a presence graph (:mod:`peerstore.ditto`), or null: the observer stopped, and ``observer`` names it.
* ``observer``: the key of whoever recorded it, in any spelling; without it, the graph's local peer.
* ``sequence``: 0 to 2147483647, which orders observations of one instant; 0 without it.
* ``maxSilenceSeconds``: more than 0, at most 1e9: the observer promises to speak again within that time.
* ``recordedAt``: when another store recorded it, as an export says if asked to; ISO 8601 with a zone. It counts only
  where whoever records asks for that.

A mapping may also have ``observed_at`` (an aware datetime, or text), a datetime as ``observedAt``, and ``max_silence``
(a timedelta, or seconds). Any other field is an error, since nothing is dropped silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from peerstore.canonical import Json, loads, normal
from peerstore.ditto import GRAPH_DEPTH, GraphReader, canonical_peer_key
from peerstore.ditto_fields import folded
from peerstore.errors import InputError, InvalidObservation, InvalidTime
from peerstore.model import Observation
from peerstore.peer_keys import json_kind, kind_of
from peerstore.times import EARLIEST, LATEST, MICROSECOND, iso, micros, parse_iso

MAX_LINE = 16 * 2**20
"""The most bytes that the JSON text of one observation may have."""
MAX_SEQUENCE = 2**31 - 1
MAX_SILENCE = 10**15
"""The longest silence that an observation can declare, in microseconds: 1e9 seconds."""

_JSON_FIELDS = frozenset(
    ("observedAt", "observedAtMs", "graph", "observer", "sequence", "maxSilenceSeconds", "recordedAt")
)
_FIELDS = _JSON_FIELDS | {"observed_at", "max_silence"}
_SHORTEST_REPEAT = len('"graph":1,')
_OTHER_FIELDS = ("observer", "sequence", "maxSilenceSeconds", "recordedAt")
_FRAMES = tuple(len(f'"{name}":,') for name in ("observedAt", "graph", *_OTHER_FIELDS))
_LONGEST_BARE_FRAME = len('{"observedAt":,"graph":}')


class _RawEnvelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    observed_at: msgspec.Raw = msgspec.field(name="observedAt")
    graph: msgspec.Raw = msgspec.field()
    observer: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    sequence: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    max_silence: msgspec.Raw = msgspec.field(name="maxSilenceSeconds", default_factory=msgspec.Raw)
    recorded_at: msgspec.Raw = msgspec.field(name="recordedAt", default_factory=msgspec.Raw)


class _PlainGraph(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    local_peer: msgspec.Raw
    remote_peers: list[msgspec.Raw]


class _PlainEnvelope(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    observed_at: str
    graph: _PlainGraph


_RAW_ENVELOPE = msgspec.json.Decoder(_RawEnvelope)
_PLAIN_ENVELOPE = msgspec.json.Decoder(_PlainEnvelope)
_PLAIN_FRAME = len('{"observedAt":"","graph":{"localPeer":,"remotePeers":[]}}')


class ObservationReader:
    """Reads observations; a peer that was read before, byte for byte, is not parsed again.

    ``observer`` (a key in any spelling) and ``max_silence`` (microseconds or a timedelta) stand in where an observation
    names none. ``stamp`` (microseconds since the epoch; it may be set anew before each call) is the time of a bare
    presence graph without an envelope; where it is None, such a graph is refused. ``keep_recorded_at``: an observation
    keeps the ``recordedAt`` that it has, if that is no later than ``latest_recorded_at``. Not for several threads at
    once.
    """

    def __init__(
        self, observer: str | None = None, max_silence: timedelta | int | None = None, stamp: int | None = None
    ) -> None:
        self.observer = None if observer is None else canonical_peer_key(observer)
        self.max_silence = None if max_silence is None else _default_silence(max_silence)
        self.stamp = stamp
        self.keep_recorded_at = False
        self.latest_recorded_at = LATEST
        self._graphs = GraphReader()

    def read(self, content: bytes | bytearray | memoryview | str | Mapping[str, Any]) -> Observation:
        """Read one observation.

        :class:`~peerstore.errors.InputError`, or one of the classes below it, says what is wrong, and where.

        >>> ObservationReader().read('{"observedAtMs": 1000, "observer": "till", "graph": null}')
        Observation(observer='till', observed_at=1000000, sequence=0, graph=None, max_silence=None, recorded_at=None)
        """
        if isinstance(content, bytes):
            return self._read_text(content)
        if isinstance(content, str):
            return self._read_text(_encoded(content))
        if isinstance(content, bytearray | memoryview):
            return self._read_text(bytes(content))
        if not isinstance(content, Mapping):
            raise InvalidObservation(
                f"an observation is a {type(content).__name__}; JSON text or a mapping was expected"
            )
        return self._read_value(content, _FIELDS)

    def _read_text(self, content: bytes) -> Observation:
        if len(content) > MAX_LINE:
            raise InvalidObservation(f"an observation has {len(content)} bytes; at most {MAX_LINE} are read")
        observation = self._read_plainly(content) or self._read_quickly(content)
        if observation is not None:
            return observation
        value = loads(content, GRAPH_DEPTH + 1)
        if not isinstance(value, Mapping):
            raise InvalidObservation(f"an observation is {json_kind(value)}; an object was expected")
        return self._read_value(value, _JSON_FIELDS)

    def _read_plainly(self, content: bytes) -> Observation | None:
        """Read an envelope of a time and a plain graph, without spaces, in one scan; None for every other one."""
        try:
            plain = _PLAIN_ENVELOPE.decode(content)
            peers = [plain.graph.local_peer, *plain.graph.remote_peers]
            commas = len(peers) - 2 if len(peers) > 2 else 0
            if len(content) != _PLAIN_FRAME + len(plain.observed_at) + sum(map(len, peers)) + commas:
                return None  # there are spaces, or a member is given twice
            graph = self._graphs.read_peers(peers, self.observer)
            observed_at = parse_iso(plain.observed_at)
        except (msgspec.MsgspecError, UnicodeDecodeError, InputError, RecursionError):
            return None
        return Observation(self.observer or graph.local_peer, observed_at, 0, graph, self.max_silence)

    def _read_quickly(self, content: bytes) -> Observation | None:
        """Read an envelope with ``observedAt`` and ``graph``; None for another one and for a wrong one."""
        try:
            raw = _RAW_ENVELOPE.decode(content)
            parts = (raw.observed_at, raw.graph, raw.observer, raw.sequence, raw.max_silence, raw.recorded_at)
            if len(content) - sum(map(len, parts)) >= _least_frame(parts) + _SHORTEST_REPEAT:
                return None  # there is room for a member that is given twice
            value: dict[str, Any] = {"observedAt": _text(bytes(raw.observed_at))}
            if len(content) > len(raw.observed_at) + len(raw.graph) + _LONGEST_BARE_FRAME:
                given = zip(_OTHER_FIELDS, parts[2:], strict=True)
                value.update((name, loads(bytes(part))) for name, part in given if len(part))
            graph = bytes(raw.graph)
            return self._observation(value, None if graph == b"null" else graph)
        except (msgspec.MsgspecError, UnicodeDecodeError, InputError, RecursionError):
            return None

    def _read_value(self, value: Mapping[str, Any], known: frozenset[str]) -> Observation:
        if known.isdisjoint(value):
            return self._read_bare(value)
        for name in value:
            if name not in known:
                raise InvalidObservation(f"an observation has the field {name!r:.60}, which is not known")
        if "graph" not in value:
            raise InvalidObservation('an observation has no "graph"; a presence graph or null was expected')
        graph = value["graph"]
        if isinstance(graph, str | bytes | bytearray | memoryview):
            raise InvalidObservation("the graph of an observation is text; an object or null was expected", "/graph")
        return self._observation(value, graph)

    def _read_bare(self, graph: Mapping[str, Any]) -> Observation:
        names = {folded(name) for name in graph if isinstance(name, str)}
        if not names & {"localpeer", "remotepeers"}:
            raise InvalidObservation('this object is no observation; "observedAt" and "graph" were expected')
        if self.stamp is None:
            raise InvalidObservation("this is a presence graph without an envelope, so its time is not known")
        return self._with_graph(graph, self.observer, _in_range(self.stamp), 0, self.max_silence)

    def _observation(self, value: Mapping[str, Any], graph: Any) -> Observation:
        observer = value.get("observer")
        observer = self.observer if observer is None else _checked(canonical_peer_key, observer, "/observer")
        observed_at = _observed_at(value)
        sequence = _sequence(value.get("sequence", 0))
        max_silence = _declared_silence(value)
        recorded_at = value.get("recordedAt")
        recorded_at = None if recorded_at is None else _moment(recorded_at, "recordedAt")
        found = self._with_graph(
            graph, observer, observed_at, sequence, self.max_silence if max_silence is None else max_silence
        )
        if recorded_at is None or not self.keep_recorded_at:
            return found
        check_recorded_at(recorded_at, self.latest_recorded_at)
        return found._replace(recorded_at=recorded_at)

    def _with_graph(
        self, graph: Any, observer: str | None, observed_at: int, sequence: int, max_silence: int | None
    ) -> Observation:
        if graph is not None:
            read = self._graphs.read(graph, observer)
            return Observation(observer or read.local_peer, observed_at, sequence, read, max_silence)
        if observer is None:
            raise InvalidObservation('an observation whose graph is null has no "observer"; its key was expected')
        return Observation(observer, observed_at, sequence, None, max_silence)


def check_recorded_at(recorded_at: int, latest: int) -> None:
    """:class:`~peerstore.errors.InvalidObservation` for a time of recording that has not come yet: the store's clock
    would have to go on from there."""
    if recorded_at > latest:
        raise InvalidObservation(
            f"it says that it was recorded at {iso(recorded_at)}, which has not come yet by this store's clock: correct"
            " the clock, or record without the times of recording"
        )


def _encoded(content: str) -> bytes:
    try:
        return content.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"this text holds a lone surrogate at character {error.start}, which UTF-8 cannot hold"
        ) from None


def _text(content: bytes) -> Json:
    if content[:1] == b'"' and b"\\" not in content:
        return content[1:-1].decode()
    return loads(content)


def _least_frame(parts: tuple[msgspec.Raw, ...]) -> int:
    """How many bytes an envelope with these members has without their values, if it has no spaces."""
    return 1 + sum(size for size, part in zip(_FRAMES, parts, strict=True) if len(part))


def _observed_at(value: Mapping[str, Any]) -> int:
    given = [name for name in ("observedAt", "observed_at") if name in value]
    if len(given) > 1:
        raise InvalidObservation('both "observedAt" and "observed_at" are given; one of them was expected')
    moments = [_moment(value[name], name) for name in given]
    if "observedAtMs" in value:
        moments.append(_milliseconds(value["observedAtMs"]))
    if not moments:
        raise InvalidObservation('an observation has no "observedAt"; a time with a zone was expected')
    if moments[0] != moments[-1]:
        raise InvalidObservation(f'"{given[0]}" and "observedAtMs" name different instants; one instant was expected')
    return moments[0]


def _moment(value: object, name: str) -> int:
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, str):
        return parse_iso(value)
    raise InvalidTime(f'"{name}" is {kind_of(value)}; ISO 8601 text with a zone was expected', f"/{name}")


def _milliseconds(value: object) -> int:
    count = _checked(normal, value, "/observedAtMs")
    if type(count) is not int:
        raise InvalidTime(f'"observedAtMs" is {kind_of(value)}; an integer was expected', "/observedAtMs")
    return _in_range(count * 1000)


def _in_range(count: int) -> int:
    if not EARLIEST <= count <= LATEST:
        raise InvalidTime("a time lies outside the years 1 to 9999 in UTC")
    return count


def _sequence(value: object) -> int:
    if type(value) is not int:
        value = _checked(normal, value, "/sequence")
    if type(value) is not int or not 0 <= value <= MAX_SEQUENCE:
        raise InvalidObservation(
            f'"sequence" is {value if type(value) is int and abs(value) < 10**20 else kind_of(value)}; '
            f"an integer from 0 to {MAX_SEQUENCE} was expected",
            "/sequence",
        )
    return value


def _declared_silence(value: Mapping[str, Any]) -> int | None:
    given = [name for name in ("maxSilenceSeconds", "max_silence") if value.get(name) is not None]
    if len(given) > 1:
        raise InvalidObservation('both "maxSilenceSeconds" and "max_silence" are given; one of them was expected')
    return _silence(value[given[0]], given[0]) if given else None


def _silence(value: object, name: str) -> int:
    if isinstance(value, timedelta):
        return _silence_in_range(value // MICROSECOND)
    seconds = _checked(normal, value, f"/{name}")
    if type(seconds) not in (int, float):
        raise InvalidObservation(f'"{name}" is {kind_of(value)}; a number of seconds was expected', f"/{name}")
    if not 0 < seconds <= MAX_SILENCE:
        return _silence_in_range(0)
    return _silence_in_range(round(Decimal(repr(seconds)) * 1_000_000))


def _default_silence(value: timedelta | int) -> int:
    return _silence_in_range(value // MICROSECOND if isinstance(value, timedelta) else value)


def _silence_in_range(count: int) -> int:
    if not 0 < count <= MAX_SILENCE:
        raise InvalidObservation("a declared silence must be more than 0 and at most 1000000000 seconds")
    return count


def _checked(read: Callable[[Any], Json], value: object, path: str) -> Json:
    try:
        return read(value)
    except InputError as error:
        raise InvalidObservation(str(error), path) from None
