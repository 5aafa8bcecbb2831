"""``plot``: pictures of the answers, as SVG or PNG."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO

import click

from peerstore.cli.options import (
    DURATION,
    MOMENT,
    Command,
    TimeCommand,
    find_observer,
    find_peer,
    named_peer,
    open_store,
    view_options,
    window_options,
    with_options,
)
from peerstore.cli.output import safe
from peerstore.cli.program import main

if TYPE_CHECKING:
    from peerstore.store import PeerStore

STDOUT = "-"


def picture_options(command: Command) -> Command:
    """``--out``, ``--title``, ``--width`` and ``--height``: where the picture goes, and how it is made."""
    sizes = click.FloatRange(min=0, min_open=True)
    return with_options(
        command,
        click.option(
            "--out",
            required=True,
            metavar="FILE",
            help=f'The picture: a name that ends in .svg or .png, or "{STDOUT}" for SVG to standard output.',
        ),
        click.option("--title", metavar="TEXT", help="Its title, instead of what it shows."),
        click.option("--width", type=sizes, metavar="INCHES", help="Its width; a PNG has 150 dots an inch."),
        click.option("--height", type=sizes, metavar="INCHES", help="Its height [default: what it needs]."),
    )


peers_option = click.option(
    "--peer", "peers", multiple=True, metavar="PEER", help="Only this peer; may be given more than once."
)
limit_option = click.option(
    "--limit",
    type=click.IntRange(1, 400),
    default=60,
    show_default=True,
    metavar="ROWS",
    help="At most so many peers; the picture says how many more there are.",
)


@main.group(short_help="Draw the answers: timeline, mesh, uptime, transports, rollout.")
def plot() -> None:
    """Draw the answers as SVG or PNG: timeline, mesh, uptime, transports, rollout.

    What nobody watched is hatched in grey: unobserved is not absent. Needs pip install "peerstore[plot]".

    \b
    Examples:
      peerstore plot timeline --out timeline.svg
      peerstore plot mesh 2026-07-08T14:05:00Z --out mesh.png
      peerstore plot rollout --out rollout.svg
    """


@plot.command(short_help="Who was there over time: a row a peer.")
@peers_option
@limit_option
@picture_options
@window_options
@view_options
def timeline(
    *,
    peers: tuple[str, ...],
    limit: int,
    out: str,
    title: str | None,
    width: float | None,
    height: float | None,
    since: datetime | None,
    until: datetime | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Draw who was there over time: a row a peer, a bar for each presence.

    An open mark at the end of a bar: that end was not seen.

    \b
    Examples:
      peerstore plot timeline --out timeline.svg
      peerstore plot timeline --peer sim-till-5 --peer sim-hub --since 2026-07-08T10:00:00Z --out two.png
    """
    from peerstore import plotting

    with open_store() as store, drawing(out) as target:
        remarks = plotting.plot_timeline(
            store,
            target,
            find_peers(store, peers),
            limit,
            since,
            until,
            find_observer(store, observer),
            known_at,
            max_silence,
            title=title,
            width=width,
            height=height,
        )
    tell(out, remarks)


@plot.command(cls=TimeCommand, short_help="The mesh at TIME: peers, connections, islands.")
@click.argument("time", type=MOMENT)
@peers_option
@picture_options
@view_options
def mesh(
    *,
    time: datetime,
    peers: tuple[str, ...],
    out: str,
    title: str | None,
    width: float | None,
    height: float | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Draw the mesh at TIME: peers, connections by type, islands apart from each other.

    With --peer: these peers, and whom they are connected with.

    \b
    Examples:
      peerstore plot mesh 2026-07-08T14:05:00Z --out mesh.svg
      peerstore plot mesh 2026-07-08T12:02:00Z --peer sim-till-1 --out around.png
    """
    from peerstore import plotting

    with open_store() as store, drawing(out) as target:
        remarks = plotting.plot_mesh(
            store,
            target,
            time,
            find_peers(store, peers),
            find_observer(store, observer),
            known_at,
            max_silence,
            title=title,
            width=width,
            height=height,
        )
    tell(out, remarks)


@plot.command(short_help="How much of the time each peer was there.")
@peers_option
@limit_option
@picture_options
@window_options
@view_options
def uptime(
    *,
    peers: tuple[str, ...],
    limit: int,
    out: str,
    title: str | None,
    width: float | None,
    height: float | None,
    since: datetime | None,
    until: datetime | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Draw how much of the time each peer was present, absent, and unobserved.

    The percentage is of the known time.

    \b
    Examples:
      peerstore plot uptime --out uptime.svg
      peerstore plot uptime --since 2026-07-08T08:00:00Z --until 2026-07-08T20:00:00Z --out uptime.png
    """
    from peerstore import plotting

    with open_store() as store, drawing(out) as target:
        remarks = plotting.plot_uptime(
            store,
            target,
            find_peers(store, peers),
            limit,
            since,
            until,
            find_observer(store, observer),
            known_at,
            max_silence,
            title=title,
            width=width,
            height=height,
        )
    tell(out, remarks)


@plot.command(short_help="Over what peers were connected over time.")
@click.option("--every", type=DURATION, metavar="DURATION", help="The time of a bar [default: at most 60 bars].")
@click.option("--peer", metavar="PEER", help="Only the connections of this peer.")
@picture_options
@window_options
@view_options
def transports(
    *,
    every: timedelta | None,
    peer: str | None,
    out: str,
    title: str | None,
    width: float | None,
    height: float | None,
    since: datetime | None,
    until: datetime | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Draw how many connections of each type there were over time, on average over the known time of each bar.

    \b
    Examples:
      peerstore plot transports --every 15min --out transports.svg
      peerstore plot transports --peer sim-till-4 --since 2026-07-08T08:00:00Z --out till-4.png
    """
    from peerstore import plotting

    with open_store() as store, drawing(out) as target:
        remarks = plotting.plot_transports(
            store,
            target,
            every,
            find_peer(store, peer),
            since,
            until,
            find_observer(store, observer),
            known_at,
            max_silence,
            title=title,
            width=width,
            height=height,
        )
    tell(out, remarks)


@plot.command(short_help="How many peers have had which value by when.")
@click.argument("path", default="/sdk_version")
@picture_options
@window_options
@view_options
def rollout(
    *,
    path: str,
    out: str,
    title: str | None,
    width: float | None,
    height: float | None,
    since: datetime | None,
    until: datetime | None,
    observer: str | None,
    known_at: datetime | None,
    max_silence: timedelta | None,
) -> None:
    """Draw how many peers have had each value at PATH, a JSON Pointer within the peer, by when.

    PATH is /sdk_version unless another is given.

    \b
    Examples:
      peerstore plot rollout --out rollout.svg
      peerstore plot rollout /peer_metadata/role --out roles.png
    """
    from peerstore import plotting

    with open_store() as store, drawing(out) as target:
        remarks = plotting.plot_rollout(
            store,
            target,
            path,
            since=since,
            until=until,
            observer=find_observer(store, observer),
            known_at=known_at,
            max_silence=max_silence,
            title=title,
            width=width,
            height=height,
        )
    tell(out, remarks)


def find_peers(store: PeerStore, names: Sequence[str]) -> list[str] | None:
    """The keys of the peers that go by these names; ``None`` if none is named."""
    return [named_peer(store, name) for name in names] or None


@contextmanager
def drawing(out: str) -> Iterator[str | BinaryIO]:
    """What to draw into: the file, or what goes to standard output once the picture is complete."""
    if out != STDOUT:
        yield out
        return
    picture = io.BytesIO()
    yield picture
    sys.stdout.buffer.write(picture.getvalue())


def tell(out: str, remarks: Sequence[str]) -> None:
    """Tell people where the picture is, and what stands at its foot."""
    if out != STDOUT:
        click.echo(f"wrote {safe(out)}", err=True)
    for remark in remarks:
        click.echo(remark, err=True)
