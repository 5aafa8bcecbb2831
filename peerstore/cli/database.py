"""``upgrade``, ``status``, ``verify`` and ``completion``: the database itself, and the shell."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import PurePath

import click
from click.shell_completion import get_completion_class

import peerstore
from peerstore.answers.health import Growth, ObserverHealth, Status
from peerstore.cli.options import database, database_option_again, open_store, tell_backup
from peerstore.cli.output import print_document, safe
from peerstore.cli.people import Column, plural, print_facts, print_table, print_title, show_time
from peerstore.cli.program import REFUSED, main
from peerstore.times import format_duration, instant, parse_iso

SHELLS = ("bash", "zsh", "fish")
_ELSEWHERE = ("growth",)
SECONDS_BETWEEN_LINES = 5.0

_OF_REMOVALS = ("horizon", "thinned_before")


@main.command(short_help="Bring a database to this version's schema, or make a new one.")
@click.option("--no-backup", is_flag=True, help="Make no backup of an SQLite database before the first step.")
@database_option_again
def upgrade(no_backup: bool) -> None:
    """Bring a database to the schema of this version of peerstore, or make a new one.

    All of it happens or nothing, whatever interrupts it; those who record meanwhile wait. Before the first step, an
    SQLite database that holds anything is backed up to a file beside it (mesh.db.before-REVISION-TIME), for which, and
    for the steps, there must be room on the disk. Of a database on PostgreSQL make a backup yourself, with pg_dump. Any
    command that opens an older database upgrades it likewise.

    \b
    Examples:
      peerstore upgrade
      peerstore --db mesh.db upgrade --no-backup
    """
    from peerstore.database_url import database_url, redacted

    named = database()
    tell = StepsTold() if sys.stderr.isatty() else None
    upgraded = peerstore.upgrade(named, backup=not no_backup, tell=tell)
    before, after = upgraded
    where = safe(redacted(database_url(named)))
    if before is None:
        sys.stdout.write(f"{where} is made, at revision {after}\n")
    elif before == after:
        sys.stdout.write(f"{where} is up to date, at revision {after}\n")
    else:
        sys.stdout.write(f"{where} is upgraded from revision {before} to {after}\n")
    tell_backup(named, upgraded)


class StepsTold:
    """Says on stderr how far an upgrade is: a line as a step ends, and now and then while it runs."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, step: peerstore.UpgradeStep) -> None:
        """A step has begun, has come further, or has ended."""
        if not step.done and time.monotonic() - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = time.monotonic()
        rate = step.rows / max(step.seconds, 0.001)
        rows = f"{plural(step.rows, 'row')}, {rate:.0f} rows/s, " if step.rows else ""
        state = f"done in {step.seconds:.1f} s" if step.done else f"{step.seconds:.1f} s so far"
        title = step.title.partition(".")[0]
        click.echo(
            f"step {step.number} of {step.steps}, schema {step.revision} ({title}): {rows}{state}",
            err=True,
        )


@main.command(short_help="Show what the database is and holds, and how it is.")
@click.option("--check", is_flag=True, help="End with exit code 1 if there is a warning: for cron and monitoring.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option_again
@click.pass_context
def status(ctx: click.Context, check: bool, as_json: bool) -> None:
    """Show what the database is and holds: its size and growth, its schema, how many of everything, how durable; of
    each observer when it last spoke, and how long it took until that was recorded; what was refused; and warnings, each
    with its cure. It neither writes nor upgrades, and takes no longer for a long history.

    \b
    Examples:
      peerstore status
      peerstore status --json
      peerstore status --check > /dev/null || echo "see peerstore status"
    """
    found = peerstore.status(database())
    if as_json:
        print_document(found.to_dict())
    else:
        _print_status(found)
    if check and found.warnings:
        ctx.exit(REFUSED)


def _print_status(found: Status) -> None:
    values = found.to_dict()
    for name in _OF_REMOVALS:
        if values[name] is None:
            del values[name]
    facts = {name: value for name, value in values.items() if not isinstance(value, list) and name not in _ELSEWHERE}
    print_facts((name.replace("_", " "), _shown(name, value)) for name, value in facts.items())
    if found.growth is not None:
        print_title(f"Growth from {show_time(found.growth.since)} to {show_time(found.growth.until)}")
        print_facts(_rates(found.growth))
    if found.by_observer:
        print_title("Observers")
        print_table(found.by_observer, _OBSERVERS)
    for each in found.refused:
        last = (
            f"the last at {show_time(each.last_recorded_at)}, {each.last_source}:{each.last_line}: {each.last_reason}"
        )
        print_title(safe(f"Kept aside as {each.kind}: {each.count}; {last}"))
    for kind, sentences in (("Warning", found.warnings), ("Note", found.notes)):
        for sentence in sentences:
            print_title(f"{kind}: {safe(sentence)}")


def _rates(growth: Growth) -> Iterator[tuple[str, str]]:
    told = {
        "observations": growth.observations_per_day,
        "changes": growth.changes_per_day,
        "bytes": growth.bytes_per_day,
    }
    for name, rate in told.items():
        if rate is not None:
            yield f"{name} a day", f"about {_shown(name, rate)}"
    for day in growth.days:
        yield day.day.isoformat(), f"{day.observations} observations, {day.changes} changes"


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
    if (name.endswith("_at") or name in _OF_REMOVALS) and isinstance(value, str):
        return show_time(instant(parse_iso(value)))
    if name.endswith("bytes") and isinstance(value, int):
        return f"{value} ({value / 1_000_000:.1f} MB)"
    return "" if value is None else safe(str(value))


_OBSERVERS: list[Column[ObserverHealth]] = [
    Column("observer", lambda each: safe(each.observer), keep="both"),
    Column("state", lambda each: each.state),
    Column("last observed", lambda each: show_time(each.last_observed_at)),
    Column("age", lambda each: format_duration(timedelta(seconds=each.age_seconds)), rank=1),
    Column("lag", lambda each: format_duration(timedelta(seconds=each.lag_seconds)), rank=2),
    Column("last recorded", lambda each: show_time(each.last_recorded_at), rank=4),
    Column("observations", lambda each: str(each.observations), rank=3),
    Column("changes", lambda each: str(each.changes), rank=5),
]
