"""Pruning and thinning: what is asked later has the answers that the model of all observations gives; what cannot be
answered any more is said; whoever records goes on."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import Phase, given, settings
from sqlalchemy.engine import make_url

import peerstore
from peerstore import pruning, thinning
from peerstore.removing import Counts, Removing
from peerstore.times import FOREVER, instant, iso, micros
from tests.commands import answer, run
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.databases import plain
from tests.histories import history, stored
from tests.machine import (
    HOME,
    START,
    STEP,
    Envelope,
    Question,
    asked_silences,
    assert_same,
    batches,
    check_changes,
    check_diff,
    check_presence,
    check_sessions,
    graces,
    interesting,
    line,
    moment_of,
)
from tests.model import Event, Model, Moment, Said
from tests.worlds import RECORDED, tried

bounds = st.builds(lambda step, edge: START + step * STEP // 2 + edge, st.integers(0, 14), st.integers(-1, 1))
everies = st.sampled_from((1, STEP - 1, STEP, 2 * STEP, 3 * STEP, 10 * STEP))


@contextlib.contextmanager
def opened(engine: str) -> Iterator[peerstore.PeerStore]:
    url = fresh_url(engine)
    try:
        with peerstore.open(url, clock=lambda: instant(RECORDED)) as store:
            yield store
    finally:
        drop_url(url)


def tell(model: Model, envelopes: list[Envelope], since: int = -FOREVER) -> None:
    for observer, observed_at, sequence, graph, silence in envelopes:
        if observed_at >= since:
            model.record(observer, Said(observed_at, sequence, graph, silence, RECORDED))


# Pruning.


@pytest.mark.parametrize("engine", ENGINES)
def test_answers_from_the_horizon_on_are_what_they_were(engine: str) -> None:
    check_pruning(engine, tried(engine))


def check_pruning(engine: str, tries: settings) -> None:
    """Of all that was ever recorded; also once more is recorded, and pruned again."""

    @tries
    @given(
        first=batches(10),
        then=batches(6),
        horizons=st.tuples(bounds, bounds),
        observer=st.sampled_from((None, None, None, *sorted(HOME))),
        silence=asked_silences,
    )
    def holds(
        first: list[Envelope],
        then: list[Envelope],
        horizons: tuple[int, int],
        observer: str | None,
        silence: int | None,
    ) -> None:
        question = Question(observer, None, silence)
        model = Model()
        with opened(engine) as store:
            store.record_many(map(line, first))
            tell(model, first)
            horizon = -FOREVER
            for asked, envelopes in zip(horizons, (then, []), strict=True):
                dry = store.prune(instant(asked), dry_run=True)
                done = store.prune(instant(asked))
                assert (dry.observations, dry.changes) == (done.observations, done.changes)
                horizon = max(horizon, asked)
                check_from(store, model, question, horizon)
                summary = store.record_many(map(line, envelopes))
                assert summary.rejected == sum(each.observed_at < horizon for each in envelopes)
                tell(model, envelopes, horizon)
                check_from(store, model, question, horizon)

    holds()


def known(event: Event, question: Question) -> Event | None:
    """A change as far as it is known after a prune (docs/retention.md). Not known is whether somebody was missing all
    the time of an absence that began before the horizon, and when a peer was first in force there; of several observers
    not even whose document was shown last before it was gone."""
    if event.across_absence:
        return None if question.observer is None else event._replace(across_gap=False)
    return event._replace(learned=False) if event.kind == "changed" else event


def check_from(store: peerstore.PeerStore, model: Model, question: Question, horizon: int) -> None:
    view = model.view(*question)
    times = [each for each in interesting(view) if each >= horizon]
    check_presence(store, view, question, [horizon, *times])
    check_changes(store, view, question, (horizon, None), lambda event: known(event, question))
    for one, other in pairwise(times):
        check_diff(store, view, question, one, other)
    verified = store.verify()
    assert verified.ok, verified.findings


@pytest.mark.parametrize("engine", ENGINES)
def test_pruning_commutes_with_recording(engine: str) -> None:
    """What is not before the horizon may come before the prune or after it: the rows are the same."""

    @tried(engine)
    @given(first=batches(8), then=batches(6), horizon=bounds)
    def holds(first: list[Envelope], then: list[Envelope], horizon: int) -> None:
        later = [each for each in then if each.observed_at >= horizon]
        urls = [fresh_url(engine), fresh_url(engine)]
        try:
            for url, steps in zip(urls, ((first, None, later), (first, later, None)), strict=True):
                with peerstore.open(url, clock=lambda: instant(RECORDED)) as store:
                    for step in steps:
                        if step is None:
                            store.prune(instant(horizon))
                        else:
                            store.record_many(map(line, step))
            assert stored(urls[0]) == stored(urls[1])
        finally:
            for url in urls:
                drop_url(url)

    holds()


def test_a_prune_in_small_steps_is_the_same(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = history(3, 300)
    with peerstore.open(store_url) as store:
        store.record_many(lines)
        horizon = middle(store)
        expected = [store.presence_at(horizon + timedelta(minutes=n)).to_dict() for n in range(40)]
        monkeypatch.setattr(pruning, "_ROWS_A_STEP", 7)
        monkeypatch.setattr(thinning, "_ROWS_A_STEP", 7)
        monkeypatch.setattr(pruning, "_ELEMENTS_A_STEP", 2)
        removed = store.prune(horizon)
        assert removed.observations > 100
        assert removed.changes > 50
        assert removed.finished_at is not None
        assert [store.presence_at(horizon + timedelta(minutes=n)).to_dict() for n in range(40)] == expected
        assert store.verify().ok
        assert [*store.removals()] == [removed]


def middle(store: peerstore.PeerStore) -> datetime:
    status = store.status()
    first, last = (datetime.fromisoformat(str(each)) for each in (status.first_observed_at, status.last_observed_at))
    return first + (last - first) / 2


def test_a_graph_that_stopped_at_once_was_never_in_force(store_url: str) -> None:
    """What was shown last before nobody watched is what the graph before it showed."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    link = {"id": "a link", "peer1": "a", "peer2": "b", "connectionType": "Bluetooth"}

    def graph(*links: dict[str, str]) -> dict[str, Any]:
        return {
            "localPeer": {"peerKey": "b", "connections": links},
            "remotePeers": [{"peerKey": "a", "connections": []}],
        }

    with peerstore.open(store_url) as store:
        store.record(graph(link), noon)
        store.record(graph(), noon + timedelta(seconds=10))
        store.record(None, noon + timedelta(seconds=10), "b", sequence=1)
        horizon = noon + timedelta(seconds=11)
        store.prune(horizon)
        other = {"localPeer": {"peerKey": "a", "connections": []}, "remotePeers": []}
        store.record(other, noon + timedelta(seconds=20))
        told = [(change.kind, change.across_gap) for change in store.changes(since=horizon)]
        assert ("disconnected", True) in told
        assert store.verify().ok


def test_an_earlier_horizon_changes_nothing(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        store.record_many(history(3, 300))
        horizon = middle(store)
        store.prune(horizon)
    before = stored(store_url)
    with peerstore.open(store_url) as store:
        again = store.prune(horizon - timedelta(minutes=5))
        assert (again.observations, again.changes) == (0, 0)
        assert store.retention().horizon == horizon
    assert stored(store_url) == before


def test_what_nothing_refers_to_is_emptied(store_url: str) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)

    def graph(number: int, other: str) -> dict[str, Any]:
        link = {"id": f"{other} link", "peer1": "a", "peer2": other, "connectionType": "Bluetooth"}
        local = {
            "peerKey": "a",
            "deviceName": "A",
            "peerMetadata": {"secret": f"canary-{number}"},
            "connections": [link],
        }
        return {
            "localPeer": local,
            "remotePeers": [{"peerKey": other, "deviceName": other.upper(), "connections": [link]}],
        }

    with peerstore.open(store_url) as store:
        for number in range(10):
            store.record(graph(number, f"peer-{number}"), day + timedelta(days=number))
        removed = store.prune(day + timedelta(days=7, hours=1), vacuum=True)
        assert (removed.documents, removed.elements) == (6, 7)
        assert store.verify().ok
        texts = everything(store_url)
        assert not [number for number in range(1, 7) if f"canary-{number}" in texts]
        assert "canary-0" in texts, "what a peer was when it was first seen stays: what it learns then is no edit"
        assert "canary-7" in texts
        assert "PEER-3" in texts, "a peer that is gone keeps its last document: changes are told against it"
        # Ids are not given again, and what was known by id is learnt anew.
        store.record(graph(3, "peer-3"), day + timedelta(days=11))
        [*_, last] = store.metadata_changes(peer="a")
        assert (last.before, last.after) == ("canary-9", "canary-3")
        assert [link.peer2 for link in store.presence_at(day + timedelta(days=12)).connections] == ["peer-3"]
        assert store.verify().ok


def everything(url: str) -> str:
    """All text that the tables hold."""
    with plain(url) as connection:
        names = sa.inspect(connection).get_table_names()
        return "\n".join(
            str(tuple(row)) for name in names for row in connection.execute(sa.text(f"SELECT * FROM {name}"))
        )


def test_others_go_on_recording_meanwhile(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder with warm caches, in another store: what it knows by id goes while it records."""
    monkeypatch.setattr(pruning, "_ROWS_A_STEP", 5)
    monkeypatch.setattr(pruning, "_ELEMENTS_A_STEP", 1)
    lines = history(5, 400)
    with peerstore.open(store_url) as store, peerstore.open(store_url) as other:
        store.record_many(lines[:300])
        horizon = datetime.fromisoformat(str(store.status().last_observed_at)) - timedelta(minutes=1)
        late = [each for each in lines if micros(datetime.fromisoformat(each["observedAt"])) >= micros(horizon)]
        other.record_many(late[:1])
        waits: list[float] = []

        def go_on() -> None:
            for each in late[1:]:
                begun = time.monotonic()
                other.record_many([each])
                waits.append(time.monotonic() - begun)

        thread = threading.Thread(target=go_on)
        thread.start()
        store.prune(horizon)
        thread.join()
        assert len(waits) == len(late) - 1
        assert store.verify().ok
        again = store.record_many(late)
        assert (again.recorded, again.conflicts, again.rejected) == (0, 0, 0)


@pytest.mark.parametrize("statement", [3, 9, 20, 31, 40])
def test_a_prune_that_was_killed_is_asked_for_again(tmp_path: Path, statement: int) -> None:
    database, whole = str(tmp_path / "killed.db"), str(tmp_path / "whole.db")
    for path in (database, whole):
        with peerstore.open(path, clock=lambda: instant(RECORDED + 10**15)) as store:
            store.record_many(history(8, 120))
            horizon = middle(store)
    done = subprocess.run([sys.executable, "-c", _KILLED, database, iso(micros(horizon)), str(statement)], check=False)
    assert done.returncode == 9
    with peerstore.open(database) as store, peerstore.open(whole) as other:
        later = [horizon + timedelta(minutes=n) for n in range(30)]
        other.prune(horizon)
        assert [store.presence_at(at).to_dict() for at in later] == [other.presence_at(at).to_dict() for at in later]
        assert store.verify().ok
        store.prune(horizon)
        assert store.verify().ok
    assert stored(f"sqlite:///{database}") == stored(f"sqlite:///{whole}")


_KILLED = """
import os, sys
from datetime import datetime
from sqlalchemy import event
from sqlalchemy.engine import Engine
import peerstore
from peerstore import pruning

pruning._ROWS_A_STEP, pruning._ELEMENTS_A_STEP = 20, 3
written = [0]

@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, parameters, context, many):
    written[0] += statement.lstrip().startswith(("INSERT", "UPDATE", "DELETE"))
    if written[0] == int(sys.argv[3]):
        os._exit(9)

with peerstore.open(sys.argv[1]) as store:
    store.prune(datetime.fromisoformat(sys.argv[2]))
"""


# What cannot be any more.


def test_what_is_before_the_horizon_is_refused_and_kept_aside(store_url: str) -> None:
    lines = history(3, 60)
    with peerstore.open(store_url) as store:
        store.record_many(lines)
        horizon = middle(store)
        store.prune(horizon)
        early = [each for each in lines if datetime.fromisoformat(each["observedAt"]) < horizon]
        again = store.record_many(lines)
        assert (again.recorded, again.duplicates, again.rejected) == (0, len(lines) - len(early), len(early))
        reasons = {each.reason for each in store.rejects()}
        assert all("pruned or thinned" in reason for reason in reasons)
        with pytest.raises(peerstore.InputError, match="pruned or thinned"):
            store.record(early[0]["graph"], datetime.fromisoformat(early[0]["observedAt"]), early[0]["observer"])
        assert len([*store.rejects()]) == len(early)


def test_what_was_known_before_cannot_be_told(store_url: str) -> None:
    now = [RECORDED]
    with peerstore.open(store_url, clock=lambda: instant(now[0])) as store:
        for each in history(3, 60):
            store.record_many([each])
            now[0] += STEP
        horizon = middle(store)
        known = max(each.recorded_at for each in store.observation_log(until=horizon))
        expected = store.presence_at(horizon, known_at=known).to_dict()
        store.prune(horizon)
        assert store.presence_at(horizon, known_at=known).to_dict() == expected
        with pytest.raises(peerstore.BeforeHorizon, match="cannot be told any more"):
            store.presence_at(horizon, known_at=known - timedelta(microseconds=1))


@pytest.mark.parametrize("ask", ["prune", "thin"])
def test_what_has_not_come_yet_cannot_be_removed(store_url: str, ask: str) -> None:
    with peerstore.open(store_url) as store, pytest.raises(peerstore.QuestionError, match="has not come yet"):
        getattr(store, ask)(datetime.now(UTC) + timedelta(minutes=1), **({"every": 1} if ask == "thin" else {}))


# Thinning.


@pytest.mark.parametrize("engine", ENGINES)
def test_thinning_changes_no_answer_but_when_it_was_confirmed(engine: str) -> None:
    check_thinning(engine, tried(engine))


def check_thinning(engine: str, tries: settings) -> None:
    @tries
    @given(
        first=batches(10),
        again=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 6)), max_size=12),
        then=batches(6),
        bound=bounds,
        every=everies,
        silence=asked_silences,
        grace=graces,
    )
    def holds(
        first: list[Envelope],
        again: list[tuple[int, int]],
        then: list[Envelope],
        bound: int,
        every: int,
        silence: int | None,
        grace: int,
    ) -> None:
        # Something that is seen again, and again, has changed nothing.
        repeated = [
            first[number % len(first)]._replace(observed_at=first[number % len(first)].observed_at + many * STEP // 3)
            for number, many in again
        ]
        question = Question(None, None, silence)
        model = Model()
        with opened(engine) as store:
            for envelopes in (first, repeated):
                store.record_many(map(line, envelopes))
                tell(model, envelopes)
            dry = store.thin(instant(bound), timedelta(microseconds=every), dry_run=True)
            done = store.thin(instant(bound), timedelta(microseconds=every))
            assert dry.observations == done.observations
            store.record_many(map(line, then))
            tell(model, then, bound)
            assert store.verify().ok
            view = model.view(*question)
            if silence is not None and silence < every:
                with pytest.raises(peerstore.BeforeHorizon, match="thinned"):
                    list(store.sessions(**question.arguments()))
                return
            for t in interesting(view):
                given_at, expected = store.presence_at(instant(t), **question.arguments()), view.presence(t)
                assert_same([unconfirmed(moment_of(given_at))], [unconfirmed(expected)], question, iso(t))
            check_changes(store, view, question, (None, None))
            check_sessions(store, view, question, (None, None), grace)

    holds()


def unconfirmed(moment: Moment) -> Moment:
    """Without the times of the observations that an answer rests on."""
    return moment._replace(observers={key: (0, watching) for key, (_, watching) in moment.observers.items()})


def test_an_observer_that_repeats_itself_is_thinned(store_url: str) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    graph = {"localPeer": {"peerKey": "a", "deviceName": "A", "connections": []}, "remotePeers": []}
    with peerstore.open(store_url) as store:
        store.record_many(
            {"observedAt": (start + timedelta(seconds=15 * n)).isoformat(), "graph": graph, "maxSilenceSeconds": 600}
            for n in range(1000)
        )
        removed = store.thin(start + timedelta(seconds=15 * 800), timedelta(minutes=5))
        assert removed.observations == 800 - 1 - 40
        assert store.status().observations == 1000 - removed.observations
        assert store.presence_at(start + timedelta(minutes=77)).watched
        assert [span.end for span in store.coverage()] == [None] or len([*store.coverage()]) == 1
        assert store.verify().ok
        # Not below the limit that the observations themselves declare.
        assert store.thin(start + timedelta(seconds=15 * 800), timedelta(hours=5)).observations < 40
        assert len([*store.coverage()]) == 1


def held_up(url: str, ended: threading.Event, turns: list[float]) -> None:
    """Ask to write, as who records does, and note when that was granted."""
    with closing(sqlite3.connect(make_url(url).database or "", timeout=60, isolation_level=None)) as connection:
        while not ended.wait(0.001):
            connection.execute("BEGIN IMMEDIATE")
            turns.append(time.monotonic())
            connection.execute("ROLLBACK")


def slow_step(_: object) -> Counts:
    time.sleep(0.2)
    return Counts()


def test_who_records_has_a_turn_between_the_steps_of_a_removal() -> None:
    """One step right after the other would keep the lock of an SQLite file from everybody else until the last."""
    url, ended, turns = fresh_url("sqlite"), threading.Event(), list[float]()
    with peerstore.open(url) as store:
        other = threading.Thread(target=held_up, args=(url, ended, turns))
        removing = Removing(store._database, "thin", None)
        removing.begin(lambda kept: kept)
        other.start()
        begun = time.monotonic()
        for _ in range(12):
            removing.step(slow_step)
        last = time.monotonic()
        ended.set()
        other.join()
    assert len({int((turn - begun) * 4) for turn in turns if turn < last}) >= 4


# Negative controls: the harness above sees what it looks for.


def broken_newest(newest: Any) -> Any:
    """Leaves the rows of peers that are gone out."""
    return lambda self: (row for row in newest(self) if row[3] is not None)


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["versions", "stops", "gone", "near"])
def test_a_broken_removal_is_found(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if broken == "versions":  # all versions begin at the base
        plan = pruning._plan

        def moved(connection: Any, number: int, key: str, end: Any, peers: set[int]) -> Any:
            made = plan(connection, number, key, end, peers)
            if made is None or made.kept.base is None:
                return made
            base = made.kept.base
            rows: list[Any] = [(*base, element, document, None) for element, document in made.kept.state.items()]
            logged = {place: row for place, row in made.kept.logged.items() if place >= base}
            return made._replace(kept=made.kept._replace(changes={base: rows}, logged=logged))

        monkeypatch.setattr(pruning, "_plan", moved)
        check = check_pruning
    elif broken == "stops":
        monkeypatch.setattr(pruning, "_first_after", lambda *_: None)
        check = check_pruning
    elif broken == "gone":
        monkeypatch.setattr(pruning._Newest, "rows", broken_newest(pruning._Newest.rows))
        check = check_pruning
    else:
        monkeypatch.setattr(thinning, "_is_near", lambda *_: True)
        check = check_thinning
    many = settings(tried("sqlite"), max_examples=300, phases=(Phase.generate,), derandomize=True, print_blob=False)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever the broken build comes to
        check("sqlite", many)


# The command line.


def test_the_commands_say_what_goes(tmp_path: Path) -> None:
    database = str(tmp_path / "mesh.db")
    with peerstore.open(database) as store:
        store.record_many(history(3, 60))
        horizon = iso(micros(middle(store)))
    asked = ("--db", database, "prune", "--before", horizon)
    dry, done = answer(*asked, "--dry-run"), answer(*asked)
    assert (dry["observations"], dry["finished_at"]) == (done["observations"], None)
    assert "removed 0 observations and 0 changes before" in run(*asked, "--vacuum").stdout
    thinned = answer("--db", database, "thin", "--before", horizon, "--every", "1h")
    listed = answer("--db", database, "removals")
    assert [each["kind"] for each in listed] == ["prune", "prune", "thin"]
    assert listed[2] == thinned
    assert "broken off" not in run("--db", database, "removals").stdout
    late = run("--db", database, "prune", "--before", "2999-01-01T00:00:00Z")
    assert (late.exit_code, late.stderr.count("\n")) == (2, 1)
