"""``forget``: a peer is erased."""

from __future__ import annotations

import click

from peerstore.answers.forgetting import Erased
from peerstore.cli.options import checked_name, database_option_again, open_store
from peerstore.cli.output import print_document, safe
from peerstore.cli.people import plural, print_facts
from peerstore.cli.program import main


@main.command(short_help="Erase a peer for good: its bytes, and whatever comes of it later.")
@click.argument("peer")
@click.option("--dry-run", is_flag=True, help="Tell what would be erased, and write nothing.")
@click.option("--yes", is_flag=True, help="Erase it: there is no way back.")
@click.option("--no-vacuum", is_flag=True, help="Leave the files as they are: freed room may still hold its bytes.")
@click.option("--in-advance", is_flag=True, help="Forget a key that was never recorded, before it comes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option_again
def forget(peer: str, dry_run: bool, yes: bool, no_vacuum: bool, in_advance: bool, as_json: bool) -> None:
    """Erase a peer for good: its bytes leave the database, and what comes of it later is not recorded.

    What it observed is removed; in what others observed, the peer and its connections are. What was kept aside and
    speaks of it is dropped. Where others' metadata holds its key, that stays, and is counted. If it is interrupted,
    run it again with the same key.

    \b
    Examples:
      peerstore forget sim-till-9 --dry-run
      peerstore forget sim-till-9 --yes
      peerstore forget sim-till-9 --yes --json
    """
    with open_store() as store:
        if not (dry_run or yes):
            found = store.forget(checked_name(peer), dry_run=True, in_advance=in_advance)
            raise click.UsageError(f"{_sentence(found)} for good: confirm with --yes, or see --dry-run")
        report = store.forget(checked_name(peer), dry_run=dry_run, vacuum=not no_vacuum, in_advance=in_advance)
    if as_json:
        print_document(report.to_dict())
        return
    print_facts(_facts(report))
    if report.mentions:
        click.echo(f"{plural(report.mentions, 'document')} of other peers still hold its key", err=True)
    for each in report.out_of_reach:
        click.echo(f"out of reach: {safe(each)}", err=True)


def _sentence(report: Erased) -> str:
    return (
        f"forget would remove {plural(report.observations, 'observation')}, {plural(report.changes, 'change')} and"
        f" {plural(report.rejects, 'reject')} of {safe(report.peer_key)}"
    )


def _facts(report: Erased) -> list[tuple[str, str]]:
    would = "would be " if report.dry_run else ""
    return [
        ("peer", safe(report.peer_key)),
        (f"observations {would}removed", str(report.observations)),
        (f"observations of others {would}altered", str(report.altered)),
        (f"changes {would}removed", str(report.changes)),
        (f"peers and connections {would}emptied", str(report.elements)),
        (f"documents {would}emptied", str(report.documents)),
        (f"rejects {would}dropped", str(report.rejects)),
        ("mentions by others left", str(report.mentions)),
        ("bytes before", str(report.bytes_before)),
        ("bytes after", str(report.bytes_after)),
    ]
