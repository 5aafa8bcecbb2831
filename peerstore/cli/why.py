"""``why`` and ``evidence``: what bears on how a peer was at a moment, and what a fact rests on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import click

from peerstore.answers.changes import Change
from peerstore.answers.sessions import Session
from peerstore.answers.why import Evidence, NearestChanges, Testimony, Why, Witness
from peerstore.cli.history import CHANGES
from peerstore.cli.moments import connection_columns
from peerstore.cli.options import (
    DURATION,
    MOMENT,
    TimeCommand,
    find_observer,
    find_peer,
    named_peer,
    open_store,
    output_options,
    path_option,
    view_options,
)
from peerstore.cli.output import Format, Row, print_document, print_rows, safe
from peerstore.cli.people import (
    IF_TOLD,
    Column,
    Names,
    plural,
    print_facts,
    print_table,
    print_title,
    show_edit,
    show_text,
    show_time,
    show_truth,
    show_value,
)
from peerstore.cli.program import main
from peerstore.times import format_duration

SHOWN_CHANGES = 20
_WITNESS = ("observer", "watching", "sees", "observed_at", "age_seconds", "since", "not_watching", "watched_until")
WHY_FIELDS = (
    *("kind", *_WITNESS, "is_compatible", "island", "id", "peer1", "peer2", "type", "listed_by", "start", "end"),
    *("state", "change", "peer_key", "path", "before", "after", "reason", "finding"),
)
EVIDENCE_FIELDS = (
    *("observer", "watching", "observed_at", "sequence", "recorded_at", "max_silence_seconds", "watched_until"),
    *("holds", "since", "since_sequence", "value", "connections", "supports", "taken"),
)
_BECAUSE = {
    "own_report": "the peer's own report",
    "only_one": "the only observer that saw it",
    "agreed": "all that saw it said the same",
    "newest_version": "the newest version",
    "listed": "one that lists it is enough",
}


@main.command(cls=TimeCommand, short_help="Show all that bears on how PEER was at TIME.")
@click.argument("peer")
@click.argument("time", type=MOMENT)
@click.option(
    "--within",
    type=DURATION,
    metavar="DURATION",
    default="60s",
    show_default=True,
    help="How far around TIME to look for what changed.",
)
@output_options
@view_options
def why(
    *,
    peer: str,
    time: datetime,
    within: timedelta,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Show all that bears on how PEER was at TIME: "why did it not sync at 14:03?".

    Who saw it and who did not, its links, its way to the cloud, its SDK, what changed last before and next after, and
    what of that can be said in plain words. Nothing is guessed: what nobody observed is said to be unknown.

    \b
    Examples:
      peerstore why sim-till-5 2026-07-08T14:03:30Z
      peerstore why sim-till-9 2026-07-08T15:55:00Z --json
      peerstore why sim-till-5 2026-07-08T10:20:15Z --within 10m
    """
    with open_store() as store:
        key = named_peer(store, peer)
        watcher = find_observer(store, observer)
        found = store.why(key, time, within, observer=watcher, known_at=known_at, max_silence=max_silence)
        names = None if format else Names(store)
    if format == "json":
        print_document(found.to_dict())
    elif format:
        print_rows(_why_rows(found), format, WHY_FIELDS)
    elif names:
        _print_why(found, names)


@main.command(cls=TimeCommand, short_help="Show which observations a fact rests on.")
@click.argument("time", type=MOMENT)
@click.argument("peer")
@click.argument("other", required=False)
@path_option
@output_options
@view_options
def evidence(
    *,
    time: datetime,
    peer: str,
    other: str | None,
    path: str | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Show which observations it rests on that PEER was present at TIME or not; with --path, that this attribute of it
    was so; with OTHER, that the two were connected. And whose word was taken, where observers disagreed.

    \b
    Examples:
      peerstore evidence 2026-07-08T12:20:20Z sim-till-7
      peerstore evidence 2026-07-08T12:20:20Z sim-till-6 --path /peer_metadata/role
      peerstore evidence 2026-07-08T12:01:00Z sim-till-1 sim-till-2 --json
    """
    with open_store() as store:
        key, far, watcher = named_peer(store, peer), find_peer(store, other), find_observer(store, observer)
        found = store.evidence(
            time, key, other=far, path=path, observer=watcher, known_at=known_at, max_silence=max_silence
        )
        names = None if format else Names(store)
    if format == "json":
        print_document(found.to_dict())
    elif format:
        print_rows(found.testimonies, format, EVIDENCE_FIELDS)
    elif names:
        _print_evidence(found, names)


def _why_rows(found: Why) -> Iterator[Row]:
    for witness in found.witnesses:
        yield Row({"kind": "witness", **witness.to_dict()})
    for link in found.connections:
        yield Row({"kind": "connection", **link.to_dict()})
    for stretch in found.stretches:
        yield Row({"kind": "stretch", **stretch.to_dict()})
    for change in found.changes:
        values = change.to_dict()
        yield Row({**values, "kind": "change", "change": values["kind"]})
    for finding in found.findings:
        yield Row({"kind": "finding", "finding": finding.text()})


def _print_why(found: Why, names: Names) -> None:
    answer, *others = (finding.text(names.name) for finding in found.findings)
    sys.stdout.write(f"{safe(answer)}\n\n")
    print_facts((name, value) for name, value in _facts(found, names) if value)
    print_title("Observers")
    print_table(found.witnesses, _witness_columns(names))
    if found.connections:
        print_title("Connections")
        print_table(found.connections, connection_columns(names))
    if found.changes:
        more = f", the first {SHOWN_CHANGES} of {len(found.changes)}" if len(found.changes) > SHOWN_CHANGES else ""
        print_title(f"Changes within {format_duration(found.within)}{more}")
        print_table(found.changes[:SHOWN_CHANGES], CHANGES.columns(names))
    if others:
        print_title("Findings")
        sys.stdout.writelines(f"- {safe(text)}\n" for text in others)


def _facts(found: Why, names: Names) -> Iterator[tuple[str, str]]:
    peer, cloud = found.peer, found.cloud
    yield "peer", f"{names.name(found.peer_key)} ({names.key(found.peer_key)})"
    if found.state == "unobserved" and found.facts_at is not None:
        yield "as last known", show_time(found.facts_at)
    if peer is not None:
        yield "sdk", show_text(peer.sdk_version)
        yield "compatible", show_truth(peer.is_compatible)
    if cloud is not None:
        yield "own cloud link", show_truth(cloud.own)
        yield "way to the cloud", " - ".join(map(names.name, cloud.path)) or "none"
        yield "island", plural(cloud.island, "peer")
    yield "session", _session(found.session)
    yield "session before", _session(found.previous)
    yield "session after", _session(found.following)
    yield "last change", _nearest(found.before, "before", names)
    yield "next change", _nearest(found.after, "after", names)
    if len(found.stretches) > 1:
        parts = [f"{stretch.state} from {show_time(stretch.start)}" for stretch in found.stretches]
        yield f"within {format_duration(found.within)}", ", ".join(parts)


def _session(session: Session | None) -> str:
    if session is None:
        return ""
    if session.end is None:
        return f"since {show_time(session.start)}, still holds"
    lasted = format_duration(session.end - session.start)
    return f"{show_time(session.start)} to {show_time(session.end)} ({lasted}, {session.end_reason})"


def _nearest(nearest: NearestChanges | None, word: str, names: Names) -> str:
    if nearest is None:
        return "none"
    first, *others = nearest.changes
    more = f" and {len(others)} more" if others else ""
    distance = format_duration(nearest.distance)
    return f"{show_time(nearest.observed_at)}, {distance} {word}: {_in_words(first, names)}{more}"


def _in_words(change: Change, names: Names) -> str:
    if change.connection is not None:
        return f"{change.kind} {show_text(change.connection.type)} {names.connection(change.connection)}"
    return show_edit(change.path, change.before, change.after) if change.kind == "changed" else change.kind


def _witness_columns(names: Names) -> list[Column[Witness]]:
    def doing(witness: Witness) -> str:
        if witness.not_watching == "not_yet":
            return "had not spoken yet"
        if witness.not_watching is not None:
            return f"not since {show_time(witness.watched_until)} ({witness.not_watching})"
        return "in another island" if witness.island == "other" else ""

    return [
        Column("observer", lambda witness: names.name(witness.observer), keep="both"),
        Column("watching", lambda witness: show_truth(witness.watching)),
        Column("sees it", lambda witness: show_truth(witness.sees)),
        Column("observed", _age),
        Column("version since", lambda witness: show_time(witness.since), 1, keep="whole"),
        Column("compatible", lambda witness: show_truth(witness.is_compatible), 2),
        Column("remarks", doing, IF_TOLD),
    ]


def _age(witness: Witness) -> str:
    return "" if witness.age is None else f"{format_duration(witness.age)} before"


def _print_evidence(found: Evidence, names: Names) -> None:
    sys.stdout.write(f"{_fact(found, names)}\n")
    last = found.last_known
    if last is not None:
        sys.stdout.write(f"Last known: {_fact(last, names)}\n")
    sys.stdout.write("\n")
    print_table((last or found).testimonies, _testimony_columns(names, found))


def _fact(found: Evidence, names: Names) -> str:
    at, key = show_time(found.at), names.name(found.peer_key)
    subject = key if found.other is None else f"a connection between {key} and {names.name(found.other)}"
    if found.state == "unobserved":
        return f"nobody was watching at {at}: whether {subject} was present is unknown"
    taken = [names.name(each.observer) for each in found.testimonies if each.taken]
    word = f"; taken from {', '.join(taken)}: {_BECAUSE[found.because]}" if found.because else ""
    if found.path is None or found.state == "absent":
        return f"{subject} was {found.state} at {at}{word}"
    return f"{show_text(found.path)} of {key} was {show_value(found.value)} at {at}{word}"


def _testimony_columns(names: Names, found: Evidence) -> list[Column[Testimony]]:
    def says(said: Testimony) -> str:
        if not said.watching:
            return "not watching"
        if not said.holds:
            return "absent"
        if found.other is not None:
            return ", ".join(show_text(each.connection.type) for each in said.connections)
        return "present" if found.path is None else show_value(said.value)

    return [
        Column("observer", lambda said: names.name(said.observer), keep="both"),
        Column("says", says, keep="both"),
        Column("supports", lambda said: show_truth(said.supports)),
        Column("taken", lambda said: "yes" if said.taken else "", IF_TOLD),
        Column("observed at", lambda said: show_time(said.observed_at), keep="whole"),
        Column("sequence", lambda said: str(said.sequence or ""), IF_TOLD),
        Column("says so since", lambda said: show_time(said.since), 1, keep="whole"),
        Column("recorded at", lambda said: show_time(said.recorded_at), 2, keep="whole"),
        Column("limit", lambda said: "" if said.max_silence is None else format_duration(said.max_silence), 3),
        Column("watched until", lambda said: show_time(said.watched_until), IF_TOLD, keep="whole"),
    ]
