"""Lines in: files, pipes and what is compressed, one line at a time, in bounded memory.

A line is split off at ``\\n`` alone (never at U+2028, U+0085 or a lone ``\\r``). Whether a line holds an observation is
not decided here.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from peerstore.errors import InputError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError, ZstdFile
else:
    from backports.zstd import ZstdError, ZstdFile

MAX_LINE = 16 * 1024 * 1024
"""The longest line that is held in memory, in bytes without its newline."""
KEPT_OF_LONGER = 64 * 1024
"""How many bytes of a longer line are kept."""
BATCH_BYTES = 8 * 1024 * 1024
"""A batch is closed once its lines hold about this many bytes."""
STDIN = "stdin"
"""The source of lines that came by standard input (``-``)."""

_BOM = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PIECE = 1024 * 1024
_DAMAGE = (EOFError, OSError, zlib.error, ZstdError)


class Line(NamedTuple):
    """One line, without its newline, a ``\\r`` before that, or the byte order mark that begins a file.

    ``number`` counts from 1, blank lines included. A line longer than :data:`MAX_LINE` is not ``complete``: ``content``
    holds its first 64 KiB, ``length`` (in bytes) and ``sha256`` speak of the whole.
    """

    source: str
    number: int
    content: bytes
    complete: bool
    length: int
    sha256: bytes | None = None


class Source(NamedTuple):
    """An open source of lines: decompressed bytes, and how far it has been read.

    ``progress()`` gives the bytes consumed so far and the size of the whole in bytes, both before decompression; the
    size is ``None`` for a pipe.
    """

    stream: BinaryIO
    progress: Callable[[], tuple[int, int | None]]
    name: str


def read_lines(stream: BinaryIO, source: str) -> Iterator[Line]:
    """The lines of a stream that are not blank; ``source`` names the stream in each line and in errors.

    Raises :class:`~peerstore.errors.InputError` where the stream breaks off or turns out damaged, after the lines
    before that place.

    >>> [(line.number, line.content) for line in read_lines(io.BytesIO(b'{"a":1}\\r\\n\\n{"b":2}'), "here")]
    [(1, b'{"a":1}'), (3, b'{"b":2}')]
    """
    number = 0
    try:
        while piece := stream.readline(MAX_LINE + 2):
            number += 1
            line = _line(stream, source, number, piece)
            if line is not None:
                yield line
            else:
                number += _skipped_blank_lines(stream)
    except _DAMAGE as error:
        raise _damaged(source, number, error) from error


@contextmanager
def open_lines(path: str | Path) -> Iterator[Source]:
    """Open a file, or standard input for ``-``: plain, gzip or Zstandard, whatever its name says.

    Raises :class:`~peerstore.errors.InputError` if it cannot be read.
    """
    name = STDIN if str(path) == "-" else str(path)
    try:
        file = _open(path)
        counted = _Counted(file)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{name} cannot be read ({_why(error)}): name a readable file, or - for standard input"
        ) from error
    size = _size(file)
    try:
        yield Source(_decompressed(counted), lambda: (counted.consumed, size), name)
    finally:
        if name is not STDIN:
            file.close()


def batches(lines: Iterable[Line], size: int = 1000, seconds: float = 0.2) -> Iterator[list[Line]]:
    """Group lines for recording: up to ``size`` lines or about 8 MB, but never let a line wait for the rest.

    A thread reads ahead. A batch closes ``seconds`` after its first line came, so what trickles through a pipe is
    recorded promptly. What ``lines`` raises is raised here, after the lines before it.
    """
    ahead = _ReadAhead(lines, size, seconds)
    try:
        while batch := ahead.take():
            yield batch
    finally:
        ahead.stop()


def _line(stream: BinaryIO, source: str, number: int, piece: bytes) -> Line | None:
    """The line that begins with a piece of it, or None for a blank one."""
    ended = piece.endswith(b"\n") or len(piece) < MAX_LINE + 2
    content = piece.removesuffix(b"\n").removesuffix(b"\r") if ended else piece
    if number == 1:
        content = content.removeprefix(_BOM)
    if not ended or len(content) > MAX_LINE:
        return _longer(stream, source, number, content, ended)
    return Line(source, number, content, complete=True, length=len(content)) if content.strip() else None


def _skipped_blank_lines(stream: BinaryIO) -> int:
    """How many blank lines were skipped that come next and are in the buffer already: a few bytes of compressed data
    may hold millions of them."""
    peek: Callable[[int], bytes] | None = getattr(stream, "peek", None)
    if peek is None:
        return 0
    ahead = peek(1)
    end = ahead.rfind(b"\n", 0, len(ahead) - len(ahead.lstrip())) + 1
    return stream.read(end).count(b"\n") if end else 0


def _longer(stream: BinaryIO, source: str, number: int, content: bytes, ended: bool) -> Line:
    """A line too long to hold: read on to its end, and keep its beginning, its length and its digest."""
    digest, length, kept = sha256(content), len(content), content[:KEPT_OF_LONGER]
    while not ended and (piece := stream.readline(_PIECE)):
        ended = piece.endswith(b"\n")
        piece = piece.removesuffix(b"\n")
        digest.update(piece)
        length += len(piece)
    return Line(source, number, kept, complete=False, length=length, sha256=digest.digest())


def _damaged(source: str, number: int, error: Exception) -> InputError:
    where = f"after line {number}" if number else "before its first line"
    if isinstance(error, EOFError):
        return InputError(
            f"{source} breaks off {where}, its compressed data has no end: fetch the whole file and read it again"
        )
    if isinstance(error, (zlib.error, ZstdError, gzip.BadGzipFile)):
        return InputError(f"{source} is damaged {where} ({error}): compress or fetch the file again")
    return InputError(f"{source} cannot be read further {where} ({_why(error)}): run the command again")


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _open(path: str | Path) -> BinaryIO:
    """The file without a buffer: a thread may wait in it when the process is told to end, and must hold no lock."""
    if str(path) != "-":
        return cast(BinaryIO, Path(path).open("rb", buffering=0))
    if sys.stdin is None:
        raise InputError("standard input is closed: name a file, or pipe lines in")
    try:
        return cast(BinaryIO, io.FileIO(sys.stdin.fileno(), closefd=False))
    except io.UnsupportedOperation:
        return sys.stdin.buffer


def _size(file: BinaryIO) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _decompressed(counted: _Counted) -> BinaryIO:
    raw = io.BufferedReader(counted, 256 * 1024)
    if counted.head.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if counted.head.startswith(_ZSTD):
        return cast(BinaryIO, ZstdFile(raw))
    return raw


class _Counted(io.RawIOBase):
    """A file that counts the bytes read from it, gives what is there without waiting for more, and knows its head."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.consumed = 0
        self.head = b""
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)
        while len(self.head) < len(_ZSTD) and (piece := self._read(len(_ZSTD) - len(self.head))):
            self.head += piece
        self._ahead = self.head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._ahead[: len(buffer)] or self._read(len(buffer))
        self._ahead = self._ahead[len(buffer) :]
        buffer[: len(data)] = data
        self.consumed += len(data)
        return len(data)


class _ReadAhead:
    """Lines read by a thread into a queue bounded by their number and their bytes."""

    def __init__(self, lines: Iterable[Line], size: int, seconds: float) -> None:
        self._lines = lines
        self._size = size
        self._seconds = seconds
        self._queue: deque[tuple[float, Line]] = deque()
        self._bytes = 0
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="peerstore-lines", daemon=True).start()

    def take(self) -> list[Line]:
        """The next batch; empty at the end; raises what the lines raised once all before it is taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ended)
            if self._queue:
                waited = time.monotonic() - self._queue[0][0]
                self._changed.wait_for(self._is_batch, timeout=max(0.0, self._seconds - waited))
            batch = self._taken()
            self._changed.notify_all()
        if not batch and self._error is not None:
            raise self._error
        return batch

    def stop(self) -> None:
        """Let the thread end as soon as it has its next line."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _is_batch(self) -> bool:
        return self._ended or len(self._queue) >= self._size or self._bytes >= BATCH_BYTES

    def _has_room(self) -> bool:
        return self._stopped or (self._bytes < BATCH_BYTES and len(self._queue) < 2 * self._size)

    def _taken(self) -> list[Line]:
        batch: list[Line] = []
        taken = 0
        while self._queue and len(batch) < self._size and taken < BATCH_BYTES:
            _, line = self._queue.popleft()
            taken += len(line.content)
            batch.append(line)
        self._bytes -= taken
        return batch

    def _run(self) -> None:
        try:
            for line in self._lines:
                self._put(line)
                if self._stopped:
                    return
        except BaseException as error:  # it belongs to whoever takes the batches
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, line: Line) -> None:
        with self._changed:
            self._changed.wait_for(self._has_room)
            self._queue.append((time.monotonic(), line))
            self._bytes += len(line.content)
            if len(self._queue) == 1 or self._is_batch():
                self._changed.notify_all()
