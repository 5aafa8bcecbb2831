"""JSON as values: what is equal, what is refused, what differs."""

from __future__ import annotations

import copy
import json
import pickle
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstore.canonical import (
    ABSENT,
    MAX_DEPTH,
    MAX_DIGITS,
    Document,
    differences,
    dumps,
    json_or_absent,
    loads,
    normal,
    pointer,
)
from peerstore.errors import InputError
from tests import strategies as ditto


@pytest.mark.parametrize(
    ("literal", "canonical"),
    [
        ("1", "1"),
        ("1.0", "1"),
        ("1e0", "1"),
        ("10e-1", "1"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("0e99999999999999999999", "0"),
        ("1e-400", "0"),
        ("1e21", "1" + "0" * 21),
        ("1.5e300", "15" + "0" * 299),
        ("1.8e308", "18" + "0" * 307),
        ("1e308", "1" + "0" * 308),
        ("12345678901234567890", "12345678901234567890"),
        ("12345678901234567890.0", "12345678901234567890"),
        ("9" * MAX_DIGITS, "9" * MAX_DIGITS),
        ("0.1", "0.1"),
        ("0.10", "0.1"),
        ("1E-7", "1e-07"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("1.00000000000000000001", "1"),
        ("9007199254740993.5", "9007199254740994"),
        ('"\\u00e9"', '"é"'),
        ('"\\u0000"', '"\\u0000"'),
        ('["\\ud800", "é"]', '["\\ud800","\\u00e9"]'),
        ('{"b": 1, "a": [ ]}', '{"a":[],"b":1}'),
    ],
)
def test_one_value_has_one_text(literal: str, canonical: str) -> None:
    assert dumps(loads(literal)) == canonical
    assert dumps(loads(canonical)) == canonical


def test_values_that_differ_have_texts_that_differ() -> None:
    texts = {dumps(normal(value)) for value in (1, True, "1", None, "", {}, [], 0, False, [1], {"0": 1}, 1.5)}
    assert len(texts) == 12


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1e309", "too large"),
        ("-1e999", "too large"),
        ("1" * 308 + "99.5", "too large"),
        ("1e99999999999999999999", "too large"),
        ("NaN", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("9" * (MAX_DIGITS + 1), "digits"),
        ("[0." + "9" * (MAX_DIGITS + 1) + "]", "digits"),
        ('{"a": 1, "b": {"x": 1, "\\u0078": 2}}', 'the key "x" more than once'),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels deep"),
        ('[{"a":' * 33 + "1" + "}]" * 33, "levels deep"),
        ("[" * 1_000_000, "levels deep"),
        ('{"a":' * 1_000_000, "levels deep"),
        ('"]' + '"' + "[" * 100, "levels deep"),
        (b'["\xed\xa0\x80"]', "not UTF-8"),
        (b"\xff\xfe1\x00", "not UTF-8"),
        ('["\ud800"]', "lone surrogate"),
        ("", "not JSON"),
        ("[1,]", "not JSON"),
        ("\ufeff1", "not JSON"),
        ('"\n"', "not JSON"),
        ("]" + "[" * 100, "not JSON"),
        ('"' + "[" * 100, "not JSON"),
        ('"' + '\\"' * 100_000 + "[" * 100, "not JSON"),
    ],
)
def test_what_is_refused(content: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        loads(content)


def test_what_looks_too_deep_or_too_long_inside_a_string_is_read() -> None:
    text = json.dumps(["[{" * 100, "1" * 5000, 'a"' + "[" * 100, "\\"])
    assert loads(text) == json.loads(text)
    assert loads("[" * MAX_DEPTH + "]" * MAX_DEPTH) == json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    wide = json.dumps([[[]]] * 1000)
    assert loads(wide.encode()) == json.loads(wide)


@given(ditto.values)
def test_python_values_and_their_json_have_one_normal_form(value: Any) -> None:
    before = repr(value)
    form = normal(value)
    assert repr(value) == before
    assert dumps(form) == dumps(loads(json.dumps(value))) == dumps(normal(form)) == dumps(loads(dumps(form)))
    dumps(form).encode()


@given(ditto.values, ditto.values)
def test_canonical_text_decides_equality_as_python_does_but_for_booleans(one: Any, other: Any) -> None:
    if dumps(normal(one)) == dumps(normal(other)):
        assert normal(one) == normal(other)


@given(st.one_of(st.text(alphabet='[]{}",:\\01eE.-naul '), st.binary()))
def test_loads_reads_or_refuses(content: str | bytes) -> None:
    try:
        value = loads(content)
    except InputError:
        return
    assert dumps(loads(dumps(value))) == dumps(value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, {2: 3}]}, "/a/1"),
        ({"a/b~": 1j}, "/a~1b~0"),
        ([float("inf")], "/0"),
        ([10**MAX_DIGITS], "/0"),
        ({"a": {1}}, "/a"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(value: Any, place: str) -> None:
    with pytest.raises(InputError) as caught:
        normal(value)
    assert caught.value.pointer == place


def test_depth_is_bounded_for_python_values_too() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InputError, match="levels deep"):
        normal(endless)


def test_kinds_of_python_values() -> None:
    given_value = MappingProxyType({"a": (b"\x01", bytearray(b"\x02"), memoryview(b"\x03")), "b": True})
    assert normal(given_value) == {"a": [[1], [2], [3]], "b": True}


def test_absent_is_one_and_false() -> None:
    assert copy.deepcopy(ABSENT) is copy.copy(ABSENT) is pickle.loads(pickle.dumps(ABSENT)) is ABSENT
    assert not ABSENT
    assert repr(ABSENT) == "ABSENT"
    kinds: list[object] = [ABSENT, None, {}]
    assert [json_or_absent(value) for value in kinds] == [{"absent": True}, None, {}]


def test_a_document_is_its_text() -> None:
    document = Document('{"a":1}')
    assert document.value is document.value
    assert document.value == {"a": 1}
    assert {document: 1}[Document('{"a":1}')] == 1
    assert document != Document('{"a":2}')
    assert Document("null").value is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": True}, [("/a", 1, True)]),
        ({"a": [1]}, {"a": [True]}, [("/a", [1], [True])]),
        ({"a": {}}, {"a": {"b": {"c": 1}}}, [("/a/b", ABSENT, {"c": 1})]),
        ({"a": {"b": {}}}, {"a": {}}, [("/a/b", {}, ABSENT)]),
        ({"a": {}}, {"a": []}, [("/a", {}, [])]),
        ({"a": None}, {}, [("/a", None, ABSENT)]),
        ({"a": ""}, {"a": None}, [("/a", "", None)]),
        ({"": {"x/y": 1, "~": 1}}, {"": {}}, [("//x~1y", 1, ABSENT), ("//~0", 1, ABSENT)]),
        (1, 2, [("", 1, 2)]),
    ],
)
def test_differences(before: Any, after: Any, expected: list[Any]) -> None:
    found = list(differences(before, after))
    assert [(path, dumps(json_or_absent(one)), dumps(json_or_absent(two))) for path, one, two in found] == [
        (path, dumps(json_or_absent(one)), dumps(json_or_absent(two))) for path, one, two in expected
    ]
    assert [(path, two, one) for path, one, two in differences(after, before)] == found


@given(ditto.metadata, ditto.metadata)
def test_applying_the_differences_gives_the_other_value(one: Any, other: Any) -> None:
    before, after = normal(one), normal(other)
    found = list(differences(before, after))
    assert [path for path, _, _ in found] == sorted(path for path, _, _ in found)
    assert bool(found) == (dumps(before) != dumps(after))
    for path, old, new in found:
        *parents, name = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
        place = before
        for parent in parents:
            place = place[parent]
        assert dumps(json_or_absent(place.get(name, ABSENT))) == dumps(json_or_absent(old))
        if new is ABSENT:
            del place[name]
        else:
            place[name] = new
    assert dumps(before) == dumps(after)


def test_pointers_are_escaped() -> None:
    assert pointer("", "a/b") == "/a~1b"
    assert pointer("/x", 3) == "/x/3"
