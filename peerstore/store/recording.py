"""What a store can be told."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from peerstore import inventory
from peerstore.answers.inventory import Reject
from peerstore.batches import Batch, Envelope, Given, batched
from peerstore.database import Database
from peerstore.ditto import canonical_peer_key
from peerstore.envelope import ObservationReader
from peerstore.errors import InputError
from peerstore.model import Recorded, Summary
from peerstore.ndjson import Line
from peerstore.recording import Recorder, Refused
from peerstore.states import DAY
from peerstore.store.asking import Asking
from peerstore.times import LATEST, duration_micros, iso, micros


class Recording(Asking):
    """Recording observations, and what becomes of those that are refused."""

    def __init__(self, database: Database, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(database, clock)
        self._recorder = Recorder(database, clock)
        self._reader = ObservationReader()
        self._reading = threading.Lock()

    def record(
        self,
        graph: Mapping[str, Any] | bytes | str | None,
        observed_at: datetime,
        observer: str | None = None,
        sequence: int = 0,
        max_silence: timedelta | float | None = None,
    ) -> Recorded:
        """Record one presence graph, durably, before returning; ``graph`` ``None``: the observer stopped.

        Recording the same again is a no-op (``duplicate``); another graph under the same observer, time and sequence
        is a ``conflict``: kept aside (:meth:`rejects`), and the first one stays. :class:`~peerstore.errors.InputError`
        if the graph cannot be read, or must not be recorded any more (:meth:`prune`, :meth:`forget`).
        """
        if isinstance(graph, bytes | str):
            graph = _parsed(graph)
        envelope: dict[str, Any] = {"observed_at": observed_at, "graph": graph, "sequence": sequence}
        if observer is not None:
            envelope["observer"] = observer
        if max_silence is not None:
            envelope["max_silence"] = max_silence
        with self._reading:
            observation = self._reader.read(envelope)
        given = Given("record", 0, {**envelope, "observed_at": iso(observed_at)})
        batch = Batch([given], [observation], [], [])

        def conflicts(results: Sequence[Recorded]) -> list[Refused]:
            return [each for each in batch.with_results(results) if each.kind == "conflict"]

        [result] = self._recorder.record(batch.observations, conflicts)
        if result.status == "rejected":
            raise InputError(result.reason)
        return result

    def record_many(self, observations: Iterable[Envelope]) -> Summary:
        """Record envelopes: mappings or JSON texts, as :mod:`peerstore.envelope` tells; a batch a transaction.

        What cannot be read is kept aside (:meth:`rejects`) under its number in the iterable, and the rest goes on.
        Each batch is durable once the next is begun; with :meth:`record` an observation is durable at once.
        """
        given = (Given("record_many", number, content) for number, content in enumerate(observations, 1))
        summary = Summary()
        for waiting in batched(given):
            self._add(summary, self._read(waiting))
        return summary

    def record_lines(
        self,
        lines: Iterable[Line],
        observer: str | None = None,
        max_silence: timedelta | float | None = None,
        stamp: datetime | None = None,
        on_refused: Callable[[Line, str], None] | None = None,
        keep_recorded_at: bool = False,
    ) -> Summary:
        """Record lines of NDJSON in one transaction; ``observer`` and ``max_silence`` stand in where a line names
        none.

        ``stamp`` is the time of a bare presence graph without an envelope. ``keep_recorded_at``: a line that says when
        another store recorded it (``recordedAt``) keeps that time, so that answers as known then are those of that
        store; what this store knew at that time is then no longer told. Lines that cannot be recorded are kept
        aside with their source, number and reason, and told to ``on_refused``.
        """
        summary = Summary()
        with self._reading_with(observer, max_silence, stamp, keep_recorded_at):
            given = (Given(line.source, line.number, line.content, line.complete) for line in lines)
            batch = Batch.read(given, self._reader.read)
        refusals = self._add(summary, batch)
        if on_refused is not None:
            for each in refusals:
                on_refused(
                    Line(each.source, each.line, each.content, each.complete, len(each.content), None), each.reason
                )
        return summary

    @contextmanager
    def _reading_with(
        self,
        observer: str | None,
        max_silence: timedelta | float | None,
        stamp: datetime | None,
        keep_recorded_at: bool = False,
    ) -> Iterator[None]:
        """Read with what stands in where an observation says nothing."""
        with self._reading:
            self._reader.observer = None if observer is None else canonical_peer_key(observer)
            self._reader.max_silence = duration_micros(max_silence)
            self._reader.stamp = None if stamp is None else micros(stamp)
            self._reader.keep_recorded_at = keep_recorded_at
            self._reader.latest_recorded_at = self._latest_recorded_at()
            try:
                yield
            finally:
                self._reader.observer = self._reader.max_silence = self._reader.stamp = None
                self._reader.keep_recorded_at = False

    def _latest_recorded_at(self) -> int:
        """The latest time of recording that is kept: clocks may differ by a day."""
        return min(micros(self._clock()) + DAY, LATEST)

    def _read(self, given: Iterable[Given]) -> Batch:
        with self._reading:
            return Batch.read(given, self._reader.read)

    def _add(self, summary: Summary, batch: Batch, settled: Collection[int] = ()) -> list[Refused]:
        """Record a batch, and count what became of it; what was refused."""
        results = self._recorder.record(batch.observations, batch.with_results, list(settled))
        counts = Counter(result.status for result in results)
        summary.recorded += counts["recorded"]
        summary.duplicates += counts["duplicate"]
        summary.conflicts += counts["conflict"]
        summary.changes += sum(result.changes for result in results)
        summary.rejected += sum(each.kind == "rejected" for each in batch.refused)
        return batch.refused

    def rejects(self) -> Iterator[Reject]:
        """What was refused and kept aside, in the order in which it came."""
        with self._database.reading() as connection:
            yield from inventory.rejects(connection)

    def retry_rejects(
        self,
        observer: str | None = None,
        max_silence: timedelta | float | None = None,
        stamp: datetime | None = None,
    ) -> Summary:
        """Try again to record what could not be read: after an update of peerstore, or with what it lacked.

        ``observer``, ``max_silence`` and ``stamp`` are as in :meth:`record_lines`. What succeeds is no longer kept
        aside.
        """
        summary = Summary()
        with self._database.reading() as connection:
            kept = [each for each in inventory.rejects(connection) if each.kind == "rejected"]
        for reject in kept:
            given = Given(reject.source, reject.line, reject.content, reject.complete)
            with self._reading_with(observer, max_silence, stamp):
                batch = Batch.read([given], self._reader.read)
            if batch.observations:
                self._add(summary, batch, [reject.id])
            else:
                summary.rejected += 1
        return summary

    def drop_rejects(self, ids: Collection[int]) -> int:
        """Remove what was kept aside, for good; how many of these ids there were."""
        with self._database.reading() as connection:
            known = {each.id for each in inventory.rejects(connection)} & set(ids)
        self._recorder.record([], settled=sorted(known))
        return len(known)


def _parsed(graph: bytes | str) -> Mapping[str, Any]:
    from peerstore.canonical import loads
    from peerstore.ditto import GRAPH_DEPTH

    value = loads(graph, GRAPH_DEPTH)
    if not isinstance(value, Mapping):
        raise InputError("a presence graph is a JSON object, and this text holds something else")
    return value
