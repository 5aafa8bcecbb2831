"""What a store can be asked about how long peers were there, away, or not looked at."""

from __future__ import annotations

from peerstore.store.asking import Asking


class Online(Asking):
    """Questions about how long peers were there, away, or not looked at."""
