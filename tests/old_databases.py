"""Databases at older revisions, with some history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import peerstore
from peerstore.tables import metadata
from tests.conftest import bare_url, drop_url
from tests.databases import plain, relations, upgrade_to

START = datetime(2026, 7, 8, 18, tzinfo=UTC)
ASSETS = sorted((Path(__file__).parent / "assets").glob("*.db"))
"""Databases that older versions made, by their schema."""


def graph(second: int) -> dict[str, Any]:
    """A graph that tells something new each time, and is not the empty one."""
    peers = [{"peerKey": f"peer-{number}", "deviceName": f"device {number}"} for number in range(second % 5)]
    local: dict[str, Any] = {"peerKey": "till", "deviceName": "Till", "peerMetadata": {"second": second}}
    ends = [{"peer1": peer["peerKey"], "peer2": "till"} for peer in peers]
    local["connections"] = [{"id": f"link {each['peer1']}", **each, "connectionType": "Bluetooth"} for each in ends]
    return {"localPeer": local, "remotePeers": peers}


def old_database(url: str, revision: str, seconds: Sequence[int] = (0, 1, 2, 5, 60, 3)) -> None:
    """A database at a revision, with some history: row for row what the newest code records, in the tables of then."""
    lines = [
        {"observed_at": START + timedelta(seconds=second), "graph": graph(second), "max_silence": 30}
        for second in seconds
    ]
    with peerstore.open(newest := bare_url("sqlite")) as store:
        store.record_many(lines)
    copy_to_revision(newest, url, revision)
    drop_url(newest)


def copy_to_revision(newest: str, url: str, revision: str) -> None:
    """Bring an empty database to a revision, and copy there what another one has in the tables that it has."""
    upgrade_to(url, revision)
    there = relations(url)
    with plain(newest) as source, plain(url) as target:
        for table in metadata.sorted_tables:
            told = source.execution_options(yield_per=10_000).execute(sa.select(table)).mappings()
            for some in told.partitions() if table.name in there else ():
                target.execute(sa.insert(table), [dict(row) for row in some])


KILLED_UPGRADE = """
import os, signal, sys
import sqlalchemy as sa
import peerstore

ran = 0

def before(*_):
    global ran
    ran += 1
    if ran == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

sa.event.listen(sa.Engine, "before_cursor_execute", before)
peerstore.upgrade(sys.argv[1])
"""
"""A program that upgrades a database and kills itself before a statement; both are its arguments."""
