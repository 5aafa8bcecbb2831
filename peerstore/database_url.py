"""The URL of a database: read from what was given, and shown without its secrets."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from peerstore.errors import DatabaseError
from peerstore.url_text import is_shown, was_meant_as_url

_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_EXPECTED = "use a path, sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
_SHORTEST_SECRET = 4  # of what is sought in the words of others: shorter ones stand in any sentence
_HARMLESS_SETTINGS = re.compile(r"-c *(?:search_path|timezone|\w*_timeout) *=\S*", re.IGNORECASE)


def database_url(database: str | Path | URL) -> URL:
    """A path or URL as a SQLAlchemy URL.

    A ``Path``, and a text without ``://``, is the path of an SQLite file; but a text that looks like a URL written
    wrongly (:func:`peerstore.url_text.was_meant_as_url`) is refused, and none of it is shown.

    >>> str(database_url("mesh.db"))
    'sqlite:///mesh.db'
    """
    if isinstance(database, URL):
        url = database
    elif isinstance(database, Path):
        url = URL.create("sqlite", database=str(database))
    elif "://" in database:
        url = _read(database)
    elif was_meant_as_url(database):
        raise DatabaseError(
            "the database that is named looks like a URL written wrongly, and is not repeated here, since it may hold a"
            f" password: {_EXPECTED}; a path of this form is given with ./ before it"
        )
    else:
        url = URL.create("sqlite", database=database)
    if url.drivername not in _DRIVERS:
        raise DatabaseError(f"{url.drivername}:// names an engine that peerstore does not know: {_EXPECTED}")
    if url.get_backend_name() == "sqlite":
        _check_sqlite(url)
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return url


def _read(text: str) -> URL:
    if text.count("@") > 1:
        raise DatabaseError("the database URL has more than one @: an @ within a name or password is written %40")
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseError(f"the database URL cannot be read: {_EXPECTED}") from None


def _check_sqlite(url: URL) -> None:
    if url.host is not None or url.username is not None or url.password is not None or url.port is not None:
        raise DatabaseError(
            "the database URL names a host or a user, and an SQLite database has neither: use sqlite:///PATH, with"
            " three slashes"
        )
    if url.query:
        raise DatabaseError(
            f"the database URL gives {', '.join(map(repr, sorted(url.query)))} behind a question mark, which peerstore"
            " does not know of SQLite databases: use sqlite:///PATH alone (a ? within a path is written %3F)"
        )


def redacted(url: URL) -> str:
    """A URL without its secrets, as messages and ``status`` show it.

    >>> redacted(make_url("postgresql+psycopg://me:canary@host/db?sslpassword=canary&sslmode=require"))
    'postgresql+psycopg://me:***@host/db?sslmode=require&sslpassword=***'
    """
    query = {name: value if is_shown(name) else "***" for name, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def without_secrets(url: URL) -> URL:
    """A URL without its secrets, for tools that ask for them or find them elsewhere.

    >>> without_secrets(make_url("postgresql+psycopg://me:canary@host/db?sslpassword=canary&sslmode=require"))
    postgresql+psycopg://me@host/db?sslmode=require
    """
    query = {name: value for name, value in url.query.items() if is_shown(name)}
    return URL.create(url.drivername, url.username, None, url.host, url.port, url.database, query)


def holds_secret(url: URL, said: str) -> bool:
    """Whether what a driver or a server said repeats a secret of the URL, or a part of one.

    >>> url = make_url("postgresql://host/db?options=-csearch_path=mesh%20-cx=canary")
    >>> holds_secret(url, 'invalid value for "x": "canary"'), holds_secret(url, 'permission denied for schema "mesh"')
    (True, False)
    """
    given = [str(url.password or "")]
    for name, value in url.query.items():
        if not is_shown(name):
            given += [value] if isinstance(value, str) else value
    words = {word for value in given for word in (value, *_HARMLESS_SETTINGS.sub("", value).replace("=", " ").split())}
    return any(len(word) >= _SHORTEST_SECRET and word in said for word in words)
