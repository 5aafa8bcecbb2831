"""The CSV export: exact for whoever undoes its one rule, harmless in a spreadsheet, the same bytes each time."""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given, settings

from peerstore.errors import InputError
from peerstore.exporting.csv_tables import read_table, write
from peerstore.exporting.source import Options, Selection, Source
from peerstore.exporting.tables import TABLES
from peerstore.spreadsheets import FORMULA
from tests.strange import MIDNIGHT, TEXTS, Told, shuffled_and_repeated, strange_histories, told_to_source
from tests.worlds import WORLDS, arguments, recorded, tried, worlds

NAME = [column.name for column in TABLES["peers"].columns].index("device_name")


@contextmanager
def exported(source: Source) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        write(source, Path(folder))
        yield Path(folder)


def assert_read_back(source: Source) -> None:
    with exported(source) as folder:
        for table in TABLES.values():
            assert list(read_table(folder, table)) == list(table.rows(source)), table.name


def cells(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def named(*names: str | None) -> Told:
    """An observation of devices with these names."""
    peers = [{"peerKeyString": f"peer {place:03}", "deviceName": name} for place, name in enumerate(names)]
    return [{"observed_at": MIDNIGHT, "graph": {"localPeer": peers[0], "remotePeers": peers[1:]}}]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_world_is_read_back(engine: str) -> None:
    @tried(engine)
    @given(worlds())
    def holds(world: Any) -> None:
        with recorded(world, engine) as (store, _), store.snapshot() as snapshot:
            assert_read_back(Source(snapshot, Selection(**arguments(world))))

    holds()


@tried("sqlite")
@given(strange_histories())
def test_whatever_a_device_says_is_read_back_and_begins_no_formula(told: Told) -> None:
    with told_to_source(told) as source, exported(source) as folder:
        assert_read_back(source)
        for file in folder.iterdir():
            for row in cells(file):
                assert not any(cell.startswith(FORMULA) for cell in row)


@settings(tried("sqlite"), max_examples=WORLDS // 2)
@given(strange_histories(), st.integers())
def test_the_order_of_recording_leaves_no_trace(told: Told, seed: int) -> None:
    assert files(told) == files(shuffled_and_repeated(told, seed))


def files(told: Told) -> dict[str, bytes]:
    with told_to_source(told) as source, exported(source) as folder:
        return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_every_file_is_as_rfc_4180_has_it() -> None:
    content = files(named("Till", "a,b", 'say "hi"', "two\r\nlines"))
    assert sorted(content) == sorted(f"{name}.csv" for name in TABLES)
    first, *lines = content["peers.csv"].decode("utf-8").split("\r\n")
    assert first == ",".join(column.name for column in TABLES["peers"].columns)
    assert lines[0] == (
        "peer 000,Till,,,,,{},{},true,true,2026-07-09T00:00:00.000000Z,2026-07-09T00:00:00.000000Z,"
        '"{""device_name"":""Till""}"'
    )
    assert lines[1].startswith('peer 001,"a,b",')
    assert lines[2].startswith('peer 002,"say ""hi""",')
    assert (lines[3], lines[4][:7]) == ('peer 003,"two', 'lines",')
    assert lines[-1] == ""


@pytest.mark.parametrize("text", [text for text in TEXTS if not {"\0", "\ud800", "\\"} & set(text)], ids=ascii)
def test_a_reader_that_drops_one_apostrophe_has_the_text(text: str) -> None:
    with told_to_source(named(text, None)) as source, exported(source) as folder:
        [_, row, nothing] = cells(folder / "peers.csv")
        assert row[NAME].removeprefix("'") == text
        assert row[NAME] != "" == nothing[NAME]
        assert not row[NAME].startswith(FORMULA)


def test_apostrophes_stand_only_where_the_rule_says() -> None:
    with told_to_source(named("=1", "'", "", None, "it's", "1")) as source, exported(source) as folder:
        assert [row[NAME] for row in cells(folder / "peers.csv")[1:]] == ["'=1", "''", "'", "", "it's", "1"]


def test_raw_texts_stand_as_they_are() -> None:
    texts = [text for text in TEXTS if not {"\0", "\ud800", "\\"} & set(text)]
    with told_to_source(named(*texts), options=Options(raw_csv=True)) as source, exported(source) as folder:
        assert [row[NAME] for row in cells(folder / "peers.csv")[1:]] == texts


def test_json_that_begins_with_a_minus_is_guarded() -> None:
    told = named("till")
    told[0]["graph"]["localPeer"]["peerMetadata"] = {"n": -5}
    with told_to_source(told) as source, exported(source) as folder:
        values = {path: value for _, path, value, _ in cells(folder / "metadata.csv")[1:]}
        assert values["/peer_metadata/n"] == "'-5"
        read = {path: value for _, path, value, _ in read_table(folder, TABLES["metadata"])}
        assert read["/peer_metadata/n"] == "-5"


def test_others_read_the_same() -> None:
    with told_to_source(named(*TEXTS[2:15], "plain", None)) as source, exported(source) as folder:
        wanted = [None if cell == "" else cell for cell in (row[NAME] for row in cells(folder / "peers.csv")[1:])]
        read = pd.read_csv(folder / "peers.csv", keep_default_na=False, na_values=[""])
        assert [None if pd.isna(name) else name for name in read["device_name"]] == wanted
        query = "SELECT device_name, first_seen FROM read_csv(?, header = true, all_varchar = true)"
        names, times = zip(*duckdb.execute(query, [str(folder / "peers.csv")]).fetchall(), strict=True)
        assert list(names) == wanted
        assert {datetime.fromisoformat(time) for time in times} == {MIDNIGHT.astimezone(UTC)}


def test_a_text_of_a_megabyte_is_read_back() -> None:
    with told_to_source(named("x" * 1_000_000, "=" * 1_000_000)) as source:
        assert_read_back(source)
    assert csv.field_size_limit() >= min(sys.maxsize, 2**31 - 1)


def test_progress_and_counts_are_of_rows() -> None:
    done: list[int] = []
    with told_to_source(named(*map(str, range(2_500)))) as source, tempfile.TemporaryDirectory() as folder:
        source.progress = done.append
        counts = write(source, Path(folder))
        assert counts == {name: len(list(table.rows(source))) for name, table in TABLES.items()}
    assert sum(done) == sum(counts.values())
    assert max(done) <= 1_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "other columns"),
        (b"a,b\r\n", "other columns"),
        (b"peer_key,path,value,text\r\np,/a\r\n", "row 1 of metadata.csv has 2 cells, not 4"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(InputError, match=said):
        list(read_table(tmp_path, TABLES["metadata"]))


def test_a_cell_that_is_no_value_is_refused(tmp_path: Path) -> None:
    write_lines = "peer_key,start,end,end_reason,gaps\r\np,yesterday,,,0\r\n"
    (tmp_path / "peer_sessions.csv").write_text(write_lines, encoding="utf-8", newline="")
    with pytest.raises(InputError, match=r"start in row 1 of peer_sessions\.csv is no time"):
        list(read_table(tmp_path, TABLES["peer_sessions"]))
