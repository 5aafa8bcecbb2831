"""All that a store can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from peerstore.database import Database
from peerstore.dictionary import FEW, Dictionary
from peerstore.store.activity import Activity
from peerstore.store.cloud import Cloud
from peerstore.store.fleet import Fleet
from peerstore.store.history import History
from peerstore.store.inventory import Inventory
from peerstore.store.links import Links
from peerstore.store.online import Online
from peerstore.store.replaying import Replaying
from peerstore.store.shape import Shape
from peerstore.store.watching import Watching
from peerstore.store.why import Why


class Answers(History, Online, Links, Cloud, Shape, Fleet, Watching, Why, Activity, Replaying, Inventory):
    """Every question that a store answers; a snapshot of one (:meth:`snapshot`) is this."""

    @contextmanager
    def snapshot(self) -> Iterator[Answers]:
        """The store as it is now: all answers of what this gives are of one moment of the database, whoever records
        meanwhile. For one thread; it cannot record."""
        with self._database.pinned() as database:
            yield self._of(database)

    def _of(self, database: Database) -> Answers:
        snapshot = Answers.__new__(Answers)
        snapshot._database, snapshot._clock = database, self._clock
        snapshot._dictionary = Dictionary(self._dictionary.generation, FEW)
        return snapshot
