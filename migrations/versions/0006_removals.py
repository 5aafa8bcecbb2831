"""What was removed on purpose, and whom the store must not record any more.

Revision 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


TOLD = (
    "What is told: store_id, created_at, created_by; after removals removal_generation (another one after each of "
    "their transactions), horizon, thinned_before, thinned_every and known_from (as in removal)."
)


def upgrade() -> None:
    """Bring the database here; keeps every row."""
    if op.get_context().dialect.name == "postgresql":
        op.alter_column("store_info", "name", comment=TOLD, existing_type=KEY, existing_nullable=False)
    op.create_table(
        "removal",
        sa.Column("id", INTEGER, nullable=False, comment="Surrogate id; they grow."),
        sa.Column(
            "kind",
            KEY,
            nullable=False,
            comment="prune (history before an instant), thin (unchanged observations) or forget (a peer).",
        ),
        sa.Column(
            "performed_at",
            INTEGER,
            nullable=False,
            comment="When it began: microseconds since 1970 UTC, store's clock.",
        ),
        sa.Column(
            "finished_at", INTEGER, comment="When it ended, as performed_at; null: it did not, ask for it again."
        ),
        sa.Column(
            "before_at",
            INTEGER,
            comment="Of prune, the horizon: what was observed earlier is gone. Of thin: what was observed earlier was "
            "thinned. Microseconds since 1970 UTC.",
        ),
        sa.Column("every", INTEGER, comment="Of thin: an unchanged observation was left this often, in microseconds."),
        sa.Column(
            "known_from",
            INTEGER,
            comment="Of prune and thin: answers as known earlier than this would need what is gone (microseconds since "
            "1970 UTC, store's clock).",
        ),
        sa.Column("observations", INTEGER, nullable=False, comment="How many rows of observation_log were removed."),
        sa.Column("changes", INTEGER, nullable=False, comment="How many rows of element_change were removed."),
        sa.Column("documents", INTEGER, nullable=False, comment="How many documents were emptied."),
        sa.Column("elements", INTEGER, nullable=False, comment="How many elements were emptied."),
        sa.Column("rejects", INTEGER, nullable=False, comment="How many rows of reject were removed."),
        sa.CheckConstraint("kind IN ('prune', 'thin', 'forget')", name=op.f("ck_removal_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removal")),
        comment="What was removed from the history on purpose, when, and how much.",
        sqlite_strict=True,
    )
    op.create_table(
        "forgotten_peer",
        sa.Column(
            "digest",
            sa.LargeBinary,
            nullable=False,
            comment="BLAKE2b (16 bytes) of the peer's key, keyed with store_id: tells it again, and does not tell it.",
        ),
        sa.Column("removal_id", INTEGER, nullable=False, comment="By which removal."),
        sa.ForeignKeyConstraint(["removal_id"], ["removal.id"], name=op.f("fk_forgotten_peer_removal")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_forgotten_peer")),
        comment="Whom the store must not record any more.",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
