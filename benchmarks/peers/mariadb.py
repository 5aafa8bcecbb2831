"""MariaDB: a system-versioned table, asked ``FOR SYSTEM_TIME AS OF``. A private server on a socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import Element, Missing, Observation, Peer

_TABLE = (
    "CREATE TABLE held (element BIGINT PRIMARY KEY, document BIGINT NOT NULL,"
    " row_start TIMESTAMP(6) GENERATED ALWAYS AS ROW START, row_end TIMESTAMP(6) GENERATED ALWAYS AS ROW END,"
    " PERIOD FOR SYSTEM_TIME (row_start, row_end){indexes}) ENGINE=InnoDB WITH SYSTEM VERSIONING"
)
_COVERING = ", KEY (row_start, row_end, document), KEY (row_end, row_start, document)"
_PLACES = (os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/libexec")


class Mariadb(Peer):
    """The table as the documentation shows it: its primary key, to which MariaDB appends the row's end."""

    title = "MariaDB, `FOR SYSTEM_TIME AS OF`"
    durability = "durable (InnoDB, flushed at each commit)"
    every = 4
    indexes = ""

    def __init__(self, folder: Path, elements: Mapping[int, Element]) -> None:  # noqa: ARG002
        try:
            import pymysql
        except ImportError as error:
            raise Missing("MariaDB is left out: pip install -e '.[benchmarks]'") from error
        self._data = folder / "data"
        self._server = _serve(folder, self._data)
        try:
            self._connection = _connected(pymysql, self._server, folder)
        except BaseException:
            self._end()
            raise
        self._cursor = self._connection.cursor()
        self._run("CREATE DATABASE history", "USE history", _TABLE.format(indexes=self.indexes))

    def record(self, batch: Sequence[Observation]) -> None:
        """Statements at the time of each observation, all of a batch sent at once and committed together."""
        statements = ["START TRANSACTION"]
        for at, changes in batch:
            statements.append(f"SET timestamp = {_seconds(at)}")
            gone = [str(element) for element, document in changes if document is None]
            if gone:
                statements.append(f"DELETE FROM held WHERE element IN ({','.join(gone)})")
            there = [f"({element},{document})" for element, document in changes if document is not None]
            if there:
                statements.append(
                    f"INSERT INTO held (element, document) VALUES {','.join(there)}"
                    " ON DUPLICATE KEY UPDATE document = VALUES(document)"
                )
        self._run(*statements, "COMMIT")

    def load(self, observations: Iterable[Observation]) -> None:
        """Record, then go back to the present, and count what the planner goes by."""
        super().load(observations)
        self._run("SET timestamp = DEFAULT", "ANALYZE TABLE held")

    def at(self, moment: int) -> dict[int, int]:
        """One statement."""
        self._cursor.execute(
            f"SELECT element, document FROM held FOR SYSTEM_TIME AS OF FROM_UNIXTIME({_seconds(moment)})"
        )
        return dict(self._cursor.fetchall())

    def size(self) -> int:
        """The bytes of the table's file."""
        return (self._data / "history" / "held.ibd").stat().st_size

    def close(self) -> None:
        """Close the connection, and end the server."""
        self._connection.close()
        self._end()

    def _run(self, *statements: str) -> None:
        self._cursor.execute(";".join(statements))
        while self._cursor.nextset():
            pass

    def _end(self) -> None:
        self._server.terminate()
        self._server.wait()


class IndexedMariadb(Mariadb):
    """Two more indexes, by beginning and by end, that hold whole rows; the optimizer takes them."""

    title = "MariaDB, `FOR SYSTEM_TIME AS OF`, covering indexes"
    indexes = _COVERING


def _seconds(moment: int) -> str:
    return f"{moment // 1_000_000}.{moment % 1_000_000:06}"


def _serve(folder: Path, data: Path) -> subprocess.Popen[bytes]:
    """Start a server that nobody else can reach. Its user is ours: it refuses to be root unless it is told."""
    programs = [shutil.which(name, path=os.pathsep.join(_PLACES)) for name in ("mariadb-install-db", "mariadbd")]
    install, server = programs
    if install is None or server is None:
        raise Missing("MariaDB is left out: there is no mariadbd here (Debian: apt-get install mariadb-server)")
    user = ["--user=root"] if os.geteuid() == 0 else []
    log = folder / "mariadb.log"
    with log.open("wb") as output:
        subprocess.run(
            [
                *(install, "--no-defaults", f"--datadir={data}", *user),
                *("--auth-root-authentication-method=normal", "--skip-test-db"),
            ],
            check=True,
            stdout=output,
            stderr=output,
        )
        return subprocess.Popen(
            [
                *(server, "--no-defaults", f"--datadir={data}", *user),
                *(f"--socket={folder / 'socket'}", "--skip-networking", f"--pid-file={folder / 'pid'}"),
                *("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M", "--max-allowed-packet=64M"),
                "--default-time-zone=+00:00",
            ],
            stdout=output,
            stderr=output,
        )


def _connected(pymysql: Any, server: subprocess.Popen[bytes], folder: Path) -> Any:
    socket = folder / "socket"
    until = time.monotonic() + 60
    while not socket.exists():
        if server.poll() is not None or time.monotonic() > until:
            told = (folder / "mariadb.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"MariaDB does not start: {told[-2000:]}")
        time.sleep(0.05)
    several = pymysql.constants.CLIENT.MULTI_STATEMENTS
    return pymysql.connect(unix_socket=str(socket), user="root", autocommit=True, client_flag=several)
