"""peerstore: a persistent peer history store for Ditto meshes.

Record the presence graphs that a Ditto SDK shows; ask about any past moment.

>>> import peerstore
>>> from datetime import UTC, datetime
>>> graph = {"localPeer": {"peerKeyString": "till-1", "deviceName": "Till 1", "connections": []}, "remotePeers": []}
>>> with peerstore.open(":memory:") as store:
...     store.record(graph, observed_at=datetime(2026, 7, 8, 14, 3, tzinfo=UTC)).status
...     list(store.presence_at(datetime(2026, 7, 8, 15, 0, tzinfo=UTC)).peers)
'recorded'
['till-1']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from peerstore.answers.changes import AttributeChange, AttributeDifference, Change, Difference
from peerstore.answers.inventory import KnownPeer, ObserverSummary, Reject
from peerstore.answers.sessions import ConnectionSession, Session
from peerstore.canonical import ABSENT
from peerstore.errors import (
    DatabaseBusy,
    DatabaseError,
    DatabaseMissing,
    InputError,
    InvalidGraph,
    InvalidObservation,
    InvalidTime,
    MissingExtra,
    PeerstoreError,
    QuestionError,
    SchemaError,
    UnknownPeer,
)
from peerstore.model import Connection, ObserverState, Peer, Recorded, Summary

if TYPE_CHECKING:
    from peerstore.inventory import Status
    from peerstore.presence import Presence
    from peerstore.store import PeerStore, open, upgrade  # noqa: A004 - the name of the contract
    from peerstore.verification import Verification

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "AttributeChange",
    "AttributeDifference",
    "Change",
    "Connection",
    "ConnectionSession",
    "DatabaseBusy",
    "DatabaseError",
    "DatabaseMissing",
    "Difference",
    "InputError",
    "InvalidGraph",
    "InvalidObservation",
    "InvalidTime",
    "KnownPeer",
    "MissingExtra",
    "ObserverState",
    "ObserverSummary",
    "Peer",
    "PeerStore",
    "PeerstoreError",
    "Presence",
    "QuestionError",
    "Recorded",
    "Reject",
    "SchemaError",
    "Session",
    "Status",
    "Summary",
    "UnknownPeer",
    "Verification",
    "__version__",
    "open",
    "upgrade",
]

_WITH_SQLALCHEMY = {
    "PeerStore": "peerstore.store",
    "Presence": "peerstore.presence",
    "Status": "peerstore.inventory",
    "Verification": "peerstore.verification",
    "open": "peerstore.store",
    "upgrade": "peerstore.store",
}


def __getattr__(name: str) -> Any:
    """Load what needs SQLAlchemy once it is asked for: ``peerstore --help`` and shell completion do without."""
    if name not in _WITH_SQLALCHEMY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_WITH_SQLALCHEMY[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WITH_SQLALCHEMY})
