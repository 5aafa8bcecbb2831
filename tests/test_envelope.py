"""Envelopes: observations as lines and as mappings."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstore.ditto import read_graph
from peerstore.envelope import MAX_LINE, ObservationReader
from peerstore.errors import InputError, InvalidObservation, InvalidTime
from peerstore.model import Observation
from tests import strategies as ditto

CAPTURES = Path(__file__).parents[2] / "shared" / "data" / "ditto-captures"
GRAPH: dict[str, Any] = {"localPeer": {"peerKey": "a", "connections": []}, "remotePeers": []}
AT = "1970-01-01T00:00:01Z"


def refusal(content: Any, reader: ObservationReader | None = None) -> str:
    with pytest.raises(InputError) as caught:
        (reader or ObservationReader()).read(content)
    return str(caught.value)


def test_a_whole_envelope() -> None:
    envelope = {"observedAt": AT, "graph": GRAPH, "observer": "o", "sequence": 7, "maxSilenceSeconds": 45}
    for content in (envelope, json.dumps(envelope), json.dumps(envelope, separators=(",", ":")).encode()):
        observation = ObservationReader().read(content)
        assert observation == Observation("o", 1_000_000, 7, read_graph(GRAPH), 45_000_000)


def test_what_is_left_out() -> None:
    assert ObservationReader().read({"observedAtMs": -5, "graph": GRAPH}) == Observation(
        "a", -5000, 0, read_graph(GRAPH), None
    )
    stop = b'{"observedAt":"1970-01-01T00:00:01Z","observer":"o","graph":null}'
    assert ObservationReader().read(stop) == Observation("o", 1_000_000, 0, None, None)
    declared = ObservationReader(observer="x", max_silence=timedelta(seconds=2))
    assert declared.read({"observedAt": AT, "graph": None}) == Observation("x", 1_000_000, 0, None, 2_000_000)
    assert declared.read(stop).observer == "o"
    assert declared.read({"observedAt": AT, "graph": None, "maxSilenceSeconds": 1}).max_silence == 1_000_000


def test_when_another_store_recorded_it_counts_where_that_is_asked_for() -> None:
    value = {"observedAt": AT, "graph": GRAPH, "recordedAt": "1970-01-01T00:00:02Z"}
    reader = ObservationReader()
    for content in (value, json.dumps(value), json.dumps(value, separators=(",", ":")).encode()):
        reader.keep_recorded_at = False
        assert reader.read(content).recorded_at is None
        reader.keep_recorded_at = True
        assert reader.read(content).recorded_at == 2_000_000
    assert reader.read({"observedAt": AT, "graph": GRAPH}).recorded_at is None
    assert "zone" in refusal({**value, "recordedAt": "1970-01-01T00:00:02"})


def test_an_observer_in_any_spelling() -> None:
    key = ditto.DITTO_PREFIX + bytes(33)
    for spelled in (list(key), key.hex(), ditto.pk(key)):
        line = json.dumps({"observedAt": AT, "graph": None, "observer": spelled})
        assert ObservationReader().read(line).observer == ditto.pk(key)


def test_what_python_may_say() -> None:
    moment = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    for at in ({"observedAt": moment}, {"observed_at": moment}, {"observed_at": AT}, {"observedAtMs": 1000.0}):
        assert ObservationReader().read({**at, "graph": GRAPH}).observed_at == 1_000_000
    for silence in (timedelta(seconds=1.5), 1.5):
        assert ObservationReader().read({"observed_at": AT, "graph": GRAPH, "max_silence": silence})[4] == 1_500_000
    assert ObservationReader().read({"observedAt": AT, "observedAtMs": 1000, "graph": GRAPH}).observed_at == 1_000_000


def test_a_bare_graph_needs_a_stamp() -> None:
    assert "without an envelope" in refusal(GRAPH)
    reader = ObservationReader(stamp=5)
    for content in (GRAPH, json.dumps(GRAPH), json.dumps(GRAPH, separators=(",", ":"))):
        assert reader.read(content) == Observation("a", 5, 0, read_graph(GRAPH), None)
    reader.stamp = 6
    assert reader.read({"RemotePeers": [], "LocalPeer": {"peerKey": "a"}}).observed_at == 6
    assert "an observation is an array" in refusal('[{"networkId": 1}]', reader)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("5", "an observation is a number; an object"),
        ("[]", "an observation is an array; an object"),
        ("{}", "is no observation"),
        ("", "not JSON"),
        (5, "an observation is a int"),
        ({"observedAt": AT}, 'has no "graph"'),
        ({"graph": GRAPH}, 'has no "observedAt"'),
        ({"graph": None, "observedAt": AT}, 'has no "observer"'),
        ({"graph": GRAPH, "observedAt": AT, "Sequence": 1}, "'Sequence', which is not known"),
        ({"graph": GRAPH, "observedAt": AT, "localPeer": {}}, "'localPeer', which is not known"),
        ({"graph": GRAPH, "observedAt": AT, 5: 1}, "5, which is not known"),
        (json.dumps({"graph": GRAPH, "observed_at": AT}), "'observed_at', which is not known"),
        ({"graph": GRAPH, "observedAt": AT, "sequence": -1}, '"sequence" is -1; an integer from 0 to 2147483647'),
        ({"graph": GRAPH, "observedAt": AT, "sequence": 2**31}, '"sequence" is 2147483648'),
        ({"graph": GRAPH, "observedAt": AT, "sequence": True}, '"sequence" is a boolean'),
        ({"graph": GRAPH, "observedAt": AT, "sequence": None}, '"sequence" is null'),
        ({"graph": GRAPH, "observedAt": AT, "maxSilenceSeconds": 0}, "more than 0 and at most 1000000000"),
        ({"graph": GRAPH, "observedAt": AT, "maxSilenceSeconds": 1e-9}, "more than 0"),
        ({"graph": GRAPH, "observedAt": AT, "maxSilenceSeconds": 10**4000}, "more than 0"),
        ({"graph": GRAPH, "observedAt": AT, "maxSilenceSeconds": float("nan")}, "nan is no number"),
        ({"graph": GRAPH, "observedAt": AT, "maxSilenceSeconds": "45"}, "a number of seconds was expected"),
        ({"graph": GRAPH, "observedAt": AT, "maxSilenceSeconds": 1, "max_silence": 1}, "one of them was expected"),
        ({"graph": GRAPH, "observedAt": AT, "observed_at": AT}, "one of them was expected"),
        ({"graph": GRAPH, "observedAt": AT, "observedAtMs": 1}, "name different instants"),
        ({"graph": GRAPH, "observedAt": AT, "observer": ""}, "a peer key is empty"),
        ({"graph": GRAPH, "observedAt": AT, "observer": 5}, "a peer key is a number"),
        ({"graph": "{}", "observedAt": AT}, "the graph of an observation is text"),
        ({"graph": [{"networkId": 1}], "observedAt": AT}, "presence v1"),
        ({"graph": GRAPH, "observedAtMs": "1"}, '"observedAtMs" is a string'),
        ({"graph": GRAPH, "observedAtMs": 1.5}, '"observedAtMs" is a number; an integer'),
        (b'{"observedAt":"1970-01-01T00:00:01Z","graph":null,"observer":"a","graph":null}', "more than once"),
        (b'{"observedAt":"1970-01-01T00:00:01Z","graph":null,"observer":"a","observer":"b"}', "more than once"),
        (b'{"observedAt":"1970-01-01T00:00:01Z","graph":null,"observer":"a","sequence":1,"sequence":1}', "more than"),
    ],
)
def test_what_is_wrong_is_said(content: Any, words: str) -> None:
    assert words in refusal(content)


@pytest.mark.parametrize(
    "at",
    ["2026-01-01T00:00:00", "yesterday", "", None, 5, datetime(2026, 1, 1), [], 10**18, "\0"],  # noqa: DTZ001
)
def test_a_time_that_is_none_is_an_invalid_time(at: Any) -> None:
    with pytest.raises(InvalidTime):
        ObservationReader().read({"graph": GRAPH, "observedAt": at})


def test_the_limits_of_times() -> None:
    with pytest.raises(InvalidTime, match="years 1 to 9999"):
        ObservationReader().read({"graph": GRAPH, "observedAtMs": 10**15})
    with pytest.raises(InvalidTime, match="years 1 to 9999"):
        ObservationReader(stamp=10**20).read(GRAPH)
    with pytest.raises(InvalidObservation):
        ObservationReader(max_silence=timedelta.max)


def test_a_line_that_is_too_long_is_refused_unread() -> None:
    assert str(MAX_LINE) in refusal(b" " * (MAX_LINE + 1))
    assert "not JSON" in refusal(b" " * MAX_LINE)


@given(
    st.dictionaries(
        st.sampled_from(["observedAt", "observedAtMs", "graph", "observer", "sequence", "maxSilenceSeconds", "x"]),
        st.one_of(ditto.values, ditto.broken(), ditto.graphs(), st.sampled_from([AT, 1000, None, 45])),
    )
)
def test_any_envelope_reads_alike_as_text_and_value_and_never_crashes(envelope: dict[str, Any]) -> None:
    outcomes: list[Observation | None] = []
    reader = ObservationReader(observer="o")
    compact = json.dumps(envelope, separators=(",", ":"))
    for content in (envelope, compact, compact, json.dumps(envelope), json.dumps(envelope, indent=1).encode()):
        try:
            outcomes.append(reader.read(content))
        except InputError:
            outcomes.append(None)
    assert all(outcome == outcomes[0] for outcome in outcomes)


@given(st.one_of(st.binary(), st.text(), st.text(alphabet='{}[]":,graphobsevdAt0 ')))
def test_arbitrary_text_never_crashes(content: str | bytes) -> None:
    with pytest.raises(InputError):
        ObservationReader(observer="o", stamp=0).read(content)


@given(st.data())
def test_a_damaged_line_never_crashes(data: st.DataObject) -> None:
    line = json.dumps({"observedAt": AT, "graph": data.draw(ditto.graphs())}, separators=(",", ":")).encode()
    at = data.draw(st.integers(0, len(line) - 1))
    damaged = line[:at] + data.draw(st.binary(max_size=2)) + line[at + data.draw(st.integers(0, 3)) :]
    reader = ObservationReader(observer="o")
    outcomes: list[Observation | None] = []
    for content in (line, damaged, json.loads(damaged) if _is_json(damaged) else damaged):
        try:
            outcomes.append(reader.read(content))
        except InputError:
            outcomes.append(None)
    if b'"observed_at"' not in damaged and not _repeats(damaged):
        assert outcomes[1] == outcomes[2]


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _repeats(content: bytes) -> bool:
    """Whether an object holds a key twice, or NaN, which only the text can show."""
    found = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        found.append(len(dict(pairs)) < len(pairs))

    if _is_json(content):
        json.loads(content, object_pairs_hook=note)
    return any(found)


@pytest.mark.skipif(not CAPTURES.exists(), reason="the captures of the SDK are not here")
@pytest.mark.parametrize("version", ["4.7.0", "4.14.4", "5.1.0"])
def test_the_stream_of_a_real_observer(version: str) -> None:
    reader = ObservationReader()
    states = []
    for line in (CAPTURES / f"js-{version}-observe-stream-lone-140s.ndjson").read_bytes().splitlines():
        delivery = json.loads(line)
        if "raw" in delivery:
            graph = json.loads(delivery["raw"]) if isinstance(delivery["raw"], str) else delivery["raw"]
            states.append(reader.read({"observedAtMs": delivery["t_ms"], "graph": graph}))
    assert len({state.observer for state in states}) == 1
    assert len(states) == 8
