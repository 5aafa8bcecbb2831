"""The command line: ``peerstore``, also ``python -m peerstore``.

One file a group of commands; a command parses its arguments, calls the store once or twice, and prints. Data goes to
stdout, everything else to stderr. The ways out are told by :mod:`peerstore.cli.program`.
"""

from __future__ import annotations

from peerstore.cli import (
    activity,
    backup,
    cloud,
    database,
    demo,
    disagreements,
    export,
    fleet,
    forget,
    history,
    identities,
    links,
    moments,
    online,
    peers,
    plot,
    record,
    rejects,
    repair,
    replay,
    retention,
    shape,
    watching,
    why,
)
from peerstore.cli.program import main

__all__ = [
    "activity",
    "backup",
    "cloud",
    "database",
    "demo",
    "disagreements",
    "export",
    "fleet",
    "forget",
    "history",
    "identities",
    "links",
    "main",
    "moments",
    "online",
    "peers",
    "plot",
    "record",
    "rejects",
    "repair",
    "replay",
    "retention",
    "shape",
    "watching",
    "why",
]
