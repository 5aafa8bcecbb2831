"""The tables: observation log, change rows, keyframes, dictionaries, rejects.

Revision 0001, the first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Bring the database here; keeps every row."""
    op.create_table(
        "document",
        sa.Column("id", INTEGER, nullable=False, comment="Surrogate id."),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="First 16 bytes of SHA-256 of the body."),
        sa.Column(
            "body",
            sa.Text(),
            nullable=False,
            comment="Canonical JSON text: the attributes of a peer, connection or graph.",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_document"),
        sa.UniqueConstraint("digest", name="uq_document_digest"),
        comment="Dictionary: every distinct document, once.",
        sqlite_strict=True,
    )
    op.create_table(
        "element",
        sa.Column("id", INTEGER, nullable=False, comment="Surrogate id."),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="First 16 bytes of SHA-256 of the identity."),
        sa.Column("kind", KEY, nullable=False, comment="peer, connection, or graph (the graph itself: one row)."),
        sa.Column(
            "peer1", KEY, nullable=True, comment="A peer's key; of a connection the smaller peer key in byte order."
        ),
        sa.Column("peer2", KEY, nullable=True, comment="Of a connection: the greater peer key."),
        sa.Column("type", KEY, nullable=True, comment="Of a connection: its type, such as Bluetooth."),
        sa.Column("source_id", KEY, nullable=True, comment="Of a connection: the id that the source gave it."),
        sa.CheckConstraint("kind IN ('peer', 'connection', 'graph')", name=op.f("ck_element_kind")),
        sa.PrimaryKeyConstraint("id", name="pk_element"),
        sa.UniqueConstraint("digest", name="uq_element_digest"),
        comment="Dictionary: what can be present in a graph, by its identity.",
        sqlite_strict=True,
    )
    op.create_index("ix_element_peer1_kind", "element", ["peer1", "kind"], unique=False)
    op.create_index("ix_element_peer2", "element", ["peer2"], unique=False)

    op.create_table(
        "observer",
        sa.Column("id", INTEGER, nullable=False, comment="Surrogate id."),
        sa.Column("observer_key", KEY, nullable=False, comment="Its peer key, or the name it was given."),
        sa.Column(
            "last_recorded_at",
            INTEGER,
            nullable=False,
            comment="When something of it was last recorded: microseconds since 1970 UTC, on the store's clock.",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_observer"),
        sa.UniqueConstraint("observer_key", name="uq_observer_observer_key"),
        comment="Dictionary: whoever recorded presence graphs.",
        sqlite_strict=True,
    )
    op.create_table(
        "reject",
        sa.Column("id", INTEGER, nullable=False, comment="Surrogate id."),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="First 16 bytes of SHA-256 of where and what."),
        sa.Column(
            "kind", KEY, nullable=False, comment="rejected (could not be read) or conflict (contradicts a stored one)."
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="The file, stdin, or the call."),
        sa.Column("line", INTEGER, nullable=False, comment="Line number in the source, from 1."),
        sa.Column("reason", sa.Text(), nullable=False, comment="One sentence."),
        sa.Column("recorded_at", INTEGER, nullable=False, comment="When it was refused: microseconds since 1970 UTC."),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="The line as it came."),
        sa.Column(
            "complete", SMALL, nullable=False, comment="1: content is whole; 0: the line was over the limit and is cut."
        ),
        sa.CheckConstraint("kind IN ('rejected', 'conflict')", name=op.f("ck_reject_kind")),
        sa.PrimaryKeyConstraint("id", name="pk_reject"),
        sa.UniqueConstraint("digest", name="uq_reject_digest"),
        comment="What was refused, kept aside.",
        sqlite_strict=True,
    )
    op.create_table(
        "store_info",
        sa.Column("name", KEY, nullable=False, comment="What is told: store_id, created_at, created_by."),
        sa.Column("value", KEY, nullable=False, comment="Its value, as text."),
        sa.PrimaryKeyConstraint("name", name="pk_store_info"),
        comment="Facts about the store itself.",
        sqlite_strict=True,
    )
    op.create_table(
        "observation_log",
        sa.Column("observer_id", INTEGER, nullable=False, comment="Who observed."),
        sa.Column(
            "observed_at", INTEGER, nullable=False, comment="Valid time: microseconds since 1970 UTC, observer's clock."
        ),
        sa.Column(
            "sequence", INTEGER, nullable=False, comment="Order among observations of one instant; 0 unless given."
        ),
        sa.Column(
            "recorded_at",
            INTEGER,
            nullable=False,
            comment="Transaction time: microseconds since 1970 UTC, store's clock.",
        ),
        sa.Column("stopped", SMALL, nullable=False, comment="1: a stop marker (graph null); 0: a presence graph."),
        sa.Column(
            "max_silence",
            INTEGER,
            nullable=True,
            comment="Declared limit of silence in microseconds; null: none declared.",
        ),
        sa.Column(
            "gap_from",
            INTEGER,
            nullable=True,
            comment="If the observer was not watching just before: since when not (microseconds since 1970 UTC; "
            "the first observation: one less than the year 1). Null: it was watching.",
        ),
        sa.CheckConstraint("max_silence > 0", name=op.f("ck_observation_log_max_silence")),
        sa.CheckConstraint("sequence >= 0", name=op.f("ck_observation_log_sequence")),
        sa.CheckConstraint("stopped IN (0, 1)", name=op.f("ck_observation_log_stopped")),
        sa.ForeignKeyConstraint(["observer_id"], ["observer.id"], name="fk_observation_log_observer"),
        sa.PrimaryKeyConstraint("observer_id", "observed_at", "sequence", name="pk_observation_log"),
        comment="Every observation, unchanged ones too.",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_observation_log_gap",
        "observation_log",
        ["observer_id", "observed_at", "sequence"],
        unique=False,
        sqlite_where=sa.text("gap_from IS NOT NULL"),
        postgresql_where=sa.text("gap_from IS NOT NULL"),
    )

    op.create_table(
        "element_change",
        sa.Column("observer_id", INTEGER, nullable=False, comment="Whose view changed."),
        sa.Column(
            "observed_at",
            INTEGER,
            nullable=False,
            comment="The observation that shows it: microseconds since 1970 UTC.",
        ),
        sa.Column("sequence", INTEGER, nullable=False, comment="The observation that shows it: its sequence."),
        sa.Column("element_id", INTEGER, nullable=False, comment="What changed."),
        sa.Column("document_id", INTEGER, nullable=True, comment="Its document from here on; null: absent."),
        sa.Column("previous_id", INTEGER, nullable=True, comment="Its document before; null: absent."),
        sa.Column(
            "day", INTEGER, nullable=False, comment="observed_at in whole days since 1970: leads the timeline index."
        ),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name="fk_element_change_document"),
        sa.ForeignKeyConstraint(["element_id"], ["element.id"], name="fk_element_change_element"),
        sa.ForeignKeyConstraint(
            ["observer_id", "observed_at", "sequence"],
            ["observation_log.observer_id", "observation_log.observed_at", "observation_log.sequence"],
            name="fk_element_change_observation_log",
        ),
        sa.ForeignKeyConstraint(["previous_id"], ["document.id"], name="fk_element_change_previous"),
        sa.PrimaryKeyConstraint("observer_id", "observed_at", "sequence", "element_id", name="pk_element_change"),
        comment="What differs in an observation from the one before it of the same observer.",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_element_change_timeline",
        "element_change",
        ["observer_id", "day", "element_id", "observed_at", "sequence", "document_id", "previous_id"],
        unique=False,
    )

    op.create_table(
        "keyframe",
        sa.Column("observer_id", INTEGER, nullable=False, comment="Whose state it is."),
        sa.Column(
            "observed_at", INTEGER, nullable=False, comment="After which observation: microseconds since 1970 UTC."
        ),
        sa.Column("sequence", INTEGER, nullable=False, comment="After which observation: its sequence."),
        sa.Column(
            "body", sa.LargeBinary(), nullable=False, comment="The whole state, packed (peerstore/keyframes.py)."
        ),
        sa.ForeignKeyConstraint(
            ["observer_id", "observed_at", "sequence"],
            ["observation_log.observer_id", "observation_log.observed_at", "observation_log.sequence"],
            name="fk_keyframe_observation_log",
        ),
        sa.PrimaryKeyConstraint("observer_id", "observed_at", "sequence", name="pk_keyframe"),
        comment="The whole state of an observer now and then. Derived: holds nothing that the change rows do not.",
        sqlite_strict=True,
    )
