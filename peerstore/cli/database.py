"""``upgrade``, ``status``, ``verify`` and ``completion``: the database itself, and the shell."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath

import click
from click.shell_completion import get_completion_class

import peerstore
from peerstore.cli.options import database, database_option_again, open_store
from peerstore.cli.output import print_document, safe
from peerstore.cli.people import print_facts, show_time
from peerstore.cli.program import REFUSED, main
from peerstore.times import instant, parse_iso

SHELLS = ("bash", "zsh", "fish")


@main.command(short_help="Bring a database to this version's schema, or make a new one.")
@database_option_again
def upgrade() -> None:
    """Bring a database to the schema of this version of peerstore, or make a new one.

    \b
    Examples:
      peerstore upgrade
      peerstore --db mesh.db upgrade
    """
    from peerstore.database import database_url, redacted

    before, after = peerstore.upgrade(database())
    where = safe(redacted(database_url(database())))
    if before is None:
        sys.stdout.write(f"{where} is made, at revision {after}\n")
    elif before == after:
        sys.stdout.write(f"{where} is up to date, at revision {after}\n")
    else:
        sys.stdout.write(f"{where} is upgraded from revision {before} to {after}\n")


@main.command(short_help="Show what the database is and holds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option_again
def status(as_json: bool) -> None:
    """Show what the database is and holds: its size, its revision, how many of everything, how durable.

    \b
    Examples:
      peerstore status
      peerstore status --json
    """
    with open_store() as store:
        values = store.status().to_dict()
    if as_json:
        print_document(values)
    else:
        print_facts((name.replace("_", " "), _shown(name, value)) for name, value in values.items())


@main.command(short_help="Check that the database is whole.")
@click.option("--quick", is_flag=True, help="Leave out what must read every row.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option_again
@click.pass_context
def verify(ctx: click.Context, quick: bool, as_json: bool) -> None:
    """Check that the database is whole: its pages, its digests, its rules. Exit code 1 if it is not.

    \b
    Examples:
      peerstore verify
      peerstore verify --quick --json
    """
    with open_store() as store:
        verification = store.verify(full=not quick)
    if as_json:
        print_document(verification.to_dict())
    else:
        for finding in verification.findings:
            sys.stdout.write(f"{safe(finding)}\n")
        counted = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in verification.checked.items())
        checked = f"checked {counted}" if counted else "no row was checked" + (" (--quick)" if quick else "")
        sys.stdout.write(f"{'ok' if verification.ok else 'NOT OK'}: {checked}\n")
    if not verification.ok:
        ctx.exit(REFUSED)


@main.command(short_help="Print what makes a shell complete commands and options.")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print what makes a shell complete peerstore's commands and options (by default, the shell you use).

    \b
    Examples:
      peerstore completion bash
      peerstore completion zsh > ~/.zfunc/_peerstore
    """
    chosen = shell or PurePath(os.environ.get("SHELL", "")).name
    if chosen not in SHELLS:
        raise click.UsageError(f"name the shell: {', '.join(SHELLS)}")
    kind = get_completion_class(chosen)
    if kind is not None:
        sys.stdout.write(kind(main, {}, "peerstore", "_PEERSTORE_COMPLETE").source() + "\n")


def _shown(name: str, value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{safe(str(part))} {safe(str(setting))}" for part, setting in value.items())
    if name.endswith("_at") and isinstance(value, str):
        return show_time(instant(parse_iso(value)))
    if name == "bytes" and isinstance(value, int):
        return f"{value} ({value / 1_000_000:.1f} MB)"
    return "" if value is None else safe(str(value))
