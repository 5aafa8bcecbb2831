"""What a store can be asked about why a peer was as it was at a moment, and what an answer rests on."""

from __future__ import annotations

from datetime import datetime, timedelta

from peerstore.answers.why import Evidence
from peerstore.answers.why import Why as Answer
from peerstore.canonical import steps_of
from peerstore.ditto import canonical_peer_key
from peerstore.errors import QuestionError
from peerstore.questions.evidence import Asked as Fact
from peerstore.questions.evidence import evidence
from peerstore.questions.why import Asked, why
from peerstore.store.asking import Asking
from peerstore.times import duration_micros, micros


class Why(Asking):
    """Questions about why a peer was as it was at a moment, and what an answer rests on."""

    def why(
        self,
        peer: str,
        at: datetime,
        within: timedelta | float = timedelta(seconds=60),
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Answer:
        """All that bears on how a peer was at a moment: for "why did it not sync at 14:03?".

        Was it seen, by whom, by whom not; its links, its way to the cloud, its SDK; what changed of it last before and
        next after; its sessions; its presence ``within`` before and after; what the observers were doing; and what of
        that can be said in words: see :class:`~peerstore.answers.why.Why`. Costs what this peer's own history does, and
        a few presences.
        """
        asked = Asked(canonical_peer_key(peer), micros(at), duration_micros(within) or 0)
        with self._asking(observer, known_at, max_silence, asked.at) as (connection, scope):
            return why(connection, self._dictionary, scope, asked)

    def evidence(
        self,
        at: datetime,
        peer: str,
        other: str | None = None,
        path: str | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Evidence:
        """The observations that a fact of the presence at a moment rests on, and whose word was taken: that ``peer``
        was there or not; with ``path`` (a JSON Pointer), what that attribute of it was; with ``other``, whether the two
        were connected: see :class:`~peerstore.answers.why.Evidence`."""
        if other is not None and path is not None:
            raise QuestionError("only peers have attributes: ask either about a path or about a connection")
        steps_of(path or "")
        moment = micros(at)
        fact = Fact(canonical_peer_key(peer), None if other is None else canonical_peer_key(other), path)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            return evidence(connection, self._dictionary, scope, moment, fact)
