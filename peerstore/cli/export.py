"""``export`` and ``copy``: a history taken elsewhere."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from peerstore.cli.options import (
    at_option,
    find_observer,
    find_peer,
    open_store,
    opened,
    view_options,
    window_options,
)
from peerstore.cli.output import print_document, safe
from peerstore.cli.program import REFUSED, main
from peerstore.cli.record import print_summary
from peerstore.errors import InputError
from peerstore.exporting.formats import FORMATS

if TYPE_CHECKING:
    from peerstore.exporting.manifest import Exported
    from peerstore.store import PeerStore

_LIST = "\n".join(
    f"  {name:<8} {each.endings[0] + ('/' if each.folder else ''):<10} {each.meaning}" for name, each in FORMATS.items()
)
_HELP = f"""Take the history elsewhere: all of it, a window, a moment, some peers, one observer's view.

DEST is a file or a folder; the format is as its name ends, or as --format says. With - the file goes to stdout. It is
written beside its place and comes under its name once it is whole, with a manifest: what it holds, how many rows, and a
digest of the content.

\b
Formats:
{_LIST}

\b
Examples:
  peerstore export history.ndjson.gz
  peerstore export day.db --since 2026-07-08T00:00:00Z --until 2026-07-09T00:00:00Z
  peerstore export mesh.dot --at 2026-07-08T09:30:00Z --force
  peerstore export public.db --redact /peer_metadata/owner --pseudonymise
"""


@main.command(help=_HELP, short_help="Write the history, or a part of it, to a file for other tools.")
@click.argument("dest")
@click.option("--format", "format", type=click.Choice(list(FORMATS)), help="The format [default: as DEST ends].")
@window_options
@at_option
@click.option("--peer", "peers", multiple=True, metavar="PEER", help="Only this peer; may be given several times.")
@view_options
@click.option("--recorded-at", is_flag=True, help="Say when each observation was recorded.")
@click.option(
    "--shape", type=click.Choice(["raw-v3", "js-5"]), default="raw-v3", help="The shape of Ditto's JSON [raw-v3]."
)
@click.option("--raw-csv", is_flag=True, help="CSV: leave what a spreadsheet would run as a formula as it is.")
@click.option("--redact", multiple=True, metavar="POINTER", help="Leave out the attributes at this JSON Pointer.")
@click.option("--pseudonymise", is_flag=True, help="Peers, names and ids under pseudonyms.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The key of the pseudonyms: the same key gives the same ones [default: a new key].",
)
@click.option("--force", is_flag=True, help="Replace what is there.")
@click.option("--json", "as_json", is_flag=True, help="Say what was exported as JSON.")
def export(
    *,
    dest: str,
    format: str | None,
    since: datetime | None,
    until: datetime | None,
    moment: datetime | None,
    peers: tuple[str, ...],
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
    recorded_at: bool,
    shape: Literal["raw-v3", "js-5"],
    raw_csv: bool,
    redact: tuple[str, ...],
    pseudonymise: bool,
    key_file: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Export; the text of --help stands above."""
    key = _pseudonym_key(pseudonymise, key_file)
    _spare_memory()
    with open_store() as store, _place(dest, format) as path, _progress() as progress:
        found = store.export(
            path,
            format,
            since=since,
            until=until,
            at=moment,
            peers=[find_peer(store, name) or name for name in peers],
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
            shape=shape,
            recorded_at=recorded_at,
            raw_csv=raw_csv,
            redact=redact,
            pseudonym_key=key,
            force=force,
            progress=progress,
        )
        if dest == "-":
            with path.open("rb") as content:
                shutil.copyfileobj(content, sys.stdout.buffer)
            return
    for path, documents in found.manifest["redacted"].items():
        if not documents:
            click.echo(f"nothing was at {safe(path)}: nothing was redacted there", err=True)
    if as_json:
        print_document(found.to_dict())
    else:
        _tell(found)


class _NoPandas(MetaPathFinder):
    """pyarrow and sqlite-utils load pandas wherever it is installed: 80 MB that an export has no use for."""

    def find_spec(self, fullname: str, _path: Any, _target: Any = None) -> None:
        """Say that there is no pandas."""
        if fullname == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name="pandas")


def _spare_memory() -> None:
    """Of this process, which ends with the export."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # which gives memory back, and is as quick here
    sys.meta_path.insert(0, _NoPandas())


def _tell(found: Exported) -> None:
    size = sum(each["bytes"] for each in found.manifest["files"])
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    click.echo(f"{safe(str(found.path))}: {counts or 'nothing'}; {size} bytes")


def _pseudonym_key(pseudonymise: bool, key_file: Path | None) -> bytes | None:
    if not pseudonymise:
        if key_file is not None:
            raise click.UsageError("--key-file is the key of pseudonyms: add --pseudonymise")
        return None
    if key_file is not None:
        return key_file.read_bytes()
    click.echo("the pseudonyms are made with a new key that is not kept: with --key-file they stay the same", err=True)
    return secrets.token_bytes(32)


@contextmanager
def _place(dest: str, format: str | None) -> Iterator[Path]:
    """Where to write; for stdout a file that is gone afterwards."""
    if dest != "-":
        yield Path(dest)
        return
    if format is None:
        raise click.UsageError("say with --format what to write to stdout")
    if FORMATS[format].folder:
        raise click.UsageError(f"{format} is a folder of files: name one instead of -")
    if format == "sqlite" and sys.stdout.isatty():
        raise click.UsageError("an SQLite file is nothing to read on a terminal: name a file, or pipe it somewhere")
    with tempfile.TemporaryDirectory(prefix="peerstore-export-") as folder:
        yield Path(folder, f"stdout{FORMATS[format].endings[0]}")


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """How many rows are written, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=None, label="exporting", file=sys.stderr, show_pos=True) as bar:  # type: ignore[var-annotated]
        yield bar.update


@main.command(short_help="Copy a history into another database.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--recorded-at", is_flag=True, help="Keep when each observation was recorded, for --known-at.")
@click.option("--json", "as_json", is_flag=True, help="One JSON summary.")
@click.pass_context
def copy(ctx: click.Context, *, source: str, target: str, recorded_at: bool, as_json: bool) -> None:
    """Copy the history of the database FROM into the database TO.

    Both are paths or SQLAlchemy URLs: from SQLite to PostgreSQL (postgresql+psycopg://USER@HOST/NAME), or back.

    TO is made if there is none. What it has already is counted and stays, so a copy that broke off can be repeated, and
    several databases can be copied into one.

    \b
    Examples:
      peerstore copy peerstore.db copy.db --recorded-at
      peerstore copy peerstore.db other.db --json
    """
    with (
        opened(source, create=False) as given,
        opened(target, create=True) as taken,
        given.snapshot() as snapshot,
        _progress() as progress,
    ):
        _check_apart(given, taken)
        summary = taken.record_from(snapshot, keep_recorded_at=recorded_at, progress=progress)
        rejects = given.status().rejected
    print_summary(summary, as_json)
    if rejects:
        click.echo(f"what FROM has refused stays there: {rejects} lines, listed by `peerstore rejects`", err=True)
    if summary.conflicts:
        click.echo("conflicts are kept aside in TO: `peerstore rejects` lists them", err=True)
        ctx.exit(REFUSED)


def _check_apart(given: PeerStore, taken: PeerStore) -> None:
    one, other = given._database, taken._database
    same = one.url == other.url
    if one.path is not None and other.path is not None:
        same = one.path.samefile(other.path)
    if same:
        raise InputError("FROM and TO are one database: name two")
