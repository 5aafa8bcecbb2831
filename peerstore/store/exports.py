"""Taking a history elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from peerstore.exporting.manifest import Exported
from peerstore.store.reading import Answers

if TYPE_CHECKING:
    import networkx
    import pyarrow


class Exports(Answers):
    """Exports, in whatever format; each reads one snapshot of the store."""

    def export(
        self,
        path: str | Path,
        format: str | None = None,  # noqa: A002 - the name of the option
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        at: datetime | None = None,
        peers: Collection[str] = (),
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
        shape: Literal["raw-v3", "js-5"] = "raw-v3",
        recorded_at: bool = False,
        raw_csv: bool = False,
        redact: Collection[str] = (),
        pseudonym_key: bytes | None = None,
        force: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Exported:
        """Write a part of the history, or all of it, to a file or folder, with a manifest beside or in it.

        ``format``: one of :data:`peerstore.exporting.formats.FORMATS`; ``None``: as the name's ending says. Of a window
        ``[since, until)``, of the moment ``at``, or of everything; ``peers``: of these peers alone (graphs keep the
        local peer and the connections of those peers). ``redact``: JSON Pointers of attributes to leave out;
        ``pseudonym_key`` (at least 16 bytes): peers, observers, names and ids under pseudonyms made with this key
        (:mod:`peerstore.exporting.disguise`). ``recorded_at``, ``shape``, ``raw_csv``: see
        :class:`peerstore.exporting.source.Options`. ``force``: replace what is there. ``progress`` is told how many
        more rows are written, now and then.

        Nothing is under the name until all is written and on the disk. :class:`~peerstore.errors.DestinationError` if
        it cannot be, :class:`~peerstore.errors.MissingExtra` if the format needs a library that is not installed.
        """
        from peerstore.exporting.export import Request, export
        from peerstore.exporting.source import Options, Selection

        request = Request(
            Path(path),
            format,
            Selection(since, until, at, observer, known_at, max_silence),
            Options(shape, recorded_at, raw_csv, Path(path).name),
            peers,
            redact,
            pseudonym_key,
            force,
        )
        return export(self, request, progress or (lambda _: None))

    def to_networkx(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        at: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> networkx.MultiGraph:
        """The graph of a window, of a moment or of the whole history: peers with their last known attributes,
        connections keyed by their type and id; of a window, each with its ``spells``, pairs of datetimes (an end of
        ``None``: it still held).

        Needs the extra ``graph``.
        """
        from peerstore.exporting.graphs import to_networkx
        from peerstore.exporting.source import Selection, Source

        with self.snapshot() as store:
            return to_networkx(Source(store, Selection(since, until, at, observer, known_at, max_silence)))

    def to_arrow(
        self,
        table: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        at: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> pyarrow.Table:
        """One of the tables of an export (:data:`peerstore.exporting.tables.TABLES`) as an Arrow table: times are
        ``timestamp[us, UTC]``; ``.to_pandas()`` makes a DataFrame of it.

        Needs the extra ``arrow``. All of it is in memory; :meth:`export` to Parquet is not.
        """
        from peerstore.exporting.arrow import to_arrow
        from peerstore.exporting.source import Selection, Source

        with self.snapshot() as store:
            return to_arrow(Source(store, Selection(since, until, at, observer, known_at, max_silence)), table)
