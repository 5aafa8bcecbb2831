"""The shape of the mesh: by hand where it matters, and against plain brute force on generated histories."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

import peerstore
from peerstore.times import instant, micros
from tests.conftest import ENGINES
from tests.machine import windows
from tests.shapes import (
    PEERS,
    Net,
    Reshaped,
    bridges,
    hops,
    islands,
    lost_between,
    lost_without,
    measured,
    meshes,
    net,
    reshapings,
    shortest_paths,
    stretches,
    unknown_ends,
)
from tests.worlds import World, arguments, recorded, tried, worlds

NOON = datetime(2026, 7, 8, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def at(seconds: float) -> datetime:
    return NOON + seconds * SECOND


def graph(peers: str, *links: str, cloud: str = "", local: str = "") -> dict[str, Any]:
    """Peers of one letter; links such as ``ab``, ``ab2`` for a second one, ``abB`` by Bluetooth; who has the cloud."""
    told = {
        key: {"peerKey": key, "isConnectedToDittoServer": key in cloud, "connections": []} for key in (*local, *peers)
    }
    for link in links:
        connection = {
            "id": link,
            "peer1": link[0],
            "peer2": link[1],
            "connectionType": "Bluetooth" if link.endswith("B") else "AccessPoint",
        }
        for end in link[:2]:
            if end in told:
                told[end]["connections"].append(connection)
    first, *others = told.values()
    return {"localPeer": first, "remotePeers": others}


@pytest.fixture
def store(store_url: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url) as opened:
        yield opened


def told(change: peerstore.IslandChange) -> tuple[Any, ...]:
    return (
        (change.observed_at - NOON) / SECOND,
        change.kind,
        "".join(change.peers),
        ["".join(keys) for keys in change.before],
        ["".join(keys) for keys in change.after],
    )


def changes(store: peerstore.PeerStore, **question: Any) -> list[tuple[Any, ...]]:
    return [told(change) for change in store.islands_over(**question)]


# Islands.


def test_islands_of_a_moment(store: peerstore.PeerStore) -> None:
    store.record(graph("abcdefg", "ab", "ab2", "bc", "de", "gg", "fx", cloud="bg"), at(0))
    found = store.islands_at(at(1))
    assert [("".join(each.peers), each.connections, each.bridges) for each in found.islands] == [
        ("abc", 3, ("b",)),
        ("de", 1, ()),
        ("f", 0, ()),
        ("g", 0, ("g",)),
    ]
    assert found.watched
    assert found.unknown_ends == 1  # f's connection to x; g's to itself is none
    assert found.of("e") == found.islands[1]
    assert found.of("x") is None
    assert found.to_dict()["islands"][1] == {"size": 2, "connections": 1, "peers": ["d", "e"], "bridges": []}


def test_where_nobody_watches_there_is_no_shape(store: peerstore.PeerStore) -> None:
    store.record(graph("ab", "ab"), at(0), max_silence=10)
    for moment in (at(-1), at(11)):
        assert not store.islands_at(moment).watched
        assert store.islands_at(moment).islands == ()
        assert store.cuts_at(moment).peers == ()
        assert store.distances_at("a", moment).hops == {}
        path = store.path_at("a", "b", moment)
        assert (path.watched, path.peer_present, path.hops, path.ways) == (False, False, None, ())


def test_the_mesh_splits_and_merges(store: peerstore.PeerStore) -> None:
    store.record(graph("abcd", "ab", "bc", "cd"), at(0))
    store.record(graph("abcd", "ab", "cd"), at(10))
    store.record(graph("abcd", "ab", "cd", "ad"), at(20))
    assert changes(store) == [
        (10, "split", "cd", ["abcd"], ["ab", "cd"]),
        (20, "merged", "cd", ["ab", "cd"], ["abcd"]),
    ]
    assert changes(store, since=at(10), until=at(20)) == changes(store)[:1]
    assert changes(store, since=at(10) + SECOND / 1000) == changes(store)[1:]


def test_another_connection_that_holds_the_ends_together_prevents_a_split(store: peerstore.PeerStore) -> None:
    store.record(graph("abcd", "ab", "bc", "cd", "da"), at(0))
    store.record(graph("abcd", "bc", "cd", "da"), at(10))
    store.record(graph("abcd", "bc", "bcB", "cd", "da"), at(20))
    store.record(graph("abcd", "bcB", "cd", "da"), at(30))
    assert changes(store, members=True)[1:] == []


def test_a_split_and_a_merge_of_one_instant(store: peerstore.PeerStore) -> None:
    store.record(graph("abcd", "ab", "cd"), at(0))
    store.record(graph("abcd", "ac", "bd"), at(10))
    assert changes(store) == [
        (10, "split", "b", ["ab"], ["ac", "bd"]),
        (10, "split", "d", ["cd"], ["ac", "bd"]),
        (10, "merged", "c", ["ab", "cd"], ["ac"]),
        (10, "merged", "d", ["ab", "cd"], ["bd"]),
    ]


def test_comings_and_goings_are_listed_on_demand(store: peerstore.PeerStore) -> None:
    store.record(graph("abc", "ab", "bc"), at(0))
    store.record(graph("abcd", "ab", "bc", "cd"), at(10))
    store.record(graph("acd", "cd"), at(20))  # b, who held them together, leaves
    store.record(graph("acde", "cd", "ae", "ce"), at(30))  # e joins the two islands
    assert changes(store) == [
        (20, "split", "a", ["abcd"], ["cd", "a"]),
        (30, "merged", "a", ["cd", "a"], ["acde"]),
    ]
    assert changes(store, members=True) == [
        (0, "joined", "abc", [], ["abc"]),
        (10, "joined", "d", ["abc"], ["abcd"]),
        (20, "left", "b", ["abcd"], ["cd", "a"]),
        (20, "split", "a", ["abcd"], ["cd", "a"]),
        (30, "merged", "a", ["cd", "a"], ["acde"]),
        (30, "joined", "e", ["cd", "a"], ["acde"]),
    ]


def test_the_changes_of_one_peers_island(store: peerstore.PeerStore) -> None:
    store.record(graph("abcd", "ab", "cd"), at(0))
    store.record(graph("abcd", "cd"), at(10))
    store.record(graph("abcd"), at(20))
    assert changes(store, peer="a") == [(10, "split", "b", ["ab"], ["a", "b"])]
    assert changes(store, peer="c") == [(20, "split", "d", ["cd"], ["c", "d"])]
    assert changes(store, peer="nobody") == []


def test_islands_across_unobserved_time(store: peerstore.PeerStore) -> None:
    """While nobody watches nothing changes; at the return the last known islands are compared."""
    store.record(graph("abc", "ab", "bc"), at(0), max_silence=5)
    store.record(graph("abc", "ab"), at(60))
    [change] = store.islands_over()
    assert told(change) == (60, "split", "c", ["abc"], ["ab", "c"])
    assert change.across_gap
    assert list(store.islands_over(since=at(30))) == [change]
    assert change.to_dict() == {
        "observed_at": "2026-07-08T12:01:00.000000Z",
        "kind": "split",
        "peers": ["c"],
        "before": [["a", "b", "c"]],
        "after": [["a", "b"], ["c"]],
        "across_gap": True,
    }


def test_islands_of_one_observers_view(store: peerstore.PeerStore) -> None:
    store.record(graph("ab", "ab"), at(0))
    store.record(graph("zb", "bz"), at(0))
    store.record(graph("ab"), at(10))
    assert changes(store) == [(10, "split", "a", ["abz"], ["bz", "a"])]
    assert changes(store, observer="a") == [(10, "split", "b", ["ab"], ["a", "b"])]
    assert changes(store, observer="z") == []


# What holds it together.


def test_cut_peers_and_cut_links(store: peerstore.PeerStore) -> None:
    store.record(graph("abcdefx", "ab", "bc", "ca", "cd", "de", "dfB", "df"), at(0))
    cuts = store.cuts_at(at(0))
    assert [(each.peer_key, each.lost) for each in cuts.peers] == [
        ("c", (("a", "b"),)),
        ("d", (("e",), ("f",))),
    ]
    assert [(each.connection.id, "".join(each.lost)) for each in cuts.links] == [("cd", "def"), ("de", "e")]
    assert cuts.to_dict()["peers"][1] == {"peer_key": "d", "lost_count": 2, "lost": [["e"], ["f"]]}
    assert cuts.to_dict()["links"][1] == {
        "id": "de",
        "peer1": "d",
        "peer2": "e",
        "type": "AccessPoint",
        "lost_count": 1,
        "lost": ["e"],
    }


def test_a_long_chain_is_no_trouble(store: peerstore.PeerStore) -> None:
    keys = [f"p{number:04}" for number in range(1500)]
    peers = {key: {"peerKey": key, "connections": [], "isConnectedToDittoServer": key == "p0000"} for key in keys}
    for one, other in pairwise(keys):
        peers[one]["connections"].append({"peer1": one, "peer2": other, "connectionType": "Bluetooth"})  # type: ignore[attr-defined]
    store.record({"localPeer": peers["p0000"], "remotePeers": list(peers.values())[1:]}, at(0))
    cuts = store.cuts_at(at(0))
    assert (len(cuts.peers), len(cuts.links)) == (1498, 1499)
    assert [len(group) for group in cuts.peers[0].lost] == [749]
    assert store.path_at("p0000", "p1499", at(0)).hops == 1499
    assert store.cloud_at(at(0)).routes["p1499"].paths == (tuple(reversed(keys)),)


# Paths and distances.


def test_all_shortest_paths_of_a_moment(store: peerstore.PeerStore) -> None:
    store.record(graph("abcdefz", "ab", "abB", "ac", "bd", "cd", "de", "ee"), at(0))
    path = store.path_at("a", "e", at(0))
    assert (path.hops, path.path_count) == (3, 2)
    assert [(each.peers, each.types) for each in path.ways] == [
        (("a", "b", "d", "e"), (("AccessPoint", "Bluetooth"), ("AccessPoint",), ("AccessPoint",))),
        (("a", "c", "d", "e"), (("AccessPoint",), ("AccessPoint",), ("AccessPoint",))),
    ]
    apart, same, absent = (store.path_at("a", other, at(0)) for other in ("z", "a", "x"))
    assert (apart.hops, apart.other_present, apart.ways) == (None, True, ())
    assert (same.hops, same.ways) == (0, (peerstore.Way(("a",), ()),))
    assert (absent.hops, absent.peer_present, absent.other_present) == (None, True, False)


def test_of_very_many_paths_the_first_hundred_are_given(store: peerstore.PeerStore) -> None:
    """Nine diamonds in a row have 512 shortest paths."""
    letters = "abcdefghijklmnopqrstuvwxyzAB"
    links = []
    for place in range(0, 27, 3):
        one, two, three, four = [*letters[place : place + 4]]
        links += [one + two, one + three, two + four, three + four]
    store.record(graph(letters, *links), at(0))
    path = store.path_at("a", "B", at(0))
    assert (path.hops, path.path_count, len(path.ways)) == (18, 512, 100)
    paths = [way.peers for way in path.ways]
    assert paths == sorted(paths)
    assert paths[0] == min(paths) == tuple("abdeghjkmnpqstvwyAB")
    [stretch] = store.paths_over("a", "B", at(0), at(1))
    assert stretch.path == paths[0]


@pytest.mark.parametrize("leaves", [("au", "av", "aw", "ax"), ("zu", "zv", "zw", "zx"), ()])
def test_the_smallest_path_wherever_the_two_searches_meet(store: peerstore.PeerStore, leaves: tuple[str, ...]) -> None:
    """A search that goes out from both ends leaves the bushy one to the other."""
    store.record(graph("abopqrstuvwxz", "ab", "bo", "op", "oq", "pr", "qr", "rs", "rt", "sz", "tz", *leaves), at(0))
    for one, other, path in (("a", "z", "aboprsz"), ("z", "a", "zsrpoba")):
        [stretch] = store.paths_over(one, other, at(0), at(1))
        assert "".join(stretch.path) == path


def test_a_path_over_time(store: peerstore.PeerStore) -> None:
    store.record(graph("abcd", "ab", "bd", "ac", "cd"), at(0), max_silence=100)
    store.record(graph("abcd", "ab", "bd", "cd"), at(10), max_silence=100)  # beside the path
    store.record(graph("abcd", "ac", "bd", "cd"), at(20), max_silence=100)
    store.record(graph("abcd", "ac", "bd"), at(30), max_silence=100)
    store.record(graph("abc", "ac"), at(40), max_silence=5)
    store.record(graph("abcd", "ad"), at(60), max_silence=100)
    store.record(graph("abcd", "ad"), at(70), max_silence=100)
    found = list(store.paths_over("a", "d"))
    assert [((each.start - NOON) / SECOND, each.state, each.hops, "".join(each.path)) for each in found] == [
        (0, "connected", 2, "abd"),
        (20, "connected", 2, "acd"),
        (30, "apart", None, ""),
        (40, "absent", None, ""),
        (45.000001, "unobserved", None, ""),
        (60, "connected", 1, "ad"),
    ]
    assert found[-1].end == at(70)
    assert all(one.end == other.start for one, other in pairwise(found))
    clipped = list(store.paths_over("a", "d", since=at(25), until=at(35)))
    assert [(each.start, each.end) for each in clipped] == [(at(25), at(30)), (at(30), at(35))]
    assert found[0].duration == timedelta(seconds=20)
    assert found[0].to_dict()["path"] == ["a", "b", "d"]


def test_a_path_outside_the_history_is_unobserved(store: peerstore.PeerStore) -> None:
    assert list(store.paths_over("a", "b")) == []
    store.record(graph("ab", "ab"), at(0))
    [early] = store.paths_over("a", "b", since=at(-20), until=at(-10))
    assert early.state == "unobserved"
    assert [each.state for each in store.paths_over("a", "a", since=at(0), until=at(1))] == ["connected"]
    with pytest.raises(peerstore.QuestionError):
        store.paths_over("a", "b", since=at(1), until=at(0))


def test_distances_of_a_moment(store: peerstore.PeerStore) -> None:
    store.record(graph("abcde", "ab", "bc"), at(0))
    store.record(graph("zac", "ac", "az"), at(0))
    assert store.distances_at("a", at(0)).hops == {"a": 0, "b": 1, "c": 1, "d": None, "e": None, "z": 1}
    alone = store.distances_at("a", at(0), observer="a")
    assert alone.hops == {"a": 0, "b": 1, "c": 2, "d": None, "e": None}
    assert alone.to_dict()["hops"][2] == {"peer_key": "c", "hops": 2}
    assert store.distances_at("x", at(0)).present is False
    assert set(store.distances_at("x", at(0)).hops.values()) == {None}


def test_a_missing_library_is_named(store: peerstore.PeerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    for ask in (
        lambda: store.islands_at(NOON),
        store.islands_over,
        lambda: store.cuts_at(NOON),
        lambda: store.path_at("a", "b", NOON),
        lambda: store.paths_over("a", "b"),
        lambda: store.distances_at("a", NOON),
        lambda: store.cloud_at(NOON),
    ):
        with pytest.raises(peerstore.MissingExtra, match=r"peerstore\[graph\]"):
            ask()
    assert [*store.cloud_sessions(), *store.cloud_over()] == []


# Against brute force.

anything = st.one_of(worlds(), meshes(), meshes())


def moments_of(view: Any) -> list[int]:
    return sorted({point + edge for point in view.change_points() for edge in (-1, 0)})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_moments_shape_is_that_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=anything)
    def holds(world: World) -> None:
        with recorded(world, engine) as (store, view):
            for t in moments_of(view)[::3]:
                moment = view.presence(t)
                mesh, question = net(moment), (instant(t),)
                found = store.islands_at(*question, **arguments(world))
                assert found.watched == bool(moment.watching)
                assert found.unknown_ends == unknown_ends(moment)
                assert [each.peers for each in found.islands] == islands(mesh.near)
                for island in found.islands:
                    inside = [link for pair, links in mesh.links.items() if pair[0] in island.peers for link in links]
                    assert island.connections == len(inside)
                    assert set(island.bridges) == set(island.peers) & bridges(moment)
                check_cuts(store.cuts_at(*question, **arguments(world)), mesh)
                for peer in (*mesh.near, "x")[:4]:
                    away = store.distances_at(peer, *question, **arguments(world))
                    steps = hops(mesh.near, peer) if peer in mesh.near else {}
                    assert away.hops == {key: steps.get(key) for key in sorted(mesh.near)}
                    check_path(store.path_at(peer, "c", *question, **arguments(world)), mesh, peer, "c")

    holds()


def check_cuts(cuts: peerstore.Cuts, mesh: Net) -> None:
    expected = {peer: tuple(lost) for peer in mesh.near if (lost := lost_without(mesh, peer))}
    assert {each.peer_key: each.lost for each in cuts.peers} == expected
    costs = [(-sum(map(len, each.lost)), each.peer_key) for each in cuts.peers]
    assert costs == sorted(costs)
    alone = {pair: links[0] for pair, links in mesh.links.items() if len(links) == 1}
    links = {link: lost[0] for pair, link in alone.items() if (lost := lost_between(mesh, pair))}
    found = [(link.peer1, link.peer2, link.type, link.id) for link in (each.connection for each in cuts.links)]
    assert found == sorted(links, key=lambda link: (-len(links[link]), link))
    assert [each.lost for each in cuts.links] == [links[link] for link in found]


def check_path(path: peerstore.MeshPath, mesh: Net, peer: str, other: str) -> None:
    expected = shortest_paths(mesh.near, peer, other)
    assert [way.peers for way in path.ways] == expected[:100]
    assert path.path_count == len(expected)
    assert path.hops == (len(expected[0]) - 1 if expected else None)
    assert (path.peer_present, path.other_present) == (peer in mesh.near, other in mesh.near)
    for way in path.ways:
        assert way.types == tuple(
            tuple(sorted({link[2] for link in mesh.links[min(pair), max(pair)]})) for pair in pairwise(way.peers)
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_the_changes_of_islands_are_those_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=anything, window=windows, peer=st.none() | st.sampled_from(PEERS), members=st.booleans())
    def holds(world: World, window: tuple[int | None, int | None], peer: str | None, members: bool) -> None:
        with recorded(world, engine) as (store, view):
            since, until = window
            found = store.islands_over(**between(window), peer=peer, members=members, **arguments(world))
            expected = [
                each
                for each in reshapings(view)
                if (since is None or since <= each.at) and (until is None or each.at < until)
                if members or each.kind in ("split", "merged")
                if peer is None or any(peer in keys for keys in (*each.before, *each.after))
            ]
            given = [reshaped(change) for change in found]
            assert sorted(given) == sorted(expected)
            assert [each.at for each in given] == sorted(each.at for each in given)

    holds()


def reshaped(change: peerstore.IslandChange) -> Reshaped:
    at = micros(change.observed_at)
    return Reshaped(at, change.kind, change.peers, change.before, change.after, change.across_gap)


def between(window: tuple[int | None, int | None]) -> dict[str, Any]:
    since, until = (None if t is None else instant(t) for t in window)
    return {"since": since, "until": until}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_path_over_time_is_that_of_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=anything, window=windows, peer=st.sampled_from(PEERS), other=st.sampled_from(PEERS))
    def holds(world: World, window: tuple[int | None, int | None], peer: str, other: str) -> None:
        def state(moment: Any) -> tuple[str, tuple[str, ...]]:
            if not moment.watching:
                return "unobserved", ()
            near = net(moment).near
            if not {peer, other} <= near.keys():
                return "absent", ()
            paths = shortest_paths(near, peer, other)
            return ("connected", paths[0]) if paths else ("apart", ())

        with recorded(world, engine) as (store, view):
            found = list(store.paths_over(peer, other, **between(window), **arguments(world)))
            whole = measured(view, *window)
            expected = [] if whole is None else stretches(view, whole, state)
            assert [(micros(each.start), micros(each.end), (each.state, each.path)) for each in found] == expected
            assert all(each.hops == (len(each.path) - 1 if each.path else None) for each in found)

    holds()
