"""Contacts, flapping, transports, fallbacks, degree: told by hand at the edges, and against brute force."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import peerstore
from peerstore.answers.links import DEFAULT_CAPS
from tests.commands import answer, run

NOON = datetime(2026, 7, 8, 12, tzinfo=UTC)
BLUE, WIFI = "a b Bluetooth", "a b AccessPoint"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def seconds(moment: datetime | timedelta | None) -> float | None:
    if isinstance(moment, datetime):
        moment -= NOON
    return None if moment is None else moment.total_seconds()


def link(text: str) -> dict[str, str]:
    """A connection: both ends, the type, and if it matters the id."""
    one, other, kind, *name = text.split()
    return {"peer1": one, "peer2": other, "connectionType": kind, "id": name[0] if name else text.replace(" ", "-")}


def seen(*links: str, peers: str = "a b", local: str = "a") -> dict[str, Any]:
    """A graph of these peers and links."""
    given = [link(text) for text in links]
    every = {
        key: {
            "peerKey": key,
            "deviceName": key,
            "connections": [each for each in given if key in (each["peer1"], each["peer2"])],
        }
        for key in peers.split()
    }
    return {"localPeer": every.pop(local), "remotePeers": list(every.values())}


Tale = dict[float, dict[str, Any] | None]


@pytest.fixture
def tell(store_url: str) -> Iterator[Callable[..., peerstore.PeerStore]]:
    """A store in which an observer said these things at these seconds after noon."""
    with peerstore.open(store_url) as store:

        def told(tale: Tale, observer: str = "a", max_silence: float | None = None) -> peerstore.PeerStore:
            for when, graph in tale.items():
                store.record(graph, observed_at=at(when), observer=observer, max_silence=max_silence)
            return store

        yield told


Tell = Callable[..., peerstore.PeerStore]


# Contacts.


def test_a_contact_unites_ids_counts_episodes_and_keeps_unobserved_time_apart(tell: Tell) -> None:
    store = tell(
        {
            0: seen(),
            10: seen(f"{BLUE} one"),
            20: seen(f"{BLUE} two"),  # another id takes over: no break
            30: seen(),
            34: seen(f"{BLUE} one", WIFI),
            40: None,
            60: seen(WIFI),
            70: seen(WIFI),
        }
    )
    wifi, blue = store.contacts()
    assert (blue.peer1, blue.peer2, blue.type, blue.connections) == ("a", "b", "Bluetooth", ("one", "two"))
    assert (blue.episodes, seconds(blue.total), seconds(blue.longest), seconds(blue.mean)) == (2, 26, 20, 13)
    assert (seconds(blue.first_start), seconds(blue.last_end)) == (10, 40)
    assert (seconds(blue.known), seconds(blue.unobserved), blue.share) == (50, 20, 26 / 50)
    assert (wifi.type, wifi.episodes, seconds(wifi.total), wifi.last_end) == ("AccessPoint", 2, 16, None)
    joined = list(store.contacts("b", "a", grace=4.000001))[1]
    assert (joined.episodes, seconds(joined.total), seconds(joined.longest)) == (1, 26, 30)
    assert [each.episodes for each in store.contacts(grace=4, since=NOON)] == [2, 2]
    [cut] = store.contacts(since=at(15), until=at(25))
    assert (seconds(cut.first_start), cut.last_end, seconds(cut.total), seconds(cut.known)) == (15, None, 10, 10)
    assert list(store.contacts("b", "c")) == list(store.contacts(since=at(41), until=at(59))) == []


def test_contacts_of_nothing() -> None:
    with peerstore.open(":memory:") as store:
        asked: list[Callable[[], Iterator[Any]]] = [store.contacts, store.flapping, store.transports, store.fallbacks]
        asked += [store.degrees, lambda: store.degree_over("a")]
        assert [list(ask()) for ask in asked] == [[]] * 6


# Flapping.


def test_so_many_starts_in_less_than_the_window_flap(tell: Tell) -> None:
    tale: Tale = {-1: seen()}
    for start, length in ((0, 0.5), (20, 2), (40, 10), (100, 60), (170, 400)):
        tale |= {start: seen(BLUE), start + length: seen()}
    store = tell(dict(sorted(tale.items())) | {1000: seen(BLUE)})
    [found] = store.flapping(count=3, within=40.000001)
    assert (found.episodes, found.most, found.open, found.cut) == (6, 3, 1, 0)
    assert (seconds(found.window_start), seconds(found.window_end)) == (0, 40.000001)
    assert (seconds(found.shortest), found.durations) == (0.5, (1, 1, 1, 1, 1))
    assert found.connection is not None
    assert (found.connection.id, found.peer_key) == ("a-b-Bluetooth", None)
    assert list(store.flapping(count=3, within=40)) == []
    [short] = store.flapping(count=9, shorter_than=0.6)
    assert short.most == 3
    assert list(store.flapping(count=9, shorter_than=0.5)) == list(store.flapping(peer="c")) == []


def test_episodes_are_those_that_begin_in_the_range_and_are_told_whole(tell: Tell) -> None:
    store = tell({-1: seen(), 0: seen(BLUE), 5: seen(), 6: seen(BLUE), 50: seen(), 51: seen(BLUE), 80: seen()})
    [found] = store.flapping(count=1, since=at(1), until=at(51))
    assert (found.episodes, seconds(found.shortest), seconds(found.window_start)) == (1, 44, 6)


def test_what_observers_do_does_not_flap(tell: Tell) -> None:
    tale: Tale = {}
    for start in range(0, 100, 10):
        tale |= {start: seen(BLUE), start + 5: None}
    store = tell({**tale, 100: seen(BLUE), 102: seen(), 104: seen(BLUE), 106: seen()})
    [found] = store.flapping(count=1)
    assert (found.episodes, found.cut, found.most, seconds(found.window_start)) == (1, 11, 1, 104)
    tell({1: seen(peers="z", local="z"), 90: seen(peers="z", local="z")}, observer="z")  # looks on, sees nothing of it
    [found] = store.flapping(count=1)
    assert (found.episodes, found.cut) == (1, 11)


def test_peers_flap_too(tell: Tell) -> None:
    tale: Tale = {0: seen(peers="a")}
    for start in (10, 20, 30):
        tale |= {start: seen(), start + 5: seen(peers="a")}
    store = tell(tale)
    [found] = store.flapping(of="peer")
    assert (found.peer_key, found.connection, found.episodes, found.most) == ("b", None, 3, 3)
    assert [each.peer_key for each in store.flapping(of="peer", peer="b", since=NOON)] == ["b"]
    assert list(store.flapping(of="peer", peer="a")) == list(store.flapping()) == []


# Transports.


def test_buckets_begin_at_full_multiples_and_a_dark_one_is_told(tell: Tell) -> None:
    store = tell({5: seen(BLUE), 15: seen(BLUE, WIFI), 20: seen(WIFI), 25: None, 45: seen(peers="a"), 52: seen()})
    found = list(store.transports(every=10))
    assert [seconds(each.start) for each in found] == [5, 10, 20, 30, 40, 50]
    assert [seconds(each.end) for each in found] == [10, 20, 30, 40, 50, 52]
    assert [seconds(each.known) for each in found] == [5, 10, 5, 0, 5, 2]
    assert [seconds(each.unobserved) for each in found] == [0, 0, 5, 10, 5, 0]
    assert [seconds(each.peer_time) for each in found] == [10, 20, 10, 0, 5, 2]
    assert [seconds(each.connected_peer_time) for each in found] == [10, 20, 10, 0, 0, 0]
    told = [[(each.type, each.links, seconds(each.link_time), seconds(each.only_time)) for each in mix.transports]
            for mix in found]  # fmt: skip
    assert told[0] == [("Bluetooth", 1, 5, 10)]
    assert told[1] == [("AccessPoint", 1, 5, 0), ("Bluetooth", 1, 10, 10)]
    assert told[2] == [("AccessPoint", 1, 5, 10)]  # the Bluetooth one ended as the bucket began
    assert told[3:] == [[], [], []]
    assert (found[1].only_share("Bluetooth"), found[1].only_share("P2PWiFi"), found[3].only_share("x")) == (
        0.5,
        0,
        None,
    )
    [whole] = store.transports()
    assert (seconds(whole.start), seconds(whole.end), seconds(whole.known)) == (5, 52, 27)
    assert whole.to_dict()["transports"][0] == {
        "type": "AccessPoint", "links": 1, "link_seconds": 10.0, "only_seconds": 10.0, "only_share": 0.25,
    }  # fmt: skip


def test_a_connection_that_comes_back_in_a_bucket_is_one(tell: Tell) -> None:
    store = tell(
        {0: seen(BLUE), 1: seen(), 2: seen(BLUE), 3: None, 4: seen(BLUE), 5: seen("a b Bluetooth 2"), 9: seen()}
    )
    [mix] = store.transports()
    assert [(each.links, seconds(each.link_time)) for each in mix.transports] == [(2, 7)]


def test_an_unknown_end_has_no_time_and_a_self_link_counts_once(tell: Tell) -> None:
    store = tell({0: seen("a unheard Bluetooth", "b b WebSocket"), 10: seen()})
    [mix] = store.transports()
    assert (seconds(mix.peer_time), seconds(mix.connected_peer_time)) == (20, 20)
    assert [(each.type, each.links, seconds(each.only_time)) for each in mix.transports] == [
        ("Bluetooth", 1, 10), ("WebSocket", 1, 10)
    ]  # fmt: skip
    [mine] = store.transports(peer="b", since=NOON, until=at(10))
    assert [(each.type, seconds(each.link_time)) for each in mine.transports] == [("WebSocket", 10)]
    assert [(each.peer_key, each.most) for each in store.degrees()] == [("a", 1), ("b", 1)]


def test_too_many_buckets_are_refused(tell: Tell) -> None:
    store = tell({0: seen(), 2_000_000: seen()})
    with pytest.raises(peerstore.QuestionError, match="1,000,000 are the most"):
        store.transports(every=1, since=NOON, until=at(1_000_000.5))
    with pytest.raises(peerstore.QuestionError, match="1,000,000 are the most"):
        next(store.transports(every=1))
    assert sum(1 for _ in store.transports(every=100)) == 20_000


# Fallbacks.


def test_a_pair_falls_back_through_a_short_moment_without_a_connection(tell: Tell) -> None:
    store = tell({0: seen(WIFI), 10: seen(), 13: seen(BLUE), 20: seen(BLUE, WIFI), 30: seen(BLUE), 40: seen()})
    told = [(seconds(each.observed_at), each.before, each.after) for each in store.fallbacks()]
    assert told == [
        (20, ("Bluetooth",), ("AccessPoint", "Bluetooth")),
        (30, ("AccessPoint", "Bluetooth"), ("Bluetooth",)),
    ]
    fell = list(store.fallbacks(from_type="accesspoint", to_type="BLUETOOTH", grace=3.000001))
    assert [(seconds(each.observed_at), each.before, each.after) for each in fell] == [
        (13, ("AccessPoint",), ("Bluetooth",)),
        (30, ("AccessPoint", "Bluetooth"), ("Bluetooth",)),
    ]
    assert len(list(store.fallbacks("b", "a", from_type="AccessPoint", grace=3))) == 1
    [cut] = store.fallbacks(since=at(13), until=at(20), grace=4)
    assert cut.before == ("AccessPoint",)


def test_ends_are_told_if_asked_and_wait_for_the_grace(tell: Tell) -> None:
    store = tell({0: seen(), 5: seen(WIFI), 10: seen(), 13: seen(BLUE), 30: seen()})
    ends = [
        (seconds(each.observed_at), "+".join(each.before), "+".join(each.after)) for each in store.fallbacks(ends=True)
    ]
    assert ends == [(5, "", "AccessPoint"), (10, "AccessPoint", ""), (13, "", "Bluetooth"), (30, "Bluetooth", "")]
    waited = [seconds(each.observed_at) for each in store.fallbacks(ends=True, grace=4)]
    assert waited == [5, 13, 30]
    assert [seconds(each.observed_at) for each in store.fallbacks(ends=True, grace=4, until=at(12))] == [5]
    assert [seconds(each.observed_at) for each in store.fallbacks(ends=True, grace=3, until=at(12))] == [5, 10]


def test_a_change_over_unobserved_time_is_marked(tell: Tell) -> None:
    store = tell({0: seen(WIFI), 10: None, 20: seen(BLUE), 30: seen(), 40: None, 41: seen(WIFI)})
    told = [(each.before, each.after, each.across_gap) for each in store.fallbacks(grace=12)]
    assert told == [(("AccessPoint",), ("Bluetooth",), True), (("Bluetooth",), ("AccessPoint",), True)]
    assert [each.across_gap for each in store.fallbacks(ends=True)] == [False, True, False, True]


def test_a_peer_falls_back_over_all_its_connections(tell: Tell) -> None:
    three = "a b c"
    store = tell({0: seen("a b AccessPoint", "a c Bluetooth", peers=three), 9: seen("a c Bluetooth", peers=three)})
    [found] = store.fallbacks(of="peer")
    assert (found.peer1, found.peer2, found.after) == ("a", None, ("Bluetooth",))
    assert list(store.fallbacks("c", of="peer")) == list(store.fallbacks()) == []
    assert list(store.fallbacks("a", of="peer")) == [found]


# Degree.


def test_a_degree_is_of_the_time_for_which_the_peer_was_present(tell: Tell) -> None:
    three = "a b c"
    store = tell(
        {
            0: seen(peers="a"),
            10: seen("a b Bluetooth", "a b AccessPoint", "a c WebSocket", peers=three),
            20: seen("a b Bluetooth", peers="a b"),
            30: None,
            40: seen(peers="a"),
        }
    )
    one, two, three_ = store.degrees(caps={"accesspoint+WEBSOCKET": 2, "Bluetooth": 1})
    assert (one.peer_key, seconds(one.present), one.mean, one.most, seconds(one.most_at)) == ("a", 30, 4 / 3, 3, 10)
    assert one.most_by_type == {"AccessPoint": 1, "Bluetooth": 1, "WebSocket": 1}
    assert {name: seconds(time) for name, time in one.at_cap.items()} == {"accesspoint+WEBSOCKET": 10, "Bluetooth": 20}
    assert (seconds(one.known), seconds(one.unobserved)) == (30, 10)
    assert (two.peer_key, seconds(two.present), two.mean, three_.peer_key, three_.most) == ("b", 20, 1.5, "c", 1)
    [default] = store.degrees("a")
    assert default.at_cap == dict.fromkeys(DEFAULT_CAPS, timedelta())
    stretches = [(each.state, each.links, seconds(each.start), seconds(each.end)) for each in store.degree_over("b")]
    assert stretches == [
        ("absent", 0, 0, 10),
        ("present", 2, 10, 20),
        ("present", 1, 20, 30),
        ("unobserved", None, 30, 40),
    ]


def test_a_question_that_makes_no_sense_is_refused_at_once(tell: Tell) -> None:
    store = tell({0: seen()})
    refused: list[Callable[[], Any]] = [
        lambda: store.flapping(count=0),
        lambda: store.flapping(within=0),
        lambda: store.flapping(of="graph"),  # type: ignore[arg-type]
        lambda: store.transports(every=0),
        lambda: store.fallbacks(of="mesh"),  # type: ignore[arg-type]
        lambda: store.fallbacks("a", "b", of="peer"),
        lambda: store.degrees(caps={"Bluetooth": 0}),
        lambda: store.degrees(caps={"Bluetooth+": 1}),
        lambda: store.contacts(since=at(1), until=at(0)),
    ]
    for ask in refused:
        with pytest.raises(peerstore.QuestionError):
            ask()


def test_a_mesh_of_many_is_answered_whole_and_in_order(tell: Tell) -> None:
    """Without a window the first answers are found by themselves; with one, all of them at once."""
    many = [f"p{number:02}" for number in range(90)]
    everybody, some = (
        seen(
            *(f"a {key} Bluetooth" for key in keys),
            *(f"p00 {key} WebSocket" for key in keys),
            peers=" ".join(("a", *keys)),
        )
        for keys in (many, many[::3])
    )
    store = tell({0: everybody, 10: some, 20: everybody, 30: some, 40: everybody, 45: some})
    asked: list[Callable[..., Iterator[Any]]] = [store.contacts, store.degrees]
    asked += [partial(store.flapping, 2), partial(store.flapping, 2, of="peer")]
    for ask, expected in zip(asked, (180, 91, 120, 60), strict=True):
        found = list(ask())
        assert len(found) == expected
        assert found == list(ask(since=NOON))


# The commands.


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERSTORE_DB", str(tmp_path / "mesh.db"))
    with peerstore.open(tmp_path / "mesh.db") as store:
        tale: Tale = {
            0: seen(WIFI),
            10: seen(BLUE),
            20: seen(),
            30: seen(BLUE),
            35: seen(),
            40: None,
            50: seen(BLUE),
            60: seen(),
        }
        for when, graph in tale.items():
            store.record(graph, observed_at=at(when), observer="a")


@pytest.mark.usefixtures("mesh")
def test_the_commands_tell_people_and_programs() -> None:
    contacts = run("contacts")
    assert contacts.stdout.splitlines()[2].split()[:6] == ["a", "b", "AccessPoint", "1", "10", "s"]
    assert "nobody was watching for 10 s of 1 min 00 s" in contacts.stderr
    assert [row["total_seconds"] for row in answer("contacts", "b", "--grace", "11s")] == [10.0, 25.0]
    assert answer("contacts", "--json")[1]["connections"] == ["a-b-Bluetooth"]
    assert run("flapping").stderr == "no connection flapped\n"
    [flaps] = answer("flapping", "--count", "2", "--within", "21s")
    assert (flaps["id"], flaps["most"], flaps["cut"], flaps["lasted_5_to_30_s"]) == ("a-b-Bluetooth", 2, 1, 2)
    assert run("flapping", "--shorter-than", "6s").stdout.splitlines()[2].split()[:5] == [
        "a",
        "b",
        "Bluetooth",
        "2",
        "2",
    ]
    assert run("flapping", "--peers").stderr == "no peer flapped\n"
    fell = run("fallbacks", "--from", "AccessPoint", "--to", "bluetooth").stdout.splitlines()
    assert fell[2].split() == ["2026-07-08T12:00:10Z", "a", "b", "AccessPoint", "Bluetooth"]
    assert len(answer("fallbacks", "a", "b", "--ends")) == 7
    assert run("fallbacks", "a", "--peers", "--ends").stdout.splitlines()[2].split()[1:] == [
        "a",
        "(none)",
        "AccessPoint",
    ]
    assert run("fallbacks", "a", "b", "--peers").exit_code == 2


@pytest.mark.usefixtures("mesh")
def test_transports_and_degree_on_the_command_line() -> None:
    rows = list(csv.DictReader(io.StringIO(run("transports", "--every", "20s", "--csv").stdout)))
    assert [(row["type"], row["links"], row["unobserved_seconds"]) for row in rows] == [
        ("AccessPoint", "1", "0.0"), ("Bluetooth", "1", "0.0"), ("Bluetooth", "1", "0.0"), ("Bluetooth", "1", "10.0"),
    ]  # fmt: skip
    nested = [json.loads(line) for line in run("transports", "--every", "20s", "--ndjson").stdout.splitlines()]
    assert [len(mix["transports"]) for mix in nested] == [2, 1, 1]
    shown = run("transports", "--every", "10s", env={"COLUMNS": "120"}).stdout.splitlines()
    assert shown[6].split() == ["2026-07-08T12:00:40Z", "2026-07-08T12:00:50Z", "10", "s"]
    assert run("transports", "--every", "1us", "--json").exit_code == 2
    degree = run("degree", "--cap", "Bluetooth=1", env={"COLUMNS": "120"})
    assert degree.stdout.splitlines()[2].split() == ["a", "50", "s", "0.7", "1", "2026-07-08T12:00:00Z", "AccessPoint",
        "1,", "Bluetooth", "1", "Bluetooth", "for", "25", "s"]  # fmt: skip
    assert "nobody was watching" in degree.stderr
    assert [row["state"] for row in answer("degree", "b")] == [*["present"] * 5, "unobserved", "present"]
    for wrong in (["--cap", "Bluetooth"], ["--cap", "=4"], ["--cap", "Bluetooth=0"], ["a", "--cap", "Bluetooth=1"]):
        assert run("degree", *wrong).exit_code == 2
