"""Pictures of what a store knows: one function a picture, each an SVG or a PNG.

Needs matplotlib and networkx, the extra ``peerstore[plot]``: importing this package without them raises
:class:`~peerstore.errors.MissingExtra`. Every picture keeps what is known apart from what nobody watched, can be read
without colour, and is the same file for the same answer. ``out`` is the name of a file that ends in ``.svg`` or
``.png``, or an open binary file, which gets SVG; ``width`` and ``height`` are in inches. Each function gives the
remarks at the foot of its picture.
"""

from __future__ import annotations

from peerstore.errors import MissingExtra

try:
    import matplotlib as _matplotlib  # noqa: F401 - is it there?
    import networkx as _networkx  # noqa: F401
except ImportError as error:
    raise MissingExtra("a picture", "plot") from error

from peerstore.plotting.mesh import plot_mesh
from peerstore.plotting.rollout import plot_rollout
from peerstore.plotting.timeline import plot_timeline
from peerstore.plotting.transports import plot_transports
from peerstore.plotting.uptime import plot_uptime

__all__ = ["plot_mesh", "plot_rollout", "plot_timeline", "plot_transports", "plot_uptime"]
