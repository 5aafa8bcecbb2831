"""What Datasette is told of an exported SQLite file: titles, descriptions, facets, and queries to begin with.

Datasette reads it with ``datasette mesh.db --metadata mesh.db.metadata.json``.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from peerstore.exporting.sqlite import micros_in_sql
from peerstore.exporting.tables import TABLES, Column, ExportTable

_SHOWN: dict[str, dict[str, Any]] = {
    "peers": {"label_column": "device_name", "sort": "device_name", "facets": ["os", "sdk_version"]},
    "connections": {"label_column": "type", "facets": ["type"]},
    "peer_sessions": {"sort_desc": "start", "facets": ["end_reason"]},
    "connection_sessions": {"sort_desc": "start", "facets": ["type", "end_reason"]},
    "attribute_changes": {"sort_desc": "observed_at", "facets": ["path"]},
    "metadata": {"facets": ["path"]},
    "observations": {"sort_desc": "observed_at"},
    "meanings": {"facets": ["table_name"]},
}

_SECONDS = "How long it lasted, in seconds; none: it still holds."
_NAMES = {"name1": "The device name of peer1.", "name2": "The device name of peer2."}

_VIEWS = {
    "peer_sessions_named": ("The sessions of peers with device names and durations.", "peer_sessions", "start"),
    "connections_named": ("Every connection that was there, with the device names of its ends.", "connections", ""),
    "connection_sessions_named": (
        "The sessions of connections with device names and durations.",
        "connection_sessions",
        "start",
    ),
}
"""Of every view: what it holds, of which table, and by which column it is sorted, newest first."""

_MEANINGS = {
    "table_name": "The table.",
    "column_name": "The column; empty: what is said is said of the table.",
    "kind": "table, or what the column holds: text, integer, boolean (0, 1), time, seconds, json.",
    "meaning": "What it means.",
}

_KINDS = {
    "boolean": "0: no, 1: yes.",
    "time": "In UTC, to the microsecond.",
    "json": "As JSON.",
}

_MOMENT = """WITH moment(at) AS (
  SELECT CASE
    WHEN :at = '' THEN coalesce(
      (SELECT observed_at FROM observations WHERE NOT stopped ORDER BY observed_at DESC LIMIT 1),
      (SELECT max(start) FROM peer_sessions))
    WHEN :at GLOB '????-??-??T??:??:??.??????Z' THEN :at
    ELSE strftime('%Y-%m-%dT%H:%M:%f000Z', :at)
  END
)
"""
_AT = "at: a time such as 2026-07-08T14:03:30Z, or with an offset; empty: that of the last observation in this file."
_NOBODY = "No rows mean that nothing was there or that nobody was watching: ask who was watching."

_AGE = f"({micros_in_sql('m.at')} - {micros_in_sql('o.observed_at')}) / 1000000.0"

_QUERIES = {
    "presence_at": (
        "Who was there at a moment?",
        f"The peers that were present, under the names last known, and since and until when. {_AT} {_NOBODY}",
        ("at",),
        """SELECT m.at, p.device_name, s.peer_key, s.start, s.end
FROM moment m
JOIN peer_sessions s ON s.start <= m.at AND (s.end > m.at OR s.end IS NULL)
JOIN peers p ON p.peer_key = s.peer_key
ORDER BY p.device_name, s.peer_key""",
    ),
    "connections_at": (
        "Who was connected to whom at a moment?",
        f"The connections that were there, and since and until when. {_AT} {_NOBODY}",
        ("at",),
        """SELECT m.at, a.device_name AS name1, b.device_name AS name2, s.type, s.start, s.end,
  s.peer1, s.peer2
FROM moment m
JOIN connection_sessions s ON s.start <= m.at AND (s.end > m.at OR s.end IS NULL)
JOIN peers a ON a.peer_key = s.peer1
JOIN peers b ON b.peer_key = s.peer2
ORDER BY name1, name2, s.type, s.peer1, s.peer2, s.connection_key""",
    ),
    "watching_at": (
        "Who was watching at a moment?",
        (
            "Every observer with its last observation until then, and whether that still held, by what it declared; "
            f"none: this file holds no observation of it until then. {_AT}"
        ),
        ("at",),
        """SELECT m.at, p.device_name, v.observer, o.observed_at, {age} AS age_seconds,
  o.max_silence_seconds, o.stopped,
  CASE WHEN o.stopped IS NOT NULL THEN
    NOT o.stopped AND (o.max_silence_seconds IS NULL OR {age} <= o.max_silence_seconds)
  END AS watching
FROM moment m
CROSS JOIN observers v
LEFT JOIN peers p ON p.peer_key = v.observer
LEFT JOIN observations o ON o.observer = v.observer AND (o.observed_at, o.sequence) = (
  SELECT observed_at, sequence FROM observations
  WHERE observer = v.observer AND observed_at <= m.at
  ORDER BY observed_at DESC, sequence DESC LIMIT 1
)
ORDER BY v.observer""",
    ),
    "sessions_of_peer": (
        "When was a peer there?",
        (
            "Its unbroken presences, the newest first. peer: its key, the beginning of its key, or its name; empty: "
            "everybody."
        ),
        ("peer",),
        """SELECT s.device_name, s.peer_key, s.start, s.end, s.seconds, s.end_reason, s.gaps
FROM peer_sessions_named s
WHERE s.peer_key IN (
  SELECT peer_key FROM peers WHERE substr(peer_key, 1, length(:peer)) = :peer OR device_name = :peer
)
ORDER BY s.start DESC, s.peer_key""",
    ),
    "who_had_value": (
        "Who had which value, and from when to when?",
        (
            "The values of one attribute. path: such as /peer_metadata/role; empty: /device_name. value: a "
            "text, or JSON; empty: every value. since: from when on this file knows it; until: when it changed."
        ),
        ("path", "value"),
        """WITH begun(at) AS (SELECT min(observed_at) FROM observations),
changed AS (
  SELECT peer_key, observed_at, before, after,
    row_number() OVER turns AS turn, lead(observed_at) OVER turns AS next
  FROM attribute_changes
  WHERE path = coalesce(nullif(:path, ''), '/device_name')
  WINDOW turns AS (PARTITION BY peer_key ORDER BY observed_at)
),
held(peer_key, value, since, until) AS (
  SELECT peer_key, after, observed_at, next FROM changed
  UNION ALL
  SELECT c.peer_key, c.before, max(p.first_seen, b.at), c.observed_at
  FROM begun b CROSS JOIN changed c JOIN peers p ON p.peer_key = c.peer_key
  WHERE c.turn = 1
  UNION ALL
  SELECT m.peer_key, m.value, max(p.first_seen, b.at), NULL
  FROM begun b CROSS JOIN metadata m JOIN peers p ON p.peer_key = m.peer_key
  WHERE m.path = coalesce(nullif(:path, ''), '/device_name') AND m.peer_key NOT IN (SELECT peer_key FROM changed)
)
SELECT p.device_name, h.peer_key, h.value, h.since, h.until
FROM held h JOIN peers p ON p.peer_key = h.peer_key
WHERE h.value IS NOT NULL AND (:value = '' OR h.value = :value OR json_extract(h.value, '$') = :value)
ORDER BY h.since, h.peer_key""",
    ),
}
"""The queries: title, description, parameters, SQL. Those with a parameter ``at`` begin with :data:`_MOMENT`."""


def datasette_metadata(database_name: str) -> dict[str, Any]:
    """The metadata of an exported SQLite file, as Datasette 0.65 and later read it.

    ``database_name`` is what Datasette calls the database: the name of its file without the last ending.

    >>> metadata = datasette_metadata("mesh")["databases"]["mesh"]
    >>> metadata["tables"]["peers"]["columns"]["peer_key"]
    'Its key; anonymous:... is a handle for one without a key.'
    >>> metadata["queries"]["sessions_of_peer"]["title"]
    'When was a peer there?'
    """
    tables = {name: _table(table) for name, table in TABLES.items()}
    tables["meanings"] = {"description": "What every table and column means.", "columns": _MEANINGS}
    for name, shown in _SHOWN.items():
        tables[name].update(shown)
    tables.update({name: _view(name) for name in _VIEWS})
    described = {"description_html": _description(), "tables": tables, "queries": _queries()}
    return {"title": "The history of a Ditto mesh", "databases": {database_name: described}}


def write_beside(database: Path) -> Path:
    """Write the metadata of an exported SQLite file beside it, as ``mesh.db.metadata.json`` beside ``mesh.db``; gives
    that path. A file of that name is replaced."""
    beside = database.with_name(f"{database.name}.metadata.json")
    beside.write_text(json.dumps(datasette_metadata(database.stem), indent=2) + "\n", encoding="utf-8")
    return beside


def _table(table: ExportTable) -> dict[str, Any]:
    return {"description": table.meaning, "columns": {column.name: _meaning(column) for column in table.columns}}


def _meaning(column: Column) -> str:
    return f"{column.meaning} {_KINDS[column.kind]}" if column.kind in _KINDS else column.meaning


def _view(name: str) -> dict[str, Any]:
    meaning, of, newest = _VIEWS[name]
    columns = {column.name: _meaning(column) for column in TABLES[of].columns}
    added = {"device_name": "The device name of the peer."} if of == "peer_sessions" else _NAMES
    seconds = {"seconds": _SECONDS} if newest else {}
    described = {"description": meaning, "columns": {**added, **columns, **seconds}}
    return {**described, "sort_desc": newest} if newest else described


def _description() -> str:
    told = [(name, table.meaning) for name, table in TABLES.items()]
    told += [(name, meaning) for name, (meaning, _, _) in _VIEWS.items()]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(meaning)}</dd>" for name, meaning in told)
    return (
        "<p>Who was present in the mesh, connected to whom, and with which attributes, as its observers recorded it. "
        "What nobody watched is not known: it is not absence.</p>"
        f'<dl class="column-descriptions">{listed}</dl>'
    )


def _queries() -> dict[str, Any]:
    return {
        name: {
            "title": title,
            "description": description,
            "params": list(parameters),
            "sql": (_MOMENT if "at" in parameters else "") + sql.replace("{age}", _AGE),
            "hide_sql": True,
        }
        for name, (title, description, parameters, sql) in _QUERIES.items()
    }
