"""What is fuzzed: each target takes any bytes, and raises only if the product breaks a promise.

The promise: a value or an :class:`~peerstore.errors.InputError`, never another exception; and text, bytes and parsed
values are read alike.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, cast

from peerstore.canonical import dumps, loads, normal
from peerstore.ditto import GRAPH_DEPTH, GraphReader, read_graph
from peerstore.envelope import ObservationReader
from peerstore.errors import InputError
from peerstore.ndjson import read_lines
from peerstore.times import EARLIEST, LATEST, instant, iso, micros, parse_duration, parse_iso, parse_moment

NOW = datetime(2026, 7, 8, 18, tzinfo=UTC)
_REFUSED = "refused"
_SPACE = b" \t\n\r\x0b\x0c"


class _Pieces(io.RawIOBase):
    """Bytes that come in pieces of changing sizes, as from a pipe."""

    def __init__(self, content: bytes, sizes: bytes) -> None:
        super().__init__()
        self._content, self._sizes, self._turn = content, sizes or b"\x01", 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self._sizes[self._turn % len(self._sizes)] or 1)
        self._turn += 1
        piece, self._content = self._content[:size], self._content[size:]
        buffer[: len(piece)] = piece
        return len(piece)


def lines(data: bytes) -> None:
    """The line reader: what comes in any pieces is what stands between the newlines."""
    sizes, content = data[1 : 1 + data[0] % 8] if data else b"", data[9:]
    stream = io.BufferedReader(_Pieces(content, sizes), (data[0] if data else 0) + 1)
    found = [(line.number, line.content) for line in read_lines(cast(BinaryIO, stream), "here")]
    whole = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    kept = [(number, line.removesuffix(b"\r")) for number, line in enumerate(whole[:-1], 1)]
    kept.append((len(whole), whole[-1].removesuffix(b"\r")))  # without a newline at its end
    assert found == [(number, line) for number, line in kept if line.strip(_SPACE)], (content, found)


def canonical(data: bytes) -> None:
    """The canonical form: reading what was written gives the value again, and writing is stable."""
    value = _outcome(loads, data)
    text = _text(data)
    if text is not None:
        assert _outcome(loads, text) == value
    if value == _REFUSED:
        return
    written = dumps(value[1])
    again = loads(written)
    assert again == value[1]
    assert dumps(again) == written == dumps(loads(written.encode())) == dumps(normal(value[1]))
    assert json.loads(written) == value[1]


def graph(data: bytes) -> None:
    """The graph parser: text, bytes and parsed values are read alike, by a new reader and by one that has read more."""
    reader = GraphReader()
    read: list[Callable[[], Any]] = [
        lambda: read_graph(data, "o"),
        lambda: reader.read(data, "o"),
        lambda: reader.read(data, "o"),
        lambda: read_graph(loads(data, GRAPH_DEPTH), "o"),
    ]
    text = _text(data)
    if text is not None:
        read.append(lambda: read_graph(text, "o"))
    outcomes = [_outcome(each) for each in read]
    assert all(outcome == outcomes[0] for outcome in outcomes), (data, outcomes)
    envelope = b'{"observedAt":"2026-07-08T18:00:05Z","observer":"o","graph":' + data + b"}"
    observed = _outcome(ObservationReader().read, envelope)
    if outcomes[0] != _REFUSED:
        assert observed != _REFUSED, data
        assert observed[1].graph == outcomes[0][1]


def times(data: bytes) -> None:
    """The time parsers: an instant that prints as itself, or a refusal."""
    text = data.decode("utf-8", "surrogateescape")
    found = _outcome(parse_iso, text)
    if found != _REFUSED:
        assert EARLIEST <= found[1] <= LATEST
        assert parse_iso(iso(found[1])) == found[1] == micros(instant(found[1]))
    moment = _outcome(lambda: parse_moment(text, NOW))
    if moment != _REFUSED:
        assert moment[1].utcoffset() == timedelta(0)
    duration = _outcome(parse_duration, text)
    if duration != _REFUSED:
        assert duration[1] >= timedelta(0)


def _outcome(read: Callable[..., Any], *given: Any) -> Any:
    try:
        return ("read", read(*given))
    except InputError as error:
        said = str(error)
    assert 0 < len(said) < 1000, said
    return _REFUSED


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


TARGETS: dict[str, Callable[[bytes], None]] = {"lines": lines, "canonical": canonical, "graph": graph, "times": times}

SEEDS: dict[str, tuple[bytes, ...]] = {
    "lines": (
        b'\x03\x01\x05\x09\x00\x00\x00\x00\x00{"a":1}\r\n\n{"b":2}',
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\xef\xbb\xbf \n\n",
    ),
    "canonical": (
        b'{"b":1.50,"a":[true,null,"\\ud800\\u0000",1e3,-0.0]}',
        b"[[[]],{}]",
        b"12345678901234567890.0",
    ),
    "graph": (
        (
            b'{"localPeer":{"peerKeyString":"a","deviceName":"x","connections":[{"id":"i","peer1":"a","peer2":"b",'
            b'"connectionType":"Bluetooth"}]},"remotePeers":[{"peerKey":[1,2],"os":null,"peerMetadata":{"k":1}}]}'
        ),
        (
            b'{"LocalPeer":{"address":{"pubkey":{"0":2},"siteId":18446744073709551615},"isConnectedToDittoServer":true},'
            b'"RemotePeers":[{"connections":[]}],"connections":{"i":{"type":2,"peer1":"a","peer2":"a"}}}'
        ),
    ),
    "times": (
        b"2026-07-08T18:00:05.123456Z",
        b"20260708 180005,5+0200",
        b"now - 1h30m",
        b"2 weeks ago",
        b"P1DT2H0.5S",
        b"forever",
    ),
}
"""Where each target's fuzzing begins."""
