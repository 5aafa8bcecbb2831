"""The worlds themselves: the store holds what the model holds."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.conftest import ENGINES
from tests.machine import check_presence, interesting
from tests.worlds import World, recorded, tried, worlds


@pytest.mark.parametrize("engine", ENGINES)
def test_a_world_is_the_same_in_the_store_and_in_the_model(engine: str) -> None:
    @tried(engine)
    @given(world=worlds())
    def holds(world: World) -> None:
        with recorded(world, engine) as (store, view):
            check_presence(store, view, world.question, interesting(view))

    holds()
