"""What a store can be asked about how much happened: changes per time, and as they come."""

from __future__ import annotations

from peerstore.store.asking import Asking


class Activity(Asking):
    """Questions about how much happened: changes per time, and as they come."""
