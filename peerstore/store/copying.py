"""Recording what another store has recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from peerstore.batches import Given, of_moderate_size, refusal
from peerstore.ditto_render import render_graph
from peerstore.envelope import check_recorded_at
from peerstore.model import Observation, Recorded, Summary, envelope_head
from peerstore.recording import Refused
from peerstore.replay import observation, replayed
from peerstore.store.inventory import Inventory
from peerstore.store.recording import Recording
from peerstore.times import EARLIEST, micros


class Copying(Recording):
    """Copying from store to store, whatever their engines."""

    def record_from(
        self,
        other: Inventory,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        keep_recorded_at: bool = False,
        change: Callable[[Observation], Observation] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Summary:
        """Record what another store has recorded; a batch a transaction.

        All of it, or the observations in ``[since, until)`` with those that were in force at ``since``; of all
        observers or of one. What is here already is a duplicate, so that a copy that was broken off can be repeated.
        ``keep_recorded_at``: each keeps the time at which the other store recorded it, so that answers as known then
        are the other store's. ``change`` gives the observation to record in place of each. ``progress`` is told how
        many observations each batch had. :class:`~peerstore.errors.InvalidObservation` for a time of recording, to be
        kept, that has not come yet.
        """
        window = (None if since is None else micros(since), None if until is None else micros(until))
        summary = Summary()
        with other._asking(observer, None, None, *window) as (connection, scope):
            window = scope.begin(window[0]), window[1]
            found = (
                observation(connection, other._dictionary, each)
                for each in replayed(connection, scope.observers, *window, lead_in=True)
            )
            for batch in of_moderate_size(found):
                changed = batch if change is None else [change(each) for each in batch]
                kept = changed if keep_recorded_at else [each._replace(recorded_at=None) for each in changed]
                check_recorded_at(max(each.recorded_at or EARLIEST for each in kept), self._latest_recorded_at())
                self._copy(kept, summary)
                if progress is not None:
                    progress(len(batch))
        return summary

    def _copy(self, observations: Sequence[Observation], summary: Summary) -> None:
        def refusals(results: Sequence[Recorded]) -> list[Refused]:
            pairs = zip(observations, results, strict=True)
            found = (
                refusal(_given(each), each, result)
                for each, result in pairs
                if result.status in ("conflict", "rejected")
            )
            return [each for each in found if each is not None]

        results = self._recorder.record(observations, refusals)
        summary.recorded += sum(result.status == "recorded" for result in results)
        summary.duplicates += sum(result.status == "duplicate" for result in results)
        summary.conflicts += sum(result.status == "conflict" for result in results)
        summary.rejected += sum(result.status == "rejected" for result in results)
        summary.changes += sum(result.changes for result in results)


def _given(each: Observation) -> Given:
    """An observation as a line would give it: what is kept if it is a conflict."""
    head = envelope_head(each.observer, each.observed_at, each.sequence, each.max_silence)
    return Given("copy", 0, {**head, "graph": None if each.graph is None else render_graph(each.graph)})
