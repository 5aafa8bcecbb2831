"""``values``, ``rollout``, ``incompatible``, ``expected`` and ``population``: the fleet as a whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import click

from peerstore.answers.fleet import (
    Bearers,
    Expectation,
    ExpectedPeer,
    Incompatibility,
    Laggard,
    Population,
    Reached,
    Rollout,
)
from peerstore.canonical import ABSENT, Json, dumps, loads
from peerstore.cli.mesh import print_headline, print_moment, show_peers, warn_of_unobserved
from peerstore.cli.options import (
    MOMENT,
    at_option,
    find_observer,
    find_peer,
    now,
    open_store,
    output_options,
    peer_argument,
    view_options,
    window_options,
)
from peerstore.cli.output import Format, print_document
from peerstore.cli.people import (
    IF_TOLD,
    Column,
    Listing,
    Names,
    plural,
    print_facts,
    print_listing,
    print_table,
    print_title,
    show_text,
    show_time,
    show_truth,
    show_value,
)
from peerstore.cli.program import REFUSED, main
from peerstore.errors import InputError
from peerstore.times import MICROSECOND, format_duration

_TEXTS = ("/device_name", "/os", "/sdk_version")
_MEMBERS = (
    "/device_name, /os, /sdk_version, /is_connected_to_cloud, /is_compatible, /peer_metadata, "
    "/identity_service_metadata and /extra"
)

path_argument = click.argument("path", metavar="[PATH]", default="/sdk_version")
value_option = click.option(
    "--value", metavar="JSON_OR_TEXT", help="Only this value: JSON, or else the text as it stands."
)


@main.command(short_help="Show the present peers by the value that each had.")
@path_argument
@click.option("--at", "moment", type=MOMENT, metavar="TIME", help="At this time [default: now].")
@value_option
@output_options
@view_options
def values(
    *,
    path: str,
    moment: datetime | None,
    value: str | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Show the peers that were present at a moment, by the value that each had at PATH: a JSON Pointer within the peer,
    such as /os or /peer_metadata/role [default: /sdk_version].

    \b
    Examples:
      peerstore values --at 2026-07-08T15:00:00Z
      peerstore values /peer_metadata/role --at 2026-07-08T16:30:00Z
      peerstore values /peer_metadata/role --value self-checkout --at 2026-07-08T16:30:00Z --json
    """
    with open_store() as store:
        found = store.values_at(
            moment or now(), path, find_observer(store, observer), known_at=known_at, max_silence=max_silence
        )
        everybody, untold = found.peers, all(row.value is ABSENT for row in found.rows)
        if value is not None:
            wanted = dumps(_value(path, value))
            found.rows = tuple(row for row in found.rows if row.value is not ABSENT and dumps(row.value) == wanted)
        names = None if format else Names(store)
    if names is None:
        print_moment(found.to_dict(), {"value": "values"}, format or "json", ("value", "count", "peers"))
        return
    told = f"{plural(everybody, 'peer')} by {show_text(path)}"
    if print_headline(found, told, names):
        print_table(found.rows, _bearer_columns(names)) if found.rows else click.echo("no peer had it", err=True)
        if untold and everybody:
            click.echo(f"no peer had anything there: the members of a peer are {_MEMBERS}", err=True)


@main.command(short_help="List when a value, as an SDK version, reached whom.")
@path_argument
@value_option
@click.option("--lacking", is_flag=True, help="The peers whose last known value is another one: as of --until, or now.")
@click.option("--summary", is_flag=True, help="Only how far the value had got: as of --until, or now.")
@window_options
@output_options
@view_options
def rollout(
    *,
    path: str,
    value: str | None,
    lacking: bool,
    summary: bool,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List when each peer was first known to have each value at PATH: a JSON Pointer within the peer, such as
    /peer_metadata/appVersion [default: /sdk_version].

    "not before" is told where a peer was away, or nobody was watching, meanwhile: somewhere from then on it took the
    value. With --value, tell also how far it had got, and since when all present peers have had it.

    \b
    Examples:
      peerstore rollout --value 5.1.0
      peerstore rollout --since 2026-07-08T15:00:00Z
      peerstore rollout --value 5.1.0 --lacking --until 2026-07-08T18:00:00Z
      peerstore rollout /peer_metadata/appVersion --value 3.2.0 --summary --json
    """
    if (lacking or summary) and (value is None or since is not None or lacking == summary):
        raise click.UsageError("--lacking and --summary, of which one is given, go with --value and without --since")
    wanted = ABSENT if value is None else _value(path, value)
    with open_store() as store:
        view = (find_observer(store, observer), known_at, max_silence)
        if lacking:
            print_listing(store.laggards(path, wanted, until, *view), LAGGARDS, format, store)
            return
        if not summary:
            if format is None:
                warn_of_unobserved(store, since, until, *view)
            print_listing(store.rollout(path, wanted, since, until, *view), REACHED, format, store)
        if summary or (format is None and value is not None):
            _print_rollout(store.rollout_at(path, wanted, until, *view), format, Names(store), after_table=not summary)


@main.command(short_help="List who held whom as incompatible, and when.")
@peer_argument
@at_option
@window_options
@output_options
@view_options
def incompatible(
    *,
    peer: str | None,
    moment: datetime | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List which observers held PEER (or any peer) as incompatible with their own SDK, and when.

    Compatibility is relative to the observer: each one's own view is asked.

    \b
    Examples:
      peerstore incompatible
      peerstore incompatible sim-till-1 --at 2026-07-08T15:00:00Z
      peerstore incompatible --since 2026-07-08T14:00:00Z --json
    """
    if moment is not None:
        if since is not None or until is not None:
            raise click.UsageError("give either --at for one moment, or --since and --until for a window")
        since, until = moment, moment + MICROSECOND
    with open_store() as store:
        key, watcher = find_peer(store, peer), find_observer(store, observer)
        if format is None:
            warn_of_unobserved(store, since, until, watcher, known_at, max_silence)
        found = store.incompatible(key, since, until, watcher, known_at, max_silence)
        print_listing(found, INCOMPATIBLE, format, store)


@main.command(short_help="Hold a list of expected peers against who was there.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--at", "moment", type=MOMENT, metavar="TIME", help="At this time [default: now].")
@output_options
@view_options
def expected(
    *,
    file: str,
    moment: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Hold the peers that FILE lists ("-": stdin) against who was present at a moment: who is missing, who is there
    unexpectedly.

    FILE holds a peer a line: a key, a unique beginning of one, or a device name; empty lines and lines that begin with
    # are passed over. Or a JSON array of texts. Ends with exit code 0 if all are known to have been there; else with 1,
    also where nobody was watching: then they are not missing, but unobserved.

    \b
    Examples:
      peerstore expected tills.txt --at 2026-07-08T14:02:00Z
      peerstore expected tills.txt --at 2026-07-08T14:02:00Z --json
      printf 'sim-hub\\nsim-till-1\\n' | peerstore expected - --at 2026-07-08T14:05:00Z
    """
    entries = _listed(file)
    with open_store() as store:
        found = store.expected(entries, moment or now(), find_observer(store, observer), known_at, max_silence)
        names = None if format else Names(store)
    if names is None:
        kinds = ["present", "missing", "unobserved", "ambiguous"]
        document = found.to_dict()
        if format != "json":
            document["unexpected"] = [{"peers": [key]} for key in found.unexpected]
            document["unknown"] = [{"entry": entry, "peers": []} for entry in found.unknown]
            kinds += ["unexpected", "unknown"]
        print_moment(document, {kind: kind for kind in kinds}, format or "json", ("entry", "peers", "last_seen"))
    else:
        _print_expectation(found, names)
    if not found.complete:
        raise click.exceptions.Exit(REFUSED)


@main.command(short_help="List how many peers were present, stretch by stretch.")
@click.option("--below", type=click.IntRange(min=1), metavar="N", help="Only where there were fewer than this.")
@window_options
@output_options
@view_options
def population(
    *,
    below: int | None,
    since: datetime | None,
    until: datetime | None,
    format: Format | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """List how many peers were present, stretch by stretch: from the first observation to the last one, or from --since
    to --until.

    \b
    Examples:
      peerstore population --since 2026-07-08T14:00:00Z --until 2026-07-08T14:30:00Z
      peerstore population --below 18 --since 2026-07-08T08:00:00Z --until 2026-07-08T20:00:00Z
      peerstore population --csv
    """
    with open_store() as store:
        view = (find_observer(store, observer), known_at, max_silence)
        if format is None and below is not None:
            warn_of_unobserved(store, since, until, *view)
        print_listing(store.population(since, until, below, *view), POPULATION, format, store)


def _value(path: str, text: str) -> Json:
    """The value that a person means: JSON, else text. A version such as 5 or 5.10 is a text where texts stand."""
    try:
        value = loads(text)
    except InputError:
        return text
    return value if path not in _TEXTS or value is None or isinstance(value, str) else text


def _listed(file: str) -> list[str]:
    """The entries of a list of expected peers."""
    name = "standard input" if file == "-" else file
    with click.open_file(file, "rb") as opened:
        content = opened.read()
    entries = _array(content, name) if content.lstrip()[:1] == b"[" else _lines(content, name)
    if not entries:
        raise InputError(f"{name} lists no peer")
    return entries


def _array(content: bytes, name: str) -> list[str]:
    try:
        entries = loads(content)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    for place, entry in enumerate(entries, start=1):
        if not isinstance(entry, str) or not entry:
            raise InputError(f"{name}, item {place}: {dumps(entry)[:60]} is no key or name of a peer")
    return [str(entry) for entry in entries]


def _lines(content: bytes, name: str) -> list[str]:
    entries = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            entry = line.decode().strip()
        except UnicodeDecodeError:
            raise InputError(f"{name}, line {number}: this is not UTF-8") from None
        if "\0" in entry:
            raise InputError(f"{name}, line {number}: this holds a NUL character, as no text does")
        if entry and not entry.startswith("#"):
            entries.append(entry)
    return entries


def _bearer_columns(names: Names) -> list[Column[Bearers]]:
    return [
        Column("value", lambda row: show_value(row.value), keep="both", readable=24),
        Column("peers", lambda row: str(len(row.peers)), keep="whole"),
        Column("who", lambda row: show_peers(names, row.peers), readable=40),
    ]


def _reached_columns(names: Names) -> list[Column[Reached]]:
    return [
        Column("time", lambda row: show_time(row.at), keep="whole"),
        Column("peer", lambda row: names.name(row.peer_key), keep="both"),
        Column("value", lambda row: show_value(row.value), keep="both"),
        Column("before", lambda row: "" if row.appeared else show_value(row.previous), 1, keep="both"),
        Column("not before", _not_before, 2, keep="whole"),
        Column("remarks", _remarks, IF_TOLD),
    ]


def _not_before(row: Reached) -> str:
    return "" if row.previous_until == row.at else show_time(row.previous_until)


def _remarks(row: Reached) -> str:
    if row.appeared:
        return "appeared"
    return "learned" if row.learned else ""


def _laggard_columns(names: Names) -> list[Column[Laggard]]:
    return [
        Column("peer", lambda row: names.name(row.peer_key), keep="both"),
        Column("last value", lambda row: show_value(row.value), keep="both"),
        Column("last seen", lambda row: show_time(row.last_seen), keep="whole"),
        Column("present", lambda row: show_truth(row.present)),
    ]


def _incompatible_columns(names: Names) -> list[Column[Incompatibility]]:
    return [
        Column("peer", lambda row: names.name(row.peer_key), keep="both"),
        Column("observer", lambda row: names.name(row.observer), keep="both"),
        Column("start", lambda row: show_time(row.start), keep="whole"),
        Column("end", lambda row: show_time(row.end), keep="whole"),
        Column("lasted", _lasted, 1, keep="whole"),
        Column("ended by", lambda row: show_text(row.end_reason), 2, keep="whole"),
    ]


def _lasted(row: Incompatibility) -> str:
    return "still holds" if row.end is None else format_duration(row.end - row.start)


def _population_columns(_: Names) -> list[Column[Population]]:
    return [
        Column("from", lambda row: show_time(row.start), keep="whole"),
        Column("to", lambda row: show_time(row.end), keep="whole"),
        Column("lasted", lambda row: format_duration(row.duration), keep="whole"),
        Column("peers", _peers, keep="whole"),
    ]


def _peers(row: Population) -> str:
    if not row.known:
        return "unobserved"
    return str(row.peers) if row.peers == row.most else f"{row.peers} to {row.most}"


def _print_rollout(answer: Rollout, format: Format | None, names: Names, after_table: bool) -> None:
    if format is not None:
        print_document(answer.to_dict())
        return
    told = f"{answer.reached} of {plural(answer.known, 'peer')} had reached {show_value(answer.value)}"
    if after_table:
        sys.stdout.write("\n")
    if not print_headline(answer, told, names):
        sys.stdout.write(f"by then, {told}\n")
    print_facts(_rollout_facts(answer))


def _rollout_facts(answer: Rollout) -> Iterator[tuple[str, str]]:
    yield "first reached", show_time(answer.first_reached_at) or "never"
    yield "last reached", show_time(answer.last_reached_at) or "never"
    yield "last known to have it", str(answer.having)
    yield "lacking it", str(answer.lacking)
    if answer.everywhere_since is not None:
        yield "all present peers have had it since", show_time(answer.everywhere_since)
    else:
        yield "all present peers have it", "no"
        if answer.first_everywhere_at is not None:
            yield "all present peers had it first", show_time(answer.first_everywhere_at)


class _Entry(NamedTuple):
    """A line of the table of expected peers."""

    state: str
    entry: str
    peers: tuple[str, ...]
    last_seen: datetime | None


def _print_expectation(answer: Expectation, names: Names) -> None:
    told = f"{plural(len(answer.present), 'expected peer')} present, {len(answer.missing)} missing"
    for count, word in (
        (answer.unknown, "unknown"),
        (answer.ambiguous, "ambiguous"),
        (answer.unexpected, "unexpected"),
    ):
        told += f", {len(count)} {word}" if count else ""
    print_headline(answer, told, names)
    groups: dict[str, tuple[ExpectedPeer, ...]] = {
        "missing": answer.missing,
        "unobserved": answer.unobserved,
        "ambiguous": answer.ambiguous,
        "present": answer.present,
    }
    rows = [_Entry("unknown", entry, (), None) for entry in answer.unknown]
    rows += [_Entry(state, row.entry, row.peers, row.last_seen) for state, group in groups.items() for row in group]
    if rows:
        print_table(rows, _expected_columns(names))
    if answer.unexpected:
        print_title(f"Unexpected: {show_peers(names, answer.unexpected)}")


def _expected_columns(names: Names) -> list[Column[Any]]:
    return [
        Column("state", lambda row: row.state, keep="whole"),
        Column("expected", lambda row: show_text(row.entry), keep="both"),
        Column("peer", lambda row: show_peers(names, row.peers), 1, keep="both", readable=24),
        Column("last seen", _last_seen, keep="whole"),
    ]


def _last_seen(row: _Entry) -> str:
    return show_time(row.last_seen) or ("" if row.state == "unknown" else "never")


REACHED: Listing[Reached] = Listing(
    ("at", "peer_key", "path", "value", "previous", "previous_until", "appeared", "learned"),
    _reached_columns,
    "no peer was seen to reach it",
)
LAGGARDS: Listing[Laggard] = Listing(
    ("peer_key", "path", "value", "last_seen", "present"), _laggard_columns, "no peer lacks it"
)
INCOMPATIBLE: Listing[Incompatibility] = Listing(
    ("peer_key", "observer", "start", "end", "duration_seconds", "end_reason"),
    _incompatible_columns,
    "no observer held any such peer as incompatible",
)
POPULATION: Listing[Population] = Listing(
    ("start", "end", "duration_seconds", "known", "peers", "most"), _population_columns, "no such stretch is known"
)
