"""Merged presence: what several observers hold, as one (rule 12 of the time model).

A peer or connection is present if any watching observer holds it. A peer's attributes come from its own report if it
is itself a watching observer that holds itself, else from the watching observer whose version of it began last (a tie:
the smaller observer key). The view of one observer is the merged presence of that observer alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from peerstore.keyframes import State
from peerstore.model import Element

Begins = Callable[[int, int], int]
"""(observer, element) to the instant at which the observer's present version of the element began."""


class Holders:
    """Which watching observers hold which elements, with which documents."""

    __slots__ = ("_ranks", "_reporters", "by_element", "element")

    def __init__(self, observers: Mapping[str, int], elements: Callable[[int], Element]) -> None:
        self.by_element: dict[int, dict[int, int]] = {}
        self.element = elements
        self._reporters = observers
        self._ranks = {number: rank for rank, number in enumerate(observers.values())}

    def add(self, observer: int, state: State) -> None:
        """An observer is watching: it holds all of its state."""
        by_element = self.by_element
        for element, document in state.items():
            by_element.setdefault(element, {})[observer] = document

    def remove(self, observer: int, state: State) -> None:
        """An observer stopped watching: it holds nothing."""
        for element in state:
            self.drop(observer, element)

    def put(self, observer: int, element: int, document: int | None) -> bool:
        """A watching observer holds an element with this document (``None``: no longer); whether that is new."""
        if document is None:
            return self.drop(observer, element)
        self.by_element.setdefault(element, {})[observer] = document
        return True

    def drop(self, observer: int, element: int) -> bool:
        """An observer no longer holds an element; whether it did."""
        holders = self.by_element.get(element)
        if holders is None or observer not in holders:
            return False
        del holders[observer]
        if not holders:
            del self.by_element[element]
        return True

    def document(self, element: int, begins: Begins) -> int | None:
        """The document of an element in the merged presence; ``None`` if it is absent. Of a connection: any one of the
        holders' documents."""
        holders = self.by_element.get(element)
        if holders is None:
            return None
        documents = iter(holders.values())
        first = next(documents)
        if all(document == first for document in documents):
            return first
        item = self.element(element)
        if item.kind != "peer":
            return first
        reporter = self._reporters.get(item.key)
        if reporter in holders:
            return holders[reporter]
        newest = max(holders, key=lambda observer: (begins(observer, element), -self._ranks[observer]))
        return holders[newest]


class Merged(NamedTuple):
    """What the watching observers hold: ``agreed`` is what ``everyone`` of them holds with one document, ``holders``
    the rest."""

    everyone: tuple[str, ...]
    agreed: State
    holders: Holders
    begins: Begins

    def state(self) -> State:
        """The merged presence in ids: element to document."""
        if not self.holders.by_element:
            return self.agreed
        rest = {element: self.holders.document(element, self.begins) for element in self.holders.by_element}
        return self.agreed | {element: document for element, document in rest.items() if document is not None}


def merged(
    observers: Mapping[str, int], states: Mapping[str, State], elements: Callable[[int], Element], begins: Begins
) -> Merged:
    """The states of the watching ones of some observers, merged."""
    everyone, holders = tuple(sorted(states)), Holders(observers, elements)
    first, *others = states.values() or [{}]
    if not others:
        return Merged(everyone, first, holders, begins)
    alike = first.items() & others[0].items()
    for state in others[1:]:
        alike &= state.items()
    agreed = dict(alike)
    for key, state in states.items():
        holders.add(observers[key], {element: state[element] for element in state.keys() - agreed.keys()})
    return Merged(everyone, agreed, holders, begins)


def merged_holders(observers: Mapping[str, int], watching: set[int], holders: Holders, begins: Begins) -> Merged:
    """The same, of what a walk knows of each element: who holds it."""
    everyone = tuple(sorted(key for key, number in observers.items() if number in watching))
    agreed: State = {}
    rest = Holders(observers, holders.element)
    for element, held in holders.by_element.items():
        documents = set(held.values())
        if len(held) == len(watching) and len(documents) == 1:
            agreed[element] = documents.pop()
        else:
            rest.by_element[element] = held
    return Merged(everyone, agreed, rest, begins)
