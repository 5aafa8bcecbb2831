"""What a store can be asked about how much happened: changes per time, and as they come."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from peerstore.answers.activity import Activity as Bucket
from peerstore.answers.changes import Change
from peerstore.canonical import steps_of
from peerstore.ditto import canonical_peer_key
from peerstore.questions.activity import activity
from peerstore.questions.buckets import check_buckets
from peerstore.questions.changes import checked_kinds
from peerstore.questions.following import Following, Wanted
from peerstore.store.asking import Asking, positive_micros, window_micros
from peerstore.times import LATEST, micros


class Activity(Asking):
    """Questions about how much happened: changes per time, and as they come."""

    def activity(
        self,
        every: timedelta | float = timedelta(minutes=1),
        since: datetime | None = None,
        until: datetime | None = None,
        peer: str | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Bucket]:
        """How many changes of each kind there were in every bucket of time of ``[since, until)``, of one peer and its
        connections if one is named: see :class:`~peerstore.answers.activity.Activity`.

        ``since`` and ``until`` default to the first and the last observation (which still counts). Buckets without any
        change are given too; more than a million are a :class:`~peerstore.errors.QuestionError`.
        """
        width, window = positive_micros(every, "a bucket"), window_micros(since, until)
        key = None if peer is None else canonical_peer_key(peer)
        if window[0] is not None and window[1] is not None:
            check_buckets(width, window[0], window[1])
        return self._stream(
            lambda connection, scope: activity(connection, self._dictionary, scope, width, *window, key),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def follow(
        self,
        since: datetime | None = None,
        interval: timedelta | float = 1.0,
        kinds: Collection[str] | None = None,
        peer: str | None = None,
        path: str | None = None,
        observer: str | None = None,
        stop: threading.Event | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Change]:
        """The changes since ``since`` (nothing of the past, if it is not given), then new ones as they are recorded, by
        this process or another: for ever, or until ``stop`` is set (what is recorded by then is still told).

        Changes come in the order of time, up to the newest observation that is recorded; that an observer has fallen
        silent is told once the store's clock passes its limit. Where an observation is recorded *late*, that is, of a
        time of which was told already, the past has become another one: changes that were not told come with ``late``
        set, and those that were told and are no more, with ``withdrawn``; so whoever adds up what is told, and takes
        away what is withdrawn, has what :meth:`changes` answers. (A change that only another observer reports first now
        is not told again.)

        Every ``interval`` one small statement asks whether anything is new. No snapshot is held while waiting. To find
        late observations costs a look through the log of each observer that has spoken; where that takes long, they are
        looked for less often: so that it takes at most a twentieth of the time.
        """
        pause = positive_micros(interval, "an interval") / 1_000_000
        begin = None if since is None else micros(since)
        steps_of(path or "")
        key = None if peer is None else canonical_peer_key(peer)
        wanted = Wanted(key, checked_kinds(kinds, path), path)
        following = Following(self._dictionary, lambda: micros(self._clock()), wanted, begin)
        with self._asking(observer, None, max_silence, LATEST if begin is None else begin) as (connection, scope):
            following.begin(connection, scope)
        return self._told(following, observer, max_silence, pause, stop or threading.Event())

    def _told(
        self,
        following: Following,
        observer: str | None,
        max_silence: timedelta | float | None,
        pause: float,
        stop: threading.Event,
    ) -> Iterator[Change]:
        while True:
            last = stop.is_set()
            with self._database.reading() as connection:
                news = following.has_news(connection, last)
            if news:
                with self._asking(observer, None, max_silence, LATEST) as (connection, scope):
                    yield from following.told(connection, scope, last)
            if last:
                return
            stop.wait(pause)
