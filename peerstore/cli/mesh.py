"""What commands about one moment of the mesh share: how an answer is printed, and how peers and paths are shown."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from peerstore.answers.moments import OfMoment
from peerstore.cli.moments import unwatched, warn_of_old_states
from peerstore.cli.output import Format, Row, print_document, print_rows
from peerstore.cli.people import Names, plural, show_time
from peerstore.times import format_duration

if TYPE_CHECKING:
    from peerstore.store import PeerStore

OBSERVER_FIELDS = ("observer", "observed_at", "age_seconds", "watching")
_NUMBERS = re.compile(r"([0-9]{1,18})")
KINDS = {"observer": "observers"}


def print_moment(document: Mapping[str, Any], kinds: Mapping[str, str], format: Format, fields: Sequence[str]) -> None:
    """An answer about a moment for programs: its JSON, or a row for each observer and for each thing of the ``kinds``,
    which map what a row is called to the member of the JSON that holds such rows."""
    if format == "json":
        print_document(document)
    else:
        print_rows(_rows(document, {**KINDS, **kinds}), format, ("kind", *fields, *OBSERVER_FIELDS))


def _rows(document: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[Row]:
    for kind, member in kinds.items():
        for values in document[member]:
            yield Row({"kind": kind, **values})


def print_headline(answer: OfMoment, told: str, names: Names) -> bool:
    """The first line for people: what is told of the moment, or that nobody was watching; whether anybody was."""
    if not answer.watched:
        sys.stdout.write(unwatched(answer.at, answer.observers, names) + "\n")
        return False
    watching = sum(state.watching for state in answer.observers)
    count = plural(len(answer.observers), "observer")
    sys.stdout.write(f"{show_time(answer.at)}: {told}; {watching} of {count} watching\n")
    warn_of_old_states(answer.observers, names)
    return True


def warn_of_unobserved(
    store: PeerStore,
    since: datetime | None,
    until: datetime | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Tell people for how long of a window nobody was watching, where a list of what happened cannot show it."""
    gaps = store.coverage_gaps(
        of="nobody", observer=observer, since=since, until=until, known_at=known_at, max_silence=max_silence
    )
    total = sum((gap.duration for gap in gaps if gap.duration is not None), timedelta(0))
    if total:
        click.echo(
            f"Warning: nobody was watching for {format_duration(total)} of this window; what happened then is unknown",
            err=True,
        )


def show_peers(names: Names, keys: Iterable[str]) -> str:
    """Peers in a row, by their names in their order."""
    return ", ".join(sorted(map(names.name, keys), key=natural))


def show_path(names: Names, keys: Iterable[str]) -> str:
    """A path, from end to end."""
    return " - ".join(map(names.name, keys))


def by_hops(names: Names, key: str, hops: int | None) -> tuple[bool, int, list[tuple[int, str]]]:
    """What peers are sorted by that are some hops away: the nearest first, those out of reach last."""
    return hops is None, hops or 0, natural(names.name(key))


def natural(name: str) -> list[tuple[int, str]]:
    """Names in the order of their words and numbers: till-2 before till-10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _NUMBERS.split(name)]
