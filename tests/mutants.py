"""Stores that break one rule of the time model each, to prove that the tests would notice.

Each is a context manager that exchanges one place of the store, and is named after what the broken store does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from peerstore import coverage, keyframe_spacing, keyframes, presence, recording, states
from peerstore.answers.changes import Change
from peerstore.chain import Chain
from peerstore.merging import Holders
from peerstore.questions import changes
from peerstore.questions.sessions import Sessions
from peerstore.recording import Recorder
from peerstore.store.asking import Asking
from peerstore.times import micros

Mutant = Callable[[], AbstractContextManager[None]]

MUTANTS: Final[list[Mutant]] = []


def mutant(broken: Callable[[], Iterator[None]]) -> Mutant:
    made = contextmanager(broken)
    MUTANTS.append(made)
    return made


@contextmanager
def everywhere(function: Any, instead: Any) -> Iterator[None]:
    """Exchange a function in every module of the store that holds it."""
    called: str = function.__name__
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("peerstore.") and module.__dict__.get(called) is function:
                stack.enter_context(patch.object(module, called, instead))
        yield


@contextmanager
def method(owner: type, name: str, instead: Callable[..., Any]) -> Iterator[None]:
    """Exchange a method; ``instead`` is given the true one before its arguments."""
    true = getattr(owner, name)
    with patch.object(owner, name, lambda *args, **kwargs: instead(true, *args, **kwargs)):
        yield


@mutant
def late_observation_does_not_mend_its_successor() -> Iterator[None]:
    def mend(true: Any, chain: Chain, *args: Any) -> None:
        changes, deleted = list(chain.edits.changes), list(chain.edits.deleted)
        true(chain, *args)
        chain.edits.changes, chain.edits.deleted = changes, deleted

    with method(Chain, "_mend", mend):
        yield


@mutant
def late_observation_does_not_mend_the_gap_after_it() -> Iterator[None]:
    def pass_stored(true: Any, chain: Chain, *args: Any) -> None:
        true(chain, *args)
        chain.edits.gaps.clear()

    with method(Chain, "pass_stored", pass_stored):
        yield


@mutant
def ties_ignore_the_sequence() -> Iterator[None]:
    with everywhere(states.at_end_of, lambda moment: states.Position(moment, 0)):
        yield


@mutant
def silence_ends_one_microsecond_early() -> Iterator[None]:
    true = coverage.silence_end

    def silence_end(*args: Any) -> int | None:
        end = true(*args)
        return None if end is None else end - 1

    with everywhere(true, silence_end):
        yield


@mutant
def stop_marker_is_ignored() -> Iterator[None]:
    true = coverage.is_watching

    def is_watching(logged: Any, *args: Any) -> bool:
        return true(logged and logged._replace(stopped=0), *args)

    with everywhere(true, is_watching):
        yield


@mutant
def duplicate_counts_as_a_change() -> Iterator[None]:
    def meet(true: Any, chain: Chain, item: Any, logged: Any) -> None:
        true(chain, item, logged)
        item.result.changes = 1

    with method(Chain, "meet", meet):
        yield


@mutant
def conflict_passes_for_a_duplicate() -> Iterator[None]:
    def meet(_: Any, chain: Chain, item: Any, logged: Any) -> None:
        item.result.status = "duplicate"

    with method(Chain, "meet", meet):
        yield


@mutant
def conflict_within_a_batch_overwrites() -> Iterator[None]:
    with method(recording._Observing, "merge", lambda true, observing, items: true(observing, items[::-1])):
        yield


@mutant
def recorded_at_follows_the_clock_backwards() -> Iterator[None]:
    with patch.object(Recorder, "_now", lambda *args: micros(args[0]._clock())):
        yield


@mutant
def known_at_is_ignored() -> Iterator[None]:
    def ask(true: Any, store: Asking, observer: Any, _: Any, *others: Any) -> Any:
        return true(store, observer, None, *others)

    with method(Asking, "_asking", ask):
        yield


@mutant
def max_silence_of_the_question_is_ignored() -> Iterator[None]:
    def ask(true: Any, store: Asking, observer: Any, known_at: Any, _: Any, *others: Any) -> Any:
        return true(store, observer, known_at, None, *others)

    with method(Asking, "_asking", ask):
        yield


@mutant
def merged_attributes_come_from_the_smallest_key() -> Iterator[None]:
    with method(Holders, "document", lambda true, holders, element, _: true(holders, element, lambda *_: 0)):
        yield


@mutant
def own_report_does_not_come_first() -> Iterator[None]:
    def start(true: Any, holders: Holders, *args: Any) -> None:
        true(holders, *args)
        holders._reporters = {}

    with method(Holders, "__init__", start):
        yield


@mutant
def version_begins_at_the_last_observation() -> Iterator[None]:
    with everywhere(presence.version_begin, lambda *args: args[-1].observed_at):
        yield


@mutant
def gap_of_just_the_grace_is_joined() -> Iterator[None]:
    def start(true: Any, sessions: Sessions, *args: Any) -> None:
        true(sessions, *args)
        sessions._grace += sessions._grace > 0

    with method(Sessions, "__init__", start):
        yield


@mutant
def session_outlasts_the_last_watcher() -> Iterator[None]:
    def step(true: Any, sessions: Sessions, walk: Any, moment: Any) -> Any:
        return true(sessions, walk, moment) if moment.lit and moment.lit_before else []

    with method(Sessions, "_step", step):
        yield


@mutant
def metadata_is_learned_at_any_time() -> Iterator[None]:
    with patch.object(changes, "_FIRST_MINUTE", 10**15):
        yield


@mutant
def change_across_an_absence_is_not_marked() -> Iterator[None]:
    def of_peer(true: Any, *args: Any) -> Iterator[Change]:
        for change in true(*args):
            change.across_absence = False
            yield change

    with method(changes.Question, "_of_peer", of_peer):
        yield


@mutant
def change_across_unobserved_time_is_not_marked() -> Iterator[None]:
    def of_moment(true: Any, question: Any, moment: Any) -> Any:
        moment.lit_before = True
        return true(question, moment)

    with method(changes.Question, "_of_moment", of_moment):
        yield


@mutant
def keyframe_forgets_an_element() -> Iterator[None]:
    def pack(state: keyframes.State) -> bytes:
        return keyframes.pack(dict(list(state.items())[1:]))

    with (
        patch.object(keyframe_spacing, "KEYFRAME_FLOOR", 1),
        patch.object(keyframe_spacing, "pack", pack),
        patch.object(recording, "pack", pack),
    ):
        yield
