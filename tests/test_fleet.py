"""Questions about the fleet: answers told by hand, and any world's answers against brute force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

import peerstore
from peerstore.times import instant, micros
from tests import fleet_model as model
from tests.conftest import ENGINES
from tests.machine import DOCUMENTS, START, STEP, Envelope, Question, instants
from tests.model import MISSING, Graph, Model, Said, View, freeze
from tests.worlds import World, arguments, recorded, tried, worlds

ZERO = datetime(2026, 7, 8, 14, 0, tzinfo=UTC)
PATHS = ("/os", "/device_name", "/sdk_version", "/peer_metadata/role", "/peer_metadata/n", "/is_compatible", "/extra")


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def peer(key: str, name: str | None = None, **told: Any) -> dict[str, Any]:
    return {"peerKey": key, "deviceName": key if name is None else name, "connections": [], **told}


def graph(local: dict[str, Any], *remotes: dict[str, Any]) -> dict[str, Any]:
    return {"localPeer": local, "remotePeers": list(remotes)}


def till(key: str, name: str = "Till", **metadata: Any) -> dict[str, Any]:
    return peer(key, name, os="Android", peerMetadata=metadata)


@pytest.fixture
def store(store_url: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url) as opened:
        yield opened


# Values.


def test_values_are_compared_as_values_and_the_most_frequent_comes_first(store: peerstore.PeerStore) -> None:
    metadata: list[dict[str, Any]] = [{"n": 1}, {"n": 1.0}, {"n": True}, {"n": None}, {}, {"n": "1"}]
    peers = [peer(f"p{place}", peerMetadata=each) for place, each in enumerate(metadata)]
    store.record(graph(*peers), at(0))
    values = store.values_at(at(0), "/peer_metadata/n")
    assert [(row.value, row.peers) for row in values] == [
        (1, ("p0", "p1")),
        (peerstore.ABSENT, ("p4",)),
        ("1", ("p5",)),
        (None, ("p3",)),
        (True, ("p2",)),
    ]
    assert values.watched
    assert values.peers == 6
    told = values.to_dict()
    assert told["values"][1] == {"value": {"absent": True}, "count": 1, "peers": ["p4"]}
    assert (told["path"], told["observers"][0]["observer"]) == ("/peer_metadata/n", "p0")


def test_unwatched_values_are_none_and_say_so(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a")), at(0), max_silence=45)
    values = store.values_at(at(100), "/os")
    assert (values.rows, values.watched, values.to_dict()["watched"]) == ((), False, False)


@pytest.mark.parametrize("path", ["sdk_version", "/a~2", "/a~"])
def test_a_bad_pointer_is_one_clear_sentence(store: peerstore.PeerStore, path: str) -> None:
    asked: list[Callable[[], Any]] = [
        lambda: store.values_at(at(0), path),
        lambda: store.rollout(path),
        lambda: store.rollout_at(path, 1),
        lambda: store.laggards(path, 1),
        lambda: store.new_keys(identity_path=path),
    ]
    for ask in asked:
        with pytest.raises(peerstore.QuestionError, match="no JSON Pointer"):
            ask()


# Roll-out.


def versions(store: peerstore.PeerStore) -> None:
    """a watches; b is updated in its sight, c while it is away, d while nobody watches; e never."""

    def told(**sdk: str) -> dict[str, Any]:
        return graph(peer("a", dittoSdkVersion="2"), *(peer(key, dittoSdkVersion=each) for key, each in sdk.items()))

    store.record(told(b="1", c="1", d="1", e="1"), at(0))
    store.record(told(b="2", c="1", d="1", e="1"), at(10))
    store.record(told(b="2", d="1", e="1"), at(20))
    store.record(told(b="2", c="2", d="1", e="1"), at(30))
    store.record(None, at(40), observer="a")
    store.record(told(b="2", c="2", d="2"), at(50))


def test_a_roll_out_tells_when_and_since_when_it_may_have_been(store: peerstore.PeerStore) -> None:
    versions(store)
    rows = [(row.peer_key, row.at, row.previous, row.previous_until, row.appeared) for row in store.rollout(value="2")]
    assert rows == [
        ("a", at(0), peerstore.ABSENT, None, True),
        ("b", at(10), "1", at(10), False),
        ("c", at(30), "1", at(20), False),
        ("d", at(50), "1", at(40), False),
    ]
    assert [row.peer_key for row in store.rollout(since=at(10), until=at(50))] == ["b", "c"]
    assert [row.value for row in store.rollout()] == ["2", "1", "1", "1", "1", "2", "2", "2"]


def test_a_value_that_was_had_before_the_window_is_not_told_again(store: peerstore.PeerStore) -> None:
    for second, version in enumerate("1213"):
        store.record(graph(peer("a", dittoSdkVersion=version)), at(second))
    assert [(row.value, row.previous) for row in store.rollout(since=at(1))] == [("2", "1"), ("3", "1")]
    assert list(store.rollout(value="1", since=at(1))) == []


def test_what_lies_long_before_the_window_counts(store: peerstore.PeerStore) -> None:
    day = 86_400
    for days, version in ((0, "0"), (200, "1"), (220, "2"), (229, "3")):
        store.record(graph(peer("a"), peer("b", dittoSdkVersion=version)), at(days * day))
    store.record(graph(peer("a")), at(230 * day))
    for hours, version in enumerate("30124"):
        store.record(graph(peer("a"), peer("b", dittoSdkVersion=version)), at(240 * day + 3600 * hours))
    store.record(graph(peer("a"), peer("c")), at(241 * day))
    [row] = store.rollout(since=at(240 * day))
    assert (row.value, row.previous, row.appeared) == ("4", "2", False)
    [back] = store.rollout(since=at(240 * day + 3600 * 4))
    assert back == row
    assert [each.peer.peer_key for each in store.new_peers(at(240 * day), at(242 * day))] == ["c"]
    assert list(store.new_peers(since=at(10_000 * day))) == []


def test_what_was_last_known_before_the_window_is_told(store: peerstore.PeerStore) -> None:
    day = 86_400
    store.record(graph(peer("a"), peer("b", dittoSdkVersion="1")), at(0))
    store.record(graph(peer("a")), at(10))
    store.record(graph(peer("a"), peer("b", dittoSdkVersion="2")), at(100 * day))
    [row] = store.rollout(since=at(99 * day))
    assert (row.value, row.previous, row.previous_until, row.appeared) == ("2", "1", at(10), False)


def test_what_becomes_known_is_learned_and_null_is_no_value_unless_asked_for(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a", dittoSdkVersion=None)), at(0))
    store.record(graph(peer("a", dittoSdkVersion="5.1.0")), at(1))
    [row] = store.rollout()
    assert (row.value, row.previous, row.learned, row.appeared) == ("5.1.0", None, True, False)
    assert row.to_dict()["previous_until"] == "2026-07-08T14:00:01.000000Z"
    [null] = store.rollout(value=None)
    assert (null.value, null.at, null.appeared) == (None, at(0), True)


def test_how_far_a_value_got_and_who_lacks_it(store: peerstore.PeerStore) -> None:
    versions(store)
    answer = store.rollout_at("/sdk_version", "2", at(60))
    assert (answer.known, answer.reached, answer.having, answer.lacking) == (5, 4, 4, 1)
    assert (answer.first_reached_at, answer.last_reached_at) == (at(0), at(50))
    assert (answer.first_everywhere_at, answer.everywhere_since) == (at(50), at(50))
    assert store.rollout_at("/sdk_version", "2", at(45)).everywhere_since is None
    [laggard] = store.laggards("/sdk_version", "2", at(60))
    assert (laggard.peer_key, laggard.value, laggard.last_seen, laggard.present) == ("e", "1", at(30), False)
    assert [each.peer_key for each in store.laggards("/sdk_version", "2", at(35))] == ["d", "e"]


def test_unobserved_time_neither_makes_nor_breaks_everywhere(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a", os="x")), at(0))
    store.record(None, at(10), observer="a")
    store.record(graph(peer("a", os="x")), at(20))
    assert store.rollout_at("/os", "x", at(30)).everywhere_since == at(0)
    dark = store.rollout_at("/os", "x", at(15))
    assert (dark.watched, dark.everywhere_since) == (False, at(0))


# Names and keys.


def test_names_shared_at_a_moment_and_over_time(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a", ""), peer("b", ""), peer("c", "n"), peer("d", "n")), at(0))
    store.record(graph(peer("a", ""), peer("c", "n"), peer("e", "n")), at(10))
    store.record(graph(peer("a", ""), peer("c", "n")), at(20))
    store.record(graph(peer("a", ""), peer("c", "n"), peer("d", "n")), at(30))
    store.record(None, at(40), observer="a")
    assert list(store.shared_names(at(0))) == [peerstore.SharedName("n", ("c", "d"))]
    assert list(store.shared_names(at(20))) == list(store.shared_names(at(45))) == []
    assert [(each.peers, each.start, each.end, each.end_reason) for each in store.name_collisions()] == [
        (("c", "d", "e"), at(0), at(20), "parted"),
        (("c", "d"), at(30), at(40), "unobserved"),
    ]
    [still] = store.name_collisions(since=at(32), until=at(35))
    assert (still.start, still.end, still.end_reason) == (at(32), None, None)


def reinstalled(store: peerstore.PeerStore, *also: dict[str, Any], dark: bool = False, **metadata: Any) -> None:
    """The till "old" goes at 10, and "new" comes at 20 by the name of ditto, and has its own name a second later."""
    office = peer("a", "Office", os="Linux")
    store.record(graph(office, till("old", role="till", version=1), *also), at(0))
    store.record(graph(office, *also), at(10))
    if dark:
        store.record(None, at(12), observer="a")
        store.record(graph(office, *also), at(15))
    store.record(graph(office, peer("new", "ditto"), *also), at(20))
    store.record(graph(office, till("new", **metadata), *also), at(21))


def test_a_new_key_is_guessed_from_name_and_os_and_times(store: peerstore.PeerStore) -> None:
    reinstalled(store, role="till", version=2)
    [guess] = store.new_keys()
    assert (guess.old_key, guess.new_key, guess.strength) == ("old", "new", "strong")
    assert guess.to_dict() == {
        "old_key": "old",
        "new_key": "new",
        "strength": "strong",
        "device_name": "Till",
        "os": "Android",
        "old_end": "2026-07-08T14:00:10.000000Z",
        "new_start": "2026-07-08T14:00:20.000000Z",
        "gap_seconds": 10.0,
        "unobserved_seconds": 0.0,
        "shared": ["/peer_metadata/role"],
        "differing": ["/peer_metadata/version"],
        "identity": None,
        "others": [],
    }
    assert list(store.new_keys(since=at(20), until=at(30))) == [guess]
    assert list(store.new_keys(since=at(21))) == list(store.new_keys(until=at(20))) == []
    assert list(store.new_keys(until=at(21))) == []  # it was not called so yet


def test_a_guess_is_weak_where_something_speaks_against_it(store: peerstore.PeerStore) -> None:
    reinstalled(store, till("other"), role="till")
    [guess] = store.new_keys()
    assert (guess.new_key, guess.strength, guess.others) == ("new", "weak", ("other",))


def test_a_guess_is_weak_where_nobody_was_watching_meanwhile(store: peerstore.PeerStore) -> None:
    reinstalled(store, dark=True, role="till")
    [guess] = store.new_keys()
    assert (guess.strength, guess.gap, guess.unobserved) == ("weak", timedelta(seconds=10), timedelta(seconds=3))


def test_a_guess_is_weak_without_anything_beyond_name_and_os(store: peerstore.PeerStore) -> None:
    reinstalled(store)
    assert [guess.strength for guess in store.new_keys()] == ["weak"]


def test_an_identity_must_agree_where_one_is_named(store: peerstore.PeerStore) -> None:
    reinstalled(store, role="till", version=2)
    [guess] = store.new_keys("/peer_metadata/role")
    assert (guess.identity, guess.strength) == ("till", "strong")
    assert list(store.new_keys("/peer_metadata/version")) == list(store.new_keys("/peer_metadata/serial")) == []


def test_two_that_were_there_at_once_are_no_guess(store: peerstore.PeerStore) -> None:
    office = peer("a", "Office", os="Linux")
    store.record(graph(office, till("old")), at(0))
    store.record(graph(office, till("old"), till("new")), at(10))
    store.record(graph(office, till("new")), at(20))
    assert list(store.new_keys()) == []


def test_many_new_keys_are_found_by_any_name(store: peerstore.PeerStore) -> None:
    """More names than the database is asked for one by one; and names with all that JSON and LIKE escape."""
    names = [*(f"Till {number}" for number in range(60)), "100%_/\\", "É", '"q"', "\0", "\ud800é", "x" * 60_000]
    office = peer("a", "Office", os="Linux")
    store.record(graph(office, *(till(f"o{place}", name) for place, name in enumerate(names))), at(0))
    store.record(graph(office), at(10))
    store.record(graph(office, *(till(f"n{place}", name) for place, name in enumerate(names))), at(20))
    guesses = {guess.new_key: guess.old_key for guess in store.new_keys()}
    assert guesses == {f"n{place}": f"o{place}" for place in range(len(names))}
    assert len(list(store.new_keys(since=at(15)))) == len(names)
    for place, name in enumerate(names):
        present = store.expected([name], at(20)).present
        assert [entry.peers for entry in present] == [(f"n{place}",)], name


def test_new_peers_come_in_the_order_in_which_they_were_first_seen(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("o"), peer("z")), at(0))
    store.record(graph(peer("o"), peer("b"), peer("a")), at(10))
    store.record(graph(peer("o"), peer("z"), peer("0")), at(20))
    found = [(each.peer.peer_key, each.first_seen, each.present) for each in store.new_peers(since=at(5))]
    assert found == [("a", at(10), False), ("b", at(10), False), ("0", at(20), True)]
    assert [each.peer.peer_key for each in store.new_peers(since=at(5), until=at(20))] == ["a", "b"]
    assert [each.peer.peer_key for each in store.new_peers()] == ["o", "z", "a", "b", "0"]
    assert list(store.new_peers(since=at(21))) == []


# Compatibility.


def test_every_observer_is_asked_whom_it_found_incompatible(store: peerstore.PeerStore) -> None:
    def seen(by: str, compatible: bool | None) -> dict[str, Any]:
        return graph(peer(by), peer("k", isCompatible=compatible))

    store.record(seen("a", None), at(0))
    store.record(seen("b", False), at(0), max_silence=25)
    store.record(seen("a", False), at(10))
    store.record(seen("a", True), at(20))
    store.record(graph(peer("c"), peer("k", isCompatible=False)), at(30))
    rows = [(row.observer, row.start, row.end, row.end_reason) for row in store.incompatible()]
    assert rows == [
        ("a", at(10), at(20), "changed"),
        ("b", at(0), at(25) + timedelta(microseconds=1), "silence"),
        ("c", at(30), None, None),
    ]
    assert [row.observer for row in store.incompatible(since=at(20))] == ["b", "c"]
    assert [row.start for row in store.incompatible("k", at(15), at(16))] == [at(10), at(0)]
    assert list(store.incompatible("a")) == list(store.incompatible(observer="nobody")) == []


# Expected.


def test_expected_peers_are_present_or_missing_or_something_else(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a1", "Office"), peer("a2", "Till 1"), peer("b1", "Twin"), peer("b2", "Twin")), at(0))
    store.record(graph(peer("a1", "Office"), peer("b1", "Twin"), peer("b2", "Twin"), peer("c", "Guest")), at(10))
    answer = store.expected(["a1", "Till 1", "Twin", "a", "nobody", "a1"], at(12))
    told = answer.to_dict()
    assert told["present"] == [{"entry": "a1", "peers": ["a1"], "last_seen": "2026-07-08T14:00:10.000000Z"}]
    assert told["missing"] == [{"entry": "Till 1", "peers": ["a2"], "last_seen": "2026-07-08T14:00:00.000000Z"}]
    assert [(each["entry"], each["peers"]) for each in told["ambiguous"]] == [
        ("Twin", ["b1", "b2"]),
        ("a", ["a1", "a2"]),
    ]
    assert (told["unexpected"], told["unknown"], told["complete"]) == (["c"], ["nobody"], False)
    assert store.expected(["Office"], at(12)).complete


def test_a_key_that_was_never_heard_of_is_missing_and_was_never_seen(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a")), at(0))
    key = "pkAocCgkMC" + "A" * 43
    [missing] = store.expected([key], at(0)).missing
    assert (missing.peers, missing.last_seen) == ((key,), None)


def test_a_name_that_several_had_is_met_by_the_one_that_is_there(store: peerstore.PeerStore) -> None:
    reinstalled(store, role="till")
    assert [each.peers for each in store.expected(["Till"], at(5)).present] == [("old",)]
    assert [each.peers for each in store.expected(["Till"], at(25)).present] == [("new",)]
    [missing] = store.expected(["Till"], at(15)).missing
    assert (missing.peers, missing.last_seen) == (("new", "old"), at(0))


def test_while_nobody_watches_the_expected_are_unobserved_not_missing(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a"), peer("b")), at(0), max_silence=45)
    answer = store.expected(["b"], at(100))
    assert (answer.missing, answer.present, answer.unexpected, answer.complete) == ((), (), (), False)
    assert [(each.entry, each.last_seen) for each in answer.unobserved] == [("b", at(0))]


@pytest.mark.parametrize("entries", [[""], [1], [None]])
def test_an_entry_that_names_nothing_is_an_error(store: peerstore.PeerStore, entries: list[Any]) -> None:
    with pytest.raises(peerstore.QuestionError, match="entry 1 of the expected peers"):
        store.expected(entries, at(0))


# Population.


def test_the_population_keeps_unobserved_apart(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a"), peer("b"), peer("c")), at(0))
    store.record(graph(peer("a"), peer("b")), at(10))
    store.record(graph(peer("a")), at(20))
    store.record(None, at(30), observer="a")
    store.record(graph(peer("a")), at(40))
    store.record(graph(peer("a"), peer("b"), peer("c")), at(50))
    store.record(graph(peer("a"), peer("b"), peer("c")), at(60))

    def counted(**asked: Any) -> list[tuple[datetime, datetime, int | None, int | None]]:
        return [(each.start, each.end, each.peers, each.most) for each in store.population(**asked)]

    assert counted() == [
        (at(0), at(10), 3, 3),
        (at(10), at(20), 2, 2),
        (at(20), at(30), 1, 1),
        (at(30), at(40), None, None),
        (at(40), at(50), 1, 1),
        (at(50), at(60), 3, 3),
    ]
    assert counted(below=3) == [(at(10), at(30), 1, 2), (at(40), at(50), 1, 1)]
    assert counted(since=at(-5), until=at(5)) == [(at(-5), at(0), None, None), (at(0), at(5), 3, 3)]
    assert sum((each.duration for each in store.population()), timedelta(0)) == timedelta(seconds=60)
    with pytest.raises(peerstore.QuestionError, match="below"):
        store.population(below=0)


def test_questions_to_an_empty_store_have_empty_answers(store: peerstore.PeerStore) -> None:
    for rows in (
        store.rollout(),
        store.laggards("/os", "x"),
        store.shared_names(at(0)),
        store.name_collisions(),
        store.new_keys(),
        store.incompatible(),
        store.new_peers(),
        store.population(),
    ):
        assert list(rows) == []
    assert store.values_at(at(0)).rows == ()
    assert store.rollout_at("/os", "x").known == 0
    assert store.expected(["a"], at(0)).unknown == ("a",)


# Any world, against brute force.

FLEET: list[dict[str, Any]] = [
    {"device_name": "n", "os": "Linux", "is_compatible": False, "peer_metadata": {"role": "till", "n": 1}},
    {"device_name": "n", "os": "Linux", "is_compatible": True, "peer_metadata": {"role": "till", "n": 2}},
    {"device_name": "n", "os": "Linux", "sdk_version": "5.1.0"},
    {"device_name": "m", "os": "Linux", "sdk_version": None, "peer_metadata": {"role": "till", "n": 1.0}},
    {"device_name": "m", "os": None, "is_compatible": False},
    {"device_name": "m", "os": "Linux", "sdk_version": "4", "peer_metadata": {"n": 1}},
    *DOCUMENTS[5:9],
]


@st.composite
def fleets(draw: st.DrawFn) -> World:
    """A world whose peers are of few kinds, so that names are shared, values spread, and keys seem to be renewed; of
    which nothing is refused."""
    world = draw(worlds())
    kinds = draw(st.lists(st.sampled_from(FLEET), min_size=len(DOCUMENTS), max_size=len(DOCUMENTS)))
    instead = {freeze(document): kind for document, kind in zip(DOCUMENTS, kinds, strict=True)}
    envelopes = [
        each
        if each.graph is None
        else each._replace(
            graph=each.graph._replace(peers={key: instead[freeze(told)] for key, told in each.graph.peers.items()})
        )
        for each in world.envelopes
    ]
    return world._replace(envelopes=list({each[:3]: each for each in envelopes}.values()))


@st.composite
def renewals(draw: st.DrawFn) -> World:
    """A world in which one or two observers see few keys come and go, most of them alike."""
    told = {key: draw(st.sampled_from(FLEET[:4])) for key in "bcde"} | {"a": FLEET[5]}
    early, late = draw(st.sampled_from(("b", "c", "bc"))), draw(st.sampled_from(("d", "e", "de")))
    envelopes = []
    for observer, spoken in (("a", draw(st.integers(4, 8))), ("z", draw(st.integers(0, 3)))):
        for step in range(spoken):
            keys = {"a", *draw(st.sets(st.sampled_from(early if 2 * step < spoken else late), max_size=2))}
            graph = None if draw(st.integers(0, 7)) == 0 else Graph("a", {key: told[key] for key in sorted(keys)}, {})
            envelopes.append(Envelope(observer, START + step * STEP, 0, graph, 2 * STEP))
    return World(envelopes, Question(draw(st.sampled_from((None, None, "a"))), None, None))


any_world = fleets() | renewals() | renewals()
windows = st.tuples(st.none() | instants, st.none() | instants).map(
    lambda pair: pair if None in pair else (min(pair), max(pair))
)


def opened(window: tuple[int | None, int | None]) -> tuple[int, int]:
    since, until = window
    return model.BEGINNING if since is None else since, model.END if until is None else until


def moments(window: tuple[int | None, int | None]) -> dict[str, Any]:
    since, until = (None if each is None else instant(each) for each in window)
    return {"since": since, "until": until}


def value(given: Any) -> Any:
    return freeze(MISSING if given is peerstore.ABSENT else given)


def checked(engine: str, holds: Callable[..., None], **drawn: st.SearchStrategy[Any]) -> None:
    @tried(engine)
    @given(world=any_world, **drawn)
    def check(world: World, **asked: Any) -> None:
        with recorded(world, engine) as (store, view):
            holds(store, view, world, **asked)

    check()


@pytest.mark.parametrize("engine", ENGINES)
def test_any_values_and_names(engine: str) -> None:
    def holds(store: peerstore.PeerStore, view: View, world: World, t: int, path: str) -> None:
        found = store.values_at(instant(t), path, **arguments(world))
        rows = [(value(row.value), set(row.peers)) for row in found]
        assert sorted(rows, key=lambda row: (-len(row[1]), sorted(row[1]))) == model.values(view, t, path)
        assert found.watched == bool(view.presence(t).watching)
        shared = {each.name: set(each.peers) for each in store.shared_names(instant(t), **arguments(world))}
        assert shared == {name: keys for name, keys in model.bearers(view, t).items() if len(keys) > 1}

    checked(engine, holds, t=instants, path=st.sampled_from(PATHS))


@pytest.mark.parametrize("engine", ENGINES)
def test_any_roll_out(engine: str) -> None:
    def holds(
        store: peerstore.PeerStore, view: View, world: World, window: Any, path: str, wanted: Any, t: int
    ) -> None:
        since, until = opened(window)
        given = peerstore.ABSENT if wanted is MISSING else wanted
        rows = [
            model.First(
                micros(row.at),
                row.peer_key,
                value(row.value),
                value(row.previous),
                None if row.previous_until is None else micros(row.previous_until),
                row.appeared,
                row.learned,
            )
            for row in store.rollout(path, given, **moments(window), **arguments(world))
        ]
        assert rows == [first for first in model.firsts(view, path, wanted) if since <= first.at < until]
        check_progress(store, view, world, path, wanted, t)

    wanted = st.sampled_from((MISSING, "Linux", "n", "till", 1, None, False, "5.1.0"))
    checked(engine, holds, window=windows, path=st.sampled_from(PATHS), wanted=wanted, t=instants)


def check_progress(store: peerstore.PeerStore, view: View, world: World, path: str, wanted: Any, t: int) -> None:
    given = peerstore.ABSENT if wanted is MISSING else wanted
    answer = store.rollout_at(path, given, instant(t), **arguments(world))
    last = model.last_values(view, t, path)
    lacking = {key for key, held in last.items() if held != freeze(wanted)}
    assert (answer.known, answer.lacking) == (len(last), len(lacking))
    laggards = {
        each.peer_key: value(each.value) for each in store.laggards(path, given, instant(t), **arguments(world))
    }
    assert laggards == {key: last[key] for key in lacking}
    everywhere = model.everywhere(view, t, path, wanted)
    given_times = (answer.first_everywhere_at, answer.everywhere_since)
    assert tuple(None if each is None else micros(each) for each in given_times) == everywhere
    if wanted is not MISSING:
        reached = [first for first in model.firsts(view, path, wanted) if first.at <= t]
        times = [None, None] if not reached else [instant(reached[0].at), instant(reached[-1].at)]
        assert answer.reached == len(reached)
        assert [answer.first_reached_at, answer.last_reached_at] == times


@pytest.mark.parametrize("engine", ENGINES)
def test_any_incompatibilities(engine: str) -> None:
    def holds(store: peerstore.PeerStore, view: View, world: World, window: Any, key: str | None) -> None:
        since, until = opened(window)
        rows = [
            (
                row.peer_key,
                row.observer,
                micros(row.start),
                None if row.end is None else micros(row.end),
                row.end_reason,
            )
            for row in store.incompatible(key, **moments(window), **arguments(world))
        ]
        expected = [
            row
            for row in model.incompatible(view)
            if key in (None, row[0]) and row[2] < until and (row[3] is None or row[3] > since)
        ]
        assert rows == sorted(expected, key=lambda row: row[:3])

    checked(engine, holds, window=windows, key=st.sampled_from((None, None, "d", "a")))


@pytest.mark.parametrize("engine", ENGINES)
def test_any_new_peers_and_new_keys(engine: str) -> None:
    def holds(store: peerstore.PeerStore, view: View, world: World, window: Any, identity: str | None) -> None:
        since, until = opened(window)
        new = [
            (each.peer.peer_key, micros(each.first_seen))
            for each in store.new_peers(**moments(window), **arguments(world))
        ]
        firsts = sorted((view.first_seen(key), key) for key in model.everybody(view, model.END))
        assert new == [(key, first) for first, key in firsts if since <= first < until]
        guesses = [
            model.Guess(
                micros(each.new_start),
                each.new_key,
                each.old_key,
                each.strength == "strong",
                each.gap // timedelta(microseconds=1),
                each.unobserved // timedelta(microseconds=1),
                {path.rpartition("/")[2] for path in each.shared},
                {path.rpartition("/")[2] for path in each.differing},
                set(each.others),
            )
            for each in store.new_keys(identity, **moments(window), **arguments(world))
        ]
        assert guesses == list(model.new_keys(view, since, until, identity))

    identities = st.sampled_from((None, None, "/peer_metadata/n", "/peer_metadata/role"))
    checked(engine, holds, window=windows, identity=identities)


@pytest.mark.parametrize("engine", ENGINES)
def test_any_collisions_and_population(engine: str) -> None:
    def holds(store: peerstore.PeerStore, view: View, world: World, window: Any, below: int | None) -> None:
        since, until = opened(window)
        collisions = {
            (each.name, frozenset(each.peers), micros(each.start), each.end and micros(each.end), each.end_reason)
            for each in store.name_collisions(**moments(window), **arguments(world))
        }
        assert collisions == {(each[0], frozenset(each[1]), *each[2:]) for each in model.collisions(view, since, until)}
        observed = [said.observed_at for stored in view.said.values() for said in stored]
        begin, end = window
        begin = min(observed, default=None) if begin is None else begin
        end = max(observed, default=None) if end is None else end
        rows = [
            (micros(each.start), micros(each.end), each.peers, each.most)
            for each in store.population(**moments(window), below=below, **arguments(world))
        ]
        if begin is None or end is None or begin >= end:
            assert rows == []
        else:
            assert rows == model.population(view, begin, end, below)

    checked(engine, holds, window=windows, below=st.sampled_from((None, None, 2, 3)))


@pytest.mark.parametrize("engine", ENGINES)
def test_any_expectation(engine: str) -> None:
    def holds(store: peerstore.PeerStore, view: View, world: World, t: int, entries: list[str]) -> None:
        answer = store.expected(entries, instant(t), **arguments(world))
        graphs = [each.graph for each in world.envelopes if each.graph is not None]
        keys = {key for each in graphs for key in each.peers}
        found = {
            each.entry: model.Standing(state, set(each.peers))
            for state in ("present", "missing", "unobserved", "ambiguous")
            for each in getattr(answer, state)
        }
        found |= {entry: model.Standing("unknown", set()) for entry in answer.unknown}
        named = {
            entry: {key for each in graphs for key, told in each.peers.items() if told.get("device_name") == entry}
            for entry in entries
        }
        expected = {entry: model.expected(view, t, entry, named[entry], keys) for entry in entries}
        assert found == expected
        claimed = {key for each in expected.values() if each.state in ("present", "ambiguous") for key in each.peers}
        assert set(answer.unexpected) == view.presence(t).peers.keys() - claimed

    entries = st.lists(st.sampled_from(("a", "b", "d", "e", "n", "m", "x")), unique=True)
    checked(engine, holds, t=instants, entries=entries)


def test_the_worlds_have_what_is_asked_for() -> None:
    """The strategies would be worthless if no world of theirs had new keys, shared names or misfits."""
    seen: Counter[str] = Counter()

    @settings(tried("sqlite"), max_examples=400)
    @given(world=any_world)
    def look(world: World) -> None:
        stored = Model()
        for observer, observed_at, sequence, graph, silence in world.envelopes:
            stored.record(observer, Said(observed_at, sequence, graph, silence))
        view = stored.view(*world.question)
        guesses = list(model.new_keys(view, START - STEP, START + 1000 * STEP, None))
        seen.update({f"guess, {'strong' if guess.strong else 'weak'}" for guess in guesses})
        seen.update({"misfit" for _ in model.incompatible(view)})
        seen.update({"shared" for _ in model.collisions(view, START, START + 1000 * STEP)})

    look()
    assert seen.keys() == {"guess, strong", "guess, weak", "misfit", "shared"}, seen
