"""Every observation as a line of NDJSON, as ``peerstore record`` takes it back: plain, gzip or Zstandard.

A window begins with each observer's observation that was in force when it began, so that whoever records the file
knows the mesh from there on. Lines come in order of time; the same history gives the same bytes.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from peerstore.exporting.source import Source
from peerstore.model import envelope_head
from peerstore.rendering import Rendering
from peerstore.replay import Replayed

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdFile
else:
    from backports.zstd import ZstdFile

_LINES_AT_ONCE = 256


def write(source: Source, path: Path) -> dict[str, int]:
    """Write the observations of a source; the ending of the name says how they are compressed."""
    count = 0
    with source.replay() as (connection, dictionary, observations), _opened(path, source.options.name) as out:
        rendering = Rendering(connection, dictionary, source.options.shape)
        for count, each in enumerate(observations, 1):
            out.write(_line(rendering, each, source.options.recorded_at))
            if count % _LINES_AT_ONCE == 0:
                source.progress(_LINES_AT_ONCE)
        source.progress(count % _LINES_AT_ONCE)
    return {"observations": count}


def _line(rendering: Rendering, each: Replayed, recorded_at: bool) -> bytes:
    logged = each.logged
    kept = logged.recorded_at if recorded_at else None
    said = envelope_head(each.observer, logged.observed_at, logged.sequence, logged.max_silence, kept)
    head = json.dumps(said, separators=(",", ":"))[:-1].encode()
    return b"".join((head, b',"graph":', rendering.text(each), b"}\n"))


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """The file for the lines; compressed as ``name``, under which it will be known, says."""
    with path.open("wb") as raw:
        if name.lower().endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
                yield cast("IO[bytes]", packed)
        elif name.lower().endswith(".zst"):
            with ZstdFile(raw, "wb") as packed:
                yield cast("IO[bytes]", packed)
        else:
            yield raw
