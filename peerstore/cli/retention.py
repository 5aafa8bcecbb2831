"""``prune``, ``thin`` and ``removals``: what is not to be kept, and what was removed so far."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

import click

from peerstore.answers.removals import Removal
from peerstore.cli.options import (
    DURATION,
    MOMENT,
    Command,
    database_option_again,
    open_store,
    output_options,
    with_options,
)
from peerstore.cli.output import Format, print_document
from peerstore.cli.people import Column, Listing, Names, plural, print_listing, show_time
from peerstore.cli.program import main


def removing_options(command: Command) -> Command:
    """Options of the commands that remove a part of the history."""
    return with_options(
        command,
        click.option("--dry-run", is_flag=True, help="Only say what would be removed."),
        click.option(
            "--vacuum", is_flag=True, help="Give the room back to the disk; SQLite holds up who records meanwhile."
        ),
        click.option("--json", "as_json", is_flag=True, help="One JSON document."),
    )


@main.command(short_help="Remove what was observed before a time.")
@click.option("--before", metavar="TIME", type=MOMENT, required=True, help="The horizon: what is earlier goes.")
@removing_options
@database_option_again
def prune(before: datetime, dry_run: bool, vacuum: bool, as_json: bool) -> None:
    """Remove what was observed before a time, for good.

    Questions about that time and later have the answers that they had; earlier ones have none, and say so. What was
    observed before it cannot be recorded any more. It goes in small steps, so that others may record meanwhile; if it
    is broken off, ask again.

    \b
    Examples:
      peerstore prune --before "90 days ago" --dry-run
      peerstore prune --before "90 days ago"
    """
    with open_store() as store:
        removed = store.prune(before, dry_run=dry_run, vacuum=vacuum)
    _print_removed(removed, dry_run, as_json)


@main.command(short_help="Remove observations that changed nothing.")
@click.option("--before", metavar="TIME", type=MOMENT, required=True, help="What is earlier is thinned.")
@click.option(
    "--every", metavar="DURATION", type=DURATION, required=True, help="Leave an unchanged observation this often."
)
@removing_options
@database_option_again
def thin(before: datetime, every: timedelta, dry_run: bool, vacuum: bool, as_json: bool) -> None:
    """Remove observations before a time that changed nothing, but for one in a while.

    Who was there, connected and watching at any moment stays what it was; when it was last confirmed is told more
    coarsely. What was observed before that time cannot be recorded any more.

    \b
    Examples:
      peerstore thin --before "7 days ago" --every 5m --dry-run
      peerstore thin --before "7 days ago" --every 5m
    """
    with open_store() as store:
        removed = store.thin(before, every, dry_run=dry_run, vacuum=vacuum)
    _print_removed(removed, dry_run, as_json)


@main.command(short_help="List what was removed on purpose.")
@output_options
@database_option_again
def removals(format: Format | None) -> None:
    """List what was removed from the history on purpose: when, by what, and how much.

    \b
    Examples:
      peerstore removals
      peerstore removals --json
    """
    with open_store() as store:
        print_listing(store.removals(), REMOVALS, format, store)


def _print_removed(removed: Removal, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_document(removed.to_dict())
        return
    said = "would remove" if dry_run else "removed"
    emptied = [plural(removed.documents, "document")] if removed.documents else []
    if removed.elements:
        emptied.append(f"{removed.elements} peers and connections")
    rest = f"; emptied {' and '.join(emptied)} that nothing refers to any more" if emptied else ""
    sys.stdout.write(
        f"{said} {plural(removed.observations, 'observation')} and {plural(removed.changes, 'change')} before"
        f" {show_time(removed.observed_before)}{rest}\n"
    )


def _columns(_names: Names) -> list[Column[Removal]]:
    return [
        Column("removal", lambda each: each.kind, keep="whole"),
        Column("observed before", lambda each: show_time(each.observed_before), keep="whole"),
        Column("every", lambda each: "" if each.every is None else f"{each.every.total_seconds():g} s"),
        Column("observations", lambda each: str(each.observations)),
        Column("changes", lambda each: str(each.changes)),
        Column("documents", lambda each: str(each.documents), 2),
        Column("began", lambda each: show_time(each.performed_at), 1, keep="whole"),
        Column("ended", lambda each: show_time(each.finished_at) or "broken off: ask again", 1, keep="whole"),
    ]


REMOVALS: Listing[Removal] = Listing(
    (
        "kind",
        "observed_before",
        "every",
        "performed_at",
        "finished_at",
        "observations",
        "changes",
        "documents",
        "elements",
        "rejects",
    ),
    _columns,
    "nothing was removed",
)
