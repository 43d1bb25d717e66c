"""A process's own copy of the flags: how old it may be, and what it does without the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aragora_cp.errors import StoreUnavailable
from aragora_cp.model import FlagVersion
from aragora_cp.policy.flags import Flags

ON_OFF: dict[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}


class Records:
    """Flags in memory, and what was asked of them."""

    def __init__(self) -> None:
        self.flags: dict[str | None, dict[str, FlagVersion]] = {}
        self.asked: list[list[str | None]] = []
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None

    def put(self, name: str, flag: Any, home: str | None = None, version: int = 1) -> None:
        text = flag if isinstance(flag, str) else json.dumps(flag)
        self.flags.setdefault(home, {})[name] = FlagVersion(name, version, 0, "tests", text)

    def read(self, homes: Sequence[str | None]) -> list[Mapping[str, FlagVersion]]:
        self.asked.append(list(homes))
        if self.away:
            raise StoreUnavailable
        found = [dict(self.flags.get(home, {})) for home in homes]
        self.meanwhile()
        return found


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def flags(records: Records, clock: Clock) -> Flags:
    return Flags(records, clock=clock)


def test_one_read_serves_until_it_is_old(flags: Flags, records: Records, clock: Clock) -> None:
    records.put("f", ON_OFF)
    for _ in range(100):
        assert flags.flag_enabled("f", "acme", False)
    assert records.asked == [["acme", None]]
    records.put("f", {**ON_OFF, "defaultVariant": "off"})
    clock.now = 1.4
    assert flags.flag_enabled("f", "acme", False)
    clock.now = 1.5
    assert not flags.flag_enabled("f", "acme", False)
    assert len(records.asked) == 2


def test_what_was_read_before_a_change_was_heard_is_read_again(flags: Flags, records: Records) -> None:
    records.put("f", ON_OFF)

    def change() -> None:
        records.meanwhile = lambda: None
        records.put("f", {**ON_OFF, "defaultVariant": "off"})
        flags.forget("*")

    records.meanwhile = change
    flags.flag_enabled("f", "acme", False)
    assert not flags.flag_enabled("f", "acme", True)


def test_without_the_store_the_last_ones_count(flags: Flags, records: Records, clock: Clock) -> None:
    records.put("f", ON_OFF)
    assert flags.flag_enabled("f", "acme", False)
    records.away = True
    clock.now = 60.0
    assert flags.flag_enabled("f", "acme", False)
    assert flags.value("f", "default", workspace="never seen") == "default"
    # It is not asked again with every evaluation.
    asked = len(records.asked)
    assert flags.flag_enabled("f", "acme", False)
    assert len(records.asked) == asked


def test_copies_are_bounded(records: Records, clock: Clock) -> None:
    flags = Flags(records, clock=clock, kept=3)
    records.put("f", ON_OFF)
    for n in range(50):
        assert flags.flag_enabled("f", f"w{n}", False)
    assert len(flags._copies._copies) == 3


def test_one_flag_that_cannot_be_read_leaves_the_others(flags: Flags, records: Records) -> None:
    records.put("bad", "{")
    records.put("worse", {"state": "?", "variants": {}})
    records.put("good", ON_OFF)
    assert flags.value("good", False, workspace="acme") is True
    assert flags.value("bad", "mine", workspace="acme") == "mine"
    assert flags.value("worse", 3, workspace="acme") == 3
    assert flags.switched_off("acme") == frozenset()


def test_an_override_counts_unless_it_is_disabled(flags: Flags, records: Records) -> None:
    records.put("f", ON_OFF, version=3)
    records.put("f", {**ON_OFF, "defaultVariant": "off"}, home="acme", version=7)
    told = flags.evaluate("f", None, workspace="acme")
    assert (told.value, told.variant, told.reason, told.version, told.source, told.error) == (
        False, "off", "STATIC", 7, "override", None,
    )  # fmt: skip
    assert flags.evaluate("f", None, workspace="beta").source == "platform"
    records.put("f", {**ON_OFF, "state": "DISABLED"}, home="acme", version=8)
    flags.forget("acme")
    told = flags.evaluate("f", None, workspace="acme")
    assert (told.value, told.version, told.source) == (True, 3, "platform")


@pytest.mark.parametrize(
    ("default", "variants", "value"),
    [
        (False, {"a": True}, True),
        ("", {"a": "x"}, "x"),
        (0, {"a": 3}, 3),
        (0.0, {"a": 3}, 3.0),
        ({}, {"a": {"x": [1]}}, {"x": [1]}),
        (None, {"a": "x"}, "x"),
        (None, {"a": True}, True),
        # Another type than the default's: the default.
        (0, {"a": "x"}, 0),
        (True, {"a": 1}, True),
        ("d", {"a": {}}, "d"),
    ],
)
def test_the_type_is_the_defaults(flags: Flags, records: Records, default: Any, variants: Any, value: Any) -> None:
    records.put("f", {"state": "ENABLED", "variants": variants, "defaultVariant": "a"})
    found = flags.value("f", default, workspace="acme")
    assert found == value
    assert type(found) is type(value)


def test_what_cannot_be_evaluated_is_logged_once(
    flags: Flags, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    records.put("f", {**ON_OFF, "targeting": {"var": "which"}})
    for _ in range(10):
        assert flags.value("f", True, workspace="acme", attributes={"which": "nothing"}) is True
        assert flags.value("none", "d", workspace="acme") == "d"
    assert [record.message for record in caplog.records] == ["a flag cannot be evaluated, its default counts"]


def test_anything_at_all_in_the_context(flags: Flags, records: Records) -> None:
    records.put("f", {**ON_OFF, "targeting": {"if": [{"<": [{"var": "x"}, 3]}, "off"]}})
    for value in (object(), None, float("nan"), {"x": object()}, b"x", "text"):
        assert flags.value("f", True, workspace="acme", attributes={"x": value}) in (True, False)


@given(shares=st.lists(st.integers(0, 100), min_size=2, max_size=5), keys=st.lists(st.text(min_size=1), min_size=20))
def test_shares_nest(shares: list[int], keys: list[str]) -> None:
    """Whoever has it at 10 % has it at 25 %: raising a share takes it from nobody."""
    records = Records()
    flags = Flags(records)
    before: set[str] = set()
    for share in sorted(shares):
        rule = {"fractional": [["on", share], ["off", 100 - share]]}
        records.put("f", {**ON_OFF, "defaultVariant": "off", "targeting": rule})
        flags.forget()
        now = {key for key in keys if flags.value("f", False, workspace="acme", targeting_key=key)}
        assert before <= now
        before = now


def test_a_share_is_about_that_share(flags: Flags, records: Records) -> None:
    rule = {"fractional": [["on", 25], ["off", 75]]}
    records.put("f", {**ON_OFF, "targeting": rule})
    on = sum(flags.flag_enabled("f", f"workspace-{n}", False) for n in range(2000))
    assert 400 < on < 600


def test_after_the_end_every_flag_is_its_default(flags: Flags, records: Records) -> None:
    records.put("f", ON_OFF)
    flags.close()
    assert flags.flag_enabled("f", "acme", False) is False
