"""What a store can be asked about how long peers were there, away, or not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from peerstore.answers.online import Seen, Stretch, Uptime
from peerstore.ditto import canonical_peer_key
from peerstore.questions.online import timeline, uptimes
from peerstore.questions.sightings import sightings
from peerstore.store.asking import Asking, window_micros
from peerstore.times import micros


class Online(Asking):
    """Questions about how long peers were there, away, or not looked at."""

    def uptime(
        self,
        peer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Uptime]:
        """How much of ``[since, until)`` peers were present, absent, and unobserved: see
        :class:`~peerstore.answers.online.Uptime`.

        By key, every peer that was ever present before ``until``; or the one asked for, even if it never was. Where an
        end of the window is left open, it is measured from the first observation, or to the last one; nothing is given
        if that leaves no window.
        """
        window, key = window_micros(since, until), None if peer is None else canonical_peer_key(peer)
        return self._stream(
            lambda connection, scope: uptimes(connection, self._dictionary, scope, *window, key),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def timeline(
        self,
        peer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Stretch]:
        """The stretches of ``[since, until)`` over which peers were present, absent, and unobserved: see
        :class:`~peerstore.answers.online.Stretch`.

        Of the peers and the window that :meth:`uptime` has; those of a peer stand together, in order of time, and cover
        the window without holes.
        """
        window, key = window_micros(since, until), None if peer is None else canonical_peer_key(peer)
        return self._stream(
            lambda connection, scope: timeline(connection, self._dictionary, scope, *window, key),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def seen(
        self,
        peer: str | None = None,
        at: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Seen]:
        """When peers were first and last seen until ``at`` (now), and last linked directly: see
        :class:`~peerstore.answers.online.Seen`.

        By key, for every peer that was ever seen, or for one: a row over all that were asked, then a row for each
        observer that saw it, by key.
        """
        moment, key = micros(at or self._clock()), None if peer is None else canonical_peer_key(peer)
        return self._stream(
            lambda connection, scope: sightings(connection, self._dictionary, scope, moment, key),
            observer,
            known_at,
            max_silence,
            None,
            moment,
        )
