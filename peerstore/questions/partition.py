"""The islands of a mesh, kept up to date at the cost of what changed.

When connections break, their ends search for each other, all at once, the smallest search first: those that meet are
one island still; a search that runs dry has found all of a part that is apart now; and the last one that is left is not
gone through to its end, however large its island is. When connections are made, the smaller island moves into the
larger.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping

Adjacency = Mapping[str, Collection[str]]
Pair = tuple[str, str]


class Partition:
    """Which peers are in which island. What moved since :meth:`settle` is remembered, to be told."""

    def __init__(self) -> None:
        self.members: dict[int, set[str]] = {}
        self.island: dict[str, int] = {}
        self.moved: dict[str, int | None] = {}
        """The island, at the last time of settling, of each peer that is in another one now or is gone; ``None`` for
        those that came since. It may hold peers that moved there and back."""
        self._next = 0

    def settle(self) -> None:
        """Begin to remember anew."""
        self.moved = {}

    def shrink(self, adjacency: Adjacency, gone: Iterable[str], broken: Iterable[Pair]) -> None:
        """Peers went and pairs of peers are no longer joined: ``adjacency`` is what is left."""
        for key in gone:
            number = self.island.pop(key)
            self.moved.setdefault(key, number)
            self.members[number].discard(key)
            if not self.members[number]:
                del self.members[number]
        ends: dict[int, dict[str, None]] = {}
        for key in (end for pair in broken for end in pair if end in self.island):
            ends.setdefault(self.island[key], {})[key] = None
        for number, parting in ends.items():
            for part in parts(adjacency, parting):
                self._move(part, number, self._begin())

    def grow(self, come: Iterable[str], made: Iterable[Pair]) -> None:
        """Peers came and pairs of peers were joined."""
        for key in come:
            number = self.island[key] = self._begin()
            self.members[number].add(key)
            self.moved.setdefault(key, None)
        for one, other in made:
            smaller, larger = sorted(
                (self.island[one], self.island[other]), key=lambda each: (len(self.members[each]), -each)
            )
            if smaller != larger:
                self._move(self.members[smaller].copy(), smaller, larger)
                del self.members[smaller]

    def _begin(self) -> int:
        self._next += 1
        self.members[self._next] = set()
        return self._next

    def _move(self, keys: set[str], source: int, target: int) -> None:
        self.members[source] -= keys
        self.members[target] |= keys
        for key in keys:
            self.island[key] = target
            self.moved.setdefault(key, source)

    def held_before(self, number: int, arrived: Collection[str], departed: Iterable[str]) -> set[str]:
        """The peers that an island held at the last time of settling, given those that are in it now and were not, and
        those that were and are not."""
        return (self.members.get(number, set()) - set(arrived)) | set(departed)


def parts(adjacency: Adjacency, ends: Iterable[str]) -> Iterator[set[str]]:
    """The parts of a graph that hold these peers, each whole, but for one of them, which is not gone through.

    Costs about what is in the parts that are given; where all are still in one part, about what lies between them.
    """
    search = _Search(ends)
    while len(search.seen) > 1:
        part = search.step(adjacency)
        if part is not None:
            yield part


class _Search:
    """Searches from several peers at once; those that meet become one."""

    def __init__(self, ends: Iterable[str]) -> None:
        self.owner = {key: number for number, key in enumerate(ends)}
        self.seen = {number: {key} for key, number in self.owner.items()}
        self._rims = {number: deque([key]) for key, number in self.owner.items()}
        self._smallest = [(1, number) for number in self.seen]

    def step(self, adjacency: Adjacency) -> set[str] | None:
        """Look at the neighbours of one more peer of the smallest search; the part, if that search has run dry."""
        size, number = heapq.heappop(self._smallest)
        if number not in self.seen or size != len(self.seen[number]):
            return None  # it was since joined to another, or has another entry by its new size
        if not self._rims[number]:
            del self._rims[number]
            return self.seen.pop(number)
        for key in adjacency[self._rims[number].popleft()]:
            number = self._meet(number, key)
        heapq.heappush(self._smallest, (len(self.seen[number]), number))
        return None

    def _meet(self, number: int, key: str) -> int:
        """A search reached a peer; the number of the search that goes on."""
        other = self.owner.get(key)
        if other is None:
            self.owner[key] = number
            self.seen[number].add(key)
            self._rims[number].append(key)
            return number
        return number if other == number else self._join(number, other)

    def _join(self, one: int, other: int) -> int:
        smaller, larger = sorted((one, other), key=lambda each: len(self.seen[each]))
        self.owner.update(dict.fromkeys(self.seen[smaller], larger))
        self.seen[larger] |= self.seen.pop(smaller)
        self._rims[larger] += self._rims.pop(smaller)
        return larger
