"""Observations as they are given, in batches: each is read as a whole and recorded in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from peerstore.errors import InputError
from peerstore.model import Observation, Recorded
from peerstore.recording import Refused
from peerstore.times import iso

Envelope = Mapping[str, Any] | bytes | str

_MOST = 4_000
_MOST_BYTES = 8_000_000
_MOST_SECONDS = 0.5
_MOST_OBSERVATIONS, _MOST_ELEMENTS = 1_000, 50_000
_PEER_BYTES = 1_000  # roughly what the JSON text of a peer takes


class Given(msgspec.Struct, gc=False):
    """An observation as it was given, and where it stood; ``complete`` is false for one that was cut."""

    source: str
    line: int
    content: Envelope
    complete: bool = True

    def weight(self) -> int:
        """About how many bytes its JSON text has."""
        if isinstance(self.content, bytes | str):
            return len(self.content)
        graph = self.content.get("graph") if isinstance(self.content, Mapping) else None
        peers = graph.get("remotePeers") if isinstance(graph, Mapping) else None
        return _PEER_BYTES * (1 + len(peers)) if isinstance(peers, list) else _PEER_BYTES

    def raw(self) -> bytes:
        """What is kept if it is refused."""
        if isinstance(self.content, bytes):
            return self.content
        if isinstance(self.content, str):
            return self.content.encode("utf-8", errors="backslashreplace")
        return json.dumps(self.content, default=str).encode("utf-8", errors="backslashreplace")


def batched(given: Iterable[Given]) -> Iterator[list[Given]]:
    """Group what is given, so that a batch is neither large nor old: a transaction has a cost of its own, and an
    observation waits for it in memory."""
    waiting: list[Given] = []
    weight, begun = 0, time.monotonic()
    for each in given:
        waiting.append(each)
        weight += each.weight()
        full = len(waiting) >= _MOST or weight > _MOST_BYTES
        if full or time.monotonic() - begun > _MOST_SECONDS:
            yield waiting
            waiting, weight, begun = [], 0, time.monotonic()
    if waiting:
        yield waiting


def of_moderate_size(observations: Iterable[Observation]) -> Iterator[list[Observation]]:
    """Observations that are there already, grouped for a transaction each."""
    batch: list[Observation] = []
    elements = 0
    for each in observations:
        batch.append(each)
        elements += 0 if each.graph is None else len(each.graph.elements)
        if len(batch) >= _MOST_OBSERVATIONS or elements >= _MOST_ELEMENTS:
            yield batch
            batch, elements = [], 0
    if batch:
        yield batch


class Batch(NamedTuple):
    """What is recorded in one transaction: observations, what each was ``given`` as, what was ``unreadable``, and all
    that is ``refused``."""

    given: list[Given]
    observations: list[Observation]
    unreadable: list[Refused]
    refused: list[Refused]

    @classmethod
    def read(cls, given: Iterable[Given], read: Callable[[Envelope], Observation]) -> Batch:
        """Read what is given; what cannot be read is refused."""
        batch = cls([], [], [], [])
        for each in given:
            try:
                if not each.complete:
                    raise InputError("the line is longer than the limit: only its beginning was kept")
                observation = read(each.content)
            except InputError as error:
                refused = Refused("rejected", each.source, each.line, str(error), each.raw(), each.complete)
                batch.unreadable.append(refused)
            else:
                batch.given.append(each)
                batch.observations.append(observation)
        batch.refused.extend(batch.unreadable)
        return batch

    def with_results(self, results: Sequence[Recorded]) -> list[Refused]:
        """What is refused, now that the results of recording are known; a transaction that is run again asks again."""
        self.refused[:] = self.unreadable
        for given, observation, result in zip(self.given, self.observations, results, strict=True):
            if (refused := refusal(given, observation, result)) is not None:
                self.refused.append(refused)
        return self.refused


def refusal(given: Given, observation: Observation, result: Recorded) -> Refused | None:
    """What is kept aside of an observation that was not recorded; ``None`` if it was, or had been."""
    if result.status == "conflict":
        return conflict(given, observation)
    if result.status == "rejected":
        return Refused("rejected", given.source, given.line, result.reason, given.raw())
    return None


def conflict(given: Given, observation: Observation) -> Refused:
    """What is kept aside of an observation where another one stands in its place."""
    reason = (
        f"another graph stands recorded for observer {observation.observer} at {iso(observation.observed_at)},"
        f" sequence {observation.sequence}: the first one stays"
    )
    return Refused("conflict", given.source, given.line, reason, given.raw())
