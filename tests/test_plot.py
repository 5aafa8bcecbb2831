"""Pictures: what is drawn is what is so, unobserved is not absent, strangers' names do no harm."""

from __future__ import annotations

import io
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import peerstore
from peerstore import plotting
from peerstore.plotting.labels import LONGEST_LABEL, plain
from peerstore.plotting.style import LOOKS, transport_looks
from peerstore.plotting.view import Watched
from peerstore.times import instant
from tests.commands import run
from tests.machine import START, STEP
from tests.worlds import World, arguments, pieces, recorded, tried, worlds

ROOT = Path(__file__).parents[1]
NOON = datetime(2026, 7, 8, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "\x1b[2J\x00",
    "$\\frac{1}{0}$",
    "a\nb",
    "<script>&amp;",
    "\u202egnp.exe",
    "\ud800",
    "\ufffe",
    "x" * 5000,
    "厨房🍕",
    "%s {0}",
]

Plot = Callable[..., tuple[str, ...]]


def draw_mesh(store: peerstore.PeerStore, out: Any, **named: Any) -> tuple[str, ...]:
    return plotting.plot_mesh(store, out, NOON + SECOND, **named)


PLOTS: dict[str, Plot] = {
    "timeline": plotting.plot_timeline,
    "mesh": draw_mesh,
    "uptime": plotting.plot_uptime,
    "transports": plotting.plot_transports,
    "rollout": plotting.plot_rollout,
}
OVER_TIME = [name for name in PLOTS if name != "mesh"]


def link(one: str, other: str, kind: str = "Bluetooth", number: str = "") -> dict[str, str]:
    return {"id": number or f"{one}-{other}-{kind}", "peer1": one, "peer2": other, "connectionType": kind}


def graph(*keys: str, links: tuple[dict[str, str], ...] = (), **fields: dict[str, Any]) -> dict[str, Any]:
    """A graph of these peers, the first of them the local one; ``fields`` are a peer's own."""
    peers = [
        {
            "peerKey": key,
            "deviceName": f"name {key}",
            "dittoSdkVersion": "4.14.4",
            "connections": [each for each in links if key in (each["peer1"], each["peer2"])],
            **fields.get(key, {}),
        }
        for key in keys
    ]
    return {"localPeer": peers[0], "remotePeers": peers[1:]}


def tell(store: peerstore.PeerStore, second: float, what: Any, observer: str | None = None) -> None:
    store.record(what, observed_at=NOON + second * SECOND, observer=observer)


@pytest.fixture
def store() -> Iterator[peerstore.PeerStore]:
    with peerstore.open(":memory:") as opened:
        yield opened


@pytest.fixture
def minute(store_url: str) -> Iterator[peerstore.PeerStore]:
    """A minute of ``a``: with ``b`` for 20 s, alone for 20 s, then stopped until second 50, and with ``b`` again."""
    both = graph("a", "b", links=(link("a", "b"), link("a", "b", "AccessPoint")))
    later = graph("a", "b", links=(link("a", "b"),), b={"dittoSdkVersion": "5.1.0"})
    with peerstore.open(store_url) as opened:
        for second, what in ((0, both), (20, graph("a")), (40, None), (50, later), (60, later)):
            tell(opened, second, what, "a")
        yield opened


def svg(plot: Plot, store: peerstore.PeerStore, **named: Any) -> ElementTree.Element:
    drawn = io.BytesIO()
    plot(store, drawn, **named)
    return ElementTree.fromstring(drawn.getvalue())


def texts(picture: ElementTree.Element) -> list[str]:
    return ["".join(each.itertext()) for each in picture.iter(f"{SVG}text")]


def paths(picture: ElementTree.Element, gid: str) -> list[list[tuple[float, float]]]:
    """The points of each path below an element with an id that begins like this."""
    found = []
    for element in picture.iter():
        if element.get("id", "").startswith(gid):
            for path in element.iter(f"{SVG}path"):
                numbers = [float(each) for each in re.findall(r"-?[0-9.]+", path.get("d", ""))]
                found.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return found


def stretches(picture: ElementTree.Element, gid: str) -> list[tuple[float, float]]:
    """From where to where the shapes with this id reach: 0 is the left end of the axes, 1 the right one."""
    [axes] = paths(picture, "patch_2")
    left, right = min(x for x, _ in axes), max(x for x, _ in axes)
    spans = [(min(x for x, _ in path), max(x for x, _ in path)) for path in paths(picture, gid)]
    return [((start - left) / (right - left), (end - left) / (right - left)) for start, end in spans]


def near(*wanted: tuple[float, float]) -> list[Any]:
    return [pytest.approx(each, abs=0.004) for each in wanted]


@pytest.mark.parametrize("name", PLOTS)
def test_a_picture_is_text_and_the_same_each_time(minute: peerstore.PeerStore, name: str, tmp_path: Path) -> None:
    for file in ("one.svg", "other.svg"):
        PLOTS[name](minute, tmp_path / file, title="Mine")
    drawn = (tmp_path / "one.svg").read_bytes()
    assert drawn == (tmp_path / "other.svg").read_bytes()
    picture = ElementTree.fromstring(drawn)
    assert picture.findtext(f"{SVG}title") == "Mine"
    assert "Mine" in texts(picture)
    assert b"dc:date" not in drawn


@pytest.mark.parametrize("name", PLOTS)
def test_a_png_is_as_large_as_asked(minute: peerstore.PeerStore, name: str, tmp_path: Path) -> None:
    PLOTS[name](minute, str(tmp_path / "picture.PNG"), width=6, height=4)
    drawn = (tmp_path / "picture.PNG").read_bytes()
    assert drawn.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(drawn[16:20]), int.from_bytes(drawn[20:24])) == (900, 600)
    assert b"tEXt" not in drawn


def test_the_timeline_shows_present_absent_and_unobserved(minute: peerstore.PeerStore) -> None:
    picture = svg(plotting.plot_timeline, minute)
    assert stretches(picture, "present-0") == near((0, 2 / 3), (5 / 6, 1))
    assert stretches(picture, "present-1") == near((0, 1 / 3), (5 / 6, 1))
    assert stretches(picture, "unobserved") == near((2 / 3, 5 / 6))
    [band] = paths(picture, "unobserved")
    bars = [y for path in paths(picture, "present") for _, y in path]
    assert min(y for _, y in band) < min(bars) < max(bars) < max(y for _, y in band)
    assert {"name a", "name b", "2026-07-08 12:00:00 to 12:01:00 UTC"} <= set(texts(picture))


def test_an_end_that_nobody_saw_is_marked(minute: peerstore.PeerStore) -> None:
    def marks(**window: Any) -> int:
        drawn = io.BytesIO()
        plotting.plot_timeline(minute, drawn, ["b"], **window)
        return len(re.findall(rb"<use [^>]*stroke: #0072b2[^>]*>", drawn.getvalue()))

    in_legend = 1
    assert marks() == 3 + in_legend  # begins with the window; after the band; goes on at the window's end
    assert marks(since=NOON - SECOND, until=NOON + 30 * SECOND) == 1 + in_legend  # a graph began it: it was left seen


@pytest.mark.parametrize("name", ["timeline", "uptime"])
def test_peers_that_are_not_shown_are_counted(store: peerstore.PeerStore, name: str) -> None:
    for second in (0, 10):
        tell(store, second, graph(*(f"p{number}" for number in range(1, 13))))
    names = [f"name p{number}" for number in range(1, 13)]
    drawn = io.BytesIO()
    remarks = PLOTS[name](store, drawn, limit=3)
    picture = ElementTree.fromstring(drawn.getvalue())
    assert remarks == ("And 9 more: only the first 3 peers by name are shown.",)
    assert [each for each in texts(picture) if each in names] == names[:3]
    assert remarks[0] in texts(picture)
    named = svg(PLOTS[name], store, peers=["p11", "p2", "p11"])
    assert [each for each in texts(named) if each in names] == ["name p11", "name p2"]


def test_a_timeline_leaves_out_who_was_never_there(minute: peerstore.PeerStore) -> None:
    window = {"since": NOON + 25 * SECOND, "until": NOON + 35 * SECOND}
    assert "name b" not in texts(svg(plotting.plot_timeline, minute, **window))
    assert "name b" in texts(svg(plotting.plot_timeline, minute, peers=["b"], **window))


def test_uptime_is_of_the_known_time(minute: peerstore.PeerStore) -> None:
    picture = svg(plotting.plot_uptime, minute)
    assert {"100 % of 50 s", "60.0 % of 50 s"} <= set(texts(picture))
    assert "Nobody was watching for 10 s (16.6 %) of it: unknown, not absent." in texts(picture)
    assert stretches(picture, "present") == near((0, 5 / 6), (0, 1 / 2))
    assert stretches(picture, "absent") == near((5 / 6, 5 / 6), (1 / 2, 5 / 6))
    assert stretches(picture, "unobserved") == near((5 / 6, 1), (5 / 6, 1))


def test_transports_are_drawn_where_somebody_watched(minute: peerstore.PeerStore) -> None:
    picture = svg(plotting.plot_transports, minute, every=30)
    assert [texts(picture).count(each) for each in ("AccessPoint", "Bluetooth")] == [2, 2]  # at its bar, in the legend
    access, bluetooth = paths(picture, "type-0"), paths(picture, "type-1")
    assert stretches(picture, "type-0") == near((0, 1 / 2))
    assert stretches(picture, "type-1") == near((0, 1 / 2), (1 / 2, 2 / 3), (5 / 6, 1))
    assert stretches(picture, "unobserved") == near((2 / 3, 5 / 6))

    def height(path: list[tuple[float, float]]) -> float:
        return max(y for _, y in path) - min(y for _, y in path)

    [whole] = {round(height(path) / height(access[0]), 3) for path in bluetooth[:1]}
    assert whole == 1.0  # 20 s of the first 30 s each
    assert [height(path) / height(access[0]) for path in bluetooth[1:]] == pytest.approx([0.75, 0.75], abs=0.01)


def test_transports_refuse_what_nobody_could_see(minute: peerstore.PeerStore) -> None:
    for every in (0, 0.001):
        with pytest.raises(peerstore.QuestionError):
            plotting.plot_transports(minute, io.BytesIO(), every)


def test_a_roll_out_counts_who_has_had_each_value(minute: peerstore.PeerStore) -> None:
    named = texts(svg(plotting.plot_rollout, minute))
    assert {"4.14.4: 2", "5.1.0: 1"} <= set(named)
    later = texts(svg(plotting.plot_rollout, minute, since=NOON + 30 * SECOND, until=NOON + 45 * SECOND))
    assert "4.14.4: 2" in later
    assert not any(each.startswith("5.1.0") for each in later)
    assert "5.1.0: 1" in texts(svg(plotting.plot_rollout, minute, value="5.1.0"))


def test_a_roll_out_of_many_values_says_what_it_leaves_out(store: peerstore.PeerStore) -> None:
    keys = [f"p{number}" for number in range(12)]
    for second in (0, 10):
        tell(store, second, graph(*keys))
    assert plotting.plot_rollout(store, io.BytesIO(), "/device_name") == (
        "And 4 more values: only the most frequent are shown.",
    )
    assert plotting.plot_rollout(store, io.BytesIO(), "/nothing") == ("No peer was known to have a value at /nothing.",)


def test_the_mesh_tells_who_was_there_and_how(store: peerstore.PeerStore) -> None:
    links = (
        *(link("a", "b", kind) for kind in ("AccessPoint", "Bluetooth", "P2PWiFi")),
        link("a", "b", number="second"),
        link("a", "ghost", "Odd $x$"),
        link("c", "c", "WebSocket"),
    )
    cloud = {"isConnectedToDittoCloud": True}
    tell(store, 0, graph("a", "b", "c", "d", links=links, b=cloud))
    drawn = io.BytesIO()
    remarks = plotting.plot_mesh(store, drawn, NOON + SECOND)
    told = texts(ElementTree.fromstring(drawn.getvalue()))
    assert {"name a", "name b", "name c", "name d", "ghost"} <= set(told)
    assert {"peer (3)", "peer with a link to the cloud (1)", "observer, watching (1)"} <= set(told)
    assert {"end of a connection, itself not seen (1)", "island of 3 peers", "alone"} <= set(told)
    assert {"AccessPoint (1)", "Bluetooth (2)", "P2PWiFi (1)", "WebSocket (1)", "Odd $x$ (1)"} <= set(told)
    assert {"The mesh at 2026-07-08 12:00:01 UTC", "watching: 1 of 1 observer (name a)"} <= set(told)
    assert remarks == ("Connections listed by one of their ends only: 1.",)


def test_parallel_connections_do_not_hide_each_other(store: peerstore.PeerStore) -> None:
    tell(store, 0, graph("a", "b", links=tuple(link("a", "b", kind) for kind in ("AccessPoint", "Bluetooth"))))
    drawn = io.BytesIO()
    plotting.plot_mesh(store, drawn, NOON)
    lines = paths(ElementTree.fromstring(drawn.getvalue()), "LineCollection")
    assert len(lines) == 2
    middles = [path[len(path) // 2] for path in lines]
    assert sum(abs(one - other) for one, other in zip(*middles, strict=True)) > 5


def test_a_mesh_of_some_peers_says_whom_it_leaves_out(store: peerstore.PeerStore) -> None:
    tell(store, 0, graph("a", "b", "c", links=(link("a", "b"), link("b", "c"))))
    drawn = io.BytesIO()
    remarks = plotting.plot_mesh(store, drawn, NOON, ["a", "nobody"])
    told = texts(ElementTree.fromstring(drawn.getvalue()))
    assert ("name a" in told, "name b" in told, "name c" in told) == (True, True, False)
    assert remarks == (
        "1 more present peers are not shown: only the named ones, and whom they connect to.",
        "Not present at that moment: nobody.",
    )


def test_a_mesh_that_nobody_watched_is_not_an_empty_one(minute: peerstore.PeerStore) -> None:
    told = texts(svg(lambda store, out: plotting.plot_mesh(store, out, NOON + 45 * SECOND), minute))
    assert "unobserved: nobody was watching" in told
    assert "watching: 0 of 1 observer" in told
    assert any("nobody was watching" in each.lower() and "12:00:40" in each for each in told)
    assert not any("name" in each for each in told)


def test_a_state_that_still_counts_after_a_day_is_told(minute: peerstore.PeerStore) -> None:
    [told] = plotting.plot_mesh(minute, io.BytesIO(), NOON + timedelta(days=2))
    assert told == "States older than a day are still counted: name a (1 d 23 h)."


@pytest.mark.slow
def test_a_mesh_may_be_large_but_not_endless(store: peerstore.PeerStore) -> None:
    keys = [f"p{number:04}" for number in range(1001)]
    chain = tuple(link(one, other) for one, other in zip(keys, keys[1:500]))  # noqa: B905, RUF007
    tell(store, 0, graph(*keys[:500], links=chain))
    tell(store, 10, graph(*keys))
    drawn = io.BytesIO()
    assert plotting.plot_mesh(store, drawn, NOON) == ()
    assert "peer (500)" in texts(ElementTree.fromstring(drawn.getvalue()))
    with pytest.raises(peerstore.QuestionError, match="1001 peers are too many"):
        plotting.plot_mesh(store, io.BytesIO(), NOON + 10 * SECOND)
    plotting.plot_mesh(store, io.BytesIO(), NOON + 10 * SECOND, keys[:3])


@pytest.mark.parametrize("name", OVER_TIME)
def test_the_view_and_what_is_unobserved_are_told(minute: peerstore.PeerStore, name: str) -> None:
    told = texts(svg(PLOTS[name], minute, observer="a", max_silence=5, known_at=NOON + timedelta(days=9999)))
    [subtitle] = [each for each in told if "the view of name a alone" in each]
    assert "silence counts as watching for 5 s" in subtitle
    assert "as known at 2053-11-22 12:00:00 UTC" in subtitle
    assert any(each.startswith("Nobody was watching for ") for each in told)
    assert "unobserved: nobody was watching" in told


@pytest.mark.parametrize("name", OVER_TIME)
def test_where_there_is_no_history_the_picture_says_so(store: peerstore.PeerStore, name: str) -> None:
    for second in (None, 0):
        if second is not None:
            tell(store, second, graph("a"))
        told = texts(svg(PLOTS[name], store))
        assert "nothing to show: fewer than two observations in this time" in told
        assert "all of the history" in told


@pytest.mark.parametrize("name", PLOTS)
def test_what_strangers_wrote_does_no_harm(store: peerstore.PeerStore, name: str, tmp_path: Path) -> None:
    fields: dict[str, Any] = {f"p{place}": {"deviceName": text} for place, text in enumerate(HOSTILE)}
    links = tuple(
        link("p0", f"p{place}", plain(text) if text == "\ud800" else text[:40], str(place))
        for place, text in enumerate(HOSTILE)
        if place
    )
    for second in (0, 10):
        tell(store, second, json.dumps(graph(*fields, links=links, **fields)))
    rows = {"path": "/device_name"} if name == "rollout" else {"peer": "p1"} if name == "transports" else {}
    told = "\n".join(texts(svg(PLOTS[name], store, title=HOSTILE[0] + HOSTILE[1], **rows)))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", told)
    assert "\\x1b[2J\\x00$\\frac{1}{0}$" in told
    assert max(map(len, told.split("\n"))) < 150
    PLOTS[name](store, tmp_path / "picture.png", **rows)


@given(st.text(max_size=200), st.integers(8, 60))
def test_any_text_becomes_harmless_and_short(text: str, longest: int) -> None:
    shown = plain(text, longest)
    assert len(shown) <= longest
    assert shown.isprintable() or all(character.isspace() or character.isprintable() for character in shown)
    assert ElementTree.fromstring(f"<a>{shown.replace('&', '').replace('<', '')}</a>") is not None
    if text.isascii() and text.isprintable() and len(text) <= longest:
        assert shown == text


def test_names_that_several_bear_get_their_keys(store: peerstore.PeerStore) -> None:
    twins: dict[str, Any] = {"key-one": {"deviceName": "twin"}, "key-two": {"deviceName": "twin"}}
    for second in (0, 10):
        tell(store, second, graph("key-one", "key-two", "x" * 60, **twins))
    told = texts(svg(plotting.plot_timeline, store))
    assert {"twin (key-one)", "twin (key-two)"} <= set(told)
    assert max(map(len, plain("x" * 60))) <= LONGEST_LABEL


def test_looks_differ_with_and_without_colour() -> None:
    for member in ("color", "line", "hatch", "marker"):
        assert len({getattr(look, member) for look in LOOKS}) == len(LOOKS), member
    alone, among = transport_looks(["Bluetooth"]), transport_looks(["Zigbee", "Bluetooth", "AccessPoint", "Aware"])
    assert alone["Bluetooth"] == among["Bluetooth"]
    assert len(set(among.values())) == 4


def test_settings_of_the_process_stay_and_do_not_matter(minute: peerstore.PeerStore) -> None:
    plain_picture = ElementTree.tostring(svg(plotting.plot_timeline, minute))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "text.parse_math": True}):
        before = dict(mpl.rcParams)
        assert ElementTree.tostring(svg(plotting.plot_timeline, minute)) == plain_picture
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"out": "picture.gif"}, "ends in neither"),
        ({"out": "picture"}, "ends in neither"),
        ({"width": 1}, "width"),
        ({"height": 1000}, "height"),
        ({"limit": 0}, "rows"),
        ({"limit": 401}, "rows"),
        ({"since": NOON, "until": NOON - SECOND}, "before it begins"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    store: peerstore.PeerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(peerstore.QuestionError, match=said):
        plotting.plot_timeline(store, **{"out": "picture.svg", **named})
    assert list(tmp_path.iterdir()) == []


def test_any_window_can_be_drawn(store: peerstore.PeerStore) -> None:
    for moment in (datetime(1, 1, 1, tzinfo=UTC), NOON, datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)):
        store.record(graph("a"), observed_at=moment)
    whole = {"since": None, "until": None}
    tiny = {"since": NOON, "until": NOON + timedelta(microseconds=1)}
    for window in (whole, tiny, {"since": NOON, "until": NOON + 2 * SECOND}):
        for name in OVER_TIME:
            assert texts(svg(PLOTS[name], store, **window))


@pytest.mark.slow
@given(world=worlds())
@tried("sqlite")
def test_a_timeline_agrees_with_the_model(world: World) -> None:
    """Each piece of time over which nothing changes: who has a bar there, and whether the band is there."""
    since, until = START - STEP, START + 9 * STEP
    with recorded(world, "sqlite") as (store, view):
        window = {"since": instant(since), "until": instant(until)}
        keys = store.peer_keys()
        picture = svg(plotting.plot_timeline, store, peers=keys, **window, **arguments(world))
        bars = {key: stretches(picture, f"present-{place}") for place, key in enumerate(keys)}
        bands = stretches(picture, "unobserved-")
        for start, end in pieces(view, since, until):
            if end - start > STEP // 5:  # less cannot be told apart in a picture
                middle = ((start + end) / 2 - since) / (until - since)
                presence = view.presence((start + end) // 2)
                seen = {key for key in keys if any(one <= middle < other for one, other in bars[key])}
                assert seen == set(presence.peers)
                assert any(one <= middle < other for one, other in bands) == (not presence.watching)


@given(st.lists(st.integers(0, 100), unique=True, max_size=10))
def test_observed_and_unobserved_part_the_window(bounds: list[int]) -> None:
    ordered = sorted(bounds)
    gaps = tuple((NOON + one * SECOND, NOON + other * SECOND) for one, other in zip(ordered[::2], ordered[1::2]))  # noqa: B905
    window = Watched(NOON, NOON + 100 * SECOND, gaps)
    parts = sorted([*window.observed, *gaps])
    assert parts[0][0] == NOON
    assert parts[-1][1] == NOON + 100 * SECOND
    assert all(one[1] == other[0] for one, other in zip(parts, parts[1:]))  # noqa: B905, RUF007


# The command line


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database of two observations, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEERSTORE_DB", raising=False)
    with peerstore.open("peerstore.db") as opened:
        for second in (0, 10):
            tell(opened, second, graph("a", "b", links=(link("a", "b"),)))
    return tmp_path


COMMANDS = {
    "timeline": ["--peer", "name b", "--peer", "a", "--limit", "1"],
    "mesh": ["2026-07-08T12:00:05Z", "--peer", "a"],
    "uptime": ["--peer", "b"],
    "transports": ["--every", "1s", "--peer", "b"],
    "rollout": ["/device_name"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_a_file_or_standard_output(database: Path, name: str) -> None:
    words = ["plot", name, *COMMANDS[name], "--title", "Of mine"]
    result = run(*words, "--out", "picture.svg", "--width", "8", "--height", "5")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("wrote picture.svg\n")
    written = (database / "picture.svg").read_bytes()
    assert b'width="576pt" height="360pt"' in written
    assert "Of mine" in texts(ElementTree.fromstring(written))
    printed = run(*words, "--out", "-", "--width", "8", "--height", "5")
    assert printed.exit_code == 0
    assert printed.stdout_bytes == written


def test_remarks_go_to_people_too(database: Path) -> None:
    told = run("plot", "timeline", "--limit", "1", "--out", "picture.png").stderr
    assert told == "wrote picture.png\nAnd 1 more: only the first 1 peer by name are shown.\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["timeline"], 2, "--out"),
        (["timeline", "--out", "picture.gif"], 2, "ends in neither"),
        (["timeline", "--out", "picture.svg", "--peer", "nobody"], 2, "nobody"),
        (["timeline", "--out", "picture.svg", "--width", "2"], 2, "inches"),
        (["uptime", "--out", "no/such/folder.svg"], 1, "No such file"),
        (["uptime", "--out", "picture.svg", "--db", "missing.db"], 3, "missing.db"),
        (["mesh", "--out", "picture.svg"], 2, "TIME"),
        (["rollout", "sdk", "--out", "picture.svg"], 2, "JSON Pointer"),
        (["transports", "--every", "0", "--out", "picture.svg"], 2, "every"),
    ],
)
def test_wrong_usage_writes_nothing(database: Path, words: list[str], code: int, said: str) -> None:
    result = run("plot", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert [each.name for each in database.iterdir() if "picture" in each.name or "missing" in each.name] == []


@pytest.mark.parametrize("library", ["matplotlib", "networkx"])
def test_a_missing_library_is_named(database: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    for module in [each for each in sys.modules if each.split(".")[:2] == ["peerstore", "plotting"]]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr(peerstore, "plotting")
    monkeypatch.setitem(sys.modules, library, None)
    result = run("plot", "timeline", "--out", "picture.svg")
    assert (result.exit_code, result.stdout) == (1, "")
    assert 'pip install "peerstore[plot]"' in result.stderr
    assert not (database / "picture.svg").exists()


def test_matplotlib_is_loaded_for_pictures_alone() -> None:
    """And its global state, pyplot, never."""
    program = (
        "import sys, peerstore, peerstore.cli; print('matplotlib' in sys.modules);"
        "from peerstore import plotting; print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True", "False"]


# The documents' pictures


@pytest.mark.slow
def test_the_pictures_of_the_documents_are_up_to_date(tmp_path: Path) -> None:
    """By what stands in them: where exactly it stands is matplotlib's own affair."""
    made = runpy.run_path(str(ROOT / "docs" / "images" / "make_plots.py"))["draw"](tmp_path)
    assert len(made) == 5
    for file in made:
        there = ElementTree.parse(ROOT / "docs" / "images" / file.name).getroot()
        assert texts(there) == texts(ElementTree.parse(file).getroot()), "run `python docs/images/make_plots.py`"
