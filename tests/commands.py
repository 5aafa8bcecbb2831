"""Running commands in this process, and observations to run them on."""

from __future__ import annotations

import json
import re
from typing import Any

from click.testing import CliRunner, Result

from peerstore.cli import main

SPLIT = "2026-07-08T14:03:30Z"
KEYS = [f"pkAocCgkMC{'A' * 40}{letter}{'A' * 2}" for letter in "ABCDEFGHIJ"]


def run(*arguments: str, **options: Any) -> Result:
    result = CliRunner().invoke(main, list(arguments), prog_name="peerstore", **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def answer(*arguments: str, code: int = 0, **options: Any) -> Any:
    result = run(*arguments, "--json", **options)
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def lines(envelopes: Any) -> str:
    return "".join(json.dumps(envelope) + "\n" for envelope in envelopes)


def envelope(number: int, names: list[str]) -> dict[str, Any]:
    """An observation of a mesh of devices with these names: the first is the observer, connected to each other one."""

    plain = [re.sub("[\0\ud800]", "", name) for name in names]  # no id holds these

    def links(place: int) -> list[dict[str, str]]:
        others = range(1, len(names)) if place == 0 else [place]
        return [
            {
                "id": f"{plain[far]}:{far}",
                "peer1": KEYS[0],
                "peer2": KEYS[far],
                "connectionType": plain[far] or "Bluetooth",
            }
            for far in others
        ]

    peers = [
        {
            "peerKey": KEYS[place],
            "deviceName": name,
            "os": name,
            "dittoSdkVersion": name,
            "isConnectedToDittoServer": False,
            "peerMetadata": {"role": name},
            "connections": links(place),
        }
        for place, name in enumerate(names)
    ]
    at = f"2026-07-08T18:00:{number:02}Z"
    return {"observedAt": at, "graph": {"localPeer": peers[0], "remotePeers": peers[1:]}, "maxSilenceSeconds": 45}


def unconnected(number: int, names: list[str]) -> dict[str, Any]:
    """The same without a connection."""
    given = envelope(number, names)
    for peer in (given["graph"]["localPeer"], *given["graph"]["remotePeers"]):
        peer["connections"] = []
    return given
