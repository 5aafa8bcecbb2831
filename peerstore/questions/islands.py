"""When the mesh split into islands, and when they merged: at the cost of what changed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection as DatabaseConnection

from peerstore.answers.shape import IslandChange, IslandChangeKind
from peerstore.coverage import Scope
from peerstore.dictionary import Dictionary
from peerstore.questions.mesh import Delta, Keys, Mesh, all_shown, delta_of
from peerstore.questions.partition import Partition
from peerstore.times import LATEST, instant
from peerstore.walk import Moment, Walk

_ORDER: tuple[IslandChangeKind, ...] = ("left", "split", "merged", "joined")


def islands_over(
    connection: DatabaseConnection,
    dictionary: Dictionary,
    scope: Scope,
    since: int | None,
    until: int | None,
    peer: str | None,
    members: bool,
) -> Iterator[IslandChange]:
    """The changes of the islands in ``[since, until)``, in the order of time; of one peer's island, if it is named;
    with the comings and goings of their members, if they are wanted."""
    since = scope.begin(since)
    after, end = scope.before_all if since is None else since - 1, LATEST + 1 if until is None else until
    walk = Walk(connection, dictionary, scope, after, end)
    mesh, partition = Mesh("islands_over"), Partition()
    _follow(mesh, partition, delta_of(connection, dictionary, all_shown(walk)))
    for moment in walk:
        partition.settle()
        if moment.changed:
            _follow(mesh, partition, delta_of(connection, dictionary, moment.changed))
            yield from _told(partition, moment, peer, members)


def _follow(mesh: Mesh, partition: Partition, delta: Delta) -> None:
    broken = mesh.shrink(delta)
    partition.shrink(mesh.graph.adj, delta.gone, broken)
    made = mesh.grow(delta)
    partition.grow(delta.come, made)


def _told(partition: Partition, moment: Moment, peer: str | None, members: bool) -> list[IslandChange]:
    if not partition.moved:
        return []
    reshaping = _Reshaping(partition)
    found = [*reshaping.splits(), *reshaping.merges()]
    if members:
        found += [*reshaping.comings(), *reshaping.goings()]
    if peer is not None:
        found = [each for each in found if reshaping.concerns(each, peer)]
    gap = moment.known_before and not moment.lit_before
    told = [reshaping.change(each, moment.at, gap) for each in found]
    return sorted(told, key=lambda change: (_ORDER.index(change.kind), change.before, change.after))


@dataclass(slots=True)
class _Found:
    """A change in the making: the islands before and after by their numbers, and who came or went."""

    kind: IslandChangeKind
    before: set[int]
    after: set[int]
    peers: set[str] = field(default_factory=set)


class _Reshaping:
    """What became of which islands at one moment: each island before and after it by its number."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._now = partition.island
        self.sources: dict[int, set[int]] = defaultdict(set)  # of an island now: those whose peers are in it
        self.targets: dict[int, set[int]] = defaultdict(set)  # of an island before: those where its peers are
        self._arrived: dict[int, list[str]] = defaultdict(list)
        self._departed: dict[int, list[str]] = defaultdict(list)
        self._read()

    def _read(self) -> None:
        mentioned: set[int] = set()
        moved: Counter[int] = Counter()
        for key, old in self._partition.moved.items():
            new = self._now.get(key)
            if new is not None:
                mentioned.add(new)
                moved[new] += 1
            if old is not None:
                mentioned.add(old)
            if old is not None and new is not None:
                self._connect(old, new)
            if old != new and old is not None:
                self._departed[old].append(key)
            if old != new and new is not None:
                self._arrived[new].append(key)
        for number in mentioned:
            if len(self._partition.members.get(number, ())) > moved[number]:
                self._connect(number, number)  # some never moved

    def _connect(self, old: int, new: int) -> None:
        self.sources[new].add(old)
        self.targets[old].add(new)

    def splits(self) -> Iterator[_Found]:
        for old, targets in self.targets.items():
            if len(targets) > 1:
                yield _Found("split", {old}, targets)

    def merges(self) -> Iterator[_Found]:
        for new, sources in self.sources.items():
            if len(sources) > 1:
                yield _Found("merged", sources, {new})

    def comings(self) -> Iterator[_Found]:
        for new, keys in self._arrived.items():
            newcomers = {key for key in keys if self._partition.moved[key] is None}
            if newcomers:
                yield _Found("joined", self.sources.get(new, set()), {new}, newcomers)

    def goings(self) -> Iterator[_Found]:
        for old, keys in self._departed.items():
            gone = {key for key in keys if key not in self._now}
            if gone:
                yield _Found("left", {old}, self.targets.get(old, set()), gone)

    def concerns(self, found: _Found, peer: str) -> bool:
        """Whether a peer was in one of the islands before or is in one after."""
        now = self._now.get(peer)
        return self._partition.moved.get(peer, now) in found.before or now in found.after

    def change(self, found: _Found, at: int, gap: bool) -> IslandChange:
        before, after = self._ordered(map(self._before, found.before)), self._ordered(map(self._after, found.after))
        concerned = found.peers
        if found.kind == "split":
            concerned = {key for key in before[0] if key in self._now}.difference(after[0])
        elif found.kind == "merged":
            concerned = {key for island in before[1:] for key in island}.intersection(after[0])
        return IslandChange(found.kind, instant(at), tuple(sorted(concerned)), before, after, gap)

    def _before(self, old: int) -> set[str]:
        return self._partition.held_before(old, self._arrived.get(old, ()), self._departed.get(old, ()))

    def _after(self, new: int) -> set[str]:
        return self._partition.members[new]

    @staticmethod
    def _ordered(islands: Iterable[set[str]]) -> tuple[Keys, ...]:
        return tuple(sorted((tuple(sorted(island)) for island in islands), key=lambda keys: (-len(keys), keys)))
