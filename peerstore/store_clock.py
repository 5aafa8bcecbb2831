"""The clock by which the store says when it recorded or removed something."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from peerstore.chain import NEVER_WATCHED
from peerstore.database import Database
from peerstore.prepared import Prepared
from peerstore.tables import observer
from peerstore.times import micros

_LAST_RECORDED_AT = Prepared(sa.select(sa.func.max(observer.c.last_recorded_at)))


def store_time(database: Database, connection: Connection, clock: Callable[[], datetime] | None) -> int:
    """The store's clock, or the one given, in microseconds since 1970; later than anything recorded."""
    if clock is not None:
        now = micros(clock())
    else:
        server = database.clock(connection)
        now = time.time_ns() // 1000 if server is None else server
    [last] = _LAST_RECORDED_AT.first(connection, {}) or (None,)
    return max(now, NEVER_WATCHED if last is None else last + 1)
