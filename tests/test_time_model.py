"""The rules of the time model: told by hand, and against the in-memory model over all that hypothesis can think of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from peerstore import keyframe_spacing
from tests.conftest import drop_url, fresh_url
from tests.machine import SECOND, START, Envelope, StoreMachine
from tests.model import MISSING, Event, Graph, View
from tests.mutants import MUTANTS, Mutant

FULL: Final = os.environ.get("PEERSTORE_HYPOTHESIS") == "full"
QUIET: Final = settings(
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


class PostgresMachine(StoreMachine):
    """The same on the other engine."""

    engine = "postgresql"


def profile(fast: int, full: int) -> settings:
    return settings(QUIET, max_examples=full if FULL else fast, stateful_step_count=25 if FULL else 15)


@pytest.mark.parametrize("floor", [keyframe_spacing.KEYFRAME_FLOOR, 1], ids=["few keyframes", "many keyframes"])
def test_any_history_on_sqlite(floor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few peers make no keyframes unless their distance is set for it."""
    monkeypatch.setattr(keyframe_spacing, "KEYFRAME_FLOOR", floor)
    run_state_machine_as_test(StoreMachine, settings=profile(60, 1000))


def test_any_history_on_postgresql() -> None:
    drop_url(fresh_url(PostgresMachine.engine))  # skips here where there is no server
    run_state_machine_as_test(PostgresMachine, settings=profile(15, 100))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_store_is_found_out(mutant: Mutant) -> None:
    """A store that breaks one rule must not pass: else the test above proves nothing about that rule."""
    hunt = settings(QUIET, max_examples=100, stateful_step_count=15, derandomize=True, phases=[Phase.generate])
    with mutant(), pytest.raises(AssertionError):
        run_state_machine_as_test(StoreMachine, settings=hunt)


# The rules, told by hand. What is asserted of the model is what the page says; the store must then agree everywhere.


@contextmanager
def told(*envelopes: Envelope) -> Iterator[View]:
    """The merged view of the model; on leaving, the store must have told the same, of all and of each observer."""
    machine = StoreMachine()
    machine.start()
    with closing(machine):
        for envelope in envelopes:
            machine.give(envelope)
        yield machine.model.view()
        machine.ask_everything()


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def says(
    observer: str, seconds: float, peers: dict[str, Any] | None, sequence: int = 0, silence: float | None = None
) -> Envelope:
    """An observer whose local peer is itself tells what it knows of other peers; ``None``: that it stops."""
    graph = None if peers is None else Graph(observer, {observer: named(observer), **peers}, {})
    return Envelope(observer, at(seconds), sequence, graph, None if silence is None else round(silence * SECOND))


def named(name: str, **attributes: Any) -> dict[str, Any]:
    return {"device_name": name, **attributes}


def names(view: View, seconds: float) -> dict[str, str]:
    return {key: attributes["device_name"] for key, (attributes, *_) in view.presence(at(seconds)).peers.items()}


def events(view: View, *kinds: str) -> list[Event]:
    return [event for event in view.changes() if event.kind in kinds]


def test_the_bounds_are_exact() -> None:
    with told(says("a", 0, {}), says("a", 10, {"b": named("b")})) as view:
        assert "b" not in names(view, 9.999999)
        assert "b" in names(view, 10)
        assert names(view, -0.000001) == {}
        assert not view.presence(at(-0.000001)).observers


def test_the_greatest_sequence_of_an_instant_holds() -> None:
    with told(says("a", 0, {"b": named("second")}, 2), says("a", 0, {"b": named("first")}, 1)) as view:
        assert names(view, 0)["b"] == "second"
        assert events(view, "changed") == []


def test_a_silence_ends_the_state_only_once_it_is_longer_than_its_limit() -> None:
    with told(says("a", 0, {}, silence=10)) as view:
        assert view.presence(at(10)).watching == {"a"}
        assert view.presence(at(10.000001)).watching == set()
        assert [(event.at, event.reason) for event in events(view, "observer_stopped")] == [(at(10.000001), "silence")]
        assert [(span.end, span.end_reason) for span in view.sessions()] == [(at(10.000001), "silence")]


def test_unobserved_is_not_absent() -> None:
    story = (says("a", 0, {"b": named("b")}), says("a", 10, None), says("a", 20, {"b": named("b", os="Linux")}))
    with told(*story) as view:
        assert names(view, 10) == {}
        assert events(view, "disappeared") == []
        assert [event.at for event in events(view, "appeared")] == [at(0), at(0)]
        assert events(view, "changed") == [
            Event("changed", at(20), "b", "/os", MISSING, "Linux", learned=True, across_gap=True)
        ]
        assert [span.start for span in view.sessions() if span.subject == "b"] == [at(0), at(20)]


def test_a_peer_seen_only_by_an_observer_that_stops_disappears_from_the_merged_presence() -> None:
    with told(says("a", 0, {"d": named("d")}), says("b", 0, {}), says("a", 10, None)) as view:
        assert {event.subject: event.reason for event in events(view, "disappeared")} == {
            "a": "stopped",
            "d": "stopped",
        }


def test_a_late_observation_changes_the_state_until_the_next_one_and_nothing_else() -> None:
    story = (says("a", 0, {"b": named("0")}), says("a", 20, {"b": named("20")}), says("a", 10, {"b": named("10")}))
    with told(*story) as view:
        assert [names(view, t)["b"] for t in (0, 9.999999, 10, 19.999999, 20)] == ["0", "0", "10", "10", "20"]


def test_numbers_are_values() -> None:
    story = (
        says("a", 0, {"b": named("b", peer_metadata={"n": 1})}),
        says("a", 9, {"b": named("b", peer_metadata={"n": 1.0})}),
    )
    with told(*story) as view:
        assert events(view, "changed") == []


def test_a_stale_view_that_repeats_itself_does_not_overrule_a_newer_fact() -> None:
    old, new = {"d": named("old")}, {"d": named("new")}
    with told(says("a", 0, old), says("b", 5, new), says("a", 10, old), says("a", 15, {}), says("a", 20, old)) as view:
        assert [names(view, t)["d"] for t in (0, 5, 10, 15, 20)] == ["old", "new", "new", "new", "old"]


def test_a_superseded_graph_of_the_same_instant_still_breaks_a_version() -> None:
    old, new = {"d": named("old")}, {"d": named("new")}
    story = (says("a", 0, old), says("b", 5, new), says("a", 10, {}), says("a", 10, old, 1))
    with told(*story) as view:
        assert names(view, 10)["d"] == "old"


def test_a_peers_own_report_comes_first() -> None:
    with told(says("a", 0, {}), says("b", 5, {"a": named("hearsay")}), says("a", 10, None)) as view:
        assert [names(view, t)["a"] for t in (5, 10)] == ["a", "hearsay"]


def test_a_gap_of_just_the_grace_is_not_joined() -> None:
    with told(says("a", 0, {"d": named("d")}), says("a", 10, {}), says("a", 20, {"d": named("d")})) as view:
        assert [span.gaps for span in view.sessions(10 * SECOND) if span.subject == "d"] == [0, 0]
        assert [span.gaps for span in view.sessions(10 * SECOND + 1) if span.subject == "d"] == [1]


def test_an_attribute_that_changed_while_the_peer_was_away_is_marked() -> None:
    with told(says("a", 0, {"d": named("d")}), says("a", 10, {}), says("a", 20, {"d": named("D")})) as view:
        (changed,) = events(view, "changed")
        assert (changed.before, changed.after, changed.across_absence, changed.across_gap) == ("d", "D", True, False)


@pytest.mark.parametrize(("seconds", "learned"), [(59.999999, True), (60, False)])
def test_metadata_is_learned_within_the_first_minute(seconds: float, learned: bool) -> None:
    empty, known = named("d", peer_metadata={}), named("d", peer_metadata={"role": "till"})
    with told(says("a", 0, {"d": empty}), says("a", seconds, {"d": known})) as view:
        (changed,) = events(view, "changed")
        assert (changed.path, changed.before, changed.learned) == ("/peer_metadata/role", MISSING, learned)


def test_metadata_that_is_learned_is_learned_whole() -> None:
    story = (
        says("a", 0, {"d": named("d", peer_metadata={})}),
        says("a", 5, {"d": named("d", peer_metadata={"n": None})}),
    )
    with told(*story) as view:
        (changed,) = events(view, "changed")
        assert (changed.path, changed.after, changed.learned) == ("/peer_metadata/n", None, True)


def test_an_absence_found_only_after_a_gap_lies_across_both() -> None:
    with told(
        *(says("a", 0, {"d": named("d")}), says("a", 10, None)),
        *(says("a", 20, {}), says("a", 30, {"d": named("D")})),
    ) as view:
        (changed,) = events(view, "changed")
        assert (changed.across_absence, changed.across_gap) == (True, True)
        assert [(event.at, event.across_gap) for event in events(view, "disappeared")] == [(at(20), True)]


def test_a_superseded_graph_of_the_same_instant_is_no_reason() -> None:
    story = (
        *(says("a", 0, {}), says("a", 20, {"d": named("d")}), says("a", 20, {}, 1)),
        says("b", 10, {"d": named("d")}, silence=9.999999),
    )
    with told(*story) as view:
        assert {(event.subject, event.reason) for event in events(view, "disappeared")} == {
            ("b", "silence"),
            ("d", "silence"),
        }


def test_a_graph_that_comes_late_before_a_stop_marker_is_what_the_next_one_differs_from() -> None:
    with told(says("a", 10, None), says("a", 0, {"d": named("d")}), says("a", 20, {})) as view:
        assert [(event.at, event.across_gap) for event in events(view, "disappeared")] == [(at(20), True)]


def test_a_keyframe_does_not_tell_of_what_a_late_graph_before_a_stop_marker_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyframe_spacing, "KEYFRAME_FLOOR", 1)
    here: dict[str, Any] = {"d": named("d")}
    with told(
        *(says("a", 0, here), says("a", 30, None)),
        *(says("a", 10, {}), says("a", 15, here), says("a", 20, {})),
        *(says("a", 50, None), says("a", 25, here), says("a", 60, {})),
    ) as view:
        assert [event.at for event in events(view, "disappeared")] == [at(10), at(20), at(60)]
