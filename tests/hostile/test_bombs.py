"""Bombs are read in bounded memory and time, refused with a sentence, and leave what stands beside them recorded."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

import peerstore
from peerstore.canonical import MAX_DIGITS, loads
from peerstore.envelope import MAX_LINE, ObservationReader
from peerstore.ndjson import KEPT_OF_LONGER
from tests.hostile.asking import asked
from tests.hostile.bombs import (
    AT,
    MIB,
    compressed,
    counted,
    envelope,
    everybody_lists_everybody,
    mesh,
    nested,
    of_peer,
    ran,
    twice_compressed,
)
from tests.hostile.counting import report

GOOD = envelope('{"localPeer":{"peerKey":"good"},"remotePeers":[]}')
MOST_MIB = 200
needs_linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of memory is read as on Linux"
)

REFUSED = {
    "65 levels of arrays in a peer": (of_peer(f'"x":{nested(64)}'), "levels deep"),
    "65 levels of objects in a peer": (of_peer(f'"x":{nested(64, "{}")}'), "levels deep"),
    "10^4 levels": (of_peer(f'"x":{nested(10**4)}'), "levels deep"),
    "10^6 levels": (of_peer(f'"x":{nested(10**6)}'), "levels deep"),
    "10^6 levels of objects": (of_peer(f'"x":{nested(10**6, "{}")}'), "levels deep"),
    "10^6 levels that never end": (b"[" * 10**6 + b"\n", "levels deep"),
    "10^6 levels as the envelope": (nested(10**6, "{}").encode() + b"\n", "levels deep"),
    "4301 digits": (of_peer(f'"x":{"9" * (MAX_DIGITS + 1)}'), "more than 4300 digits"),
    "10^6 digits": (of_peer(f'"x":{"9" * 10**6}'), "more than 4300 digits"),
    "10^6 decimals": (of_peer(f'"x":0.{"9" * 10**6}'), "more than 4300 digits"),
    "10^6 digits of an exponent": (of_peer(f'"x":1e{"9" * 10**6}'), "more than 4300 digits"),
    "an exponent of 4300 digits": (of_peer(f'"x":1e{"9" * 4300}'), "too large"),
    "10^6 digits as observedAtMs": (
        f'{{"observedAtMs":{"9" * 10**6},"graph":null,"observer":"a"}}\n'.encode(),
        "digits",
    ),
    "4300 digits as observedAtMs": (f'{{"observedAtMs":{"9" * 4300},"graph":null,"observer":"a"}}\n'.encode(), "years"),
    "10^6 quotes": (b'"' * 10**6 + b"\n", "not JSON"),
    "10^6 backslashes": (b'"' + b"\\" * 10**6 + b"\n", "not JSON"),
}
TAKEN = {
    "64 levels": of_peer(f'"x":{nested(63)}'),
    "4300 digits": of_peer(f'"x":{"9" * MAX_DIGITS}'),
    "a minus and 4300 digits": of_peer(f'"x":-{"9" * MAX_DIGITS}'),
    "an exponent of -4300 digits": of_peer(f'"x":1e-{"9" * MAX_DIGITS}'),
    "10^4 brackets in a string": of_peer(f'"x":"{"[" * 10**4}"'),
}


SLOW = {"10^6 levels of objects", "10^6 levels as the envelope"}
"""What takes longest to read, and differs little from the others."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in (*REFUSED, *TAKEN)]
)
def test_a_reader_refuses_or_reads(name: str) -> None:
    content, words = REFUSED.get(name, (TAKEN.get(name, b""), ""))
    if not words:
        assert ObservationReader().read(content) == ObservationReader().read(content.decode())
        return
    with pytest.raises(peerstore.InputError, match=words):
        ObservationReader().read(content)


@pytest.mark.parametrize("most", [MIB // 20, pytest.param(16 * MIB, marks=pytest.mark.slow)], ids=["small", "all"])
def test_the_library_keeps_what_it_refuses(most: int) -> None:
    refused = [(content, words) for content, words in REFUSED.values() if len(content) < most]
    bombs = [content for content, _ in refused]
    assert len(bombs) > 5
    with peerstore.open(":memory:") as store:
        summary = store.record_many([GOOD, *bombs])
        assert (summary.recorded, summary.rejected) == (1, len(bombs))
        kept = [(reject.content, reject.reason) for reject in store.rejects()]
        assert [content for content, _ in kept] == bombs
        assert all(words in reason for (_, words), (_, reason) in zip(refused, kept, strict=True))
        assert store.record_many(bombs[:3]).rejected == 3


def test_taking_strings_out_of_a_line_needs_little_memory() -> None:
    """Millions of strings within a line that has to be looked at: the pattern alone once took a gigabyte."""
    tracemalloc.start()
    try:
        with pytest.raises(peerstore.InputError, match="levels deep"):
            loads(b"[" * 65 + b'"",' * 10**6)
        with pytest.raises(peerstore.InputError, match="not JSON"):
            loads(b'["' + b'\\"[' * 10**6)
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()


@needs_linux
@pytest.mark.parametrize("left_out", [SLOW, pytest.param(set(), marks=pytest.mark.slow)], ids=["most", "all"])
def test_the_command_refuses_all_of_them_in_bounded_memory(tmp_path: Path, left_out: set[str]) -> None:
    lines = [content for name, (content, _) in REFUSED.items() if name not in left_out]
    ended = ran(tmp_path, "record", "-", "--json", pieces=[GOOD, *lines, *TAKEN.values()])
    assert ended.code == 1
    assert (counted(ended)["rejected"], counted(ended)["recorded"]) == (len(lines), 1 + 1)
    assert counted(ended)["conflicts"] == len(TAKEN) - 1
    assert "Traceback" not in ended.err
    assert max(map(len, ended.err.splitlines())) < 400
    assert ended.peak_mib < MOST_MIB
    report("bombs as lines", lines=len(lines), peak_mib=ended.peak_mib, seconds=ended.seconds)


def long_line(size: int) -> Iterator[bytes]:
    """A line of this length, a piece at a time."""
    piece = b'"' + b"x" * (MIB - 1)
    for _ in range(size // MIB):
        yield piece
    yield piece[: size % MIB] + b"\n"


@needs_linux
@pytest.mark.parametrize("size", [MAX_LINE + 1, pytest.param(100_000_000, marks=pytest.mark.slow)])
def test_a_line_that_is_too_long_is_kept_in_part(tmp_path: Path, size: int) -> None:
    ended = ran(tmp_path, "record", "-", "--json", pieces=[GOOD, *long_line(size), GOOD.replace(b"good", b"gone")])
    assert ended.code == 1
    assert (counted(ended)["recorded"], counted(ended)["rejected"]) == (2, 1)
    assert ended.peak_mib < MOST_MIB
    with peerstore.open(tmp_path / "peerstore.db") as store:
        [kept] = store.rejects()
        assert (kept.complete, len(kept.content), kept.line) == (False, KEPT_OF_LONGER, 2)
    report("a long line", bytes=size, peak_mib=ended.peak_mib, seconds=ended.seconds)


@needs_linux
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("lines", [False, True], ids=["one line", "blank lines"])
def test_a_compressed_bomb_streams(tmp_path: Path, kind: str, lines: bool) -> None:
    """A mebibyte, or less, that is a gibibyte: there is no limit of the ratio, since it is never held as a whole."""
    piece = b"\n" * MIB if lines else bytes(MIB)
    packed = b"".join(compressed(kind, 1024 * MIB, piece))
    assert len(packed) < 1.1 * MIB
    (tmp_path / "bomb").write_bytes(packed)
    ended = ran(tmp_path, "record", "bomb", "--json", seconds=300)
    assert counted(ended)["rejected"] == (0 if lines else 1)
    assert ended.peak_mib < MOST_MIB
    report("a compressed bomb", kind=kind, packed=len(packed), peak_mib=ended.peak_mib, seconds=ended.seconds)


def test_what_is_compressed_twice_is_undone_once(tmp_path: Path) -> None:
    database = str(tmp_path / "peerstore.db")
    code, out, _ = asked("record", "-", "--json", stdin=twice_compressed(GOOD * 1000), database=database)
    assert code == 1
    assert json.loads(out)["recorded"] == 0


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b", b"\x1f\x8b\x08\xff" * 99, b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd" * 99]
)
def test_only_the_head_of_what_is_compressed_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    from peerstore.ndjson import open_lines, read_lines

    (tmp_path / "x").write_bytes(content)
    with open_lines(tmp_path / "x") as source, pytest.raises(peerstore.InputError, match=r"damaged|breaks off"):
        list(read_lines(source.stream, source.name))


# Floods.


@needs_linux
@pytest.mark.slow
def test_a_hundred_thousand_peers_in_one_graph(tmp_path: Path) -> None:
    """There is no limit of peers but the length of a line: what it takes is in proportion."""
    for number, count in enumerate((10**4, 10**5)):
        line = envelope(json.dumps(mesh(count), separators=(",", ":")), f"2026-07-08T18:00:0{number}Z")
        assert len(line) < MAX_LINE
        ended = ran(tmp_path, "record", "-", "--json", "--db", f"{count}.db", pieces=[line])
        assert (ended.code, counted(ended)["recorded"], counted(ended)["changes"]) == (0, 1, count)
        assert ended.seconds < 100
        assert ended.peak_mib < 700
        asked = ran(tmp_path, "at", "2026-07-08T18:00:05Z", "--ndjson", "--db", f"{count}.db")
        assert (asked.code, asked.out.count("\n") > count) == (0, True)
        report(
            "peers in one graph",
            peers=count,
            line=len(line),
            peak_mib=ended.peak_mib,
            seconds=ended.seconds,
            asking_mib=asked.peak_mib,
            asking_seconds=asked.seconds,
        )


@needs_linux
@pytest.mark.slow
def test_a_hundred_thousand_keys_of_metadata(tmp_path: Path) -> None:
    """As many in one graph, and as many over a hundred graphs: they are data and never become columns or tables."""
    flood = {f"key {number}": number for number in range(10**5)}
    one = envelope(json.dumps({"localPeer": {"peerKey": "a", "peerMetadata": flood}, "remotePeers": []}))
    many = [
        envelope(
            json.dumps(
                {
                    "localPeer": {
                        "peerKey": "b",
                        "peerMetadata": {f"key {turn} {number}": number for number in range(1000)},
                    }
                }
            ),
            f"2026-07-08T19:{turn // 60:02}:{turn % 60:02}Z",
        )
        for turn in range(100)
    ]
    ended = ran(tmp_path, "record", "-", "--json", pieces=[one, *many])
    assert (ended.code, counted(ended)["recorded"]) == (0, 101)
    assert ended.peak_mib < MOST_MIB
    asked = ran(tmp_path, "metadata", "--ndjson")
    assert asked.out.count("\n") == 2 * 99 * 1000
    for name in ("csv", "graphml"):
        exported = ran(tmp_path, "export", f"x.{name}", "--format", name, "--json")
        assert exported.code == 0, exported.err
        assert exported.peak_mib < 600
        report("keys of metadata: export", format=name, peak_mib=exported.peak_mib, seconds=exported.seconds)
    report(
        "keys of metadata",
        keys=2 * 10**5,
        peak_mib=ended.peak_mib,
        seconds=ended.seconds,
        asking_mib=asked.peak_mib,
        asking_seconds=asked.seconds,
    )


@needs_linux
@pytest.mark.slow
def test_an_object_of_a_million_members(tmp_path: Path) -> None:
    members = ",".join(f'"{number:x}":1' for number in range(10**6))
    line = of_peer(f'"peerMetadata":{{{members}}}')
    assert len(line) < MAX_LINE
    ended = ran(tmp_path, "record", "-", "--json", pieces=[line])
    assert (ended.code, counted(ended)["recorded"]) == (0, 1)
    assert ended.peak_mib < 700
    asked = ran(tmp_path, "peer", "a", "--ndjson")
    assert len(json.loads(asked.out)["peer_metadata"]) == 10**6
    report("an object of a million members", line=len(line), peak_mib=ended.peak_mib, seconds=ended.seconds)


@needs_linux
@pytest.mark.slow
def test_fifteen_mebibytes_of_empty_arrays(tmp_path: Path) -> None:
    """The costliest line for a parser: each of its values is two bytes and an object."""
    line = of_peer(f'"x":[{",".join(["[]"] * (5 * 10**6))}]')
    assert 14 * MIB < len(line) < MAX_LINE
    ended = ran(tmp_path, "record", "-", "--json", pieces=[line])
    assert (ended.code, counted(ended)["recorded"]) == (0, 1)
    assert ended.peak_mib < 900
    report("empty arrays", line=len(line), peak_mib=ended.peak_mib, seconds=ended.seconds)


@needs_linux
@pytest.mark.slow
def test_each_of_two_hundred_peers_lists_each_other_one(tmp_path: Path) -> None:
    peers = 200
    line = envelope(json.dumps(everybody_lists_everybody(peers)))
    ended = ran(tmp_path, "record", "-", "--json", pieces=[line])
    assert (ended.code, counted(ended)["changes"]) == (0, peers + peers * (peers - 1))
    asked = ran(tmp_path, "at", AT, "--json")
    assert len(json.loads(asked.out)["connections"]) == peers * (peers - 1)
    cut = ran(tmp_path, "cuts", AT, "--json")
    assert json.loads(cut.out)
    assert max(ended.seconds, asked.seconds, cut.seconds) < 60
    report(
        "each lists each other",
        connections=peers * (peers - 1),
        peak_mib=ended.peak_mib,
        seconds=ended.seconds,
        asking_seconds=asked.seconds,
        cuts_seconds=cut.seconds,
    )


def test_a_stream_that_never_ends_a_line_is_read_in_pieces() -> None:
    """A control: the reader asks for no more than it may hold."""
    from peerstore.ndjson import read_lines

    class Endless(io.BytesIO):
        largest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            self.largest = max(self.largest, size or 0)
            assert size
            assert size > 0
            return super().readline(size)

    stream = Endless(b"x" * (MAX_LINE + 5 * MIB))
    [line] = read_lines(stream, "x")
    assert (line.complete, stream.largest) == (False, MAX_LINE + 2)
