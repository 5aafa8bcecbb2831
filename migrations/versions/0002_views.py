"""The views: intervals and changes in ISO times, for people and tools that know nothing of the layout.

Revision 0002, after 0001. Written out for each engine where their dates and JSON functions differ; what differs stands
in ``_WORDS`` and in the two ways of walking through a pair of documents.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_US = "As {0}, in microseconds since 1970 UTC."
_FROM = "Since when it holds: ISO 8601, UTC. Half-open: it holds at this instant."
_TO = "Until when, exclusive; null: it still holds."
_BOUNDS = {"valid_from": _FROM, "valid_to": _TO}
_BOUNDS_US = {f"{name}_us": _US.format(name) for name in _BOUNDS}
_OBSERVER = "Whose view it is: its peer key, or the name it was given."

VIEWS = {
    "observation": (
        "Every observation, unchanged ones and stop markers too.",
        {
            "observer": "Who observed: its peer key, or the name it was given.",
            "observed_at": "Valid time: ISO 8601, UTC, on the observer's clock.",
            "sequence": "Order among observations of one instant.",
            "recorded_at": "Transaction time: ISO 8601, UTC, on the store's clock.",
            "stopped": "1: a stop marker (graph null); 0: a presence graph.",
            "max_silence_seconds": "Declared limit of silence; null: none declared.",
            "observer_id": "Its id in the table observer.",
            "observed_at_us": _US.format("observed_at"),
        },
    ),
    "coverage": (
        "When an observer was watching, by the limits of silence that it declared.",
        {"observer": _OBSERVER, **_BOUNDS, "observer_id": "Its id in the table observer.", **_BOUNDS_US},
    ),
    "peer_history": (
        "Versions of a peer in the view of one observer: an interval for each, within the observer's coverage.",
        {
            "observer": _OBSERVER,
            "peer_key": "The peer.",
            "device_name": "Its device name; null: unknown.",
            "os": "Its operating system; null: unknown.",
            "sdk_version": "Its SDK's version; null: unknown.",
            "is_connected_to_cloud": "Whether it is connected to the cloud (SQLite: 1 or 0); null: unknown.",
            "is_compatible": "Whether it is compatible with the observer (SQLite: 1 or 0); null: unknown.",
            "peer_metadata": "Its metadata as JSON text; null: it has none.",
            "identity_service_metadata": "Metadata of the identity service as JSON text; null: it has none.",
            **_BOUNDS,
            "document": "All its attributes, unknown fields too, as canonical JSON text.",
            **_BOUNDS_US,
        },
    ),
    "connection_history": (
        "Versions of a connection in the view of one observer: an interval for each, within the observer's coverage.",
        {
            "observer": _OBSERVER,
            "id": "The id that the source gave the connection.",
            "peer1": "The smaller peer key, in byte order.",
            "peer2": "The greater peer key.",
            "type": "Its type, such as Bluetooth.",
            "listed_by": "Who lists it, as a JSON array: 1 for peer1, 2 for peer2, else the key of a third peer.",
            **_BOUNDS,
            "document": "All its attributes as canonical JSON text.",
            **_BOUNDS_US,
        },
    ),
    "attribute_change": (
        "One attribute of one peer took another value, against the last one seen while the peer was present.",
        {
            "observer": _OBSERVER,
            "peer_key": "The peer.",
            "observed_at": "When the new value was first seen: ISO 8601, UTC.",
            "path": "JSON Pointer within the peer, such as /device_name or /peer_metadata/role.",
            "before_value": "The value before as JSON text ('null' is a value); null: it was missing.",
            "after_value": "The value from then on as JSON text; null: it is missing.",
            "across_absence": "1: the peer was away in between; 0: it was not.",
            "observed_at_us": _US.format("observed_at"),
        },
    ),
}
"""Each view's meaning and that of its columns, in their order."""

_LATEST = 253402300799999999  # the last microsecond of the year 9999
_MICROSECOND = "((({0}) % 1000000) + 1000000) % 1000000"
_DAY_REST = "((({0}) % 86400000000) + 86400000000) % 86400000000"
_SECONDS = f"(({{0}}) - {_MICROSECOND}) / 1000000"
_DAYS = f"(({{0}}) - {_DAY_REST}) / 86400000000"

# SQLite's functions cut a text at U+0000, and give half of a surrogate pair as bytes that are no UTF-8. A document
# holds \\u0000 and \\ud... only where it has such characters: a text with one is shown as it is escaped in JSON.
_PLAIN = r"instr(replace({0}, '\\', ''), '\u0000') + instr(replace({0}, '\\', ''), '\ud') = 0"
_SQLITE_TEXT = (
    f"CASE WHEN {_PLAIN.format('{0}')} OR json_type({{0}}, '$.{{1}}') <> 'text'"
    " THEN CAST(json_extract({0}, '$.{1}') AS TEXT)"
    " ELSE substr({0} -> '$.{1}', 2, length({0} -> '$.{1}') - 2) END"
)

# PostgreSQL's JSON takes neither: both are shown there as U+FFFD. What follows an escaped backslash is no escape.
_READABLE = (
    r"CASE WHEN strpos({0}, '\u') = 0 THEN {0} ELSE "
    r"regexp_replace({0}, '(?<!\\)((?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{{2}})', '\1' || chr(65533), 'g') END::json"
)

_WORDS = {
    "sqlite": {
        "instant": f"strftime('%Y-%m-%dT%H:%M:%S', {_SECONDS}, 'unixepoch') || printf('.%06dZ', {_MICROSECOND})",
        "text": _SQLITE_TEXT,
        "boolean": "json_extract({0}, '$.{1}')",
        "json": "({0} -> '$.{1}')",
    },
    "postgresql": {
        "instant": (
            f"to_char(TIMESTAMP '1970-01-01' + make_interval(days => ({_DAYS})::integer)"
            f" + ({_DAY_REST}) * INTERVAL '1 microsecond', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        ),
        "text": f"(({_READABLE}) ->> '{{1}}')",
        "boolean": f"(({_READABLE}) ->> '{{1}}')::boolean",
        "json": f"(({_READABLE}) -> '{{1}}')::text",
    },
}

_OBSERVATION = """
CREATE VIEW observation AS
SELECT o.observer_key AS observer,
       {observed_at} AS observed_at,
       l.sequence AS sequence,
       {recorded_at} AS recorded_at,
       l.stopped AS stopped,
       CAST(l.max_silence AS DOUBLE PRECISION) / 1000000 AS max_silence_seconds,
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
                WHEN l.observed_at + l.max_silence < {latest} THEN l.observed_at + l.max_silence + 1
                END AS end_us
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
# What a graph changed at an instant at which its observer stopped was never seen to hold: it counts from the next
# instant whose last observation is a graph (``unseen`` names those instants).
_SETTLED = """
unseen AS (
    SELECT l.observer_id, l.observed_at,
           (SELECT MIN(n.observed_at) FROM observation_log n
            WHERE n.observer_id = l.observer_id AND n.observed_at > l.observed_at AND n.stopped = 0
              AND NOT EXISTS (SELECT 1 FROM observation_log x WHERE x.observer_id = n.observer_id
                              AND x.observed_at = n.observed_at AND x.sequence > n.sequence)) AS seen_at
    FROM observation_log l
    WHERE l.stopped = 1 AND l.sequence > 0
      AND NOT EXISTS (SELECT 1 FROM observation_log x WHERE x.observer_id = l.observer_id
                      AND x.observed_at = l.observed_at AND x.sequence > l.sequence)
), seen AS (
    SELECT c.observer_id, c.element_id, c.observed_at AS changed_at, c.sequence, c.document_id, c.previous_id,
           CASE WHEN u.observed_at IS NULL THEN c.observed_at ELSE u.seen_at END AS observed_at
    FROM element_change c
    LEFT JOIN unseen u ON u.observer_id = c.observer_id AND u.observed_at = c.observed_at
), settled AS (
    SELECT * FROM (
        SELECT observer_id, element_id, observed_at, document_id,
               FIRST_VALUE(previous_id) OVER (
                   PARTITION BY observer_id, element_id, observed_at ORDER BY changed_at, sequence) AS before_id,
               ROW_NUMBER() OVER (
                   PARTITION BY observer_id, element_id, observed_at ORDER BY changed_at DESC, sequence DESC) AS place
        FROM seen WHERE observed_at IS NOT NULL) ranked
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

# Walks both documents of a pair together, into objects on both sides alone. A value is its JSON text; a missing one is
# null.
_SQLITE_NODES = """
node AS (
    SELECT p.observer_id, p.element_id, p.observed_at, p.across_absence, '' AS path,
           b.body AS before_value, a.body AS after_value, 1 AS before_is_object, 1 AS after_is_object
    FROM pair p JOIN document b ON b.id = p.before_id JOIN document a ON a.id = p.document_id
    WHERE p.before_id <> p.document_id
    UNION ALL
    SELECT n.observer_id, n.element_id, n.observed_at, n.across_absence,
           n.path || '/' || REPLACE(REPLACE({name_a}, '~', '~0'), '/', '~1'),
           {value_b}, {value_a}, b.type IS 'object', a.type IS 'object'
    FROM node n JOIN json_each(n.after_value) a LEFT JOIN json_each(n.before_value) b ON {name_b} = {name_a}
    WHERE n.before_is_object = 1 AND n.after_is_object = 1
    UNION ALL
    SELECT n.observer_id, n.element_id, n.observed_at, n.across_absence,
           n.path || '/' || REPLACE(REPLACE({name_b}, '~', '~0'), '/', '~1'),
           {value_b}, NULL, b.type IS 'object', 0
    FROM node n JOIN json_each(n.before_value) b
    WHERE n.before_is_object = 1 AND n.after_is_object = 1
      AND NOT EXISTS (SELECT 1 FROM json_each(n.after_value) a WHERE {name_a} = {name_b})
)"""
_SQLITE_NAME = (
    f"CASE WHEN {_PLAIN.format('{0}.fullkey')} THEN {{0}}.key"
    " ELSE substr({0}.fullkey, 4, length({0}.fullkey) - 4) END"
)
# As a value of SQLite a number loses digits, and a text what _PLAIN tells of: its JSON text is read by its path, which
# a key with a quotation mark has not.
_SQLITE_VALUE = (
    "CASE WHEN {0}.type IN ('true', 'false', 'null') THEN {0}.type"
    " WHEN {0}.type IN ('object', 'array') THEN {0}.value"
    " WHEN instr({0}.key, '\"') > 0 THEN json_quote({0}.value)"
    " WHEN {0}.type = 'text' AND " + _PLAIN.format("({1} -> {0}.fullkey)") + " THEN json_quote({0}.value)"
    " ELSE {1} -> {0}.fullkey END"
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
    """Make the views; on PostgreSQL with their comments."""
    connection = op.get_bind()
    engine = connection.dialect.name
    for statement in statements(engine):
        connection.exec_driver_sql(statement if engine == "sqlite" else statement.replace("%", "%%"))
    if engine == "postgresql":
        for statement in comments():
            connection.exec_driver_sql(statement)


def comments() -> list[str]:
    """What is told of each view and column, as statements of PostgreSQL."""
    made = []
    for view, (meaning, columns) in VIEWS.items():
        made.append(f"COMMENT ON VIEW {view} IS {_quoted(meaning)}")
        made += [f"COMMENT ON COLUMN {view}.{name} IS {_quoted(text)}" for name, text in columns.items()]
    return made


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def statements(engine: str) -> list[str]:
    """The views for an engine, each as one statement."""
    words = _WORDS[engine]

    def instant(column: str) -> str:
        return words["instant"].format(column)

    def member(kind: str, name: str) -> str:
        return words[kind].format("d.body", name)

    bounds = {"start": instant("s.start_us"), "end": instant("s.end_us"), "history": _HISTORY.format(settled=_SETTLED)}
    peer = {name: member("text", name) for name in ("device_name", "os", "sdk_version")}
    peer |= {name: member("json", name) for name in ("peer_metadata", "identity_service_metadata")}
    peer |= {"cloud": member("boolean", "is_connected_to_cloud"), "compatible": member("boolean", "is_compatible")}
    nodes = _sqlite_nodes() if engine == "sqlite" else _postgresql_nodes()
    return [
        _OBSERVATION.format(observed_at=instant("l.observed_at"), recorded_at=instant("l.recorded_at")),
        _COVERAGE.format(latest=_LATEST, start=instant("b.start_us"), end=instant("b.end_us")),
        _PEER_HISTORY.format(**bounds, **peer),
        _CONNECTION_HISTORY.format(**bounds, listed_by=member("json", "listed_by")),
        _ATTRIBUTE_CHANGE.format(settled=_SETTLED, nodes=nodes, observed_at=instant("n.observed_at")),
    ]


def _sqlite_nodes() -> str:
    sides = {"a": "n.after_value", "b": "n.before_value"}
    words = {f"value_{side}": _SQLITE_VALUE.format(side, value) for side, value in sides.items()}
    return _SQLITE_NODES.format(**words, **{f"name_{side}": _SQLITE_NAME.format(side) for side in sides})


def _postgresql_nodes() -> str:
    return _POSTGRESQL_NODES.format(before_body=_READABLE.format("b.body"), after_body=_READABLE.format("a.body"))
