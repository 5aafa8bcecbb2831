"""What is in a store: peers, observers, counts, and whether it is sound."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore import health, inventory
from peerstore.answers.health import Status
from peerstore.answers.inventory import KeptHistory, KnownPeer, LoggedObservation, ObserverSummary
from peerstore.content import ContentDigest
from peerstore.coverage import Scope
from peerstore.ditto import canonical_peer_key
from peerstore.model import Connection
from peerstore.questions.known import known_peers
from peerstore.replay import replayed
from peerstore.retention import retention
from peerstore.store.asking import Asking, window_micros
from peerstore.times import instant, micros
from peerstore.verification import Verification, verify


class Inventory(Asking):
    """Questions about all that is stored."""

    def known_peers(
        self,
        at: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
        peer: str | None = None,
    ) -> Iterator[KnownPeer]:
        """Every peer heard of until ``at`` (now), by key: its last known attributes, first and last times; or one."""
        moment = micros(at or self._clock())
        key = None if peer is None else canonical_peer_key(peer)
        return self._stream(
            lambda connection, scope: known_peers(connection, self._dictionary, scope, moment, key),
            observer,
            known_at,
            max_silence,
            None,
            moment,
        )

    def peer_keys(self) -> list[str]:
        """The key of every peer ever heard of, in byte order."""
        with self._database.reading() as connection:
            return inventory.peer_keys(connection)

    def observer_keys(self) -> list[str]:
        """The key of every observer, in byte order."""
        with self._database.reading() as connection:
            return inventory.observer_keys(connection)

    def device_names(self) -> dict[str, str]:
        """The newest device name of every peer that ever had one, by key: what people call it."""
        with self._database.reading() as connection:
            return inventory.device_names(connection)

    def resolve_peer(self, name: str) -> str:
        """The key of the peer with this key, unique prefix of a key, or unique device name;
        :class:`~peerstore.errors.UnknownPeer`."""
        with self._database.reading() as connection:
            return inventory.resolve_peer(connection, name)

    def observer_summaries(self, known_at: datetime | None = None, at: datetime | None = None) -> list[ObserverSummary]:
        """Every observer, by key: when it first and last spoke, how often, and whether it is watching at ``at``
        (now)."""
        moment = micros(at or self._clock())
        with self._asking(None, known_at, None, moment) as (connection, scope):
            return inventory.observer_summaries(connection, scope, moment)

    def last_observed_at(self) -> datetime | None:
        """When the last observation was made, on its observer's clock; ``None`` if there is none."""
        with self._database.reading() as connection:
            found = inventory.last_observed_at(connection)
        return None if found is None else instant(found)

    def observation_log(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
    ) -> Iterator[LoggedObservation]:
        """What was observed when, and when it was recorded: every observation in ``[since, until)``, in order of
        time."""
        window = window_micros(since, until)
        return self._stream(
            lambda connection, scope: inventory.observation_log_between(connection, scope, *window),
            observer,
            known_at,
            None,
            *window,
        )

    def connections_ever(self, observer: str | None = None) -> Iterator[Connection]:
        """Every connection that was ever there, or ever was in one observer's view, by its ends, type and id."""

        def answers(connection: DatabaseConnection, scope: Scope) -> Iterator[Connection]:
            number = None if observer is None else next(iter(scope.observers.values()))
            for each in inventory.connections_ever(connection, number):
                yield Connection(each.id, each.key, each.other, each.type)

        return self._stream(answers, observer, None, None)

    def content_digest(self) -> str:
        """A digest of all that was observed (:mod:`peerstore.content`): stores that hold the same observations have the
        same one, on any engine, in whatever order, however often and whenever they were recorded."""
        with self._asking(None, None, None) as (connection, scope):
            digest = ContentDigest(connection, self._dictionary)
            for each in replayed(connection, scope.observers, scope.begin(None), lead_in=True):
                digest.add(each)
        return digest.text()

    def retention(self) -> KeptHistory:
        """How much of the history is kept: where it begins, if it was pruned, and where it was thinned."""
        with self._database.reading() as connection:
            kept = retention(connection)
        times = (kept.horizon, kept.thinned_before, kept.known_from)
        horizon, thinned_before, known_from = (None if each is None else instant(each) for each in times)
        every = None if kept.thinned_every is None else timedelta(microseconds=kept.thinned_every)
        return KeptHistory(horizon, thinned_before, every, known_from)

    def status(self) -> Status:
        """What is in the store, how it grows, how it is kept, and what an operator should be warned of. Never writes;
        what it costs does not grow with the number of observations (:mod:`peerstore.health`)."""
        with self._database.reading() as connection:
            return health.status(self._database, connection, micros(self._clock()))

    def verify(self, full: bool = True) -> Verification:
        """Check what is stored against itself: digests, chains of changes, keyframes. Never writes."""
        with self._database.reading() as connection:
            return verify(self._database, connection, full)
