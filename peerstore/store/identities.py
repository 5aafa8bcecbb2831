"""What a store can be asked about who is who: new peers, shared names, keys that may be one device's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from peerstore.answers.identities import NameCollision, NewKey, SharedName
from peerstore.answers.inventory import KnownPeer
from peerstore.canonical import steps_of
from peerstore.errors import InputError, QuestionError
from peerstore.questions.fleet import values_at
from peerstore.questions.identities import Collisions, NewKeys, new_peers
from peerstore.store.asking import Asking, window_micros
from peerstore.times import micros


class Identities(Asking):
    """Questions about who is who."""

    def new_peers(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[KnownPeer]:
        """The peers that were seen for the first time in ``[since, until)`` (``until``: now), in the order of that
        time, then of the keys; with what was known of each at ``until``.

        First seen is not first there: a peer may have been there while nobody was watching.
        """
        begin, given = window_micros(since, until)
        end = micros(self._clock()) if given is None else given
        return self._stream(
            lambda connection, scope: new_peers(connection, self._dictionary, scope, begin, end),
            observer,
            known_at,
            max_silence,
            begin,
            end,
        )

    def shared_names(
        self,
        at: datetime,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[SharedName]:
        """The device names that several present peers bore at an instant, in the order of the names; an empty name is
        none.

        None where nobody was watching: ``values_at(at, "/device_name")`` tells that, and every other name as well.
        """
        moment = micros(at)

        def answers() -> Iterator[SharedName]:
            with self._asking(observer, known_at, max_silence, moment) as (connection, scope):
                values = values_at(connection, self._dictionary, scope, moment, "/device_name")
            rows = sorted((row.value, row.peers) for row in values.rows if row.value and len(row.peers) > 1)
            yield from (SharedName(name, peers) for name, peers in rows)

        return answers()

    def name_collisions(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[NameCollision]:
        """The stretches of ``[since, until)`` in which a device name was shared by present peers: as they end, then
        those that hold.

        Unobserved time is in none: a stretch ends where nobody is watching any more.
        """
        window = window_micros(since, until)
        return self._stream(
            lambda connection, scope: Collisions(connection, self._dictionary).over(scope, *window),
            observer,
            known_at,
            max_silence,
            *window,
        )

    def new_keys(
        self,
        identity_path: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        observer: str | None = None,
        known_at: datetime | None = None,
        max_silence: timedelta | float | None = None,
    ) -> Iterator[NewKey]:
        """Guesses that a device came back under a new key (a reinstallation), in the order in which the new keys
        appeared. **A guess is no fact**: nothing is merged, and two devices may well be alike.

        A guess is made for a key that was first present in ``[since, until)`` if another one had the same device name
        and os (both not empty, by what was last known of either before ``until``) and was last present before; of
        several such, for the one whose presence ended last. With ``identity_path``, a JSON Pointer within the peer
        (``/peer_metadata/serial``), both must also have had the same value there. :class:`~peerstore.NewKey` tells the
        evidence, and when a guess is ``strong``. Unobserved time makes it weak: unseen, anybody may have come and gone.
        """
        window = window_micros(since, until)
        if identity_path is not None:
            checked_path(identity_path)
        return self._stream(
            lambda connection, scope: NewKeys(connection, self._dictionary, scope, identity_path).over(*window),
            observer,
            known_at,
            max_silence,
            *window,
        )


def checked_path(path: str) -> str:
    """A JSON Pointer; :class:`~peerstore.errors.QuestionError` for what is none."""
    if not isinstance(path, str):
        raise QuestionError(f"a path is a JSON Pointer such as /sdk_version, not {type(path).__name__}")
    if path and not path.startswith("/"):
        raise QuestionError(f"the path {path!r} is no JSON Pointer: it must begin with a slash, as /{path} does")
    try:
        steps_of(path)
    except InputError as error:
        raise QuestionError(str(error)) from None
    return path
