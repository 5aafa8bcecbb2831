"""A canary in the place of a password: whatever goes wrong, it is in no message, traceback, warning or log."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy.engine import make_url

import peerstore
from peerstore.cli import main
from peerstore.cli.logs import logging_to_stderr
from peerstore.cli.options import LOG_FORMATS
from peerstore.cli.program import harmless
from tests.hostile.counting import report

CANARY = "canary"
NOWHERE = "127.0.0.1:1/none"  # nothing listens at port 1
PG = "postgresql+psycopg://"

HIDDEN = (
    f"{PG}me:canary@{NOWHERE}",
    f"postgresql://me:canary@{NOWHERE}",
    f"{PG}me:canary@no-such-host.invalid/none",
    f"{PG}me:canary@[::1]:1/none",
    f"{PG}me:canary@{NOWHERE}?host=/nowhere",
    f"{PG}me@{NOWHERE}?password=canary",
    f"{PG}me@{NOWHERE}?PASSWORD=canary",
    f"{PG}me@{NOWHERE}?sslpassword=canary",
    f"{PG}me@{NOWHERE}?passfile=/tmp/canary",
    f"{PG}me@{NOWHERE}?sslkey=/tmp/canary",
    f"{PG}me@{NOWHERE}?scram_client_key=canary",
    f"{PG}me@{NOWHERE}?oauth_client_secret=canary",
    f"{PG}me:canary@{NOWHERE}?nonsense=1",
    f"{PG}me:canary@{NOWHERE}?sslmode=bogus",
    f"{PG}me:canary@{NOWHERE}?sslmode=verify-full&sslrootcert=/nowhere",
    f"{PG}me:canary@{NOWHERE}?connect_timeout=soon",
    f"{PG}me:canary@{NOWHERE}?service=none",
    f"{PG}me:canary@127.0.0.1:none/none",
    f"{PG}me:canary@127.0.0.1:99999/none",
    f"{PG}me:canary/7@{NOWHERE}",
    f"{PG}me:7/canary@{NOWHERE}",
    f"{PG}me:/canary@{NOWHERE}",
    f"{PG}me:7canary@{NOWHERE}",
    f"{PG}me:ca#canary@{NOWHERE}",
    f"{PG}me:%zzcanary@{NOWHERE}",
    f"{PG}me:[canary@{NOWHERE}",
    f"{PG}me:canary%00x@{NOWHERE}",
    f"{PG}me:canary%0a@{NOWHERE}",
    f"postgresql+psycopg2://me:canary@{NOWHERE}",
    f"postgresql+asyncpg://me:canary@{NOWHERE}",
    "mysql://me:canary@127.0.0.1/none",
    "mysql+pymysql://me:canary@127.0.0.1/none?ssl_key=canary",
    "oracle://me:canary@127.0.0.1/none",
    "redis://me:canary@127.0.0.1/0",
    f"POSTGRESQL://me:canary@{NOWHERE}",
    f" postgresql://me:canary@{NOWHERE}",
    "sqlite:////nowhere/x.db?password=canary",
    "sqlite:///x.db?key=canary",
    "sqlite://me:canary@host/x.db",
    f"{PG}me@{NOWHERE}?pwd=canary",
    f"{PG}me@{NOWHERE}?options=canary",
    f"{PG}me:canary@{NOWHERE}?options=-c%20x=canary",
    f"{PG}me:x@canary@{NOWHERE}",
    f"{PG}me:x@ca/canary@{NOWHERE}",
    f"{PG}me:x@ca?canary@{NOWHERE}",
    f"postgersql://me:canary@{NOWHERE}",
    f"nosuch://me:x@{NOWHERE}?pwd=canary",
)
"""URLs that cannot be opened, with a secret at every place where one may stand."""

NO_URLS = (
    "postgresql:/me:canary@127.0.0.1/none",
    "postgresql:me:canary@127.0.0.1/none",
    " Postgres:/me:canary@127.0.0.1/none",
    "sqlite:canary.db",
    "me:canary@127.0.0.1/none",
    "me:ca/canary@127.0.0.1/none",
    "//me:canary@127.0.0.1/none",
    "127.0.0.1/none?password=canary",
    "host=127.0.0.1 password=canary",
    "password = canary",
)
"""Texts without ``://`` that were meant as URLs, and are no paths."""

PATHS = ("a@b.db", "dir:x/file.db", "dir:x/a.db", "./me:x@host.db", "x y.db", "a?b.db", "a=b.db", "C:x.db", "%40.db")
"""Those that are paths."""


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """What every logger says, down to DEBUG, and every warning."""
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    before = [(each, each.level) for each in (root, *loggers)]
    root.addHandler(handler)
    for each, _ in before:
        each.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield told
        told.write("\n".join(str(each.message) for each in warned))
    finally:
        root.removeHandler(handler)
        for each, level in before:
            each.setLevel(level)


def told_by(work: Callable[[], Any]) -> str:
    """All that a user of the library sees: the value or the traceback, each error of its chain, logs and warnings."""
    with everything_logged() as told:
        try:
            found = work()
            told.write(f"{found} {found!r}\n")
        except Exception as error:
            told.write("".join(traceback.format_exception(error)))
            link: BaseException | None = error
            while link is not None:
                told.write(f"{link} {link!r} {link.args!r} {getattr(link, '__notes__', '')}\n")
                link = link.__cause__ or link.__context__
    return told.getvalue()


def told_by_command(*words: str, **environment: str) -> str:
    result = CliRunner(env=environment or None).invoke(main, list(words), prog_name="peerstore")
    assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize("url", HIDDEN)
def test_a_secret_is_in_nothing_that_is_said(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = told_by(lambda: peerstore.open(url)) + told_by(lambda: peerstore.upgrade(url))
    assert "peerstore.errors." in told
    for words in (["--db", url, "status"], ["peers", "--db", url], ["copy", url, "x.db"], ["backup", "--db", url, "b"]):
        told += told_by_command(*words)
    told += told_by_command("upgrade", PEERSTORE_DB=url) + told_by_command("record", os.devnull, PEERSTORE_DB=url)
    for form in LOG_FORMATS:
        told += told_by_command("--log-level", "debug", "--log-format", form, "--db", url, "status")
        told += told_by_command("upgrade", PEERSTORE_DB=url, PEERSTORE_LOG_LEVEL="debug", PEERSTORE_LOG_FORMAT=form)
    assert CANARY not in told
    assert list(tmp_path.rglob("*canary*")) == []


@pytest.mark.parametrize("text", NO_URLS)
def test_nor_is_that_of_a_url_written_wrongly(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(peerstore.DatabaseError, match=r"looks like a URL written wrongly.*\./ before it"):
        peerstore.open(text)
    told = told_by(lambda: peerstore.open(text)) + told_by(lambda: peerstore.upgrade(text))
    told += told_by_command("--db", text, "status") + told_by_command("demo", PEERSTORE_DB=text)
    assert CANARY not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_a_path(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / path).parent.mkdir(exist_ok=True)
    peerstore.open(path).close()
    assert (tmp_path / path).is_file()
    assert "upgrade" not in told_by_command("--db", path, "status")


def test_a_path_that_looks_like_a_url_is_one_as_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    peerstore.open(Path("me:x@host.db")).close()
    assert (tmp_path / "me:x@host.db").is_file()


@pytest.mark.parametrize("url", ["sqlite://me:pw@host/x.db", "sqlite://x.db", "sqlite:///x.db?key=1", "sqlite://:7/x"])
def test_what_an_sqlite_url_cannot_have_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(peerstore.DatabaseError, match="sqlite:///PATH"):
            peerstore.open(url)
    assert list(tmp_path.iterdir()) == []


def test_what_a_server_repeats_of_a_secret_is_not_said(postgres_url: str) -> None:
    """A server answers with the options that it was given; and says in words of its own what it was not given."""
    options = make_url(postgres_url).update_query_dict({"options": "-c bytea_output=canary"})
    with pytest.raises(peerstore.DatabaseError, match="repeats a secret of the URL") as refusal:
        peerstore.open(options)
    assert CANARY not in "".join(traceback.format_exception(refusal.value))
    elsewhere = make_url(postgres_url).set(database="no_such_database")
    assert "no_such_database" in told_by(lambda: peerstore.open(elsewhere))


@pytest.mark.parametrize("url", HIDDEN)
def test_a_url_in_the_wrong_place_is_not_repeated_with_its_secret(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = told_by_command("status", url) + told_by_command(url) + told_by_command("at", url)
    told += told_by_command("record", url) + told_by_command("status", f"--{url}")
    assert CANARY not in told


def test_nor_is_it_in_any_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERSTORE_DB", HIDDEN[0])
    for words in ([], ["status"], ["record"], ["backup"], ["export"]):
        assert CANARY not in told_by_command(*words, "--help")


@pytest.mark.parametrize(
    ("url", "command"),
    [
        (HIDDEN[0], "peers"),
        pytest.param(HIDDEN[5], "status", marks=pytest.mark.slow),
        pytest.param("sqlite:///x.db?password=canary", "upgrade", marks=pytest.mark.slow),
    ],
)
def test_nor_in_the_process_of_its_own(url: str, command: str, tmp_path: Path) -> None:
    """As users run it: all of stdout and stderr, with the warnings of Python and its development mode."""
    environment = {**os.environ, "PEERSTORE_DB": url, "PYTHONPATH": str(Path(__file__).parents[2])}
    program = [sys.executable, "-X", "dev", "-m", "peerstore", command]
    done = subprocess.run(
        program, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_a_store_does_not_tell_it(store_url: str) -> None:
    """What a server says is no secret; what it was given is one, where it trusts whoever comes."""
    url = make_url(store_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(password=CANARY, query={**url.query, "sslpassword": CANARY})
        missing = url.set(database="none").render_as_string(hide_password=False)
        nobody = url.set(username="nobody").render_as_string(hide_password=False)
        assert CANARY not in told_by(lambda: peerstore.open(missing)) + told_by(lambda: peerstore.open(nobody))
    with everything_logged() as told, peerstore.open(url.render_as_string(hide_password=False)) as store:
        told.write(f"{store} {store!r} {store.status()} {store.status().to_dict()}")
        store.record({"localPeer": {"peerKey": "a", "deviceName": "private"}}, observed_at=peerstore.times.EPOCH)
        told.write(f"{list(store.changes())!r}")
        said = told.getvalue()
    assert CANARY not in told.getvalue()
    assert "private" not in said.partition("Change(")[0]


@pytest.mark.parametrize("form", LOG_FORMATS)
def test_nor_does_the_log_of_a_command(form: str, store_url: str, tmp_path: Path) -> None:
    """A store that is opened, recorded into and verified, with what is refused, at DEBUG."""
    url = make_url(store_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(password=CANARY).update_query_dict({"sslpassword": CANARY})
    lines = tmp_path / "lines.ndjson"
    lines.write_text('{"observedAt": "2026-07-08T18:00:05Z", "graph": {"localPeer": {"peerKey": "a"}}}\n{\n')
    before = ("--log-level", "debug", "--log-format", form)
    named = url.render_as_string(hide_password=False)
    told = told_by_command(*before, "--db", named, "record", str(lines)) + told_by_command(
        *before, "--db", named, "verify"
    )
    for event in ("database_opened", "batch_recorded", "lines_refused", "verification_ended"):
        assert event in told
    assert CANARY not in told


@pytest.mark.parametrize("form", LOG_FORMATS)
def test_what_somebody_else_logs_is_masked_too(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A control as well: what is no URL's secret is seen."""
    with logging_to_stderr("info", form, harmless):
        logging.getLogger("peerstore.elsewhere").info(HIDDEN[0], extra={"database": {"url": HIDDEN[5]}})
        told = capsys.readouterr().err
        logging.getLogger("peerstore.elsewhere").info("%s is no secret", CANARY)
    assert CANARY not in told
    assert told.count("***") == 2
    assert CANARY in capsys.readouterr().err


def test_the_watch_would_see_a_secret() -> None:
    """A control: it is found in a message, in a cause, in a log and in a warning; and the mask masks it."""

    def fail(how: int) -> str:
        if how == 0:
            raise ValueError(CANARY)
        if how == 1:
            try:
                raise ValueError(CANARY)
            except ValueError as error:
                raise KeyError from error
        if how == 2:
            logging.getLogger("sqlalchemy.engine").debug(CANARY)
        elif how == 3:
            warnings.warn(CANARY, stacklevel=1)
        return CANARY if how == 4 else ""

    assert [CANARY in told_by(lambda how=how: fail(how)) for how in range(6)] == [True] * 5 + [False]  # type: ignore[misc]
    assert CANARY in f"no such command {HIDDEN[0]!r}" != harmless(f"no such command {HIDDEN[0]!r}")
    assert harmless("a:b@c is no peer, till:1/2@x neither; see https://example.org/a?b=c") == (
        "a:b@c is no peer, till:1/2@x neither; see https://example.org/a?b=c"
    )
    report("secrets", urls=len(HIDDEN), commands=len(HIDDEN) * 15, no_urls=len(NO_URLS))
