"""Options and arguments that mean the same on every command, and how a text becomes a time, a peer, a store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import peerstore
from peerstore.cli.output import safe
from peerstore.errors import InvalidTime, UnknownPeer
from peerstore.times import parse_duration, parse_moment

if TYPE_CHECKING:
    from peerstore.schema import Upgraded
    from peerstore.store import PeerStore

DEFAULT_DATABASE = "peerstore.db"
_DATABASE, _NOW = "peerstore.database", "peerstore.now"

Command = TypeVar("Command", bound=Callable[..., Any])


class Moment(click.ParamType[datetime]):
    """An instant, as :func:`peerstore.times.parse_moment` reads it; "now" is one instant within a command."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant, or a usage error that says what is accepted."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_moment(value, now())
        except InvalidTime as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[timedelta]):
    """A duration, as :func:`peerstore.times.parse_duration` reads it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration, or a usage error that says what is accepted."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except InvalidTime as error:
            self.fail(str(error), param, ctx)


MOMENT = Moment()
DURATION = Duration()


def now() -> datetime:
    """The moment at which the running command began."""
    moment: datetime = click.get_current_context().meta.setdefault(_NOW, datetime.now(UTC))
    return moment


def database(default: str = DEFAULT_DATABASE) -> str:
    """The database that the command line or the environment names, else ``default``."""
    named: str = click.get_current_context().meta.get(_DATABASE, default)
    return named


def open_store(*, create: bool = False, default: str = DEFAULT_DATABASE) -> AbstractContextManager[PeerStore]:
    """The store to ask or to record into; :class:`~peerstore.errors.DatabaseMissing` if there is none to ask."""
    return opened(database(default), create=create)


def opened(where: str, *, create: bool) -> AbstractContextManager[PeerStore]:
    """A store; what opening it did to an older database is told on stderr."""
    store = peerstore.open(where, create=create)
    if store.upgraded is not None:
        tell_backup(where, store.upgraded)
    return store


def tell_backup(where: str, upgraded: Upgraded) -> None:
    """On stderr, what became of a database as it was before an upgrade."""
    from peerstore.database_url import database_url
    from peerstore.upgrade_backup import how_to_go_back

    url = database_url(where)
    if upgraded.backup is not None:
        click.echo(safe(how_to_go_back(Path(str(url.database)), upgraded.backup)), err=True)
    elif url.get_backend_name() != "sqlite" and upgraded[0] not in (None, upgraded[1]):
        click.echo("no backup was made: that of a database on PostgreSQL is pg_dump's", err=True)


def named_peer(store: PeerStore, name: str) -> str:
    """The key of the peer that goes by a name."""
    return store.resolve_peer(checked_name(name))


def find_peer(store: PeerStore, name: str | None) -> str | None:
    """The key of the peer that goes by a name, if one is given."""
    return None if name is None else named_peer(store, name)


def find_observer(store: PeerStore, name: str | None) -> str | None:
    """The key of the observer that goes by a name, if one is given: an observer need not be a peer."""
    if name is None:
        return None
    keys = store.observer_keys()
    if checked_name(name) in keys:
        return name
    beginning = [key for key in keys if key.startswith(name)]
    return beginning[0] if len(beginning) == 1 else store.resolve_peer(name)


def checked_name(name: str) -> str:
    """The name, unless it was typed as bytes that are no text: no database can be asked for such a name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UnknownPeer(
            f"no peer goes by {name!r}, which is not UTF-8: `peerstore peers --json` lists their keys and names"
        ) from None
    return name


def _note_database(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value == "":
        raise click.UsageError("--db names no database: give a path or a SQLAlchemy URL")
    if value is not None:
        ctx.meta[_DATABASE] = value


database_option = click.option(
    "--db",
    metavar="PATH_OR_URL",
    envvar="PEERSTORE_DB",
    expose_value=False,
    callback=_note_database,
    help=f"The database: a path or a SQLAlchemy URL [default: PEERSTORE_DB, else {DEFAULT_DATABASE}].",
)
database_option_again = click.option(
    "--db", metavar="PATH_OR_URL", expose_value=False, callback=_note_database, help="As before the command."
)
LOG_LEVELS = ("off", "error", "warning", "info", "debug")
LOG_FORMATS = ("text", "json")
observer_option = click.option(
    "--observer", metavar="KEY", help="Answer from the view of this observer alone [default: all views merged]."
)
known_at_option = click.option(
    "--known-at", type=MOMENT, metavar="TIME", help="Answer from what the store had recorded by then."
)
max_silence_option = click.option(
    "--max-silence",
    type=DURATION,
    metavar="DURATION",
    help='An observer silent for longer than this is not watching; "forever" lets every state hold '
    "[default: the limit that each observation declares].",
)
since_option = click.option("--since", type=MOMENT, metavar="TIME", help="From this time on.")
until_option = click.option("--until", type=MOMENT, metavar="TIME", help="Until before this time.")
grace_option = click.option(
    "--grace", type=DURATION, metavar="DURATION", default="0", help="Join what is parted by gaps shorter than this."
)
path_option = click.option(
    "--path", metavar="POINTER", help="Only the attributes at this JSON Pointer or below it, as /peer_metadata/role."
)
at_option = click.option("--at", "moment", type=MOMENT, metavar="TIME", help="At this time.")


def with_options(command: Command, *options: Callable[[Command], Command]) -> Command:
    """A command with options, in the order in which its help lists them."""
    for option in reversed(options):
        command = option(command)
    return command


def log_options(command: Command) -> Command:
    """``--log-level`` and ``--log-format``: what is told on stderr of what goes on."""
    return with_options(
        command,
        click.option(
            "--log-level",
            type=click.Choice(LOG_LEVELS, case_sensitive=False),
            envvar="PEERSTORE_LOG_LEVEL",
            default="off",
            help="Log to standard error from this level on [default: PEERSTORE_LOG_LEVEL, else off].",
        ),
        click.option(
            "--log-format",
            type=click.Choice(LOG_FORMATS, case_sensitive=False),
            envvar="PEERSTORE_LOG_FORMAT",
            default="text",
            help="A log line is text, or a JSON object [default: PEERSTORE_LOG_FORMAT, else text].",
        ),
    )


def view_options(command: Command) -> Command:
    """``--observer``, ``--known-at``, ``--max-silence`` and ``--db``: whose view, and of what is known."""
    return with_options(command, observer_option, known_at_option, max_silence_option, database_option_again)


def window_options(command: Command) -> Command:
    """``--since`` and ``--until``: the half-open window asked about."""
    return with_options(command, since_option, until_option)


def output_options(command: Command) -> Command:
    """``--json``, ``--ndjson`` and ``--csv``, as the parameter ``format``, which is None for people."""
    shapes = {"json": "One JSON document.", "ndjson": "A line of JSON a row.", "csv": "A CSV table with a header."}
    for shape, meaning in reversed(shapes.items()):
        command = click.option(f"--{shape}", "format", flag_value=shape, default=None, help=meaning)(command)
    return command


def peer_argument(command: Command) -> Command:
    """A peer by its place, or by ``--peer``, as the parameter ``peer``."""

    @functools.wraps(command)
    def with_one_peer(*arguments: Any, peer: str | None, peer_option: str | None, **named: Any) -> Any:
        if peer is not None and peer_option is not None:
            raise click.UsageError("name the peer once: either by its place or with --peer")
        return command(*arguments, peer=peer_option if peer is None else peer, **named)

    option = click.option("--peer", "peer_option", metavar="PEER", help="The same as PEER.")
    return click.argument("peer", required=False)(option(with_one_peer))  # type: ignore[return-value]


class TimeCommand(click.Command):
    """A command whose arguments are times, so that ``-2h`` is one of them and not an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read ``-2h`` as ``now-2h``."""
        return super().parse_args(
            ctx, [f"now{word}" if word[:1] == "-" and word[1:2].isdigit() else word for word in args]
        )
