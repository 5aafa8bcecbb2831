"""What peerstore logs, with :mod:`logging`: one function an event; ``docs/operating.md`` lists them with their fields.

A logger has the name of the module that something happened in, below ``peerstore``. A record has the event's name as
``event`` and its fields as further attributes, so that any formatter finds them; in its message strings are quoted as
Python quotes them, so that no name, however it was made, begins a line of its own. Nothing is said that is not asked
for: the package's logger has a handler that does nothing. No secret of a database URL is in any record.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

LONG_WAIT_SECONDS = 1.0
"""Waiting at least so long for another program is worth a line."""

logging.getLogger("peerstore").addHandler(logging.NullHandler())

_schema = logging.getLogger("peerstore.schema")
_database = logging.getLogger("peerstore.database")
_recording = logging.getLogger("peerstore.recording")
_verification = logging.getLogger("peerstore.verification")


def database_opened(database: str, schema: str) -> None:
    """A store was opened."""
    fields = {"event": "database_opened", "database": database, "schema": schema}
    _schema.info("opened %r at schema %r", database, schema, extra=fields)


def database_upgraded(database: str, before: str | None, schema: str) -> None:
    """A database was made, or brought to a newer schema."""
    fields = {"event": "database_upgraded", "database": database, "schema_before": before, "schema": schema}
    _schema.info("upgraded %r from schema %r to %r", database, before, schema, extra=fields)


def writer_waited_for(database: str, seconds: float) -> None:
    """Another program was writing: nothing is said of a short wait."""
    if seconds >= LONG_WAIT_SECONDS:
        fields = {"event": "writer_waited_for", "database": database, "seconds": round(seconds, 3)}
        _database.warning("waited %.1f s for another program that writes to %r", seconds, database, extra=fields)


def transaction_retried(database: str, error: Exception) -> None:
    """The connection was lost, or the server could not finish a transaction: it is begun again."""
    fields = {"event": "transaction_retried", "database": database, "error": str(error)}
    _database.warning("the transaction is begun again: %r", str(error), extra=fields)


def batches_are_told() -> bool:
    """Whether anybody asks for :func:`batch_recorded`."""
    return _recording.isEnabledFor(logging.DEBUG)


def batch_recorded(counts: Mapping[Any, int], changes: int, refused: int, seconds: float) -> None:
    """A transaction of observations is committed: so many became what ``counts`` says."""
    fields = {
        "event": "batch_recorded",
        "recorded": counts.get("recorded", 0),
        "duplicates": counts.get("duplicate", 0),
        "conflicts": counts.get("conflict", 0),
        "changes": changes,
        "refused": refused,
        "milliseconds": round(seconds * 1000, 3),
    }
    _recording.debug(
        "recorded %d, %d duplicates, %d conflicts, %d changes, %d refused, in %.1f ms",
        *list(fields.values())[1:],
        extra=fields,
    )


def lines_refused(rejected: int, conflicts: int, source: str, line: int, reason: str) -> None:
    """Lines of a batch are kept aside; the place and the reason are those of the first."""
    fields = {
        "event": "lines_refused",
        "rejected": rejected,
        "conflicts": conflicts,
        "source": source,
        "line": line,
        "reason": reason,
    }
    _recording.warning(
        "%d lines rejected, %d conflicts; the first: %r, line %d: %r", *list(fields.values())[1:], extra=fields
    )


def verification_finding(finding: str) -> None:
    """Something is wrong in the database."""
    fields = {"event": "verification_finding", "finding": finding}
    _verification.warning("verification found: %r", finding, extra=fields)


def verification_ended(full: bool, findings: int, checked: Mapping[str, int]) -> None:
    """A verification has ended."""
    fields = {"event": "verification_ended", "full": full, "findings": findings, "checked": dict(checked)}
    _verification.info("verified: %d findings", findings, extra=fields)
