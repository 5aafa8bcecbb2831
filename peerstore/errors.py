"""Every error that peerstore raises on purpose, as one tree.

::

    PeerstoreError
    ├── InputError               something given cannot be read or recorded
    │   ├── InvalidGraph         a presence graph that is not one
    │   ├── InvalidObservation   an envelope that lacks something, or a line that is no envelope
    │   └── InvalidTime          a naive time, or text that names no instant
    ├── QuestionError            a question that has no answer as it was put
    │   ├── BeforeHorizon        the history that it would need was pruned or thinned
    │   └── UnknownPeer          no peer, or more than one, goes by that name
    ├── DatabaseError            the database cannot be used
    │   ├── DatabaseMissing      there is none, and it was not to be created
    │   ├── SchemaError          it is older or newer than this version, or is no peerstore database
    │   └── DatabaseBusy         another process held it for too long
    ├── DestinationError         what was to be written elsewhere cannot be: no such folder, a full disk
    └── MissingExtra             an optional library is not installed

A message is one sentence or two: what was found and where, what was expected, and what cures it. It holds no
secret: database URLs appear in it only as :func:`peerstore.database_url.redacted` shows them.
"""

from __future__ import annotations


class PeerstoreError(Exception):
    """The root of the tree: catch this to catch everything that peerstore raises on purpose."""


class InputError(PeerstoreError, ValueError):
    """Something given cannot be read or recorded.

    ``pointer`` is a JSON Pointer (RFC 6901) to the offending place, where there is one.
    """

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message if not pointer else f"{message} (at {pointer})")
        self.pointer = pointer


class InvalidGraph(InputError):
    """A presence graph that is not one: what was found, where, and what was expected."""


class InvalidObservation(InputError):
    """An envelope that lacks something, or a line that is no envelope."""


class InvalidTime(InputError):
    """A naive time, or text that names no instant."""


class QuestionError(PeerstoreError, ValueError):
    """A question that has no answer as it was put: an empty window, an unknown kind, a negative step."""


class BeforeHorizon(QuestionError):
    """The history that an answer would need was pruned or thinned; the message says from when on there are answers."""


class UnknownPeer(QuestionError):
    """No peer, or more than one, goes by that name."""


class DatabaseError(PeerstoreError):
    """The database cannot be used."""


class DatabaseMissing(DatabaseError):
    """There is no database, and it was not to be created."""


class SchemaError(DatabaseError):
    """The database is older or newer than this version of peerstore, or is not a peerstore database."""


class DatabaseBusy(DatabaseError):
    """Another process held the database for longer than the time to wait."""


class DestinationError(PeerstoreError, OSError):
    """What was to be written elsewhere cannot be: there is no such folder, something stands in its place, the disk is
    full. Nothing is left under its name."""


class MissingExtra(PeerstoreError, ImportError):
    """An optional library is not installed; the message names the extra and the command that installs it."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f'{purpose} needs an optional library: pip install "peerstore[{extra}]"')
        self.extra = extra
