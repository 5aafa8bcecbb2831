"""Fuzzing: arbitrary bytes and damaged documents are a value or an InputError, and read alike in every form."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import peerstore
from peerstore.canonical import dumps, normal
from peerstore.errors import InputError
from tests import strategies as ditto
from tests.hostile.counting import report
from tests.hostile.strings import TEXTS
from tests.hostile.targets import SEEDS, TARGETS, canonical, graph, lines, times

SECONDS = 15
TOKENS = st.sampled_from(
    [
        *(
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b'"',
            b"\\",
            b"\\u0000",
            b"\\ud800",
            b"null",
            b"NaN",
            b"1e999",
            b"-0.0",
            b"0",
        ),
        *(
            b'"peerKey":',
            b'"connections":[',
            b'"localPeer":',
            b"\xff",
            b"\xe2\x80\xa8",
            b"\xef\xbb\xbf",
            b"\n",
            b"\r\n",
        ),
    ]
)


@st.composite
def damaged(draw: st.DrawFn, documents: st.SearchStrategy[Any] = ditto.graphs()) -> bytes:  # noqa: B008
    """A valid document with a few bytes taken away, put in, doubled or swapped with another place's."""
    content = json.dumps(draw(documents), ensure_ascii=draw(st.booleans()), separators=draw(SEPARATORS)).encode(
        errors="surrogatepass"
    )
    for _ in range(draw(st.integers(0, 3))):
        one, other = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
        middle = draw(st.one_of(TOKENS, st.binary(max_size=3), st.just(content[one : one + 40] * 2), st.just(b"")))
        content = content[:one] + middle + content[draw(st.sampled_from((one, one + 1, other))) :]
    return content


SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (",\n", ":\t")])


@given(st.lists(st.one_of(st.binary(max_size=30), TOKENS, st.just(b"\n"), st.just(b"\r\n \n\n"))).map(b"".join))
def test_lines_in_any_pieces(data: bytes) -> None:
    lines(data)


@given(st.one_of(damaged(), damaged(ditto.broken()), st.binary(), st.lists(TOKENS).map(b"".join)))
def test_damaged_graphs(data: bytes) -> None:
    graph(data)


@given(st.one_of(damaged(ditto.values), st.binary(), st.lists(TOKENS).map(b"".join)))
def test_damaged_json(data: bytes) -> None:
    canonical(data)


@given(
    st.one_of(
        st.text().map(lambda text: text.encode(errors="surrogatepass")),
        st.from_regex(r"-?[0-9]{1,5}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:?[0-9]{2}(:?[0-9]{2}([.,][0-9]+)?)?([Zz]|[+-].*)?"),
        st.from_regex(r"(now)? ?-? ?[0-9.]+ ?[a-z]+( ago)?"),
        st.from_regex(r"[Pp][0-9.]*[A-Za-z]?[Tt]?[0-9.]*[a-zA-Z]?"),
    ).map(lambda given: given if isinstance(given, bytes) else given.encode(errors="surrogatepass"))
)
def test_any_time(data: bytes) -> None:
    times(data)


@pytest.mark.parametrize("name", list(TARGETS))
def test_hostile_strings_and_seeds(name: str) -> None:
    tried = [*SEEDS[name], *(text.encode(errors="surrogatepass") for text in TEXTS)]
    tried += [json.dumps({text: [text]}).encode() for text in TEXTS]
    for data in tried:
        TARGETS[name](data)
    report("seeds of the fuzzer", target=name, inputs=len(tried))


def test_both_engines_keep_the_same_canonical_text(store_url: str) -> None:
    """Metadata of every kind, with each hostile string as a key and as a value, comes back as the text that went in."""
    told: dict[str, Any] = {text: [text, {text: None}] for text in TEXTS}
    told |= {"numbers": [0, -1, 2**53 + 1, 2**63, 2**64, -(2**70), 10**4299, 0.1, 1e-300, 1.5e300, True, False, None]}
    with peerstore.open(store_url) as store:
        at = peerstore.times.EPOCH
        assert store.record({"localPeer": {"peerKey": "a", "peerMetadata": told}}, observed_at=at).status == "recorded"
        kept = store.presence_at(at).peers["a"].peer_metadata
        assert dumps(kept) == dumps(normal(told))
        again = {"localPeer": {"peerKey": "a", "peerMetadata": json.loads(json.dumps(told))}}
        assert store.record(again, observed_at=at).status == "duplicate"
        assert store.verify(full=True).ok


def all_seeds() -> None:
    for target, seeds in SEEDS.items():
        for seed in seeds:
            TARGETS[target](seed)


def test_the_targets_see_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control: a reader that loses a line, a text that is not stable, an exception of another kind."""
    from tests.hostile import targets

    def fails(*_given: Any, **_named: Any) -> Any:
        raise KeyError

    def refuses(*_given: Any, **_named: Any) -> Any:
        raise InputError("no")

    for name, broken, raised in (
        ("read_lines", lambda *_: iter(()), AssertionError),
        ("loads", fails, KeyError),
        ("dumps", repr, (AssertionError, InputError)),
        ("read_graph", refuses, AssertionError),
        ("parse_iso", fails, KeyError),
        ("parse_moment", lambda *_: peerstore.times.EPOCH.replace(tzinfo=None), AssertionError),
    ):
        with monkeypatch.context() as context:
            context.setattr(targets, name, broken)
            with pytest.raises(raised):
                all_seeds()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TARGETS))
def test_atheris_finds_no_broken_promise(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install atheris (it is there for some versions of Python alone)")
    program = [sys.executable, "-m", "tests.hostile.fuzz", name, str(SECONDS)]
    root = Path(__file__).parents[2]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, check=False, timeout=SECONDS + 90)
    assert done.returncode == 0, done.stderr[-3000:]
    tried = re.search(r"number_of_executed_units:\s+(\d+)", done.stderr)
    assert tried, done.stderr[-1000:]
    assert int(tried[1]) > 1000
    report("atheris", target=name, seconds=SECONDS, executions=int(tried[1]))
