"""Presence at a moment and over time; what changed, and who was there for how long."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from peerstore import inventory
from peerstore.answers.changes import AttributeChange, Change, Difference
from peerstore.answers.sessions import ConnectionSession, Session, clipped
from peerstore.canonical import steps_of
from peerstore.ditto import canonical_peer_key
from peerstore.errors import QuestionError
from peerstore.model import Connection
from peerstore.presence import Presence, difference, presence_at, state_of
from peerstore.questions.changes import (
    Question,
    attribute_changes,
    changing_peers,
    checked_kinds,
    presence_over,
    tell_inside,
)
from peerstore.questions.sessions import Sessions, Stay
from peerstore.store.asking import Asking, window_micros
from peerstore.times import duration_micros, instant, iso, micros


class History(Asking):
    """Questions about moments, changes and sessions."""

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
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return presence_at(connection, self._dictionary, scope, moment)

    def ids_at(
        self,
        at: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> dict[int, int]:
        """The same, in the ids of the tables: for each ``element.id`` that was present its ``document.id``, to be
        joined with other tables in SQL. Of a connection that observers saw with different documents, one of these."""
        moment = micros(at)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return state_of(connection, self._dictionary, scope, moment)

    def diff(
        self,
        since: datetime,
        until: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
        path: str | None = None,
        inside: bool = False,
    ) -> Difference:
        """What is different at ``until`` from what was at ``since``: see :class:`~peerstore.answers.Difference`.

        With ``path`` (a JSON Pointer), only the attributes at it or below it. With ``inside``, it is told too who came
        and went between the two moments, or left and returned, which the two alone do not show: it costs a walk over
        all that changed between them.
        """
        moments = micros(since), micros(until)
        steps_of(path or "")
        with self._asking(observer, known_at, max_silence, min(moments)) as (connection, scope):
            found = difference(connection, self._dictionary, scope, *moments, path)
            if inside:
                tell_inside(connection, self._dictionary, scope, found)
            return found

    def changes(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        peer: str | None = None,
        observer: str | None = None,
        kinds: Collection[str] | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
        path: str | None = None,
    ) -> Iterator[Change]:
        """Every change in ``[since, until)``, in order of time; of one peer and its connections, if one is named.

        With ``kinds``, only those (a walk reads the rows of nothing else); with ``path`` (a JSON Pointer), only the
        changes of attributes at it or below it: where the object that holds the place came or went as a whole, the
        place did with it, and is told at its own path.
        """
        window = window_micros(since, until)
        steps_of(path or "")
        key, wanted = None if peer is None else canonical_peer_key(peer), checked_kinds(kinds, path)
        return self._stream(
            lambda connection, scope: Question(connection, self._dictionary, scope, *window, key, path=path).changes(
                wanted
            ),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def metadata_changes(
        self,
        peer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
        path: str | None = None,
    ) -> Iterator[AttributeChange]:
        """Every attribute of a peer that took another value in ``[since, until)``, in order of time; with ``path``, as
        in :meth:`changes`."""
        window = window_micros(since, until)
        steps_of(path or "")
        key = None if peer is None else canonical_peer_key(peer)

        def answers() -> Iterator[AttributeChange]:
            with self._asking(observer, known_at, max_silence, *window) as (connection, scope):
                elements = changing_peers(connection) if key is None else inventory.peer_elements(connection, key)
                question = Question(connection, self._dictionary, scope, *window, elements=elements, path=path)
                yield from attribute_changes(question)

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
            with self._asking(observer, known_at, max_silence, begin) as (connection, scope):
                if begin < end:
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
        clip: bool = False,
    ) -> Iterator[Session]:
        """The sessions of peers that overlap ``[since, until)``, with their true starts and ends; as they end, then
        those that hold. With ``clip``, the parts of them that lie in the range, marked where they are cut."""
        window, pause = window_micros(since, until), duration_micros(grace) or 0
        cuts = [None if bound is None or not clip else instant(bound) for bound in window]
        key = None if peer is None else canonical_peer_key(peer)

        def answers() -> Iterator[Session]:
            with self._asking(observer, known_at, max_silence, *window) as (connection, scope):
                elements = None if key is None else inventory.peer_elements(connection, key)
                stays = Sessions(connection, self._dictionary, scope, "peer", elements, pause).over(*window)
                for stay in stays:
                    element = self._dictionary.elements(connection, [stay.element])[stay.element]
                    session = Session(
                        element.key, *_bounds(stay), observer, stay.reason, stay.gaps, began_before=stay.began_before
                    )
                    yield clipped(session, *cuts)

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
        clip: bool = False,
    ) -> Iterator[ConnectionSession]:
        """The sessions of connections, of those of one peer, or of those between two: as :meth:`sessions`."""
        window, pause = window_micros(since, until), duration_micros(grace) or 0
        cuts = [None if bound is None or not clip else instant(bound) for bound in window]
        ends = [canonical_peer_key(key) for key in (peer, other) if key is not None]

        def answers() -> Iterator[ConnectionSession]:
            with self._asking(observer, known_at, max_silence, *window) as (connection, scope):
                elements = inventory.connection_elements(connection, ends) if ends else None
                stays = Sessions(connection, self._dictionary, scope, "connection", elements, pause).over(*window)
                for stay in stays:
                    element = self._dictionary.elements(connection, [stay.element])[stay.element]
                    link = Connection(element.id, element.key, element.other, element.type)
                    session = ConnectionSession(
                        link, *_bounds(stay), observer, stay.reason, stay.gaps, began_before=stay.began_before
                    )
                    yield clipped(session, *cuts)

        return answers()


def _bounds(stay: Stay) -> tuple[datetime, datetime | None]:
    return instant(stay.start), None if stay.end is None else instant(stay.end)
