"""SQLAlchemy-Continuum (2.0): versions of the rows of a mapped class, kept in a table beside theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from benchmarks.peers import Element, Missing, Observation, Peer
from peerstore.times import instant


class Continuum(Peer):
    """A versioned class on SQLite, and a commit for each observation: a transaction of Continuum's is one moment.

    Its listeners stand at every engine of the process, so they are taken away as soon as the history is loaded, lest
    others pay for them. Beyond its own indexes there is one on the time of a transaction.
    """

    title = "SQLAlchemy-Continuum on SQLite"
    durability = "durable (WAL, `synchronous=FULL`), a commit for each observation"

    def __init__(self, folder: Path, elements: Mapping[int, Element]) -> None:  # noqa: ARG002
        try:
            import sqlalchemy_continuum
            from sqlalchemy_continuum.plugins import Plugin
        except ImportError as error:
            raise Missing("SQLAlchemy-Continuum is left out: pip install -e '.[benchmarks]'") from error
        self._continuum = sqlalchemy_continuum
        self._manager = sqlalchemy_continuum.VersioningManager()
        issued: list[datetime] = []

        class Issued(Plugin):  # type: ignore[misc]
            """Continuum's transactions are of the time of the observation, not of the clock."""

            def transaction_args(self, _unit: Any, _session: Any) -> dict[str, datetime]:
                """What a new transaction is given."""
                return {"issued_at": issued[-1]}

        sqlalchemy_continuum.make_versioned(manager=self._manager, user_cls=None, plugins=[Issued()])
        self._listening = True
        base: Any = orm.declarative_base()

        class Held(base):  # type: ignore[misc]
            """That an element has a document."""

            __tablename__ = "held"
            __versioned__: dict[str, Any] = {}  # noqa: RUF012
            element = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
            document = sa.Column(sa.BigInteger, nullable=False)

        orm.configure_mappers()
        versions = sqlalchemy_continuum.version_class(Held).__table__
        transactions = self._manager.transaction_cls.__table__
        sa.Index("transaction_issued_at", transactions.c.issued_at)
        self._issued, self._model = issued, Held
        self._last = (
            sa.select(transactions.c.id)
            .where(transactions.c.issued_at <= sa.bindparam("moment"))
            .order_by(transactions.c.issued_at.desc())
            .limit(1)
        )
        self._held = sa.select(versions.c.element, versions.c.document).where(
            versions.c.transaction_id <= sa.bindparam("last"),
            sa.or_(versions.c.end_transaction_id > sa.bindparam("last"), versions.c.end_transaction_id.is_(None)),
            versions.c.operation_type != self._continuum.Operation.DELETE,
        )
        self._file = folder / "continuum.db"
        self._engine = sa.create_engine(f"sqlite:///{self._file}")
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        base.metadata.create_all(self._engine)
        self._session = orm.Session(self._engine, expire_on_commit=False)
        self._live: dict[int, Any] = {}

    def record(self, batch: Sequence[Observation]) -> None:
        """Add, change and delete objects; commit after each observation."""
        session, live = self._session, self._live
        for at, changes in batch:
            self._issued[:] = [instant(at).replace(tzinfo=None)]
            for element, document in changes:
                if document is None:
                    session.delete(live.pop(element))
                elif element in live:
                    live[element].document = document
                else:
                    live[element] = self._model(element=element, document=document)
                    session.add(live[element])
            session.commit()

    def load(self, observations: Iterable[Observation]) -> None:
        """Record, then let SQLite count what its planner goes by, and stop listening."""
        super().load(observations)
        self._stop_listening()
        with self._engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE")

    def at(self, moment: int) -> dict[int, int]:
        """The last transaction until then, and the versions that it left, by statements of SQLAlchemy's Core."""
        with self._engine.connect() as connection:
            last = connection.execute(self._last, {"moment": instant(moment).replace(tzinfo=None)}).scalar_one()
            rows: Sequence[Any] = connection.execute(self._held, {"last": last}).all()
        held: dict[int, int] = {}
        held.update(rows)
        return held

    def size(self) -> int:
        """The bytes of the file: the rows as they are now, and their versions."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._file.stat().st_size

    def close(self) -> None:
        """Stop listening, and close the session and the engine."""
        self._session.close()
        self._engine.dispose()
        self._stop_listening()

    def _stop_listening(self) -> None:
        if self._listening:
            self._continuum.remove_versioning(manager=self._manager)
            self._listening = False
