"""After a prune: questions about the time from the horizon on are answered as before it, others are refused.

Two stores record the same; one is pruned. Every question that a store answers is put to both.
"""

from __future__ import annotations

import inspect
import itertools
import random
import threading
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import sqlalchemy as sa

import peerstore
from peerstore.exporting.tables import TABLES
from peerstore.tables import observation_log
from peerstore.times import instant, iso, parse_iso
from tests.commands import run
from tests.conftest import drop_url, fresh_url
from tests.databases import plain

SECOND = 1_000_000
DAY = 86_400 * SECOND
START = parse_iso("2026-07-08T08:00:00Z")
OBSERVERS = ("o1", "o2", "o3")
PEERS = (*OBSERVERS, "p1", "p2", "p3", "p4", "p5", "p6")
TYPES = ("Bluetooth", "AccessPoint", "P2PWiFi")
STEP = timedelta(seconds=600)
MOMENT = timedelta(microseconds=1)

Line = dict[str, Any]


class History(NamedTuple):
    """Lines in the order of time, and where to prune."""

    lines: list[Line]
    horizon: int


def history(seed: int, dark: bool) -> History:
    """Three observers that come and go, a part of it days before the rest. In the ``dark``, nobody watches at the
    horizon; else it is the instant of an observation."""
    source = random.Random(seed)
    views: dict[str, dict[str, Line]] = {key: {} for key in OBSERVERS}
    stops = dict.fromkeys(OBSERVERS, 0)
    lines: list[Line] = []
    at = START - 3 * DAY
    for step in range(100):
        at = START if step == 20 else at + source.randrange(1, 40) * SECOND
        key = source.choice(OBSERVERS)
        ends = source.random() < 0.08 and stops[key] < 2  # of more in a row, a prune keeps the first and the last
        stops[key] = stops[key] + 1 if ends else 0
        lines.append(line(key, at, None if ends else graph(key, altered(views[key], source)), source))
        if step == 60 and dark:
            lines += [line(each, at + SECOND, None, source) for each in OBSERVERS if not stops[each]]
            at += 300 * SECOND
        if step == 60:
            horizon = at - 100 * SECOND if dark else at
    return History(lines, horizon)


def line(key: str, at: int, told: Line | None, source: random.Random) -> Line:
    silence = {"maxSilenceSeconds": source.choice((40, 200))} if source.random() < 0.7 else {}
    return {"observedAt": iso(at), "observer": key, "graph": told, **silence}


def altered(view: dict[str, Line], source: random.Random) -> dict[str, Line]:
    for _ in range(source.choice((0, 1, 1, 2))):
        key, what = source.choice(PEERS), source.random()
        if what < 0.3:
            view.pop(key, None)
        elif what < 0.6 or key not in view:
            view[key] = {
                "deviceName": source.choice(("till", "kitchen", f"named {key}")),
                "os": source.choice(("Android", None)),
                "dittoSdkVersion": source.choice(("4.9", "5.0", "5.1")),
                "isConnectedToDittoCloud": source.random() < 0.4,
                "isCompatible": source.random() < 0.8,
                "peerMetadata": source.choice(({}, {"n": 1}, {"n": 2, "m": "x"})),
            }
        else:
            view[key] = {**view[key], "peerMetadata": {"n": source.randrange(3)}}
    return view


def graph(key: str, view: dict[str, Line]) -> Line:
    others = [{"peerKey": other, **told} for other, told in view.items() if other != key]
    keys = [key, *(other["peerKey"] for other in others)]
    pairs = [sorted(pair) for pair in itertools.combinations(keys, 2)]
    links = [
        {"peer1": one, "peer2": other, "connectionType": TYPES[(len(view) + len(keys)) % 3]}
        for one, other in pairs
        if key in (one, other) or (one[-1] < other[-1])
    ]
    return {"localPeer": {"peerKey": key, "connections": links, **view.get(key, {})}, "remotePeers": others}


def pruned(url: str, horizon: int) -> None:
    """Prune a store."""
    with peerstore.open(url) as store:
        store.prune(instant(horizon))


class Both(NamedTuple):
    """The store as it was, the pruned one, and the horizon."""

    whole: peerstore.PeerStore
    pruned: peerstore.PeerStore
    horizon: datetime
    known_at: datetime
    urls: tuple[str, str]
    thorough: bool = False

    @property
    def known(self) -> list[dict[str, datetime]]:
        """As known when questions are asked."""
        return [{}, {"known_at": self.known_at}] if self.thorough else [{}]


def filled(engine: str, told: History, seed: int) -> str:
    """A store that recorded the lines before the horizon in any order, then the others, many of them late."""
    url = fresh_url(engine)
    source = random.Random(seed)
    ticks = itertools.count(START + 10 * DAY, SECOND)
    horizon = iso(told.horizon)
    with peerstore.open(url, clock=lambda: instant(next(ticks))) as store:
        for later in (False, True):
            part = [each for each in told.lines if (each["observedAt"] >= horizon) is later]
            source.shuffle(part)
            for start in range(0, len(part), 10):
                store.record_many(part[start : start + 10])
    return url


CASES = [
    *(("sqlite", seed, seed % 2 == 0, False) for seed in (9, 2)),
    *(pytest.param(("sqlite", seed, seed % 2 == 0, True), marks=pytest.mark.slow) for seed in (3, 6)),
    *(pytest.param(("postgresql", seed, seed % 2 == 0, True), marks=pytest.mark.slow) for seed in (7, 8)),
]
"""The engine, the seed of a history, whether nobody watches at its horizon, whether more is asked."""


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def both(request: pytest.FixtureRequest) -> Iterator[Both]:
    engine, seed, dark, thorough = request.param
    told = history(seed, dark)
    urls = filled(engine, told, seed), filled(engine, told, seed)
    pruned(urls[1], told.horizon)
    with peerstore.open(urls[0]) as store:
        assert store.presence_at(instant(told.horizon - 1)).watched is not dark
    with plain(urls[0]) as connection:
        log = observation_log.c
        recorded = connection.execute(
            sa.select(log.recorded_at).where(log.observed_at >= told.horizon).order_by(log.recorded_at)
        )
        known_at = list(recorded.scalars())[20]

    def clock() -> datetime:
        return instant(START + 20 * DAY)

    with peerstore.open(urls[0], clock=clock) as whole, peerstore.open(urls[1], clock=clock) as after:
        yield Both(whole, after, instant(told.horizon), instant(known_at), urls, thorough)
    for url in urls:
        drop_url(url)


Asked = tuple[str, dict[str, Any]]

OVER_TIME: list[Asked] = [
    ("activity", {"every": 60}),
    ("activity", {"every": 600, "peer": "p1"}),
    ("changes", {}),
    ("changes", {"peer": "p1"}),
    ("changes", {"path": "/peer_metadata"}),
    ("changes", {"observer": "o1"}),
    ("changes", {"max_silence": 20}),
    ("metadata_changes", {}),
    ("metadata_changes", {"peer": "p2"}),
    ("sessions", {}),
    ("sessions", {"peer": "p1"}),
    ("sessions", {"observer": "o1"}),
    ("sessions", {"max_silence": 20}),
    ("sessions", {"clip": True}),
    ("connection_sessions", {}),
    ("connection_sessions", {"peer": "p1", "other": "o1"}),
    ("contacts", {}),
    ("contacts", {"peer": "p1", "grace": 30}),
    ("flapping", {"count": 1, "within": 600}),
    ("flapping", {"count": 1, "of": "peer", "shorter_than": 60}),
    ("transports", {"every": 300}),
    ("fallbacks", {"ends": True}),
    ("fallbacks", {"of": "peer"}),
    ("degrees", {}),
    ("degree_over", {"peer": "p1"}),
    ("cloud_sessions", {}),
    ("cloud_over", {}),
    ("islands_over", {"members": True}),
    ("paths_over", {"peer": "p1", "other": "p2"}),
    ("uptime", {}),
    ("uptime", {"peer": "p3"}),
    ("timeline", {}),
    ("rollout", {"path": "/sdk_version"}),
    ("incompatible", {}),
    ("population", {}),
    ("name_collisions", {}),
    ("new_keys", {}),
    ("new_peers", {}),
    ("coverage", {}),
    ("coverage", {"max_silence": 20}),
    ("coverage_gaps", {}),
    ("coverage_gaps", {"longer_than": 20}),
    ("coverage_shares", {}),
    ("clock_skew", {"within": 300}),
    ("disagreements", {}),
    ("graphs", {"observer": "o1"}),
    ("graphs", {"observer": "o2", "every": True}),
    ("observation_log", {}),
]
"""Questions over ``[since, until)``."""

OF_A_MOMENT: list[Asked] = [
    ("presence_at", {}),
    ("presence_at", {"observer": "o1"}),
    ("ids_at", {}),
    ("cloud_at", {}),
    ("islands_at", {}),
    ("cuts_at", {}),
    ("path_at", {"peer": "p1", "other": "p2"}),
    ("distances_at", {"peer": "p1"}),
    ("values_at", {}),
    ("shared_names", {}),
    ("disagreements_at", {}),
    ("rollout_at", {"path": "/sdk_version", "value": "5.0"}),
    ("laggards", {"path": "/sdk_version", "value": "5.0"}),
    ("expected", {"names_or_keys": [*PEERS, "till"]}),
    ("known_peers", {}),
    ("known_peers", {"peer": "p1"}),
    ("seen", {}),
    ("why", {"peer": "p1"}),
    ("why", {"peer": "p4", "within": 3600}),
    ("evidence", {"peer": "p1"}),
    ("evidence", {"peer": "p2", "path": "/sdk_version"}),
    ("evidence", {"peer": "p1", "other": "o1"}),
    ("observer_summaries", {}),
]
"""Questions about ``at``."""

OTHERS = {"diff", "presence_over", "follow", "content_digest", "status", "retention"}
"""Questions that a test of its own is about."""

OF_ALL_TIME = {
    "connections_ever",
    "device_names",
    "last_observed_at",
    "observer_keys",
    "peer_keys",
    "resolve_peer",
    "snapshot",
    "verify",
}
"""What is asked without any time."""


def test_no_question_is_forgotten() -> None:
    asked = {name for name, _ in (*OVER_TIME, *OF_A_MOMENT)}
    public = {name for name, _ in inspect.getmembers(peerstore.Answers) if not name.startswith("_")}
    assert public == asked | OTHERS | OF_ALL_TIME


def named(asked: Asked) -> str:
    return " ".join([asked[0], *(f"{name}={value}" for name, value in asked[1].items())])


def told(answer: Any) -> Any:
    """An answer as JSON, rows in a list."""
    if hasattr(answer, "to_dict"):
        return answer.to_dict()
    if is_dataclass(answer) and not isinstance(answer, type):
        return asdict(answer)
    if isinstance(answer, Iterator | list):
        return [told(each) for each in answer]
    return answer


def ask(store: peerstore.PeerStore, asked: Asked, **times: Any) -> Any:
    name, given = asked
    return told(getattr(store, name)(**given, **times))


NOT_COMPARED = {
    "sessions": ("duration_seconds", "gaps"),
    "connection_sessions": ("duration_seconds", "gaps"),
    "cloud_sessions": ("duration_seconds",),
    "incompatible": ("duration_seconds",),
    "coverage": ("duration_seconds", "observations", "longest_silence_seconds"),
}
"""What is told of the part of a stretch that the horizon leaves."""


def differing(
    after: Any, before: Any, horizon: str, leave: tuple[str, ...] = (), path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Where an answer is not what it was before the prune: where that told a time before the horizon, the same one or
    the horizon."""
    if isinstance(before, str) and isinstance(after, str) and "2026" <= before < horizon:
        if after not in (before, horizon):
            yield path, after, before
    elif isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        cut = leave if before.get("start") is not None and str(before["start"]) < horizon else ()
        expected = dict(before)
        if "began_before" in before:
            expected["began_before"] = before["began_before"] or str(before["start"]) < horizon
            assert not expected["began_before"] or after["start"] == horizon or after["cut_start"]
        for name, value in expected.items():
            if name not in cut:
                yield from differing(after[name], value, horizon, leave, f"{path}/{name}")
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        for place, pair in enumerate(zip(after, before, strict=True)):
            yield from differing(*pair, horizon, leave, f"{path}/{place}")
    elif before != after:
        yield path, after, before


def there_since(both: Both, at: datetime, **scope: Any) -> set[str]:
    """Who was there at or after the horizon."""
    return {each.peer_key for each in both.whole.sessions(since=both.horizon, until=at + MOMENT, **scope)}


def windows(both: Both) -> Iterator[dict[str, datetime | None]]:
    begin = both.horizon
    inside = [(begin + STEP / 2, begin + STEP)] if both.thorough else []
    for since, until in ((begin, None), *inside):
        yield {"since": since, "until": until}


@pytest.mark.parametrize("asked", OVER_TIME, ids=named)
def test_from_the_horizon_on_answers_are_what_they_were(both: Both, asked: Asked) -> None:
    for window in windows(both):
        for known in both.known:
            if known and "known_at" not in inspect.signature(getattr(both.whole, asked[0])).parameters:
                continue
            before, after = ask(both.whole, asked, **window, **known), ask(both.pruned, asked, **window, **known)
            before, after = comparable(both, asked, window, known, before, after)
            found = differing(after, before, iso(both.horizon), NOT_COMPARED.get(asked[0], ()))
            assert list(found) == [], (window, known)


def comparable(
    both: Both, asked: Asked, window: dict[str, Any], known: dict[str, Any], before: Any, after: Any
) -> tuple[Any, Any]:
    """Two answers without what the prune takes away for good (``docs/time.md``)."""
    horizon, name = iso(both.horizon), asked[0]
    if name in ("sessions", "connection_sessions", "cloud_sessions"):  # those that hold come in the order of starts
        before, after = (sorted(each, key=lambda row: in_order(row, horizon)) for each in (before, after))
    if asked[1].get("clip"):
        say_what_is_cut(before, after, window["since"] == both.horizon)
    if name == "rollout":  # of the values from before, those that were not the last ones are forgotten
        earlier = ask(both.whole, asked, until=both.horizon, **known)
        had = {(row["peer_key"], str(row["value"])) for row in earlier}
        after = [row for row in after if (row["peer_key"], str(row["value"])) not in had]
    if name == "new_keys":  # a key that was gone is, and so is what made a guess less sure
        there = there_since(both, both.horizon + 30 * STEP, **known)
        before, after = ([row for row in rows if row["old_key"] in there] for rows in (before, after))
        before, after = ([{**row, "confidence": None, "others": None} for row in rows] for rows in (before, after))
    if name in ("changes", "metadata_changes"):
        for one, other in zip(after, before, strict=True):  # whether somebody watched all the time of an absence
            if one.get("across_absence") and other["across_gap"]:
                one["across_gap"] = True
    return before, after


def say_what_is_cut(before: Any, after: Any, at_horizon: bool) -> None:
    """Of clipped sessions: what a window that begins at the horizon cuts, the horizon does."""
    for one, other in zip(after, before, strict=True):
        other["began_before"] = one["began_before"]
        if at_horizon:
            assert (one["cut_start"], one["began_before"]) == (False, other["cut_start"])
            one["cut_start"] = one["began_before"]


def in_order(row: dict[str, Any], horizon: str) -> str:
    known = {name: value for name, value in row.items() if name not in ("duration_seconds", "gaps", "began_before")}
    return str({**known, "start": max(row["start"], horizon)})


@pytest.mark.parametrize("asked", OVER_TIME, ids=named)
def test_a_question_without_a_beginning_begins_at_the_horizon(both: Both, asked: Asked) -> None:
    for until in (None, both.horizon + STEP):
        given = ask(both.pruned, asked, since=both.horizon, until=until)
        if asked[0] == "clock_skew":  # it looks at the last hours alone
            given = ask(both.whole, asked, since=both.horizon, until=until)
        assert ask(both.pruned, asked, until=until) == given


@pytest.mark.parametrize("asked", OVER_TIME, ids=named)
def test_a_window_that_begins_before_the_horizon_is_refused(both: Both, asked: Asked) -> None:
    early = both.horizon - MOMENT
    for window in ({"since": early}, {"since": early, "until": both.horizon + STEP}, {"until": early}):
        with pytest.raises(peerstore.BeforeHorizon, match=f"ask about {iso(both.horizon)} or later"):
            ask(both.pruned, asked, **window)


@pytest.mark.parametrize("asked", OF_A_MOMENT, ids=named)
def test_a_moment_from_the_horizon_on_is_what_it_was(both: Both, asked: Asked) -> None:
    for at in (both.horizon, both.horizon + STEP / 3, instant(START + DAY)):
        for known in both.known:
            before, after = ask(both.whole, asked, at=at, **known), ask(both.pruned, asked, at=at, **known)
            before, after = comparable_at(both, asked[0], at, known, before, after)
            found = differing(after, before, iso(both.horizon), NOT_COMPARED["sessions"])
            assert list(found) == [], (at, known)


def comparable_at(
    both: Both, name: str, at: datetime, known: dict[str, Any], before: Any, after: Any
) -> tuple[Any, Any]:
    """Two answers of a moment without what the prune takes away for good."""
    horizon = iso(both.horizon)
    if name in ("known_peers", "laggards"):
        there = there_since(both, at, **known)
        before = [row for row in before if row["peer_key"] in there]
    if name == "expected":  # names that a peer had between its first document and the horizon are forgotten
        for one, other in zip(after["unobserved"], before["unobserved"], strict=True):
            assert set(one["peers"]) <= set(other["peers"])
            one["peers"] = other["peers"]
    if name == "seen":
        saw = {key: there_since(both, at, observer=key, **known) for key in (*OBSERVERS, None)}
        before = [row for row in before if row["peer_key"] in saw[row["observer"]]]
    if name == "observer_summaries":
        for one, other in zip(after, before, strict=True):
            log = list(both.pruned.observation_log(observer=one["observer"], **known))
            assert len(log) <= one["observations"] <= len(log) + 3
            other["observations"] = one["observations"]
            assert one["last_recorded_at"] <= other["last_recorded_at"]  # what was recorded last may be of long ago
            other["last_recorded_at"] = one["last_recorded_at"]
            if other["first_observed_at"] < horizon:
                assert other["first_observed_at"] <= one["first_observed_at"] < horizon
                other["first_observed_at"] = one["first_observed_at"]
    if name in FORGET:
        FORGET[name](before, after, horizon)
    return before, after


def forget_sights(before: Any, after: Any, horizon: str) -> None:
    """What observers saw before the horizon of peers that they saw no more, or were linked with no more."""
    for one, other in zip(after, before, strict=True):
        if other["link_until"] is not None and other["link_until"] <= horizon:
            one.update({name: other[name] for name in ("link_since", "link_until", "linked_to")})
        elif other["link_since"] is not None and other["link_since"] < horizon:  # of several, it has the oldest
            one["linked_to"] = other["linked_to"]
        if other["observer"] is None and other["last_confirmed"] < horizon:
            assert one["last_confirmed"] <= other["last_confirmed"]
            one["last_confirmed"] = other["last_confirmed"]


def forget_progress(before: Any, after: Any, _horizon: str) -> None:
    """Who was gone before the horizon, in a roll-out, and when what was so by then came about."""
    for name in ("known", "reached", "having", "lacking"):
        assert after[name] <= before[name]
        before[name] = after[name]
    for name in ("first_everywhere_at", "last_reached_at", "first_reached_at"):
        before[name] = after[name]


def forget_absent(before: Any, after: Any, horizon: str) -> None:
    """When those were last seen that were gone before the horizon."""
    for group in ("present", "missing", "unobserved", "ambiguous"):
        for one, other in zip(after[group], before[group], strict=True):
            if one["last_seen"] is None and other["last_seen"] is not None:
                assert other["last_seen"] < horizon
                one["last_seen"] = other["last_seen"]


def forget_reasons(before: Any, after: Any, horizon: str) -> None:
    """What "why" found before the horizon."""
    for name in ("before", "links_before", "previous"):
        if after[name] is None and before[name] is not None:
            assert max(before[name].get("end") or "", before[name].get("observed_at") or "") <= horizon
            before[name] = None
            if not before["present"]:
                before["peer"] = after["peer"]
    for name in ("stretches", "changes"):
        assert all((row.get("start") or row["observed_at"]) >= horizon for row in after[name])
        rows = [row for row in before[name] if row.get("observed_at", horizon) >= horizon]
        before[name] = [row for row in rows if "end" not in row or row["end"] > horizon]
    for each in (before, after):
        each["findings"] = each["links_unobserved_seconds"] = None


def forget_since(before: Any, after: Any, horizon: str) -> None:
    """Since when observers have not held a connection, where that began before the horizon."""
    for one, other in zip(after["testimonies"], before["testimonies"], strict=True):
        if one["since"] is None and other["since"] is not None and other["since"] < horizon:
            assert not one["holds"]
            other["since"] = other["since_sequence"] = None
    if before["last_known"] is not None:
        forget_since(before["last_known"], after["last_known"], horizon)


FORGET = {
    "evidence": forget_since,
    "expected": forget_absent,
    "rollout_at": forget_progress,
    "seen": forget_sights,
    "why": forget_reasons,
}


@pytest.mark.parametrize("asked", OF_A_MOMENT, ids=named)
def test_a_moment_before_the_horizon_is_refused(both: Both, asked: Asked) -> None:
    with pytest.raises(peerstore.BeforeHorizon):
        ask(both.pruned, asked, at=both.horizon - MOMENT)


def test_two_moments_and_all_between_are_what_they_were(both: Both) -> None:
    begin, end = both.horizon, both.horizon + STEP
    for since, until in ((begin, end), (end, begin), (begin + STEP / 2, end)):
        for inside in (False, True):
            before, after = (each.diff(since, until, inside=inside).to_dict() for each in (both.whole, both.pruned))
            assert list(differing(after, before, iso(begin))) == []
        for step in (None, 60):
            if since < until:
                over = (each.presence_over(since, until, step) for each in (both.whole, both.pruned))
                before, after = (told(each) for each in over)
                assert list(differing(after, before, iso(begin))) == []
    early = begin - MOMENT
    for asked in (("diff", {"since": early, "until": end}), ("diff", {"since": end, "until": early})):
        with pytest.raises(peerstore.BeforeHorizon):
            ask(both.pruned, asked)
    for until in (early, end):
        with pytest.raises(peerstore.BeforeHorizon):
            ask(both.pruned, ("presence_over", {"since": early, "until": until}))


def test_what_is_followed_begins_at_the_horizon(both: Both) -> None:
    ended = threading.Event()
    ended.set()
    since = both.horizon
    before, after = (told(each.follow(since=since, stop=ended)) for each in (both.whole, both.pruned))
    before, after = comparable(both, ("changes", {}), {}, {}, before, after)
    assert list(differing(after, before, iso(since))) == []
    assert told(both.pruned.follow(stop=ended)) == []
    with pytest.raises(peerstore.BeforeHorizon):
        both.pruned.follow(since=since - MOMENT)


def test_a_session_joined_over_gaps_may_have_begun_before(both: Both) -> None:
    """By the grace, what came before the horizon may have belonged to it: then its start is not certain."""
    horizon, grace = both.horizon, timedelta(seconds=200)
    for name in ("sessions", "connection_sessions"):
        before, after = (told(getattr(each, name)(since=horizon, grace=grace)) for each in (both.whole, both.pruned))
        assert len(before) == len(after)
        key = ("peer_key",) if name == "sessions" else ("peer1", "peer2", "type")

        def order(row: dict[str, Any], key: tuple[str, ...] = key) -> list[str]:
            return [*(row[part] for part in key), row["end"] or "Z"]

        compared = (*key, "end", "end_reason")
        for one, other in zip(sorted(after, key=order), sorted(before, key=order), strict=True):
            assert [one[part] for part in compared] == [other[part] for part in compared]
            if not one["began_before"]:
                assert one == other
            else:
                assert iso(horizon) <= one["start"] <= iso(horizon + grace)
                assert one["start"] >= other["start"]
            if other["start"] < iso(horizon):
                assert one["began_before"]


def test_a_copy_and_an_export_begin_with_what_was_in_force(both: Both, tmp_path: Path) -> None:
    """A copy of the pruned store is one of the whole one from the horizon on; and so are exports."""
    digests = []
    for source, since in ((both.whole, both.horizon), (both.pruned, both.horizon), (both.pruned, None)):
        with peerstore.open(":memory:") as copy:
            copy.record_from(source, since)
            digests.append(copy.content_digest())
    assert digests == [both.pruned.content_digest()] * 3
    files = []
    for number, (source, since) in enumerate(
        ((both.whole, both.horizon), (both.pruned, both.horizon), (both.pruned, None))
    ):
        source.export(tmp_path / f"{number}.ndjson", since=since)
        files.append((tmp_path / f"{number}.ndjson").read_bytes())
    assert files[0] == files[1] == files[2]
    early, store = both.horizon - MOMENT, cast("Any", both.pruned)
    for window in ({"since": early}, {"until": early}, {"at": early}):
        with pytest.raises(peerstore.BeforeHorizon):
            store.export(tmp_path / "refused.ndjson", **window)
        with pytest.raises(peerstore.BeforeHorizon):
            store.to_networkx(**window)
        with pytest.raises(peerstore.BeforeHorizon):
            store.to_arrow("peer_sessions", **window)
    with peerstore.open(":memory:") as copy, pytest.raises(peerstore.BeforeHorizon):
        copy.record_from(both.pruned, early)


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_all_are_those_from_the_horizon_on(both: Both, table: str) -> None:
    everything, given = (both.pruned.to_arrow(table, since=since).to_pylist() for since in (None, both.horizon))
    if table in ("peers", "connections", "metadata"):  # all of what was in force, though it may be gone at the horizon
        assert [row for row in everything if row in given] == given
    else:
        assert everything == given


def test_what_is_kept_is_told(both: Both) -> None:
    kept, status = both.pruned.retention(), both.pruned.status()
    assert (kept.horizon, kept.thinned_before, kept.thinned_every) == (both.horizon, None, None)
    assert kept.to_dict()["horizon"] == status.horizon == iso(both.horizon)
    assert status.to_dict()["thinned_before"] is None
    summaries = both.pruned.observer_summaries()
    assert status.first_observed_at == iso(min(each.first_observed_at for each in summaries))
    nothing = dict.fromkeys(("horizon", "thinned_before", "thinned_every_seconds", "known_from"))
    assert both.whole.retention().to_dict() == nothing
    assert both.whole.status().horizon is None
    assert kept.known_from is not None
    with pytest.raises(peerstore.BeforeHorizon, match="ask as known at"):
        both.pruned.presence_at(both.horizon, known_at=kept.known_from - MOMENT)


def test_connections_ever_are_those_of_what_was_in_force_and_later(both: Both) -> None:
    ever, before = (set(map(str, store.connections_ever())) for store in (both.pruned, both.whole))
    since = {str(each.connection) for each in both.whole.connection_sessions(since=both.horizon)}
    assert since <= ever <= before


def test_the_command_line_says_it_in_a_sentence(both: Both) -> None:
    early = iso(both.horizon - MOMENT)
    result = run("changes", "--db", both.urls[1], "--since", early)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"the history before {iso(both.horizon)} was pruned: ask about {iso(both.horizon)} or later" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    shown = run("status", "--db", both.urls[1])
    assert "horizon" in shown.stdout
    assert "horizon" not in run("status", "--db", both.urls[0]).stdout


@pytest.mark.parametrize("limited", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_history_that_ends_before_the_horizon_still_answers(limited: bool) -> None:
    """Nothing was observed since; what was in force holds on."""
    lines, _ = history(8, dark=False)
    horizon = START + DAY
    kept = [each if limited else {**each, "maxSilenceSeconds": None} for each in lines]
    urls = [filled("sqlite", History(kept, horizon), 8) for _ in range(2)]
    pruned(urls[1], horizon)
    with peerstore.open(urls[0]) as whole, peerstore.open(urls[1]) as after:
        both = Both(whole, after, instant(horizon), instant(horizon), (urls[0], urls[1]))
        window = {"since": both.horizon, "until": None}
        for asked in OVER_TIME:
            answers = [ask(store, asked, since=both.horizon) for store in (whole, after)]
            answers[0], answers[1] = comparable(both, asked, window, {}, answers[0], answers[1])
            found = differing(answers[1], answers[0], iso(both.horizon), NOT_COMPARED.get(asked[0], ()))
            assert list(found) == [], asked
            assert ask(after, asked) == ask(after, asked, since=both.horizon)
        for asked in OF_A_MOMENT:
            answers = [ask(store, asked, at=both.horizon) for store in (whole, after)]
            answers[0], answers[1] = comparable_at(both, asked[0], both.horizon, {}, answers[0], answers[1])
            found = differing(answers[1], answers[0], iso(both.horizon), NOT_COMPARED["sessions"])
            assert list(found) == [], asked
        assert [len(after.to_arrow(name)) for name in TABLES]
    for url in urls:
        drop_url(url)


def test_an_observer_that_only_ever_stopped_is_no_hindrance(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record(None, instant(START), "o1")
        store.record(graph("o2", {}), instant(START + SECOND))
    pruned(store_url, START + 2 * SECOND)
    with peerstore.open(store_url) as store:
        assert store.status().first_observed_at == iso(START)
        assert [each.observer for each in store.observer_summaries()] == ["o1", "o2"]
        assert store.presence_at(instant(START + DAY)).observers[0].observed_at == instant(START)
        assert [each.peer_key for each in store.sessions()] == ["o2"]
