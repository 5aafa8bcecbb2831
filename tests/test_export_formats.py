"""Every format from the command line: what is there at the end, alike however the history came to be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import peerstore
from peerstore.demo import demo_observations
from peerstore.exporting.formats import FORMATS
from tests.commands import run
from tests.conftest import fresh_url

AT = "2026-07-08T12:00:00Z"
WINDOW = ("--since", "2026-07-08T12:00:00Z", "--until", "2026-07-08T12:10:00Z")
NAMES = [f"x{each.endings[0]}" for each in FORMATS.values()]


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The demo's day twice: as it came, on SQLite, and backwards, on PostgreSQL where that can be had."""
    there = str(tmp_path_factory.mktemp("demo") / "mesh.db")
    observations = list(demo_observations())
    with peerstore.open(there) as store:
        store.record_many(observations)
    try:
        other = fresh_url("postgresql")
    except pytest.skip.Exception:
        other = str(tmp_path_factory.mktemp("again") / "mesh.db")
    with peerstore.open(other) as store:
        store.record_many(reversed(observations))
    return there, other


def written(database: str, path: Path, *options: str) -> dict[str, bytes]:
    """The files of an export, those beside it too, without what says when and where it was made."""
    result = run("--db", database, "export", str(path), *options)
    assert result.exit_code == 0, result.stderr
    files = {}
    for each in sorted(path.parent.rglob("*")):
        if each.is_file():
            content = each.read_bytes()
            if each.name.endswith("manifest.json"):
                content = json.dumps({**json.loads(content), "created_at": ""}).encode()
            files[each.relative_to(path.parent).as_posix()] = content
    return files


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [("--at", AT), WINDOW], ids=["moment", "window"])
def test_the_same_history_gives_the_same_bytes(
    databases: tuple[str, str], tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    options = (*options, "--observer", "sim-kitchen-1")
    first = written(databases[0], one / name, *options)
    assert first == written(databases[1], other / name, *options)
    assert any(len(content) for content in first.values())
    [manifest] = [json.loads(content) for each, content in first.items() if each.endswith("manifest.json")]
    assert sum(manifest["counts"].values()) > 0
    told = {each["name"]: each["bytes"] for each in manifest["files"]}
    there = {
        each.removeprefix(f"{name}/"): len(content)
        for each, content in first.items()
        if not each.endswith(("manifest.json", "metadata.json"))
    }
    assert told == there


@pytest.mark.parametrize("name", NAMES)
def test_pseudonyms_reach_every_format(databases: tuple[str, str], tmp_path: Path, name: str) -> None:
    (tmp_path / "key").write_bytes(bytes(range(32)))
    (tmp_path / "out").mkdir()
    options = ("--pseudonymise", "--key-file", str(tmp_path / "key"), "--redact", "/peer_metadata/role")
    files = written(databases[0], tmp_path / "out" / name, "--observer", "sim-kitchen-1", *WINDOW, *options)
    for each, content in files.items():
        if "metadata.json" not in each:
            for secret in (b"sim-kitchen", b"sim-till", b"pkAoc", b"kitchen-display"):
                assert secret not in content, each


@pytest.mark.parametrize(("name", "library", "extra"), [("x.parquet", "pyarrow", "arrow")])
def test_a_library_that_is_missing_is_named_with_what_installs_it(
    databases: tuple[str, str], tmp_path: Path, name: str, library: str, extra: str
) -> None:
    program = f"import sys; sys.modules[{library!r}] = None; import peerstore.cli; peerstore.cli.main()"
    command = [sys.executable, "-c", program, "--db", databases[0], "export", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f'pip install "peerstore[{extra}]"' in done.stderr
    assert list(tmp_path.iterdir()) == []


EDGES = {
    "the end of all time": ("--at", "9999-12-31T23:59:59.999999Z"),
    "the beginning of it": ("--at", "0001-01-01T00:00:00Z"),
    "from its end on": ("--since", "9999-12-31T23:59:59.999999Z"),
    "until its beginning": ("--until", "0001-01-01T00:00:00Z"),
    "no time at all": ("--since", AT, "--until", AT),
    "an observer that was never there": ("--observer", "pkAQID"),
}


@pytest.mark.parametrize("options", EDGES.values(), ids=EDGES)
def test_at_the_edges_there_is_an_answer_or_a_sentence(
    databases: tuple[str, str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    peerstore.open(tmp_path / "empty.db").close()
    for database in (databases[0], str(tmp_path / "empty.db")):
        for name in NAMES:
            result = run("--db", database, "export", str(tmp_path / name), "--force", *options)
            assert result.exit_code in (0, 1, 2)
            assert result.exit_code == 0 or result.stderr.startswith("Error: "), (name, result.stderr)
