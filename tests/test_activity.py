"""How much happened, and following it as it comes: told by hand, and against the brute force over small worlds."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import peerstore
from peerstore.times import EPOCH, instant, micros
from tests.commands import KEYS, answer, envelope, lines, run, unconnected
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.machine import SECOND, START, STEP, instants, line, windows
from tests.test_answers import at, graph
from tests.test_cli import start
from tests.worlds import World, arguments, pieces, recorded, tried, worlds

KINDS = ("appeared", "disappeared", "connected", "disconnected", "changed", "observer_started", "observer_stopped")
MINUTE = timedelta(minutes=1)


@pytest.fixture(name="store")
def opened(store_url: str) -> Iterator[peerstore.PeerStore]:
    with peerstore.open(store_url) as opened:
        yield opened


class Script(threading.Event):
    """Lets one thing happen whenever somebody waits for it; it is set once all has happened."""

    def __init__(self, *actions: Callable[[], Any]) -> None:
        super().__init__()
        self._actions = iter(actions)

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - as Event has it
        action = next(self._actions, None)
        if action is None:
            self.set()
        else:
            action()
        return self.is_set()


def told(changes: Iterable[peerstore.Change]) -> list[tuple[Any, ...]]:
    marks = ("late", "withdrawn")
    return [
        (each.observed_at, each.kind, each.peer_key or each.observer, *(mark for mark in marks if getattr(each, mark)))
        for each in changes
    ]


# How much.


def test_buckets_are_aligned_counted_and_say_what_was_unobserved(store: peerstore.PeerStore) -> None:
    store.record(graph("o", "k"), at(30), max_silence=45)
    store.record(graph("o"), at(60), max_silence=45)
    store.record(graph("o", "k", "m"), at(230))
    buckets = list(store.activity(MINUTE))
    assert [each.start for each in buckets] == [at(0), at(60), at(120), at(180)]
    assert [each.total for each in buckets] == [3, 2, 0, 3]
    assert [each.counts["appeared"] for each in buckets] == [2, 0, 0, 2]
    silent = timedelta(microseconds=1)
    assert [each.known.total_seconds() for each in buckets] == [30, (45 * SECOND + 1) / SECOND, 0, 0]
    assert buckets[1].unobserved == timedelta(seconds=15) - silent
    assert [each.unobserved.total_seconds() for each in buckets[2:]] == [60, 50]
    assert [each.total for each in store.activity(MINUTE, peer="m")] == [1, 1, 0, 2]
    assert buckets[0].to_dict()["observer_started"] == 1


def test_activity_of_one_instant_and_of_nothing(store: peerstore.PeerStore) -> None:
    assert list(store.activity()) == []
    store.record(graph("o"), at(0))
    [bucket] = store.activity()
    assert (bucket.total, bucket.known, bucket.unobserved) == (2, timedelta(0), timedelta(0))
    assert list(store.activity(since=at(1))) == []
    assert [each.total for each in store.activity(since=at(-60), until=at(60))] == [0, 2]


def test_too_many_buckets_are_refused(store: peerstore.PeerStore) -> None:
    with pytest.raises(peerstore.QuestionError, match="1,000,000 are the most"):
        store.activity(0.001, at(0), at(1001))
    assert len(list(store.activity(0.5, at(0), at(10)))) == 20
    store.record(graph("o"), at(0))
    store.record(graph("o"), at(1001))
    with pytest.raises(peerstore.QuestionError, match="are the most"):
        list(store.activity(0.001))
    with pytest.raises(peerstore.QuestionError, match="longer than nothing"):
        store.activity(0)


@pytest.mark.parametrize("engine", ENGINES)
def test_activity_counts_what_the_model_counts(engine: str) -> None:
    @tried(engine)
    @given(world=worlds(), window=windows, every=st.sampled_from((STEP, STEP // 2, 7 * SECOND, 60 * SECOND)))
    def holds(world: World, window: tuple[int | None, int | None], every: int) -> None:
        with recorded(world, engine) as (store, view):
            said = [each.observed_at for spoken in view.said.values() for each in spoken]
            since = min(said, default=None) if window[0] is None else window[0]
            until = max(said, default=None) if window[1] is None else window[1]
            open_end = window[1] is None
            begin, end = (None if each is None else instant(each) for each in window)
            buckets = list(store.activity(timedelta(microseconds=every), since=begin, until=end, **arguments(world)))
            if since is None or until is None or since > until or (since == until and not open_end):
                assert buckets == []
                return
            stop = until + open_end
            counts = Counter((event.at // every, event.kind) for event in view.changes() if since <= event.at < stop)
            known: Counter[int] = Counter()
            for start, finish in pieces(view, since, until):
                for number in range(start // every, (finish - 1) // every + 1):
                    length = min(finish, (number + 1) * every) - max(start, number * every)
                    known[number] += length if view.presence(start).watching else 0
            numbers = range(since // every, (stop - 1) // every + 1)
            assert [micros(each.start) // every for each in buckets] == list(numbers)
            for number, bucket in zip(numbers, buckets, strict=True):
                assert dict(bucket.counts) == {kind: counts[number, kind] for kind in KINDS}
                assert bucket.known == timedelta(microseconds=known[number])
                asked = max(min((number + 1) * every, until) - max(number * every, since), 0)
                assert bucket.known + bucket.unobserved == timedelta(microseconds=asked)

    holds()


# As it comes.


def test_following_begins_now_and_tells_what_comes(store: peerstore.PeerStore) -> None:
    store.record(graph("o", "k"), at(0))
    script = Script(
        lambda: None,
        lambda: store.record(graph("o", "k", "m"), at(10)),
        lambda: store.record(graph("o", "m"), at(20)),
    )
    assert told(store.follow(stop=script)) == [(at(10), "appeared", "m"), (at(20), "disappeared", "k")]


def test_following_tells_the_past_since_and_can_be_narrowed(store: peerstore.PeerStore) -> None:
    store.record(graph("o", "k", name="x"), at(0))

    def record() -> None:
        store.record(graph("o", "k", name="y"), at(10))

    everything = told(store.follow(at(0), stop=Script(record)))
    assert [each[1] for each in everything] == ["observer_started", "appeared", "appeared", "changed", "changed"]
    settled = Script()
    assert told(store.follow(at(1), peer="k", stop=settled)) == [(at(10), "changed", "k")]
    assert told(store.follow(at(0), kinds=["appeared"], stop=Script())) == [
        (at(0), "appeared", "k"),
        (at(0), "appeared", "o"),
    ]
    assert told(store.follow(at(0), path="/os", stop=Script())) == []
    assert len(told(store.follow(at(0), path="/device_name", stop=Script()))) == 2


def test_a_late_observation_is_told_as_late_and_takes_back_what_is_no_more(store: peerstore.PeerStore) -> None:
    store.record(graph("o", "k"), at(0))
    store.record(graph("o"), at(100))
    script = Script(
        lambda: store.record(graph("o", "m"), at(50)),
        lambda: store.record(graph("o", "n"), at(110)),
    )
    assert told(store.follow(at(0), stop=script)) == [
        (at(0), "observer_started", "o"),
        (at(0), "appeared", "k"),
        (at(0), "appeared", "o"),
        (at(100), "disappeared", "k"),
        (at(50), "appeared", "m", "late"),
        (at(50), "disappeared", "k", "late"),
        (at(100), "disappeared", "k", "withdrawn"),
        (at(100), "disappeared", "m", "late"),
        (at(110), "appeared", "n"),
    ]


def test_silence_is_told_when_the_clock_passes_the_limit(store_url: str) -> None:
    now = [at(0)]

    def pass_to(second: float) -> Callable[[], None]:
        return lambda: now.__setitem__(0, at(second))

    with peerstore.open(store_url, clock=lambda: now[0]) as store:
        store.record(graph("o", "k"), at(0), max_silence=45)
        following = store.follow(kinds=["observer_started", "observer_stopped"], stop=Script(pass_to(45), pass_to(46)))
        assert told(following) == [(at(45) + timedelta(microseconds=1), "observer_stopped", "o")]
        script = Script(lambda: store.record(graph("o", "k"), at(40), max_silence=45), pass_to(100))
        assert told(store.follow(kinds=["observer_stopped"], stop=script)) == [
            (at(45) + timedelta(microseconds=1), "observer_stopped", "o", "withdrawn"),
            (at(85) + timedelta(microseconds=1), "observer_stopped", "o"),
        ]


def meaning(change: peerstore.Change) -> str:
    said = change.to_dict()
    for name in ("late", "withdrawn", *([] if change.kind.startswith("observer") else ["observer"])):
        said.pop(name, None)
    return json.dumps(said, sort_keys=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_told_adds_up_to_what_is(engine: str) -> None:
    """Whatever is recorded in whatever order while the clock goes on."""

    @tried(engine)
    @given(world=worlds(), since=st.none() | instants, before=st.integers(0, 4), ahead=st.integers(0, 3 * STEP))
    def holds(world: World, since: int | None, before: int, ahead: int) -> None:
        url = fresh_url(engine)
        now = [START]

        def tell(number: int) -> Callable[[], None]:
            def act() -> None:
                now[0] = max(now[0], world.envelopes[number].observed_at + ahead)
                store.record_many([line(world.envelopes[number])])

            return act

        try:
            with peerstore.open(url, clock=lambda: instant(now[0])) as store:
                for number in range(min(before, len(world.envelopes))):
                    tell(number)()
                view = arguments(world)
                base: Counter[str] = Counter()
                if since is None:
                    base.update(map(meaning, store.changes(until=end(store, now[0]), **view)))
                script = Script(*(tell(number) for number in range(before, len(world.envelopes))))
                begin = None if since is None else instant(since)
                for change in store.follow(begin, stop=script, **view):
                    base[meaning(change)] += -1 if change.withdrawn else 1
                if begin is None or begin <= end(store, now[0]):
                    expected = Counter(map(meaning, store.changes(begin, end(store, now[0]), **view)))
                    assert {each: count for each, count in base.items() if count} == expected
        finally:
            drop_url(url)

    holds()


def end(store: peerstore.PeerStore, now: int) -> Any:
    last = [micros(each.last_observed_at) for each in store.observer_summaries()]
    return instant(max(now, *last, START) + 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_another_process_records_is_told(engine: str, tmp_path: Path) -> None:
    url = fresh_url(engine)
    given = tmp_path / "late.ndjson"
    first, second = ({**unconnected(*each), "maxSilenceSeconds": None} for each in ((0, ["one"]), (5, ["one", "two"])))
    given.write_text(lines([second]), encoding="utf-8")

    def record_elsewhere() -> None:
        with start("record", "--db", url, str(given)) as child:
            child.communicate(timeout=60)
            assert child.returncode == 0

    try:
        with peerstore.open(url) as store:
            store.record_many([first])
            [change] = store.follow(stop=Script(record_elsewhere))
            assert (change.kind, change.peer_key, change.late) == ("appeared", KEYS[1], False)
    finally:
        drop_url(url)


# On the command line.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PEERSTORE_DB", str(tmp_path / "mesh.db"))
    answer("record", input=lines([envelope(0, ["one", "two"]), envelope(5, ["one"])]))
    return tmp_path


def test_follow_prints_each_line_at_once_and_ends_quietly(folder: Path) -> None:
    words = ("changes", "--follow", "--since", "2026-07-08T00:00:00Z", "--interval", "10ms")
    with start(*words, "--ndjson") as child:
        assert child.stdout is not None
        past = [json.loads(child.stdout.readline()) for _ in range(7)]
        assert past == answer("changes")
        answer("record", input=lines([envelope(3, ["one"])]))
        late = [json.loads(child.stdout.readline()) for _ in range(4)]
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err) == (130, b"", b"")
    assert [each["kind"] for each in past[-3:]] == ["disconnected", "disappeared", "observer_stopped"]
    assert [("late" in each, "withdrawn" in each) for each in late] == [(True, False)] * 2 + [(False, True)] * 2


def test_a_reader_of_what_follows_may_go_away(folder: Path) -> None:
    with start("changes", "--follow", "--since", "2026-07-08T00:00:00Z", "--interval", "10ms") as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith(b"2026-07-08T18:00:00Z")
        child.stdout.close()
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=20) in (130, 141)


@pytest.mark.parametrize("words", [("--until", "now"), ("--known-at", "now"), ("--json",)])
def test_follow_has_no_end(folder: Path, words: tuple[str, ...]) -> None:
    result = run("changes", "--follow", *words)
    assert result.exit_code == 2
    assert "--follow has no end" in result.stderr


def test_activity_lists_buckets_and_the_busiest_first(folder: Path) -> None:
    rows = answer("activity", "--every", "1s")
    assert [row["total"] for row in rows] == [4, 0, 0, 0, 0, 2]
    top = answer("activity", "--every", "1s", "--top", "2")
    assert top == [rows[0], rows[5]]
    assert run("activity", "--every", "1us").exit_code == 2
    assert answer("activity", "--since", (EPOCH + timedelta(days=30000)).isoformat()) == []
