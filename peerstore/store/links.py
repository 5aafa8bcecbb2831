"""What a store can be asked about the connections of pairs: contacts, flapping, transports, degree."""

from __future__ import annotations

from peerstore.store.asking import Asking


class Links(Asking):
    """Questions about the connections of pairs: contacts, flapping, transports, degree."""
