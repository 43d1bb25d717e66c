"""What a feature flag may say."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from aragora_cp.errors import InvalidRequest
from aragora_cp.policy.flag_checks import checked, results

ON_OFF: dict[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"state": "DISABLED"},
        {"defaultVariant": None},
        {"targeting": {}},
        {"targeting": {"if": [{"==": [{"var": "workspace"}, "acme"]}, "on"]}},
        {"targeting": {"if": [{"in": [{"var": "workspace"}, ["a", "b"]]}, "on", {"var": "x"}, None, "off"]}},
        {"targeting": {"fractional": [["on", 10], ["off", 90]]}},
        {"targeting": {"fractional": [{"var": "workspace"}, ["on", 10], ["off", 90]]}},
        {"targeting": {"sem_ver": [{"var": "version"}, ">=", "1.0.0"]}, "variants": {"true": True, "false": False},
         "defaultVariant": None},
        {"variants": {"a": "x", "b": ""}, "defaultVariant": "a"},
        {"variants": {"a": 1, "b": 1.5}, "defaultVariant": "b"},
        {"variants": {"a": {"x": [1]}, "b": {}}, "defaultVariant": "b"},
        {"metadata": {"owner": "ops", "ticket": 7}},
    ],
)  # fmt: skip
def test_makes_sense(more: dict[str, Any]) -> None:
    flag = ON_OFF | more
    assert json.loads(checked("a.flag-1", flag)) == flag


@pytest.mark.parametrize(
    ("flag", "field", "said"),
    [
        ({}, "flag", "'state' is a required property"),
        ({"flags": {}}, "flags", "Unknown field."),
        ({"flags": {"f": ON_OFF}}, "flags", "Unknown field."),
        ({**ON_OFF, "state": "ON"}, "state", "'ON' is not one of"),
        ({**ON_OFF, "variants": {}}, "variants", "non-empty"),
        ({**ON_OFF, "variants": {"on": True, "off": "no"}}, "variants", "'no' is not of type 'boolean'"),
        ({**ON_OFF, "variants": {"on": None}}, "variants", "is not of type"),
        ({**ON_OFF, "defaultVariant": "of"}, "defaultVariant", "names no variant: 'of'"),
        ({**ON_OFF, "defaultVariant": ""}, "defaultVariant", "names no variant"),
        ({**ON_OFF, "targeting": {"if": [True, "onn"]}}, "targeting", "names no variant: 'onn'"),
        ({**ON_OFF, "targeting": {"if": [True, "on", "onn"]}}, "targeting", "names no variant: 'onn'"),
        ({**ON_OFF, "targeting": {"fractional": [["on", 1], ["onn", 1]]}}, "targeting", "names no variant: 'onn'"),
        ({**ON_OFF, "targeting": {"==": [1, 1]}}, "targeting", "names no variant: 'true'"),
        ({**ON_OFF, "targeting": {"iff": [True, "on"]}}, "targeting", "not valid"),
        ({**ON_OFF, "targeting": {"if": [{"$ref": "shared"}, "on"]}}, "targeting", "$ref"),
        ({**ON_OFF, "targeting": {"fractional": [["on", -1], ["off", 1]]}}, "targeting", "-1"),
        ({**ON_OFF, "metadata": {"x": [1]}}, "metadata", "not of type"),
        ({**ON_OFF, "metadata": {"x": "y" * 20_000}}, "flag", "16384 are allowed"),
    ],
)
def test_makes_no_sense(flag: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked("f", flag)
    assert said in " ".join(refused.value.errors[field]), refused.value.errors


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 129, ".x", "a/b"])
def test_a_name_that_cannot_be(name: str) -> None:
    with pytest.raises(InvalidRequest, match="name: must be"):
        checked(name, ON_OFF)


@pytest.mark.parametrize("depth", [9, 400])
def test_rules_within_rules_cost_a_bounded_time(depth: int) -> None:
    rule: Any = "on"
    for _ in range(depth):
        rule = {"fractional": [[rule, 1], ["off", 1]]}
    begun = time.process_time()
    if depth > 10:
        with pytest.raises(InvalidRequest, match="nested deeper"):
            checked("f", {**ON_OFF, "targeting": rule})
    else:
        checked("f", {**ON_OFF, "targeting": rule})
    assert time.process_time() - begun < 2


def test_every_result_of_nested_rules_is_found() -> None:
    rule = {"if": [True, {"fractional": [{"var": "x"}, ["a", 1], [{"if": [False, "b", "c"]}, 2]]}, False, "d", True]}
    assert list(results(rule)) == ["a", "b", "c", "d", "true"]
