"""What a store can be asked about links to the cloud: since when, over whom."""

from __future__ import annotations

from peerstore.store.asking import Asking


class Cloud(Asking):
    """Questions about links to the cloud: since when, over whom."""
