"""``peers``, ``peer`` and ``observers``: who has ever been heard of, and by whom."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import click

from peerstore.answers.inventory import KnownPeer, ObserverSummary
from peerstore.answers.sessions import ConnectionSession, Session
from peerstore.cli.history import CONNECTION_SESSIONS, SESSIONS
from peerstore.cli.moments import PEER_FIELDS
from peerstore.cli.options import (
    at_option,
    database_option_again,
    find_observer,
    known_at_option,
    named_peer,
    open_store,
    output_options,
    view_options,
)
from peerstore.cli.output import Format, print_document, print_rows, safe
from peerstore.cli.people import (
    Column,
    Listing,
    Names,
    print_facts,
    print_listing,
    print_table,
    print_title,
    show_text,
    show_time,
    show_truth,
    show_value,
)
from peerstore.cli.program import main
from peerstore.errors import UnknownPeer

SHOWN_SESSIONS = 10
UNKNOWN = "unknown"


@main.command(short_help="List every peer ever heard of.")
@at_option
@output_options
@view_options
def peers(
    *,
    moment: datetime | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
    format: Format | None,
) -> None:
    """List every peer ever heard of, with its last known attributes.

    With --at, as of that moment.

    \b
    Examples:
      peerstore peers
      peerstore peers --at "2 days ago"
      peerstore peers --csv
    """
    with open_store() as store:
        found = store.known_peers(
            at=moment, observer=find_observer(store, observer), known_at=known_at, max_silence=max_silence
        )
        print_listing(found, PEERS, format, store)


@main.command(short_help="Show all that is known of one peer.")
@click.argument("key")
@output_options
@view_options
def peer(
    *,
    key: str,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
    format: Format | None,
) -> None:
    """Show all that is known of one peer: its attributes, its sessions, its connections.

    KEY may also be a unique beginning of the key, or a device name that no other peer has. With --ndjson and --csv,
    the peer alone is given.

    \b
    Examples:
      peerstore peer sim-till-6
      peerstore peer sim-till-6 --json
    """
    with open_store() as store:
        full_key, watcher = named_peer(store, key), find_observer(store, observer)
        found_peers = store.known_peers(observer=watcher, known_at=known_at, max_silence=max_silence, peer=full_key)
        known = next(found_peers, None)
        if known is None:
            raise UnknownPeer(f"{key} is not known to that observer, or was not by that time")
        if format in ("ndjson", "csv"):
            print_rows([known], format, PEERS.fields)
            return
        found = list(store.sessions(peer=full_key, observer=watcher, known_at=known_at, max_silence=max_silence))
        links = list(
            store.connection_sessions(peer=full_key, observer=watcher, known_at=known_at, max_silence=max_silence)
        )
        if format == "json":
            parts = {"sessions": _dicts(found), "connection_sessions": _dicts(links)}
            print_document({**known.to_dict(), **parts})
        else:
            _print_peer(known, found, links, Names(store))


@main.command(short_help="List who has recorded what it saw, and who is watching now.")
@known_at_option
@database_option_again
@output_options
def observers(known_at: datetime | None, format: Format | None) -> None:
    """List who has recorded what it saw: since when, until when, and whether it is watching now.

    \b
    Examples:
      peerstore observers
      peerstore observers --json
    """
    with open_store() as store:
        print_listing(store.observer_summaries(known_at=known_at), OBSERVERS, format, store)


def _print_peer(known: KnownPeer, found: list[Session], links: list[ConnectionSession], names: Names) -> None:
    shown = known.peer
    print_facts(
        [
            ("peer key", safe(shown.peer_key)),
            ("device name", show_text(shown.device_name)),
            ("os", show_text(shown.os) or UNKNOWN),
            ("SDK version", show_text(shown.sdk_version) or UNKNOWN),
            ("cloud link", show_truth(shown.is_connected_to_cloud) or UNKNOWN),
            ("compatible", show_truth(shown.is_compatible) or UNKNOWN),
            ("first seen", show_time(known.first_seen)),
            ("last seen", show_time(known.last_seen)),
            ("present now", show_truth(known.present)),
            *_members("metadata", shown.peer_metadata),
            *_members("identity service", shown.identity_service_metadata),
            *_members("other fields", shown.extra),
        ]
    )
    _print_last("sessions", found, SESSIONS, names)
    _print_last("connections", links, CONNECTION_SESSIONS, names)


def _members(title: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"{title}: {safe(name)}", show_value(value)) for name, value in values.items()]


def _print_last(title: str, items: list[Any], listing: Listing[Any], names: Names) -> None:
    if items:
        which = f"the last {SHOWN_SESSIONS} of " if len(items) > SHOWN_SESSIONS else ""
        print_title(f"{title}: {which}{len(items)}")
        print_table(items[-SHOWN_SESSIONS:], listing.columns(names))
    else:
        sys.stdout.write(f"\nno {title}\n")


def _dicts(items: list[Session] | list[ConnectionSession]) -> list[dict[str, Any]]:
    return [item.to_dict() for item in items]


def _known_peer_columns(names: Names) -> list[Column[KnownPeer]]:
    return [
        Column("peer", lambda known: names.key(known.peer.peer_key), keep="whole"),
        Column("name", lambda known: show_text(known.peer.device_name), keep="both"),
        Column("first seen", lambda known: show_time(known.first_seen), 1, keep="whole"),
        Column("last seen", lambda known: show_time(known.last_seen), keep="whole"),
        Column("present", lambda known: show_truth(known.present)),
        Column("os", lambda known: show_text(known.peer.os), 3),
        Column("sdk", lambda known: show_text(known.peer.sdk_version), 2),
    ]


def _observer_columns(names: Names) -> list[Column[ObserverSummary]]:
    return [
        Column("observer", lambda summary: names.key(summary.observer), keep="whole"),
        Column("name", lambda summary: names.name(summary.observer), keep="both", readable=20),
        Column("first observation", lambda summary: show_time(summary.first_observed_at), 1, keep="whole"),
        Column("last observation", lambda summary: show_time(summary.last_observed_at), keep="whole"),
        Column("last recorded", lambda summary: show_time(summary.last_recorded_at), 2, keep="whole"),
        Column("observations", lambda summary: str(summary.observations)),
        Column("watching", lambda summary: show_truth(summary.watching)),
    ]


PEERS = Listing(
    (*PEER_FIELDS, "seen_by", "first_seen", "last_seen", "present"), _known_peer_columns, "no peer was ever seen"
)
OBSERVERS = Listing(
    (
        *("observer", "first_observed_at", "last_observed_at", "last_recorded_at"),
        *("observations", "watching"),
    ),
    _observer_columns,
    "nobody has recorded anything",
)
