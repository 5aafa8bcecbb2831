"""What each of them takes on disk, for each change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.measuring import Table
from benchmarks.peers.history import DICTIONARIES, History


class Size(NamedTuple):
    """Bytes on disk, for so many changes; ``whole`` if the texts of elements and documents are among them."""

    title: str
    bytes: int
    changes: int
    whole: bool = False


@dataclass
class Sizes(Table):
    """A table of bytes a change: of the ids and times alone, and with the texts that they stand for.

    ``texts`` is what the texts take for each change in peerstore's tables, ``None`` where that cannot be told.
    """

    sizes: list[Size] = field(default_factory=list)
    texts: float | None = None

    def rows(self) -> list[tuple[str, float | None, float | None]]:
        """What it is, the bytes of ids and times for each change, and those with the texts."""
        found: list[tuple[str, float | None, float | None]] = []
        for each in self.sizes:
            size = each.bytes / each.changes
            if each.whole:
                found.append((each.title, None, size))
            else:
                found.append((each.title, size, None if self.texts is None else size + self.texts))
        return found

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON."""
        cases = [{"name": name, "bytes_of_ids": ids, "bytes": whole} for name, ids, whole in self.rows()]
        return {**super().to_dict(), "cases": cases}

    def _lines(self) -> list[str]:
        lines = ["| | bytes a change, ids and times | with the texts | beside the first |", "|---|---|---|---|"]
        first = self.rows()[0][2]
        for name, ids, whole in self.rows():
            ratio = "" if whole is None or first is None else f"{whole / first:.3g}"
            lines.append(f"| {name} | {_told(ids)} | {_told(whole)} | {ratio} |")
        return lines


def sizes(history: History, others: Sequence[Size], missing: Sequence[str]) -> Table:
    """peerstore's by its tables, then the others'; to each that keeps ids, peerstore's own texts are added."""
    tables = history.bytes_by_table()
    size = history.file.stat().st_size
    texts = sum(tables.get(name, 0) for name in DICTIONARIES)
    ours = Size("peerstore", size - texts, history.changes, whole=not tables)
    note = (
        f"{history.told} The texts are peerstore's dictionaries of elements and documents, with their indexes"
        f" ({texts / 1e6:.1f} MB): whoever keeps ids needs them once more. peerstore's part without them holds all"
        f" {history.observations:,} observations, unchanged ones too, each change with what was before it, a second"
        " copy in the order of elements, and keyframes; the others hold when what held, and no more."
    )
    told = Sizes("Size, beside others", "bytes", [], "\n\n".join([note, *missing]))
    told.sizes = [ours, *others]
    told.texts = texts / history.changes if tables else None
    return told


def _told(size: float | None) -> str:
    return "" if size is None else f"{size:,.1f}"
