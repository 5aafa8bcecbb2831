"""Power loss, replayed: from the log of the system calls of a process that recorded, the states of its disk that a
power cut may have left.

What was synced is there. Of what was written since, any part may be: nothing, all, a beginning, any selection, or a
write torn at a sector of 512 bytes. Names come and go in their order, those before the last sync of a folder for sure.
What a process said over its pipe stands in the same log, so that each state knows what had been acknowledged.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.faults.children import ROOT
from tests.faults.privileges import needs_strace

_NAMING = ("unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat")
_TRACED = f"openat,open,creat,write,pwrite64,fsync,fdatasync,ftruncate,{','.join(_NAMING)}"
_REFUSED = "writev,pwritev,pwritev2,fallocate,truncate,sync_file_range,copy_file_range,sendfile"
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_OPEN_FILE = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})*)>")
_SECTOR = 512


class Event(NamedTuple):
    """One thing that happened: a call on a file, or a word over the pipe (``said``)."""

    kind: str
    path: str
    content: bytes = b""
    offset: int = 0
    other: str = ""


def recorded(command: list[str], folder: Path) -> list[Event]:
    """What a command did to the files in a folder, and what it said, in order; it must end well."""
    log = folder.with_name(folder.name + ".strace")
    kinds = f"{_TRACED},{_REFUSED}"
    traced = [needs_strace(), "-f", "--seccomp-bpf", "-xx", "-y", "-s", "100000000", "-o", str(log), f"-etrace={kinds}"]
    subprocess.run([*traced, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    events = list(_events(log.read_text(), str(folder)))
    log.unlink()
    return events


def _events(log: str, folder: str) -> Iterator[Event]:
    begun: dict[str, str] = {}
    for line in log.splitlines():
        if line.endswith("<unfinished ...>"):
            begun[line.split()[0]] = line.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$", line)
        whole = begun.pop(resumed[1]) + resumed[2] if resumed else line
        found = _CALL.match(whole)
        if found and int(found[4]) >= 0:
            yield from _of_call(found[2], found[3], int(found[4]), folder)


def _of_call(call: str, given: str, result: int, folder: str) -> Iterator[Event]:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(given)]
    opened = _OPEN_FILE.match(given)
    number, path = (int(opened[1]), _decoded(opened[2])) if opened else (-1, "")
    if call in _NAMING and opened:  # relative to an open folder
        texts[0] = f"{path}/{texts[0].decode()}".encode()
        if path == folder or path.startswith(f"{folder}/"):
            yield from _on_name(call, [text.decode() for text in texts], given)
    elif path == folder or path.startswith(f"{folder}/"):
        if not path.endswith("-shm"):  # which is made anew after a power cut
            yield _on_file(call, path, texts, given, result)
    elif call == "write" and number == 1:
        yield Event("said", "", texts[0])
    elif not opened and texts[0].startswith(f"{folder}/".encode()):
        yield from _on_name(call, [text.decode() for text in texts], given)


def _on_file(call: str, path: str, texts: list[bytes], given: str, result: int) -> Event:
    numbers = re.findall(r", (\d+)", _TEXT.sub("", given))
    if call == "pwrite64":
        assert len(texts[0]) == result
        return Event("write", path, texts[0], int(numbers[-1]))
    if call == "ftruncate":
        return Event("truncate", path, offset=int(numbers[-1]))
    assert call in ("fsync", "fdatasync"), f"{call} of {path} is not replayed"
    return Event("sync", path)


def _on_name(call: str, names: list[str], given: str) -> Iterator[Event]:
    if call in _NAMING:
        yield Event(call.removesuffix("2").removesuffix("at"), names[0], other=names[-1])
    elif "O_CREAT" in given:
        assert call in ("open", "openat", "creat"), f"{call} of {names[0]} is not replayed"
        yield Event("create", names[0])


def _decoded(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode()


@dataclass
class _OnDisk:
    durable: bytes = b""
    pending: list[Event] = field(default_factory=list)

    def sync(self) -> None:
        self.durable, self.pending = _applied(self.durable, self.pending), []


def _applied(content: bytes, events: list[Event]) -> bytes:
    body = bytearray(content)
    for each in events:
        if each.kind == "truncate":
            del body[each.offset :]
            body.extend(bytes(each.offset - len(body)))
        else:
            body.extend(bytes(max(each.offset - len(body), 0)))
            body[each.offset : each.offset + len(each.content)] = each.content
    return bytes(body)


class Disk:
    """A disk on which events happen, and what a power cut leaves of it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: list[_OnDisk] = []
        self._names: dict[str, int] = {}  # as programs see it
        self._durable_names: dict[str, int] = {}
        self._pending_names: list[dict[str, int]] = []
        self.said: list[str] = []

    def happen(self, event: Event) -> None:
        """Let an event happen."""
        if event.kind == "said":
            self.said += event.content.decode().split("\n")[:-1]
        elif event.kind == "create":
            if event.path not in self._names:
                self._files.append(_OnDisk())
                self._rename({**self._names, event.path: len(self._files) - 1})
        elif event.kind == "unlink":
            self._rename({name: file for name, file in self._names.items() if name != event.path})
        elif event.kind in ("rename", "link"):
            gone = event.path if event.kind == "rename" else None
            names = {name: file for name, file in self._names.items() if name != gone}
            self._rename({**names, event.other: self._names[event.path]})
        elif event.path == self._folder:
            self._durable_names, self._pending_names = self._names, []
        elif event.path in self._names:
            file = self._files[self._names[event.path]]
            if event.kind == "sync":
                file.sync()
            else:
                file.pending.append(event)

    def _rename(self, names: dict[str, int]) -> None:
        self._names = names
        self._pending_names.append(names)

    def after_power_cut(self, source: random.Random) -> dict[str, bytes]:
        """The files in the folder itself, by name, in one of the states that a power cut may leave."""
        names = source.choice([self._durable_names, *self._pending_names, self._names])
        return {
            Path(name).name: _applied(self._files[file].durable, _kept(self._files[file].pending, source))
            for name, file in names.items()
            if not name.endswith("-shm") and Path(name).parent == Path(self._folder)
        }


def _kept(pending: list[Event], source: random.Random) -> list[Event]:
    what = source.choice(("none", "all", "prefix", "selection", "torn"))
    if what == "none" or not pending:
        return []
    if what == "all":
        return pending
    if what == "selection":
        return [each for each in pending if source.random() < 0.5]
    count = source.randrange(1, len(pending) + 1)
    kept = pending[:count]
    if what == "torn":
        last = kept[-1]
        sectors = [start for start in range(0, len(last.content), _SECTOR) if source.random() < 0.5]
        torn = [
            last._replace(content=last.content[start : start + _SECTOR], offset=last.offset + start)
            for start in sectors
        ]
        return [*kept[:-1], *torn]
    return kept


def states(
    events: list[Event], folder: str, count: int, seed: int, first: int = 0
) -> Iterator[tuple[dict[str, bytes], list[str]]]:
    """So many states of the disk, spread over all that happened after the first events, each with what had been said
    before."""
    source = random.Random(seed)
    cuts = sorted([*source.choices(range(first, len(events) + 1), k=count - 1), len(events)])
    disk, at = Disk(folder), 0
    for cut in cuts:
        for event in events[at:cut]:
            disk.happen(event)
        at = cut
        yield disk.after_power_cut(source), list(disk.said)
