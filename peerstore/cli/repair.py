"""``repair``: what is left of a damaged database, in a new one."""

from __future__ import annotations

import sys

import click

import peerstore
from peerstore.cli.options import database, database_option_again
from peerstore.cli.output import print_document, safe
from peerstore.cli.people import plural
from peerstore.cli.program import REFUSED, main

MOST_SHOWN = 20


@main.command(short_help="Rescue a damaged database into a new one.")
@click.option("--to", "new", metavar="NEW", required=True, help="The new database: a path, or a URL. It is made.")
@click.option(
    "--markers/--no-markers",
    default=True,
    help="Begin each lost stretch with a stop marker (the default), or leave that out.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option_again
@click.pass_context
def repair(ctx: click.Context, new: str, markers: bool, as_json: bool) -> None:
    """Rescue what is known for sure of a damaged database into the new one NEW, and tell what is lost.

    The damaged one is only read, whatever state it is in; nobody may record into it meanwhile. What is rescued is as it
    was recorded, with all its times. Where observations are lost, a stop marker begins the stretch, so that what held
    before does not seem to hold on; with --no-markers it does, until the next observation: for a new database into
    which the lost stretches are recorded from a backup. Exit code 1 if anything is lost.

    \b
    Examples:
      peerstore repair --to rescued.db
      peerstore --db mesh.db repair --to mesh-rescued.db --json
    """
    made = peerstore.repair(database(), new, markers=markers)
    if as_json:
        print_document(made.to_dict())
    else:
        sentences = list(made.sentences())
        for sentence in sentences[:MOST_SHOWN]:
            sys.stdout.write(f"{safe(sentence)}\n")
        if len(sentences) > MOST_SHOWN:
            sys.stdout.write(f"... and {len(sentences) - MOST_SHOWN} more (--json tells all)\n")
        rescued = f"{plural(made.observations, 'observation')} of {safe(made.database)} in {safe(made.destination)}"
        gone = "" if made.ok else f", {made.lost_observations} lost"
        put = f", {plural(made.markers, 'stop marker')} put where stretches are lost" if made.markers else ""
        sys.stdout.write(f"{'all rescued' if made.ok else 'NOT ALL rescued'}: {rescued}{gone}{put}\n")
    if not made.ok:
        ctx.exit(REFUSED)
