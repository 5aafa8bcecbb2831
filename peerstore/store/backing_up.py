"""Backups of a store that is in use."""

from __future__ import annotations

import os
from pathlib import Path

from peerstore.answers.backup import Backup
from peerstore.backup import back_up
from peerstore.store.asking import Asking


class BackingUp(Asking):
    """Backups of an SQLite store."""

    def backup(self, destination: str | os.PathLike[str], force: bool = False, full: bool = True) -> Backup:
        """Write a backup of an SQLite store to a new file, while others may record: a database of its own, which
        :func:`peerstore.open` opens.

        It is one snapshot, with everything that was acknowledged before it began. It is verified, every row of it
        (``full=False``: its structure alone), made durable, and only then stands under its name, readable by its owner
        alone; after any error nothing does. ``force``: replace a file that is there.

        :class:`~peerstore.errors.DestinationError` if it cannot be put there; :class:`~peerstore.errors.DatabaseError`
        if what is stored is damaged; :class:`~peerstore.errors.QuestionError` on PostgreSQL: it names the command of
        ``pg_dump`` to use.
        """
        return back_up(self._database, Path(destination), force, full)
