"""What an export reads: one snapshot of a store, and what of it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.changes import AttributeChange
from peerstore.answers.inventory import KnownPeer, LoggedObservation, ObserverSummary
from peerstore.answers.sessions import ConnectionSession, Session
from peerstore.content import ContentDigest
from peerstore.dictionary import Dictionary
from peerstore.ditto import canonical_peer_key
from peerstore.errors import QuestionError
from peerstore.exporting.disguise import Disguise
from peerstore.model import Connection
from peerstore.replay import Replayed, replayed
from peerstore.store.reading import Answers
from peerstore.times import EARLIEST, LATEST, instant, iso, micros

MOMENT = timedelta(microseconds=1)
_FIRST, _LAST = instant(EARLIEST), instant(LATEST)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Selection:
    """What of a history is exported: a window ``[since, until)``, a moment ``at``, or all of it; whose view, as known
    when, with which limit of silence (as everywhere: :class:`peerstore.PeerStore`)."""

    since: datetime | None = None
    until: datetime | None = None
    at: datetime | None = None
    observer: str | None = None
    known_at: datetime | None = None
    max_silence: timedelta | float | None = None

    def __post_init__(self) -> None:
        if self.observer is not None:
            object.__setattr__(self, "observer", canonical_peer_key(self.observer))
        if self.at is not None and (self.since is not None or self.until is not None):
            raise QuestionError("ask for a moment or for a window, not for both")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise QuestionError(f"the range ends at {iso(self.until)}, before it begins at {iso(self.since)}")

    @property
    def window(self) -> tuple[datetime | None, datetime | None]:
        """The window; a moment is one of a microsecond, at the end of all time of what there is of it."""
        if self.at is None:
            return self.since, self.until
        return self.at, None if self.at > _LAST - MOMENT else self.at + MOMENT

    def disguised(self, disguise: Disguise) -> Selection:
        """The same of a history in disguise."""
        return self if self.observer is None else replace(self, observer=disguise.peer_key(self.observer))

    @property
    def scope(self) -> dict[str, Any]:
        """Whose view and of what is known, as keyword arguments of every question."""
        return {"observer": self.observer, "known_at": self.known_at, "max_silence": self.max_silence}

    def to_dict(self) -> dict[str, Any]:
        """The selection in a manifest."""
        silence = self.max_silence
        return {
            **{name: None if (at := getattr(self, name)) is None else iso(at) for name in ("since", "until", "at")},
            "observer": self.observer,
            "known_at": None if self.known_at is None else iso(self.known_at),
            "max_silence_seconds": silence.total_seconds() if isinstance(silence, timedelta) else silence,
        }


@dataclass(frozen=True)
class Options:
    """How a format is written; each format heeds those that mean something to it.

    ``shape`` of Ditto's JSON; ``recorded_at``: say when each observation was recorded, which
    is another time in every store that holds the same history; ``raw_csv``: leave texts
    that a spreadsheet would run as formulas as they are; ``name``: that of the file or folder once it is whole.
    """

    shape: Literal["raw-v3", "js-5"] = "raw-v3"
    recorded_at: bool = False
    raw_csv: bool = False
    name: str = ""


def _nothing(_rows: int) -> None:
    """Tell nobody how far it is."""


@dataclass
class Source:
    """One snapshot of a store, what of it was asked for, how it is to be written, and whom to tell how many rows were
    written.

    Every answer is of the same moment of the database, in an order that does not depend on how it was recorded.
    """

    store: Answers
    selection: Selection = field(default_factory=Selection)
    options: Options = field(default_factory=Options)
    progress: Callable[[int], None] = _nothing

    @cached_property
    def is_whole(self) -> bool:
        """Whether the whole history is asked for."""
        return self.selection.window == (None, None)

    @cached_property
    def end(self) -> datetime:
        """The last instant of what is asked for; where that is open, that of the last observation: the clock has no
        part in an export."""
        if self.selection.at is not None:
            return self.selection.at
        until = self.selection.until
        if until is None:
            last = self.store.last_observed_at() or EPOCH
            return max(last, self.store.retention().horizon or last)
        return max(until, _FIRST + MOMENT) - MOMENT

    @cached_property
    def _range(self) -> dict[str, Any]:
        since, until = self.selection.window
        return {"since": since, "until": until, **self.selection.scope}

    def observers(self) -> list[ObserverSummary]:
        """The observers that had spoken by the end, with all that they ever observed."""
        summaries = self.store.observer_summaries(self.selection.known_at, at=self.end)
        wanted = self.selection.observer
        spoken = [each for each in summaries if each.first_observed_at <= self.end]
        return [each for each in spoken if wanted in (None, each.observer)]

    def observer_keys(self) -> set[str]:
        """The keys of those observers."""
        return {each.observer for each in self.observers()}

    @cached_property
    def _present(self) -> set[str]:
        return {session.peer_key for session in self.sessions()}

    def peers(self) -> Iterator[KnownPeer]:
        """Every peer that was present, with its attributes at the end, by key."""
        for known in self.store.known_peers(self.end, **self.selection.scope):
            if self.is_whole or known.peer.peer_key in self._present:
                yield known

    def connections(self) -> Iterator[Connection]:
        """Every connection that was there, by its ends, type and id."""
        if self.is_whole and self.selection.known_at is None:
            yield from self.store.connections_ever(self.selection.observer)
            return
        found = {
            (link.peer1, link.peer2, link.type, link.id)
            for link in (session.connection for session in self.connection_sessions())
        }
        for peer1, peer2, kind, name in sorted(found):
            yield Connection(name, peer1, peer2, kind)

    def connection_ends(self) -> set[str]:
        """The keys of the ends of those connections."""
        return {key for link in self.connections() for key in (link.peer1, link.peer2)}

    def sessions(self) -> Iterator[Session]:
        """The sessions of peers, as :meth:`peerstore.PeerStore.sessions`."""
        return self.store.sessions(**self._range)

    def connection_sessions(self) -> Iterator[ConnectionSession]:
        """The sessions of connections, as :meth:`peerstore.PeerStore.connection_sessions`."""
        return self.store.connection_sessions(**self._range)

    def attribute_changes(self) -> Iterator[AttributeChange]:
        """The changes of attributes, as :meth:`peerstore.PeerStore.metadata_changes`."""
        return self.store.metadata_changes(**self._range)

    @contextmanager
    def replay(self) -> Iterator[tuple[DatabaseConnection, Dictionary, Iterator[Replayed]]]:
        """The observations with their graphs, in order of time, by ids, and what reads those; those that were in force
        when the window began come first."""
        since, until = (None if bound is None else micros(bound) for bound in self.selection.window)
        known_at = self.selection.known_at
        with self.store._asking(self.selection.observer, known_at, None, since, until) as (connection, scope):
            since = scope.begin(since)
            observations = replayed(connection, scope.observers, since, until, scope.known_at, lead_in=True)
            yield connection, self.store._dictionary, observations

    def content_digest(self) -> str:
        """The digest of those observations (:mod:`peerstore.content`)."""
        with self.replay() as (connection, dictionary, observations):
            digest = ContentDigest(connection, dictionary)
            for each in observations:
                digest.add(each)
        return digest.text()

    def observations(self) -> Iterator[LoggedObservation]:
        """The observations, in order of time."""
        since, until = self.selection.window
        return self.store.observation_log(since, until, self.selection.observer, self.selection.known_at)
