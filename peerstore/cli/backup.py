"""``backup``: a copy of the database that can be relied upon."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from peerstore.cli.options import database_option_again, open_store
from peerstore.cli.output import print_document, safe
from peerstore.cli.people import plural
from peerstore.cli.program import main


@main.command(short_help="Back up an SQLite database while it is in use.")
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace DEST if it is there.")
@click.option("--quick", is_flag=True, help="Verify the structure of the backup alone, not every row.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option_again
def backup(destination: Path, force: bool, quick: bool, as_json: bool) -> None:
    """Back up an SQLite database to the file DEST, while others may record.

    The backup is a database of its own: one snapshot, with everything that was acknowledged before it began. It is
    verified before it stands under its name; after an error or an interruption there is nothing. To restore it, use it:
    it is opened as any other. Of a database on PostgreSQL, the command of pg_dump that backs it up is told.

    \b
    Examples:
      peerstore backup mesh-backup.db
      peerstore --db mesh.db backup --quick --force mesh-backup.db
    """
    with open_store() as store:
        made = store.backup(destination, force=force, full=not quick)
    if as_json:
        print_document(made.to_dict())
        return
    sys.stdout.write(
        f"backed up {safe(made.database)} to {safe(made.destination)}: {made.bytes / 1_000_000:.1f} MB,"
        f" {plural(made.observations, 'observation')}, {'quickly verified' if quick else 'verified'},"
        f" {made.seconds:.1f} s\n"
    )
