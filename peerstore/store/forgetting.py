"""Forgetting a peer."""

from __future__ import annotations

from peerstore.answers.forgetting import Erased
from peerstore.erasure import Erasure, foreseen, key_to_forget
from peerstore.store.asking import Asking


class Forgetting(Asking):
    """Erasing what is stored of a peer, for good."""

    def forget(self, peer: str, dry_run: bool = False, vacuum: bool = True, in_advance: bool = False) -> Erased:
        """Erase a peer, by its key, a unique prefix of it or a unique device name: its bytes leave the database, and
        what comes later does not bring it back.

        The history is then what it would be had the store never recorded what the peer observed, nor, in what others
        observed, the peer and its connections. ``dry_run``: what would be erased; nothing is written. ``vacuum=False``:
        leave the database's files as they are, in which freed room may still hold what was deleted.
        ``in_advance``: also a key that was never recorded. Others may record meanwhile. What is broken off, in
        whatever way, is finished by forgetting the same key again.

        :class:`~peerstore.errors.UnknownPeer` if nobody goes by that name; :class:`~peerstore.errors.DatabaseBusy` if
        others read or write for so long that the files cannot be cleared: the peer is forgotten then, its bytes are
        not gone yet.
        """
        with self._database.reading() as connection:
            key = key_to_forget(connection, peer, in_advance=in_advance)
            if dry_run:
                return foreseen(self._database, connection, key)
        return Erasure(self._database, key, self._given_clock).run(vacuum=vacuum)
