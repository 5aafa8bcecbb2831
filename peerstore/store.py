"""The public face: a store, and what it can be told and asked. One line a method, where one line does."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy.engine import URL
from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore import inventory, schema
from peerstore.answers import (
    AttributeChange,
    Change,
    ConnectionSession,
    Difference,
    KnownPeer,
    ObserverSummary,
    Reject,
    Session,
)
from peerstore.batches import Batch, Envelope, Given, batched
from peerstore.coverage import Scope
from peerstore.database import Database
from peerstore.dictionary import Dictionary, observer_ids
from peerstore.ditto import canonical_peer_key
from peerstore.envelope import ObservationReader
from peerstore.errors import InputError, QuestionError
from peerstore.history import Question, attribute_changes, known_peers, presence_over
from peerstore.model import Connection, Recorded, Summary
from peerstore.ndjson import Line
from peerstore.presence import Presence, difference, presence_at
from peerstore.recording import Recorder, Refused
from peerstore.sessions import Sessions, Stay
from peerstore.times import duration_micros, instant, iso, micros
from peerstore.verification import Verification, verify


class PeerStore:
    """A persistent history of presence. Open one with :func:`peerstore.open`; close it, or use it as a context
    manager.

    Safe to use from several threads; several processes may use one database at once. Iterators that questions return
    read one snapshot of the database, and hold a connection until they are exhausted or closed.

    Arguments that mean the same everywhere: ``observer``, one observer's key (``None``: the merged presence of all);
    ``known_at``: answer from what was recorded by then; ``max_silence`` (a timedelta or seconds): how long an observer
    may be silent and still count as watching, instead of what it declared (``timedelta.max``: for ever); ``since`` and
    ``until``: a half-open range ``[since, until)``. Times are aware datetimes. An observer or peer that was never
    recorded is no error: it is unobserved, or absent.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime] | None = None) -> None:
        schema.ensure(database)
        self._database = database
        self._dictionary = Dictionary()
        self._recorder = Recorder(database, clock)
        self._reader = ObservationReader()
        self._reading = threading.Lock()
        self._clock = clock or (lambda: datetime.now(UTC))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back every connection. The store cannot be used afterwards."""
        self._database.close()

    # -- recording ----------------------------------------------------------------------------------------------------

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
        if the graph cannot be read.
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
        batch = Batch([given], [observation], [])
        [result] = self._recorder.record(batch.observations, batch.with_conflicts)
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
    ) -> Summary:
        """Record lines of NDJSON in one transaction; ``observer`` and ``max_silence`` stand in where a line names
        none.

        ``stamp`` is the time of a bare presence graph without an envelope. Lines that cannot be recorded are kept
        aside with their source, number and reason, and told to ``on_refused``.
        """
        summary = Summary()
        with self._reading_with(observer, max_silence, stamp):
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
        self, observer: str | None, max_silence: timedelta | float | None, stamp: datetime | None
    ) -> Iterator[None]:
        """Read with what stands in where an observation says nothing."""
        with self._reading:
            self._reader.observer = None if observer is None else canonical_peer_key(observer)
            self._reader.max_silence = duration_micros(max_silence)
            self._reader.stamp = None if stamp is None else micros(stamp)
            try:
                yield
            finally:
                self._reader.observer = self._reader.max_silence = self._reader.stamp = None

    def _read(self, given: Iterable[Given]) -> Batch:
        with self._reading:
            return Batch.read(given, self._reader.read)

    def _add(self, summary: Summary, batch: Batch, settled: Collection[int] = ()) -> list[Refused]:
        """Record a batch, and count what became of it; what was refused."""
        results = self._recorder.record(batch.observations, batch.with_conflicts, list(settled))
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

    # -- questions ----------------------------------------------------------------------------------------------------

    def presence_at(
        self,
        at: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Presence:
        """Who was in the mesh at an instant: the view of one observer, or the merged presence of all that were
        watching."""
        moment = micros(at)
        with self._asking(observer, known_at, max_silence) as (connection, scope):
            return presence_at(connection, self._dictionary, scope, moment)

    def diff(
        self,
        since: datetime,
        until: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Difference:
        """What is different at ``until`` from what was at ``since``: see :class:`~peerstore.answers.Difference`."""
        moments = micros(since), micros(until)
        with self._asking(observer, known_at, max_silence) as (connection, scope):
            return difference(connection, self._dictionary, scope, *moments)

    def changes(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        peer: str | None = None,
        observer: str | None = None,
        kinds: Collection[str] | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Change]:
        """Every change in ``[since, until)``, in order of time; of one peer and its connections, if one is named."""
        window = _window(since, until)
        key = None if peer is None else canonical_peer_key(peer)
        wanted = None if kinds is None else frozenset([kinds] if isinstance(kinds, str) else kinds)

        def answers() -> Iterator[Change]:
            with self._asking(observer, known_at, max_silence) as (connection, scope):
                yield from Question(connection, self._dictionary, scope, *window, key).changes(wanted)

        return answers()

    def metadata_changes(
        self,
        peer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[AttributeChange]:
        """Every attribute of a peer that took another value in ``[since, until)``, in order of time."""
        window = _window(since, until)
        key = None if peer is None else canonical_peer_key(peer)

        def answers() -> Iterator[AttributeChange]:
            with self._asking(observer, known_at, max_silence) as (connection, scope):
                elements = None if key is None else inventory.peer_elements(connection, key)
                yield from attribute_changes(Question(connection, self._dictionary, scope, *window, elements=elements))

        return answers()

    def presence_over(
        self,
        since: datetime,
        until: datetime,
        step: timedelta | float | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Presence]:
        """The presence at ``since``, then at every instant before ``until`` at which it changed; or at every
        ``step``."""
        begin, end = micros(since), micros(until)
        stride = duration_micros(step)
        if begin > end:
            raise QuestionError(f"the range ends at {iso(end)}, before it begins at {iso(begin)}")
        if stride is not None and stride <= 0:
            raise QuestionError("a step must be longer than nothing")

        def answers() -> Iterator[Presence]:
            if begin < end:
                with self._asking(observer, known_at, max_silence) as (connection, scope):
                    yield from presence_over(connection, self._dictionary, scope, begin, end, stride)

        return answers()

    def sessions(
        self,
        peer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        grace: timedelta | float = 0,
        max_silence: timedelta | float | None = None,
        known_at: datetime | None = None,
    ) -> Iterator[Session]:
        """The sessions of peers that overlap ``[since, until)``, with their true starts and ends; as they end, then
        those that hold."""
        window, pause = _window(since, until), duration_micros(grace) or 0
        key = None if peer is None else canonical_peer_key(peer)

        def answers() -> Iterator[Session]:
            with self._asking(observer, known_at, max_silence) as (connection, scope):
                elements = None if key is None else inventory.peer_elements(connection, key)
                stays = Sessions(connection, self._dictionary, scope, "peer", elements, pause).over(*window)
                for stay in stays:
                    element = self._dictionary.elements(connection, [stay.element])[stay.element]
                    yield Session(element.key, *_bounds(stay), observer, stay.reason, stay.gaps)

        return answers()

    def connection_sessions(
        self,
        peer: str | None = None,
        other: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        grace: timedelta | float = 0,
        max_silence: timedelta | float | None = None,
        known_at: datetime | None = None,
    ) -> Iterator[ConnectionSession]:
        """The sessions of connections, of those of one peer, or of those between two: as :meth:`sessions`."""
        window, pause = _window(since, until), duration_micros(grace) or 0
        ends = [canonical_peer_key(key) for key in (peer, other) if key is not None]

        def answers() -> Iterator[ConnectionSession]:
            with self._asking(observer, known_at, max_silence) as (connection, scope):
                elements = inventory.connection_elements(connection, ends) if ends else None
                stays = Sessions(connection, self._dictionary, scope, "connection", elements, pause).over(*window)
                for stay in stays:
                    element = self._dictionary.elements(connection, [stay.element])[stay.element]
                    link = Connection(element.id, element.key, element.other, element.type)
                    yield ConnectionSession(link, *_bounds(stay), observer, stay.reason, stay.gaps)

        return answers()

    def known_peers(
        self,
        at: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[KnownPeer]:
        """Every peer heard of until ``at`` (now), by key: its last known attributes, first and last times."""
        moment = micros(at or self._clock())
        with self._asking(observer, known_at, max_silence) as (connection, scope):
            yield from known_peers(connection, self._dictionary, scope, moment)

    def peer_keys(self) -> list[str]:
        """The key of every peer ever heard of, in byte order."""
        with self._database.reading() as connection:
            return inventory.peer_keys(connection)

    def device_names(self) -> dict[str, str]:
        """The newest device name of every peer that ever had one, by key: what people call it."""
        with self._database.reading() as connection:
            return inventory.device_names(connection)

    def resolve_peer(self, name: str) -> str:
        """The key of the peer with this key, unique prefix of a key, or unique device name;
        :class:`~peerstore.errors.UnknownPeer`."""
        with self._database.reading() as connection:
            return inventory.resolve_peer(connection, name)

    def observer_summaries(self, known_at: datetime | None = None) -> list[ObserverSummary]:
        """Every observer, by key: when it first and last spoke, how often, and whether it is watching now."""
        with self._asking(None, known_at, None) as (connection, scope):
            return inventory.observer_summaries(connection, scope, micros(self._clock()))

    def status(self) -> inventory.Status:
        """What is in the store, and how it is kept."""
        with self._database.reading() as connection:
            return inventory.status(self._database, connection)

    def verify(self, full: bool = True) -> Verification:
        """Check what is stored against itself: digests, chains of changes, keyframes. Never writes."""
        with self._database.reading() as connection:
            return verify(self._database, connection, full)

    @contextmanager
    def _asking(
        self, observer: str | None, known_at: datetime | None, max_silence: timedelta | float | None
    ) -> Iterator[tuple[DatabaseConnection, Scope]]:
        key = None if observer is None else canonical_peer_key(observer)
        known, silence = None if known_at is None else micros(known_at), duration_micros(max_silence)
        with self._database.reading() as connection:
            observers = observer_ids(connection, key)
            if key is not None and not observers:
                observers = {key: -1}  # never recorded: it has no rows, so it is unobserved
            yield connection, Scope(observers, known, silence)


def _parsed(graph: bytes | str) -> Mapping[str, Any]:
    from peerstore.canonical import loads
    from peerstore.ditto import GRAPH_DEPTH

    value = loads(graph, GRAPH_DEPTH)
    if not isinstance(value, Mapping):
        raise InputError("a presence graph is a JSON object, and this text holds something else")
    return value


def _window(since: datetime | None, until: datetime | None) -> tuple[int | None, int | None]:
    begin, end = None if since is None else micros(since), None if until is None else micros(until)
    if begin is not None and end is not None and begin > end:
        raise QuestionError(f"the range ends at {iso(end)}, before it begins at {iso(begin)}")
    return begin, end


def _bounds(stay: Stay) -> tuple[datetime, datetime | None]:
    return instant(stay.start), None if stay.end is None else instant(stay.end)


def open(  # noqa: A001 - the name of the contract
    database: str | Path | URL, *, create: bool = True, clock: Callable[[], datetime] | None = None
) -> PeerStore:
    """Open a store: a path of an SQLite file, or a SQLAlchemy URL (``postgresql+psycopg://...``).

    Creates the database if there is none (unless ``create`` is false: then :class:`~peerstore.errors.DatabaseMissing`)
    and upgrades an older one. ``:memory:`` is a private store that vanishes on close. ``clock`` gives the store's time
    (``recorded_at``); by default the system's, on PostgreSQL the server's.

    >>> with open(":memory:") as store:
    ...     store.status().observations
    0
    """
    return PeerStore(Database(database, create=create), clock)


def upgrade(database: str | Path | URL) -> tuple[str | None, str]:
    """Create a database or bring it to the newest schema; the revisions before (``None``: there was none) and after."""
    opened = Database(database)
    try:
        return schema.upgrade(opened)
    finally:
        opened.close()
