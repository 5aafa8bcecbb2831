"""Alembic's environment: runs on the connection that it is handed (:mod:`peerstore.schema`), or, for the alembic
command, on a new one."""

from __future__ import annotations

from alembic import context
from sqlalchemy.engine import Connection

from peerstore.database import Database
from peerstore.schema import VERSION_TABLE
from peerstore.tables import metadata


def run(connection: Connection) -> None:
    """Run the revisions in the transaction that the connection is in."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transactional_ddl=True,
        render_as_batch=True,
        compare_type=True,
        on_version_apply=context.config.attributes.get("applied"),
        include_name=lambda name, kind, _parents: kind != "table" or name in metadata.tables,
    )
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    run(handed)
else:
    asked = context.get_x_argument(as_dictionary=True).get("database")
    database = Database(asked or context.config.get_main_option("sqlalchemy.url") or "revision-scratch.db")
    with database.writing() as writing:
        run(writing)
