"""The simulated day: its shape, its determinism, its size, and that every entry of its story can be seen in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from peerstore import demo

ROOT = Path(__file__).parents[1]
LIMIT = timedelta(seconds=45)
DIGEST = """
import hashlib, json
from peerstore.demo import demo_observations
digest = hashlib.sha256()
for number, envelope in enumerate(demo_observations({seed})):
    if number % {step} == 0:
        digest.update(json.dumps(envelope).encode())
print(digest.hexdigest())
"""

Peers = dict[str, dict[str, Any]]


class View:
    """What one observer saw at one moment, by device name."""

    def __init__(self, graph: dict[str, Any] | None) -> None:
        self.everyone = [] if graph is None else [graph["localPeer"], *graph["remotePeers"]]
        self.peers: Peers = {peer["deviceName"]: peer for peer in self.everyone}
        self.names = set(self.peers)

    def clouds(self) -> set[str]:
        return {name for name, peer in self.peers.items() if peer["isConnectedToDittoCloud"]}

    def transports(self, name: str) -> set[str]:
        return {connection["connectionType"] for connection in self.peers[name]["connections"]}

    def listed(self, name: str) -> set[str]:
        return {connection["id"] for connection in self.peers[name]["connections"]}


class Day:
    """The recorded day, by observer; asks about it as of a time."""

    def __init__(self, seed: int) -> None:
        self.envelopes = list(demo.demo_observations(seed))
        names = {peer["peerKeyString"]: peer["deviceName"] for peer in self._local_peers()}
        self.by_observer: dict[str, list[tuple[datetime, dict[str, Any] | None]]] = {}
        for envelope in self.envelopes:
            spoken = (moment(envelope["observedAt"]), envelope["graph"])
            self.by_observer.setdefault(names[observer_key(envelope)], []).append(spoken)

    def _local_peers(self) -> Iterator[dict[str, Any]]:
        for envelope in self.envelopes:
            if envelope["graph"] is not None and envelope["graph"]["localPeer"]["deviceName"] != "ditto":
                yield envelope["graph"]["localPeer"]

    def at(self, time: str, observer: str) -> View | None:
        """Its view at a time of day; None while it is not watching."""
        when = moment(f"{demo.DAY}T{time}Z")
        said = [(at, graph) for at, graph in self.by_observer[observer] if at <= when]
        if not said or said[-1][1] is None or when - said[-1][0] > LIMIT:
            return None
        return View(said[-1][1])

    def seen(self, time: str, observer: str = "sim-office-1") -> View:
        view = self.at(time, observer)
        assert view is not None, f"{observer} is not watching at {time}"
        return view

    def between(self, since: str, until: str, observer: str = "sim-office-1") -> list[View]:
        start, end = moment(f"{demo.DAY}T{since}Z"), moment(f"{demo.DAY}T{until}Z")
        return [View(graph) for at, graph in self.by_observer[observer] if start <= at < end]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def observer_key(envelope: dict[str, Any]) -> str:
    if envelope["graph"] is None:
        return str(envelope["observer"])
    return str(envelope["graph"]["localPeer"]["peerKeyString"])


@cache
def recorded_day(seed: int = 2026) -> Day:
    return Day(seed)


@pytest.fixture
def day() -> Day:
    return recorded_day()


def digest(seed: int, step: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DIGEST.format(seed=seed, step=step)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_same_seed_gives_the_same_bytes_in_every_process() -> None:
    assert digest(2026, 7, "1") == digest(2026, 7, "2")
    assert digest(2026, 7, "1") != digest(2027, 7, "1")


def test_the_same_seed_gives_the_same_envelopes(day: Day) -> None:
    assert list(demo.demo_observations()) == day.envelopes


def test_live_then_late_is_the_whole(day: Day) -> None:
    live, late = list(demo.live_observations()), list(demo.late_observations())
    assert live + late == day.envelopes
    assert [envelope["observedAt"] for envelope in live] == sorted(envelope["observedAt"] for envelope in live)
    assert late[0]["observedAt"] < live[-1]["observedAt"]


@pytest.mark.parametrize("seed", [2026, 1, 2, 3])
def test_the_size_is_bounded(seed: int) -> None:
    envelopes = recorded_day(seed).envelopes
    assert 5_000 < len(envelopes) < 12_000
    assert len({id(envelope["graph"]) for envelope in envelopes}) < 1_500


@pytest.mark.parametrize("seed", [2026, 1, 2, 3])
def test_envelopes_have_the_contract_s_shape(seed: int) -> None:
    for envelope in recorded_day(seed).envelopes:
        assert re.fullmatch(r"2026-07-08T[0-2]\d:[0-5]\d:[0-5]\d\.\d{3}Z", envelope["observedAt"])
        assert moment("2026-07-08T06:30:00Z") <= moment(envelope["observedAt"]) <= moment("2026-07-08T22:00:00Z")
        members = {"observedAt", "graph", "sequence"}
        assert set(envelope) == members | ({"observer"} if envelope["graph"] is None else {"maxSilenceSeconds"})
        assert envelope.get("maxSilenceSeconds", 45) == 45


def test_graphs_have_the_shape_of_raw_presence_v3(day: Day) -> None:
    graphs = {id(envelope["graph"]): envelope["graph"] for envelope in day.envelopes if envelope["graph"] is not None}
    for graph in graphs.values():
        assert set(graph) == {"localPeer", "remotePeers"}
        peers = [graph["localPeer"], *graph["remotePeers"]]
        keys = [peer["peerKeyString"] for peer in peers]
        assert len(set(keys)) == len(keys)
        for peer in peers:
            check_peer(peer, set(keys))


def check_peer(peer: dict[str, Any], keys: set[str]) -> None:
    assert list(peer) == [
        *("peerKeyString", "deviceName", "os", "isConnectedToDittoCloud", "isCompatible", "dittoSdkVersion"),
        *("connections", "peerMetadata", "identityServiceMetadata"),
    ]
    assert peer["deviceName"] == "ditto" or peer["deviceName"].startswith("sim-")
    assert len(peer["deviceName"].encode()) <= 24
    assert peer["peerMetadata"] == {} or peer["peerMetadata"]["simulated"] is True
    for connection in peer["connections"]:
        ends = connection["peerKeyString1"], connection["peerKeyString2"]
        assert ends[0] < ends[1]
        assert set(ends) <= keys
        assert peer["peerKeyString"] in ends
        assert connection["connectionType"] in {"AccessPoint", "Bluetooth", "P2PWiFi"}
        assert connection["id"].startswith("sim-")


def test_peer_keys_look_like_ditto_s(day: Day) -> None:
    keys = {peer["peerKeyString"] for view in day.between("06:30", "22:00") for peer in view.everyone}
    assert len(keys) == len(demo.DEVICES) == 19
    for key in keys:
        raw = urlsafe_b64decode(key.removeprefix("pk") + "=")
        assert len(raw) == 38
        assert len(key) == 53
        assert raw[:5].hex() == "0287028243"
        assert raw[5] in {2, 3}


@pytest.mark.parametrize("seed", [2026, 1, 2, 3])
def test_an_observer_delivers_at_most_once_a_second_and_within_its_limit(seed: int) -> None:
    for observer, said in recorded_day(seed).by_observer.items():
        gaps = [later - earlier for (earlier, _), (later, _) in pairwise(said)]
        assert min(gaps[:-1]) >= timedelta(seconds=1)
        assert gaps[-1] > timedelta(0)
        silences = [gap for gap in gaps if gap > LIMIT]
        assert len(silences) == (1 if observer == "sim-till-3" else 0)


def test_sequences_count_up(day: Day) -> None:
    sequences: dict[str, list[int]] = {}
    for envelope in day.envelopes:
        sequences.setdefault(observer_key(envelope), []).append(envelope["sequence"])
    for numbers in sequences.values():
        assert numbers == list(range(len(numbers)))


# The story


def opening(day: Day) -> None:
    own = [view.everyone[0] for view in day.between("06:30", "06:31")]
    assert own[0]["deviceName"] == "ditto"
    assert own[1]["deviceName"] == "sim-office-1"
    seen = [view.peers["sim-till-1"] for view in day.between("06:30", "08:00") if "sim-till-1" in view.names]
    assert (seen[0]["os"], seen[0]["dittoSdkVersion"], seen[0]["isCompatible"]) == (None, None, None)
    assert seen[0]["peerMetadata"] == {}
    assert (seen[-1]["os"], seen[-1]["dittoSdkVersion"], seen[-1]["isCompatible"]) == ("Android", "4.14.4", True)
    assert seen[-1]["peerMetadata"]["role"] == "till"
    assert len(day.seen("07:55").names) == 17
    assert day.seen("07:55").clouds() == {"sim-office-1"}


def roaming(day: Day) -> None:
    for since, until in (("08:00", "10:00"), ("17:00", "19:00")):
        views = day.between(since, until)
        for till in (f"sim-till-{number}" for number in range(1, 13)):
            transports = [view.transports(till) for view in views]
            assert {"Bluetooth"} in transports
            assert {"Bluetooth", "AccessPoint"} in transports
            assert "AccessPoint" in transports[-1]
    assert len(day.seen("08:01").names) == 18


def flapping(day: Day) -> None:
    present = ["sim-till-5" in view.names for view in day.between("10:15", "10:35")]
    assert sum(before and not after for before, after in pairwise(present)) >= 6
    assert present[0]
    assert present[-1]


def reinstallation(day: Day) -> None:
    old = day.seen("11:14:30").peers["sim-till-8"]
    assert "sim-till-8" not in day.seen("11:17").names
    new = day.seen("11:20").peers["sim-till-8"]
    assert old["peerKeyString"] != new["peerKeyString"]
    assert old["peerMetadata"] == new["peerMetadata"] != {}
    first = next(view for view in day.between("11:17", "11:20") if "sim-till-8" in view.names)
    assert first.peers["sim-till-8"]["peerMetadata"] == {}


def one_sided_connection(day: Day) -> None:
    both = day.seen("11:59")
    shared = both.listed("sim-till-1") & both.listed("sim-till-2")
    assert len(shared) == 1
    for observer in ("sim-office-1", "sim-kitchen-1", "sim-till-3"):
        half = day.seen("12:02", observer)
        assert shared <= half.listed("sim-till-1")
        assert not shared & half.listed("sim-till-2")
    assert shared <= day.seen("12:05").listed("sim-till-2")


def empty_battery(day: Day) -> None:
    for time, believed in (("12:20:02", True), ("12:20:39", True), ("12:20:41", False)):
        assert "sim-till-7" not in day.seen(time, "sim-office-1").names
        assert ("sim-till-7" in day.seen(time, "sim-kitchen-1").names) is believed
    assert "sim-till-7" in day.seen("12:51").names


def only_bridge(day: Day) -> None:
    assert all(view.clouds() == {"sim-till-2"} for view in day.between("12:30:10", "13:29:59"))
    assert day.seen("12:29:59").clouds() == day.seen("13:30:10").clouds() == {"sim-office-1"}


def no_cloud(day: Day) -> None:
    for observer in day.by_observer:
        assert not any(view.clouds() for view in day.between("13:40:02", "14:10", observer))
    assert day.seen("13:39:59").clouds() == day.seen("14:10:02").clouds() == {"sim-office-1"}


def split(day: Day) -> None:
    kitchen = {*(f"sim-kitchen-{n}" for n in (1, 2, 3)), *(f"sim-till-{n}" for n in (10, 11, 12))}
    front = {*(f"sim-till-{n}" for n in range(1, 10)), "sim-office-1", "sim-manager-tablet"}
    for time in ("14:03:02", "14:03:30", "14:11:59"):
        assert day.seen(time, "sim-kitchen-1").names == kitchen
        for observer in ("sim-office-1", "sim-till-3", "sim-manager-tablet"):
            assert day.seen(time, observer).names == front
        assert day.seen(time).transports("sim-till-3") == {"Bluetooth"}
    for observer in day.by_observer:
        assert day.seen("14:02:59", observer).names == day.seen("14:12:30", observer).names
        assert len(day.seen("14:12:30", observer).names) == 18


def rollout(day: Day) -> None:
    arrived = []
    for till in (f"sim-till-{number}" for number in range(1, 13)):
        assert day.seen("14:19").peers[till]["dittoSdkVersion"] == "4.14.4"
        views = day.between("14:19", "15:49")
        arrived.append([view.peers.get(till, {}).get("dittoSdkVersion") for view in views].index("5.1.0"))
        assert any(till not in view.names for view in views)
    assert arrived == sorted(set(arrived))
    others = {peer["dittoSdkVersion"] for peer in day.seen("15:49").everyone if "till" not in peer["deviceName"]}
    assert others == {"4.14.4"}
    assert day.at("14:34:55", "sim-till-3") is None
    restarted = day.between("14:35", "14:37", "sim-till-3")
    assert restarted[0].names == {"ditto"}
    assert len(restarted[-1].names) == 18


def terrace(day: Day) -> None:
    island = {"sim-manager-tablet", "sim-till-9"}
    for time in ("15:50:10", "15:55", "16:09:59"):
        assert day.seen(time, "sim-manager-tablet").names == island
        assert day.seen(time, "sim-manager-tablet").transports("sim-till-9") == {"P2PWiFi"}
        for observer in ("sim-office-1", "sim-kitchen-1", "sim-till-3"):
            assert not island & day.seen(time, observer).names
    assert island <= day.seen("16:10:10").names


def other_role(day: Day) -> None:
    roles = {time: day.seen(time).peers["sim-till-6"]["peerMetadata"]["role"] for time in ("16:19", "16:21", "16:51")}
    assert roles == {"16:19": "till", "16:21": "self-checkout", "16:51": "till"}


def manager_goes_home(day: Day) -> None:
    tablet = day.by_observer["sim-manager-tablet"]
    assert tablet[-1] == (moment("2026-07-08T18:30:00Z"), None)
    assert "sim-manager-tablet" not in day.seen("18:31").names
    uploaded = [envelope["observedAt"] for envelope in day.envelopes[-len(tablet) :]]
    assert [moment(text) for text in uploaded] == [at for at, _ in tablet]
    assert moment(uploaded[0]) < moment("2026-07-08T08:01:00Z")


def dead_observer(day: Day) -> None:
    last, graph = day.by_observer["sim-kitchen-1"][-1]
    assert graph is not None
    assert moment("2026-07-08T19:29:15Z") < last < moment("2026-07-08T19:30:00Z")
    assert "sim-kitchen-1" not in day.seen("19:31").names


def clean_stop(day: Day) -> None:
    assert day.by_observer["sim-till-3"][-1] == (moment("2026-07-08T21:00:00Z"), None)
    assert "sim-till-3" not in day.seen("21:01").names


def closing(day: Day) -> None:
    assert day.by_observer["sim-office-1"][-1] == (moment("2026-07-08T22:00:00Z"), None)
    sizes = [len(view.names) for view in day.between("21:05", "22:00")]
    assert sizes == sorted(sizes, reverse=True)
    assert (len(day.seen("21:04:59").names), sizes[-1]) == (15, 1)


VISIBLE: dict[str, Callable[[Day], None]] = {
    "06:30": opening,
    "08:00": roaming,
    "10:20": flapping,
    "11:15": reinstallation,
    "12:00": one_sided_connection,
    "12:20": empty_battery,
    "12:30": only_bridge,
    "13:40": no_cloud,
    "14:03": split,
    "14:20": rollout,
    "15:50": terrace,
    "16:20": other_role,
    "18:30": manager_goes_home,
    "19:30": dead_observer,
    "21:00": clean_stop,
    "21:05": closing,
}


@pytest.mark.parametrize("seed", [2026, 1, 2, 3])
@pytest.mark.parametrize("time", [time for time, _ in demo.STORY])
def test_every_entry_of_the_story_can_be_seen(time: str, seed: int) -> None:
    VISIBLE[time](recorded_day(seed))


def test_the_story_is_in_order() -> None:
    times = [time for time, _ in demo.STORY]
    assert times == sorted(set(times))
    assert all(sentence.endswith(".") for _, sentence in demo.STORY)


# The questions


def test_questions_use_known_commands_and_names() -> None:
    names = {device.name for device in demo.DEVICES.values()}
    commands = [command for _, commands in demo.QUESTIONS for command in commands]
    assert 8 <= len(demo.QUESTIONS) <= 10
    assert {command[0] for command in commands} == {
        *("at", "diff", "changes", "metadata", "peer", "connections", "sessions", "observers"),
    }
    for word in (word for command in commands for word in command):
        assert not word.startswith("sim-") or word in names - {"sim-till-8"}
        assert not word.startswith("2026") or moment(word).astimezone(UTC)


def test_questions_are_filled_in_with_the_moment_before_the_upload() -> None:
    filled = demo.questions("2026-08-01T00:00:00Z")
    words = [word for _, commands in filled for command in commands for word in command]
    assert "2026-08-01T00:00:00Z" in words
    assert demo.BEFORE_UPLOAD not in words
    assert [sentence for sentence, _ in filled] == [sentence for sentence, _ in demo.QUESTIONS]
