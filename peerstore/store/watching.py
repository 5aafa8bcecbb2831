"""What a store can be asked about the observers themselves: coverage, gaps, clocks, disagreements."""

from __future__ import annotations

from peerstore.store.asking import Asking


class Watching(Asking):
    """Questions about the observers themselves: coverage, gaps, clocks, disagreements."""
