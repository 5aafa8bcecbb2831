"""What a store can be asked about why a peer was as it was at a moment, and what an answer rests on."""

from __future__ import annotations

from peerstore.store.asking import Asking


class Why(Asking):
    """Questions about why a peer was as it was at a moment, and what an answer rests on."""
