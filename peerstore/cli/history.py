"""``changes``, ``metadata``, ``sessions`` and ``connections``: what happened over time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import get_args

import click

from peerstore.answers.changes import AttributeChange, Change, ChangeKind
from peerstore.answers.sessions import ConnectionSession, Session
from peerstore.cli.moments import CONNECTION_FIELDS, connection_columns, unwatched, warn_of_old_states
from peerstore.cli.options import (
    at_option,
    find_observer,
    find_peer,
    grace_option,
    open_store,
    output_options,
    peer_argument,
    view_options,
    window_options,
)
from peerstore.cli.output import Format
from peerstore.cli.people import (
    IF_TOLD,
    Column,
    Listing,
    Names,
    print_listing,
    show_edit,
    show_text,
    show_time,
    show_value,
)
from peerstore.cli.program import main
from peerstore.model import Connection
from peerstore.times import format_duration

OF_OBSERVERS = ("observer_started", "observer_stopped")
ROOM_FOR_A_KIND, ROOM_FOR_A_REMARK = len("disconnected"), len("across absence")
_SPAN = ("start", "end", "duration_seconds", "end_reason", "gaps", "observer")


@main.command(short_help="List everything that changed, in the order of time.")
@peer_argument
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(get_args(ChangeKind)),
    help="Only changes of this kind; may be given more than once.",
)
@window_options
@output_options
@view_options
def changes(
    *,
    peer: str | None,
    kinds: tuple[ChangeKind, ...],
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List everything that changed, in the order of time: peers, connections, attributes, observers.

    \b
    Examples:
      peerstore changes --since "1 hour ago"
      peerstore changes --since 2026-07-08T14:03:00Z --until 2026-07-08T14:05:00Z
      peerstore changes --peer sim-till-6 --kind changed --ndjson
      peerstore changes --kind observer_stopped --csv
    """
    with open_store() as store:
        found = store.changes(
            since=since,
            until=until,
            peer=find_peer(store, peer),
            observer=find_observer(store, observer),
            kinds=kinds or None,
            known_at=known_at,
            max_silence=max_silence,
        )
        print_listing(found, CHANGES, format, store)


@main.command(short_help="List how the attributes of peers changed.")
@peer_argument
@window_options
@output_options
@view_options
def metadata(
    *,
    peer: str | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List how the attributes of PEER (or of every peer) changed: metadata, name, SDK version, cloud link.

    \b
    Examples:
      peerstore metadata
      peerstore metadata sim-till-6 --since 2026-07-08T14:00:00Z
      peerstore metadata sim-till-6 --json
    """
    with open_store() as store:
        found = store.metadata_changes(
            peer=find_peer(store, peer),
            since=since,
            until=until,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
        )
        print_listing(found, ATTRIBUTE_CHANGES, format, store)


@main.command(short_help="List when peers were present without a break.")
@peer_argument
@grace_option
@click.option("--connections", is_flag=True, help="The sessions of connections instead of those of peers.")
@window_options
@output_options
@view_options
def sessions(
    *,
    peer: str | None,
    grace: timedelta,
    connections: bool,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when PEER (or every peer) was present without a break.

    \b
    Examples:
      peerstore sessions
      peerstore sessions sim-till-5 --grace 60s
      peerstore sessions sim-till-5 --connections --since 2026-07-08T10:00:00Z --until 2026-07-08T11:00:00Z
      peerstore sessions --ndjson
    """
    with open_store() as store:
        key, watcher = find_peer(store, peer), find_observer(store, observer)
        if connections:
            links = store.connection_sessions(
                peer=key,
                since=since,
                until=until,
                observer=watcher,
                grace=grace,
                known_at=known_at,
                max_silence=max_silence,
            )
            print_listing(links, CONNECTION_SESSIONS, format, store)
        else:
            found = store.sessions(
                peer=key,
                since=since,
                until=until,
                observer=watcher,
                grace=grace,
                known_at=known_at,
                max_silence=max_silence,
            )
            print_listing(found, SESSIONS, format, store)


@main.command(short_help="List when connections held, or those of one moment.")
@peer_argument
@click.argument("other", required=False)
@at_option
@grace_option
@window_options
@output_options
@view_options
def connections(
    *,
    peer: str | None,
    other: str | None,
    moment: datetime | None,
    grace: timedelta,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when connections held: all, those of PEER, or those between PEER and OTHER.

    With --at, list the connections that were present at that moment.

    \b
    Examples:
      peerstore connections
      peerstore connections sim-till-4 --since 2026-07-08T08:00:00Z --until 2026-07-08T10:00:00Z
      peerstore connections sim-till-1 sim-till-2 --grace 60s
      peerstore connections --at 2026-07-08T14:03:30Z
    """
    if moment is not None and (since is not None or until is not None or grace):
        raise click.UsageError("give either --at for one moment, or --since, --until and --grace for a window")
    with open_store() as store:
        key, far = find_peer(store, peer), find_peer(store, other)
        watcher = find_observer(store, observer)
        if moment is None:
            found = store.connection_sessions(
                peer=key,
                other=far,
                since=since,
                until=until,
                observer=watcher,
                grace=grace,
                known_at=known_at,
                max_silence=max_silence,
            )
            print_listing(found, CONNECTION_SESSIONS, format, store)
            return
        presence = store.presence_at(moment, observer=watcher, known_at=known_at, max_silence=max_silence)
        if format is None:
            names = Names(store)
            warn_of_old_states(presence.observers, names)
            if not any(state.watching for state in presence.observers):
                click.echo(unwatched(moment, presence.observers, names), err=True)
        ends = {end for end in (key, far) if end is not None}
        links = (link for link in presence.connections if ends <= {link.peer1, link.peer2})
        print_listing(links, PRESENT_CONNECTIONS, format, store)


def _change_columns(names: Names) -> list[Column[Change]]:
    def subject(change: Change) -> str:
        if change.connection:
            return names.connection(change.connection)
        return names.name(change.observer if change.kind in OF_OBSERVERS else change.peer_key)

    def what(change: Change) -> str:
        if change.kind == "changed":
            return show_edit(change.path, change.before, change.after)
        return show_text(change.connection.type) if change.connection else show_text(change.reason)

    return [
        Column("time", lambda change: show_time(change.observed_at), keep="whole"),
        Column("change", lambda change: change.kind.replace("_", " "), keep="both", least=ROOM_FOR_A_KIND),
        Column("of", subject, keep="both", readable=24),
        Column("what", what, keep="both", readable=32),
        Column("remarks", _remarks, IF_TOLD, least=ROOM_FOR_A_REMARK),
        Column("observer", lambda change: names.name(change.observer), 1, keep="both"),
    ]


def _attribute_columns(names: Names) -> list[Column[AttributeChange]]:
    return [
        Column("time", lambda change: show_time(change.observed_at), keep="whole"),
        Column("peer", lambda change: names.name(change.peer_key), keep="both"),
        Column("path", lambda change: show_text(change.path), keep="end"),
        Column("before", lambda change: show_value(change.before)),
        Column("after", lambda change: show_value(change.after)),
        Column("remarks", _remarks, IF_TOLD, least=ROOM_FOR_A_REMARK),
    ]


def _session_columns(names: Names) -> list[Column[Session]]:
    return [
        Column("peer", lambda session: names.name(session.peer_key), keep="both"),
        Column("start", lambda session: show_time(session.start), keep="whole"),
        Column("end", lambda session: show_time(session.end), keep="whole"),
        Column("lasted", _lasted, 1, keep="whole"),
        Column("ended by", lambda session: show_text(session.end_reason), keep="whole"),
        Column("gaps", lambda session: str(session.gaps or ""), 3),
        Column("observer", lambda session: names.name(session.observer), 2, keep="both"),
    ]


def _connection_session_columns(names: Names) -> list[Column[ConnectionSession]]:
    return [
        Column("peer", lambda session: names.name(session.connection.peer1), keep="both", least=6),
        Column("other", lambda session: names.name(session.connection.peer2), keep="both", least=6),
        Column("type", lambda session: show_text(session.connection.type), 1),
        Column("start", lambda session: show_time(session.start), keep="whole"),
        Column("end", lambda session: show_time(session.end), keep="whole"),
        Column("lasted", _lasted, 2, keep="whole"),
        Column("ended by", lambda session: show_text(session.end_reason), IF_TOLD, keep="whole"),
        Column("gaps", lambda session: str(session.gaps or ""), 3),
        Column("id", lambda session: show_text(session.connection.id), 4, keep="both", readable=24),
    ]


def _remarks(change: Change | AttributeChange) -> str:
    marks = {
        "learned": change.learned,
        "across absence": change.across_absence,
        "across gap": change.across_gap,
    }
    return ", ".join(mark for mark, holds in marks.items() if holds)


def _lasted(session: Session | ConnectionSession) -> str:
    return "still holds" if session.end is None else format_duration(session.end - session.start)


CHANGES = Listing(
    (
        *("observed_at", "kind", "peer_key", "peer1", "peer2", "type", "id", "path", "before", "after"),
        *("learned", "across_absence", "across_gap", "reason", "observer"),
    ),
    _change_columns,
    "nothing changed",
)
ATTRIBUTE_CHANGES = Listing(
    (
        *("observed_at", "peer_key", "path", "before", "after"),
        *("observer", "learned", "across_absence", "across_gap"),
    ),
    _attribute_columns,
    "no attribute changed",
)
SESSIONS: Listing[Session] = Listing(("peer_key", *_SPAN), _session_columns, "no sessions")
CONNECTION_SESSIONS: Listing[ConnectionSession] = Listing(
    ("id", "peer1", "peer2", "type", *_SPAN), _connection_session_columns, "no connections"
)
PRESENT_CONNECTIONS: Listing[Connection] = Listing(
    (*CONNECTION_FIELDS, "seen_by"), connection_columns, "no connections"
)
