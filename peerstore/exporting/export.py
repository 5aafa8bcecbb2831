"""One export from beginning to end: a snapshot, in disguise if asked for, written, moved to its place, told about."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peerstore.database import Database
from peerstore.exporting.destination import check_apart, check_free, check_named, check_no_log, destination, manifest_of
from peerstore.exporting.disguise import Disguise
from peerstore.exporting.formats import FORMATS, format_of, writer
from peerstore.exporting.manifest import Exported, created_at, files_of
from peerstore.exporting.source import Options, Selection, Source
from peerstore.states import DAY
from peerstore.store.copying import Copying
from peerstore.store.reading import Answers
from peerstore.times import LATEST


@dataclass(frozen=True)
class Request:
    """What is to be exported, how, and where to: see :meth:`peerstore.PeerStore.export`."""

    path: Path
    format: str | None
    selection: Selection
    options: Options
    peers: Collection[str] = ()
    redact: Collection[str] = ()
    pseudonym_key: bytes | None = field(default=None, repr=False)
    force: bool = False


def export(store: Answers, request: Request, progress: Callable[[int], None]) -> Exported:
    """Export a part of a store."""
    path = request.path
    check_named(path)
    name = format_of(path.name) if request.format is None else request.format
    write, folder = writer(name), FORMATS[name].folder
    disguise = Disguise(request.peers, request.redact, request.pseudonym_key)
    for place in (path, *_beside(path, name)) if not folder else (path,):  # before any work
        check_apart(place, store._database.path)
        check_free(place, folder=folder, force=request.force)
    if name == "sqlite":
        check_no_log(path)
    disguise.know([*store.peer_keys(), *store.observer_keys()] if request.pseudonym_key is not None else ())
    with _disguised(store, disguise, request.selection.observer) as snapshot:
        source = Source(snapshot, request.selection.disguised(disguise), request.options, progress)
        with destination(path, folder=folder, force=request.force) as whole:
            counts = write(source, whole)
            manifest = _manifest(name, request, disguise, source, counts, whole)
            if folder:
                _write_json(manifest_of(whole, folder=True), manifest)
        if not folder:
            for place in _beside(path, name):
                with destination(place, folder=False, force=request.force) as whole:
                    _write_json(whole, manifest if place == manifest_of(path, folder=False) else _described(path))
    return Exported(path, name, counts, str(manifest["content_digest"]), manifest)


def _manifest(
    name: str, request: Request, disguise: Disguise, source: Source, counts: dict[str, int], whole: Path
) -> dict[str, Any]:
    return {
        "format": name,
        "created_at": created_at(),
        "created_by": f"peerstore {version('peerstore')}",
        "selection": source.selection.to_dict(),
        "only_some_peers": len(request.peers) or None,
        "redacted": disguise.redacted,
        "pseudonymised": request.pseudonym_key is not None,
        "counts": counts,
        "content_digest": source.content_digest(),
        "files": [each.to_dict() for each in files_of(whole)],
    }


@contextmanager
def _disguised(store: Answers, disguise: Disguise, observer: str | None) -> Iterator[Answers]:
    """A snapshot of a store; in disguise, if one is worn: a copy that is gone afterwards."""
    with store.snapshot() as snapshot:
        if not disguise:
            yield snapshot
            return
        with tempfile.TemporaryDirectory(prefix="peerstore-export-") as folder:
            copy = _Copy(Database(Path(folder, "disguised.db")))
            try:
                copy.record_from(snapshot, observer=observer, keep_recorded_at=True, change=disguise.of)
                with copy.snapshot() as disguised:
                    yield disguised
            finally:
                copy.close()


class _Copy(Copying, Answers):
    """A store that is made to be exported."""

    def _latest_recorded_at(self) -> int:
        """Whatever the store says."""
        return LATEST - DAY

    def close(self) -> None:
        """Give back every connection."""
        self._database.close()


def _beside(path: Path, name: str) -> tuple[Path, ...]:
    """What stands beside an exported file: its manifest and, of SQLite, what Datasette is told."""
    manifest = manifest_of(path, folder=False)
    return (manifest, path.with_name(f"{path.name}.metadata.json")) if name == "sqlite" else (manifest,)


def _described(path: Path) -> dict[str, Any]:
    from peerstore.exporting.datasette import datasette_metadata

    return datasette_metadata(path.stem)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=True) + "\n", encoding="ascii")
