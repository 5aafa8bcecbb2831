"""Of whom and how a picture's question is asked, over which time, and when anybody was watching in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from peerstore.errors import QuestionError
from peerstore.plotting.labels import Labels, clock, percent, span
from peerstore.times import FOREVER, duration_micros, format_duration

if TYPE_CHECKING:
    from peerstore.store import PeerStore

MOST_ROWS = 400
NOTHING = "nothing to show: fewer than two observations in this time"


class View(NamedTuple):
    """Whose view is asked for, as known when, with which limit of silence: as everywhere in the store."""

    observer: str | None
    known_at: datetime | None
    max_silence: timedelta | float | None

    def told(self, labels: Labels) -> str:
        """What people should know of it, to stand behind something else; nothing of what is the default."""
        parts = [] if self.observer is None else [f"the view of {labels.of(self.observer)} alone"]
        if self.known_at is not None:
            parts.append(f"as known at {clock(self.known_at)} UTC")
        micros = duration_micros(self.max_silence)
        if micros is not None:
            limit = timedelta.max if micros >= FOREVER else timedelta(microseconds=micros)
            parts.append(f"silence counts as watching for {format_duration(limit)}")
        return "".join(f"; {part}" for part in parts)


class Watched(NamedTuple):
    """The window ``[start, end)`` of a picture, and the stretches of it in which nobody was watching."""

    start: datetime
    end: datetime
    unobserved: tuple[tuple[datetime, datetime], ...]

    @property
    def observed(self) -> Iterator[tuple[datetime, datetime]]:
        """The stretches in which somebody was watching."""
        bounds = [self.start, *chain.from_iterable(self.unobserved), self.end]
        return ((begin, end) for begin, end in zip(bounds[::2], bounds[1::2], strict=True) if begin < end)

    @property
    def remarks(self) -> tuple[str, ...]:
        """How much of it nobody watched, if any."""
        unknown = sum((end - start for start, end in self.unobserved), timedelta())
        if not unknown:
            return ()
        share = percent(unknown / (self.end - self.start))
        return (f"Nobody was watching for {format_duration(unknown)} ({share}) of it: unknown, not absent.",)

    def told(self, view: View, labels: Labels) -> str:
        """The window and the view, in a line."""
        return f"{span(self.start, self.end)}{view.told(labels)}"


def watched(store: PeerStore, since: datetime | None, until: datetime | None, view: View) -> Watched | None:
    """The measured window of a question and when nobody was watching; ``None``: no observation lies in it."""
    shares = list(store.coverage_shares(view.observer, since, until, view.known_at, view.max_silence))
    if not shares:
        return None
    anybody = shares[-1]
    gaps = store.coverage_gaps(
        of="nobody",
        observer=view.observer,
        since=anybody.since,
        until=anybody.until,
        known_at=view.known_at,
        max_silence=view.max_silence,
    )
    unobserved = tuple((gap.start, anybody.until if gap.end is None else gap.end) for gap in gaps)
    return Watched(anybody.since, anybody.until, unobserved)


def asked_window(since: datetime | None, until: datetime | None) -> str:
    """The window as it was asked for, where there is no observation that would tell it."""
    begin = "" if since is None else f"from {clock(since)} UTC "
    return f"{begin}{'' if until is None else f'until {clock(until)} UTC'}".strip() or "all of the history"


def check_limit(limit: int) -> None:
    """:class:`~peerstore.errors.QuestionError` if a picture cannot have that many rows."""
    if not 1 <= limit <= MOST_ROWS:
        raise QuestionError(f"a picture has from 1 to {MOST_ROWS} rows, and {limit} is not among them")
