"""What a store can be asked about the connections of pairs: contacts, flapping, transports, degree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal

from peerstore.answers.links import (
    DEFAULT_CAPS,
    Contact,
    Degree,
    DegreeStretch,
    Flapping,
    TransportChange,
    TransportMix,
)
from peerstore.ditto import canonical_peer_key
from peerstore.errors import QuestionError
from peerstore.questions import links, transports
from peerstore.questions.buckets import check_buckets
from peerstore.questions.fallbacks import fallbacks
from peerstore.store.asking import Asking, positive_micros, window_micros
from peerstore.times import duration_micros


class Links(Asking):
    """Questions about the connections of pairs: contacts, flapping, transports, degree."""

    def contacts(
        self,
        peer: str | None = None,
        other: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        grace: timedelta | float = 0,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Contact]:
        """How often and how long pairs were connected, by type of connection: a :class:`~peerstore.Contact` for each
        pair and type that was there in the window, in the order of their keys.

        The window is ``[since, until)``; where an end is open, from the first observation to the last one. Of all
        pairs, of those of ``peer``, or of the pair ``peer`` and ``other``. Gaps shorter than ``grace`` part no
        episodes. Unobserved time counts neither as connected nor as apart.
        """
        window, pause = window_micros(since, until), duration_micros(grace) or 0
        ends = _ends(peer, other)
        return self._stream(
            lambda connection, scope: links.contacts(connection, self._dictionary, scope, *window, ends, pause),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def flapping(
        self,
        count: int = 3,
        within: timedelta | float = 60,
        shorter_than: timedelta | float | None = None,
        of: Literal["connection", "peer"] = "connection",
        peer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Flapping]:
        """The connections (or the peers) that came and went often or shortly: a :class:`~peerstore.Flapping` for each,
        in the order of their keys.

        Those with at least ``count`` episodes of which the last began less than ``within`` after the first, or with
        one that ended and was shorter than ``shorter_than``. Episodes are the sessions (as of :meth:`sessions`) that
        begin in ``[since, until)``, whole. What began or ended because observers began or ceased to watch is counted
        apart and makes nothing flap. ``peer``: of this peer's connections, or of the peer itself. The SDK tells what
        happens at most once a second: faster flapping is not seen.
        """
        window, span = window_micros(since, until), positive_micros(within, "within")
        short = duration_micros(shorter_than)
        key = None if peer is None else canonical_peer_key(peer)
        if count < 1:
            raise QuestionError(f"count must be at least 1, not {count}")
        if of not in ("connection", "peer"):
            raise QuestionError(f"what may flap is a connection or a peer, not {of!r}")
        return self._stream(
            lambda connection, scope: links.flapping(
                connection, self._dictionary, scope, *window, of, key, count, span, short
            ),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def transports(
        self,
        every: timedelta | float | None = None,
        peer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[TransportMix]:
        """Over what peers were connected: a :class:`~peerstore.TransportMix` for each bucket of time, in order.

        The window is ``[since, until)``; where an end is open, from the first observation to the last one. Its buckets
        begin at the multiples of ``every`` since 1970 UTC (``timedelta(hours=1)``: at full hours), the first and last
        cut at the window; ``None``: the window is one bucket. A bucket that nobody watched is given too. ``peer``: of
        this peer and its connections alone. More than a million buckets are a
        :class:`~peerstore.errors.QuestionError`.
        """
        window = window_micros(since, until)
        length = None if every is None else positive_micros(every, "every")
        key = None if peer is None else canonical_peer_key(peer)
        begin, end = window
        if length is not None and begin is not None and end is not None:
            check_buckets(length, begin, end)
        return self._stream(
            lambda connection, scope: transports.transports(connection, self._dictionary, scope, *window, length, key),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def fallbacks(
        self,
        peer: str | None = None,
        other: str | None = None,
        from_type: str | None = None,
        to_type: str | None = None,
        of: Literal["pair", "peer"] = "pair",
        ends: bool = False,
        grace: timedelta | float = 0,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[TransportChange]:
        """When pairs became connected over other types than before: a :class:`~peerstore.TransportChange` for each
        change in ``[since, until)``, in the order of time.

        ``of="peer"``: of all connections of a peer, with whomever. ``from_type``: only where the change left this type
        (it is in ``before`` and not in ``after``); ``to_type``: only where ``after`` has it; neither regards case.
        So ``from_type="AccessPoint", to_type="Bluetooth"`` finds who fell from the one to the other. What had no
        connection for less than ``grace`` is compared with what it had before. Changes from and to no connection at
        all are left out unless ``ends``; they are of those that lasted at least ``grace``. Over unobserved time, the
        change is against the last known types, and marked ``across_gap``.
        """
        window, pause = window_micros(since, until), duration_micros(grace) or 0
        keys = _ends(peer, other)
        if of not in ("pair", "peer"):
            raise QuestionError(f"fallbacks are of each pair or of each peer, not of {of!r}")
        if of == "peer" and len(keys) == 2:
            raise QuestionError("the fallbacks of a peer regard all its connections: name no other")
        return self._stream(
            lambda connection, scope: fallbacks(
                connection, self._dictionary, scope, *window, of, keys, from_type, to_type, ends, pause
            ),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def degrees(
        self,
        peer: str | None = None,
        caps: Mapping[str, int] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Degree]:
        """How many connections each peer had while it was present, and for how long it was at its caps: a
        :class:`~peerstore.Degree` for each peer, in the order of their keys.

        The window is ``[since, until)``; where an end is open, from the first observation to the last one. ``caps``
        are numbers of connections by type; types joined by ``+`` count together, case is not regarded. By default,
        what a Ditto SDK makes at most: 6 over AccessPoint and WebSocket together, 4 over Bluetooth, 4 over P2PWiFi. A
        connection of a peer with itself counts once.
        """
        window = window_micros(since, until)
        key = None if peer is None else canonical_peer_key(peer)
        limits = [_cap(name, limit) for name, limit in (DEFAULT_CAPS if caps is None else caps).items()]
        return self._stream(
            lambda connection, scope: transports.degrees(connection, self._dictionary, scope, *window, key, limits),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def degree_over(
        self,
        peer: str,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[DegreeStretch]:
        """How many connections a peer had over time: :class:`~peerstore.DegreeStretch`\\ es, one after another without
        a gap, from ``since`` (the first observation) to ``until`` (the last one)."""
        window, key = window_micros(since, until), canonical_peer_key(peer)
        return self._stream(
            lambda connection, scope: transports.degree_over(connection, self._dictionary, scope, *window, key),
            observer,
            known_at,
            max_silence,
            *window,
        )


def _ends(peer: str | None, other: str | None) -> list[str]:
    return [canonical_peer_key(key) for key in (peer, other) if key is not None]


def _cap(name: str, limit: int) -> transports.Cap:
    types = frozenset(part.strip().casefold() for part in name.split("+"))
    if "" in types:
        raise QuestionError(f"a cap is of types of connections, joined by +, and {name!r} names none")
    if limit < 1:
        raise QuestionError(f"a cap must be at least 1, and that of {name} is {limit}")
    return transports.Cap(name, types, limit)
