"""How much happened: changes per bucket of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.activity import Activity
from peerstore.coverage import Scope, measured_window, watched
from peerstore.dictionary import Dictionary
from peerstore.questions.buckets import check_buckets
from peerstore.questions.changes import KINDS, Question
from peerstore.times import EARLIEST, LATEST, instant, micros


def activity(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    every: int,
    since: int | None,
    until: int | None,
    peer: str | None = None,
) -> Iterator[Activity]:
    """Every bucket of the window, in order, the empty ones too. Where the question leaves the end open, the last
    observation is the last that counts."""
    since = scope.begin(since)
    window = _window(connection, scope, since, until)
    if window is None:
        return
    begin, end = window
    counted = end + 1 if until is None else end
    check_buckets(every, begin, counted)
    asked = None if since is None else begin  # before the first observation there is nothing to look back to
    changes = Question(connection, dictionary, scope, asked, counted, peer).changes()
    counts = _counted((micros(change.observed_at) // every, change.kind) for change in changes)
    known = _known(watched(connection, scope, begin, end), every)
    following, lit = next(counts, None), next(known, None)
    for number in range(begin // every, (counted - 1) // every + 1):
        kinds: Counter[str] = Counter()
        while following is not None and following[0] <= number:
            kinds.update(following[1])
            following = next(counts, None)
        time = 0
        while lit is not None and lit[0] <= number:
            time += lit[1]
            lit = next(known, None)
        yield _bucket(number, every, kinds, time, begin, end)


def _window(
    connection: DatabaseConnection, scope: Scope, since: int | None, until: int | None
) -> tuple[int, int] | None:
    """The window that is measured; unlike :func:`measured_window`, it may be a single instant."""
    window = measured_window(connection, scope, since, LATEST + 1 if until is None else until)
    history = measured_window(connection, scope, scope.before_all, None)
    if window is None or (until is None and (history is None or window[0] > history[1])):
        return None
    return window if history is None or until is not None else (window[0], history[1])


def _bucket(number: int, every: int, kinds: Counter[str], known: int, since: int, until: int) -> Activity:
    start, end = number * every, (number + 1) * every
    asked = max(min(end, until) - max(start, since), 0)
    return Activity(
        _shown(start),
        _shown(end),
        {kind: kinds[kind] for kind in KINDS},
        timedelta(microseconds=known),
        timedelta(microseconds=asked - known),
    )


def _counted(changes: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Counter[str]]]:
    """The kinds of the changes of each bucket that has any."""
    last, kinds = 0, Counter[str]()
    for number, kind in changes:
        if kinds and number != last:
            yield last, kinds
            kinds = Counter()
        last = number
        kinds[kind] += 1
    if kinds:
        yield last, kinds


def _known(stretches: Iterable[tuple[int, int]], every: int) -> Iterator[tuple[int, int]]:
    """For how long anybody was watching, by bucket: the pieces of the stretches."""
    for start, end in stretches:
        for number in range(start // every, (end - 1) // every + 1):
            yield number, min(end, (number + 1) * every) - max(start, number * every)


def _shown(at: int) -> datetime:
    return instant(min(max(at, EARLIEST), LATEST))
