"""What of the history is gone on purpose, and what answers can therefore not be given.

``prune`` removes what was observed before an instant, the *horizon*: from it on every answer is what it was, before it
there is none. ``thin`` removes observations that changed nothing before an instant: what was there stays exactly, when
it was last confirmed becomes coarser. What was observed before either cannot be recorded any more, since what it
would have changed is not known. (Why and how: ``docs/decisions/0014-retention.md``.)
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.errors import BeforeHorizon
from peerstore.prepared import Prepared, Row
from peerstore.tables import forgotten_peer, store_info
from peerstore.times import EARLIEST, iso

_DIGEST_BYTES = 16


class Retention(NamedTuple):
    """What is kept (times in microseconds). ``generation``: another one after each removal.

    ``horizon``: the history begins here, if it was pruned. ``thinned_before``: before it, observations that changed
    nothing stand up to ``thinned_every`` apart. ``known_from``: answers as known earlier cannot be given.
    """

    generation: int = 0
    horizon: int | None = None
    thinned_before: int | None = None
    thinned_every: int | None = None
    known_from: int | None = None

    @property
    def closed_before(self) -> int | None:
        """What was observed before this cannot be recorded any more; ``None``: anything can."""
        bounds = [bound for bound in (self.horizon, self.thinned_before) if bound is not None]
        return max(bounds, default=None)

    @property
    def before_all(self) -> int:
        """The instant just before the history begins."""
        return (EARLIEST if self.horizon is None else self.horizon) - 1

    def check(self, earliest: int | None, known_at: int | None, max_silence: int | None) -> None:
        """:class:`~peerstore.errors.BeforeHorizon` if a question about the history from ``earliest`` on (``None``: from
        its beginning) cannot be answered: as known at ``known_at``, with its own limit of silence."""
        if self.horizon is not None and earliest is not None and earliest < self.horizon:
            raise BeforeHorizon(
                f"the history before {iso(self.horizon)} was pruned: ask about {iso(self.horizon)} or later"
            )
        if self.known_from is not None and known_at is not None and known_at < self.known_from:
            raise BeforeHorizon(
                f"what was known at {iso(known_at)} cannot be told any more, since observations were pruned or thinned"
                f" that were recorded later: ask as known at {iso(self.known_from)} or later"
            )
        if self.thinned_before is None or self.thinned_every is None or max_silence is None:
            return
        if max_silence < self.thinned_every and (earliest is None or earliest < self.thinned_before):
            raise BeforeHorizon(
                f"before {iso(self.thinned_before)} unchanged observations were thinned to one in"
                f" {self.thinned_every / 1_000_000:g} s, so a limit of silence of {max_silence / 1_000_000:g} s tells"
                " nothing there: ask with a longer one, or about a later time"
            )


TOLD = Prepared(STORE_INFO := sa.select(store_info.c.name, store_info.c.value))
"""What tells what is kept, and other things: see :func:`retention_of`."""
NAMES = ("removal_generation", "horizon", "thinned_before", "thinned_every", "known_from")
"""The rows of ``store_info`` that tell what is kept, in the order of :class:`Retention`."""


def retention(connection: Connection) -> Retention:
    """What of the history is kept, in the snapshot that a connection reads."""
    return retention_of(TOLD.all(connection, {}))


def retention_of(rows: Iterable[Row]) -> Retention:
    """The same, of the rows of :data:`TOLD`."""
    told: dict[str, str] = dict(rows)
    if NAMES[0] not in told:
        return Retention()
    return Retention(int(told[NAMES[0]]), *(int(told[name]) if name in told else None for name in NAMES[1:]))


def store_secret(connection: Connection) -> bytes:
    """What the digests of forgotten peers are keyed with."""
    told = sa.select(store_info.c.value).where(store_info.c.name == "store_id")
    return str(connection.execute(told).scalar_one()).encode()


def forgotten_digest(key: str, secret: bytes) -> bytes:
    """By which a forgotten peer is known again."""
    return blake2b(key.encode("utf-8", "surrogatepass"), key=secret[:64], digest_size=_DIGEST_BYTES).digest()


def forgotten_digests(connection: Connection) -> frozenset[bytes]:
    """Those of all forgotten peers."""
    return frozenset(bytes(each) for each in connection.execute(sa.select(forgotten_peer.c.digest)).scalars())
