"""What a store can be asked about the fleet: values and their roll-out, names, keys, expected peers."""

from __future__ import annotations

from peerstore.store.asking import Asking


class Fleet(Asking):
    """Questions about the fleet: values and their roll-out, names, keys, expected peers."""
