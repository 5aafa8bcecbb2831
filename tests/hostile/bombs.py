"""What is small to send and large to read: depth, length, digits, members, peers, connections, compression."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from backports import zstd

MIB = 2**20
AT = "2026-07-08T18:00:05Z"
_PROGRAM = """
import sys
from peerstore.cli import main
try:
    main(sys.argv[2:], prog_name="peerstore")
finally:
    with open("/proc/self/status") as status, open(sys.argv[1], "w") as file:
        file.write(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


class Ended(NamedTuple):
    """How a command ended: its exit code, what it said, its peak of memory, and how long it took."""

    code: int
    out: str
    err: str
    peak_mib: float
    seconds: float


def envelope(graph: str, observed_at: str = AT) -> bytes:
    """A line with this graph, given as JSON text."""
    return f'{{"observedAt":"{observed_at}","graph":{graph}}}\n'.encode()


def of_peer(member: str) -> bytes:
    """A line whose only peer has this member, given as JSON text."""
    return envelope(f'{{"localPeer":{{"peerKey":"a",{member}}},"remotePeers":[]}}')


def nested(depth: int, brackets: str = "[]") -> str:
    """JSON text of so many arrays or objects in one another."""
    opening = '{"a":' if brackets == "{}" else brackets[0]
    return opening * depth + "1" + brackets[1] * depth


def mesh(peers: int, connections: int = 0) -> dict[str, Any]:
    """A graph of so many peers, the first of which has as many connections."""
    named = [
        {"peerKeyString": f"peer-{number:06}", "deviceName": f"device {number}", "os": "Linux"}
        for number in range(peers)
    ]
    links = [
        {"id": f"link-{number}", "peer1": "peer-000000", "peer2": f"peer-{number:06}", "connectionType": "Bluetooth"}
        for number in range(1, connections + 1)
    ]
    return {"localPeer": {**named[0], "connections": links}, "remotePeers": named[1:]}


def everybody_lists_everybody(peers: int) -> dict[str, Any]:
    """A graph in which each of the peers lists a connection of its own to each other one."""
    named = [
        {
            "peerKeyString": f"peer-{one}",
            "connections": [
                {"id": f"{one}-{other}", "peer1": f"peer-{one}", "peer2": f"peer-{other}", "connectionType": "LAN"}
                for other in range(peers)
                if other != one
            ],
        }
        for one in range(peers)
    ]
    return {"localPeer": named[0], "remotePeers": named[1:]}


def compressed(kind: str, size: int, piece: bytes = bytes(MIB)) -> Iterator[bytes]:
    """A gzip or zstd stream of so many bytes, made a piece at a time."""
    if kind == "gzip":
        packer: Any = zlib.compressobj(9, zlib.DEFLATED, 31)
        for _ in range(size // len(piece)):
            yield packer.compress(piece)
        yield packer.flush()
    else:
        packer = zstd.ZstdCompressor(level=1)
        for _ in range(size // len(piece)):
            yield packer.compress(piece)
        yield packer.flush()


def twice_compressed(content: bytes) -> bytes:
    """A gzip stream within a gzip stream, of which the outer one alone is undone."""
    return gzip.compress(gzip.compress(content))


def ran(folder: Path, *words: str, pieces: Iterable[bytes] = (), seconds: float = 120) -> Ended:
    """Run a command in a process of its own, with these bytes as a pipe."""
    peak = folder / "peak"
    started = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(peak), *words],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=(folder / "out").open("wb"),
        stderr=(folder / "err").open("wb"),
    ) as child:
        assert child.stdin is not None
        for piece in pieces:
            child.stdin.write(piece)
        child.stdin.close()
        child.wait(seconds)
    took = time.monotonic() - started
    said = [(folder / name).read_text(encoding="utf-8") for name in ("out", "err")]
    return Ended(child.returncode, said[0], said[1], int(peak.read_text()) / 1024, took)


def counted(ended: Ended) -> dict[str, int]:
    """The summary of a ``record --json``."""
    found: dict[str, int] = json.loads(ended.out)
    return found
