"""The log of a command, on stderr: off unless it is asked for; lines of text, or a JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from peerstore.times import iso

_OF_EVERY_RECORD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "event"})

Clean = Callable[[str], str]
"""Makes a text harmless for a terminal, and hides secrets in it."""


class _Lines(logging.Formatter):
    """One line a record, whatever is in it."""

    def __init__(self, format: str, clean: Clean) -> None:
        super().__init__()
        self._as_json = format == "json"
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = {name: self._harmless(value) for name, value in _fields(record).items()}
        time, message = iso(datetime.fromtimestamp(record.created, UTC)), self._clean(record.getMessage())
        event = getattr(record, "event", None)
        if self._as_json:
            told = {"time": time, "level": record.levelname.lower(), "logger": record.name, "event": event}
            return json.dumps({**told, "message": message, "fields": fields})
        told_fields = " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items())
        return f"{time} {record.levelname} {record.name} {event or '-'}: {message} [{told_fields}]"

    def _harmless(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._clean(str(name)): self._harmless(each) for name, each in value.items()}
        return value if value is None or isinstance(value, bool | int | float) else self._clean(str(value))


class _OnStderr(logging.StreamHandler[Any]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of logging
        """Nobody reads it: what the command does goes on."""


@contextmanager
def logging_to_stderr(level: str, format: str, clean: Clean) -> Iterator[None]:
    """Log what peerstore does meanwhile, from a level on."""
    if level == "off" or sys.stderr is None:
        yield
        return
    logger, handler = logging.getLogger("peerstore"), _OnStderr(sys.stderr)
    handler.setFormatter(_Lines(format, clean))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
