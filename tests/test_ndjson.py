"""Lines in: where they are split, what a long, compressed, broken or slow input gives, and how much memory it takes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstore.errors import InputError
from peerstore.ndjson import BATCH_BYTES, KEPT_OF_LONGER, MAX_LINE, Line, batches, open_lines, read_lines

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS = {"plain": lambda data: data, "gzip": gzip.compress, "zstd": zstd.compress}


def contents(data: bytes) -> list[tuple[int, bytes]]:
    return [(line.number, line.content) for line in read_lines(io.BytesIO(data), "here")]


def read_file(path: Path) -> list[bytes]:
    with open_lines(path) as source:
        return [line.content for line in read_lines(source.stream, source.name)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n\n \r\n\t\n", []),
        (b"a", [(1, b"a")]),
        (b"a\nb\n", [(1, b"a"), (2, b"b")]),
        (b"a\r\n\r\nb\r", [(1, b"a"), (3, b"b")]),
        (b"a\rb\n", [(1, b"a\rb")]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", [(1, b"a"), (2, b"\xef\xbb\xbfb")]),
        (b"\xef\xbb\xbf\n", []),
        ("a\u2028b\u0085c\x0bd\n".encode(), [(1, "a\u2028b\u0085c\x0bd".encode())]),
        (b"\xff\xfea\x00\n\x00", [(1, b"\xff\xfea\x00"), (2, b"\x00")]),
    ],
)
def test_lines_end_at_newlines_alone(data: bytes, expected: list[tuple[int, bytes]]) -> None:
    assert contents(data) == expected


@given(st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b""))))
def test_what_was_joined_is_split_again(pieces: list[bytes]) -> None:
    given_lines = [(number, piece) for number, piece in enumerate(pieces, start=1) if piece.strip()]
    stripped = [(number, piece.removesuffix(b"\r")) for number, piece in given_lines]
    if pieces and pieces[0].startswith(b"\xef\xbb\xbf"):
        return
    assert contents(b"\n".join(pieces)) == stripped


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b""])
def test_a_line_of_exactly_the_limit_is_held(newline: bytes) -> None:
    lines = list(read_lines(io.BytesIO(b"x" * MAX_LINE + newline), "here"))
    assert [(line.complete, line.length) for line in lines] == [(True, MAX_LINE)]


@pytest.mark.parametrize("length", [MAX_LINE + 1, MAX_LINE + 2, MAX_LINE + 3, 2 * MAX_LINE + 5])
def test_a_longer_line_is_cut_and_the_next_is_read(length: int) -> None:
    long = b"x" * length
    first, second = read_lines(io.BytesIO(long + b"\n{}\n"), "here")
    assert first == Line("here", 1, long[:KEPT_OF_LONGER], False, length, hashlib.sha256(long).digest())
    assert second == Line("here", 2, b"{}", True, 2)


@pytest.mark.parametrize("kind", COMPRESS)
def test_compression_is_seen_by_content_not_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mesh.ndjson.zip"
    path.write_bytes(COMPRESS[kind](b"one\ntwo\n"))
    assert read_file(path) == [b"one", b"two"]


@pytest.mark.parametrize("kind", COMPRESS)
def test_compressed_pieces_one_after_another_are_one_input(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mesh"
    path.write_bytes(COMPRESS[kind](b"one\ntw") + COMPRESS[kind](b"o\n"))
    assert read_file(path) == [b"one", b"two"]


@pytest.mark.parametrize("kind", COMPRESS)
def test_progress_counts_compressed_bytes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mesh"
    path.write_bytes(COMPRESS[kind](b"line\n" * 1000))
    with open_lines(path) as source:
        assert source.progress() == (0, path.stat().st_size)
        assert len(list(read_lines(source.stream, source.name))) == 1000
        assert source.progress() == (path.stat().st_size, path.stat().st_size)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("missing", [1, 5, 2000])
def test_what_was_read_before_the_break_is_given(tmp_path: Path, kind: str, missing: int) -> None:
    path = tmp_path / "broken"
    lines = [os.urandom(30).hex().encode() for _ in range(5000)]
    path.write_bytes(COMPRESS[kind](b"\n".join(lines))[:-missing])
    seen: list[bytes] = []
    with open_lines(path) as source, pytest.raises(InputError, match=r"broken breaks off after line \d+"):
        seen.extend(line.content for line in read_lines(source.stream, source.name))
    assert seen == lines[: len(seen)]
    assert len(seen) > (4000 if kind == "gzip" else 500)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_damage_is_a_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "damaged"
    data = bytearray(COMPRESS[kind](os.urandom(3000).hex().encode()))
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data + b"trailing")
    with pytest.raises(InputError, match=r"damaged is damaged before its first line .*again|damaged breaks off"):
        read_file(path)


@pytest.mark.parametrize("name", ["missing.ndjson", ".", "nul\0byte"])
def test_what_cannot_be_opened_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(.*\): name a readable file"), open_lines(tmp_path / name):
        pass


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read as Linux tells it")
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_one_long_line_in_bounded_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(b"".join(COMPRESS[kind](bytes(64 * 1024 * 1024)) for _ in range(4)))
    program = (
        "import sys; from peerstore.ndjson import *\n"
        "with open_lines(sys.argv[1]) as source: lines = list(read_lines(source.stream, source.name))\n"
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(lines[0].length, lines[0].complete, peak)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    length, complete, peak_kib = done.stdout.split()
    assert (int(length), complete) == (256 * 1024 * 1024, "False")
    assert int(peak_kib) < 150 * 1024


def line(number: int, size: int = 2) -> Line:
    return Line("here", number, b"x" * size, complete=True, length=size)


def test_batches_keep_every_line_in_order() -> None:
    groups = list(batches((line(number) for number in range(2500)), size=1000))
    assert [each.number for group in groups for each in group] == list(range(2500))
    assert all(0 < len(group) <= 1000 for group in groups)


def test_batches_are_bounded_by_their_bytes() -> None:
    size = BATCH_BYTES // 4
    groups = list(batches((line(number, size) for number in range(10)), seconds=5))
    assert max(len(group) for group in groups) <= 4
    assert sum(map(len, groups)) == 10


def test_a_slow_line_does_not_wait_for_a_full_batch() -> None:
    hold = threading.Event()

    def slow() -> Iterator[Line]:
        yield line(1)
        hold.wait(10)
        yield line(2)

    started = time.monotonic()
    groups = batches(slow(), size=1000, seconds=0.1)
    assert [each.number for each in next(groups)] == [1]
    assert time.monotonic() - started < 5
    hold.set()
    assert [each.number for each in next(groups)] == [2]
    assert list(groups) == []


def test_an_error_comes_after_the_lines_before_it() -> None:
    def broken() -> Iterator[Line]:
        yield line(1)
        raise InputError("it breaks off")

    groups = batches(broken())
    assert [each.number for each in next(groups)] == [1]
    with pytest.raises(InputError, match="it breaks off"):
        next(groups)


def test_whoever_stops_taking_lets_the_reader_end() -> None:
    taken: list[int] = []

    def endless() -> Iterator[Line]:
        while True:
            taken.append(len(taken))
            yield line(len(taken))

    groups = batches(endless(), size=10)
    next(groups)
    groups.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    count = len(taken)
    time.sleep(0.1)
    assert len(taken) == count < 1000


def test_standard_input_gives_a_line_before_its_end() -> None:
    program = (
        "from peerstore.ndjson import *\n"
        "with open_lines('-') as source:\n"
        "    for group in batches(read_lines(source.stream, source.name)):\n"
        "        print(source.name, group[0].content, flush=True)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, into = cast(BinaryIO, child.stdout), cast(BinaryIO, child.stdin)
    with child:
        into.write(b"first\n")
        into.flush()
        assert out.readline() == b"stdin b'first'\n"
        into.write(b"second")
        into.close()
        assert out.read() == b"stdin b'second'\n"
    assert child.returncode == 0
