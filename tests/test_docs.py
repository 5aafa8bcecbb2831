"""The documents hold: what they show runs and gives what they say, and what they point to is there.

In README.md and ``docs/`` each fenced block is of one of these kinds:

* ``console``: commands begin with ``$ ``, ``> `` continues one; the other lines are their output, where ``...`` stands
  for anything that is left out. A document's commands run in one shell, in a folder of their own.
* ``sh``: run as a whole, and must succeed.
* ``python``: a doctest where it has ``>>>``, else a script whose output is the ``text`` block behind it. A document's
  blocks share their names.
* ``json``, ``text`` and the like are only shown.

A block that a test cannot run has ``<!-- not run: why -->`` above it, and is counted in :data:`NOT_RUN`.
"""

from __future__ import annotations

import contextlib
import difflib
import doctest
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

import peerstore
from peerstore.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(each for each in DOCS.rglob("*.md") if not each.stem.endswith("_prose")),
    ]
)
SECONDS_FOR_A_COMMAND = 120

RUN, SHOWN = {"console", "sh", "python"}, {"json", "text", "js", "sql", "mermaid"}
NEVER_RUN = {"js"}
NOT_RUN = Counter({"README.md": 2, "docs/exports.md": 2, "docs/promises.md": 1, "docs/tutorial.md": 5})
"""How many blocks of each document no test runs. One more is a decision: is there really no way to run it?"""
COUNTED_ELSEWHERE = {"docs/performance.md", "docs/schema.md"}
REASONS = ("needs a network", "needs pip", "needs Node", "needs the Ditto SDK", "needs PostgreSQL", "takes minutes")

FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<kind>[a-z]*)\n(?P<body>.*?)^(?P=ticks)$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- not run: (?P<reason>[^>]+) -->\s*\Z")
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)|<(?:img|source)[^>]* (?:src|srcset)=\"(?P<source>[^\"]+)\"")
MACHINE_PATH = re.compile(r"/(?:work|root|home|tmp|Users|private)/|\b[A-Z]:\\")


class Block(NamedTuple):
    """A fenced block: its kind, its text, the line it begins at, and why it is not run, if it is not."""

    kind: str
    body: str
    line: int
    not_run: str | None


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        mark = MARK.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(match["kind"], match["body"], line, mark["reason"] if mark else None))
    return found


def runnable() -> Iterator[Any]:
    """The documents that show something to run; those that start processes are slow."""
    for document in DOCUMENTS:
        kinds = {block.kind for block in blocks(document) if block.not_run is None} & RUN
        if kinds:
            marks = [pytest.mark.slow] if kinds & {"console", "sh"} else []
            yield pytest.param(document, id=name(document), marks=marks)


class Shell:
    """A shell that lives as long as a document is read; it runs one command at a time and tells what was printed."""

    def __init__(self, folder: Path) -> None:
        shim = folder / "bin" / "peerstore"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m peerstore "$@"\n')
        shim.chmod(0o755)
        unwanted = {"PEERSTORE_DB", "BASH_ENV", "ENV"}
        environment = {key: value for key, value in os.environ.items() if key not in unwanted}
        environment |= {"PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"}
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
        here = folder / "here"
        here.mkdir()
        self.folder = here
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=here,
            env=environment,
            encoding="utf-8",
        )

    def run(self, command: str) -> tuple[str, int]:
        """What a command printed, both streams together, and its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(
            f"{{ {command}\n}} </dev/null\n__code=$?; printf '\\n\\1%d\\n' $__code; (exit $__code)\n"
        )
        self._process.stdin.flush()
        printed: list[str] = []
        watchdog = threading.Timer(SECONDS_FOR_A_COMMAND, self._process.kill)
        watchdog.start()
        for line in self._process.stdout:
            if line.startswith("\1"):
                watchdog.cancel()
                return "".join(printed).removesuffix("\n"), int(line[1:])
            printed.append(line)
        pytest.fail(f"the shell ended at: {command}\n{''.join(printed)}")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty folder in which ``peerstore`` is this checkout's."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash to run the documents' commands with")
    opened = Shell(tmp_path)
    yield opened
    opened.close()


def commands(body: str) -> list[tuple[str, str]]:
    """The commands of a ``console`` block, each with the output that stands behind it."""
    found: list[tuple[str, str]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", "")
        else:
            assert found, f"output without a command: {line}"
            found[-1] = (found[-1][0], f"{found[-1][1]}{line.rstrip()}\n")
    return found


def check_output(where: str, wanted: str, got: str) -> None:
    """Output is as shown, except for blanks at the ends of lines, blank lines at its end, and ``...``."""
    got = "".join(f"{line.rstrip()}\n" for line in got.rstrip().splitlines())
    wanted = f"{wanted.rstrip()}\n" if wanted.strip() else ""
    if not doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS | doctest.DONT_ACCEPT_BLANKLINE):
        told = "".join(difflib.unified_diff(wanted.splitlines(True), got.splitlines(True), "as shown", "as it is"))
        pytest.fail(f"{where}:\n{told}\n--- all of it ---\n{got}", pytrace=False)


def run_console(shell: Shell, where: str, body: str) -> None:
    following = [*commands(body)[1:], ("", "")]
    for (command, wanted), (after, _) in zip(commands(body), following, strict=True):
        got, code = shell.run(command)
        if not after.startswith("echo $?"):
            assert code == 0, f"{where}: exit code {code} of {command}, which `$ echo $?` must show\n{got}"
        check_output(f"{where}: {command}", wanted, got)


def run_doctest(where: str, body: str, names: dict[str, Any], line: int) -> None:
    test = doctest.DocTestParser().get_doctest(body, names, where, where, line)
    told = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF, verbose=False)
    runner.run(test, out=told.write, clear_globs=False)
    names.update(test.globs)
    if told.getvalue():
        pytest.fail(told.getvalue(), pytrace=False)


def run_script(where: str, body: str, names: dict[str, Any], wanted: str) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(body, where, "exec"), names)
    check_output(where, wanted, printed.getvalue())


@pytest.mark.parametrize("document", list(runnable()))
def test_what_a_document_shows_runs(document: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shell.folder)
    names: dict[str, Any] = {"__name__": "__document__"}
    found = blocks(document)
    for block, after in zip(found, [*found[1:], None], strict=True):
        where = f"{name(document)}:{block.line}"
        if block.not_run is not None:
            continue
        if block.kind == "console":
            run_console(shell, where, block.body)
        elif block.kind == "sh":
            got, code = shell.run(block.body)
            assert code == 0, f"{where}: exit code {code}\n{got}"
        elif block.kind == "python" and ">>>" in block.body:
            run_doctest(where, block.body, names, block.line)
        elif block.kind == "python":
            run_script(where, block.body, names, after.body if after is not None and after.kind == "text" else "")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_block_is_run_or_says_why_not(document: Path) -> None:
    left_out = 0
    for block in blocks(document):
        where = f"{name(document)}:{block.line}"
        assert block.kind in RUN | SHOWN, f"{where}: a block of the kind {block.kind!r}"
        if block.not_run is not None:
            assert block.not_run.startswith(REASONS), f"{where}: not run: {block.not_run}"
            left_out += 1
        else:
            assert block.kind not in NEVER_RUN, f"{where}: a block that nothing runs must say why"
    if name(document) not in COUNTED_ELSEWHERE:
        assert left_out == NOT_RUN[name(document)]


def test_every_fence_is_found() -> None:
    for document in DOCUMENTS:
        lines = document.read_text(encoding="utf-8").splitlines()
        fences = sum(line.lstrip().startswith("```") for line in lines)
        assert fences == 2 * len(blocks(document)), f"{name(document)}: a fence that is indented or never closed"


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    for match in LINK.finditer(text):
        target = match["target"] or match["source"]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        pointed = (document.parent / path).resolve() if path else document
        assert pointed.exists(), f"{name(document)} links to {target}"
        assert pointed.is_relative_to(ROOT), f"{name(document)} links to {target}, out of the checkout"
        if anchor:
            assert anchor in anchors(pointed), f"{name(document)} links to {target}: there is no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_no_path_of_a_machine_stands_in_a_document(document: Path) -> None:
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        assert MACHINE_PATH.search(line) is None, f"{name(document)}:{number}: {line}"


def test_the_index_names_every_document() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for document in DOCUMENTS:
        if document.is_relative_to(DOCS) and document != DOCS / "README.md":
            assert f"({document.relative_to(DOCS).as_posix()})" in index


def test_the_readme_has_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\npython3 -m venv .venv && .venv/bin/pip install . && .venv/bin/peerstore demo\n" in readme
    assert "\npython3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest\n" in readme


def all_commands(group: click.Group = main, path: str = "peerstore") -> Iterator[str]:
    yield path
    for each, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{path} {each}")
        else:
            yield f"{path} {each}"


def test_every_command_has_a_heading() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^#+ `(.+)`$", text, re.MULTILINE)) == sorted(all_commands())


def test_the_reference_of_commands_is_up_to_date() -> None:
    made: str = runpy.run_path(str(DOCS / "make_cli.py"))["reference"]()
    there = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert there.split() == made.split(), "run `python docs/make_cli.py`"  # the line breaks are click's own affair


def test_the_picture_is_up_to_date() -> None:
    made: str = runpy.run_path(str(DOCS / "images" / "make_timelines.py"))["picture"]()
    assert (DOCS / "images" / "timelines.svg").read_text(encoding="utf-8") == made


def public_names() -> Iterator[str]:
    """Every public name of the package, and the methods of what users hold in their hands."""
    yield from (each for each in peerstore.__all__ if not each.startswith("__"))
    for kind in (peerstore.PeerStore, peerstore.Presence):
        yield from (each for each in dir(kind) if not each.startswith("_") and callable(getattr(kind, each)))


def test_every_public_name_is_documented() -> None:
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    missing = [each for each in public_names() if not re.search(rf"`(?:[a-z.]+\.)?{each}\b", text)]
    assert not missing, f"docs/python.md says nothing of {', '.join(missing)}"


def test_the_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[(?:Unreleased|{re.escape(peerstore.__version__)})\]", text, re.MULTILINE)


def test_the_checks_find_what_is_wrong(shell: Shell) -> None:
    with pytest.raises(pytest.fail.Exception):
        run_console(shell, "here", "$ echo one\ntwo\n")
    with pytest.raises(AssertionError):
        run_console(shell, "here", "$ false\n")
    run_console(shell, "here", "$ false\n$ echo $?\n1\n$ printf '%s\\n' a b c\na\n...\n")
    with pytest.raises(pytest.fail.Exception):
        run_doctest("here", ">>> 1 + 1\n3\n", {}, 1)
