"""The tables, each column commented with its meaning and unit. ``docs/schema.md`` is generated from here.

Layout (why: ``docs/decisions/0002-storage-layout.md``): an observation log holds every observation; change rows hold,
for each observation, only the elements that differ from the observation before it; keyframes hold the whole state now
and then, so that reading the state at any instant costs one keyframe and the few changes after it. Dictionaries hold
each observer, peer, connection and document once, and which documents a peer ever had.

To be distributed later without a redesign, every table that grows with observations begins its keys with the observer;
the others are small dictionaries; there are no triggers and no cascades (``tests/test_schema.py`` holds these rules).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.engine import Connection

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# STRICT tables of SQLite know INTEGER, TEXT and BLOB only; text sorts by its bytes on both engines.
_integer = BigInteger().with_variant(Integer(), "sqlite")
_small = SmallInteger().with_variant(Integer(), "sqlite")
_key = Text().with_variant(Text(collation="C"), "postgresql")

store_info = Table(
    "store_info",
    metadata,
    Column(
        "name",
        _key,
        primary_key=True,
        comment="What is told: store_id, created_at, created_by; after removals removal_generation (another one after "
        "each of their transactions), horizon, thinned_before, thinned_every and known_from (as in removal).",
    ),
    Column("value", _key, nullable=False, comment="Its value, as text."),
    comment="Facts about the store itself.",
    sqlite_strict=True,
)

observer = Table(
    "observer",
    metadata,
    Column("id", _integer, primary_key=True, comment="Surrogate id."),
    Column("observer_key", _key, nullable=False, unique=True, comment="Its peer key, or the name it was given."),
    Column(
        "last_recorded_at",
        _integer,
        nullable=False,
        comment="When something of it was last recorded: microseconds since 1970 UTC, on the store's clock.",
    ),
    comment="Dictionary: whoever recorded presence graphs.",
    sqlite_strict=True,
)

element = Table(
    "element",
    metadata,
    Column("id", _integer, primary_key=True, comment="Surrogate id."),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="First 16 bytes of SHA-256 of the identity."),
    Column("kind", _key, nullable=False, comment="peer, connection, or graph (the graph itself: one row)."),
    Column("peer1", _key, comment="A peer's key; of a connection the smaller peer key in byte order."),
    Column("peer2", _key, comment="Of a connection: the greater peer key."),
    Column("type", _key, comment="Of a connection: its type, such as Bluetooth."),
    Column("source_id", _key, comment="Of a connection: the id that the source gave it."),
    Index(None, "peer1", "kind"),
    Index(None, "peer2"),
    CheckConstraint("kind IN ('peer', 'connection', 'graph')", name="kind"),
    comment="Dictionary: what can be present in a graph, by its identity.",
    sqlite_strict=True,
)

document = Table(
    "document",
    metadata,
    Column("id", _integer, primary_key=True, comment="Surrogate id."),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="First 16 bytes of SHA-256 of the body."),
    Column("body", Text, nullable=False, comment="Canonical JSON text: the attributes of a peer, connection or graph."),
    comment="Dictionary: every distinct document, once.",
    sqlite_strict=True,
)

peer_document = Table(
    "peer_document",
    metadata,
    Column("element_id", _integer, ForeignKey(element.c.id), primary_key=True, comment="The peer."),
    Column(
        "document_id", _integer, ForeignKey(document.c.id), primary_key=True, comment="A document that it ever had."
    ),
    Index(None, "document_id"),
    comment="Dictionary: every document that a peer was ever recorded with, whoever saw it. "
    "Derived: holds nothing that the change rows do not.",
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

observation_log = Table(
    "observation_log",
    metadata,
    Column("observer_id", _integer, ForeignKey(observer.c.id), primary_key=True, comment="Who observed."),
    Column(
        "observed_at", _integer, primary_key=True, comment="Valid time: microseconds since 1970 UTC, observer's clock."
    ),
    Column("sequence", _integer, primary_key=True, comment="Order among observations of one instant; 0 unless given."),
    Column(
        "recorded_at", _integer, nullable=False, comment="Transaction time: microseconds since 1970 UTC, store's clock."
    ),
    Column("stopped", _small, nullable=False, comment="1: a stop marker (graph null); 0: a presence graph."),
    Column("max_silence", _integer, comment="Declared limit of silence in microseconds; null: none declared."),
    Column(
        "gap_from",
        _integer,
        comment="If the observer was not watching just before: since when not (microseconds since 1970 UTC; "
        "the first observation: one less than the year 1). Null: it was watching.",
    ),
    Index(
        "ix_observation_log_gap",
        "observer_id",
        "observed_at",
        "sequence",
        sqlite_where=text("gap_from IS NOT NULL"),
    ),
    CheckConstraint("stopped IN (0, 1)", name="stopped"),
    CheckConstraint("sequence >= 0", name="sequence"),
    CheckConstraint("max_silence > 0", name="max_silence"),
    comment="Every observation, unchanged ones too.",
    sqlite_strict=True,
    sqlite_with_rowid=False,
)


@event.listens_for(observation_log, "before_create")
def _partial_on_postgresql(table: Table, connection: Connection, **_: object) -> None:
    """The same on PostgreSQL. Said only now, since it makes SQLAlchemy import all of that dialect: a tenth of a second
    of every command."""
    if connection.dialect.name == "postgresql":
        for index in table.indexes:
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]


def _refers(table: Table, name: str) -> ForeignKey:
    return ForeignKey(table.c.id, name=f"fk_element_change_{name}")


element_change = Table(
    "element_change",
    metadata,
    Column("observer_id", _integer, primary_key=True, comment="Whose view changed."),
    Column(
        "observed_at", _integer, primary_key=True, comment="The observation that shows it: microseconds since 1970 UTC."
    ),
    Column("sequence", _integer, primary_key=True, comment="The observation that shows it: its sequence."),
    Column("element_id", _integer, _refers(element, "element"), primary_key=True, comment="What changed."),
    Column("document_id", _integer, _refers(document, "document"), comment="Its document from here on; null: absent."),
    Column("previous_id", _integer, _refers(document, "previous"), comment="Its document before; null: absent."),
    Column("day", _integer, nullable=False, comment="observed_at in whole days since 1970: leads the timeline index."),
    ForeignKeyConstraint(
        ["observer_id", "observed_at", "sequence"],
        ["observation_log.observer_id", "observation_log.observed_at", "observation_log.sequence"],
    ),
    Index(
        "ix_element_change_timeline",
        "observer_id",
        "day",
        "element_id",
        "observed_at",
        "sequence",
        "document_id",
        "previous_id",
    ),
    comment="What differs in an observation from the one before it of the same observer.",
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
keyframe = Table(
    "keyframe",
    metadata,
    Column("observer_id", _integer, primary_key=True, comment="Whose state it is."),
    Column("observed_at", _integer, primary_key=True, comment="After which observation: microseconds since 1970 UTC."),
    Column("sequence", _integer, primary_key=True, comment="After which observation: its sequence."),
    Column("body", LargeBinary, nullable=False, comment="The whole state, packed (peerstore/keyframes.py)."),
    ForeignKeyConstraint(
        ["observer_id", "observed_at", "sequence"],
        ["observation_log.observer_id", "observation_log.observed_at", "observation_log.sequence"],
    ),
    comment="The whole state of an observer now and then. Derived: holds nothing that the change rows do not.",
    sqlite_strict=True,
)

day_digest = Table(
    "day_digest",
    metadata,
    Column("observer_id", _integer, ForeignKey(observer.c.id), primary_key=True, comment="Who observed."),
    Column("day", _integer, primary_key=True, comment="The day (UTC) of observed_at, in whole days since 1970."),
    Column("observations", _integer, nullable=False, comment="How many rows observation_log has of it."),
    Column("changes", _integer, nullable=False, comment="How many rows element_change has of it."),
    Column(
        "digest",
        LargeBinary,
        nullable=False,
        comment="The sum, modulo 2^127 - 1, of the hashes of these rows (peerstore/day_digests.py).",
    ),
    comment="What verification holds the log and the change rows against.",
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

reject = Table(
    "reject",
    metadata,
    Column("id", _integer, primary_key=True, comment="Surrogate id."),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="First 16 bytes of SHA-256 of where and what."),
    Column(
        "kind", _key, nullable=False, comment="rejected (could not be read) or conflict (contradicts a stored one)."
    ),
    Column("source", Text, nullable=False, comment="The file, stdin, or the call."),
    Column("line", _integer, nullable=False, comment="Line number in the source, from 1."),
    Column("reason", Text, nullable=False, comment="One sentence."),
    Column("recorded_at", _integer, nullable=False, comment="When it was refused: microseconds since 1970 UTC."),
    Column("content", LargeBinary, nullable=False, comment="The line as it came."),
    Column(
        "complete", _small, nullable=False, comment="1: content is whole; 0: the line was over the limit and is cut."
    ),
    CheckConstraint("kind IN ('rejected', 'conflict')", name="kind"),
    comment="What was refused, kept aside.",
    sqlite_strict=True,
)

removal = Table(
    "removal",
    metadata,
    Column("id", _integer, primary_key=True, comment="Surrogate id; they grow."),
    Column(
        "kind",
        _key,
        nullable=False,
        comment="prune (history before an instant), thin (unchanged observations) or forget (a peer).",
    ),
    Column(
        "performed_at", _integer, nullable=False, comment="When it began: microseconds since 1970 UTC, store's clock."
    ),
    Column("finished_at", _integer, comment="When it ended, as performed_at; null: it did not, ask for it again."),
    Column(
        "before_at",
        _integer,
        comment="Of prune, the horizon: what was observed earlier is gone. Of thin: what was observed earlier was "
        "thinned. Microseconds since 1970 UTC.",
    ),
    Column("every", _integer, comment="Of thin: an unchanged observation was left this often, in microseconds."),
    Column(
        "known_from",
        _integer,
        comment="Of prune and thin: answers as known earlier than this would need what is gone (microseconds since "
        "1970 UTC, store's clock).",
    ),
    Column("observations", _integer, nullable=False, comment="How many rows of observation_log were removed."),
    Column("changes", _integer, nullable=False, comment="How many rows of element_change were removed."),
    Column("documents", _integer, nullable=False, comment="How many documents were emptied."),
    Column("elements", _integer, nullable=False, comment="How many elements were emptied."),
    Column("rejects", _integer, nullable=False, comment="How many rows of reject were removed."),
    CheckConstraint("kind IN ('prune', 'thin', 'forget')", name="kind"),
    comment="What was removed from the history on purpose, when, and how much.",
    sqlite_strict=True,
)

forgotten_peer = Table(
    "forgotten_peer",
    metadata,
    Column(
        "digest",
        LargeBinary,
        primary_key=True,
        comment="BLAKE2b (16 bytes) of the peer's key, keyed with store_id: tells it again, and does not tell it.",
    ),
    Column("removal_id", _integer, ForeignKey(removal.c.id), nullable=False, comment="By which removal."),
    comment="Whom the store must not record any more.",
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

DICTIONARIES = frozenset(
    {"store_info", "observer", "element", "document", "peer_document", "reject", "removal", "forgotten_peer"}
)
