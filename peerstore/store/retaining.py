"""Taking from a store what is not to be kept: by age, for good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from peerstore import pruning, removing, thinning
from peerstore.answers.removals import Removal
from peerstore.errors import QuestionError
from peerstore.store.asking import Asking, positive_micros
from peerstore.times import iso, micros


class Retaining(Asking):
    """Pruning and thinning, and what was removed so far."""

    def prune(self, before: datetime, *, dry_run: bool = False, vacuum: bool = False) -> Removal:
        """Remove what was observed before an instant, the *horizon*.

        Questions about the horizon and later have the answers that they had; one that reaches before it, and one as
        known before the last pruned observation was recorded, is a :class:`~peerstore.errors.BeforeHorizon`. What was
        observed before the horizon cannot be recorded any more. Documents and connections that nothing refers to any
        more are emptied.

        It goes in small transactions, so that others may record meanwhile; one that was broken off is asked for again.
        ``dry_run``: only count, exactly, observations and changes. ``vacuum``: give the room back to the disk
        (otherwise it is used again): SQLite writes the whole file anew, and others cannot write meanwhile.
        :class:`~peerstore.errors.QuestionError` for an instant that has not come yet.
        """
        bound = self._past(before)
        removed = pruning.prune(self._database, bound, self._given_clock, dry_run=dry_run)
        self._give_back(vacuum and not dry_run)
        return removed

    def thin(
        self, before: datetime, every: timedelta | float, *, dry_run: bool = False, vacuum: bool = False
    ) -> Removal:
        """Remove observations that changed nothing and were made before an instant, but for one in ``every``.

        Who was there, connected and watching at any moment stays what it was; when it was last confirmed is told as
        coarsely as ``every``. A question before that instant with a limit of silence shorter than ``every`` is a
        :class:`~peerstore.errors.BeforeHorizon`, and so is one as known before the last of these observations was
        recorded; nothing can be recorded there any more. Transactions, ``dry_run`` and ``vacuum`` as with
        :meth:`prune`.
        """
        bound, length = self._past(before), positive_micros(every, "every")
        removed = thinning.thin(self._database, bound, length, self._given_clock, dry_run=dry_run)
        self._give_back(vacuum and not dry_run)
        return removed

    def removals(self) -> Iterator[Removal]:
        """What was removed so far, by whatever command, in the order in which it was."""
        with self._database.reading() as connection:
            yield from removing.removals(connection)

    def _past(self, before: datetime) -> int:
        bound, now = micros(before), self._clock()
        if bound > micros(now):
            raise QuestionError(f"{iso(before)} has not come yet: only what is past can be removed")
        return bound

    def _give_back(self, vacuum: bool) -> None:
        if vacuum:
            self._database.vacuum()
