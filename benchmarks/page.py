"""A page of measurements: what people wrote, and between marks the tables, which a run replaces."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    *("sqlalchemy", "msgspec", "sqlite-utils", "psycopg"),
    *("raphtory", "duckdb", "sqlalchemy-continuum", "pymysql"),
)


def replaced(page: str, parts: Mapping[str, str]) -> str:
    r"""A page with other content between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``, NAME by NAME; a part that
    it does not have yet is added at its end.

    >>> replaced("a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n", {"x": "new"})
    'a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n'
    """
    for name, content in parts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
        part = f"{begin}{content.rstrip()}\n{end}"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if page.count(begin) > 1 or page.count(end) != page.count(begin) or (found and not ended):
            raise ValueError(f"the page has one of the marks of {name} without the other, or has them twice")
        page = before + part + after if found else f"{page.rstrip()}\n\n{part}".lstrip()
    return page


def write(file: Path, parts: Mapping[str, str]) -> None:
    """Replace parts of a page, which may not be there yet."""
    page = file.read_text(encoding="utf-8") if file.exists() else ""
    file.write_text(replaced(page, parts), encoding="utf-8")


def machine() -> str:
    """The kind of machine, and the versions of what ran on it."""
    kind = f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}"
    versions = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    versions += filter(None, map(_version, ("postgres", "mariadbd")))
    return f"{kind}; {', '.join(versions)}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(program: str) -> str:
    """What a server's program says of its version, in short; nothing where there is none."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, newest)]
    found = shutil.which(program, path=os.pathsep.join(places))
    if found is None:
        return ""
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    words = [word for word in said.split() if word[:1].isdigit()]
    return f"{'PostgreSQL' if program == 'postgres' else 'MariaDB'} {words[0].split('-')[0]}" if words else ""
