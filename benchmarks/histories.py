"""The histories that are measured: real ones where they lie beside the checkout, else a generated one."""

from __future__ import annotations

import gzip
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

WORKPLACE = Path(__file__).parents[2] / "shared" / "data" / "workplace"


def one_observer() -> tuple[str, list[bytes]]:
    """What it is, and its lines: everything that one observer saw."""
    return _real("collector.ndjson.gz", "workplace") or ("a generated history", _generated(observers=1))


def many_observers() -> tuple[str, list[bytes]]:
    """What it is, and its lines: what many observers saw, each itself and those near it."""
    found = _real("observers.ndjson.gz", "workplace, every badge an observer")
    return found or ("a generated history of 20 observers", _generated(observers=20))


def _real(name: str, title: str) -> tuple[str, list[bytes]] | None:
    file = WORKPLACE / name
    return (title, gzip.decompress(file.read_bytes()).splitlines()) if file.exists() else None


def _generated(observers: int, observations: int = 4_000, peers: int = 60) -> list[bytes]:
    """Observations every 20 s of peers that come, go and connect at random."""
    source = random.Random(1)
    present = set(source.sample(range(observers, peers), peers // 4))
    moment = datetime(2026, 1, 5, 8, tzinfo=UTC)
    lines = []
    for number in range(observations):
        moment += timedelta(seconds=20)
        for _ in range(source.choice((0, 1, 1, 2, 4))):
            present ^= {source.randrange(observers, peers)}
        pairs = list(zip(sorted(present), sorted(present)[1:], strict=False))
        links = {frozenset(pair) for pair in source.sample(pairs, len(pairs) // 2)}
        envelope = {
            "observedAt": moment.isoformat().replace("+00:00", "Z"),
            "graph": {
                "localPeer": _peer(number % observers, links),
                "remotePeers": [_peer(each, links) for each in sorted(present)],
            },
        }
        lines.append(json.dumps(envelope, separators=(",", ":")).encode())
    return lines


def _peer(number: int, links: set[frozenset[int]]) -> dict[str, Any]:
    return {
        "peerKeyString": f"peer-{number}",
        "deviceName": f"Device {number}",
        "os": "Linux",
        "dittoSdkVersion": "5.1.0",
        "isConnectedToDittoCloud": False,
        "peerMetadata": {"group": "abc"[number % 3]},
        "identityServiceMetadata": {},
        "connections": [_link(*sorted(link)) for link in links if number in link],
    }


def _link(one: int, other: int) -> dict[str, Any]:
    first, second = sorted((f"peer-{one}", f"peer-{other}"))
    return {
        "id": f"{first}<->{second}:Bluetooth",
        "peerKeyString1": first,
        "peerKeyString2": second,
        "connectionType": "Bluetooth",
    }
