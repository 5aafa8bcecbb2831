"""Make an old database: a small real one as the code of today writes it, with questions and today's answers.

``python tests/assets/make_old_database.py`` writes ``schema_<revision>.db`` and ``.json`` beside it. Run it once, just
before the schema changes; what it wrote is never made again, since it stands for the databases that people have.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import peerstore
from peerstore.schema import HEAD

START = datetime(2026, 7, 8, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TILLS = ("till-1", "till-2", "till-3", "till-4", "till-5", "till-6")
TYPES = ("Bluetooth", "AccessPoint", "P2PWiFi", "WebSocket")


def peer(key: str, minute: int, source: random.Random) -> dict[str, Any]:
    """A till as its SDK tells of it: known and unknown fields, numbers at the edges, text of every kind."""
    told: dict[str, Any] = {
        "peerKeyString": key,
        "deviceName": f"Till {key[-1]}" if minute < 60 else f"Kasse {key[-1]} é",
    }
    told |= {"os": "Android", "dittoSdkVersion": "4.14.4" if minute < 90 else "5.1.0"}
    told |= {"isConnectedToDittoCloud": source.random() < 0.7, "isCompatible": True}
    told["peerMetadata"] = {"role": source.choice(("till", "back office")), "battery": source.randrange(100) / 100}
    if key == "till-3":
        told["peerMetadata"] |= {"big": 2**64 + minute // 50, "a/b~c": None, "nul": "\0", "half": "\ud800", "": [1, {}]}
        told["future"] = {"nested": [minute // 40]}
    return told


def graph(observer: str, minute: int) -> dict[str, Any]:
    """What one till sees in one minute."""
    source = random.Random(f"{observer} {minute}")  # the same for ever
    seen = [key for key in TILLS if key != observer and source.random() < 0.8]
    local, *remote = (peer(key, minute, source) for key in (observer, *seen))
    links = [link(observer, key, source.choice(TYPES)) for key in seen if source.random() < 0.6]
    local["connections"] = links
    for each in remote:
        each["connections"] = [
            one for one in links if each["peerKeyString"] in (one["peerKeyString1"], one["peerKeyString2"])
        ]
    return {"localPeer": local, "remotePeers": remote}


def link(one: str, other: str, kind: str) -> dict[str, Any]:
    """A connection between two tills."""
    first, second = sorted((one, other))
    ends = {"peerKeyString1": first, "peerKeyString2": second}
    return {"id": f"{first}<->{second}:{kind}", **ends, "connectionType": kind}


def envelopes() -> Iterator[list[dict[str, Any]]]:
    """Batches: two observers in order, one that uploads late, stops, a conflict, a repetition, a line that is none."""
    for observer, minutes in (("till-1", range(0, 120, 4)), ("till-2", range(1, 60, 7)), ("till-2", range(90, 120, 6))):
        yield [said(observer, minute, graph(observer, minute)) for minute in minutes]
    yield [said("till-2", 61, None), said("till-1", 50, None), said("till-1", 70, graph("till-1", 70), 1)]
    yield [said("till-3", minute, graph("till-3", minute)) for minute in (80, 20, 100, 40)]
    yield [said("till-1", 4, graph("till-1", 4)), said("till-1", 8, graph("till-1", 9)), {"observedAt": "yesterday"}]


def said(observer: str, minute: int, told: dict[str, Any] | None, sequence: int = 0) -> dict[str, Any]:
    """One observation."""
    at = (START + minute * MINUTE).isoformat()
    silence = {"maxSilenceSeconds": 900} if observer != "till-3" else {}
    return {"observedAt": at, "observer": observer, "sequence": sequence, "graph": told, **silence}


def questions() -> Iterator[tuple[str, dict[str, Any]]]:
    """What is asked: (method, arguments)."""
    for minute in range(-5, 150, 12):
        yield "presence_at", {"at": told(minute)}
        yield "presence_at", {"at": told(minute), "observer": "till-1"}
    yield "presence_at", {"at": told(30), "known_at": (START + timedelta(days=2, minutes=1)).isoformat()}
    yield "presence_at", {"at": told(75), "max_silence": 60}
    yield "diff", {"since": told(10), "until": told(100)}
    for observer in (None, "till-1"):
        yield "changes", {"since": told(40), "until": told(100), "observer": observer}
        yield "metadata_changes", {"peer": "till-3", "observer": observer}
        yield "sessions", {"observer": observer, "grace": 300}
        yield "connection_sessions", {"peer": "till-3", "observer": observer}


def told(minute: int) -> str:
    """A moment as JSON."""
    return (START + minute * MINUTE).isoformat()


def main() -> None:
    """Write the database and the answers."""
    file = Path(__file__).with_name(f"schema_{HEAD}.db")
    clock = iter(START + timedelta(days=2, minutes=number) for number in range(1000))
    with peerstore.open(file, clock=lambda: next(clock)) as store:
        for batch in envelopes():
            store.record_many(batch)
        answered = [
            {"method": method, "arguments": arguments, "answer": answer(store, method, arguments)}
            for method, arguments in questions()
        ]
    with sqlite3.connect(file) as connection:
        connection.execute("VACUUM")
    text = json.dumps({"made_by": f"peerstore {peerstore.__version__}", "questions": answered}, separators=(",", ":"))
    file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def answer(store: peerstore.PeerStore, method: str, arguments: dict[str, Any]) -> Any:
    """The answer to a question as JSON."""
    words = {
        name: datetime.fromisoformat(value) if name in ("at", "since", "until", "known_at") else value
        for name, value in arguments.items()
    }
    found = getattr(store, method)(**words)
    return found.to_dict() if hasattr(found, "to_dict") else [each.to_dict() for each in found]


if __name__ == "__main__":
    main()
