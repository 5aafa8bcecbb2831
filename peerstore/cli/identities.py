"""``names``, ``new-peers`` and ``new-keys``: who is who."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import click

from peerstore.answers.fleet import Values
from peerstore.answers.identities import NameCollision, NewKey, SharedName
from peerstore.cli.mesh import natural, print_headline, print_moment, show_peers, warn_of_unobserved
from peerstore.cli.options import (
    DURATION,
    at_option,
    find_observer,
    now,
    open_store,
    output_options,
    view_options,
    window_options,
)
from peerstore.cli.output import Format, safe
from peerstore.cli.peers import PEERS
from peerstore.cli.people import (
    IF_TOLD,
    Column,
    Listing,
    Names,
    plural,
    print_listing,
    print_table,
    show_text,
    show_time,
)
from peerstore.cli.program import main
from peerstore.times import format_duration


@main.command(short_help="List the device names of a moment, or those shared.")
@at_option
@click.option("--shared", is_flag=True, help="Only names that several peers bear at one time.")
@window_options
@output_options
@view_options
def names(
    *,
    moment: datetime | None,
    shared: bool,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List the device names of the peers that were present at a moment (--at; now), each with the keys that bore it.

    With --shared, only names borne by several; with --since or --until, the stretches in which they were shared.

    \b
    Examples:
      peerstore names --at 2026-07-08T15:00:00Z
      peerstore names --shared --at 2026-07-08T15:00:00Z --json
      peerstore names --shared --since 2026-07-08T06:00:00Z
    """
    over = since is not None or until is not None
    if over and (moment is not None or not shared):
        raise click.UsageError("--since and --until list shared names over a window: with --shared, without --at")
    with open_store() as store:
        view = (find_observer(store, observer), known_at, max_silence)
        if over:
            if format is None:
                warn_of_unobserved(store, since, until, *view)
            print_listing(store.name_collisions(since, until, *view), COLLISIONS, format, store)
            return
        found = store.values_at(moment or now(), "/device_name", *view)
        _print_names(found, _named(found, shared), format, None if format else Names(store))


@main.command(name="new-peers", short_help="List the peers that were seen for the first time.")
@window_options
@output_options
@view_options
def new_peers(
    *,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List the peers that were seen for the first time from --since to --until (now), as they came.

    First seen is not first there: a peer may have been there while nobody was watching.

    \b
    Examples:
      peerstore new-peers --since 2026-07-08T08:00:00Z
      peerstore new-peers --since "1 day ago" --csv
    """
    with open_store() as store:
        view = (find_observer(store, observer), known_at, max_silence)
        if format is None:
            warn_of_unobserved(store, since, until, *view)
        print_listing(store.new_peers(since, until, *view), NEW_PEERS, format, store)


@main.command(name="new-keys", short_help="Guess which devices came back under a new key.")
@click.option(
    "--identity",
    "identity_path",
    metavar="POINTER",
    help="Both must also have had the same value at this JSON Pointer, as /peer_metadata/serial.",
)
@click.option("--within", type=DURATION, metavar="DURATION", help="Only where the gap between the two was no longer.")
@window_options
@output_options
@view_options
def new_keys(
    *,
    identity_path: str | None,
    within: timedelta | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Guess which devices came back under a new key, as after a reinstallation: two keys with the same device name and
    os, of which the one was gone before the other came. A guess is no fact, and nothing is merged.

    "strong": no other key with that name and os is in question, somebody was watching all the time between the two, and
    part of the metadata agrees as well (or what --identity names). Else "weak".

    \b
    Examples:
      peerstore new-keys
      peerstore new-keys --within 1h --since 2026-07-08T00:00:00Z
      peerstore new-keys --identity /peer_metadata/side --json
    """
    with open_store() as store:
        view = (find_observer(store, observer), known_at, max_silence)
        if format is None:
            warn_of_unobserved(store, since, until, *view)
        found = store.new_keys(identity_path, since, until, *view)
        near = (guess for guess in found if within is None or guess.gap <= within)
        first = next(near, None)
        print_listing(near if first is None else chain([first], near), NEW_KEYS, format, store)
    if format is None and first is not None:
        click.echo("These are guesses from the names and times alone; nothing is merged.", err=True)


def _named(found: Values, shared: bool) -> list[SharedName]:
    least = 2 if shared else 1
    rows = [(row.value, row.peers) for row in found.rows if isinstance(row.value, str) and row.value]
    return [SharedName(name, peers) for name, peers in sorted(rows) if len(peers) >= least]


def _print_names(found: Values, named: Sequence[SharedName], format: Format | None, names: Names | None) -> None:
    if names is None:
        document: dict[str, Any] = {**found.opening(), "names": [row.to_dict() for row in named]}
        print_moment(document, {"name": "names"}, format or "json", ("name", "peers"))
        return
    borne = sum(len(row.peers) for row in found.rows if row.value)
    shared = sum(len(row.peers) > 1 for row in named)
    told = f"{plural(found.peers, 'peer')}, {borne} with a name; {plural(shared, 'name')} shared"
    if print_headline(found, told, names) and named:
        print_table(sorted(named, key=lambda row: natural(row.name)), _name_columns(names))


def _name_columns(names: Names) -> list[Column[SharedName]]:
    return [
        Column("name", lambda row: safe(row.name), keep="both"),
        Column("peers", lambda row: str(len(row.peers)), keep="whole"),
        Column("keys", lambda row: ", ".join(map(names.key, row.peers)), readable=40),
    ]


def _collision_columns(names: Names) -> list[Column[NameCollision]]:
    return [
        Column("name", lambda row: safe(row.name), keep="both"),
        Column("start", lambda row: show_time(row.start), keep="whole"),
        Column("end", lambda row: show_time(row.end), keep="whole"),
        Column("lasted", _lasted, 1, keep="whole"),
        Column("ended by", lambda row: show_text(row.end_reason), 2, keep="whole"),
        Column("keys", lambda row: ", ".join(map(names.key, row.peers)), readable=32),
    ]


def _lasted(row: NameCollision) -> str:
    return "still holds" if row.end is None else format_duration(row.end - row.start)


def _new_key_columns(names: Names) -> list[Column[NewKey]]:
    return [
        Column("guess", lambda row: row.strength, keep="whole"),
        Column("name", lambda row: safe(row.device_name), keep="both"),
        Column("old key", lambda row: names.key(row.old_key), keep="whole"),
        Column("gone", lambda row: show_time(row.old_end), keep="whole"),
        Column("new key", lambda row: names.key(row.new_key), keep="whole"),
        Column("after", lambda row: format_duration(row.gap), keep="whole"),
        Column("unobserved", lambda row: format_duration(row.unobserved) if row.unobserved else "", IF_TOLD),
        Column("also in question", lambda row: show_peers(names, row.others), IF_TOLD, readable=16),
        Column("metadata", _agreement, 3, keep="whole"),
        Column("os", lambda row: safe(row.os), 4),
    ]


def _agreement(row: NewKey) -> str:
    differing = f", {len(row.differing)} not" if row.differing else ""
    return f"{len(row.shared)} equal{differing}" if row.shared or row.differing else ""


COLLISIONS: Listing[NameCollision] = Listing(
    ("name", "peers", "start", "end", "duration_seconds", "end_reason"), _collision_columns, "no name was shared"
)
NEW_PEERS = Listing(PEERS.fields, PEERS.columns, "no peer was seen for the first time")
NEW_KEYS: Listing[NewKey] = Listing(
    (
        *("old_key", "new_key", "strength", "device_name", "os", "old_end", "new_start", "gap_seconds"),
        *("unobserved_seconds", "shared", "differing", "identity", "others"),
    ),
    _new_key_columns,
    "no key seems to be another one's device",
)
