"""What a store can be asked about links to the cloud: since when, over whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from peerstore import inventory
from peerstore.answers.cloud import CloudPresence, CloudSession, CloudStretch
from peerstore.ditto import canonical_peer_key
from peerstore.model import ElementKind
from peerstore.presence import presence_at
from peerstore.questions.cloud import CloudStays, cloud_of, cloud_over
from peerstore.questions.mesh import graph_library
from peerstore.store.asking import Asking, window_micros
from peerstore.times import instant, micros


class Cloud(Asking):
    """Questions about links to the cloud: since when, over whom."""

    def cloud_sessions(
        self,
        peer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[CloudSession]:
        """When a present peer (or each one) had its own link to the cloud without a break: the sessions that overlap
        ``[since, until)``, whole, with their true starts and ends; as they end, then those that hold.

        A session ends where the peer no longer says so, where it is no longer present, and where nobody watches any
        more: what came then is unknown.
        """
        window = window_micros(since, until)
        key = None if peer is None else canonical_peer_key(peer)

        def answers() -> Iterator[CloudSession]:
            with self._asking(observer, known_at, max_silence, *window) as (connection, scope):
                elements: ElementKind | list[int] = "peer" if key is None else inventory.peer_elements(connection, key)
                for stay in CloudStays(connection, self._dictionary, scope, elements).over(*window):
                    element = self._dictionary.elements(connection, [stay.element])[stay.element]
                    end = None if stay.end is None else instant(stay.end)
                    yield CloudSession(element.key, instant(stay.start), end, observer, stay.reason)

        return answers()

    def cloud_at(
        self,
        at: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> CloudPresence:
        """Who had a link of its own to the cloud at an instant, and over which paths everybody else reached one.

        Needs networkx (the extra ``graph``): else :class:`~peerstore.errors.MissingExtra`.
        """
        graph_library("cloud_at")
        moment = micros(at)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return cloud_of(presence_at(connection, self._dictionary, scope, moment))

    def cloud_over(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[CloudStretch]:
        """Who were the bridges to the cloud, and when there was none: stretches that cover ``[since, until)`` one after
        another, each with other bridges than the one before it. Stretches over which nobody was watching are among
        them, as not known. An open end of the window is that of the history: the first or last observation."""
        window = window_micros(since, until)
        return self._stream(
            lambda connection, scope: cloud_over(connection, self._dictionary, scope, *window),
            observer,
            known_at,
            max_silence,
            *window,
        )
