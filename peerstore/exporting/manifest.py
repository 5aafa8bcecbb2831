"""The manifest of an export: what it is, of which part of which history, and how to know that it is whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peerstore.errors import QuestionError
from peerstore.times import iso


@dataclass(frozen=True)
class ExportedFile:
    """A file of an export: its name within it, its size in bytes, the SHA-256 of its content."""

    name: str
    bytes: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """The file as JSON."""
        return {"name": self.name, "bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True)
class Exported:
    """What was exported where.

    ``counts``: how many rows of what; ``content_digest``: that of the observations it rests on
    (:mod:`peerstore.content`); ``manifest``: what stands in the manifest.
    """

    path: Path
    format: str
    counts: Mapping[str, int]
    content_digest: str
    manifest: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """What was exported, as JSON."""
        return {"path": str(self.path), **self.manifest}


def files_of(path: Path) -> Iterator[ExportedFile]:
    """The files of an export that is written, in the order of their names."""
    inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    for each in inside:
        with each.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        name = each.relative_to(path).as_posix() if path.is_dir() else each.name
        yield ExportedFile(name, each.stat().st_size, digest)


def created_at() -> str:
    """Now; or the time that ``SOURCE_DATE_EPOCH`` names, by which builds are made reproducible
    (https://reproducible-builds.org/specs/source-date-epoch/)."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        return iso(datetime.fromtimestamp(int(given), UTC) if given else datetime.now(UTC))
    except (ValueError, OverflowError, OSError):
        raise QuestionError(
            f"SOURCE_DATE_EPOCH is {given!r:.40}: whole seconds since 1970 were expected; unset it, or correct it"
        ) from None
