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

from peerstore.answers.activity import Activity
from peerstore.answers.backup import Backup
from peerstore.answers.changes import AttributeChange, AttributeDifference, Change, Difference
from peerstore.answers.cloud import CloudPresence, CloudSession, CloudStretch, Route
from peerstore.answers.disagreements import Disagreement, Disagreements, HeldValue
from peerstore.answers.fleet import (
    Bearers,
    Expectation,
    ExpectedPeer,
    Incompatibility,
    Laggard,
    Population,
    Reached,
    Rollout,
    Values,
)
from peerstore.answers.forgetting import Erased
from peerstore.answers.health import DayGrowth, Growth, ObserverHealth, RefusedCount, Status
from peerstore.answers.identities import NameCollision, NewKey, SharedName
from peerstore.answers.inventory import KeptHistory, KnownPeer, LoggedObservation, ObserverSummary, Reject
from peerstore.answers.links import (
    Contact,
    Degree,
    DegreeStretch,
    Flapping,
    TransportChange,
    TransportMix,
    TransportShare,
)
from peerstore.answers.online import Seen, Stretch, Uptime
from peerstore.answers.removals import Removal
from peerstore.answers.repair import Lost, Repaired
from peerstore.answers.replaying import ObservedGraph
from peerstore.answers.sessions import ConnectionSession, Session
from peerstore.answers.shape import (
    CutLink,
    CutPeer,
    Cuts,
    Distances,
    Island,
    IslandChange,
    Islands,
    MeshPath,
    PathStretch,
    Way,
)
from peerstore.answers.watching import ClockSkew, Coverage, CoverageGap, CoverageShare
from peerstore.answers.why import (
    CloudWay,
    Evidence,
    Finding,
    ListedConnection,
    NearestChanges,
    PresenceStretch,
    Testimony,
    Why,
    Witness,
)
from peerstore.canonical import ABSENT
from peerstore.errors import (
    BeforeHorizon,
    DatabaseBusy,
    DatabaseError,
    DatabaseMissing,
    DestinationError,
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
from peerstore.upgrade_steps import UpgradeStep

if TYPE_CHECKING:
    from peerstore.exporting.manifest import Exported
    from peerstore.presence import Presence
    from peerstore.rescue.repair import repair
    from peerstore.schema import Upgraded
    from peerstore.store import PeerStore, open, status, upgrade  # noqa: A004 - the name of the contract
    from peerstore.store.reading import Answers
    from peerstore.verification import Verification

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "Activity",
    "Answers",
    "AttributeChange",
    "AttributeDifference",
    "Backup",
    "Bearers",
    "BeforeHorizon",
    "Change",
    "ClockSkew",
    "CloudPresence",
    "CloudSession",
    "CloudStretch",
    "CloudWay",
    "Connection",
    "ConnectionSession",
    "Contact",
    "Coverage",
    "CoverageGap",
    "CoverageShare",
    "CutLink",
    "CutPeer",
    "Cuts",
    "DatabaseBusy",
    "DatabaseError",
    "DatabaseMissing",
    "DayGrowth",
    "Degree",
    "DegreeStretch",
    "DestinationError",
    "Difference",
    "Disagreement",
    "Disagreements",
    "Distances",
    "Erased",
    "Evidence",
    "Expectation",
    "ExpectedPeer",
    "Exported",
    "Finding",
    "Flapping",
    "Growth",
    "HeldValue",
    "Incompatibility",
    "InputError",
    "InvalidGraph",
    "InvalidObservation",
    "InvalidTime",
    "Island",
    "IslandChange",
    "Islands",
    "KeptHistory",
    "KnownPeer",
    "Laggard",
    "ListedConnection",
    "LoggedObservation",
    "Lost",
    "MeshPath",
    "MissingExtra",
    "NameCollision",
    "NearestChanges",
    "NewKey",
    "ObservedGraph",
    "ObserverHealth",
    "ObserverState",
    "ObserverSummary",
    "PathStretch",
    "Peer",
    "PeerStore",
    "PeerstoreError",
    "Population",
    "Presence",
    "PresenceStretch",
    "QuestionError",
    "Reached",
    "Recorded",
    "RefusedCount",
    "Reject",
    "Removal",
    "Repaired",
    "Rollout",
    "Route",
    "SchemaError",
    "Seen",
    "Session",
    "SharedName",
    "Status",
    "Stretch",
    "Summary",
    "Testimony",
    "TransportChange",
    "TransportMix",
    "TransportShare",
    "UnknownPeer",
    "UpgradeStep",
    "Upgraded",
    "Uptime",
    "Values",
    "Verification",
    "Way",
    "Why",
    "Witness",
    "__version__",
    "open",
    "repair",
    "status",
    "upgrade",
]

_WITH_SQLALCHEMY = {
    "Answers": "peerstore.store.reading",
    "Exported": "peerstore.exporting.manifest",
    "PeerStore": "peerstore.store",
    "Presence": "peerstore.presence",
    "Upgraded": "peerstore.schema",
    "Verification": "peerstore.verification",
    "open": "peerstore.store",
    "repair": "peerstore.rescue.repair",
    "status": "peerstore.store",
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
