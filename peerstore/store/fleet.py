"""What a store can be asked about the fleet: values and their roll-out, versions that do not fit, expected peers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from peerstore.answers.fleet import Expectation, Incompatibility, Laggard, Population, Reached, Rollout, Values
from peerstore.canonical import ABSENT, Json, normal
from peerstore.ditto import canonical_peer_key
from peerstore.errors import QuestionError
from peerstore.questions.fleet import Expected, Incompatibilities, population, values_at
from peerstore.questions.rollout import Firsts, laggards, rollout, text_of
from peerstore.store.asking import window_micros
from peerstore.store.identities import Identities, checked_path
from peerstore.times import micros


class Fleet(Identities):
    """Questions about the fleet. A ``path`` is a JSON Pointer within a peer, as in attribute changes: ``/sdk_version``,
    ``/peer_metadata/role``; what is none raises :class:`~peerstore.errors.QuestionError`. Values are compared as
    values: 1 is 1.0, the order of an object's members means nothing; a missing one is :data:`peerstore.ABSENT`.
    """

    def values_at(
        self,
        at: datetime,
        path: str = "/sdk_version",
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Values:
        """The peers present at an instant by the value that each had at a path: which SDK versions, who was a till."""
        moment = micros(at)
        checked_path(path)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return values_at(connection, self._dictionary, scope, moment, path)

    def rollout(
        self,
        path: str = "/sdk_version",
        value: Json = ABSENT,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Reached]:
        """Who was first known to have which value when: for each peer and value, the first time at which the peer was
        present with it, if that lies in ``[since, until)``; in order of time, then of the keys.

        ``value``: only this one. Otherwise (``ABSENT``) every one but null, which like a missing value says that
        nothing is known. A value that a peer had before ``since`` is not told again. What changed while the peer was
        away or nobody was watching is told once the peer is seen again: ``previous_until`` says since when it may have
        been so.
        """
        window = window_micros(since, until)
        checked_path(path)
        wanted = None if value is ABSENT else text_of(normal(value))
        return self._stream(
            lambda connection, scope: Firsts(connection, self._dictionary, scope, path, wanted).over(*window),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def rollout_at(
        self,
        path: str,
        value: Json,
        at: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Rollout:
        """How far a value had got by ``at`` (now): how many peers had reached it, when the last one did, and since when
        all present peers have had it. Unobserved time is passed over: it neither makes nor breaks "everywhere"."""
        moment, wanted = micros(at or self._clock()), _value(value)
        checked_path(path)
        with self._asking(observer, known_at, max_silence, None, moment) as (connection, scope):
            return rollout(connection, self._dictionary, scope, path, wanted, moment)

    def laggards(
        self,
        path: str,
        value: Json,
        at: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Laggard]:
        """The peers heard of until ``at`` (now), present or gone, whose last known value at a path is another one or
        missing; by key."""
        moment, wanted = micros(at or self._clock()), _value(value)
        checked_path(path)
        return self._stream(
            lambda connection, scope: laggards(connection, self._dictionary, scope, path, wanted, moment),
            observer,
            known_at,
            max_silence,
            None,
            moment,
        )

    def incompatible(
        self,
        peer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Incompatibility]:
        """Which observer held which peer as incompatible with it (``isCompatible`` false), and when: the stretches that
        overlap ``[since, until)``, with their true starts and ends; by peer, then by observer, then in order of time.

        Compatibility is relative to the observer, so every observer's own view is asked, not the merged presence. A
        stretch ends where its observer stops watching.
        """
        window = window_micros(since, until)
        key = None if peer is None else canonical_peer_key(peer)
        return self._stream(
            lambda connection, scope: Incompatibilities(connection, self._dictionary, scope).over(key, *window),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def expected(
        self,
        names_or_keys: Iterable[str],
        at: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Expectation:
        """Hold a list of expected peers against who was present at an instant.

        An entry is a key, a unique beginning of one, or a device name that a peer has or once had; of several peers
        with one name, each that is present will do. Where nobody was watching, entries are unobserved, not missing.
        :class:`~peerstore.errors.QuestionError` for an entry that is no text, or empty.
        """
        moment, entries = micros(at), _entries(names_or_keys)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return Expected(connection, self._dictionary, scope, moment).answer(entries)

    def population(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        below: int | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Population]:
        """How many peers were present: stretches in order of time that cover the window, by default from the first
        observation to the last one. Unobserved stretches are among them, with ``known`` false.

        With ``below``, only the known stretches with fewer peers than that, each joined while it stays so: since when
        the mesh was below its minimum.
        """
        window = window_micros(since, until)
        if below is not None and below < 1:
            raise QuestionError(f"below must be at least 1, since no number of peers is below {below}")
        return self._stream(
            lambda connection, scope: population(connection, self._dictionary, scope, *window, below),
            observer,
            known_at,
            max_silence,
            *window,
        )


def _value(value: Json) -> Json:
    return value if value is ABSENT else normal(value)


def _entries(names_or_keys: Iterable[str]) -> list[str]:
    entries = [names_or_keys] if isinstance(names_or_keys, str) else list(names_or_keys)
    for place, entry in enumerate(entries, start=1):
        if not isinstance(entry, str):
            raise QuestionError(f"entry {place} of the expected peers is no text but {type(entry).__name__}")
        if not entry:
            raise QuestionError(f"entry {place} of the expected peers is empty")
    return entries
