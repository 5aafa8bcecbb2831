"""Real histories in the formats of tables: what other tools read is what the store answers."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import peerstore
from peerstore.exporting.source import Selection, Source
from tests.conftest import drop_url, fresh_url
from tests.test_export_parquet import assert_read_back
from tests.test_export_sqlite import assert_same, assert_sound, exported

CASES = [
    ("postgresql", "nycmesh/snapshots"),
    ("sqlite", "nycmesh/snapshots"),
    ("sqlite", "freifunk/snapshots"),
    ("sqlite", "tor-sample/snapshots"),
    ("sqlite", "workplace/collector"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "name"), CASES)
def test_a_real_history_is_read_back(shared: Path, tmp_path: Path, engine: str, name: str) -> None:
    data = gzip.decompress((shared / f"{name}.ndjson.gz").read_bytes())
    url = fresh_url(engine)
    with peerstore.open(url) as store:
        store.record_many(data.splitlines(keepends=True))
        counts = exported(store, tmp_path / "x.db")
        assert_sound(tmp_path / "x.db")
        assert_same(tmp_path / "x.db", store, Selection(), counts)
        with store.snapshot() as snapshot:
            assert_read_back(Source(snapshot), ["duckdb"])
    drop_url(url)
