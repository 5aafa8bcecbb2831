"""What a store can be asked about the shape of the mesh: islands, cut peers, paths."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from peerstore.answers.shape import Cuts, Distances, IslandChange, Islands, MeshPath, PathStretch
from peerstore.ditto import canonical_peer_key
from peerstore.presence import presence_at
from peerstore.questions.islands import islands_over
from peerstore.questions.mesh import graph_library
from peerstore.questions.shape import cuts_of, distances_of, islands_of, path_of, paths_over
from peerstore.store.asking import Asking, window_micros
from peerstore.times import micros


class Shape(Asking):
    """Questions about the shape of the mesh: islands, cut peers, paths.

    All of them need networkx (the extra ``graph``): else :class:`~peerstore.errors.MissingExtra`. Two peers are joined
    where at least one connection between them is present; :mod:`peerstore.answers.shape` says what is left out.
    """

    def islands_at(
        self,
        at: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Islands:
        """The islands of the mesh at an instant: groups of peers that could reach each other, and nobody else. A peer
        without any connection is an island of its own."""
        graph_library("islands_at")
        moment = micros(at)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return islands_of(presence_at(connection, self._dictionary, scope, moment))

    def islands_over(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        peer: str | None = None,
        members: bool = False,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[IslandChange]:
        """When the mesh split and merged in ``[since, until)``, in the order of time; with ``peer``, the changes of its
        island alone.

        The comings and goings of peers that neither part nor join others are listed with ``members`` alone. While
        nobody watches nothing changes; what is different when somebody watches again is a change ``across_gap``.
        """
        graph_library("islands_over")
        window = window_micros(since, until)
        key = None if peer is None else canonical_peer_key(peer)
        return self._stream(
            lambda connection, scope: islands_over(connection, self._dictionary, scope, *window, key, members),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def cuts_at(
        self,
        at: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Cuts:
        """The peers and connections that alone held parts of the mesh together at an instant, and who would be lost
        with each."""
        graph_library("cuts_at")
        moment = micros(at)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return cuts_of(presence_at(connection, self._dictionary, scope, moment))

    def path_at(
        self,
        peer: str,
        other: str,
        at: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> MeshPath:
        """How far two peers were from each other at an instant, and over which shortest paths."""
        graph_library("path_at")
        ends, moment = (canonical_peer_key(peer), canonical_peer_key(other)), micros(at)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return path_of(presence_at(connection, self._dictionary, scope, moment), *ends)

    def paths_over(
        self,
        peer: str,
        other: str,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[PathStretch]:
        """How far two peers were from each other over time: stretches that cover ``[since, until)`` one after another,
        each with another state or another path than the one before it. An open end of the window is that of the
        history: the first or last observation."""
        graph_library("paths_over")
        window = window_micros(since, until)
        ends = canonical_peer_key(peer), canonical_peer_key(other)
        return self._stream(
            lambda connection, scope: paths_over(connection, self._dictionary, scope, *window, ends),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def distances_at(
        self,
        peer: str,
        at: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Distances:
        """How many hops every present peer was from one of them at an instant: which it was connected to, which it
        could reach through others, which not at all. With ``observer``, in that observer's own view."""
        graph_library("distances_at")
        key, moment = canonical_peer_key(peer), micros(at)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return distances_of(presence_at(connection, self._dictionary, scope, moment), key)
