"""``record``: lines in, batch by batch, each acknowledged once it is committed."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from peerstore.cli.options import DURATION, MOMENT, Command, database_option_again, open_store, with_options
from peerstore.cli.output import print_document, safe
from peerstore.cli.program import REFUSED, main
from peerstore.errors import InputError, PeerstoreError
from peerstore.model import Summary
from peerstore.ndjson import Line, Source, batches, open_lines, read_lines
from peerstore.times import format_duration

if TYPE_CHECKING:
    from peerstore.store import PeerStore

SHOWN_REJECTS = 10
LONG_INPUT = 4 * 1024 * 1024  # bytes before decompression from which on a progress bar is worth its line
SECONDS_BETWEEN_LOGS = 10.0
BATCHES_BETWEEN_TRIMS = 16


ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""What ends a recording with a summary of what is committed. By name: not every system has them all."""


class Ended(KeyboardInterrupt):
    """A signal told the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Ending:
    """Ends the program when a signal tells it to: with :class:`Ended`, once the batch at hand is recorded; at once if
    it is told a second time, or no batch is at hand."""

    def __init__(self) -> None:
        self._told: int | None = None
        self._in_batch = False

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is to be finished."""
        self._in_batch = True
        try:
            yield
        finally:
            self._in_batch = False
        if self._told is not None:
            raise Ended(self._told)

    @contextmanager
    def listening(self) -> Iterator[Ending]:
        """Listen to those signals that would end the process without a word; what is ignored stays ignored."""
        numbers = [getattr(signal, name) for name in ENDING_SIGNALS if hasattr(signal, name)]
        if threading.current_thread() is not threading.main_thread():
            numbers = []  # Python lets no other thread decide this
        before = {number: signal.getsignal(number) for number in numbers}
        changed = [number for number in numbers if before[number] in (signal.SIG_DFL, signal.default_int_handler)]
        for number in changed:
            signal.signal(number, self._end)
        try:
            yield self
        finally:
            for number in changed:
                signal.signal(number, before[number])

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if not self._in_batch or self._told is not None:
            raise Ended(number)
        self._told = number


class Declared(NamedTuple):
    """What the command line declares for lines that do not say it themselves."""

    observer: str | None
    max_silence: timedelta | None
    stamp: datetime | None
    keep_recorded_at: bool = False


@dataclass
class Outcome:
    """What became of everything so far, and why the first lines that were refused were."""

    total: Summary = field(default_factory=Summary)
    sentences: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """How many lines were refused."""
        return self.total.rejected + self.total.conflicts

    def refuse(self, line: Line, reason: str) -> None:
        """Note why a line is refused."""
        if len(self.sentences) < SHOWN_REJECTS:
            self.sentences.append(f"{line.source}:{line.number}: {reason}")

    def add(self, summary: Summary) -> None:
        """Add what became of a committed batch."""
        for each in fields(Summary):
            setattr(self.total, each.name, getattr(self.total, each.name) + getattr(summary, each.name))


def declaring_options(command: Command) -> Command:
    """``--observer``, ``--max-silence`` and ``--at`` (as ``stamp``): what is declared for lines that do not say it."""
    return with_options(
        command,
        click.option("--observer", metavar="KEY", help="Who recorded the lines that do not say it."),
        click.option(
            "--max-silence",
            type=DURATION,
            metavar="DURATION",
            help="Declare, for lines that do not, how long their observer may be silent before it counts as gone.",
        ),
        click.option(
            "--at", "stamp", type=MOMENT, metavar="TIME", help="Stamp bare graphs, and only those, with this time."
        ),
    )


@main.command(short_help="Record observations, one a line, from files or a pipe.")
@click.argument("files", nargs=-1, metavar="[FILE ...|-]")
@declaring_options
@click.option(
    "--recorded-at",
    "keep_recorded_at",
    is_flag=True,
    help="Keep the recordedAt of the lines: answers with --known-at are then those of the store they come from.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON summary.")
@database_option_again
@click.pass_context
def record(
    ctx: click.Context,
    *,
    files: tuple[str, ...],
    observer: str | None,
    max_silence: timedelta | None,
    stamp: datetime | None,
    keep_recorded_at: bool,
    as_json: bool,
) -> None:
    """Record observations: one a line (NDJSON), from FILEs or standard input (-), plain, gzip or Zstandard.

    The database is made if there is none. A line already recorded is counted and changes nothing; a line that cannot be
    read is kept aside (see `peerstore rejects`), and the exit code is then 1. Told to end (Ctrl-C, SIGTERM, SIGHUP), it
    finishes the batch at hand, says what is recorded, and ends with 128 and the number of the signal; told twice, it
    ends at once. To record lines again does no harm.

    \b
    Examples:
      peerstore record mesh.ndjson.gz
      tail -F -n +1 mesh.ndjson | peerstore record -
      peerstore record --max-silence 45s mesh.ndjson
      peerstore record --at "2026-07-08T18:00:05Z" graph.json --json
    """
    names = files or _standard_input()
    for name in names:
        _check_readable(name)
    outcome = Outcome()
    try:
        with Ending().listening() as ending, open_store(create=True) as store:
            _record_all(store, names, Declared(observer, max_silence, stamp, keep_recorded_at), outcome, ending)
    except (KeyboardInterrupt, PeerstoreError, MemoryError) as error:
        if outcome.total != Summary():
            print_summary(outcome.total, as_json)
        if isinstance(error, MemoryError):
            raise PeerstoreError(
                "there is not enough memory for the lines that came next: nothing of them is recorded. Give it more,"
                " and run it again"
            ) from None
        if isinstance(error, Ended) and error.number != signal.SIGINT:
            click.echo(f"ended by {signal.Signals(error.number).name}", err=True)
            ctx.exit(128 + error.number)
        raise
    _explain(outcome)
    print_summary(outcome.total, as_json)
    if outcome.refused or outcome.broken:
        ctx.exit(REFUSED)


def print_summary(summary: Summary, as_json: bool) -> None:
    """What became of the lines, on stdout."""
    if as_json:
        print_document(summary.to_dict())
    else:
        sys.stdout.write(", ".join(f"{name} {count}" for name, count in summary.to_dict().items()) + "\n")


def _standard_input() -> tuple[str, ...]:
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("name the files to record, or pipe lines in: peerstore record mesh.ndjson")
    return ("-",)


def _check_readable(name: str) -> None:
    """Find a misspelt name before anything is recorded; a pipe must not be opened twice."""
    if not name:
        raise click.UsageError("an empty name is no file's: name the files to record, or - for standard input")
    path = Path(name)
    try:
        probe = name != "-" and (path.is_file() or path.is_dir() or not path.exists())
    except (OSError, ValueError):
        probe = True
    if probe:
        with open_lines(name):
            pass


def _give_memory_back() -> None:
    """Give the free memory of the process back to the system, where the C library is GNU's.

    What is kept of some lines comes to lie between what was long lines, which it does not give back by itself: a
    process that records a mesh of 200 peers for a day would grow by a third (``docs/performance.md``).
    Source: https://man7.org/linux/man-pages/man3/malloc_trim.3.html.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return  # another C library, which has ways of its own


def _record_all(store: PeerStore, names: Sequence[str], declared: Declared, outcome: Outcome, ending: Ending) -> None:
    with _progress(names) as progress:
        for name in names:
            with open_lines(name) as source:
                try:
                    _record_source(store, source, declared, outcome, progress, ending)
                except InputError as error:
                    outcome.broken.append(str(error))
                progress.end(source)


def _record_source(
    store: PeerStore, source: Source, declared: Declared, outcome: Outcome, progress: Progress, ending: Ending
) -> None:
    for number, batch in enumerate(batches(read_lines(source.stream, source.name)), start=1):
        with ending.batch():
            summary = store.record_lines(
                batch,
                observer=declared.observer,
                max_silence=declared.max_silence,
                stamp=declared.stamp,
                on_refused=outcome.refuse,
                keep_recorded_at=declared.keep_recorded_at,
            )
            outcome.add(summary)
        if number % BATCHES_BETWEEN_TRIMS == 0:
            _give_memory_back()
        progress.advance(source, len(batch))


def _explain(outcome: Outcome) -> None:
    """One sentence for each of the first refused lines, and for each source that broke off."""
    for sentence in outcome.sentences:
        click.echo(safe(sentence), err=True)
    if outcome.refused > SHOWN_REJECTS:
        click.echo(f"and {outcome.refused - SHOWN_REJECTS} more", err=True)
    if outcome.refused:
        click.echo("what was refused is kept aside: `peerstore rejects` lists it", err=True)
    for sentence in outcome.broken:
        click.echo(f"Error: {safe(sentence)}", err=True)


class Progress:
    """Says on stderr how far a recording is: a bar on a terminal if the input is long, else a line now and then."""

    def __init__(self, total: int | None, bar: Any = None) -> None:
        self._total = total
        self._bar = bar
        self._before = 0  # bytes of the sources that have ended
        self._done = 0
        self._lines = 0
        self._started = self._logged = time.monotonic()

    def advance(self, source: Source, lines: int) -> None:
        """A batch of so many lines is committed."""
        done = self._before + source.progress()[0]
        self._lines += lines
        if self._bar is not None:
            self._bar.update(done - self._done, self._rate())
        elif time.monotonic() - self._logged >= SECONDS_BETWEEN_LOGS:
            self._logged = time.monotonic()
            click.echo(
                f"{safe(source.name)}: {self._lines} lines committed, {self._rate()}{self._left(done)}", err=True
            )
        self._done = done

    def end(self, source: Source) -> None:
        """A source has ended."""
        self._before += source.progress()[0]

    def _rate(self) -> str:
        return f"{self._lines / max(time.monotonic() - self._started, 0.001):.0f} lines/s"

    def _left(self, done: int) -> str:
        if not self._total or not done:
            return ""
        left = (time.monotonic() - self._started) * max(self._total - done, 0) / done
        return f", {format_duration(timedelta(seconds=int(left)))} left"


@contextmanager
def _progress(names: Sequence[str]) -> Iterator[Progress]:
    total = _total_size(names)
    if total is None or total < LONG_INPUT or not sys.stderr.isatty():
        yield Progress(total)
        return
    with click.progressbar(length=total, label="recording", file=sys.stderr, item_show_func=lambda rate: rate) as bar:
        yield Progress(total, bar)


def _total_size(names: Sequence[str]) -> int | None:
    paths = [Path(name) for name in names]
    return sum(path.stat().st_size for path in paths) if all(path.is_file() for path in paths) else None
