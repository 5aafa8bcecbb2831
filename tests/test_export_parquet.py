"""Parquet and Arrow: what DuckDB, pandas and Polars read is what the store answers."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import hypothesis.strategies as st
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

import peerstore
from peerstore.canonical import loads
from peerstore.errors import QuestionError
from peerstore.exporting import arrow
from peerstore.exporting.parquet import write
from peerstore.exporting.source import Selection, Source
from peerstore.exporting.tables import TABLES, ExportTable, Row
from tests.machine import instants
from tests.strange import MICROSECOND, MIDNIGHT, Told, shuffled_and_repeated, strange_histories, told_to_source
from tests.worlds import WORLDS, World, arguments, recorded, tried, worlds

BY_DAY = [table.name for table in TABLES.values() if table.by_day]


@contextmanager
def exported(source: Source) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        counts = write(source, Path(folder))
        assert counts == {name: len(list(table.rows(source))) for name, table in TABLES.items()}
        yield Path(folder)


def unordered(rows: Any) -> Counter[Row]:
    return Counter(map(tuple, rows))


def by_duckdb(folder: Path, table: ExportTable) -> list[Row]:
    """The rows as DuckDB reads them, without the column that is in the path."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    files = f"read_parquet('{folder}/{table.name}/**/*.parquet', hive_partitioning = true)"
    duckdb.execute("SET TimeZone = 'UTC'")  # else year 1 has no local time west of Greenwich
    rows: list[Row] = duckdb.sql(f"SELECT {names} FROM {files}").fetchall()
    return rows


def by_polars(folder: Path, table: ExportTable) -> list[Row]:
    read = pl.read_parquet(folder / table.name / "**/*.parquet", hive_partitioning=True)
    rows: list[Row] = read.select([column.name for column in table.columns]).rows()
    return rows


def by_pandas(folder: Path, table: ExportTable) -> list[Row]:
    return rows_of(pd.read_parquet(folder / table.name), table)


def rows_of(frame: pd.DataFrame, table: ExportTable) -> list[Row]:
    """The rows of a data frame with values of Python's own."""
    columns = [[plain(value) for value in frame[column.name]] for column in table.columns]
    return list(zip(*columns, strict=True))


def plain(value: Any) -> Any:
    if value is None or pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return datetime(value.year, value.month, value.day, tzinfo=UTC) + timedelta(
            hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
        )
    return value


READERS = {"duckdb": by_duckdb, "polars": by_polars, "pandas": by_pandas}


def assert_read_back(source: Source, readers: Collection[str] = tuple(READERS)) -> None:
    """The readers find the rows of every table; in Arrow they are in their order."""
    with exported(source) as folder:
        for table in TABLES.values():
            told = list(table.rows(source))
            for name in readers:
                assert unordered(READERS[name](folder, table)) == unordered(told), (table.name, name)
            assert [tuple(row.values()) for row in arrow.to_arrow(source, table.name).to_pylist()] == told


def selections(world: World) -> st.SearchStrategy[Selection]:
    scope = arguments(world)
    moments = instants.map(peerstore.times.instant)
    return st.one_of(
        st.just(Selection(**scope)),
        moments.map(lambda at: Selection(at=at, **scope)),
        st.tuples(moments, moments).map(lambda pair: Selection(min(pair), max(pair), **scope)),
    )


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_world_is_read_back(engine: str) -> None:
    @tried(engine)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        world = data.draw(worlds())
        with recorded(world, engine) as (store, _), store.snapshot() as snapshot:
            assert_read_back(Source(snapshot, data.draw(selections(world))), ["duckdb"])

    holds()


@tried("sqlite")
@given(strange_histories())
def test_whatever_a_device_says_is_read_back(told: Told) -> None:
    with told_to_source(told) as source:
        assert_read_back(source)


@settings(tried("sqlite"), max_examples=WORLDS // 2)
@given(strange_histories(), st.integers())
def test_the_order_of_recording_leaves_no_trace(told: Told, seed: int) -> None:
    assert files(told) == files(shuffled_and_repeated(told, seed))


def files(told: Told) -> dict[str, bytes]:
    with told_to_source(told) as source, exported(source) as folder:
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@settings(tried("sqlite"), max_examples=WORLDS // 2)
@given(strange_histories())
def test_a_file_holds_one_day_in_the_order_of_the_table(told: Told) -> None:
    with told_to_source(told) as source, exported(source) as folder:
        for table in TABLES.values():
            days: dict[str, list[Row]] = defaultdict(list)
            for row in table.rows(source):
                days[day_of(table, row)].append(row)
            found = {str(file.relative_to(folder)): rows_in(file) for file in folder.glob(f"{table.name}/**/*.parquet")}
            assert {name: rows for name, rows in found.items() if rows} == dict(days)
            assert len(found) == max(len(days), 1)


def day_of(table: ExportTable, row: Row) -> str:
    if table.by_day is None:
        return f"{table.name}/part-0.parquet"
    moment = row[[column.name for column in table.columns].index(table.by_day)]
    return f"{table.name}/day={moment.astimezone(UTC).date().isoformat()}/part-0.parquet"


def rows_in(file: Path) -> list[Row]:
    return [tuple(row.values()) for row in pq.ParquetFile(file).read().to_pylist()]


def mesh(peers: int, **fields: Any) -> dict[str, Any]:
    others = [{"peerKeyString": f"peer {place}"} for place in range(peers)]
    return {"localPeer": {"peerKeyString": "till", **fields}, "remotePeers": others}


def coming_and_going(times: int) -> Told:
    """A peer that comes for an hour on each of some days, and one that stays from the first to the last."""
    moments = [MIDNIGHT + timedelta(days=day, hours=hour) for day in range(times) for hour in (12, 13)]
    told: Told = [{"observed_at": at, "graph": mesh(2 - at.hour % 2)} for at in moments]
    return [*told, {"observed_at": moments[-1] + timedelta(hours=1), "observer": "till", "graph": None}]


def test_a_session_stands_on_the_day_on_which_it_began() -> None:
    with told_to_source(coming_and_going(40)) as source, exported(source) as folder:
        sessions = sorted(folder.glob("peer_sessions/*/*"))
        assert len(sessions) == 40
        assert [len(rows_in(file)) for file in sessions] == [3, *[1] * 39]
        query = f"""
            SELECT day, count(*) FROM read_parquet('{folder}/peer_sessions/**/*.parquet', hive_partitioning = true)
            WHERE day < DATE '2026-07-11' GROUP BY day ORDER BY day"""
        days = [MIDNIGHT.date(), (MIDNIGHT + timedelta(days=1)).date()]
        assert duckdb.sql(query).fetchall() == [(days[0], 3), (days[1], 1)]


def test_nothing_else_is_left_in_the_folder() -> None:
    with told_to_source(coming_and_going(3)) as source, exported(source) as folder:
        assert sorted(each.name for each in folder.iterdir()) == sorted(TABLES)
        assert {file.name for file in folder.rglob("*") if file.is_file()} == {"part-0.parquet"}


@pytest.mark.parametrize("selection", [Selection(), Selection(at=MIDNIGHT), Selection(until=MIDNIGHT)], ids=str)
def test_an_empty_store_has_every_table(selection: Selection) -> None:
    with told_to_source([], selection) as source, exported(source) as folder:
        for table in TABLES.values():
            for read in READERS.values():
                assert read(folder, table) == []
        for name in BY_DAY:
            read_days = f"read_parquet('{folder}/{name}/**/*.parquet', hive_partitioning = true)"
            assert duckdb.sql(f"SELECT count(*) FROM {read_days} WHERE day >= DATE '2026-01-01'").fetchall() == [(0,)]


def test_the_columns_have_types_and_meanings() -> None:
    with told_to_source(coming_and_going(2)) as source, exported(source) as folder:
        for table in TABLES.values():
            [*_, file] = folder.glob(f"{table.name}/**/*.parquet")
            schema = pq.read_schema(file)
            assert schema.equals(arrow.schema_of(table), check_metadata=True)
            assert schema.metadata == {b"table": table.name.encode(), b"meaning": table.meaning.encode()}
            assert [field.metadata[b"meaning"].decode() for field in schema] == [each.meaning for each in table.columns]
            assert [field.nullable for field in schema] == [not each.required for each in table.columns]
            groups = pq.ParquetFile(file).metadata
            for group in map(groups.row_group, range(groups.num_row_groups)):
                assert {group.column(place).compression for place in range(group.num_columns)} == {"ZSTD"}
        kinds = {
            name: str(kind)
            for name, kind, *_ in duckdb.sql(f"DESCRIBE FROM '{folder}/observations/*/*.parquet'").fetchall()
        }
        assert kinds == {
            "observer": "VARCHAR",
            "observed_at": "TIMESTAMP WITH TIME ZONE",
            "sequence": "BIGINT",
            "recorded_at": "TIMESTAMP WITH TIME ZONE",
            "stopped": "BOOLEAN",
            "max_silence_seconds": "DOUBLE",
            "day": "DATE",
        }


def test_numbers_in_json_are_exact() -> None:
    numbers = {"big": 2**63, "bigger": 10**30, "small": -(2**64) - 1, "tenth": 0.1}
    with told_to_source([{"observed_at": MIDNIGHT, "graph": mesh(0, peerMetadata=numbers)}]) as source:
        with exported(source) as folder:
            for read in READERS.values():
                [row] = read(folder, TABLES["peers"])
                assert loads(row[6]) == numbers
        table = arrow.to_arrow(source, "metadata")
        assert {json.loads(value.as_py()) for value in table["value"]} >= set(numbers.values())


def test_the_ends_of_time_are_exact() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    told: Told = [{"observed_at": at, "graph": mesh(0)} for at in (first, last - MICROSECOND, last)]
    with told_to_source(told) as source, exported(source) as folder:
        for read in READERS.values():
            assert sorted(row[1] for row in read(folder, TABLES["observations"])) == [first, last - MICROSECOND, last]
        days = [each.name for each in sorted((folder / "observations").iterdir())]
        assert days == ["day=0001-01-01", "day=9999-12-31"]


def test_a_store_gives_a_table_of_a_window(store_url: str) -> None:
    told = coming_and_going(5)
    since, until = MIDNIGHT + timedelta(days=1), MIDNIGHT + timedelta(days=2)
    with peerstore.open(store_url, clock=lambda: MIDNIGHT) as store:
        store.record_many(told)
        frame = store.to_arrow("peer_sessions", since=since, until=until).to_pandas()
        answers = list(store.sessions(since=since, until=until))
    rows = rows_of(frame, TABLES["peer_sessions"])
    assert rows == [(each.peer_key, each.start, each.end, each.end_reason, each.gaps) for each in answers]
    assert len(rows) == 3


def test_a_folder_of_any_name_is_written_to(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode("s3:=#? \u53a8".encode() + b"\xff")
    folder.mkdir()
    with told_to_source(coming_and_going(2)) as source:
        write(source, folder)
        [file] = folder.glob("peers/*")
        assert pq.ParquetFile(file.open("rb")).read().to_pylist() == arrow.to_arrow(source, "peers").to_pylist()


def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path) -> None:
    program = f"""
import resource, signal, sys
from pathlib import Path
from tests.test_export_parquet import coming_and_going
from tests.strange import told_to_source
from peerstore.exporting.parquet import write
with told_to_source(coming_and_going(400)) as source:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        write(source, Path({str(tmp_path)!r}))
    except OSError as error:
        print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(errno.EFBIG), done.stderr


def test_pandas_and_polars_take_an_arrow_table() -> None:
    with told_to_source(coming_and_going(5)) as source:
        for table in TABLES.values():
            made, told = arrow.to_arrow(source, table.name), list(table.rows(source))
            assert rows_of(made.to_pandas(), table) == told
            assert pl.DataFrame(pl.from_arrow(made)).rows() == told
        frame = arrow.to_arrow(source, "peer_sessions").to_pandas()
        assert str(frame["start"].dtype) == "datetime64[us, UTC]"
        assert (frame["end"] - frame["start"]).max() == timedelta(days=4, hours=2)


def test_duckdb_reads_a_stream_of_batches() -> None:
    with told_to_source(coming_and_going(30)) as source:
        sessions = duckdb.from_arrow(arrow.reader(source, TABLES["peer_sessions"], 7))
        assert sessions.aggregate("count(*), count(DISTINCT peer_key)").fetchall() == [(32, 3)]


def test_batches_are_as_long_as_asked_for() -> None:
    with told_to_source(coming_and_going(30)) as source:
        done: list[int] = []
        source.progress = done.append
        made = arrow.batches(source, TABLES["peer_sessions"], 10)
        assert next(made).num_rows == 10
        assert done == []
        assert [batch.num_rows for batch in made] == [10, 10, 2]
        assert done == [10, 10, 10, 2]


def test_batches_of_long_texts_are_short() -> None:
    told: Told = [{"observed_at": MIDNIGHT, "graph": mesh(0, peerMetadata={str(n): "x" * 900_000 for n in range(10)})}]
    with told_to_source(told) as source:
        lengths = [batch.num_rows for batch in arrow.batches(source, TABLES["metadata"])]
        assert sum(lengths) == 10
        assert max(lengths) <= 4
        assert_read_back(source)


def test_an_unknown_table_is_named_with_those_there_are() -> None:
    with told_to_source([]) as source, pytest.raises(QuestionError, match=r"'peer'.*observers, peers, metadata"):
        arrow.to_arrow(source, "peer")


@pytest.mark.parametrize(("module", "purpose"), [("arrow", "an Arrow table"), ("parquet", "a Parquet export")])
def test_without_pyarrow_the_extra_is_named(module: str, purpose: str, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('there is none')\n")
    paths = os.pathsep.join([str(tmp_path), str(Path(peerstore.__file__).parents[1])])
    program = f"import peerstore.exporting.{module}"
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f'{purpose} needs an optional library: pip install "peerstore[arrow]"' in done.stderr
