"""JSON in and out of the store."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aragora_cp.store.codec import NotJson, dumps, loads

#: Beyond what both sides can hold: orjson's bound is 1,024.
DEEP = 10_000

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**62, max_value=2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values)
def test_the_same_value_comes_back(value: Any) -> None:
    assert repr(loads(dumps(value))) == repr(value)


@pytest.mark.parametrize(
    "value",
    [2**53 + 1, 2**63, 2**64, -(2**64) - 1, 10**300, 0.1, -0.0, 5e-324, 1e308, [], {}, [[]], {"a": []}, "", "\0", "💡"],
)
def test_what_other_parsers_change_comes_back(value: Any) -> None:
    assert repr(loads(dumps({"value": value}))) == repr({"value": value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [1, math.nan], {"a": math.inf}])
def test_numbers_that_json_does_not_have_are_refused(value: Any) -> None:
    with pytest.raises(NotJson):
        dumps(value)


@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}])
def test_lone_surrogates_are_refused(value: Any) -> None:
    with pytest.raises(NotJson, match="surrogate"):
        dumps(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", {"a": object()}, {(1, 2): 3}])
def test_what_is_no_json_is_named(value: Any) -> None:
    with pytest.raises(NotJson):
        dumps(value)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.fixture
def generous_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    yield
    sys.setrecursionlimit(before)


def test_deep_nesting_and_circles_are_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in (nested(DEEP), circle):
        with pytest.raises(NotJson):
            dumps(value)


@pytest.mark.usefixtures("generous_recursion")
def test_what_could_not_be_read_again_is_not_written() -> None:
    assert loads(dumps(nested(500))) == nested(500)
    for value in (nested(2000), [10**400]):
        with pytest.raises(NotJson):
            dumps(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"NaN",
        b"[Infinity]",
        b"{",
        b"[1,]",
        b"{'a':1}",
        b'"\\ud800"',
        b'"\xff"',
        b"01",
        b"1 2",
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b"[" * 1010 + b"1234567890123456789" + b"]" * 1010,
        b"9" * 5000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(NotJson):
        loads(data)


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = loads(data)
    except NotJson:
        return
    assert loads(dumps(value)) == value
