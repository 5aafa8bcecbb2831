"""Questions about how long peers were there, away, or not looked at."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy.engine import Connection

from peerstore.answers.online import PresenceState, Stretch, Uptime
from peerstore.answers.sessions import EndReason
from peerstore.coverage import Scope, measured_window
from peerstore.dictionary import Dictionary
from peerstore.inventory import all_peers
from peerstore.remnants import held_before_horizon
from peerstore.times import MICROSECOND, instant
from peerstore.walk import Walk, growing_parts

_NEVER_RECORDED = -1  # the id of a peer that has no rows


class Piece(NamedTuple):
    """A peer was in one state over ``[start, end)``, which the state before and the one after it are not."""

    element: int
    state: PresenceState
    start: int
    end: int
    reason: EndReason | None


def uptimes(
    connection: Connection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    peer: str | None = None,
) -> Iterator[Uptime]:
    """How much of the measured window each peer was present, absent and unobserved, by key; or one of them."""
    window = measured_window(connection, scope, since, until)
    if window is not None:
        for key, pieces in _peers_in(connection, dictionary, scope, *window, peer):
            yield _uptime(key, *window, pieces)


def timeline(
    connection: Connection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    peer: str | None = None,
) -> Iterator[Stretch]:
    """The stretches of each peer, by key and then in order of time, that make up the measured window; or of one."""
    window = measured_window(connection, scope, since, until)
    if window is not None:
        for key, pieces in _peers_in(connection, dictionary, scope, *window, peer):
            for piece in pieces:
                yield Stretch(key, piece.state, instant(piece.start), instant(piece.end), piece.reason)


def _uptime(key: str, since: int, until: int, pieces: list[Piece]) -> Uptime:
    lengths: dict[PresenceState, list[int]] = {"present": [0], "absent": [0], "unobserved": [0]}
    for piece in pieces:
        lengths[piece.state].append(piece.end - piece.start)
    present, absent, unobserved = (_duration(sum(each)) for each in lengths.values())
    sessions, longest = len(lengths["present"]) - 1, _duration(max(lengths["absent"]))
    return Uptime(key, instant(since), instant(until), present, absent, unobserved, sessions, longest)


def _duration(count: int) -> timedelta:
    return count * MICROSECOND


def _peers_in(
    connection: Connection, dictionary: Dictionary, scope: Scope, since: int, until: int, peer: str | None
) -> Iterator[tuple[str, list[Piece]]]:
    """The pieces of ``[since, until)`` for every peer, by key, that was ever present before its end; or for the one
    asked for, even if that never was."""
    keys = all_peers(connection, peer)
    if peer is not None and not keys:
        keys = {_NEVER_RECORDED: peer}
    for part in growing_parts(keys):
        walk = Walk(connection, dictionary, scope, since, until, set(part))
        seen: set[int] = set()
        pieces: dict[int, list[Piece]] = {number: [] for number in part}
        for piece in _pieces(walk, part, since, until):
            pieces[piece.element].append(piece)
            if piece.state == "present":
                seen.add(piece.element)
        if peer is None:
            seen |= _ever_present(connection, dictionary, scope, set(part) - seen, since)
        for number in part:
            if number in seen or peer is not None:
                yield keys[number], pieces[number]


def _pieces(walk: Walk, elements: Collection[int], since: int, until: int) -> Iterator[Piece]:
    """The pieces of a walk over ``[since, until)``, in the order of their ends."""
    states = {number: (_state(walk, number), since) for number in elements}
    for moment in walk:
        for number in elements if moment.lit != moment.lit_before else moment.changed:
            (state, start), now = states[number], _state(walk, number)
            if state != now:
                yield Piece(number, state, start, moment.at, moment.end_reason(number) if state == "present" else None)
                states[number] = now, moment.at
    for number, (state, start) in states.items():
        yield Piece(number, state, start, until, None)


def _state(walk: Walk, element: int) -> PresenceState:
    if not walk.lit:
        return "unobserved"
    return "present" if element in walk.shown else "absent"


def _ever_present(
    connection: Connection, dictionary: Dictionary, scope: Scope, elements: Collection[int], until: int
) -> set[int]:
    """Which of some elements were ever present before an instant."""
    found = held_before_horizon(connection, scope, elements)
    rest = set(elements) - found
    if rest:
        walk = Walk(connection, dictionary, scope, scope.before_all, until, rest)
        found.update(walk.shown)
        for moment in walk:
            if found.issuperset(rest):
                break
            found.update(number for number, (_, after) in moment.changed.items() if after is not None)
    return found
