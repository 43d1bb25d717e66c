"""The windows that the scripts find are those of the time zone database, changes of the clock included."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aragora_cp.budgets import zone_offsets

#: Where clocks change at two, at midnight, by half an hour, for a month, and never.
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Beirut", "Africa/Cairo",
    "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "Pacific/Kiritimati",
)  # fmt: skip
START = 1_767_225_600_000  # 2026-01-01
SOURCE = (files("aragora_cp.store") / "lua" / "lib" / "calendar.lua").read_text()


def window(client: redis.Redis, period: str, offsets: list[list[int]], at: int) -> tuple[str, int]:
    body = "local name, ends = window_at(ARGV[1], cjson.decode(ARGV[2]), tonumber(ARGV[3]))\n"
    found = client.eval(
        f"{SOURCE}\n{body}return {{name, string.format('%.0f', ends)}}", 0, period, json.dumps(offsets), at
    )
    return found[0].decode(), int(found[1])


def first_day(period: str, at: int, zone: str) -> str:
    day = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).date()
    if period == "week":
        day -= timedelta(days=day.weekday())
    return day.replace(day=1).isoformat() if period == "month" else day.isoformat()


@pytest.mark.parametrize("period", ["day", "week", "month"])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(zone=st.sampled_from(ZONES), ahead=st.integers(0, 9 * 365 * 86400))
@example(zone="Asia/Beirut", ahead=87 * 86400)
@example(zone="America/Santiago", ahead=247 * 86400)
def test_a_window_is_the_zones_own(client: redis.Redis, period: str, zone: str, ahead: int) -> None:
    at = START + ahead * 1000
    offsets = zone_offsets(zone, START)
    name, ends = window(client, period, offsets, at)
    assert at < ends
    assert first_day(period, ends - 1, zone) == first_day(period, at, zone)
    assert first_day(period, ends, zone) != first_day(period, at, zone)
    assert window(client, period, offsets, ends - 1) == (name, ends)
    assert window(client, period, offsets, ends)[0] != name
