"""``values``, ``rollout``, ``incompatible``, ``expected``, ``population``, ``names``, ``new-peers`` and ``new-keys`` on
the command line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import peerstore
from tests.commands import answer, run
from tests.test_fleet import at, graph, peer, reinstalled, till, versions

T0, T5, T25, T100 = (
    f"2026-07-08T14:0{minute}:{second}Z" for minute, second in ((0, "00"), (0, "05"), (0, "25"), (9, "00"))
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[peerstore.PeerStore]:
    """A store that the commands find."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("PEERSTORE_DB", raising=False)
    with peerstore.open("peerstore.db") as opened:
        yield opened


def printed(*arguments: str, code: int = 0) -> list[str]:
    """What is printed for people, line by line: the words alone, without the rules of tables."""
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    return [line for line in lines if line and not set(line) <= {"-", " "}]


def rows_of(*arguments: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(run(*arguments, "--csv").stdout)))


def test_values(store: peerstore.PeerStore) -> None:
    versions(store)
    assert printed("values", "--at", T0) == [
        "2026-07-08T14:00:00Z: 5 peers by /sdk_version; 1 of 1 observer watching",
        "value peers who",
        '"1" 4 b, c, d, e',
        '"2" 1 a',
    ]
    found = answer("values", "/sdk_version", "--value", "2", "--at", T0)
    assert found["values"] == [{"value": "2", "count": 1, "peers": ["a"]}]
    assert [row["kind"] for row in rows_of("values", "--at", T0)] == ["observer", "value", "value"]
    assert "nobody was watching" in printed("values", "--at", "2026-07-08T14:00:45Z")[0]
    assert "/device_name" in run("values", "/deviceName", "--at", T0).stderr
    assert "no peer had it" in run("values", "--value", "9", "--at", T0).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["values", "sdk_version"], "it must begin with a slash, as /sdk_version does"),
        (["rollout", "--lacking"], "--value"),
        (["rollout", "--value", "1", "--lacking", "--summary"], "of which one is given"),
        (["rollout", "--value", "1", "--summary", "--since", T0], "without --since"),
        (["incompatible", "--at", T0, "--since", T0], "either --at"),
        (["names", "--since", T0], "with --shared"),
        (["names", "--shared", "--since", T0, "--at", T0], "without --at"),
        (["population", "--below", "0"], "--below"),
        (["new-keys", "--identity", "serial"], "must begin with a slash"),
    ],
)
def test_what_is_asked_wrongly(store: peerstore.PeerStore, words: list[str], message: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("/sdk_version", "5", "5"),
        ("/sdk_version", "5.10", "5.10"),
        ("/sdk_version", '"5"', "5"),
        ("/sdk_version", "null", None),
        ("/sdk_version", "4.5.0-transports", "4.5.0-transports"),
        ("/peer_metadata/n", "5", 5),
        ("/peer_metadata/n", "true", True),
        ("/peer_metadata/n", '{"a":[1]}', {"a": [1]}),
        ("/peer_metadata/n", "[text", "[text"),
    ],
)
def test_a_value_is_json_or_else_text(store: peerstore.PeerStore, path: str, text: str, value: Any) -> None:
    assert answer("rollout", path, "--value", text, "--summary")["value"] == value


def test_rollout(store: peerstore.PeerStore) -> None:
    versions(store)
    told = printed("rollout", "--value", "2", "--until", T100)
    assert told[:5] == [
        "time peer value before not before remarks",
        '2026-07-08T14:00:00Z a "2" appeared',
        '2026-07-08T14:00:10Z b "2" "1"',
        '2026-07-08T14:00:30Z c "2" "1" 2026-07-08T14:00:20Z',
        '2026-07-08T14:00:50Z d "2" "1" 2026-07-08T14:00:40Z',
    ]
    assert told[5:] == [
        '2026-07-08T14:09:00Z: 4 of 5 peers had reached "2"; 1 of 1 observer watching',
        "first reached 2026-07-08T14:00:00Z",
        "last reached 2026-07-08T14:00:50Z",
        "last known to have it 4",
        "lacking it 1",
        "all present peers have had it since 2026-07-08T14:00:50Z",
    ]
    assert "nobody was watching for 10 s" in run("rollout").stderr
    assert printed("rollout", "--value", "2", "--lacking") == [
        "peer last value last seen present",
        'e "1" 2026-07-08T14:00:30Z no',
    ]
    assert answer("rollout", "--value", "2", "--summary", "--until", T5)["everywhere_since"] is None
    assert [row["value"] for row in rows_of("rollout")] == ["2", "1", "1", "1", "1", "2", "2", "2"]


def test_incompatible(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a"), peer("k", isCompatible=False)), at(0))
    store.record(graph(peer("a"), peer("k", isCompatible=True)), at(10))
    assert printed("incompatible", "k", "--at", T5) == [
        "peer observer start end lasted ended by",
        "k a 2026-07-08T14:00:00Z 2026-07-08T14:00:10Z 10 s changed",
    ]
    assert answer("incompatible", "--at", T25) == []


def test_expected(store: peerstore.PeerStore, tmp_path: Path) -> None:
    store.record(graph(peer("a", "Office"), peer("b", "Till 1")), at(0), max_silence=45)
    store.record(graph(peer("a", "Office"), peer("c", "Guest")), at(10), max_silence=45)
    listed = tmp_path / "list.txt"
    listed.write_bytes("\ufeff# the fleet\r\n\r\n  Office \r\nTill 1\r\nTill 2\r\n".encode())
    assert printed("expected", "list.txt", "--at", T25, code=1) == [
        "2026-07-08T14:00:25Z: 1 expected peer present, 1 missing, 1 unknown, 1 unexpected; 1 of 1 observer watching",
        "state expected peer last seen",
        "unknown Till 2",
        "missing Till 1 Till 1 2026-07-08T14:00:00Z",
        "present Office Office 2026-07-08T14:00:10Z",
        "Unexpected: Guest",
    ]
    kinds = [(row["kind"], row["entry"], row["peers"]) for row in rows_of("expected", "list.txt", "--at", T25)]
    assert kinds == [
        ("observer", "", ""),
        ("present", "Office", '["a"]'),
        ("missing", "Till 1", '["b"]'),
        ("unexpected", "", '["c"]'),
        ("unknown", "Till 2", "[]"),
    ]
    assert answer("expected", "-", "--at", T0, input='["Office", "Till 1"]')["complete"] is True
    dark = run("expected", "list.txt", "--at", T100)
    assert dark.exit_code == 1
    assert "nobody was watching" in dark.stdout
    assert "unobserved" in dark.stdout
    assert "missing" not in dark.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "list.txt lists no peer"),
        (b"# nobody\n", "list.txt lists no peer"),
        (b"[]", "list.txt lists no peer"),
        (b'["a", 3]', "list.txt, item 2: 3 is no key or name"),
        (b'["a", ""]', 'list.txt, item 2: "" is no key or name'),
        (b'["a"', "list.txt: this is not JSON"),
        (b"a\n\xff\n", "list.txt, line 2: this is not UTF-8"),
        (b"a\0\n", "list.txt, line 1: this holds a NUL character"),
    ],
)
def test_a_list_that_cannot_be_read(store: peerstore.PeerStore, content: bytes, message: str) -> None:
    Path("list.txt").write_bytes(content)
    result = run("expected", "list.txt")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert run("expected", "nowhere.txt").exit_code == 2


def test_population(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a"), peer("b"), peer("c")), at(0))
    store.record(graph(peer("a")), at(10))
    store.record(graph(peer("a"), peer("b")), at(20))
    store.record(None, at(30), observer="a")
    store.record(graph(peer("a")), at(40))
    assert printed("population") == [
        "from to lasted peers",
        "2026-07-08T14:00:00Z 2026-07-08T14:00:10Z 10 s 3",
        "2026-07-08T14:00:10Z 2026-07-08T14:00:20Z 10 s 1",
        "2026-07-08T14:00:20Z 2026-07-08T14:00:30Z 10 s 2",
        "2026-07-08T14:00:30Z 2026-07-08T14:00:40Z 10 s unobserved",
    ]
    assert printed("population", "--below", "3")[1:] == ["2026-07-08T14:00:10Z 2026-07-08T14:00:30Z 20 s 1 to 2"]
    assert "nobody was watching for 10 s" in run("population", "--below", "3").stderr
    assert [row["known"] for row in rows_of("population")] == ["true", "true", "true", "false"]


def test_names(store: peerstore.PeerStore) -> None:
    store.record(graph(peer("a", "Till 10"), peer("b", "Till 2"), peer("c", "Till 2"), peer("d", "")), at(0))
    store.record(graph(peer("a", "Till 10")), at(10))
    assert printed("names", "--at", T5) == [
        "2026-07-08T14:00:05Z: 4 peers, 3 with a name; 1 name shared; 1 of 1 observer watching",
        "name peers keys",
        "Till 2 2 b, c",
        "Till 10 1 a",
    ]
    assert answer("names", "--shared", "--at", T5)["names"] == [{"name": "Till 2", "peers": ["b", "c"]}]
    assert printed("names", "--shared", "--since", T0) == [
        "name start end lasted ended by keys",
        "Till 2 2026-07-08T14:00:00Z 2026-07-08T14:00:10Z 10 s parted b, c",
    ]
    assert [row["kind"] for row in rows_of("names", "--at", T5)] == ["observer", "name", "name"]


def test_new_keys_and_new_peers(store: peerstore.PeerStore) -> None:
    reinstalled(store, till("other"), role="till")
    assert printed("new-keys") == [
        "guess name old key gone new key after also in question metadata os",
        "weak Till old 2026-07-08T14:00:10Z new 10 s Till (other) 1 equal Android",
    ]
    assert "guesses" in run("new-keys").stderr
    assert answer("new-keys", "--within", "9s") == answer("new-keys", "--since", T25) == []
    assert [row["peer_key"] for row in json.loads(run("new-peers", "--since", T5, "--json").stdout)] == ["new"]
    assert len(printed("new-peers")) == 5
