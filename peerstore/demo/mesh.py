"""The simulated devices, and a picture of their mesh from which presence graphs are drawn.

The hub carries the Wi-Fi: an ``AccessPoint`` connection to it is what joins a device to the rest. Besides, devices that
stand next to each other on the same side of the house keep a ``Bluetooth`` connection; Bluetooth does not reach
from the front to the kitchen.
"""

from __future__ import annotations

import hashlib
import random
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Graph = dict[str, Any]

HUB = "sim-hub"
REINSTALLED = "sim-till-8 (reinstalled)"


def dice(*purpose: object) -> random.Random:
    """A source of chance for one purpose: the same purpose always gives the same throws."""
    return random.Random(":".join(map(str, purpose)))  # noqa: S311 - a simulation, not a secret


@dataclass(frozen=True)
class DemoDevice:
    """One simulated device; ``side`` is where it stands, and ``position`` its place in the row there."""

    name: str
    role: str
    os: str
    side: str
    position: int

    def key(self, handle: str, seed: int) -> str:
        """A peer key that looks like a real one (38 bytes, of which the first six are fixed), drawn from the seed."""
        throws = dice(seed, "key", handle)
        raw = bytes([2, 135, 2, 130, 67, throws.choice((2, 3))]) + throws.randbytes(32)
        return "pk" + urlsafe_b64encode(raw).decode().rstrip("=")

    def metadata(self) -> dict[str, Any]:
        """What its app sets once it runs."""
        return {"simulated": True, "role": self.role, "side": self.side, "appVersion": "3.2.0"}


def _till(number: int) -> DemoDevice:
    side, position = ("front", number) if number <= 9 else ("kitchen", number - 6)
    return DemoDevice(f"sim-till-{number}", "till", "Android", side, position)


TILLS = tuple(f"sim-till-{number}" for number in range(1, 13))
KITCHEN_DISPLAYS = tuple(f"sim-kitchen-{number}" for number in range(1, 4))

DEVICES: dict[str, DemoDevice] = {
    **{f"sim-till-{number}": _till(number) for number in range(1, 13)},
    REINSTALLED: _till(8),
    **{
        f"sim-kitchen-{n}": DemoDevice(f"sim-kitchen-{n}", "kitchen-display", "Linux", "kitchen", n)
        for n in range(1, 4)
    },
    "sim-office-1": DemoDevice("sim-office-1", "back-office", "Windows", "front", 10),
    "sim-manager-tablet": DemoDevice("sim-manager-tablet", "back-office", "iOS", "front", 11),
    HUB: DemoDevice(HUB, "hub", "Linux", "between", 0),
}
"""Every installation of the day by its handle, which is its device name except for the one that is reinstalled."""


@dataclass
class _State:
    """What is true of one device now. ``introduced``: the others have learned its os and SDK version."""

    running: bool = False
    syncing: bool = False
    introduced: bool = False
    cloud: bool = False
    sdk: str = "4.14.4"
    metadata: dict[str, Any] = field(default_factory=dict)


class _Link(NamedTuple):
    ends: tuple[str, str]
    listed_by: tuple[str, ...]
    connection: dict[str, str]


class Picture:
    """The mesh as someone believes it to be. The methods with verbs are the events that can change it.

    A device is named by its handle in :data:`DEVICES`.
    """

    def __init__(self, seed: int) -> None:
        self.keys = {handle: device.key(handle, seed) for handle, device in DEVICES.items()}
        self.states = {handle: _State() for handle in DEVICES}
        self.links: dict[tuple[str, str, str], _Link] = {}

    def start(self, device: str) -> None:
        """The app opens Ditto: it is called "ditto", and alone, until sync starts."""
        self.states[device].running = True

    def start_sync(self, device: str) -> None:
        """Sync starts: the device takes its name and may connect."""
        self.states[device].syncing = True

    def introduce(self, device: str) -> None:
        """The others learn its os and SDK version."""
        self.states[device].introduced = True

    def leave(self, device: str) -> None:
        """The device is gone, and its connections with it."""
        self.disconnect(device)
        state = self.states[device]
        state.running = state.syncing = state.cloud = False

    def set_metadata(self, device: str, values: dict[str, Any]) -> None:
        """Its app sets some members of its metadata."""
        state = self.states[device]
        state.metadata = {**state.metadata, **values}

    def set_cloud(self, device: str, connected: bool) -> None:
        """Its own link to the cloud comes or goes."""
        self.states[device].cloud = connected

    def set_sdk(self, device: str, version: str) -> None:
        """Another SDK version is installed."""
        self.states[device].sdk = version

    def join_wifi(self, device: str) -> None:
        """It connects to the hub, if the hub is there; to the hub itself all the others connect."""
        for other in DEVICES if device == HUB else (HUB,):
            self.connect(device, other, "AccessPoint")

    def join_bluetooth(self, device: str) -> None:
        """It connects to those that stand next to it."""
        here = DEVICES[device]
        for handle, other in DEVICES.items():
            if other.side == here.side and abs(other.position - here.position) == 1:
                self.connect(device, handle, "Bluetooth")

    def connect(self, one: str, other: str, transport: str) -> None:
        """A connection is made, if both ends are syncing."""
        if one != other and self.states[one].syncing and self.states[other].syncing:
            first, second = sorted((one, other), key=self.keys.__getitem__)
            connection = self._connection(first, second, transport)
            self.links[first, second, transport] = _Link((first, second), (first, second), connection)

    def list_at_one_end(self, one: str, other: str, transport: str) -> None:
        """From now on, ``one`` alone lists their connection."""
        first, second = sorted((one, other), key=self.keys.__getitem__)
        link = self.links[first, second, transport]
        self.links[first, second, transport] = link._replace(listed_by=(one,))

    def disconnect(self, device: str, transport: str | None = None) -> None:
        """It loses its connections: all of them, or those over one transport."""
        for identity in [identity for identity in self.links if device in identity[:2]]:
            if transport in (None, identity[2]):
                del self.links[identity]

    def graph(self, local: str) -> Graph | None:
        """The presence graph that one device sees: its whole island. None while it is not running."""
        if not self.states[local].running:
            return None
        listed: dict[str, list[dict[str, str]]] = {}
        for link in self.links.values():
            for end in link.listed_by:
                listed.setdefault(end, []).append(link.connection)
        remote = sorted(self._island(local) - {local})
        return {
            "localPeer": self._peer(local, listed, own=True),
            "remotePeers": [self._peer(device, listed) for device in remote],
        }

    def _island(self, local: str) -> set[str]:
        neighbours: dict[str, list[str]] = {}
        for one, other, _ in self.links:
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
        island, waiting = {local}, [local]
        while waiting:
            for other in neighbours.get(waiting.pop(), []):
                if other not in island:
                    island.add(other)
                    waiting.append(other)
        return island

    def _peer(self, handle: str, listed: dict[str, list[dict[str, str]]], own: bool = False) -> dict[str, Any]:
        device, state = DEVICES[handle], self.states[handle]
        known = own or state.introduced
        return {
            "peerKeyString": self.keys[handle],
            "deviceName": device.name if state.syncing else "ditto",
            "os": device.os if known else None,
            "isConnectedToDittoCloud": state.cloud,
            "isCompatible": True if known else None,
            "dittoSdkVersion": state.sdk if known else None,
            "connections": listed.get(handle, []),
            "peerMetadata": state.metadata,
            "identityServiceMetadata": {"branch": "sim-branch-1"},
        }

    def _connection(self, first: str, second: str, transport: str) -> dict[str, str]:
        ends = self.keys[first], self.keys[second]
        return {
            "id": f"sim-{hashlib.sha256(':'.join(ends).encode()).hexdigest()[:12]}:{transport}",
            "peerKeyString1": ends[0],
            "peerKeyString2": ends[1],
            "connectionType": transport,
        }
