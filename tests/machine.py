"""A machine that drives a real store and the in-memory model side by side, and compares every answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import peerstore
from peerstore.answers.changes import AttributeChange, Change
from peerstore.answers.sessions import ConnectionSession, Session
from peerstore.model import Connection
from peerstore.times import instant, iso, micros
from tests.conftest import drop_url, fresh_url
from tests.model import FOREVER, MISSING, Event, Graph, Link, Model, Moment, Said, Span, Thing, View, freeze

START: Final = micros(datetime(2026, 7, 8, 18, tzinfo=UTC))
STEP: Final = 10_000_000  # seven steps: one more than the minute in which metadata is learned
SECOND: Final = 1_000_000
HOUR: Final = 3600 * SECOND
HOME: Final = {"a": "a", "b": "b", "z": "c"}  # each observer's usual local peer
PEERS: Final = ("a", "b", "c", "d", "d", "d", "e")
LINKS: Final[tuple[Link, ...]] = (
    ("a", "b", "Bluetooth", "1"),
    ("a", "b", "AccessPoint", "2"),
    ("b", "c", "Bluetooth", "3"),
    ("b", "c", "Bluetooth", "3 again"),
    ("a", "unheard-of", "P2PWiFi", "4"),
    ("d", "d", "WebSocket", "5"),
)
DOCUMENTS: Final[tuple[dict[str, Any], ...]] = (
    {"device_name": "n"},
    {"device_name": "n", "os": "Linux", "peer_metadata": {}},
    {"device_name": "n", "os": "Linux", "peer_metadata": {"role": "till"}},
    {"device_name": "n", "os": "Linux", "peer_metadata": {"role": "till", "n": 1}},
    {"device_name": "n", "os": "Linux", "peer_metadata": {"n": 1.0, "role": "till"}},
    {"device_name": "n", "os": None, "peer_metadata": {"n": {"a/b~c": [1, 2]}, "role": None}},
    {"device_name": "", "os": "", "peer_metadata": {"n": {"a/b~c": [2, 1]}}, "extra": {"battery": 1}},
    {"device_name": "m", "sdk_version": None, "is_compatible": None, "extra": {"battery": True}},
    {"device_name": "m", "sdk_version": "5.1.0", "is_compatible": False, "identity_service_metadata": {}},
    {"device_name": "m", "is_connected_to_cloud": True, "identity_service_metadata": {"": 2**64 + 1}},
    {"device_name": "m", "is_connected_to_cloud": False, "identity_service_metadata": {"": 2**64}, "os": "\0"},
)
SPELLINGS: Final = {
    "device_name": "deviceName",
    "os": "os",
    "sdk_version": "dittoSdkVersion",
    "is_connected_to_cloud": "isConnectedToDittoServer",
    "is_compatible": "isCompatible",
    "peer_metadata": "peerMetadata",
    "identity_service_metadata": "identityServiceMetadata",
}


class Envelope(NamedTuple):
    """One observation as it is given to the store."""

    observer: str
    observed_at: int
    sequence: int
    graph: Graph | None
    max_silence: int | None = None


class Question(NamedTuple):
    """Of whom (``None``: of all), as known when, with which limit."""

    observer: str | None = None
    known_at: int | None = None
    max_silence: int | None = None

    def arguments(self) -> dict[str, Any]:
        silence = None if self.max_silence is None else timedelta(microseconds=self.max_silence)
        return {"observer": self.observer, "known_at": _moment(self.known_at), "max_silence": silence}


def _moment(at: int | None) -> datetime | None:
    return None if at is None else instant(at)


# What is recorded.


def ditto(graph: Graph) -> dict[str, Any]:
    """The graph as the Ditto SDK 5 gives it."""
    peers = {key: _ditto_peer(key, graph) for key in graph.peers}
    return {"localPeer": peers.pop(graph.local_peer), "remotePeers": list(peers.values())}


def _ditto_peer(key: str, graph: Graph) -> dict[str, Any]:
    attributes = dict(graph.peers[key])
    extra = attributes.pop("extra", {})
    listed = [_ditto_connection(*link) for link, listed_by in graph.connections.items() if key in listed_by]
    return {"peerKey": key, "connections": listed, **extra, **{SPELLINGS[k]: v for k, v in attributes.items()}}


def _ditto_connection(peer1: str, peer2: str, kind: str, name: str) -> dict[str, Any]:
    return {"id": name, "peer1": peer1, "peer2": peer2, "connectionType": kind}


def line(envelope: Envelope) -> dict[str, Any]:
    """The observation as a line of the contract's input."""
    result: dict[str, Any] = {"observedAt": iso(envelope.observed_at), "sequence": envelope.sequence}
    result |= {"observer": envelope.observer, "graph": None if envelope.graph is None else ditto(envelope.graph)}
    if envelope.max_silence is not None:
        result["maxSilenceSeconds"] = envelope.max_silence / SECOND
    return result


few_documents = st.sampled_from(DOCUMENTS[1:3])
documents = few_documents | few_documents | few_documents | st.sampled_from(DOCUMENTS)


def altered_by(envelope: Envelope, model: Model) -> int:
    """How many peers and connections the observation adds, removes or alters against the last graph before it."""
    if envelope.graph is None:
        return 0
    stored = model.recorded.get(envelope.observer, {})
    before = [at for at in sorted(stored) if at < envelope[1:3] and stored[at].graph is not None]
    last = (stored[before[-1]].graph if before else None) or Graph("", {}, {})
    peers = _differing(last.peers, envelope.graph.peers)
    return peers + _differing(last.connections, envelope.graph.connections)


def _differing(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> int:
    return sum(freeze(old.get(thing, MISSING)) != freeze(new.get(thing, MISSING)) for thing in old.keys() | new.keys())


@st.composite
def graphs(draw: st.DrawFn, observer: str) -> Graph:
    """A graph of few peers and links out of the pools; now and then its local peer is not the usual one."""
    local_peer = draw(st.sampled_from((HOME[observer], HOME[observer], HOME[observer], "d")))
    keys = {local_peer} | draw(st.sets(st.sampled_from(PEERS), min_size=1, max_size=3))
    peers = {key: draw(documents) for key in sorted(keys)}
    links = draw(st.sets(st.sampled_from(LINKS), max_size=2))
    listed = {link: frozenset(draw(st.sets(st.sampled_from(link[:2]), min_size=1)) & keys) for link in sorted(links)}
    return Graph(local_peer, peers, {link: listed_by for link, listed_by in listed.items() if listed_by})


sequences = st.sampled_from((0, 0, 0, 1, 2))
moments = st.builds(
    lambda step, edge: START + step * STEP + edge, st.integers(0, 7), st.sampled_from((0, 0, 0, 0, 0, -1, 1))
)
said_silences = st.sampled_from((None, None, None, STEP, STEP - 1, 2 * STEP, 5 * STEP // 2))


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    observer = draw(st.sampled_from(sorted(HOME)))
    graph = draw(st.one_of(*[graphs(observer)] * 5, st.none()))
    return Envelope(observer, draw(moments), draw(sequences), graph, draw(said_silences))


@st.composite
def batches(draw: st.DrawFn, most: int) -> list[Envelope]:
    """Some observations, some of them said again at other times."""
    first = draw(st.lists(envelopes(), min_size=most // 2, max_size=most))
    again = draw(st.lists(st.tuples(st.sampled_from(first), moments, sequences), max_size=most))
    return [*first, *(one._replace(observed_at=at, sequence=sequence) for one, at, sequence in again)]


asked_silences = st.sampled_from((None, None, None, None, None, STEP, STEP - 1, 3 * STEP, FOREVER))
graces = st.sampled_from((0, 1, 2, STEP, STEP + 1, 2 * STEP))
instants = st.builds(lambda step, edge: START + step * STEP // 2 + edge, st.integers(-2, 20), st.integers(-1, 1))
windows = st.tuples(st.none() | instants, st.none() | instants).map(
    lambda pair: pair if None in pair else (min(pair), max(pair) + (pair[0] == pair[1]))
)


# The store's answers in the model's words.


def moment_of(presence: peerstore.Presence) -> Moment:
    observers = {who.observer: (micros(who.observed_at), who.watching) for who in presence.observers if who.observed_at}
    peers = {key: (dict(peer.document), peer.seen_by, peer.is_observer) for key, peer in presence.peers.items()}
    links = {_link(link): (link.listed_by, link.seen_by, link.flags) for link in presence.connections}
    assert len(links) == len(presence.connections)
    return Moment(observers, peers, links)


def _link(connection: Connection) -> Link:
    return (connection.peer1, connection.peer2, connection.type, connection.id)


def event_of(change: Change) -> Event:
    subject: Thing | None = change.peer_key
    if change.kind.startswith("observer"):
        subject = change.observer
    elif change.connection is not None:
        subject = _link(change.connection)
    assert subject is not None, change
    if change.kind == "changed":
        return altered_event(change)
    return Event(change.kind, micros(change.observed_at), subject, across_gap=change.across_gap, reason=change.reason)


def altered_event(change: Change | AttributeChange) -> Event:
    assert change.peer_key is not None
    return Event(
        "changed",
        micros(change.observed_at),
        change.peer_key,
        path=change.path,
        before=_value(change.before),
        after=_value(change.after),
        learned=change.learned,
        across_absence=change.across_absence,
        across_gap=change.across_gap,
    )


def _value(value: Any) -> Any:
    return MISSING if value is peerstore.ABSENT else value


def span_of(session: Session | ConnectionSession) -> Span:
    subject: Thing = session.peer_key if isinstance(session, Session) else _link(session.connection)
    end = None if session.end is None else micros(session.end)
    return Span(subject, micros(session.start), end, session.end_reason, session.gaps)


def assert_same(store: Iterable[Any], model: Iterable[Any], *question: object) -> None:
    """The same answers, in whatever order, each as often."""
    given, expected = list(store), list(model)
    extra = Counter(map(freeze, given)) - Counter(map(freeze, expected))
    lacking = Counter(map(freeze, expected)) - Counter(map(freeze, given))
    wrong = [answer for answer in given if freeze(answer) in extra]
    missed = [answer for answer in expected if freeze(answer) in lacking]
    message = f"{question}\nthe store alone says: {wrong}\nthe model alone says: {missed}"
    assert wrong + missed == [], message


# The questions.


def check_presence(store: peerstore.PeerStore, view: View, question: Question, times: Iterable[int]) -> None:
    """The presence at some instants."""
    for t in times:
        presence = store.presence_at(instant(t), **question.arguments())
        assert_same([moment_of(presence)], [view.presence(t)], question, iso(t))


def check_changes(
    store: peerstore.PeerStore,
    view: View,
    question: Question,
    window: tuple[Any, Any],
    compared: Callable[[Event], Event | None] = lambda event: event,
) -> None:
    """All changes, and those of attributes alone, with since <= observed_at < until; each as it is ``compared``, if it
    is."""

    def those(events: Iterable[Event]) -> list[Event]:
        return [known for event in events if (known := compared(event)) is not None]

    since, until = map(_moment, window)
    expected = those(event for event in view.changes() if _inside(event.at, window))
    given = list(store.changes(since=since, until=until, **question.arguments()))
    assert [change.observed_at for change in given] == sorted(change.observed_at for change in given)
    assert_same(map(comparable, those(map(event_of, given))), map(comparable, expected), question, window)
    if question.observer is not None:
        assert {change.observer for change in given} <= {question.observer}
    altered = [event for event in expected if event.kind == "changed"]
    answers = store.metadata_changes(since=since, until=until, **question.arguments())
    assert_same(those(map(altered_event, answers)), altered, question, window)


def _inside(at: int, window: tuple[Any, Any]) -> bool:
    since, until = window
    return (since is None or since <= at) and (until is None or at < until)


def comparable(event: Event) -> Event:
    """Without the reason where the rules name none."""
    named = event.kind == "observer_stopped" or (event.kind == "disappeared" and not event.across_gap)
    return event if named else event._replace(reason=None)


def check_sessions(
    store: peerstore.PeerStore, view: View, question: Question, window: tuple[Any, Any], grace: int
) -> None:
    """The sessions that overlap [since, until), whole."""
    since, until = window
    expected = [
        span
        for span in view.sessions(grace)
        if (until is None or span.start < until) and (since is None or span.end is None or span.end > since)
    ]
    limits: dict[str, Any] = {"since": _moment(since), "until": _moment(until)}
    limits |= {"grace": timedelta(microseconds=grace), **question.arguments()}
    given: list[Session | ConnectionSession] = list(store.sessions(**limits))
    given += store.connection_sessions(**limits)
    assert_same(map(span_of, given), expected, question, window, grace)
    if question.observer is not None:
        assert {session.observer for session in given} <= {question.observer}


def check_diff(store: peerstore.PeerStore, view: View, question: Question, since: int, until: int) -> None:
    """The net of all changes between two moments."""
    difference = store.diff(instant(since), instant(until), **question.arguments())
    moves: list[Hashable] = [("appeared", peer.peer_key) for peer in difference.appeared]
    moves += [("disappeared", peer.peer_key) for peer in difference.disappeared]
    moves += [("connected", _link(link)) for link in difference.connected]
    moves += [("disconnected", _link(link)) for link in difference.disconnected]
    expected = view.diff(since, until)
    assert_same(moves, expected.moves, question, iso(since), iso(until))
    changed = [(one.peer_key, one.path, _value(one.before), _value(one.after)) for one in difference.changed]
    assert_same(changed, expected.changed, question, iso(since), iso(until))


def check_presence_over(store: peerstore.PeerStore, view: View, question: Question, since: int, until: int) -> None:
    """The presences over a window."""
    given = list(store.presence_over(instant(since), instant(until), **question.arguments()))
    times = view.presence_over(since, until)
    assert_same((presence.to_dict()["at"] for presence in given), map(iso, times), question, iso(since), iso(until))
    for presence, t in zip(given, times, strict=True):
        assert_same([moment_of(presence)], [view.presence(t)], question, iso(t))


def interesting(view: View) -> list[int]:
    """Every change point, one microsecond before it, and a time long after all."""
    points = view.change_points()
    return sorted({*points, *(point - 1 for point in points), START + 100 * STEP})


class StoreMachine(RuleBasedStateMachine):
    """Records in any order and asks at any time; whatever the store answers must be what the model answers."""

    engine = "sqlite"

    @initialize(batch=batches(6))
    def create(self, batch: list[Envelope]) -> None:
        self.start()
        self.give_many(batch)

    def start(self) -> None:
        self.clock = self.recorded_at = START
        self.wrote = self.settled = False
        self.known: list[int] = []
        self.given: list[Envelope] = []
        self.model = Model()
        self.url = fresh_url(self.engine)
        self.store = self.opened()

    def opened(self) -> peerstore.PeerStore:
        return peerstore.open(self.url, clock=lambda: instant(self.clock))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            with closing(self):
                if self.settled:  # else something was raised, which must not be hidden
                    self.ask_everything()

    def close(self) -> None:
        self.store.close()
        drop_url(self.url)

    def begin(self, backwards: bool = False) -> None:
        """Before each transaction: the time goes on; or the clock jumps back, and ``recorded_at`` still does not."""
        if backwards and self.wrote:
            self.clock -= HOUR
            self.recorded_at += 1
        else:
            self.clock = self.recorded_at = START + (self.recorded_at - START) // SECOND * SECOND + SECOND
            self.known += [self.clock - 1, self.clock]
        self.wrote = self.settled = False

    def expected(self, envelope: Envelope) -> str:
        observer, observed_at, sequence, graph, silence = envelope
        status = self.model.record(observer, Said(observed_at, sequence, graph, silence, self.recorded_at))
        self.wrote = self.wrote or status == "recorded"
        return status

    def give(self, envelope: Envelope, backwards: bool = False) -> None:
        self.begin(backwards)
        self.given.append(envelope)
        silence = None if envelope.max_silence is None else timedelta(microseconds=envelope.max_silence)
        usual = envelope.graph is not None and envelope.graph.local_peer == envelope.observer
        altered = altered_by(envelope, self.model)
        recorded = self.store.record(
            None if envelope.graph is None else ditto(envelope.graph),
            observed_at=instant(envelope.observed_at),
            observer=None if usual else envelope.observer,
            sequence=envelope.sequence,
            max_silence=silence,
        )
        assert recorded.status == self.expected(envelope), envelope
        assert recorded.changes == (altered if recorded.status == "recorded" else 0), envelope
        self.settled = True

    @rule(envelope=envelopes(), backwards=st.booleans())
    def record(self, envelope: Envelope, backwards: bool) -> None:
        self.give(envelope, backwards)

    @rule(batch=batches(3), again=st.integers(0, 3), random=st.randoms())
    def record_many(self, batch: list[Envelope], again: int, random: Any) -> None:
        batch = [*batch, *batch[:again], *self.given[:again]]
        random.shuffle(batch)
        self.give_many(batch)

    def give_many(self, batch: list[Envelope]) -> None:
        self.begin()
        self.given += batch
        expected = Counter(self.expected(envelope) for envelope in batch)
        summary = self.store.record_many([line(envelope) for envelope in batch])
        counts = {"recorded": summary.recorded, "duplicate": summary.duplicates, "conflict": summary.conflicts}
        assert counts == {status: expected[status] for status in counts}, batch
        assert summary.rejected == 0
        self.settled = True

    @precondition(lambda self: self.given)
    @rule(data=st.data(), silence=said_silences)
    def record_again(self, data: st.DataObject, silence: int | None) -> None:
        """A differing limit changes nothing."""
        self.give(data.draw(st.sampled_from(self.given))._replace(max_silence=silence))

    @precondition(lambda self: self.given)
    @rule(data=st.data(), observed_at=moments, sequence=sequences)
    def repeat(self, data: st.DataObject, observed_at: int, sequence: int) -> None:
        """The same graph at another time, as an observer says it of whom nothing is new."""
        old = data.draw(st.sampled_from(self.given))
        self.give(old._replace(observed_at=observed_at, sequence=sequence))

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def record_otherwise(self, data: st.DataObject) -> None:
        """Mostly a conflict."""
        old = data.draw(st.sampled_from(self.given))
        self.give(old._replace(graph=data.draw(graphs(old.observer))))

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.opened()

    def question(self, data: st.DataObject) -> tuple[Question, View]:
        observers = st.sampled_from((None, *sorted(self.model.recorded)))
        known_at = data.draw(st.one_of(st.none(), st.none(), st.sampled_from(self.known)))
        question = Question(data.draw(observers), known_at, data.draw(asked_silences))
        return question, self.model.view(*question)

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def ask_presence(self, data: st.DataObject) -> None:
        question, view = self.question(data)
        check_presence(self.store, view, question, interesting(view))

    @precondition(lambda self: self.given)
    @rule(data=st.data(), window=windows, grace=graces)
    def ask_history(self, data: st.DataObject, window: tuple[Any, Any], grace: int) -> None:
        question, view = self.question(data)
        check_changes(self.store, view, question, window)
        check_sessions(self.store, view, question, window, grace)

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def ask_between(self, data: st.DataObject) -> None:
        question, view = self.question(data)
        times = st.sampled_from(interesting(view)) | instants
        since, until = sorted((data.draw(times), data.draw(times)))
        check_diff(self.store, view, question, since, until)
        check_presence_over(self.store, view, question, since, until + 1)

    def ask_everything(self) -> None:
        """Of all observers together and of each one; and of all as known when the time last went on."""
        for observer in (None, *sorted(self.model.recorded)):
            self.ask_all_of(Question(observer))
        self.ask_all_of(Question(known_at=self.known[-1]))

    def ask_all_of(self, question: Question) -> None:
        view = self.model.view(*question)
        times = interesting(view)
        check_presence(self.store, view, question, times)
        check_changes(self.store, view, question, (None, None))
        check_sessions(self.store, view, question, (None, None), 0)
        check_sessions(self.store, view, question, (None, None), STEP)
        check_diff(self.store, view, question, times[0], times[-1])
        check_presence_over(self.store, view, question, times[0], times[-1] + 1)
