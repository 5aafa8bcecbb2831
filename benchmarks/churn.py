"""A long, busy, seeded history of a mesh: what is measured on, in any length.

The mesh is simulated event by event (a heap of what happens next), so that a history takes no memory and the same
arguments give the same bytes everywhere:

* **Peers.** 1.4 times as many devices as are present at a time. Stays and absences are lognormal (sigma 1.2): stays of
  3.4 hours on average, the median 1.6 hours.
* **Connections.** About 1.5 for each present peer, mostly to peers that are near in a ring. Their lives are
  heavy-tailed: lognormal with a median of 20 minutes and sigma 1.1 (mean 36 minutes). One in twelve flaps: it lasts
  seconds, and comes back three times in four. A connection also ends when one of its ends goes.
* **Metadata.** About one change in twenty is a peer that edits its metadata, each time to something that it never was
  before; about one in a thousand updates its SDK.
* **Observers.** Each sees the whole mesh, and makes an observation of it some time after something happened: the last
  of them ``debounce`` seconds, the others their part of that, so that the first of three observes three times as often.
  One to three times a day an observer stops, and says so; it begins again minutes later.
* **Delivery.** With ``late``, an observer's connection for uploads breaks for that part of the time, minutes to hours
  each; what it saw meanwhile comes in one go afterwards (:func:`delivered`).

An observation has the shape that ``JSON.stringify`` makes of a presence graph of the JavaScript SDK 5: 53-character
keys, two metadata documents for each peer, each connection in the lists of both its ends.
"""

from __future__ import annotations

import base64
import heapq
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import exp
from statistics import median
from typing import Any, NamedTuple

from peerstore.times import iso

VERSION = 1
"""To be raised with every change after which the same arguments give another history."""
BEGIN = datetime(2026, 1, 5, 6, tzinfo=UTC)
_BEGIN = int(BEGIN.timestamp()) * 1_000_000
_TYPES = ("Bluetooth", "AccessPoint", "P2PWiFi", "WebSocket")
_SYSTEMS = ("Android", "iOS", "Linux", "Windows")
_SIGMA_PEER, _SIGMA_LINK = 1.2, 1.1
_STAY, _LINK_MEDIAN = 3.4 * 3600, 1200.0
_LINK_MEAN = _LINK_MEDIAN * exp(_SIGMA_LINK**2 / 2)
_EDITS = 0.0255 / 213  # a second for each present peer

Link = tuple[int, int, int]


class Seen(NamedTuple):
    """One observation: when (microseconds since 1970), by which observer, and its line of JSON."""

    at: int
    observer: int
    line: bytes


@dataclass
class Statistics:
    """What a history turned out to be."""

    observations: int = 0
    changes: int = 0
    peer_changes: int = 0
    documents: int = 0
    bytes: int = 0
    live: list[int] = field(default_factory=list)
    links: list[int] = field(default_factory=list)
    lives: list[float] = field(default_factory=list)
    span: float = 0.0

    def markdown(self) -> str:
        """In two sentences."""
        lives = sorted(self.lives)

        def percentile(part: float) -> str:
            return _duration(lives[min(len(lives) - 1, int(part * len(lives)))])

        told = (
            f" Connections live {percentile(0.01)} (1st percentile), {percentile(0.5)} (median),"
            f" {percentile(0.99)} (99th), {_duration(lives[-1])} at the most."
            if lives
            else ""
        )
        return (
            f"{self.changes:,} changes in {self.observations:,} observations over {self.span / 86400:.1f} days;"
            f" {median(self.live):.0f} peers and {median(self.links):.0f} connections live;"
            f" {self.peer_changes / max(1, self.changes):.0%} of the changes are peers that come, go or edit"
            f" ({self.documents:,} documents); an observation has"
            f" {self.bytes / max(1, self.observations) / 1000:.0f} kB of JSON.{told}"
        )


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


class Churn:
    """A mesh of ``live`` peers as ``observers`` see it, for about ``changes`` changes in all.

    ``statistics`` tells, while it is iterated over, what it has been so far.
    """

    def __init__(
        self,
        changes: int,
        live: int = 200,
        observers: int = 1,
        debounce: float = 1.0,
        seed: int = 3,
        stops: bool = True,
    ) -> None:
        self.changes = changes
        self.live = live
        self.observers = observers
        self.debounce = debounce
        self.statistics = Statistics()
        self._seed = seed
        self._stops = stops

    def __iter__(self) -> Iterator[Seen]:
        """The observations, in order of time."""
        self.statistics = Statistics()
        mesh = _Mesh(random.Random(self._seed), self.live, self.observers)
        due: list[tuple[float, int]] = []
        waiting = [False] * self.observers
        stopped = [0.0] * self.observers
        stops = random.Random(self._seed + 1)
        while self.statistics.changes < self.changes:
            while due and due[0][0] <= mesh.next_at():
                at, observer = heapq.heappop(due)
                waiting[observer] = False
                yield self._seen(mesh, at, observer)
                if self._stops and stops.random() < 3 * self.debounce / 86400 and at > stopped[observer]:
                    stopped[observer] = at + stops.lognormvariate(5.5, 1.0)
                    yield self._stop(mesh, at + self.debounce / 2, observer)
            at = mesh.step()
            for observer in range(self.observers):
                if not waiting[observer] and at >= stopped[observer]:
                    waiting[observer] = True
                    phase = (observer + 1) / self.observers
                    heapq.heappush(due, (at + self.debounce * phase, observer))

    def _seen(self, mesh: _Mesh, at: float, observer: int) -> Seen:
        told, moment = self.statistics, _BEGIN + int(at * 1_000_000)
        changed, of_peers = mesh.changed_since_last(observer)
        line = mesh.line(observer, iso(moment))
        told.observations += 1
        told.changes += changed
        told.peer_changes += of_peers
        told.bytes += len(line)
        told.span = at
        told.documents, told.lives = mesh.documents, mesh.lives
        if told.observations % 997 == 1:
            told.live.append(len(mesh.present))
            told.links.append(len(mesh.links))
        return Seen(moment, observer, line)

    def _stop(self, mesh: _Mesh, at: float, observer: int) -> Seen:
        moment = _BEGIN + int(at * 1_000_000)
        envelope = {"observedAt": iso(moment), "graph": None, "observer": mesh.keys[observer]}
        return Seen(moment, observer, json.dumps(envelope, separators=(",", ":")).encode())

    def lines(self) -> Iterator[bytes]:
        """The lines of JSON alone."""
        return (seen.line for seen in self)


def key_of(number: int) -> str:
    """The key of a device: ``pk`` and the base64url of 38 bytes, as the SDK makes them.

    >>> len(key_of(1)), key_of(1)[:10]
    (53, 'pkAocCgkMC')
    """
    body = bytes((2, 135, 2, 130, 67, 2)) + random.Random(number).randbytes(32)
    return "pk" + base64.urlsafe_b64encode(body).decode().rstrip("=")


def delivered(history: Iterable[Seen], late: float, seed: int = 5) -> Iterator[Seen]:
    """A history in the order in which it is delivered, if each observer's uploads fail for a part ``late`` of the
    time: for half an hour to many hours, after which all that waits comes at once."""
    chance = random.Random(seed)
    held: dict[int, list[Seen]] = {}
    until: dict[int, int] = {}
    free: dict[int, int] = {}
    for seen in history:
        for observer in [number for number, end in until.items() if seen.at >= end]:
            yield from held.pop(observer, ())
            del until[observer]
        if seen.observer not in until and seen.at >= free.get(seen.observer, 0):
            length = int(chance.lognormvariate(8.3, 1.0) * 1_000_000)  # the median: an hour
            begin = seen.at + int(chance.expovariate(1.0) * length * (1 - late) / late)
            free[seen.observer] = begin + length
            until[seen.observer], held[seen.observer] = begin + length, []
            free[-1 - seen.observer] = begin
        if seen.observer in until and seen.at >= free[-1 - seen.observer]:
            held[seen.observer].append(seen)
        else:
            yield seen
    for waiting in held.values():
        yield from waiting


class _Mesh:
    """Who is there, with which attributes, connected how; and what of that each observer was last told."""

    def __init__(self, chance: random.Random, live: int, observers: int) -> None:
        self.present: dict[int, None] = {}
        self.links: dict[Link, float] = {}
        self.lives: list[float] = []
        self.documents = 0
        self._chance = chance
        self._live = live
        self._observers = observers
        devices = int(live * 1.4) + observers
        self.keys = [key_of(number) for number in range(devices)]
        self._revisions = [0] * devices
        self._versions = [0] * devices
        self._touching: list[dict[Link, None]] = [{} for _ in range(devices)]
        self._heads = [b""] * devices
        self._texts: dict[int, bytes] = {}
        self._link_texts: dict[Link, bytes] = {}
        self._news: list[dict[int | Link, bool]] = [{} for _ in range(observers)]
        self._edited: list[set[int | Link]] = [set() for _ in range(observers)]
        self._heap: list[tuple[float, int, str, int | Link]] = []
        self._count = 0
        self._now = 0.0
        for number in range(devices):
            if number < observers or chance.random() < 1 / 1.4:
                self._come(number)
            else:
                self._push(self._absence() * chance.random(), "come", number)
        self._link_rate = 1.75 * live / _LINK_MEAN / (1 - 1 / 12)
        for _ in range(int(1.75 * live)):
            self._connect(chance.random())
        self._push(chance.expovariate(self._link_rate), "connect", 0)
        self._push(chance.expovariate(_EDITS * live), "edit", 0)
        for news in self._news:
            news.update(dict.fromkeys([*self.present, *self.links], False))

    def next_at(self) -> float:
        """When something happens next, in seconds since the beginning."""
        return self._heap[0][0]

    def step(self) -> float:
        """Let the next thing happen; when it did."""
        self._now, _, what, which = heapq.heappop(self._heap)
        getattr(self, f"_do_{what}")(which)
        return self._now

    def changed_since_last(self, observer: int) -> tuple[int, int]:
        """How many elements are another in an observer's view than when it was last asked; and how many are peers."""
        news, self._news[observer] = self._news[observer], {}
        edited, self._edited[observer] = self._edited[observer], set()
        # What came and went meanwhile was never seen.
        changed = [each for each, before in news.items() if before != self._is_there(each) or each in edited]
        return len(changed), sum(isinstance(each, int) for each in changed)

    def _is_there(self, what: int | Link) -> bool:
        return what in self.present if isinstance(what, int) else what in self.links

    def line(self, observer: int, at: str) -> bytes:
        """An observer's view, as a line."""
        texts = self._texts
        for number in self.present:
            if number not in texts:
                texts[number] = self._text(number)
        others = b",".join([texts[number] for number in self.present if number != observer])
        return b'{"observedAt":"%b","graph":{"localPeer":%b,"remotePeers":[%b]}}' % (
            at.encode(),
            texts[observer],
            others,
        )

    def _text(self, number: int) -> bytes:
        links = b",".join([self._link_text(link) for link in self._touching[number]])
        return b'%b,"connections":[%b]}' % (self._heads[number] or self._head(number), links)

    def _link_text(self, link: Link) -> bytes:
        text = self._link_texts.get(link)
        if text is None:
            one, other = sorted((self.keys[link[0]], self.keys[link[1]]))
            kind = _TYPES[link[2]]
            given = {"id": f"{one}<->{other}:{kind}", "peer1": one, "peer2": other, "connectionType": kind}
            text = self._link_texts[link] = json.dumps(given, separators=(",", ":")).encode()
        return text

    def _head(self, number: int) -> bytes:
        self.documents += 1
        revision = self._revisions[number]
        head: dict[str, Any] = {
            "peerKey": self.keys[number],
            "deviceName": f"Till {number:04}",
            "os": _SYSTEMS[number % 4],
            "dittoSdkVersion": f"5.{1 + self._versions[number] // 4}.{self._versions[number] % 4}",
            "isConnectedToDittoServer": number % 20 == 0,
            "isCompatible": True,
            "peerMetadata": {
                "role": ("till", "kitchen", "kiosk", "runner")[number % 4],
                "site": f"store-{number % 7}",
                "battery": (97 * number + 13 * revision) % 101,
                "queue": revision,
            },
            "identityServiceMetadata": {"tenant": "acme", "groups": ["pos", f"zone-{number % 5}"]},
        }
        text = self._heads[number] = json.dumps(head, separators=(",", ":")).encode()[:-1]
        return text

    def _push(self, after: float, what: str, which: int | Link) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self._now + after, self._count, what, which))

    def _note(self, what: int | Link, was_there: bool) -> None:
        for news in self._news:
            news.setdefault(what, was_there)

    def _absence(self) -> float:
        return self._chance.lognormvariate(0, _SIGMA_PEER) * 0.4 * _STAY / exp(_SIGMA_PEER**2 / 2)

    def _come(self, number: int) -> None:
        self.present[number] = None
        if number >= self._observers:
            stay = self._chance.lognormvariate(0, _SIGMA_PEER) * _STAY / exp(_SIGMA_PEER**2 / 2)
            self._push(stay if self._now else stay * self._chance.random(), "go", number)

    def _do_come(self, number: int) -> None:
        self._come(number)
        self._note(number, False)
        for _ in range(2):
            self._connect(1.0, number)

    def _do_go(self, number: int) -> None:
        for link in list(self._touching[number]):
            self._do_disconnect(link)
        del self.present[number]
        self._texts.pop(number, None)
        self._note(number, True)
        self._push(self._absence(), "come", number)

    def _do_connect(self, _: int) -> None:
        self._connect(1.0)
        self._push(self._chance.expovariate(self._link_rate), "connect", 0)

    def _connect(self, part: float, one: int | None = None) -> None:
        chance, devices = self._chance, len(self.keys)
        if one is None:
            one = chance.randrange(devices)
        for _ in range(20):
            if one not in self.present:
                one = chance.randrange(devices)
                continue
            other = (one + 1 + min(devices - 2, int(chance.expovariate(0.12)))) % devices
            link = (min(one, other), max(one, other), chance.choices(range(4), (5, 3, 2, 1))[0])
            if other != one and other in self.present and link not in self.links:
                self._open(link, part)
                return

    def _open(self, link: Link, part: float = 1.0) -> None:
        flaps = self._chance.random() < 1 / 12
        life = self._chance.expovariate(1 / 20) if flaps else self._chance.lognormvariate(0, _SIGMA_LINK) * _LINK_MEDIAN
        self.links[link] = self._now
        for end in link[:2]:
            self._touching[end][link] = None
            self._texts.pop(end, None)
        self._note(link, False)
        self._push(life * part, "flap" if flaps else "end", link)

    def _do_end(self, link: Link) -> None:
        self._do_disconnect(link)

    def _do_flap(self, link: Link) -> None:
        if self._do_disconnect(link) and self._chance.random() < 0.75:
            self._push(self._chance.expovariate(1 / 15), "again", link)

    def _do_again(self, link: Link) -> None:
        if link not in self.links and link[0] in self.present and link[1] in self.present:
            self._open(link)

    def _do_disconnect(self, link: Link) -> bool:
        begun = self.links.pop(link, None)
        if begun is None:
            return False
        if len(self.lives) < 200_000:
            self.lives.append(self._now - begun)
        for end in link[:2]:
            del self._touching[end][link]
            self._texts.pop(end, None)
        self._note(link, True)
        return True

    def _do_edit(self, _: int) -> None:
        number = self._chance.choice(list(self.present))
        self._revisions[number] += 1
        if self._chance.random() < 1 / 60:
            self._versions[number] += 1
        self._heads[number] = b""
        self._texts.pop(number, None)
        self._note(number, True)
        for edited in self._edited:
            edited.add(number)
        self._push(self._chance.expovariate(_EDITS * self._live), "edit", 0)
