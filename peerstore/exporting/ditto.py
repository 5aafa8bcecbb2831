"""One observer's presence graphs as the Ditto SDK gives them: for a presence viewer, for the tests of an app.

A moment is one JSON document: the graph in force. A window, or the whole history, is a line of JSON a graph, bare, as
an app that observes presence is given them (:meth:`peerstore.PeerStore.graphs`): unobserved time gives no line, since
an app that does not run is given none.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from peerstore.errors import QuestionError
from peerstore.exporting.source import Source
from peerstore.questions.graphs import the_one_observer
from peerstore.times import iso

_GRAPHS_AT_ONCE = 64


def write(source: Source, path: Path) -> dict[str, int]:
    """Write the graph at a moment, or the graphs of a window; :class:`~peerstore.errors.QuestionError` if nobody, or
    more than one observer, was watching."""
    if source.selection.at is not None:
        return _write_moment(source, path, source.selection.at)
    selection, count = source.selection, 0
    graphs = source.store.graphs(selection.since, selection.until, shape=source.options.shape, **selection.scope)
    with path.open("w", encoding="ascii", newline="\n") as out:
        for count, each in enumerate(graphs, 1):
            out.write(f"{each.text}\n")
            if count % _GRAPHS_AT_ONCE == 0:
                source.progress(_GRAPHS_AT_ONCE)
    source.progress(count % _GRAPHS_AT_ONCE)
    return {"graphs": count}


def _write_moment(source: Source, path: Path, at: datetime) -> dict[str, int]:
    presence = source.store.presence_at(at, **source.selection.scope)
    watching = [state.observer for state in presence.observers if state.watching]
    if not watching:
        who = source.selection.observer or "nobody"
        raise QuestionError(
            f"{who} was {'not ' if source.selection.observer else ''}watching at {iso(at)}, so there is no graph:"
            " `peerstore coverage` tells who was watching when"
        )
    the_one_observer(watching, f"at {iso(at)}")
    with path.open("w", encoding="ascii", newline="\n") as out:
        json.dump(presence.to_ditto(source.options.shape), out, allow_nan=False, indent=2)
        out.write("\n")
    source.progress(1)
    return {"graphs": 1}
