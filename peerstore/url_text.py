"""Texts that are database URLs, or were meant to be: which parts of one may be shown.

A URL is shown by a list of what is harmless: whatever is not on it may be a secret.
"""

from __future__ import annotations

import re

HARMLESS = frozenset(
    (
        *("application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname"),
        *("fallback_application_name", "gssencmode", "host", "hostaddr", "keepalives", "keepalives_count"),
        *("keepalives_idle", "keepalives_interval", "load_balance_hosts", "port", "requiressl", "service"),
        *("sslcompression", "sslcrl", "sslmode", "sslnegotiation", "sslrootcert", "ssl_max_protocol_version"),
        *("ssl_min_protocol_version", "target_session_attrs", "tcp_user_timeout", "user"),
    )
)
"""The parameters of a database URL whose values are shown."""

_WITHIN_TEXT = re.compile(r"([A-Za-z][A-Za-z0-9+.]*):(/\S+)")
_PASSWORD = re.compile(r":\S*@")
_PARAMETER = re.compile(r"([?&])([^=&\s]*)=([^&\s]*)")
_OF_THE_WEB = ("http", "https")
_SECRET_WORDS = ("pass", "pwd", "secret", "token", "key")

_PLAINLY_A_PATH = re.compile(r"[.~]{0,2}/(?!/)|[A-Za-z]:[\\/]")
_MEANT_AS_URL = re.compile(
    r"""
    \s*(?:sqlite|postgres(?:ql)?|psycopg\d?|mysql|mariadb|oracle|mssql|redis|cockroachdb)(?:\+\w*)?:  # an engine's name
    | [\s/]*[^/@]*:.*@                                                                # user:password@
    | .*\?[\w.-]+=                                                                    # ?name=value
    | (?:.*\s)?(?:host|hostaddr|dbname|user|password|passfile|options|service)\s*=    # libpq's own form
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def is_shown(parameter: str) -> bool:
    """Whether the value of a URL's parameter may be shown."""
    return parameter in HARMLESS


def was_meant_as_url(text: str) -> bool:
    """Whether a text without ``://`` is a URL written wrongly, rather than a path: one that begins with the name of an
    engine and a colon, or holds ``user:password@``, ``?name=value`` or ``password=``. What begins with ``/``, ``./``,
    ``../`` or ``~/`` is a path, whatever follows.

    >>> [was_meant_as_url(text) for text in ("postgresql:/me:x@host/db", "me:x@host/db", "host=db password=x")]
    [True, True, True]
    >>> [was_meant_as_url(text) for text in ("mesh.db", "a@b.db", "dir:x/file.db", "./me:x@host.db")]
    [False, False, False, False]
    """
    return _PLAINLY_A_PATH.match(text) is None and _MEANT_AS_URL.match(text) is not None


def starred(message: str) -> str:
    """A message without the secrets of URLs that stand in it.

    >>> starred("no such command 'postgresql://me:canary@host/db?sslmode=require&pwd=canary'")
    "no such command 'postgresql://me:***@host/db?sslmode=require&pwd=***"
    """
    return _WITHIN_TEXT.sub(_starred, message)


def _starred(url: re.Match[str]) -> str:
    of_the_web = url[1].lower() in _OF_THE_WEB

    def shown(given: re.Match[str]) -> str:
        name = given[2].lower()
        harmless = not any(word in name for word in _SECRET_WORDS) if of_the_web else is_shown(name)
        return given[0] if harmless else f"{given[1]}{given[2]}=***"

    return f"{url[1]}:{_PARAMETER.sub(shown, _PASSWORD.sub(':***@', url[2]))}"
