"""``rejects``: what was refused and kept aside."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

import click

from peerstore.answers.inventory import Reject
from peerstore.cli.options import database_option_again, open_store, output_options
from peerstore.cli.output import Format, print_document, print_rows, safe
from peerstore.cli.people import (
    Column,
    Listing,
    Names,
    plural,
    print_facts,
    print_listing,
    show_text,
    show_time,
    show_truth,
)
from peerstore.cli.program import REFUSED, main
from peerstore.cli.record import declaring_options, print_summary
from peerstore.errors import QuestionError


class ListByDefault(click.Group):
    """A group whose command is ``list`` unless another is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the command that was left out."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@main.group(cls=ListByDefault, short_help="List, show, retry or drop what was refused.")
def rejects() -> None:
    """List, show, retry or drop what was refused: lines that could not be read, and conflicts.

    Nothing given is lost: what is refused is kept aside, whole, with the reason, until it is recorded or dropped.

    \b
    Examples:
      peerstore rejects
      peerstore rejects show 1
      peerstore rejects retry
      peerstore rejects drop 1
    """


@rejects.command("list", short_help="List what was refused, and why (the default).")
@output_options
@database_option_again
def list_rejects(format: Format | None) -> None:
    """List what was refused: where it came from, and why (the default).

    \b
    Examples:
      peerstore rejects list
      peerstore rejects list --ndjson
    """
    with open_store() as store:
        print_listing(store.rejects(), REJECTS, format, store)


@rejects.command()
@click.argument("number", metavar="ID", type=int)
@click.option("--raw", is_flag=True, help="The content alone, byte for byte, to mend it and record it again.")
@output_options
@database_option_again
def show(number: int, raw: bool, format: Format | None) -> None:
    """Show one reject whole.

    \b
    Examples:
      peerstore rejects show 1
      peerstore rejects show 1 --json
      peerstore rejects show 1 --raw
    """
    with open_store() as store:
        found = next((reject for reject in store.rejects() if reject.id == number), None)
    if found is None:
        raise QuestionError(f"there is no reject {number}: `peerstore rejects` lists those there are")
    if raw:
        sys.stdout.buffer.write(found.content + b"\n")
    elif format == "json":
        print_document(found.to_dict())
    elif format:
        print_rows([found], format, REJECTS.fields)
    else:
        _print_reject(found)


@rejects.command(short_help="Try again to record what was refused.")
@declaring_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option_again
@click.pass_context
def retry(
    ctx: click.Context,
    *,
    observer: str | None,
    max_silence: timedelta | None,
    stamp: datetime | None,
    as_json: bool,
) -> None:
    """Try again to record what was refused, after an upgrade or with what it lacked; what is recorded leaves the list.

    \b
    Examples:
      peerstore rejects retry
      peerstore rejects retry --at 2026-07-08T18:00:05Z --max-silence 45s --json
    """
    with open_store() as store:
        summary = store.retry_rejects(observer=observer, max_silence=max_silence, stamp=stamp)
    if summary.rejected:
        click.echo("what is refused again stays aside: `peerstore rejects` tells why", err=True)
    print_summary(summary, as_json)
    if summary.rejected or summary.conflicts:
        ctx.exit(REFUSED)


@rejects.command(short_help="Remove for good what was refused.")
@click.argument("ids", metavar="[ID ...]", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Everything that was refused; needs --yes.")
@click.option("--yes", is_flag=True, help="Confirm --all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option_again
@click.pass_context
def drop(ctx: click.Context, *, ids: tuple[int, ...], everything: bool, yes: bool, as_json: bool) -> None:
    """Remove for good what was refused and kept aside. Exit code 1 if there is no reject with one of the IDs.

    \b
    Examples:
      peerstore rejects drop 1
      peerstore rejects drop --all --yes
    """
    if bool(ids) == everything:
        raise click.UsageError("name the rejects to drop by their IDs, or give --all")
    with open_store() as store:
        known = {reject.id for reject in store.rejects()}
        if everything and not yes:
            raise click.UsageError(f"--all would remove {plural(len(known), 'reject')} for good: confirm with --yes")
        dropped = store.drop_rejects(sorted(known) if everything else ids)
    unknown = sorted(set(ids) - known)
    _tell_dropped(dropped, unknown, as_json)
    if unknown:
        ctx.exit(REFUSED)


def _tell_dropped(dropped: int, unknown: list[int], as_json: bool) -> None:
    if as_json:
        print_document({"dropped": dropped, "unknown": unknown})
    else:
        sys.stdout.write(f"dropped {dropped}\n")
    if unknown:
        shown = ", ".join(map(str, unknown))
        click.echo(f"Error: there is no reject {shown}: `peerstore rejects` lists those there are", err=True)


def _print_reject(reject: Reject) -> None:
    print_facts(
        [
            ("id", str(reject.id)),
            ("kind", reject.kind),
            ("from", f"{safe(reject.source)}, line {reject.line}"),
            ("recorded at", show_time(reject.recorded_at)),
            ("reason", safe(reject.reason)),
            ("complete", show_truth(reject.complete)),
        ]
    )
    sys.stdout.write(f"\n{safe(reject.content.decode('utf-8', errors='backslashreplace'))}\n")


def _columns(_names: Names) -> list[Column[Reject]]:
    return [
        Column("id", lambda reject: str(reject.id), keep="whole"),
        Column("kind", lambda reject: reject.kind),
        Column("from", lambda reject: f"{safe(reject.source)}:{reject.line}", keep="end"),
        Column("reason", lambda reject: show_text(reject.reason)),
        Column("recorded at", lambda reject: show_time(reject.recorded_at), 1, keep="whole"),
    ]


REJECTS: Listing[Reject] = Listing(
    ("id", "kind", "source", "line", "reason", "recorded_at", "complete", "content"), _columns, "nothing was refused"
)
