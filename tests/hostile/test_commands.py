"""Every command is asked about a mesh of hostile strings, and told hostile strings wherever it takes a text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import peerstore
from peerstore.cli.output import safe
from peerstore.spreadsheets import guarded, may_be_run, unguarded
from tests.hostile.asking import LATER, MOMENT, OF_PROGRAMS, PEER, QUESTIONS, SHAPES, asked, faults, is_formula, shaped
from tests.hostile.counting import report
from tests.hostile.strings import FORMULAS, KEYS, SQL, TERMINAL, TEXTS, UNSAFE, observations
from tests.test_cli import commands

REJECTED = b'\x1b]0;owned\x07\n=1\n{"\xe2\x80\xae":1}\n'
LEAVES = {path: command for path, command in commands() if path and not isinstance(command, click.Group)}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of the hostile mesh."""
    path = tmp_path_factory.mktemp("hostile") / "peerstore.db"
    told = "".join(json.dumps(each) + "\n" for each in observations()).encode()
    code, out, err = asked("record", "-", "--json", stdin=told + REJECTED, database=str(path))
    assert (code, json.loads(out)["recorded"], json.loads(out)["rejected"], json.loads(out)["conflicts"]) == (
        1,
        8,
        3,
        1,
    )
    assert not UNSAFE.search(out + err)
    return path


@pytest.fixture
def mesh(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, in the current folder; what was asked of it has changed nothing in it."""
    shutil.copy(recorded, tmp_path / "peerstore.db")
    expected = "\n".join(key for key in KEYS if "\n" not in key and "\r" not in key)
    (tmp_path / "expected.txt").write_text(expected, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEERSTORE_DB", raising=False)
    before = digest(tmp_path / "peerstore.db")
    yield tmp_path
    assert digest(tmp_path / "peerstore.db") == before
    assert not [each for each in tmp_path.rglob("*") if "owned" in each.name]


def digest(database: Path) -> tuple[str, int]:
    with peerstore.open(database, create=False) as store:
        assert store.verify(full=True).ok
        return store.content_digest(), store.status().rejected


def leaf(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command that a question is put to."""
    return next((path for path in (words[:2], words[:1]) if path in LEAVES), ("rejects", "list"))


def formats(words: tuple[str, ...]) -> tuple[str, ...]:
    command = LEAVES[leaf(words)]
    there = {option for parameter in command.params for option in parameter.opts}
    return tuple(shape for shape in SHAPES if not shape or shape in there)


@pytest.mark.parametrize("all_shapes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_answer_about_hostile_peers_does_harm(mesh: Path, all_shapes: bool) -> None:
    """Every question in the form for people, and in each for programs; quickly, a question to each command, and every
    third of them in one form for programs too, in turn."""
    count = characters = 0
    for place, question in enumerate(QUESTIONS if all_shapes else {leaf(each): each for each in QUESTIONS}.values()):
        people, *programs = formats(question)
        chosen = programs if all_shapes else programs[place // 3 % max(len(programs), 1) :][: place % 3 == 0]
        for words in shaped(question, (people, *chosen)):
            code, out, err = asked(*words)
            assert code in (0, 1), (words, err)
            assert out or err or "--ndjson" in words
            assert faults(words, out, err) == [], words
            count, characters = count + 1, characters + len(out)
    for words in OF_PROGRAMS:
        code, out, err = asked(*words)
        assert code == 0, err
        assert not UNSAFE.search(out + err), words
        assert [json.loads(line) for line in out.splitlines()] if words[0] == "replay" else json.loads(out)
    report(
        "questions about hostile peers", commands=count + len(OF_PROGRAMS), characters=characters, strings=len(TEXTS)
    )


def test_every_command_is_asked() -> None:
    done = {question[:size] for question in QUESTIONS + OF_PROGRAMS for size in (1, 2)}
    elsewhere = {
        ("record",),
        ("export",),
        ("copy",),
        ("backup",),
        ("repair",),
        ("rejects", "retry"),
        ("rejects", "drop"),
        ("demo",),
    }
    assert set(LEAVES) - done - elsewhere == {path for path in LEAVES if path[0] == "plot"}


def test_the_watch_would_see_what_it_looks_for() -> None:
    """A control: each hostile string, printed as it is, is found."""
    seen = [text for text in TERMINAL[:22] if faults(("peers",), "", text) and faults(("peers",), text, "")]
    unseen = {ascii(text) for text in TERMINAL[:22]} - set(map(ascii, seen))
    assert unseen == set(map(ascii, ("a\nb", "zero\u200bwidth\u2060\ufeff", "soft\u00adhyphen")))  # they steer nothing
    assert "\n" not in safe("a\nb")
    assert [text for text in FORMULAS if not is_formula(text)] == ["'=1", ";=1", ',=1,"=1']
    assert faults(("peers", "--csv"), 'a,"=1"\r\n', "") == ["a formula: '=1'"]
    assert faults(("peers", "--json"), "[", "")
    assert faults(("peers", "--ndjson"), "[]\n[\n", "")


def test_a_guarded_cell_is_no_formula_and_comes_back() -> None:
    for text in TEXTS:
        assert not is_formula(guarded(text)), text
        assert unguarded(guarded(text)) == text
        assert may_be_run(text) == is_formula(text), text


# What is typed.


def hostile_words(path: tuple[str, ...], place: click.Parameter | None, text: str) -> list[str]:
    """A command with a hostile string at one of its parameters, or (None) where it takes nothing."""
    given = {"Moment": MOMENT, "Duration": "5s", "IntParamType": "1"}
    words = list(path)
    for parameter in LEAVES[path].params:
        if parameter is place and isinstance(parameter, click.Option):
            words.append(f"{parameter.opts[0]}={text}")
        elif parameter is place:
            words.append(text)
        elif isinstance(parameter, click.Argument) and parameter.required:
            names = {"file": "expected.txt", "dest": "x.ndjson", "destination": "b.db", "path": "/os"}
            words.append(names.get(str(parameter.name)) or given.get(type(parameter.type).__name__, PEER))
    if place is None:
        words += [("--" + text, text)[len(text) % 2], "--nothing", text]
    return words


def takers(path: tuple[str, ...]) -> list[click.Parameter | None]:
    """The parameters of a command that take a text; None stands for a word too many."""
    flags = [each for each in LEAVES[path].params if isinstance(each, click.Option) and each.is_flag]
    return [each for each in LEAVES[path].params if each not in flags] + [None]


def typed(text: str) -> str:
    """The string as a shell can hand it over: without NUL, and with bytes that are no UTF-8 for a lone surrogate."""
    return "".join("\udcff" if "\ud800" <= character <= "\udfff" else character for character in text).replace("\0", "")


def not_written(path: tuple[str, ...], place: click.Parameter | None) -> bool:
    """Whether a parameter names a place to write to, which is the user's to choose."""
    names = ("db", "out", "dest", "destination", "target", "to", "new")
    return path[0] in ("demo", "plot", "completion") or (place is not None and place.name in names)


def tell_everything(each: int) -> dict[str, Any]:
    """Give every parameter every ``each``-th of the strings, other ones each time; what must hold of all answers."""
    count, codes, turn = 0, set(), 0
    for path in LEAVES:
        for place in takers(path):
            if not_written(path, place):
                continue
            turn += 1
            for text in map(typed, TEXTS[turn % each :: each]):
                if path == ("changes",) and place is not None and place.name == "interval":
                    continue
                if path == ("record",) and text.startswith("--db="):  # which makes that database, as it should
                    continue
                words = hostile_words(path, place, text)
                if path[0] in ("export", "backup", "copy") and place is not None:
                    words = [word for word in words if word != "--force"]
                code, out, err = asked(*words)
                assert code in (0, 1, 2, 3), words
                assert faults(tuple(words), out if path[0] != "export" else "", err) == [], words
                count += 1
                codes.add(code)
    return {"commands": count, "codes": len(codes)}


def test_nothing_that_is_typed_does_harm(mesh: Path) -> None:
    told = tell_everything(260)
    assert told["commands"] > 120
    assert told["codes"] >= 3
    report("hostile words as arguments", strings=len(TEXTS), **told)


@pytest.mark.slow
def test_nothing_else_that_is_typed_does_harm(mesh: Path) -> None:
    told = tell_everything(40)
    report("hostile words as arguments, more of them", strings=len(TEXTS), **told)


def test_sql_finds_nobody_and_changes_nothing(recorded: Path) -> None:
    """Names are compared as a whole: none that is no peer's matches, whatever it would be within a statement."""
    before = recorded.stat().st_mtime_ns
    with peerstore.open(recorded, create=False) as store:
        for name in (f"{typed(text)}?" for text in (*SQL, *FORMULAS)):
            with pytest.raises(peerstore.UnknownPeer):
                store.resolve_peer(name)
            assert {change.peer_key for change in store.changes(peer=name)} <= {None}  # observers that start and stop
            assert list(store.metadata_changes(peer=name)) == []
            assert list(store.sessions(peer=name)) == []
            assert list(store.connection_sessions(peer=name)) == []
    assert recorded.stat().st_mtime_ns == before


def test_a_word_of_bytes_that_are_no_text_is_a_sentence(mesh: Path) -> None:
    for words in (["peer", "x\udcff"], ["at", LATER, "--observer", "\udc9b"], ["path", "\udcff", PEER]):
        code, out, err = asked(*words)
        assert (code, out) == (2, "")
        assert "which is not UTF-8" in err


def test_click_s_own_messages_are_harmless(mesh: Path) -> None:
    for words in (
        ["status", "\x1b[2J"],
        ["\x9b2J"],
        ["peers", "--\u202egnp"],
        ["rejects", "drop", "\x1b"],
        ["at", "\r"],
    ):
        code, out, err = asked(*words)
        assert (code, out) == (2, "")
        assert err.startswith("Usage: ")
        assert not UNSAFE.search(err)


@pytest.mark.slow
def test_pictures_of_hostile_peers(mesh: Path) -> None:
    """In bounded time, whatever number of types of connection devices name; and no text of theirs is markup."""
    for words in (
        ["timeline"],
        ["mesh", MOMENT],
        ["uptime"],
        ["transports"],
        ["rollout", "/device_name"],
    ):
        code, out, err = asked("plot", *words, "--out", "-", "--title", "\x1b]0;<script>&amp;")
        assert code == 0, err
        assert not UNSAFE.search(out + err)
        assert "<script" not in out
    report("pictures of hostile peers", commands=5)
