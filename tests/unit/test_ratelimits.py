"""Rate limits as they are set."""

from __future__ import annotations

from typing import Any

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import ConfigError
from aragora_cp.ratelimits import RateLimit, from_json, limits_json, parse_limits, read_limits

GOOD = {"limit": 10, "period": 60}


def test_they_go_to_the_scripts_and_back() -> None:
    found = read_limits({"b": GOOD, "a": {**GOOD, "burst": 5, "per": "token", "shadow": True}})
    assert from_json(limits_json(found)) == {
        "a": RateLimit(10, 60, burst=5, per="token", shadow=True),
        "b": RateLimit(10, 60, burst=10),
    }


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        ([], "must be an object"),
        ({"A": GOOD}, "'A' is no name"),
        ({"": GOOD}, "'' is no name"),
        ({7: GOOD}, "'7' is no name"),
        ({f"n{n}": GOOD for n in range(9)}, "at most 8"),
        ({"a": 5}, "a must be an object of"),
        ({"a": {"limit": 5}}, "a must be an object of"),
        ({"a": GOOD | {"limits": 5}}, "a must be an object of"),
        ({"a": GOOD | {"limit": 0}}, "a: limit must be"),
        ({"a": GOOD | {"limit": True}}, "a: limit must be"),
        ({"a": GOOD | {"limit": 1.5}}, "a: limit must be"),
        ({"a": GOOD | {"period": 0}}, "a: period must be"),
        ({"a": GOOD | {"period": float("nan")}}, "a: period must be"),
        ({"a": GOOD | {"period": "60"}}, "a: period must be"),
        ({"a": {"limit": 1_000_000, "period": 1}}, "more than 10000 a second"),
        ({"a": GOOD | {"burst": 11}}, "a: burst must be"),
        ({"a": GOOD | {"per": "address"}}, "a: per must be"),
        ({"a": GOOD | {"shadow": 1}}, "a: shadow must be"),
    ],
)
def test_what_cannot_be_is_named(told: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        read_limits(told)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": {"limit": 0, "period": 1}}'])
def test_a_wrong_setting_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^rate_limits: "):
        ControlPlaneConfig(rate_limits=text)


def test_no_text_is_no_limit() -> None:
    assert parse_limits("") == {}
