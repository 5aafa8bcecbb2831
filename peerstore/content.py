"""The digest of a content: of everything that observers said, whoever keeps it.

It depends on the set of observations alone: not on the order in which they came, nor on repetition, nor on the engine,
nor on when they were recorded. Two stores with the same digest tell the same history.

Each observation is hashed (SHA-256) from its observer, time, sequence, declared silence and its graph's digest, which
is the sum of the hashes of its elements with their documents; the digest is the sum of all of them, modulo 2^256. Sums
make it independent of order and let a change cost what it changes. They find every accident; they are no signature
against somebody who searches for another content with the same sum.
"""

from __future__ import annotations

import hashlib
import json

from sqlalchemy.engine import Connection

from peerstore.dictionary import Dictionary
from peerstore.replay import Replayed

_WHOLE = 2**256
_MOST_KEPT = 20_000


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest(), "big")


class ContentDigest:
    """A digest in the making: each observation is added by :meth:`add`."""

    def __init__(self, connection: Connection, dictionary: Dictionary) -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._parts: dict[tuple[int, int], int] = {}
        self._graphs: dict[str, tuple[int, dict[int, int]]] = {}
        self._sum = 0

    def add(self, each: Replayed) -> None:
        """Count an observation; those of one observer come in order, as a replay gives them."""
        graph = self._graph(each)
        logged = each.logged
        said = [
            each.observer,
            logged.observed_at,
            logged.sequence,
            logged.max_silence,
            None if logged.stopped else f"{graph:064x}",
        ]
        self._sum = (self._sum + _hash(json.dumps(said).encode())) % _WHOLE

    def _graph(self, each: Replayed) -> int:
        """The sum of a graph's elements: of the one before it, and what changed since."""
        total, known = self._graphs.get(each.observer, (0, {}))
        changed = each.state.keys() | known.keys() if each.changed is None else each.changed
        for element in changed:
            document = each.state.get(element)
            if element in known:
                total -= known.pop(element)
            if document is not None:
                known[element] = part = self._part(element, document)
                total += part
        total %= _WHOLE
        self._graphs[each.observer] = total, known
        return total

    def _part(self, element: int, document: int) -> int:
        pair = (element, document)
        found = self._parts.get(pair)
        if found is None:
            identity = list(self._dictionary.elements(self._connection, [element])[element])
            text = self._dictionary.documents(self._connection, [document])[document].text
            found = _hash(json.dumps([identity, text]).encode())
            if len(self._parts) >= _MOST_KEPT:
                self._parts.clear()
            self._parts[pair] = found
        return found

    def text(self) -> str:
        """The digest of all that was added.

        It begins with the name of the rule, so that another rule is never taken for this one.
        """
        return f"sum-sha256:{self._sum:064x}"
