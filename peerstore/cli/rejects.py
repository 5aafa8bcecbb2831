"""``rejects``: what was refused and kept aside."""

from __future__ import annotations

import sys

import click

from peerstore.cli.options import database_option_again, open_store, output_options
from peerstore.cli.output import Format, print_document, print_rows, safe
from peerstore.cli.people import Column, Listing, Names, print_facts, print_listing, show_text, show_time, show_truth
from peerstore.cli.program import REFUSED, main
from peerstore.cli.record import print_summary
from peerstore.errors import QuestionError
from peerstore.model import Reject


class ListByDefault(click.Group):
    """A group whose command is ``list`` unless another is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the command that was left out."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@main.group(cls=ListByDefault)
def rejects() -> None:
    """List, show or retry what was refused: lines that could not be read, and conflicts.

    Nothing given is lost: what is refused is kept aside, whole, with the reason.

    \b
    Examples:
      peerstore rejects
      peerstore rejects show 1
      peerstore rejects retry
    """


@rejects.command("list")
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


@rejects.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option_again
@click.pass_context
def retry(ctx: click.Context, as_json: bool) -> None:
    """Try again to record what was refused, say after an upgrade; what is recorded leaves the list.

    \b
    Examples:
      peerstore rejects retry
      peerstore rejects retry --json
    """
    with open_store() as store:
        summary = store.retry_rejects()
    print_summary(summary, as_json)
    if summary.rejected or summary.conflicts:
        ctx.exit(REFUSED)


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
        Column("id", lambda reject: str(reject.id), rigid=True),
        Column("kind", lambda reject: reject.kind),
        Column("from", lambda reject: f"{safe(reject.source)}:{reject.line}"),
        Column("reason", lambda reject: show_text(reject.reason)),
        Column("recorded at", lambda reject: show_time(reject.recorded_at), 1, rigid=True),
    ]


REJECTS: Listing[Reject] = Listing(
    ("id", "kind", "source", "line", "reason", "recorded_at", "complete", "content"), _columns, "nothing was refused"
)
