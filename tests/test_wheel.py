"""The wheel is whole: installed alone in an empty environment it makes databases, upgrades old ones, and has types."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import peerstore
from peerstore.schema import HEAD

ROOT = Path(__file__).parents[1]
ASSETS = sorted((ROOT / "tests" / "assets").glob("*.db"))
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PEERSTORE"))}

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the checkout; what it says."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=CLEAN, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel made from it, as somebody who packages it would make them."""
    folder = tmp_path_factory.mktemp("built")
    environment = folder / "venv"
    run(sys.executable, "-m", "venv", environment, cwd=folder)
    run(environment / "bin" / "python", "-m", "pip", "install", "--quiet", "build", cwd=folder)
    run(environment / "bin" / "python", "-m", "build", "--outdir", folder / "dist", ROOT, cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of a new environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    [wheel] = built.glob("*.whl")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    commands = folder / "venv" / "bin"
    run(commands / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return commands


def test_what_the_wheel_holds(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    revisions = {
        f"peerstore/migrations/versions/{file.name}" for file in (ROOT / "migrations" / "versions").glob("*.py")
    }
    assert {"peerstore/py.typed", "peerstore/migrations/env.py"} | revisions <= names
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "peerstore").rglob("*.py")}
    assert modules <= names
    assert not any(name.startswith(("tests/", "docs/", "migrations/")) or name.endswith(".pyc") for name in names)


def test_what_the_sdist_holds(built: Path) -> None:
    """All that the tests need, so that whoever packages it can run them."""
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"alembic.ini", "migrations/env.py", "tests/conftest.py", "docs/make_schema.py", "README.md", "LICENSE"}
    assert wanted | {str(file.relative_to(ROOT)) for file in ASSETS} <= names


def test_the_command_says_its_version(installed: Path, tmp_path: Path) -> None:
    assert peerstore.__version__ in run(installed / "peerstore", "--version", cwd=tmp_path)
    assert peerstore.__version__ in run(installed / "python", "-m", "peerstore", "--version", cwd=tmp_path)


def test_a_database_is_made_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    run(installed / "peerstore", "upgrade", cwd=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["peerstore.db"]
    assert HEAD in run(installed / "peerstore", "status", "--json", cwd=tmp_path)


@pytest.mark.parametrize("asset", ASSETS, ids=lambda path: path.stem)
def test_an_old_database_is_upgraded(installed: Path, tmp_path: Path, asset: Path) -> None:
    shutil.copyfile(asset, tmp_path / "old.db")
    run(installed / "peerstore", "--db", "old.db", "upgrade", cwd=tmp_path)
    run(installed / "peerstore", "--db", "old.db", "verify", cwd=tmp_path)
    assert "till-1" in run(
        installed / "peerstore", "--db", "old.db", "at", "2026-07-08T08:30:00Z", "--json", cwd=tmp_path
    )


def test_the_types_are_there(installed: Path, tmp_path: Path) -> None:
    """A program that uses peerstore is checked against its types."""
    program = "import peerstore\nreveal_type(peerstore.open('mesh.db').sessions())\n"
    (tmp_path / "program.py").write_text(program)
    run(installed / "python", "-m", "pip", "install", "--quiet", "mypy", cwd=tmp_path)
    said = run(installed / "python", "-m", "mypy", "--strict", "program.py", cwd=tmp_path)
    assert "Iterator[peerstore.answers.sessions.Session]" in said


def test_postgresql_is_asked_for_by_name(installed: Path, tmp_path: Path) -> None:
    """Without the extra the message says which one is needed."""
    command = [str(installed / "peerstore"), "--db", "postgresql+psycopg://nobody@127.0.0.1:1/none", "status"]
    done = subprocess.run(command, cwd=tmp_path, env=CLEAN, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert 'pip install "peerstore[postgresql]"' in done.stderr
