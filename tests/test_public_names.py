"""The public names: all there, in order, and each told about."""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx
import pyarrow
import pytest

import peerstore
from tests.syntax import parsed


def test_the_list_is_sorted_and_complete() -> None:
    tree = parsed(Path(peerstore.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("peerstore")
        for alias in node.names
    }
    assert peerstore.__all__ == sorted(peerstore.__all__)
    assert set(peerstore.__all__) == imported | {"__version__"}


def test_the_contract_is_there() -> None:
    """The names of the contract that other programs call."""
    methods = {"record", "record_many", "presence_at", "diff", "changes", "metadata_changes", "presence_over"}
    assert methods | {"sessions", "connection_sessions", "close"} <= set(dir(peerstore.PeerStore))
    assert {"peers", "connections", "observers", "to_dict", "to_ditto", "to_networkx"} <= set(dir(peerstore.Presence))
    assert {"open", "upgrade", "ABSENT", "PeerstoreError", "Presence"} <= set(peerstore.__all__)


def public_things() -> Iterator[tuple[str, Any]]:
    """Every public thing, and every public member of a public class that peerstore itself defines."""
    for name in peerstore.__all__:
        thing = getattr(peerstore, name)
        if name in ("__version__", "ABSENT"):
            continue
        yield name, thing
        if inspect.isclass(thing):
            for member, value in inspect.getmembers(thing):
                own = str(getattr(value, "__module__", "peerstore")).startswith("peerstore")
                if own and not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    yield f"{name}.{member}", value


PUBLIC_THINGS = dict(public_things())


@pytest.mark.parametrize("name", PUBLIC_THINGS)
def test_it_is_told_about(name: str) -> None:
    thing = PUBLIC_THINGS[name]
    told = vars(thing).get("__doc__") if inspect.isclass(thing) else inspect.getdoc(thing)
    assert told, f"{name} has no docstring"


def classes_in(hint: Any) -> Iterator[type]:
    """The classes that an annotation names."""
    if inspect.isclass(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from classes_in(inner)


def test_every_class_that_an_answer_is_made_of_is_public() -> None:
    """Whoever annotates a variable with what a method gives finds the class in the package itself."""
    answers = [
        typing.get_type_hints(each, localns={"networkx": networkx, "pyarrow": pyarrow}).get("return")
        for each in PUBLIC_THINGS.values()
        if inspect.isfunction(each)
    ]
    named = {each for answer in answers for each in classes_in(answer)}
    own = {each.__name__ for each in named if each.__module__.startswith("peerstore")}
    assert own - set(peerstore.__all__) == set()


def test_the_version_is_the_one_of_the_distribution() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", peerstore.__version__)
