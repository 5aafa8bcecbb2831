"""The view of coverage and the two histories, by statements that engines plan better; ids in the histories.

Revision 0004, after 0003. What engines differ in, and what of an instant counts, is as revision 0002 has it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _revision_0002() -> Any:
    spec = importlib.util.spec_from_file_location("_revision_0002", Path(__file__).with_name("0002_views.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_BEFORE = _revision_0002()
_IDS = {"observer_id": "Its id in the table observer.", "element_id": "Its id in the table element."}


def _with_ids(view: str) -> tuple[str, dict[str, str]]:
    meaning, columns = _BEFORE.VIEWS[view]
    return meaning, {**columns, **_IDS}


VIEWS = {
    "coverage": _BEFORE.VIEWS["coverage"],
    "peer_history": _with_ids("peer_history"),
    "connection_history": _with_ids("connection_history"),
}
"""The meaning of each view that is made again, and that of its columns, in their order."""

# Two maxima are two steps into the key; of a comparison of rows, engines make a scan of each observer's log.
_COVERAGE = """
coverage AS
WITH span AS (
    SELECT observer_id, observed_at AS start_us,
           LEAD(gap_from) OVER (PARTITION BY observer_id ORDER BY observed_at, sequence) AS next_gap
    FROM observation_log WHERE gap_from IS NOT NULL AND stopped = 0
), tail AS (
    SELECT l.observer_id,
           CASE WHEN l.stopped = 1 THEN COALESCE(l.gap_from, l.observed_at)
                WHEN l.observed_at + l.max_silence < {latest} THEN l.observed_at + l.max_silence + 1
                END AS end_us
    FROM observer o JOIN observation_log l ON l.observer_id = o.id
    WHERE l.observed_at = (SELECT MAX(x.observed_at) FROM observation_log x WHERE x.observer_id = o.id)
      AND l.sequence = (SELECT MAX(x.sequence) FROM observation_log x
                        WHERE x.observer_id = o.id AND x.observed_at = l.observed_at)
), bounded AS (
    SELECT s.observer_id, s.start_us, COALESCE(s.next_gap, t.end_us) AS end_us
    FROM span s JOIN tail t ON t.observer_id = s.observer_id
)
SELECT o.observer_key AS observer, {start} AS valid_from, {end} AS valid_to,
       b.observer_id AS observer_id, b.start_us AS valid_from_us, b.end_us AS valid_to_us
FROM bounded b JOIN observer o ON o.id = b.observer_id
WHERE b.end_us IS NULL OR b.end_us > b.start_us
"""

# Coverage is worked out once, whatever order of joins an engine chooses: it is small, and knows no statistics.
_HISTORY = """
WITH {settled}, version AS (
    SELECT observer_id, element_id, document_id, observed_at AS start_us,
           LEAD(observed_at) OVER (PARTITION BY observer_id, element_id ORDER BY observed_at) AS end_us
    FROM settled
), watched AS MATERIALIZED (
    SELECT * FROM coverage
), shown AS (
    SELECT v.observer_id, v.element_id, v.document_id, c.observer,
           CASE WHEN v.start_us > c.valid_from_us THEN v.start_us ELSE c.valid_from_us END AS start_us,
           CASE WHEN v.end_us IS NULL THEN c.valid_to_us WHEN c.valid_to_us IS NULL THEN v.end_us
                WHEN v.end_us < c.valid_to_us THEN v.end_us ELSE c.valid_to_us END AS end_us
    FROM version v JOIN watched c ON c.observer_id = v.observer_id
         AND (v.end_us IS NULL OR v.end_us > c.valid_from_us)
         AND (c.valid_to_us IS NULL OR c.valid_to_us > v.start_us)
    WHERE v.document_id IS NOT NULL
)
"""

# The ids are what the window functions partition by: a WHERE on them reaches the tables.
_PEER_HISTORY = """
peer_history AS {history}
SELECT s.observer AS observer, e.peer1 AS peer_key,
       {device_name} AS device_name, {os} AS os, {sdk_version} AS sdk_version,
       {cloud} AS is_connected_to_cloud, {compatible} AS is_compatible,
       {peer_metadata} AS peer_metadata, {identity_service_metadata} AS identity_service_metadata,
       {start} AS valid_from, {end} AS valid_to, d.body AS document,
       s.start_us AS valid_from_us, s.end_us AS valid_to_us, s.observer_id AS observer_id, s.element_id AS element_id
FROM shown s JOIN element e ON e.id = s.element_id AND e.kind = 'peer' JOIN document d ON d.id = s.document_id
"""

_CONNECTION_HISTORY = """
connection_history AS {history}
SELECT s.observer AS observer, e.source_id AS id, e.peer1 AS peer1, e.peer2 AS peer2, e.type AS type,
       {listed_by} AS listed_by, {start} AS valid_from, {end} AS valid_to, d.body AS document,
       s.start_us AS valid_from_us, s.end_us AS valid_to_us, s.observer_id AS observer_id, s.element_id AS element_id
FROM shown s JOIN element e ON e.id = s.element_id AND e.kind = 'connection' JOIN document d ON d.id = s.document_id
"""


def upgrade() -> None:
    """Make the views again. PostgreSQL replaces them, which keeps the rights on them and the views of others that
    read them; SQLite, which cannot, knows neither."""
    connection = op.get_bind()
    engine = connection.dialect.name
    if engine == "sqlite":
        for view in VIEWS:
            connection.exec_driver_sql(f"DROP VIEW {view}")
    create = "CREATE VIEW" if engine == "sqlite" else "CREATE OR REPLACE VIEW"
    for statement in statements(engine):
        words = f"{create} {statement.lstrip()}"
        connection.exec_driver_sql(words if engine == "sqlite" else words.replace("%", "%%"))
    if engine == "postgresql":
        for view in VIEWS.keys() - {"coverage"}:
            for name, text in _IDS.items():
                connection.exec_driver_sql(f"COMMENT ON COLUMN {view}.{name} IS '{text}'")


def statements(engine: str) -> list[str]:
    """The views for an engine: each with all that stands behind ``CREATE VIEW``."""
    words = _BEFORE._WORDS[engine]

    def instant(column: str) -> str:
        return str(words["instant"].format(column))

    def member(kind: str, name: str) -> str:
        return str(words[kind].format("d.body", name))

    history = _HISTORY.format(settled=_BEFORE._SETTLED.strip())
    bounds = {"start": instant("s.start_us"), "end": instant("s.end_us"), "history": history.strip()}
    peer = {name: member("text", name) for name in ("device_name", "os", "sdk_version")}
    peer |= {name: member("json", name) for name in ("peer_metadata", "identity_service_metadata")}
    peer |= {"cloud": member("boolean", "is_connected_to_cloud"), "compatible": member("boolean", "is_compatible")}
    return [
        _COVERAGE.format(latest=_BEFORE._LATEST, start=instant("b.start_us"), end=instant("b.end_us")),
        _PEER_HISTORY.format(**bounds, **peer),
        _CONNECTION_HISTORY.format(**bounds, listed_by=member("json", "listed_by")),
    ]
