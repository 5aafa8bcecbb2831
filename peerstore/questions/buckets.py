"""Buckets of time: equal parts that begin at the multiples of their length since 1970 UTC."""

from __future__ import annotations

from peerstore.errors import QuestionError

MOST_BUCKETS = 1_000_000
"""More than anybody can read."""


def check_buckets(every: int, since: int, until: int) -> None:
    """:class:`~peerstore.errors.QuestionError` if ``[since, until)`` has more than :data:`MOST_BUCKETS` buckets of so
    many microseconds."""
    number = -(-until // every) - since // every
    if number > MOST_BUCKETS:
        raise QuestionError(
            f"that makes {number:,} buckets, and {MOST_BUCKETS:,} are the most: ask for longer ones, or a shorter range"
        )
