"""The graphs of one observer, given back as its app was given them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from peerstore.answers.replaying import ObservedGraph
from peerstore.errors import QuestionError
from peerstore.questions.graphs import observed_graphs
from peerstore.store.asking import Asking, window_micros

SHAPES = ("raw-v3", "js-5")


class Replaying(Asking):
    """Graphs as the SDK's own JSON, one after another."""

    def graphs(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
        shape: Literal["raw-v3", "js-5"] = "raw-v3",
        every: bool = False,
    ) -> Iterator[ObservedGraph]:
        """The graphs that one observer's app was given in ``[since, until)``, in order of time, as the SDK's own JSON.

        First the one in force at ``since``, if the observer was watching then: with its true ``observed_at``, which is
        earlier. Then each that differs from the one before; an equal one only where the observer was not watching in
        between. With ``every``, each observation, equal or not, and stop markers (``graph`` is ``None``): recorded
        elsewhere, they give the same history from ``since`` on.

        Without ``observer``, the only one that has graphs in the window; :class:`~peerstore.errors.QuestionError` if
        several have.
        """
        window = window_micros(since, until)
        if shape not in SHAPES:
            raise QuestionError(f"there is no shape {shape!r}: choose from {', '.join(SHAPES)}")
        return self._stream(
            lambda connection, scope: observed_graphs(connection, self._dictionary, scope, *window, shape, every),
            observer,
            known_at,
            max_silence,
            *window,
        )
