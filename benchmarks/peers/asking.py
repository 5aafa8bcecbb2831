"""The presence at an instant, asked of all of them, round by round."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from benchmarks.measuring import Measured
from benchmarks.peers.history import Ours
from peerstore.times import instant

INSTANTS = 40
"""At how many instants a round asks."""

Clock = Literal["cpu", "wall"]


@dataclass
class Case:
    """Whoever is asked: how, up to when it knows the history (microseconds since 1970), at every how many instants,
    and how an answer is compared with ours. ``cpu`` and ``wall`` are what the answers took, in seconds, round by
    round; the first is of this process, all of its threads."""

    title: str
    ask: Callable[[int], Any]
    end: int
    is_ours: Callable[[Any, dict[int, int]], bool]
    every: int = 1
    own_process: bool = False
    cpu: list[list[float]] = field(default_factory=list)
    wall: list[list[float]] = field(default_factory=list)

    def answer(self, moment: int) -> Any:
        """Ask, and note what it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        found = self.ask(moment)
        self.cpu[-1].append(time.process_time() - cpu)
        self.wall[-1].append(time.perf_counter() - wall)
        return found

    def measured(self, clock: Clock) -> Measured:
        """The median of each round."""
        rounds: list[list[float]] = getattr(self, clock)
        return Measured(self.title, seconds=[statistics.median(each) for each in rounds])

    def tail(self, clock: Clock) -> str:
        """The 99th percentile of all rounds."""
        rounds: list[list[float]] = getattr(self, clock)
        seconds = sorted(each for one in rounds for each in one)
        return f"{self.title} {seconds[int(0.99 * (len(seconds) - 1))] * 1000:.3g} ms"


def ask(rounds: int, cases: Sequence[Case], truth: Ours, begin: int) -> None:
    """Ask at instants that are the same for all that know as much of the history; each answer is compared with that
    of ``truth``, and one that is not equal is an error.

    ``truth`` is a store of its own, lest one that is asked be asked before, and find the answer in its caches.
    """
    with _frozen():
        for number in range(rounds):
            for case in cases:
                case.cpu.append([])
                case.wall.append([])
            instants = {
                end: list(islice(_watched(random.Random(number), truth, begin, end), INSTANTS))
                for end in {case.end for case in cases}
            }
            expected = {end: [truth.ids(moment) for moment in moments] for end, moments in instants.items()}
            # Each answers all of its instants in one go: after another's scan of a whole table, the processor's caches
            # would be cold, which costs those most that read least.
            for case in cases:
                for turn in range(0, INSTANTS, case.every):
                    moment = instants[case.end][turn]
                    if not case.is_ours(case.answer(moment), expected[case.end][turn]):
                        raise AssertionError(f"{case.title} has another answer at {instant(moment)} than peerstore")


def _watched(source: random.Random, truth: Ours, begin: int, end: int) -> Iterator[int]:
    """Random instants at which the observer was watching: the others know nothing of stops, and would tell what was
    seen last."""
    while True:
        moment = source.randrange(begin, end)
        if truth.presence(moment).watched:
            yield moment


@contextmanager
def _frozen() -> Iterator[None]:
    """What is in memory by now is nothing that the garbage collection of an answer should have to walk over."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def tails(cases: Iterable[Case], clock: Clock) -> str:
    """A sentence of 99th percentiles."""
    return f"99th percentiles of all rounds: {'; '.join(case.tail(clock) for case in cases)}."
