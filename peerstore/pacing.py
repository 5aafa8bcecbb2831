"""Giving graphs in the rhythm in which they were seen.

What waits and what tells the time are given from outside, so that nothing here sleeps unless it is told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime, timedelta

from peerstore.answers.replaying import ObservedGraph

LONGEST_NAP = 3600.0
GRAPHS_AT_ONCE = 16

Ask = Callable[[datetime | None, str | None], Iterator[ObservedGraph]]
"""The graphs of an observer (``None``: not known yet) from a time on."""


def paced(
    graphs: Iterable[ObservedGraph],
    speed: float,
    wait: Callable[[float], None],
    clock: Callable[[], float],
    since: datetime | None = None,
    longest_wait: timedelta | None = None,
) -> Iterator[ObservedGraph]:
    """The graphs, each when its time has come: ``speed`` seconds of theirs pass in one of ``clock``'s.

    The first one comes at once; one from before ``since`` counts as of then. No wait is longer than ``longest_wait``.
    Whoever takes them late is not waited for again: the next ones come sooner, until the rhythm is reached.
    """
    due = last = None
    for each in graphs:
        at = each.observed_at if since is None else max(each.observed_at, since)
        if due is None or last is None:
            due = clock()
        else:
            gap = (at - last).total_seconds() / speed
            due += gap if longest_wait is None else min(gap, longest_wait.total_seconds())
        while (left := due - clock()) > 0:
            wait(min(left, LONGEST_NAP))
        last = at
        yield each


def in_pieces(
    ask: Ask, since: datetime | None, observer: str | None, size: int = GRAPHS_AT_ONCE
) -> Iterator[ObservedGraph]:
    """The graphs of one observer, asked for a few at a time: whoever takes hours over them keeps no snapshot of the
    database open, and gets what is recorded meanwhile."""
    last: datetime | None = None
    while True:
        with closing(ask(since if last is None else last, observer)) as graphs:  # type: ignore[type-var]
            piece = _piece(graphs, last, size)
        yield from piece
        if len(piece) < size:
            return
        last, observer = piece[-1].observed_at, piece[-1].observer


def _piece(graphs: Iterator[ObservedGraph], last: datetime | None, size: int) -> list[ObservedGraph]:
    """The first graphs after ``last``, at least ``size`` if there are as many, and none of an instant parted from its
    others."""
    piece: list[ObservedGraph] = []
    for each in graphs:
        if last is not None and each.observed_at <= last:
            continue  # given already: asked for again, so that what is equal to it is known to be
        if len(piece) >= size and each.observed_at != piece[-1].observed_at:
            break
        piece.append(each)
    return piece
