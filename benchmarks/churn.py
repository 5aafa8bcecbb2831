"""A long, busy history: a million changes of a mesh in which peers come, go, roam between transports and edit their
metadata, as three observers see it.

Generated from a seed, graph by graph, so that it takes no memory. Who is present and who is connected changes by about
eight peers and a dozen connections an observation; some peers flap, most stay for long; once in a while an observer
stops for an hour, or metadata, a name or the SDK's version changes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

OBSERVERS, PEERS, LIVE = 3, 240, 60
STEP = timedelta(seconds=20)
BEGIN = datetime(2026, 1, 5, 6, tzinfo=UTC)
_TYPES = ("Bluetooth", "AccessPoint", "P2PWiFi", "WebSocket")


def observations(changes: int, seed: int = 3) -> Iterator[dict[str, Any]]:
    """Envelopes with about so many changes in all."""
    mesh = _Mesh(random.Random(seed))
    told = [set[Any]() for _ in range(OBSERVERS)]
    made, number = 0, 0
    while made < changes:
        observer = number % OBSERVERS
        moment = BEGIN + STEP * number
        number += 1
        if number % 4_000 < 180 and observer == 0:
            if number % 4_000 == 0 or number % 4_000 == 1 or number % 4_000 == 2:
                yield {"observed_at": moment, "observer": _key(0), "graph": None}
            continue
        mesh.step()
        shown = mesh.shown()
        made += len(shown ^ told[observer])
        told[observer] = shown
        yield {"observed_at": moment, "graph": mesh.graph(observer), "max_silence": 300}


def _key(number: int) -> str:
    return f"peer-{number:03}"


class _Mesh:
    """Who is there, with which attributes, connected how."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._present = set(range(OBSERVERS)) | set(source.sample(range(OBSERVERS, PEERS), LIVE))
        self._versions = dict.fromkeys(range(PEERS), 0)
        self._roles = dict.fromkeys(range(PEERS), 0)
        self._links: dict[tuple[int, int], str] = {}
        self._connect(40)

    def step(self) -> None:
        """Let something happen."""
        source = self._source
        for _ in range(4):
            flapping = source.random() < 0.5
            comes = source.randrange(OBSERVERS, 30 if flapping else PEERS)
            if comes in self._present or len(self._present) > LIVE + 10:
                leaves = comes if comes in self._present else source.choice(sorted(self._present)[OBSERVERS:])
                self._present.discard(leaves)
                self._links = {ends: kind for ends, kind in self._links.items() if leaves not in ends}
            else:
                self._present.add(comes)
        for ends in source.sample(sorted(self._links), min(3, len(self._links))):
            del self._links[ends]
        self._connect(5)
        if source.random() < 0.05:
            self._roles[source.randrange(PEERS)] += 1
        if source.random() < 0.02:
            self._versions[source.randrange(PEERS)] += 1

    def _connect(self, many: int) -> None:
        there = sorted(self._present)
        for _ in range(many):
            one, other = sorted(self._source.sample(there, 2))
            self._links[one, other] = self._source.choice(_TYPES)

    def shown(self) -> set[Any]:
        """What an observation tells, as values to compare."""
        peers = {(number, self._versions[number], self._roles[number]) for number in self._present}
        return peers | set(self._links.items())

    def graph(self, observer: int) -> dict[str, Any]:
        """The presence graph of one observer."""
        listed: dict[int, list[dict[str, str]]] = {number: [] for number in self._present}
        for (one, other), kind in self._links.items():
            link = {
                "id": f"{one}-{other}:{kind}",
                "peer1": _key(one),
                "peer2": _key(other),
                "connectionType": kind,
            }
            listed[one].append(link)
            listed[other].append(link)
        peers = {number: self._peer(number, links) for number, links in listed.items()}
        return {"localPeer": peers.pop(observer), "remotePeers": list(peers.values())}

    def _peer(self, number: int, links: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "peerKey": _key(number),
            "deviceName": f"Device {number}",
            "os": ("Linux", "Android", "iOS")[number % 3],
            "dittoSdkVersion": f"5.{min(self._versions[number], 3)}.0",
            "isConnectedToDittoServer": number % 20 == 0,
            "peerMetadata": {"role": f"role {self._roles[number]}"},
            "identityServiceMetadata": {},
            "connections": links,
        }
