"""Pages of an SQLite file, read without SQLite: what is damaged in one place must not hide what is whole elsewhere.

The file is opened for reading alone; pages that were committed to the write-ahead log beside it are read from there,
by SQLite's own rule. The format is https://sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF = 2, 5, 10, 13
_USUAL_SIZE = 4096
_SIZES = frozenset(1 << power for power in range(9, 17))
_MAGIC = b"SQLite format 3\0"
_LOG_HEADER, _FRAME_HEADER = 32, 24
_BIG_ENDIAN_SUMS = 0x377F0683
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)
_BLOB = 12

Values = tuple[Any, ...]


class Unreadable(Exception):
    """A page, or a row in it, is not what it should be."""


class Cell(NamedTuple):
    """An entry of a page: the page below it (0 on a leaf), the rowid (of tables with one), the values of the row."""

    child: int
    rowid: int
    values: Values


class Page(NamedTuple):
    """A page of a b-tree. ``whole``: every byte of it is accounted for; of one that is not, ``cells`` are those that
    can be read."""

    kind: int
    cells: list[Cell]
    right: int
    whole: bool

    @property
    def is_leaf(self) -> bool:
        """Whether no page stands below it."""
        return self.kind in (INDEX_LEAF, TABLE_LEAF)


class _Frame(NamedTuple):
    """A page in the log. ``committed``: a transaction ends with it, and the database then has so many pages."""

    page: int
    place: int
    committed: int
    is_whole: bool


def _last_committed(frames: list[_Frame]) -> int:
    """The place of the last frame that counts; -1 if none does.

    A transaction is on the disk before the next one begins. So where one is not whole and others follow, it was
    damaged; if it is the last one, it was never finished.
    """
    ends = [place for place, frame in enumerate(frames) if frame.committed]
    damaged = [place for place, frame in enumerate(frames) if not frame.is_whole]
    while ends and any((ends[-2] if len(ends) > 1 else -1) < place <= ends[-1] for place in damaged):
        ends.pop()
    return ends[-1] if ends else -1


class Pages:
    """The pages of a file, as they were last committed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            header = self._bytes(0, 100)
            self.size, reserved = _sizes(header)
            self.usable = self.size - reserved
            self._log_file, self._logged, committed = self._read_log(path.with_name(path.name + "-wal"))
        except BaseException:
            self._file.close()
            raise
        length = self._file.seek(0, 2)
        self.count = committed or -(-length // self.size)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._log_file is not None:
            self._log_file.close()

    def _bytes(self, start: int, count: int) -> bytes:
        self._file.seek(start)
        return self._file.read(count)

    def _read_log(self, path: Path) -> tuple[Any, dict[int, int | None], int]:
        """Where the log holds the newest committed copy of each page (``None``: it is damaged there), and how many
        pages the database then has."""
        if not path.exists():
            return None, {}, 0
        log = path.open("rb")
        frames = list(self._frames(log))
        last = _last_committed(frames)
        pages = {frame.page: frame.place if frame.is_whole else None for frame in frames[: last + 1]}
        return log, pages, frames[last].committed if last >= 0 else 0

    def _frames(self, log: Any) -> Iterator[_Frame]:
        """The pages in the log, in the order in which they were written. Each checksum goes on from the one before, so
        that those after a damaged one can be checked still."""
        header = log.read(_LOG_HEADER)
        if len(header) < _LOG_HEADER or header[:3] != b"\x37\x7f\x06" or _u32(header, 8) != self.size:
            return
        big = _u32(header, 0) == _BIG_ENDIAN_SUMS
        sums = _summed((0, 0), header[:24], big)
        if sums != struct.unpack(">II", header[24:32]):
            return
        place = _LOG_HEADER + _FRAME_HEADER
        while len(frame := _read(log, _FRAME_HEADER + self.size)) == _FRAME_HEADER + self.size:
            page, committed = struct.unpack(">II", frame[:8])
            if frame[8:16] != header[16:24]:  # left there from before the log was begun anew
                return
            sums, told = _summed(_summed(sums, frame[:8], big), frame[_FRAME_HEADER:], big), frame[16:24]
            yield _Frame(page, place, committed, sums == struct.unpack(">II", told))
            sums = struct.unpack(">II", told)
            place += len(frame)

    def read(self, number: int) -> bytes:
        """The bytes of a page, counted from 1."""
        if not 1 <= number <= self.count:
            raise Unreadable
        try:
            if number in self._logged:
                place = self._logged[number]
                if place is None:
                    raise Unreadable
                self._log_file.seek(place)
                data: bytes = self._log_file.read(self.size)
            else:
                data = self._bytes((number - 1) * self.size, self.size)
        except OSError as error:  # a sector that the disk does not give
            raise Unreadable from error
        if len(data) < self.size:
            raise Unreadable
        return data

    def free(self) -> set[int] | None:
        """The pages that hold nothing that is valid; ``None`` if that cannot be told."""
        try:
            header = self.read(1)
            found: set[int] = set()
            trunk, count = _u32(header, 32), _u32(header, 36)
            while trunk and len(found) <= count:
                data = self.read(trunk)
                leaves = _u32(data, 4)
                found |= {trunk, *struct.unpack_from(f">{leaves}I", data, 8)}
                trunk = _u32(data, 0)
        except (Unreadable, struct.error):
            return None
        return found if len(found) == count and header.startswith(_MAGIC) else None

    def page(self, number: int) -> Page:
        """A page of a b-tree, or :class:`Unreadable`."""
        data = self.read(number)
        start = 100 if number == 1 else 0
        kind = data[start]
        if kind not in (INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF):
            raise Unreadable
        is_leaf = kind in (INDEX_LEAF, TABLE_LEAF)
        count, first = _u16(data, start + 3), start + (8 if is_leaf else 12)
        end = first + 2 * count
        if end > self.usable:
            raise Unreadable
        cells, spans = [], []
        for place in struct.unpack_from(f">{count}H", data, first):
            try:
                cell, after = self._cell(data, place, kind)
            except (Unreadable, IndexError, struct.error, UnicodeDecodeError):
                continue
            cells.append(cell)
            spans.append((place, after))
        whole = len(cells) == count and self._accounted(data, start, end, spans)
        return Page(kind, cells, 0 if is_leaf else _u32(data, start + 8), whole)

    def _accounted(self, data: bytes, start: int, end: int, spans: list[tuple[int, int]]) -> bool:
        """Whether entries and free blocks fill the page, each byte once."""
        content = _u16(data, start + 5) or 65536
        block = _u16(data, start + 1)
        while block:
            if block < content or block + 4 > self.usable:
                return False
            spans.append((block, block + _u16(data, block + 2)))
            following = _u16(data, block)
            if following and following <= block:
                return False
            block = following
        spans.sort()
        overlapping = any(one[1] > other[0] for one, other in pairwise(spans))
        if content < end or overlapping or (spans and (spans[0][0] < content or spans[-1][1] > self.usable)):
            return False
        filled = sum(after - before for before, after in spans)
        return filled + data[start + 7] == self.usable - content

    def _cell(self, data: bytes, place: int, kind: int) -> tuple[Cell, int]:
        child, rowid, at = 0, 0, place
        if kind in (INDEX_INTERIOR, TABLE_INTERIOR):
            child, at = _u32(data, at), at + 4
        if kind == TABLE_INTERIOR:
            rowid, at = _varint(data, at)
            return Cell(child, rowid, ()), max(at, place + 4)
        length, at = _varint(data, at)
        if kind == TABLE_LEAF:
            rowid, at = _varint(data, at)
        local = self._local(length, kind)
        end = at + local
        if end > self.usable:
            raise Unreadable
        payload = data[at:end]
        if local < length:
            payload, end = self._overflowing(payload, length, _u32(data, end)), end + 4
        return Cell(child, rowid, _record(payload)), max(end, place + 4)

    def _local(self, length: int, kind: int) -> int:
        """How many bytes of a row stand in the page itself."""
        most = self.usable - 35 if kind == TABLE_LEAF else (self.usable - 12) * 64 // 255 - 23
        if length <= most:
            return length
        least = (self.usable - 12) * 32 // 255 - 23
        fitting = least + (length - least) % (self.usable - 4)
        return fitting if fitting <= most else least

    def _overflowing(self, payload: bytes, length: int, number: int) -> bytes:
        parts, have = [payload], len(payload)
        if length > self.count * self.size:
            raise Unreadable
        while have < length:
            data = self.read(number)
            part = data[4 : min(self.usable, 4 + length - have)]
            parts.append(part)
            have += len(part)
            number = _u32(data, 0)
        return b"".join(parts)


def _read(log: Any, count: int) -> bytes:
    """The next bytes of a log; none where the disk does not give them."""
    try:
        found: bytes = log.read(count)
    except OSError:
        return b""
    return found


def _sizes(header: bytes) -> tuple[int, int]:
    """The bytes of a page, and how many at its end hold nothing; what is usual where the header cannot be read."""
    if len(header) == 100:
        size = _u16(header, 16)
        size = 65536 if size == 1 else size
        if size in _SIZES and header[21:24] == b"\x40\x20\x20" and size - header[20] >= 480:
            return size, header[20]
    return _USUAL_SIZE, 0


def _summed(sums: tuple[int, ...], data: bytes, big: bool) -> tuple[int, ...]:
    """SQLite's checksum, carried on."""
    words = array("I", data)
    if (sys.byteorder == "big") != big:
        words.byteswap()
    one, other = sums
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + other) & 0xFFFFFFFF
        other = (other + second + one) & 0xFFFFFFFF
    return one, other


def _u16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _u32(data: bytes, at: int) -> int:
    found: int = struct.unpack_from(">I", data, at)[0]
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, at + 8):
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _record(payload: bytes) -> Values:
    """The values of a row."""
    header, at = _varint(payload, 0)
    if not 0 < header <= len(payload):
        raise Unreadable
    values: list[Any] = []
    place = header
    while at < header:
        kind, at = _varint(payload, at)
        if kind == 0:
            values.append(None)
        elif 1 <= kind <= 6:
            size = _INTEGER_BYTES[kind]
            values.append(int.from_bytes(payload[place : place + size], "big", signed=True))
            place += size
        elif kind in (8, 9):
            values.append(kind - 8)
        elif kind >= _BLOB:
            size = (kind - _BLOB) // 2
            content = payload[place : place + size]
            values.append(content.decode() if kind % 2 else content)
            place += size
        else:  # a fraction, which no table of ours holds
            raise Unreadable
    if at != header or place != len(payload):
        raise Unreadable
    return tuple(values)
