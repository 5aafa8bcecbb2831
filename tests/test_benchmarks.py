"""What the benchmarks compare peerstore with gives the same answers, or the comparison would be of nothing; and what
they measure on, and how they tell it, is as they say."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

import benchmarks.__main__
import peerstore
from benchmarks import changed, comparison, late, page
from benchmarks.churn import Churn, Statistics, delivered
from benchmarks.measuring import Figures, Measured, Table, Target
from benchmarks.peers import FOREVER, Interval, Intervals, Missing, Observation, Peer, loading
from benchmarks.peers.continuum import Continuum
from benchmarks.peers.duckdb import Duckdb
from benchmarks.peers.intervals import BtreeIntervals, CoveringIntervals
from benchmarks.peers.mariadb import Mariadb
from benchmarks.peers.raphtory import Raphtory

HISTORY = [
    Observation(10, [(1, 7), (2, 8)]),
    Observation(20, [(1, 9)]),
    Observation(30, [(1, None), (3, 8)]),
    Observation(40, [(1, 7), (2, None)]),
]
HELD = {9: {}, 10: {1: 7, 2: 8}, 25: {1: 9, 2: 8}, 30: {2: 8, 3: 8}, 99: {1: 7, 3: 8}}


def test_intervals_end_where_the_next_change_is() -> None:
    intervals = Intervals()
    begun, ended = intervals.add(HISTORY[:2])
    assert begun == [Interval(1, 1, 7, 10, 20), Interval(2, 2, 8, 10, FOREVER), Interval(3, 1, 9, 20, FOREVER)]
    assert ended == []
    begun, ended = intervals.add(HISTORY[2:])
    assert begun == [Interval(4, 3, 8, 30, FOREVER), Interval(5, 1, 7, 40, FOREVER)]
    assert ended == [(30, 3), (40, 2)]


@pytest.mark.parametrize("kind", [BtreeIntervals, CoveringIntervals])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_table_of_intervals_tells_what_held(kind: type[BtreeIntervals], batch: int, tmp_path: Path) -> None:
    peer = kind(tmp_path, {})
    for number in range(0, len(HISTORY), batch):
        peer.record(HISTORY[number : number + batch])
    assert {moment: peer.at(moment) for moment in HELD} == HELD
    peer.close()


@pytest.mark.parametrize(
    ("kind", "module"),
    [(Raphtory, "raphtory"), (Duckdb, "duckdb"), (Continuum, "sqlalchemy_continuum"), (Mariadb, "pymysql")],
)
def test_a_peer_that_is_not_installed_says_so(
    kind: type[Peer], module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Missing, match=r"is left out: pip install -e '\.\[benchmarks\]'"):
        kind(tmp_path, {})


@pytest.mark.slow
def test_every_peer_that_can_be_had_answers_as_peerstore_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEERSTORE_BENCHMARKS", str(tmp_path))
    for name, value in (("CHANGES", 1_500), ("BEGINNING", 50)):
        monkeypatch.setattr(comparison, name, value)
    for name, value in (("LOADED", 200), ("ONE_BY_ONE", 20)):
        monkeypatch.setattr(loading, name, value)
    tables = list(comparison.tables(rounds=1))
    assert [table.unit for table in tables] == ["CPU time", "wall time", "wall time", "bytes"]
    for table in tables:
        assert "intervals in SQLite, b-tree indexes" in table.markdown()
        assert len(table.to_dict()["cases"]) >= 4


def test_a_target_is_met_up_to_its_bound() -> None:
    assert Target("a", 2, at_most=2).met
    assert not Target("a", 2.01, at_most=2).met
    assert Target("a", 2, at_least=2).met
    assert not Target("a", 1.99, at_least=2).met
    assert Target("a", 1, at_least=2).to_dict() == {
        "what": "a",
        "value": 1,
        "met": False,
        "at_most": None,
        "at_least": 2,
    }


def test_a_table_tells_ratios_and_targets() -> None:
    table = measured_table([1.0, 1.2], [3.0, 3.2])
    assert table.ratio(1) == pytest.approx(3.1 / 1.1)
    assert "| theirs | 3.1 s (3 s to 3.2 s) | 2.82 |" in table.markdown()
    assert table.markdown().endswith("* theirs beside ours: 2.82, at least 2 was aimed at: met\n")
    assert [case["ratio"] for case in table.to_dict()["cases"]] == [1.0, pytest.approx(2.818, abs=0.001)]
    figures = Figures("Sizes", "bytes", [], head=("", "bytes"), rows=[("a", "1")], values={"a": 1})
    assert "| | bytes |" in figures.markdown().replace("|  |", "| |")
    assert figures.to_dict()["values"] == {"a": 1}


def test_a_run_replaces_its_own_part_of_the_page(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(
        "# Title\n\nprose\n\n<!-- begin late -->\nold\n<!-- end late -->\n\n"
        "<!-- begin sizes -->\nkept\n<!-- end sizes -->\n\nmore prose\n"
    )
    expected = (
        "# Title\n\nprose\n\n<!-- begin late -->\nMeasured\n\n## New\n\nof it\n<!-- end late -->\n\n"
        "<!-- begin sizes -->\nkept\n<!-- end sizes -->\n\nmore prose\n"
    )
    for _ in range(2):
        page.write(file, {"late": "Measured\n\n## New\n\nof it\n"})
        assert file.read_text() == expected


def test_a_page_gets_the_parts_that_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    page.write(file, {"sizes": "of these"})
    page.write(file, {"late": "of it"})
    assert file.read_text() == (
        "<!-- begin sizes -->\nof these\n<!-- end sizes -->\n\n<!-- begin late -->\nof it\n<!-- end late -->\n"
    )


@pytest.mark.parametrize(
    "broken", ["<!-- begin late -->\n", "<!-- end late -->\n", "<!-- end late -->\n<!-- begin late -->\n"]
)
def test_a_page_with_half_a_mark_is_left_alone(broken: str) -> None:
    with pytest.raises(ValueError, match="marks of late"):
        page.replaced(broken, {"late": "new"})


def measured_table(first: list[float], second: list[float]) -> Table:
    table = Table("Speed", "CPU time", [Measured("ours", seconds=first), Measured("theirs", seconds=second)])
    table.targets = [Target("theirs beside ours", table.ratio(1), at_least=2)]
    return table


def report_of(file: Path, *tables: Table) -> Path:
    file.write_text(json.dumps({"tables": [table.to_dict() for table in tables]}))
    return file


def test_two_runs_are_compared_by_their_ratios(tmp_path: Path) -> None:
    old = report_of(tmp_path / "old.json", measured_table([1.0, 1.0, 1.0], [2.9, 3.0, 3.1]))
    alike = report_of(tmp_path / "alike.json", measured_table([2.0, 2.0, 2.0], [5.9, 6.2, 6.3]))
    slower = report_of(tmp_path / "slower.json", measured_table([1.0, 1.0, 1.0], [3.9, 4.0, 4.1]))
    missed = report_of(tmp_path / "missed.json", measured_table([1.0, 1.0, 1.0], [1.5, 1.6, 1.7]))
    told, kept = changed.compare(old, alike)
    assert "| Speed: theirs | 3 (2.9 to 3.1) | 3.1 (2.95 to 3.15) | +3% |  |" in told
    assert "| Speed: theirs beside ours | 3 | 3.1 | met |" in told
    assert kept
    told, kept = changed.compare(old, slower)
    assert "| +33% | **more** |" in told
    assert kept
    told, kept = changed.compare(old, missed)
    assert "| -47% | **less** |" in told
    assert "| Speed: theirs beside ours | 3 | 1.6 | **missed, and was met before** |" in told
    assert not kept
    told, kept = changed.compare(missed, missed)
    assert kept, "it was missed before"


def test_what_only_one_of_two_runs_measured_is_told(tmp_path: Path) -> None:
    old = report_of(tmp_path / "old.json", measured_table([1.0], [3.0]))
    other = measured_table([1.0], [3.0])
    other.title = "Size"
    told, kept = changed.compare(old, report_of(tmp_path / "new.json", other))
    assert "| Speed: theirs | 3 (3 to 3) | | | not measured |" in told
    assert "| Size: theirs | | 3 (3 to 3) | | new |" in told
    assert kept


def test_the_exit_code_of_a_comparison_tells_of_missed_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    met = report_of(tmp_path / "met.json", measured_table([1.0], [3.0]))
    missed = report_of(tmp_path / "missed.json", measured_table([1.0], [1.0]))
    for new, code in ((met, 0), (missed, 1)):
        monkeypatch.setattr(sys, "argv", ["benchmarks", "compare", str(met), str(new)])
        with pytest.raises(SystemExit) as ended:
            benchmarks.__main__.main()
        assert ended.value.code == code
        assert "Speed: theirs" in capsys.readouterr().out


def test_a_benchmark_that_lacks_something_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(rounds: int) -> Iterator[Table]:
        yield measured_table([1.0] * rounds, [1.0])
        raise Missing("There is no server")

    monkeypatch.setattr(late, "tables", lacking)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "late", "--rounds", "1"])
    benchmarks.__main__.main()
    told = capsys.readouterr()
    assert "## Speed" in told.out
    assert "late is not complete: There is no server" in told.err


def test_a_history_is_the_same_bytes_each_time() -> None:
    one, other = (list(Churn(300, live=20, observers=2, debounce=5.0)) for _ in range(2))
    assert one == other
    assert [seen.at for seen in one] == sorted(seen.at for seen in one)
    assert list(Churn(300, live=20, observers=2, debounce=5.0, seed=4)) != one


def test_the_statistics_of_a_history_are_those_of_its_lines(tmp_path: Path) -> None:
    history = Churn(1_000, live=30, debounce=5.0, stops=False)
    lines = list(history.lines())
    told = history.statistics
    assert (told.observations, told.bytes) == (len(lines), sum(map(len, lines)))
    assert 20 < median(told.live) < 45
    assert 1_000 <= told.changes < 1_100
    assert 0.02 < told.peer_changes / told.changes < 0.4
    with peerstore.open(tmp_path / "store.db") as store:
        summary = store.record_many(lines)
        status = store.status()
    assert (summary.recorded, summary.rejected) == (len(lines), 0)
    graphs = 1  # what the graph itself says is an element too, which changes with the first observation alone
    assert (status.observations, status.changes) == (len(lines), told.changes + graphs)
    assert history.statistics.markdown().startswith(f"{told.changes:,} changes in {len(lines):,} observations over 0.")


def test_a_history_too_short_for_statistics_has_some() -> None:
    told = Statistics(live=[1], links=[0]).markdown()
    assert told.startswith("0 changes in 0 observations")
    assert "Connections live" not in told


def test_what_is_delivered_late_is_delivered_once() -> None:
    history = list(Churn(2_000, live=10, observers=3, debounce=60.0))
    given = list(delivered(history, 0.2))
    assert given != history
    assert sorted(given) == sorted(history)
    for observer in range(3):
        own = [seen.at for seen in given if seen.observer == observer]
        assert own == sorted(own), "what one observer saw waits in its order"
    latest, behind = 0, 0
    for seen in given:
        behind += seen.at < latest
        latest = max(latest, seen.at)
    assert 0.02 < behind / len(given) < 0.6
