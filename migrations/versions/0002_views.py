"""The views: intervals and changes in ISO times, for people and tools that know nothing of the layout.

Revision 0002, after 0001. Written out for each engine where their dates and JSON functions differ; what differs stands
in ``_WORDS``.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MICROSECOND = "((({0}) % 1000000) + 1000000) % 1000000"
_DAY_REST = "((({0}) % 86400000000) + 86400000000) % 86400000000"
_SECONDS = f"(({{0}}) - {_MICROSECOND}) / 1000000"
_DAYS = f"(({{0}}) - {_DAY_REST}) / 86400000000"

# PostgreSQL's JSON reads neither U+0000 nor half of a surrogate pair: shown there as U+FFFD. A document holds \\u escapes of
# surrogates only where it has such a half.
_READABLE = r"regexp_replace({0}, '\\u(0000|d[89a-f][0-9a-f]{{2}})', '\ufffd', 'g')::json"

_WORDS = {
    "sqlite": {
        "instant": f"strftime('%Y-%m-%dT%H:%M:%S', {_SECONDS}, 'unixepoch') || printf('.%06dZ', {_MICROSECOND})",
        "text": "json_extract({0}, '$.{1}')",
        "boolean": "json_extract({0}, '$.{1}')",
        "json": "({0} -> '$.{1}')",
    },
    "postgresql": {
        "instant": (
            f"to_char(TIMESTAMP '1970-01-01' + make_interval(days => ({_DAYS})::integer)"
            f" + ({_DAY_REST}) * INTERVAL '1 microsecond', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        ),
        "text": f"({_READABLE} ->> '{{1}}')",
        "boolean": f"({_READABLE} ->> '{{1}}')::boolean",
        "json": f"({_READABLE} -> '{{1}}')::text",
    },
}

_OBSERVATION = """
CREATE VIEW observation AS
SELECT o.observer_key AS observer,
       {observed_at} AS observed_at,
       l.sequence AS sequence,
       {recorded_at} AS recorded_at,
       l.stopped AS stopped,
       l.max_silence / 1000000.0 AS max_silence_seconds,
       l.observer_id AS observer_id,
       l.observed_at AS observed_at_us
FROM observation_log l JOIN observer o ON o.id = l.observer_id
"""

_COVERAGE = """
CREATE VIEW coverage AS
WITH span AS (
    SELECT observer_id, observed_at AS start_us,
           LEAD(gap_from) OVER (PARTITION BY observer_id ORDER BY observed_at, sequence) AS next_gap
    FROM observation_log WHERE gap_from IS NOT NULL AND stopped = 0
), tail AS (
    SELECT l.observer_id,
           CASE WHEN l.stopped = 1 THEN COALESCE(l.gap_from, l.observed_at)
                ELSE l.observed_at + l.max_silence + 1 END AS end_us
    FROM observer o JOIN observation_log l ON l.observer_id = o.id
    WHERE (l.observed_at, l.sequence) = (
        SELECT x.observed_at, x.sequence FROM observation_log x WHERE x.observer_id = o.id
        ORDER BY x.observed_at DESC, x.sequence DESC LIMIT 1)
), bounded AS (
    SELECT s.observer_id, s.start_us, COALESCE(s.next_gap, t.end_us) AS end_us
    FROM span s JOIN tail t ON t.observer_id = s.observer_id
)
SELECT o.observer_key AS observer, {start} AS valid_from, {end} AS valid_to,
       b.observer_id AS observer_id, b.start_us AS valid_from_us, b.end_us AS valid_to_us
FROM bounded b JOIN observer o ON o.id = b.observer_id
WHERE b.end_us IS NULL OR b.end_us > b.start_us
"""

# The last row of an element at one instant counts, and only if it differs from what was there before that instant.
_SETTLED = """
settled AS (
    SELECT * FROM (
        SELECT observer_id, element_id, observed_at, document_id,
               FIRST_VALUE(previous_id) OVER (
                   PARTITION BY observer_id, element_id, observed_at ORDER BY sequence) AS before_id,
               ROW_NUMBER() OVER (
                   PARTITION BY observer_id, element_id, observed_at ORDER BY sequence DESC) AS place
        FROM element_change) ranked
    WHERE place = 1 AND COALESCE(document_id, 0) <> COALESCE(before_id, 0)
)"""

_HISTORY = """
WITH {settled}, version AS (
    SELECT observer_id, element_id, document_id, observed_at AS start_us,
           LEAD(observed_at) OVER (PARTITION BY observer_id, element_id ORDER BY observed_at) AS end_us
    FROM settled
), shown AS (
    SELECT v.observer_id, v.element_id, v.document_id, c.observer,
           CASE WHEN v.start_us > c.valid_from_us THEN v.start_us ELSE c.valid_from_us END AS start_us,
           CASE WHEN v.end_us IS NULL THEN c.valid_to_us WHEN c.valid_to_us IS NULL THEN v.end_us
                WHEN v.end_us < c.valid_to_us THEN v.end_us ELSE c.valid_to_us END AS end_us
    FROM version v JOIN coverage c ON c.observer_id = v.observer_id
         AND (v.end_us IS NULL OR v.end_us > c.valid_from_us)
         AND (c.valid_to_us IS NULL OR c.valid_to_us > v.start_us)
    WHERE v.document_id IS NOT NULL
)
"""

_PEER_HISTORY = """
CREATE VIEW peer_history AS {history}
SELECT s.observer AS observer, e.peer1 AS peer_key,
       {device_name} AS device_name, {os} AS os, {sdk_version} AS sdk_version,
       {cloud} AS is_connected_to_cloud, {compatible} AS is_compatible,
       {peer_metadata} AS peer_metadata, {identity_service_metadata} AS identity_service_metadata,
       {start} AS valid_from, {end} AS valid_to, d.body AS document,
       s.start_us AS valid_from_us, s.end_us AS valid_to_us
FROM shown s JOIN element e ON e.id = s.element_id AND e.kind = 'peer' JOIN document d ON d.id = s.document_id
"""

_CONNECTION_HISTORY = """
CREATE VIEW connection_history AS {history}
SELECT s.observer AS observer, e.source_id AS id, e.peer1 AS peer1, e.peer2 AS peer2, e.type AS type,
       {listed_by} AS listed_by, {start} AS valid_from, {end} AS valid_to, d.body AS document,
       s.start_us AS valid_from_us, s.end_us AS valid_to_us
FROM shown s JOIN element e ON e.id = s.element_id AND e.kind = 'connection' JOIN document d ON d.id = s.document_id
"""

_ATTRIBUTE_CHANGE = """
CREATE VIEW attribute_change AS
WITH RECURSIVE {settled}, pair AS (
    SELECT s.observer_id, s.element_id, s.observed_at, s.document_id,
           CASE WHEN s.before_id IS NULL THEN LAG(s.before_id) OVER element_order ELSE s.before_id END AS before_id,
           CASE WHEN s.before_id IS NULL THEN 1 ELSE 0 END AS across_absence
    FROM settled s JOIN element e ON e.id = s.element_id AND e.kind = 'peer'
    WINDOW element_order AS (PARTITION BY s.observer_id, s.element_id ORDER BY s.observed_at)
), {nodes}
SELECT o.observer_key AS observer, e.peer1 AS peer_key, {observed_at} AS observed_at,
       n.path AS path, n.before_value AS before_value, n.after_value AS after_value,
       n.across_absence AS across_absence, n.observed_at AS observed_at_us
FROM node n JOIN observer o ON o.id = n.observer_id JOIN element e ON e.id = n.element_id
WHERE NOT (n.before_is_object = 1 AND n.after_is_object = 1)
  AND COALESCE(n.before_value, '') <> COALESCE(n.after_value, '')
"""

# Walks both documents of a pair together, into objects on both sides alone. A value is its JSON text; a missing one is null.
_SQLITE_NODES = """
node AS (
    SELECT p.observer_id, p.element_id, p.observed_at, p.across_absence, '' AS path,
           b.body AS before_value, a.body AS after_value, 1 AS before_is_object, 1 AS after_is_object
    FROM pair p JOIN document b ON b.id = p.before_id JOIN document a ON a.id = p.document_id
    WHERE p.before_id <> p.document_id
    UNION ALL
    SELECT n.observer_id, n.element_id, n.observed_at, n.across_absence,
           n.path || '/' || REPLACE(REPLACE(k.key, '~', '~0'), '/', '~1'),
           (SELECT {value_b} FROM json_each(n.before_value) b WHERE b.key = k.key),
           (SELECT {value_a} FROM json_each(n.after_value) a WHERE a.key = k.key),
           (SELECT b.type = 'object' FROM json_each(n.before_value) b WHERE b.key = k.key),
           (SELECT a.type = 'object' FROM json_each(n.after_value) a WHERE a.key = k.key)
    FROM node n JOIN json_each(n.after_value) k
    WHERE n.before_is_object = 1 AND n.after_is_object = 1
    UNION ALL
    SELECT n.observer_id, n.element_id, n.observed_at, n.across_absence,
           n.path || '/' || REPLACE(REPLACE(k.key, '~', '~0'), '/', '~1'),
           {value_k}, NULL, k.type = 'object', NULL
    FROM node n JOIN json_each(n.before_value) k
    WHERE n.before_is_object = 1 AND n.after_is_object = 1
      AND k.key NOT IN (SELECT a.key FROM json_each(n.after_value) a)
)"""
_SQLITE_VALUE = (
    "CASE {0}.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN 'null'"
    " WHEN 'object' THEN {0}.value WHEN 'array' THEN {0}.value ELSE json_quote({0}.value) END"
)

_POSTGRESQL_NODES = """
node AS (
    SELECT p.observer_id, p.element_id, p.observed_at, p.across_absence, '' AS path,
           {before_body} AS before_json, {after_body} AS after_json,
           b.body AS before_value, a.body AS after_value, 1 AS before_is_object, 1 AS after_is_object
    FROM pair p JOIN document b ON b.id = p.before_id JOIN document a ON a.id = p.document_id
    WHERE p.before_id <> p.document_id
    UNION ALL
    SELECT n.observer_id, n.element_id, n.observed_at, n.across_absence,
           n.path || '/' || REPLACE(REPLACE(k.key, '~', '~0'), '/', '~1'),
           k.before_json, k.after_json, k.before_json::text, k.after_json::text,
           CASE WHEN json_typeof(k.before_json) = 'object' THEN 1 ELSE 0 END,
           CASE WHEN json_typeof(k.after_json) = 'object' THEN 1 ELSE 0 END
    FROM node n CROSS JOIN LATERAL (
        SELECT COALESCE(b.key, a.key) AS key, b.value AS before_json, a.value AS after_json
        FROM json_each(n.before_json) b FULL JOIN json_each(n.after_json) a ON a.key = b.key) k
    WHERE n.before_is_object = 1 AND n.after_is_object = 1
)"""


def upgrade() -> None:
    """Make the views."""
    for statement in statements(op.get_bind().dialect.name):
        op.get_bind().exec_driver_sql(
            statement.replace("%", "%%") if op.get_bind().dialect.name != "sqlite" else statement
        )


def statements(engine: str) -> list[str]:
    """The views for an engine, each as one statement."""
    words = _WORDS[engine]

    def instant(column: str) -> str:
        return words["instant"].format(column)

    history = _HISTORY.format(settled=_SETTLED)
    bounds = {"start": instant("s.start_us"), "end": instant("s.end_us"), "history": history}
    peer = {
        "device_name": words["text"].format("d.body", "device_name"),
        "os": words["text"].format("d.body", "os"),
        "sdk_version": words["text"].format("d.body", "sdk_version"),
        "cloud": words["boolean"].format("d.body", "is_connected_to_cloud"),
        "compatible": words["boolean"].format("d.body", "is_compatible"),
        "peer_metadata": words["json"].format("d.body", "peer_metadata"),
        "identity_service_metadata": words["json"].format("d.body", "identity_service_metadata"),
    }
    if engine == "sqlite":
        values = {f"value_{name}": _SQLITE_VALUE.format(name) for name in "abk"}
        nodes = _SQLITE_NODES.format(**values)
    else:
        bodies = {"before_body": _READABLE.format("b.body"), "after_body": _READABLE.format("a.body")}
        nodes = _POSTGRESQL_NODES.format(**bodies)
    return [
        _OBSERVATION.format(observed_at=instant("l.observed_at"), recorded_at=instant("l.recorded_at")),
        _COVERAGE.format(start=instant("b.start_us"), end=instant("b.end_us")),
        _PEER_HISTORY.format(**bounds, **peer),
        _CONNECTION_HISTORY.format(**bounds, listed_by=words["json"].format("d.body", "listed_by")),
        _ATTRIBUTE_CHANGE.format(settled=_SETTLED, nodes=nodes, observed_at=instant("n.observed_at")),
    ]
