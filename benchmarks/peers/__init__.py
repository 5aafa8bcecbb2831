"""What the same history could be kept in instead: a class for each, all with the same few methods.

Each is given the changes that peerstore found (it need not find them), and answers with the ids that peerstore gave to
elements and documents, so that answers can be compared and none pays for texts. Each is set up as well as its makers'
documentation allows: its indexes, its way of loading much at once, its cheapest way of reading.
"""

from __future__ import annotations

import sqlite3
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

T = TypeVar("T")

BATCH = 128
"""Observations in a transaction: about as many of 240 kB as peerstore's 32 MB (``peerstore/batches.py``) hold."""


class Missing(Exception):
    """A peer that cannot be had here; the sentence says what it takes."""


class Observation(NamedTuple):
    """When (microseconds since 1970), and what changed then: (element id, document id or ``None``: it is gone)."""

    at: int
    changes: list[tuple[int, int | None]]


class Line(NamedTuple):
    """When (microseconds since 1970) a graph was observed, and the line of JSON that tells of it."""

    at: int
    text: bytes


class Element(NamedTuple):
    """What can be present: a row of the table ``element`` (``docs/schema.md``)."""

    kind: str
    peer1: str
    peer2: str
    type: str
    source_id: str


class Peer(ABC):
    """A history in another engine. It works in a folder of its own, and is closed before that goes."""

    title: ClassVar[str]
    """What the tables call it."""
    durability: ClassVar[str]
    """What is safe once :meth:`record` has returned."""
    every: ClassVar[int] = 1
    """At every how many instants it is asked: the slower, the fewer."""

    @abstractmethod
    def __init__(self, folder: Path, elements: Mapping[int, Element]) -> None:
        """An empty history in a folder; :class:`Missing` if it cannot be had. ``elements`` is all that will come."""

    @abstractmethod
    def record(self, batch: Sequence[Observation]) -> None:
        """Add what was observed next, in one transaction."""

    @abstractmethod
    def at(self, moment: int) -> dict[int, int]:
        """The document of each element that was present at an instant (microseconds since 1970)."""

    @abstractmethod
    def size(self) -> int:
        """The bytes that it takes on disk."""

    @abstractmethod
    def close(self) -> None:
        """Give back files and processes. It cannot be used afterwards."""

    def load(self, observations: Iterable[Observation]) -> None:
        """Record a whole history, and leave it in the best state for reading."""
        for batch in batches(observations):
            self.record(batch)


def fresh(folder: Path) -> Path:
    """A folder for one of several in a folder."""
    return Path(tempfile.mkdtemp(dir=folder))


def batches(things: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Cut into lists of a size; the last one may be shorter."""
    rest = iter(things)
    while batch := list(islice(rest, size)):
        yield batch


def changes_of(database: Path) -> Iterator[Observation]:
    """Every observation of a store of one observer that changed something, in order, read from its tables."""
    with closing(opened(database)) as connection:
        observers = connection.execute("SELECT COUNT(*) FROM observer").fetchone()[0]
        if observers != 1:
            raise ValueError(f"{database} has {observers} observers: the peers keep the history of one")
        rows = connection.execute(
            "SELECT observed_at, sequence, element_id, document_id FROM element_change ORDER BY observed_at, sequence"
        )
        # One instant is one observation here: the churn gives no two observations the same time.
        for at, changes in groupby(rows, itemgetter(0)):
            yield Observation(at, [(element, document) for _, _, element, document in changes])


def elements_of(database: Path) -> dict[int, Element]:
    """Every element of a store by its id."""
    with closing(opened(database)) as connection:
        rows = connection.execute("SELECT id, kind, peer1, peer2, type, source_id FROM element")
        return {number: Element(*(each or "" for each in element)) for number, *element in rows}


def opened(database: Path) -> sqlite3.Connection:
    """A built database, which nobody writes any more, to be read."""
    return sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)


class Interval(NamedTuple):
    """An element had a document from an instant until another (:data:`FOREVER`: it still has)."""

    id: int
    element: int
    document: int
    valid_from: int
    valid_to: int


FOREVER = 2**62


class Intervals:
    """Turns changes into intervals, as whoever keeps intervals must: it knows which of them are open."""

    def __init__(self) -> None:
        self._open: dict[int, Interval] = {}
        self._begun = 0

    def add(self, batch: Iterable[Observation]) -> tuple[list[Interval], list[tuple[int, int]]]:
        """The intervals that begin in a batch, ended if they end in it; and the ends of earlier ones, as (end, id)."""
        before = self._begun
        begun: list[Interval] = []
        ended: list[tuple[int, int]] = []
        for at, changes in batch:
            for element, document in changes:
                last = self._open.pop(element, None)
                if last is not None and last.id > before:
                    begun[last.id - before - 1] = last._replace(valid_to=at)
                elif last is not None:
                    ended.append((at, last.id))
                if document is not None:
                    self._begun += 1
                    self._open[element] = Interval(self._begun, element, document, at, FOREVER)
                    begun.append(self._open[element])
        return begun, ended
