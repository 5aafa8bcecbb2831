"""The program itself: the group of all commands, and how it ends.

Exit codes: 0 done; 1 the answer is no, or something was refused; 2 wrong usage; 3 the database cannot be used;
130 interrupted; 129 and 143 ended by SIGHUP or SIGTERM; 141 whoever read the output has gone away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import click

import peerstore
from peerstore.cli.options import database_option, log_options
from peerstore.cli.output import safe
from peerstore.errors import DatabaseError, InputError, PeerstoreError, QuestionError
from peerstore.url_text import starred

OK, REFUSED, WRONG_USAGE, NO_DATABASE, INTERRUPTED, READER_GONE = 0, 1, 2, 3, 130, 141


class Failure(click.ClickException):
    """An error of ours as the program's last words: one line on stderr, and an exit code."""

    def __init__(self, error: PeerstoreError | OSError) -> None:
        super().__init__(harmless(str(error)))
        self.exit_code = _exit_code(error)  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it."""
        click.echo(f"Error: {self.message}", file=file or sys.stderr)


def harmless(message: str) -> str:
    r"""A message without what could steer the terminal, and without the secrets of URLs that stand in it.

    >>> print(harmless("no such command 'postgresql://me:canary@host/db?sslpassword=canary\x1b'"))
    no such command 'postgresql://me:***@host/db?sslpassword=***
    """
    return safe(starred(message))


SECTIONS: dict[str, tuple[str, ...]] = {
    "Record": ("demo", "record", "rejects"),
    "One moment": ("at", "why", "evidence", "values", "expected", "names", "path", "reach", "islands", "cuts"),
    "Over time": ("changes", "metadata", "diff", "activity", "timeline", "plot"),
    "Peers": ("peers", "peer", "seen", "sessions", "uptime", "population", "new-peers", "new-keys"),
    "Connections": ("connections", "contacts", "flapping", "transports", "fallbacks", "degree"),
    "Cloud and versions": ("cloud", "rollout", "incompatible"),
    "Observers": ("observers", "coverage", "disagreements", "skew"),
    "Elsewhere": ("export", "replay", "copy", "backup"),
    "The database": ("status", "upgrade", "verify", "repair", "prune", "thin", "forget", "removals", "completion"),
}
"""The commands as ``peerstore --help`` lists them."""


class Program(click.Group):
    """The group of all commands."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what they are about."""
        named = {name for names in SECTIONS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in named)
        width = max(map(len, self.commands))
        for title, names in {**SECTIONS, "Others": others}.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name.ljust(width), each.get_short_help_str(70)) for name, each in commands if each is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def make_context(self, *arguments: Any, **named: Any) -> click.Context:
        """Read the words before the command."""
        with _said_harmlessly():
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for, and end as :mod:`peerstore.cli.program` says."""
        with _said_harmlessly(), _ended_well():
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(peerstore.__version__, prog_name="peerstore")
@database_option
@log_options
@click.pass_context
def main(ctx: click.Context, log_level: str, log_format: str) -> None:
    """Record what the devices of a Ditto mesh see of each other, and ask about any past moment.

    Times are ISO 8601 with a zone (2026-07-08T18:00:05Z), "now", or relative ("2 hours ago", "-2h", "now-6h"). A peer
    goes by its key, a unique beginning of its key, or its device name if no other peer has that.

    \b
    Examples:
      peerstore record mesh.ndjson.gz
      peerstore at "2 hours ago"
      peerstore --db mesh.db sessions --json
    """
    _settle_streams()
    _quiet_libraries()
    if log_level != "off":
        from peerstore.cli.logs import logging_to_stderr

        ctx.with_resource(logging_to_stderr(log_level, log_format, harmless))


def _quiet_libraries() -> None:
    """Let SQLAlchemy's log go nowhere, unless somebody set it up: else it would print, with a traceback, that a signal
    ended a command while a connection was closed."""
    import logging  # not for --help

    log = logging.getLogger("sqlalchemy")
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _settle_streams() -> None:
    """Let no character and no closed stream make a command fail."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - open until the process ends
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


@contextmanager
def _said_harmlessly() -> Iterator[None]:
    """Click repeats in its messages what was typed, or pasted from elsewhere."""
    try:
        yield
    except click.ClickException as error:
        error.message = harmless(error.message)  # type: ignore[misc]
        raise


@contextmanager
def _ended_well() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _forget_stdout()
        raise click.exceptions.Exit(READER_GONE) from None
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except MemoryError:
        raise Failure(PeerstoreError("there is not enough memory: ask for less at a time, or give it more")) from None
    except (PeerstoreError, OSError) as error:
        raise Failure(error) from error


def _forget_stdout() -> None:
    """Nobody reads it any more: let what is still buffered go nowhere instead of failing again when Python exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_code(error: PeerstoreError | OSError) -> int:
    if isinstance(error, DatabaseError):
        return NO_DATABASE
    return WRONG_USAGE if isinstance(error, (InputError, QuestionError)) else REFUSED
