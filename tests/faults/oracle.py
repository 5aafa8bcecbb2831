"""The oracle that all these tests share: what must hold of a store, whatever was done to the process that recorded.

The store verifies; every acknowledged batch is there; of each other batch all or nothing is; what is there has the same
digest of content as a fresh store that was told just that; and recording goes on as if nothing had been.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

import peerstore
from peerstore.database_url import database_url
from peerstore.times import iso
from tests.databases import plain
from tests.histories import history

Line = dict[str, Any]
Batches = tuple[tuple[Line, ...], ...]
Place = tuple[str, str, int]

_PLACES = """
    SELECT o.observer_key, l.observed_at, l.sequence FROM observation_log l JOIN observer o ON o.id = l.observer_id"""


@cache
def batches(count: int, seed: int = 1, size: int = 3, padding: int = 1500) -> Batches:
    """Batches of observations in any order, each observation once; every graph has much to write, so that a
    transaction is of several pages."""
    lines = history(seed, count * size)
    for number, line in enumerate(lines):
        if line["graph"] is not None:
            text = "".join(
                hashlib.sha256(f"{seed} {number} {part}".encode()).hexdigest() for part in range(padding // 64)
            )
            line["graph"]["localPeer"]["peerMetadata"] = {"text": text}
    random.Random(seed).shuffle(lines)
    return tuple(tuple(lines[start : start + size]) for start in range(0, len(lines), size))


def place(line: Line) -> Place:
    """Where an observation stands."""
    return line["observer"], line["observedAt"], line["sequence"]


def places(url: str) -> set[Place]:
    """Where the observations of a store stand."""
    with plain(database_url(url).render_as_string(hide_password=False)) as connection:
        return {(key, iso(at), sequence) for key, at, sequence in connection.execute(sa.text(_PLACES))}


class Expected:
    """What a store must hold after some of these batches, as fresh stores tell it."""

    def __init__(self, given: Batches) -> None:
        self.batches = given
        self._digests: dict[frozenset[int], str] = {}
        self._growing = peerstore.open(":memory:")
        self._grown: set[int] = set()

    def digest(self, numbers: Collection[int]) -> str:
        """The digest of content of these batches."""
        wanted = frozenset(numbers)
        if wanted not in self._digests:
            if not self._grown <= wanted:
                self._growing.close()
                self._growing, self._grown = peerstore.open(":memory:"), set()
            for number in sorted(wanted - self._grown):
                self._growing.record_many(self.batches[number])
            self._grown = set(wanted)
            self._digests[wanted] = self._growing.content_digest()
        return self._digests[wanted]

    def findings(
        self, url: str, acknowledged: Collection[int], most_unacknowledged: int = 1, *, go_on: bool = True
    ) -> list[str]:
        """What is wrong with a store in which these batches were acknowledged, and so many others may be whole."""
        try:
            return self._findings(url, set(acknowledged), most_unacknowledged, go_on)
        except (peerstore.PeerstoreError, sa.exc.DBAPIError) as error:
            return [f"the store cannot be used: {error}"]

    def _findings(self, url: str, acknowledged: set[int], most_unacknowledged: int, go_on: bool) -> list[str]:
        found = []
        with peerstore.open(url) as store:
            found += [f"verify: {finding}" for finding in store.verify().findings]
            there = places(url)
            held = [sum(place(line) in there for line in batch) for batch in self.batches]
            whole = {number for number, count in enumerate(held) if count == len(self.batches[number])}
            found += [
                f"batch {number} is there by half: {count} of {len(self.batches[number])}"
                for number, count in enumerate(held)
                if count and number not in whole
            ]
            found += [f"acknowledged batch {number} is lost" for number in sorted(acknowledged - whole)]
            if len(whole - acknowledged) > most_unacknowledged:
                found.append(f"{len(whole - acknowledged)} batches are there that were not acknowledged")
            if not found and store.content_digest() != self.digest(whole):
                found.append("another content than that of a fresh store")
            if go_on and not found:
                found += self._going_on(store, whole)
        return found

    def _going_on(self, store: peerstore.PeerStore, whole: set[int]) -> list[str]:
        missing = next((number for number in range(len(self.batches)) if number not in whole), 0)
        summary = store.record_many(self.batches[missing])
        fresh = 0 if missing in whole else len(self.batches[missing])
        if (summary.recorded, summary.conflicts, summary.rejected) != (fresh, 0, 0):
            return [f"the next recording gave {summary}"]
        if store.content_digest() != self.digest(whole | {missing}):
            return ["another content than that of a fresh store after the next recording"]
        return []


def lines_of(given: Sequence[Sequence[Line]]) -> list[Line]:
    """All lines of batches, in order."""
    return [line for batch in given for line in batch]
