"""What the statements of ``docs/sql.md`` answer on small histories of any shape, the Python interface answers too."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import hypothesis.strategies as st
import networkx
import pytest
from hypothesis import HealthCheck, given, settings

import peerstore
from peerstore.times import instant, micros
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.cookbook import analysed, recipe, rows, seconds, text, told, told_us
from tests.databases import emptied
from tests.machine import LINKS, PEERS, SECOND, START, STEP, Envelope, batches, graces, instants, line

END: Final = START + 100 * STEP
pytestmark = pytest.mark.slow

FULL: Final = os.environ.get("PEERSTORE_HYPOTHESIS") == "full"
SOME: Final = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=400 if FULL else 15)


@pytest.fixture(params=ENGINES, scope="module")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """One database for all examples of an engine, emptied by each."""
    url = fresh_url(request.param)
    peerstore.upgrade(url)
    yield url
    drop_url(url)


@contextmanager
def recorded(url: str, envelopes: list[Envelope]) -> Iterator[peerstore.PeerStore]:
    """A store that holds just these."""
    emptied(url)
    with peerstore.open(url) as opened:
        opened.record_many(map(line, envelopes))
        analysed(url)
        yield opened


def ever(store: peerstore.PeerStore, observer: str | None = None) -> list[peerstore.Presence]:
    return list(store.presence_over(instant(START - STEP), instant(END), observer=observer))


def observers_of(store: peerstore.PeerStore) -> list[str]:
    return [summary.observer for summary in store.observer_summaries()]


@SOME
@given(envelopes=batches(8), grace=graces)
def test_sessions(url: str, envelopes: list[Envelope], grace: int) -> None:
    joined = timedelta(microseconds=grace)
    window = {"since": text(START - STEP), "until": text(END)}
    with recorded(url, envelopes) as store:
        assert Counter(
            (row["peer_key"], told(row["valid_from"]), told(row["valid_to"]), row["seconds"])
            for row in rows(url, recipe("Many observers", grace_us=grace))
        ) == Counter(
            (each.peer_key, each.start, each.end, seconds(each.start, each.end))
            for each in store.sessions(grace=joined)
        )
        for peer in set(PEERS):
            assert Counter(
                (row["observer"], told(row["valid_from"]), told(row["valid_to"]), row["gaps"], row["ended_by"])
                for row in rows(url, recipe("6. ", peer_key=peer, grace_us=grace, **window))
            ) == Counter(
                (each.observer, each.start, each.end, each.gaps, each.end_reason)
                for observer in observers_of(store)
                for each in store.sessions(peer, observer=observer, grace=joined)
            )


@SOME
@given(envelopes=batches(8))
def test_time_known_and_unknown(url: str, envelopes: list[Envelope]) -> None:
    with recorded(url, envelopes) as store:
        presences = ever(store)
        for peer in ("a", "c", "d"):
            states: list[tuple[str, int]] = []
            for presence in presences:
                state = "present" if peer in presence.peers else "absent" if presence.watched else "unobserved"
                if not states or states[-1][0] != state:
                    states.append((state, micros(presence.at)))
            shown = rows(url, recipe("5. ", peer_key=peer))
            # Before the first observation Python has a presence, which nobody watched, and SQL has no row.
            assert [(row["state"], told_us(row["valid_from"])) for row in shown] == states[1:]
        check_uptime(url, store, START, START + 6 * STEP)


def check_uptime(url: str, store: peerstore.PeerStore, since: int, until: int) -> None:
    totals: Counter[str] = Counter()
    presences = list(store.presence_over(instant(since), instant(until)))
    for presence, end in zip(presences, [*(micros(each.at) for each in presences[1:]), until], strict=True):
        lasts = end - micros(presence.at)
        totals.update({**dict.fromkeys(presence.peers, lasts), "(watched)": lasts * presence.watched})
    for row in rows(url, recipe("5. ", 2, since_us=since, until_us=until)):
        present = totals.pop(row["peer_key"])
        assert float(row["uptime_percent"]) == pytest.approx(100 * present / totals["(watched)"], abs=0.006)
        assert float(row["present_seconds"]) == pytest.approx(present / SECOND, abs=0.6)
        assert float(row["absent_seconds"]) == pytest.approx((totals["(watched)"] - present) / SECOND, abs=0.6)
    assert {name for name, lasts in totals.items() if lasts} <= {"(watched)"}


@SOME
@given(envelopes=batches(8))
def test_episodes_of_connections(url: str, envelopes: list[Envelope]) -> None:
    with recorded(url, envelopes) as store:
        for one, other in {link[:2] for link in LINKS}:
            assert Counter(
                (row["type"], told(row["valid_from"]), told(row["valid_to"]), row["seconds"])
                for row in rows(url, recipe("7. ", peer1=one, peer2=other))
            ) == Counter(
                (each.connection.type, each.start, each.end, seconds(each.start, each.end))
                for each in store.connection_sessions(one, other)
            )
        for peer in ("a", "b", "d"):
            check_sums(url, store, peer)


def check_sums(url: str, store: peerstore.PeerStore, peer: str) -> None:
    lasted: dict[tuple[str, ...], list[int | None]] = {}
    for each in store.connection_sessions(peer):
        link = each.connection
        lasted.setdefault((link.peer1, link.peer2, link.type, link.id), []).append(seconds(each.start, each.end))
    shown = rows(url, recipe("7. ", 2, peer_key=peer))
    assert [(row["peer1"], row["peer2"], row["type"], row["episodes"]) for row in shown] == [
        (*link_[:3], len(lasted[link_])) for link_ in sorted(lasted)
    ]
    ended = [[each for each in lasted[link_] if each is not None] for link_ in sorted(lasted)]
    assert [(row["seconds"] or 0, row["longest"] or 0) for row in shown] == [
        (sum(each), max(each, default=0)) for each in ended
    ]


def graph_of(presence: peerstore.Presence) -> Any:
    graph = networkx.Graph()
    graph.add_nodes_from(presence.peers)
    graph.add_edges_from((link.peer1, link.peer2) for link in presence.connections if link.peer1 != link.peer2)
    return graph


def distances(presence: peerstore.Presence, peer: str) -> dict[str, int]:
    """The peers that can be reached from one, with the hops to them; none if that one is not there."""
    found: dict[str, int] = (
        networkx.single_source_shortest_path_length(graph_of(presence), peer) if peer in presence.peers else {}
    )
    return {name: hops for name, hops in found.items() if name in presence.peers}


def islands_of(presence: peerstore.Presence) -> list[set[str]]:
    parts = [part & set(presence.peers) for part in networkx.connected_components(graph_of(presence))]
    return sorted(filter(None, parts), key=min)


def in_order(presence: peerstore.Presence) -> list[peerstore.Connection]:
    return sorted(presence.connections, key=lambda link: (link.peer1, link.peer2, link.type, link.id))


@SOME
@given(envelopes=batches(8), moments=st.lists(instants, min_size=1, max_size=2))
def test_one_moment(url: str, envelopes: list[Envelope], moments: list[int]) -> None:
    with recorded(url, envelopes) as store:
        for moment in moments:
            merged = store.presence_at(instant(moment))
            views = {each: store.presence_at(instant(moment), observer=each) for each in observers_of(store)}
            for observer, view in views.items():
                check_view(url, observer, view)
            check_merged(url, merged)
            check_ways(url, merged, list(views.values()))


def check_view(url: str, observer: str, view: peerstore.Presence) -> None:
    """What one observer saw."""
    asked: dict[str, str | int] = {"observer": observer, "at": text(view.at)}
    nobody = [None] if view.watched else []
    assert [row["peer_key"] for row in rows(url, recipe("1. ", **asked))] == (list(view.peers) or nobody)
    assert [row["type"] for row in rows(url, recipe("1. ", 2, **asked))] == [link.type for link in in_order(view)]
    hops = distances(view, observer)
    shown = {row["peer_key"]: row["hops"] for row in rows(url, recipe("19. ", **asked))}
    assert shown == {name: hops.get(name) for name in view.peers}


def check_merged(url: str, merged: peerstore.Presence) -> None:
    """What all saw together, and where they disagree."""
    at = text(merged.at)
    assert [row["seen_by"] for row in rows(url, recipe("2. ", at=at))] == [
        len(peer.seen_by) for peer in merged.peers.values()
    ]
    assert [tuple(row.values()) for row in rows(url, recipe("2. ", 2, at=at))] == [
        (link.type, link.peer1, link.peer2, len(link.seen_by)) for link in in_order(merged)
    ]
    watching = {state.observer for state in merged.observers if state.watching}
    seen = [peer.seen_by for peer in merged.peers.values()] + [link.seen_by for link in merged.connections]
    partly = [seen_by for seen_by in seen if len(seen_by) < len(watching)]
    assert Counter((row["observer"], row["sees_it"]) for row in rows(url, recipe("18. ", at=at))) == Counter(
        (observer, "yes" if observer in seen_by else "no") for seen_by in partly for observer in watching
    )


def check_ways(url: str, merged: peerstore.Presence, views: list[peerstore.Presence]) -> None:
    """Islands, cut peers, bridges to the cloud, shortest paths."""
    at = text(merged.at)
    shown = rows(url, recipe("11. ", at=at))
    parts = [{row["peer_key"] for row in shown if row["island"] == number + 1} for number in range(len(shown))]
    assert list(filter(None, parts)) == islands_of(merged)
    cuts = set(networkx.articulation_points(graph_of(merged))) & set(merged.peers)
    assert {row["peer_key"] for row in rows(url, recipe("12. ", at=at))} == cuts
    told_by = Counter(name for view in views for name, peer in view.peers.items() if peer.is_connected_to_cloud)
    for peer in ("a", "d"):
        hops = distances(merged, peer)
        bridges = Counter((hops[name], count) for name, count in told_by.items() if name in hops)
        shown = rows(url, recipe("10. ", 2, peer_key=peer, at=at))
        assert Counter((row["hops"], row["told_by"]) for row in shown) == bridges
        for other in hops.keys() - {peer}:
            way = [row["peer_key"] for row in rows(url, recipe("10. ", 3, start_key=peer, goal_key=other, at=at))]
            assert networkx.is_path(graph_of(merged), way)
            assert (way[0], way[-1], len(way)) == (peer, other, hops[other] + 1)


@SOME
@given(envelopes=batches(8), pair=st.tuples(instants, instants), least=st.integers(1, 5))
def test_over_time(url: str, envelopes: list[Envelope], pair: tuple[int, int], least: int) -> None:
    since, until = min(pair), max(pair) + 1
    window: dict[str, str | int] = {"since": text(since), "until": text(until)}
    with recorded(url, envelopes) as store:
        islands: list[tuple[datetime, int, int]] = []
        for presence in store.presence_over(instant(since), instant(until)):
            now = (presence.at, len(islands_of(presence)), len(presence.peers))
            if now[1] and (not islands or islands[-1][1] != now[1]):
                islands.append(now)
        shown = rows(url, recipe("11. ", 2, **window))
        assert [(told(row["at"]), row["islands"], row["peers"]) for row in shown] == islands
        check_came_and_went(url, store, since, until)
        check_fewer(url, store, least)
        degrees: Counter[str] = Counter()
        for presence in ever(store):
            degrees |= Counter(end for link in presence.connections for end in {link.peer1, link.peer2})
        assert {row["peer_key"]: row["most_links"] for row in rows(url, recipe("22. "))} == degrees


def check_came_and_went(url: str, store: peerstore.PeerStore, since: int, until: int) -> None:
    """Between two instants at which somebody was watching; else Python goes back to the last time that is known."""
    if all(store.presence_at(instant(at)).watched for at in (since, until)):
        difference = store.diff(instant(since), instant(until))
        came = [*difference.appeared, *difference.connected]
        went = [*difference.disappeared, *difference.disconnected]
        shown = rows(url, recipe("21. ", 2, since=text(since), until=text(until)))
        assert Counter(row["change"] for row in shown) == Counter(came=len(came), went=len(went))


def check_fewer(url: str, store: peerstore.PeerStore, least: int) -> None:
    """When there were fewer peers than a number, from the first that was ever seen on."""
    presences = ever(store)
    first = next((place for place, each in enumerate(presences) if each.peers), len(presences))
    short = [each.at for each in presences[first : first + 1] if len(each.peers) < least]
    short += [now.at for before, now in pairwise(presences[first:]) if len(now.peers) < least <= len(before.peers)]
    shown = rows(url, recipe("17. ", 3, least=least, since=text(START - STEP), until=text(END)))
    assert [told(row["fewer_since"]) for row in shown] == short


@SOME
@given(envelopes=batches(8))
def test_coverage(url: str, envelopes: list[Envelope]) -> None:
    with recorded(url, envelopes) as store:
        assert Counter(
            (row["observer"], told(row["valid_to"]), row["ended_by"])
            for row in rows(url, recipe("20. "))
            if row["valid_to"] is not None
        ) == Counter(
            (each.observer, each.observed_at, each.reason)
            for observer in observers_of(store)
            for each in store.changes(observer=observer, kinds=["observer_stopped"])
        )
        dark = [(one.at, other.at) for one, other in pairwise(ever(store)[1:]) if not one.watched]
        assert [(told(row["nobody_since"]), told(row["until"])) for row in rows(url, recipe("20. ", 2))] == dark
