"""A damaged database as rows, whatever keeps it; and its dictionaries, as far as their digests bear them out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from peerstore.canonical import dumps
from peerstore.database import Database
from peerstore.day_digests import ABSENT, number_of
from peerstore.ditto_peers import BOTH, FIRST, GRAPH, SECOND
from peerstore.errors import DatabaseError
from peerstore.interning import digest, element_digest
from peerstore.model import Element
from peerstore.removing import Removed
from peerstore.rescue.pages import Values
from peerstore.rescue.shapes import REPEATING, SHAPES, change_of_timeline
from peerstore.rescue.trees import File, Hole, Row
from peerstore.tables import metadata

_MOST_KEPT = 20_000
_TYPES = {"AccessPoint", "Bluetooth", "P2PWiFi", "WebSocket"}
_PATTERN = "\0first<->\0second:\0type"  # of a connection that came without an id, and of most others


class Source(Protocol):
    """The rows of a damaged database, each table's in the order of its key."""

    def has(self, name: str) -> bool:
        """Whether there is such a table."""

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of a table that can be read."""

    def holes(self, name: str) -> Sequence[Hole]:
        """Where rows of a table may be lost; complete once its rows have been read."""

    def timeline(self) -> Iterator[Row] | None:
        """The change rows once more, in the order of observer, day, element and time; ``None`` if there is no
        second copy."""

    def keyframes(self) -> Iterator[Values]:
        """Observer, time, sequence and body of each keyframe, in this order."""

    def bodies(self, number: int) -> Iterator[str]:
        """What may be the body of a document."""

    def observers(self) -> Iterator[tuple[int, str]]:
        """The observers, some perhaps under two keys."""

    def reject_ids(self) -> set[int]:
        """The ids of what was kept aside, as an index tells them."""

    def close(self) -> None:
        """Give back what is open."""


class FileSource:
    """An SQLite file, read page by page."""

    def __init__(self, path: Path) -> None:
        self.file = File(path)

    def has(self, name: str) -> bool:
        return name in self.file.names or not self.file.is_known

    def rows(self, name: str) -> Iterator[Row]:
        return self.file.trees[name].rows()

    def holes(self, name: str) -> Sequence[Hole]:
        return self.file.trees[name].holes

    def timeline(self) -> Iterator[Row] | None:
        if not self.has("ix_element_change_timeline"):
            return None
        return (Row(change_of_timeline(row.values), row.sure) for row in self.rows("ix_element_change_timeline"))

    def keyframes(self) -> Iterator[Values]:
        tree = self.file.trees["keyframe"]
        places = sorted({(*row.values[:3], number) for number, row in tree.numbered()})
        for *place, number in places:
            for values in tree.find((number,)):
                if list(values[:3]) == place:
                    yield values

    def bodies(self, number: int) -> Iterator[str]:
        return (values[2] for values in self.file.trees["document"].find((number,)))

    def observers(self) -> Iterator[tuple[int, str]]:
        yield from ((row.values[0], row.values[1]) for row in self.rows("observer"))
        yield from ((row.values[1], row.values[0]) for row in self.rows("sqlite_autoindex_observer_1"))

    def reject_ids(self) -> set[int]:
        return {row.values[1] for row in self.rows("sqlite_autoindex_reject_1")}

    def close(self) -> None:
        self.file.pages.close()


class ServerSource:
    """A database on a server, read by SQL as one snapshot. What it refuses to give is a hole up to the end of that
    table, and ends the snapshot."""

    def __init__(self, database: Database, tables: Iterable[str]) -> None:
        self._opened = database
        self._open = ExitStack()
        self._database = self._open.enter_context(database.pinned())
        self._tables = set(tables)
        self._holes: dict[str, list[Hole]] = {}

    def has(self, name: str) -> bool:
        return name in self._tables

    def rows(self, name: str) -> Iterator[Row]:
        if not self.has(name):
            return
        table, shape = metadata.tables[name], (SHAPES.get(name) or REPEATING[name])
        key = list(table.primary_key)
        statement = sa.select(table).order_by(*key)
        last: tuple[Any, ...] | None = None
        self._holes[name] = []
        try:
            with self._database.reading() as connection:
                for each in connection.execute(statement, execution_options={"yield_per": 1000}):
                    values = tuple(bytes(value) if isinstance(value, memoryview) else value for value in each)
                    last = values[: len(key)]
                    if shape.fits(values):
                        yield Row(values, True)
        except DatabaseError:
            self._holes[name].append(Hole(last, None))
            self._database = self._opened

    def holes(self, name: str) -> Sequence[Hole]:
        return self._holes.get(name, [])

    def timeline(self) -> Iterator[Row] | None:
        return None

    def keyframes(self) -> Iterator[Values]:
        return (row.values for row in self.rows("keyframe"))

    def bodies(self, number: int) -> Iterator[str]:
        table = metadata.tables["document"]
        try:
            with self._database.reading() as connection:
                found = connection.execute(sa.select(table.c.body).where(table.c.id == number)).scalar()
        except DatabaseError:
            self._database = self._opened
            return
        if isinstance(found, str):
            yield found

    def observers(self) -> Iterator[tuple[int, str]]:
        return ((row.values[0], row.values[1]) for row in self.rows("observer"))

    def reject_ids(self) -> set[int]:
        return set()

    def close(self) -> None:
        try:
            self._open.close()
        finally:
            self._opened.close()


class Known:
    """The dictionaries of a damaged database: those entries that their digests bear out."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.keys: dict[int, list[str]] = {}
        for number, key in source.observers():
            if key not in self.keys.setdefault(number, []):
                self.keys[number].append(key)
        self.elements: dict[int, Element] = {}
        self._element_numbers: dict[int, int] = {}
        self._document_numbers: dict[int | None, int] = {None: ABSENT}
        self._rebuilt: dict[int, str] = {}
        self.removed = _removed(source)
        self._read_elements()
        self._read_documents()
        if isinstance(source, FileSource):
            _rebuild(self, source.file)

    def _read_elements(self) -> None:
        for row in self._source.rows("element"):
            number, key, kind, peer1, peer2, link_type, source_id = row.values
            item = Element(kind, peer1 or "", peer2 or "", link_type or "", source_id or "")
            if element_digest(item) == key:
                self.learn_element(number, item, key)

    def _read_documents(self) -> None:
        for row in self._source.rows("document"):
            number, key, body = row.values
            if digest(body.encode()) == key:
                self._document_numbers.setdefault(number, number_of(key))

    def learn_element(self, number: int, item: Element, key: bytes) -> None:
        """Note an element whose digest bears it out."""
        self.elements.setdefault(number, item)
        self._element_numbers.setdefault(number, number_of(key))

    def learn_document(self, number: int, key: bytes, body: str | None) -> None:
        """Note the digest of a document, and what it says, if that is known."""
        self._document_numbers.setdefault(number, number_of(key))
        if body is not None:
            self._rebuilt.setdefault(number, body)

    def learn_element_digest(self, number: int, key: bytes) -> None:
        """Note the digest of an element that is lost."""
        self._element_numbers.setdefault(number, number_of(key))

    def element_number(self, number: int) -> int | None:
        """The digest of an element as a number; ``None`` if it is lost."""
        return self._element_numbers.get(number)

    def document_number(self, number: int | None) -> int | None:
        """The digest of a document (or of none) as a number; ``None`` if it is lost."""
        return self._document_numbers.get(number)

    @functools.lru_cache(maxsize=_MOST_KEPT)  # noqa: B019 - lives as long as one rescue
    def document(self, number: int) -> str | None:
        """The body of a document; ``None`` if it is lost."""
        wanted = self._document_numbers.get(number)
        if number in self._rebuilt:
            return self._rebuilt[number]
        for body in self._source.bodies(number):
            if number_of(digest(body.encode())) == wanted:
                return body
        return None


def _removed(source: Source) -> Removed:
    """What was removed on purpose. The horizon stands in two places."""
    told: dict[str, list[Values]] = {}
    for name in ("store_info", "removal", "forgotten_peer"):
        told[name] = [row.values for row in source.rows(name)] if source.has(name) else []
    facts = {name: value for name, value in told["store_info"] if name == "store_id" or _is_whole(value)}
    for _, kind, _, _, before, every, known_from, *_ in told["removal"]:
        bounds = {"horizon": before} if kind == "prune" else {"thinned_before": before, "thinned_every": every}
        for name, value in {**bounds, "known_from": known_from, "removal_generation": 1}.items():
            if kind != "forget" and value is not None:
                facts[name] = str(max(value, int(facts.get(name, value))))
    return Removed(facts, told["removal"], told["forgotten_peer"])


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _rebuild(known: Known, file: File) -> None:
    """Find what elements and documents whose rows are lost must have been: what their digests, which are kept a second
    time, bear out."""
    lost = _digests(file, "sqlite_autoindex_element_1", lambda number: known.element_number(number) is None)
    if lost:
        _rebuild_elements(known, file, lost)
    lost = _digests(file, "sqlite_autoindex_document_1", lambda number: known.document_number(number) is None)
    if lost:
        local_peers = {key for keys in known.keys.values() for key in keys}
        local_peers |= {item.key for item in known.elements.values() if item.kind == "peer"}
        usual = ("{}", FIRST, SECOND, BOTH, *(dumps({"local_peer": key}) for key in local_peers))
        texts = {digest(text.encode()): text for text in usual}
        for number, key in lost.items():
            known.learn_document(number, key, texts.get(key))


def _rebuild_elements(known: Known, file: File, lost: Mapping[int, bytes]) -> None:
    first: dict[int, tuple[str, str]] = {}
    for row in file.trees["ix_element_peer1_kind"].rows():
        peer1, kind, number = row.values
        first[number] = (kind, peer1 or "")
    second = {row.values[1]: row.values[0] or "" for row in file.trees["ix_element_peer2"].rows()}
    links = [item for item in known.elements.values() if item.kind == "connection"]
    types = {item.type for item in links} | _TYPES
    patterns = {_pattern(item) for item in links} | {_PATTERN}
    for number, key in lost.items():
        known.learn_element_digest(number, key)
        kind, peer1 = first.get(number, ("graph", ""))
        for item in _proposals(kind, peer1, second.get(number, ""), types, patterns):
            if element_digest(item) == key:
                known.learn_element(number, item, key)
                break


def _digests(file: File, name: str, is_lost: Callable[[int], bool]) -> dict[int, bytes]:
    return {row.values[1]: row.values[0] for row in file.trees[name].rows() if is_lost(row.values[1])}


def _pattern(item: Element) -> str:
    """The id of a connection with its ends and its type left open: sources make ids of them."""
    pattern = item.id
    for place, part in (("\0first", item.key), ("\0second", item.other), ("\0type", item.type)):
        pattern = pattern.replace(part, place) if part else pattern
    return pattern


def _proposals(kind: str, peer1: str, peer2: str, types: set[str], patterns: set[str]) -> Iterator[Element]:
    if kind == "graph":
        yield GRAPH
    elif kind == "peer":
        yield Element("peer", peer1)
    else:
        for link_type in types:
            parts = (("\0first", peer1), ("\0second", peer2), ("\0type", link_type))
            for pattern in patterns:
                source_id = functools.reduce(lambda text, part: text.replace(*part), parts, pattern)
                yield Element("connection", peer1, peer2, link_type, source_id)
