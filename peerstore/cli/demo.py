"""``demo``: a simulated day to ask about."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from peerstore.cli.options import database, database_option_again, open_store
from peerstore.cli.output import safe
from peerstore.cli.program import main
from peerstore.cli.record import print_summary
from peerstore.errors import QuestionError
from peerstore.times import iso

if TYPE_CHECKING:
    from peerstore.store import PeerStore

DEMO_DATABASE = "demo.db"


@main.command(short_help="Make a database of a simulated day, and ask about it.")
@click.option("--seed", type=int, default=2026, show_default=True, help="Another seed makes another day.")
@database_option_again
def demo(seed: int) -> None:
    """Make a database of a simulated day (demo.db, unless --db names another), and walk through what can be asked.

    No real device took part: every device name begins with "sim-".

    \b
    Examples:
      peerstore demo
      peerstore demo --db my-demo.db
    """
    from peerstore.demo import questions

    where = database(DEMO_DATABASE)
    with open_store(create=True, default=DEMO_DATABASE) as store:
        _refuse_other_contents(store, seed)
        sys.stdout.write("All of this is SIMULATED: a made-up day of a made-up restaurant; no real device took part.\n")
        before_upload = _record_day(store, seed)
    walk = questions(before_upload)
    for number, (sentence, commands) in enumerate(walk, start=1):
        sys.stdout.write(f"\n{number}. {sentence}\n")
        for command in commands:
            _show(where, command)


def _refuse_other_contents(store: PeerStore, seed: int) -> None:
    """A database with anything else in it must not get simulated devices."""
    from peerstore.demo import DEVICES, OBSERVERS

    simulated = {DEVICES[observer.device].key(observer.device, seed) for observer in OBSERVERS}
    if not {summary.observer for summary in store.observer_summaries()} <= simulated:
        raise QuestionError("the database already holds other observations: name a new one with --db")


def _record_day(store: PeerStore, seed: int) -> str:
    """Record what was uploaded live, then what came late; gives the moment between the two on the store's clock."""
    from peerstore.demo import DEVICES, OBSERVERS, late_observations, live_observations

    print_summary(store.record_many(live_observations(seed)), as_json=False)
    late = {DEVICES[observer.device].key(observer.device, seed) for observer in OBSERVERS if observer.uploads_late}
    live = [summary for summary in store.observer_summaries() if summary.observer not in late]
    print_summary(store.record_many(late_observations(seed)), as_json=False)
    return iso(max(summary.last_recorded_at for summary in live))


def _show(where: str, command: list[str]) -> None:
    """The command to repeat, and its output."""
    from peerstore.database_url import database_url, redacted

    shown = redacted(database_url(where)) if "://" in where else where
    sys.stdout.write(f"\n$ {safe(shlex.join(['peerstore', '--db', shown, *command]))}\n")
    sys.stdout.flush()
    main.main(["--db", where, *command], prog_name="peerstore", standalone_mode=False)
