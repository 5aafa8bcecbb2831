"""The graphs of one observer, one after another, as its app was given them.

An app that observes presence is given the graph at once, and then each time that it changed. So the first graph is
that which was in force when the window began, if the observer was watching then; a graph equal to the one before is
left out, unless the observer was not watching in between: an app that came back was given the graph anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from sqlalchemy.engine import Connection

from peerstore.answers.replaying import ObservedGraph
from peerstore.coverage import Scope, is_watching
from peerstore.dictionary import Dictionary
from peerstore.ditto_render import Shape
from peerstore.errors import QuestionError
from peerstore.keyframes import State
from peerstore.rendering import Rendering
from peerstore.replay import Replayed, replayed
from peerstore.states import AFTER_ALL, BEFORE_ALL, Logged, Position, at_end_of, last_logged, logged_between
from peerstore.times import instant, iso

MOST_NAMED = 3


def observed_graphs(
    connection: Connection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    shape: Shape,
    every: bool = False,
) -> Iterator[ObservedGraph]:
    """The graphs of the one observer that has any in ``[since, until)``; with ``every``, of every observation of it,
    stop markers too. :class:`~peerstore.errors.QuestionError` if several observers have some."""
    since = scope.begin(since)
    keys = [key for key, number in scope.observers.items() if _has_any(connection, number, scope, since, until, every)]
    if not keys:
        return
    key = the_one_observer(keys, _when(since, until))
    replay = replayed(connection, {key: scope.observers[key]}, since, until, scope.known_at, lead_in=True)
    opened = _opened(replay, scope, since)
    rendering = Rendering(connection, dictionary, shape)
    for each in opened if every else _changed(opened, scope):
        logged, text = each.logged, rendering.text(each).decode()
        silence = None if logged.max_silence is None else timedelta(microseconds=logged.max_silence)
        yield ObservedGraph(
            key, instant(logged.observed_at), logged.sequence, None if logged.stopped else text, silence
        )


def the_one_observer(keys: Sequence[str], when: str) -> str:
    """The only one of the observers; :class:`~peerstore.errors.QuestionError` that names them if there are others."""
    if len(keys) > 1:
        rest = len(keys) - MOST_NAMED
        named = ", ".join(keys[:MOST_NAMED]) + (f" and {rest} more (`peerstore observers`)" if rest > 0 else "")
        raise QuestionError(
            f"a Ditto graph is the view of one observer, and {len(keys)} were watching {when}: {named}; choose one with"
            " observer= (--observer)"
        )
    return keys[0]


def _when(since: int | None, until: int | None) -> str:
    bounds = [word + iso(at) for word, at in (("from ", since), ("until ", until)) if at is not None]
    return " ".join(bounds) or "at one time or another"


def _has_any(
    connection: Connection, number: int, scope: Scope, since: int | None, until: int | None, every: bool
) -> bool:
    start, end = _places(since, until)
    if since is not None and (until is None or since < until):
        in_force = last_logged(connection, number, at_end_of(since), scope.known_at)
        if is_watching(in_force, since, scope):
            return True
    logged = logged_between(connection, number, start, end)
    known = (each for each in logged if scope.known_at is None or each.recorded_at <= scope.known_at)
    return any(every or not each.stopped for each in known)


def _places(since: int | None, until: int | None) -> tuple[Position, Position]:
    start = BEFORE_ALL if since is None else at_end_of(since - 1)
    return start, AFTER_ALL if until is None else at_end_of(until - 1)


def _opened(replay: Iterator[Replayed], scope: Scope, since: int | None) -> Iterator[Replayed]:
    """What was observed in the window, and before it the graph in force when it began, if it was watched then."""
    if since is None:
        yield from replay
        return
    before: Replayed | None = None
    for each in replay:
        if each.logged.observed_at >= since:
            if before is not None and each.logged.observed_at > since:
                yield before
                yield each
            else:
                yield each._replace(changed=None)
            break
        # A copy of the state, since the replay goes on.
        watched = is_watching(each.logged, since, scope)
        before = each._replace(state=dict(each.state), changed=None) if watched else None
    else:
        if before is not None:
            yield before
    yield from replay


def _changed(observations: Iterator[Replayed], scope: Scope) -> Iterator[Replayed]:
    """The observations whose graph an app was given: changed, or the first one since the observer watches."""
    shown: State = {}
    changed: set[int] | None = None
    previous: Logged | None = None
    for each in observations:
        logged = each.logged
        changed = None if changed is None or each.changed is None else changed.union(each.changed)
        began = not is_watching(previous, logged.observed_at - 1, scope)
        if not logged.stopped and (began or (changed != set() and each.state != shown)):
            shown = dict(each.state)
            yield each._replace(changed=None if changed is None else tuple(changed))
            changed = set()
        previous = logged
