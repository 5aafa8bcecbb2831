"""What a store can be asked about the observers themselves: coverage, clocks, disagreements."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Literal, cast, get_args

from peerstore.answers.disagreements import Disagreement, DisagreementKind, Disagreements
from peerstore.answers.watching import ClockSkew, Coverage, CoverageGap, CoverageShare
from peerstore.ditto import canonical_peer_key
from peerstore.errors import QuestionError
from peerstore.questions import clocks, disagreements, watching
from peerstore.store.asking import Asking, positive_micros, window_micros
from peerstore.times import duration_micros, micros


class Watching(Asking):
    """Questions about the observers themselves: coverage, gaps, clocks, disagreements."""

    def coverage(
        self,
        observer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Coverage]:
        """When observers were watching: a :class:`~peerstore.Coverage` for each span that overlaps ``[since, until)``,
        whole; by observer, then by time."""
        window = window_micros(since, until)
        return self._stream(
            lambda connection, scope: watching.coverage(connection, scope, *window),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def coverage_gaps(
        self,
        longer_than: timedelta | float = 0,
        of: Literal["observers", "nobody"] | None = None,
        observer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[CoverageGap]:
        """When observers were not watching: a :class:`~peerstore.CoverageGap` for each gap longer than ``longer_than``.

        ``of="observers"``: the gaps of each observer after its first observation that overlap ``[since, until)``,
        whole, by observer, then by time (an open ``until`` is now); ``of="nobody"``: the stretches in which nobody was
        watching (``observer`` is ``None``), cut to ``[since, until)``, or where an end of that is open, to the first
        observation or the last one; ``None``: both, in this order (of one ``observer``: its gaps alone).

        An observer that declares no limit of silence counts as watching however long it says nothing. With a
        ``longer_than``, each step between two of its observations that follow each other and is longer than that is
        also given, with the reason ``quiet``, though what it said last held. To have such a silence count as
        unobserved, ask with ``max_silence`` instead: the same gaps then, and each begins only that much (and one
        microsecond) later, since an observer counts as watching for as long as the limit lasts.
        """
        if of not in ("observers", "nobody", None):
            raise QuestionError(f"coverage gaps are of 'observers' or of 'nobody', not of {of!r}")
        window, length = window_micros(since, until), duration_micros(longer_than) or 0
        now = micros(self._clock())
        of_all = of == "nobody" or (of is None and observer is None)
        return self._stream(
            lambda connection, scope: watching.gaps(
                connection, scope, *window, now, length, of_each=of != "nobody", of_all=of_all
            ),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def coverage_shares(
        self,
        observer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[CoverageShare]:
        """How much of the window each observer watched: a :class:`~peerstore.CoverageShare` for each by key, then one
        (``observer`` ``None``) for how much anybody did.

        The window is ``[since, until)``; where an end is open, from the first observation to the last one; nothing is
        given if there is no observation, or nothing of the history is in the window.
        """
        window = window_micros(since, until)
        return self._stream(
            lambda connection, scope: watching.shares(connection, scope, *window),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def clock_skew(
        self,
        reference: str | None = None,
        within: timedelta | float = 120,
        since: datetime | None = None,
        until: datetime | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[ClockSkew]:
        """By how much the observers' clocks seem to differ, from what several report of the same change: a
        :class:`~peerstore.ClockSkew` for each pair with three matches or more, by key; or, if a ``reference`` is named,
        for each other observer against that one.

        Two reports match if by them the same peer or connection came to be in both views with the same attributes (or
        went from them), at most ``within`` apart. Where one of the two observers reported that more than once around
        that time (what flaps does), no match can be told from another, and none is made. What an observer finds when it
        begins to watch is no report. The offset of a pair is the median of its differences: see
        :class:`~peerstore.ClockSkew`. An offset near ``within``, or beyond, is not found: ask with a longer one.

        Reads every change in ``[since, until)`` before the first answer. Clocks drift, and are set: without ``since``,
        the last six hours of the history before ``until`` are asked, and tell how they stood last.
        """
        window, length = window_micros(since, until), positive_micros(within, "within")
        key = None if reference is None else canonical_peer_key(reference)
        return self._stream(
            lambda connection, scope: clocks.clock_skew(connection, self._dictionary, scope, *window, length, key),
            None,
            known_at,
            max_silence,
            *window,
        )

    def disagreements_at(
        self,
        at: datetime,
        peer: str | None = None,
        kinds: Collection[str] | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Disagreements:
        """Where the views of the observers that were watching at an instant do not fit together.

        ``peer`` and ``kinds`` are as in :meth:`disagreements`. With fewer than two observers watching, nothing but a
        ``listing`` can be found: see ``observers`` in the :class:`~peerstore.Disagreements`.
        """
        moment, wanted = micros(at), _kinds(kinds)
        key = None if peer is None else canonical_peer_key(peer)
        with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
            asked = disagreements.asked(connection, self._dictionary, key, wanted)
            return disagreements.Question(connection, self._dictionary, scope, asked).at(moment)

    def disagreements(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        peer: str | None = None,
        kinds: Collection[str] | None = None,
        longer_than: timedelta | float = 0,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[Disagreement]:
        """Where the views of watching observers did not fit together within ``[since, until)``, and for how long: a
        :class:`~peerstore.Disagreement` for each, as it ends; then those that held when the range ended, by start.

        ``peer``: only what is about that peer or a connection of it. ``kinds``: some of ``peer``, ``attribute``,
        ``connection``, ``listing``. ``longer_than``: only those that held longer within the range (one that has not
        ended is measured until the range's end; in a range without end, it is longer than anything).

        Only observers that are watching can disagree; unobserved time is in no disagreement, and one that ends since an
        observer stopped watching says so. The SDK's ``is_compatible`` is relative to the observer and therefore left
        out. Islands see different things, and rightly so: a disagreement is not an error.
        """
        window, wanted, length = window_micros(since, until), _kinds(kinds), duration_micros(longer_than) or 0
        key = None if peer is None else canonical_peer_key(peer)

        def answers() -> Iterator[Disagreement]:
            with self._asking(observer, known_at, max_silence, *window) as (connection, scope):
                asked = disagreements.asked(connection, self._dictionary, key, wanted)
                yield from disagreements.Question(connection, self._dictionary, scope, asked).over(*window, length)

        return answers()


def _kinds(kinds: Collection[str] | None) -> frozenset[DisagreementKind]:
    every = get_args(DisagreementKind)
    wanted = frozenset(every if kinds is None else [kinds] if isinstance(kinds, str) else kinds)
    unknown = sorted(wanted - set(every))
    if unknown:
        raise QuestionError(
            f"there is no kind of disagreement named {', '.join(unknown)}: the kinds are {', '.join(every)}"
        )
    return cast("frozenset[DisagreementKind]", wanted)
