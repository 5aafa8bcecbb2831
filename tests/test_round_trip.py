"""Round trips through the store: a graph that was recorded, rendered for Ditto and recorded again is a duplicate."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

import peerstore
from tests.conftest import ENGINES, drop_url, fresh_url
from tests.strategies import graphs

NUMBERS = itertools.count()
AT = datetime(2026, 7, 8, 14, 3, tzinfo=UTC)
SHAPES: tuple[Literal["raw-v3", "js-5"], ...] = ("raw-v3", "js-5")


@pytest.fixture(scope="module", params=ENGINES)
def store(request: pytest.FixtureRequest) -> Iterator[peerstore.PeerStore]:
    url = fresh_url(request.param)
    with peerstore.open(url) as opened:
        yield opened
    drop_url(url)


@given(graph=graphs(), shape=st.sampled_from(SHAPES))
def test_a_rendered_graph_recorded_again_is_a_duplicate(
    store: peerstore.PeerStore, graph: dict[str, Any], shape: Literal["raw-v3", "js-5"]
) -> None:
    observer = f"observer {next(NUMBERS)}"
    try:
        assert store.record(graph, AT, observer=observer).status == "recorded"
    except peerstore.InvalidGraph:
        reject()  # some generated graphs contradict themselves
    rendered = store.presence_at(AT, observer=observer).to_ditto(shape)
    assert store.record(rendered, AT, observer=observer).status == "duplicate"
    assert store.record(json.dumps(rendered).encode(), AT, observer=observer).status == "duplicate"


@given(graph=graphs())
def test_a_presence_is_json(store: peerstore.PeerStore, graph: dict[str, Any]) -> None:
    observer = f"observer {next(NUMBERS)}"
    try:
        store.record(graph, AT, observer=observer)
    except peerstore.InvalidGraph:
        reject()
    presence = store.presence_at(AT, observer=observer)
    assert json.loads(json.dumps(presence.to_dict())) == presence.to_dict()
    assert set(presence.to_networkx().nodes) >= set(presence.peers)
