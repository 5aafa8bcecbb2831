"""The dictionary of the documents that each peer ever had, filled from the change rows.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

FILL = """
INSERT INTO peer_document (element_id, document_id)
SELECT DISTINCT c.element_id, c.document_id
FROM element_change c JOIN element e ON e.id = c.element_id
WHERE e.kind = 'peer' AND c.document_id IS NOT NULL
ORDER BY c.element_id, c.document_id
"""


def upgrade() -> None:
    """Bring the database here; keeps every row."""
    op.create_table(
        "peer_document",
        sa.Column("element_id", INTEGER, nullable=False, comment="The peer."),
        sa.Column("document_id", INTEGER, nullable=False, comment="A document that it ever had."),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name="fk_peer_document_document"),
        sa.ForeignKeyConstraint(["element_id"], ["element.id"], name="fk_peer_document_element"),
        sa.PrimaryKeyConstraint("element_id", "document_id", name="pk_peer_document"),
        comment="Dictionary: every document that a peer was ever recorded with, whoever saw it. "
        "Derived: holds nothing that the change rows do not.",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    rows = op.get_bind().exec_driver_sql(FILL).rowcount
    context.config.attributes.get("advance", int)(rows)
    op.create_index("ix_peer_document_document_id", "peer_document", ["document_id"], unique=False)
