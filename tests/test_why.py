"""Why a peer was as it was, and what a fact rests on: told by hand, and against the brute force over small worlds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import peerstore
from peerstore.questions.evidence import Asked
from peerstore.times import instant, micros
from tests.commands import answer, envelope, lines, run
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.machine import STEP, event_of, instants, line, span_of
from tests.model import MISSING, View, freeze
from tests.test_answers import PATHS, at, resolved
from tests.worlds import World, arguments, pieces, recorded, tried, worlds

LINKLESS = (
    "k was connected to nobody from 14:01:02Z to 14:01:40Z: its last link, Bluetooth to o, ended at 14:01:02Z, "
    "13 s before (left); its next link, AccessPoint to o, began 25 s after"
)
LINKLESS_BETWEEN_GAPS = (
    "k was connected to nobody from 14:00:30Z to 14:01:00Z: its last link, Bluetooth to o, was gone when somebody "
    "watched again, at 14:00:30Z; its next link, Bluetooth to o, was there when somebody watched again, at 14:01:00Z"
)
PEERS = ("a", "b", "d", "e", "nobody")


@pytest.fixture(name="store")
def opened(store_url: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url) as store:
        yield store


def link(one: str, other: str, kind: str = "Bluetooth") -> dict[str, str]:
    return {"id": f"{one}{other}{kind}", "peer1": min(one, other), "peer2": max(one, other), "connectionType": kind}


def mesh(
    local: str, *others: str, links: Any = (), one_sided: Any = (), **attributes: dict[str, Any]
) -> dict[str, Any]:
    """A graph of these peers; the links are listed by both ends, the one-sided ones by the first alone."""
    peers = []
    for key in (local, *others):
        listed = [link(*ends) for ends in links if key in ends[:2]] + [
            link(*ends) for ends in one_sided if key == ends[0]
        ]
        peers.append({"peerKeyString": key, "deviceName": key, "connections": listed, **attributes.get(key, {})})
    return {"localPeer": peers[0], "remotePeers": peers[1:]}


def words(why: peerstore.Why) -> list[str]:
    """The findings, with short times."""
    return [finding.text().replace("2026-07-08T", "") for finding in why.findings]


# Why.


def test_a_peer_that_lost_its_last_link(store: peerstore.PeerStore) -> None:
    store.record(mesh("o", "k", links=[("o", "k"), ("o", "k", "AccessPoint")]), at(0))
    store.record(mesh("o", "k", links=[("o", "k")]), at(10))
    store.record(mesh("o", "k"), at(62))
    store.record(mesh("o", "k", links=[("k", "o", "AccessPoint")]), at(100))
    why = store.why("k", at(75), within=20)
    assert (why.state, why.connections, why.present) == ("present", (), True)
    assert words(why) == [
        "k was present at 14:01:15Z: 1 of 1 watching observer saw it",
        LINKLESS,
        "k had no way to the cloud: no peer seen had a link to it",
    ]
    assert why.before is not None
    assert [change.kind for change in why.before.changes] == ["disconnected"]
    assert (why.before.distance, why.after and why.after.distance) == (timedelta(seconds=13), timedelta(seconds=25))
    assert [change.kind for change in why.changes] == ["disconnected"]
    assert store.why("k", at(101)).links_before is None


def test_a_peer_that_never_had_a_link_and_one_whose_next_link_is_not_known(store: peerstore.PeerStore) -> None:
    store.record(mesh("o", "k"), at(0))
    assert words(store.why("k", at(5), 0))[1] == "k was connected to nobody, as far as was ever seen"
    store.record(mesh("o", "k", links=[("o", "k")]), at(10))
    assert words(store.why("k", at(5), 0))[1].startswith("k was connected to nobody before 14:00:10Z: its next link")
    store.record(mesh("o", "k"), at(20))
    assert words(store.why("k", at(25), 0))[1].startswith("k was connected to nobody since 14:00:20Z: its last link")


def test_a_link_that_went_while_nobody_watched_is_not_said_to_have_ended_then(store: peerstore.PeerStore) -> None:
    store.record(mesh("o", "k", links=[("o", "k")]), at(0), max_silence=10)
    store.record(mesh("o", "k"), at(30), max_silence=10)
    store.record(mesh("o", "k", links=[("o", "k")]), at(60))
    assert words(store.why("k", at(35), 0))[1:3] == [
        LINKLESS_BETWEEN_GAPS,
        "nobody was watching for 19.9 s of that time",
    ]


def test_a_peer_that_was_absent(store: peerstore.PeerStore) -> None:
    cells = {"k": {"dittoSdkVersion": "5.1.0"}}
    for second, others in ((0, ["k"]), (10, []), (30, ["k"]), (31, [])):
        store.record(mesh("o", *others, **cells), at(second))
    why = store.why("k", at(20))
    assert words(why) == [
        "k was absent at 14:00:20Z: 1 observer was watching, and none saw it",
        "k was last present until 14:00:10Z, 10 s before (left)",
        "k was present again from 14:00:30Z, 10 s after",
        "nobody was watching from 13:59:20Z to 14:00:00Z: what happened then is unknown",
    ]
    assert (why.present, why.cloud, why.peer and why.peer.sdk_version) == (False, None, "5.1.0")
    assert (why.session, why.previous and why.previous.end) == (None, at(10))
    assert [stretch.state for stretch in why.stretches] == ["unobserved", "present", "absent", "present", "absent"]
    assert words(store.why("x", at(20)))[1] == "x was never seen before that"


def test_unobserved_is_said_first_and_the_rest_is_of_the_last_known_moment(store: peerstore.PeerStore) -> None:
    store.record(mesh("o", "k", links=[("o", "k")]), at(0))
    store.record(None, at(60), observer="o")
    store.record(mesh("p", "k"), at(0), max_silence=10)
    why = store.why("k", at(600))
    assert (why.state, why.facts_at, why.present) == ("unobserved", at(60) - timedelta(microseconds=1), True)
    assert words(why)[0] == (
        "nobody was watching at 14:10:00Z: whether k was there is unknown, not absent; until 14:01:00Z, as long as "
        "anybody was, it was present"
    )
    assert "o was not watching since 14:01:00Z: it had stopped" in words(why)
    assert "p was not watching since 14:00:10.000001Z: it had been silent for too long" in words(why)
    assert [(each.not_watching, each.sees) for each in why.witnesses] == [("stopped", None), ("silence", None)]
    before = store.why("k", at(-10))
    assert words(before)[0] == "nobody was watching at 13:59:50Z, nor ever before: of k nothing is known"
    assert [each.not_watching for each in before.witnesses] == ["not_yet", "not_yet"]
    assert (before.facts_at, before.before) == (None, None)


def test_who_does_not_see_it_may_be_in_another_island(store: peerstore.PeerStore) -> None:
    store.record(mesh("o", "k", "c", links=[("o", "k")], c={"isConnectedToDittoServer": True}), at(0))
    store.record(mesh("p", "c", links=[("p", "c")], c={"isConnectedToDittoServer": True}), at(0))
    store.record(mesh("q", "o", links=[("q", "o")]), at(0))
    why = store.why("k", at(100), within=10)
    assert [(each.observer, each.sees, each.island) for each in why.witnesses] == [
        ("o", True, "same"),
        ("p", False, "other"),
        ("q", False, "same"),
    ]
    assert words(why)[1:] == [
        "the only connection of k was Bluetooth to o",
        "k was cut off from the cloud: 1 peer had a link to it, c for one, in another island than its own of 3 peers",
        "p was watching and did not see k, and was in another island",
        "q was watching and did not see k",
        "the newest observation that says so was 1 min 40 s old",
    ]


def test_the_way_to_the_cloud_and_flags_of_links(store: peerstore.PeerStore) -> None:
    sdk = {"isCompatible": False, "dittoSdkVersion": "{3}"}
    links = [("o", "k"), ("m", "o"), ("m", "c"), ("k", "k", "WebSocket")]
    store.record(mesh("o", "k", "m", "c", links=links, c={"isConnectedToDittoServer": True}, k=sdk), at(0))
    store.record(
        mesh(
            "o",
            "k",
            "m",
            "c",
            links=links,
            one_sided=[("k", "m"), ("k", "x", "{}")],
            k=sdk,
            c={"isConnectedToDittoServer": True},
        ),
        at(10),
    )
    why = store.why("k", at(0))
    assert why.cloud is not None
    assert (why.cloud.bridge, why.cloud.hops, why.cloud.path, why.cloud.island) == ("c", 3, ("k", "o", "m", "c"), 4)
    assert words(why)[1:] == [
        "nobody was watching from 13:59:00Z to 14:00:00Z: what happened then is unknown",
        "the only connection of k was Bluetooth to o",
        "the nearest way of k to the cloud was by c, 3 hops away over o, m",
        "o found the SDK of k ({3}) incompatible with its own",
    ]
    told = words(store.why("k", at(10), within=1))
    assert "Bluetooth between k and m was listed by k alone, not by m" in told
    assert "x, to which k had {}, was not among the peers seen" in told
    assert "the nearest way of k to the cloud was by c, 2 hops away over m" in told
    assert "c said that it had a link of its own to the cloud" in words(store.why("c", at(10)))


def test_the_way_is_the_one_that_cloud_at_tells(store: peerstore.PeerStore) -> None:
    pytest.importorskip("networkx")
    links = [("o", "k"), ("o", "a"), ("a", "c"), ("k", "b"), ("b", "d"), ("x", "y")]
    bridges = {key: {"isConnectedToDittoServer": True} for key in ("c", "d")}
    store.record(mesh("o", *"kabcdxy", links=links, **bridges), at(0))
    routes = store.cloud_at(at(0)).routes
    for key in "oabcdkxy":
        cloud = store.why(key, at(0)).cloud
        assert cloud is not None
        assert cloud.hops == routes[key].hops
        assert (cloud.bridge or "") in (*routes[key].nearest, "")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_facts_around_a_moment_are_the_model_s(engine: str) -> None:
    @tried(engine)
    @given(world=worlds(), t=instants, peer=st.sampled_from(PEERS), within=st.sampled_from((0, STEP, 3 * STEP)))
    def holds(world: World, t: int, peer: str, within: int) -> None:
        with recorded(world, engine) as (store, view):
            why = store.why(peer, instant(t), timedelta(microseconds=within), **arguments(world))
            assert why.state == state_of(view, peer, t)
            last = view.last_known(t)
            assert why.present == (last is not None and peer in last.peers)
            links = [] if last is None else [each for each in last.connections if peer in each[:2]]
            assert sorted((each.peer1, each.peer2, each.type, each.id) for each in why.connections) == sorted(links)
            now = view.presence(t)
            for witness in why.witnesses:
                seen = view.graph(witness.observer, t)
                assert witness.watching == (seen is not None)
                assert witness.sees == (None if seen is None else peer in seen.peers)
                begin = view.version_begin(witness.observer, peer, t) if witness.sees else None
                assert witness.since == (None if begin is None else instant(begin))
                assert (witness.observed_at is None) == (witness.observer not in now.observers)
            check_neighbours(why, view, peer, t, within)
            json.dumps(why.to_dict())

    holds()


def state_of(view: View, peer: str, t: int) -> str:
    moment = view.presence(t)
    return "unobserved" if not moment.watching else "present" if peer in moment.peers else "absent"


def check_neighbours(why: peerstore.Why, view: View, peer: str, t: int, within: int) -> None:
    """What comes before and after a moment."""
    events = [each for each in view.changes() if touches(each.subject, peer) and not each.kind.startswith("observer")]
    before, after = [each for each in events if each.at <= t], [each for each in events if each.at > t]
    for nearest, there, edge in ((why.before, before, max), (why.after, after, min)):
        found = edge((each.at for each in there), default=None)
        assert (nearest and micros(nearest.observed_at)) == found
        kinds = sorted(each.kind for each in there if each.at == found)
        assert sorted(change.kind for change in (nearest.changes if nearest else ())) == kinds
    assert sorted(event_of(each).at for each in why.changes) == [
        each.at for each in events if t - within <= each.at < t + within
    ]
    spans = view.sessions_of(peer, 0)
    ended = [each for each in spans if each.end is not None and each.end <= t]
    now = [each for each in spans if each.start <= t and each not in ended]
    coming = [each for each in spans if each.start > t]
    expected = (now[-1:], ended[-1:], coming[:1])
    for session, span in zip((why.session, why.previous, why.following), expected, strict=True):
        assert ([span_of(session)] if session else []) == span
    merged: list[tuple[int, int, str]] = []
    for start, end in pieces(view, t - within, t + within):
        state = state_of(view, peer, start)
        begin = merged.pop()[0] if merged and merged[-1][2] == state else start
        merged.append((begin, end, state))
    assert [(micros(each.start), micros(each.end), each.state) for each in why.stretches] == merged


def touches(subject: Any, peer: str) -> bool:
    return subject == peer if isinstance(subject, str) else peer in subject[:2]


# Evidence.


def test_whose_word_is_taken_and_why(store: peerstore.PeerStore) -> None:
    store.record(mesh("o", "k", "p", k={"os": "old"}), at(0), sequence=3, max_silence=600)
    store.record(mesh("p", "k", "o", k={"os": "new"}), at(10))
    store.record(mesh("o", "k", "p", k={"os": "old"}), at(20))
    newest = store.evidence(at(30), "k", path="/os")
    assert (newest.state, newest.value, newest.because) == ("present", "new", "newest_version")
    assert [(each.observer, each.value, each.supports, each.taken) for each in newest.testimonies] == [
        ("o", "old", False, False),
        ("p", "new", True, True),
    ]
    first = newest.testimonies[0]
    assert (first.observed_at, first.since, first.since_sequence, first.max_silence) == (at(20), at(0), 3, None)
    assert newest.observations == (("o", at(0), 3), ("o", at(20), 0), ("p", at(10), 0))
    assert store.evidence(at(30), "p", path="/os").because == "own_report"
    assert store.evidence(at(5), "k").because == "only_one"
    store.record(mesh("o", "k", "p", k={"os": "new"}), at(40))
    agreed = store.evidence(at(40), "k", path="/os")
    assert (agreed.because, [each.taken for each in agreed.testimonies]) == ("agreed", [True, True])


def test_evidence_of_an_absence_and_of_nothing_known(store: peerstore.PeerStore) -> None:
    store.record(mesh("o", "k"), at(0))
    store.record(mesh("o"), at(10))
    store.record(mesh("p"), at(12), max_silence=5)
    store.record(None, at(30), observer="o")
    absent = store.evidence(at(14), "k")
    assert (absent.state, absent.because, absent.value) == ("absent", None, peerstore.ABSENT)
    assert [(each.holds, each.since, each.supports) for each in absent.testimonies] == [
        (False, at(10), True),
        (False, None, True),
    ]
    unobserved = store.evidence(at(100), "k")
    assert (unobserved.state, [each.supports for each in unobserved.testimonies]) == ("unobserved", [None, None])
    assert unobserved.last_known is not None
    assert (unobserved.last_known.at, unobserved.last_known.state) == (at(30) - timedelta(microseconds=1), "absent")
    assert store.evidence(at(-1), "k").last_known is None
    json.dumps(unobserved.to_dict())


def test_evidence_of_a_connection(store: peerstore.PeerStore) -> None:
    store.record(mesh("o", "k", links=[("o", "k")]), at(0))
    store.record(mesh("p", "k", "o"), at(5))
    found = store.evidence(at(10), "k", other="o")
    assert (found.state, found.because) == ("present", "listed")
    [listed] = found.testimonies[0].connections
    assert (listed.connection.type, listed.connection.listed_by, listed.since) == ("Bluetooth", ("k", "o"), at(0))
    assert [(each.supports, each.taken) for each in found.testimonies] == [(True, True), (False, False)]
    assert store.evidence(at(10), "k", other="p").state == "absent"
    with pytest.raises(peerstore.QuestionError, match="only peers have attributes"):
        store.evidence(at(10), "k", other="p", path="/os")
    with pytest.raises(peerstore.InputError, match="no JSON Pointer"):
        store.evidence(at(10), "k", path="os")


facts = st.one_of(
    st.builds(Asked, st.sampled_from(PEERS), st.none(), st.none() | st.sampled_from(PATHS)),
    st.sampled_from((Asked("a", "b"), Asked("c", "b"), Asked("d", "d"), Asked("a", "unheard-of"), Asked("a", "e"))),
)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_named_as_evidence_is_all_that_the_fact_rests_on(engine: str) -> None:
    """A store of the named observations alone gives the same fact; and it is the model's."""

    @tried(engine)
    @given(world=worlds(), t=instants, fact=facts)
    def holds(world: World, t: int, fact: Asked) -> None:
        with recorded(world, engine) as (store, view):
            found = store.evidence(instant(t), *fact, **arguments(world))
            state, value = fact_of(view, fact, t)
            assert found.state == state
            assert freeze(MISSING if found.value is peerstore.ABSENT else found.value) == freeze(value)
            if found.last_known is not None:
                assert view.presence(micros(found.last_known.at)).watching
            taken = [each for each in found.testimonies if each.taken]
            assert bool(taken) == (state == "present")
            assert all(each.supports for each in taken)
        first: dict[Any, Any] = {}
        for given_one in world.envelopes:
            first.setdefault((given_one.observer, instant(given_one.observed_at), given_one.sequence), given_one)
        url = fresh_url(engine)
        try:
            with peerstore.open(url) as fresh:
                fresh.record_many([line(first[each]) for each in found.observations])
                again = fresh.evidence(instant(t), *fact, **arguments(world))
                same = ("state", "value", "because")
                assert [getattr(again, name) for name in same] == [getattr(found, name) for name in same]
                assert says(again) == says(found)
        finally:
            drop_url(url)

    holds()


def says(found: peerstore.Evidence) -> list[Any]:
    """What those watching say, but for what is not named: since when a peer was not held."""
    watching = [each.to_dict() for each in found.testimonies if each.watching]
    for each in watching:
        del each["recorded_at"]
        if not each["holds"]:
            del each["since"], each["since_sequence"]
        elif found.other is not None:
            del each["connections"], each["since"], each["since_sequence"]
    return watching


def fact_of(view: View, fact: Asked, t: int) -> tuple[str, Any]:
    moment = view.presence(t)
    if not moment.watching:
        return "unobserved", MISSING
    if fact.other is not None:
        ends = {fact.peer, fact.other}
        return ("present" if any(set(each[:2]) == ends for each in moment.connections) else "absent"), MISSING
    if fact.peer not in moment.peers:
        return "absent", MISSING
    steps = [each.replace("~1", "/").replace("~0", "~") for each in (fact.path or "").split("/")[1:]]
    attributes = moment.peers[fact.peer][0]
    return "present", MISSING if fact.path is None else resolved(dict(attributes), steps)


# On the command line.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PEERSTORE_DB", str(tmp_path / "mesh.db"))
    given_lines = [envelope(0, ["one", "two"]), envelope(5, ["one"]), envelope(20, ["one", "t\x1b[2J{0}"])]
    answer("record", input=lines(given_lines))
    return tmp_path


def test_why_is_one_page(folder: Path) -> None:
    page = run("why", "one", "2026-07-08T18:00:10Z").stdout
    assert page.startswith("one was present at 2026-07-08T18:00:10Z: 1 of 1 watching observer saw it\n\n")
    assert all(f"\n{title}\n" in page for title in ("Observers", "Changes within 1 min 00 s", "Findings"))
    assert "- one was connected to nobody from 2026-07-08T18:00:05Z to 2026-07-08T18:00:20Z" in page
    assert "\x1b" not in page
    assert "t\\x1b[2J{0}" in run("why", "one", "2026-07-08T18:00:20Z").stdout
    document = answer("why", "one", "2026-07-08T18:00:10Z", "--within", "5s")
    assert (document["state"], document["within_seconds"]) == ("present", 5.0)
    printed = run("why", "one", "2026-07-08T18:00:10Z", "--within", "5s", "--ndjson").stdout
    rows = [json.loads(row) for row in printed.splitlines()]
    assert [row["finding"] for row in rows if row["kind"] == "finding"] == document["findings"]
    assert {row["kind"] for row in rows} == {"witness", "stretch", "change", "finding"}
    assert run("why", "one", "2026-07-08T23:00:00Z", "--csv").stdout.startswith("kind,observer,")


def test_evidence_on_the_command_line(folder: Path) -> None:
    shown = run("evidence", "2026-07-08T18:00:01Z", "one", "--path", "/os").stdout
    assert shown.startswith('/os of one was "one" at 2026-07-08T18:00:01Z; taken from one: the peer\'s own report\n')
    document = answer("evidence", "2026-07-08T18:00:01Z", "one", "--path", "/os")
    assert (document["value"], document["because"]) == ("one", "own_report")
    assert "nobody was watching" in run("evidence", "2026-07-08T23:00:00Z", "one").stdout
    assert "Last known: one was present" in run("evidence", "2026-07-08T23:00:00Z", "one").stdout
    rows = run("evidence", "2026-07-08T18:00:01Z", "one", "--csv").stdout.splitlines()
    assert (rows[0].split(",")[0], len(rows)) == ("observer", 2)


def test_the_bounds_of_time_are_no_trouble(store: peerstore.PeerStore) -> None:
    store.record(mesh("o", "k"), at(0))
    far = datetime.max.replace(tzinfo=at(0).tzinfo)
    assert store.why("k", far, within=timedelta(days=1)).state == "present"
    assert store.why("k", datetime.min.replace(tzinfo=at(0).tzinfo)).state == "unobserved"
