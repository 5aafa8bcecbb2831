"""What a store can be asked about the shape of the mesh: islands, cut peers, paths."""

from __future__ import annotations

from peerstore.store.asking import Asking


class Shape(Asking):
    """Questions about the shape of the mesh: islands, cut peers, paths."""
