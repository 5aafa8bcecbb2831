"""The digests of days, computed from the rows that are there.

Revision 0005, after 0004. The algorithm is that of ``peerstore/day_digests.py`` at this revision.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DAY = 86_400_000_000
PRIME = 2**127 - 1
AT, SEQUENCE, BEFORE = 0x9E3779B97F4A7C15F39CC0605CEDC835, 0xC2B2AE3D27D4EB4F165667B19E3779F9, 0xD6E8FEB86659FD93

OBSERVERS = "SELECT id, observer_key FROM observer ORDER BY id"
LOGGED = """
SELECT observed_at, sequence, recorded_at, stopped, max_silence, gap_from FROM observation_log
WHERE observer_id = {observer} ORDER BY observed_at, sequence
"""
CHANGES = """
SELECT c.observed_at, c.sequence, e.digest, now.digest, previous.digest
FROM element_change c JOIN element e ON e.id = c.element_id
LEFT JOIN document now ON now.id = c.document_id LEFT JOIN document previous ON previous.id = c.previous_id
WHERE c.observer_id = {observer} ORDER BY c.observed_at, c.sequence
"""


def upgrade() -> None:
    """Bring the database here; keeps every row."""
    table = op.create_table(
        "day_digest",
        sa.Column("observer_id", INTEGER, nullable=False, comment="Who observed."),
        sa.Column("day", INTEGER, nullable=False, comment="The day (UTC) of observed_at, in whole days since 1970."),
        sa.Column("observations", INTEGER, nullable=False, comment="How many rows observation_log has of it."),
        sa.Column("changes", INTEGER, nullable=False, comment="How many rows element_change has of it."),
        sa.Column(
            "digest",
            sa.LargeBinary,
            nullable=False,
            comment="The sum, modulo 2^127 - 1, of the hashes of these rows (peerstore/day_digests.py).",
        ),
        sa.ForeignKeyConstraint(["observer_id"], ["observer.id"], name="fk_day_digest_observer"),
        sa.PrimaryKeyConstraint("observer_id", "day", name="pk_day_digest"),
        comment="What verification holds the log and the change rows against.",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    for observer, key in connection.exec_driver_sql(OBSERVERS).all():
        days = {day: [count, 0, total] for day, count, total in summed(connection, LOGGED, observer, logged(key))}
        for day, count, total in summed(connection, CHANGES, observer, changed(key)):
            known = days.setdefault(day, [0, 0, 0])
            known[1] = count
            known[2] += total
        rows = [
            {
                "observer_id": observer,
                "day": day,
                "observations": observations,
                "changes": changes,
                "digest": (total % PRIME).to_bytes(16, "big"),
            }
            for day, (observations, changes, total) in sorted(days.items())
        ]
        if rows:
            connection.execute(sa.insert(table), rows)


def summed(connection: sa.Connection, statement: str, observer: int, said: Any) -> Iterator[tuple[int, int, int]]:
    """Of each day with rows: the day, how many, and the sum of their hashes."""
    text = statement.format(observer=int(observer))
    found = connection.exec_driver_sql(text, execution_options={"yield_per": 1000})
    rows = (row for some in found.partitions(1000) for row in advanced(some))
    for day, group in groupby(rows, key=lambda row: row[0] // DAY):
        count = total = 0
        for row in group:
            count += 1
            total += said(row)
        yield day, count, total


def advanced(rows: Any) -> Any:
    """Some rows, which whoever watches the upgrade is told of."""
    context.config.attributes.get("advance", int)(len(rows))
    return rows


def hashed(content: bytes) -> int:
    """BLAKE2b as a number."""
    return int.from_bytes(blake2b(content, digest_size=16).digest(), "big")


def logged(key: str) -> Any:
    """The hash of a row of the log."""
    return lambda row: hashed(f"log|{key}|{row[0]}|{row[1]}|{row[2]}|{row[3]}|{row[4]}|{row[5]}".encode())


def changed(key: str) -> Any:
    """The hash of a change row."""
    observer = hashed(key.encode())

    def hash_of(row: Any) -> int:
        item, now, before = (1 if digest is None else int.from_bytes(digest, "big") for digest in row[2:])
        return (item + row[0] * AT + row[1] * SEQUENCE) * (now + before * BEFORE + observer)  # type: ignore[no-any-return]

    return hash_of
