"""Budgets as they are set: how much may be spent on what in which time. The scripts count them. Pure.

Money is in millionths of the currency's unit, whole. No amount is beyond `MOST_MICROS`: the scripts add such numbers up
in doubles, which are exact to 2^53.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
NAME_RULE = "must be 1 to 32 of a-z, 0-9 and . _ -, beginning with a letter or a digit"
CALENDAR_PERIODS = ("day", "week", "month")
ROLLING = re.compile(r"rolling:([1-9][0-9]{0,6})")
LONGEST_ROLLING = 31 * 86400
SCOPES = ("task_type", "model", "token_id")
MOST_BUDGETS = 32
#: A thousand millions of the currency's unit.
MOST_MICROS = 10**15
#: A budget brings the changes of its time zone along for so many years; after them the last offset goes on.
ZONE_YEARS = 10

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` millionths in each `period` (day, week, month, or rolling:<seconds>) of `timezone`, for all of a
    workspace or for one `value` of `scope`. A hard one refuses, a soft one only tells. `default_estimate` is what a
    task is taken to cost when nobody knows better. `owner` is workspace or platform."""

    name: str
    limit: int
    period: str
    hard: bool = True
    scope: str | None = None
    value: str = ""
    timezone: str = "UTC"
    default_estimate: int = 0
    owner: str = "workspace"

    def complaints(self) -> dict[str, list[str]]:
        """What cannot be, by the name of the field."""
        errors: dict[str, list[str]] = {}
        if not NAME.fullmatch(self.name):
            errors["name"] = [NAME_RULE]
        for field in ("limit", "default_estimate"):
            if not 0 <= getattr(self, field) <= MOST_MICROS:
                errors[field] = ["must be from 0 to 1000000000"]
        rolling = ROLLING.fullmatch(self.period)
        if self.period not in CALENDAR_PERIODS and not (rolling and int(rolling[1]) <= LONGEST_ROLLING):
            errors["period"] = [
                f"must be day, week, month or rolling:<seconds>, of which there may be {LONGEST_ROLLING}"
            ]
        if self.scope is not None and self.scope not in SCOPES:
            errors["scope"] = [f"must be one of: {', '.join(SCOPES)}"]
        if not known_zone(self.timezone):
            errors["timezone"] = ["is not a time zone such as Europe/Berlin"]
        return errors


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """What a budget has counted in its present window. `resets_at` is ms since the epoch: the next window's beginning;
    of a rolling one, when the oldest of what was spent leaves it."""

    budget: Budget
    spent: int
    reserved: int
    overrun: int
    resets_at: int


def known_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


def definition(budget: Budget, now_ms: int) -> str:
    """As the scripts read it, with the zone's offsets from about `now_ms` on."""
    rolling = ROLLING.fullmatch(budget.period)
    told: dict[str, Any] = {
        "limit": budget.limit,
        "hard": budget.hard,
        "period": "rolling" if rolling else budget.period,
        "zone": budget.timezone,
        "estimate": budget.default_estimate,
        "owner": budget.owner,
    }
    if rolling:
        told["span"] = int(rolling[1]) * 1000
    else:
        told["offsets"] = zone_offsets(budget.timezone, now_ms)
    if budget.scope is not None:
        told |= {"scope": budget.scope, "value": budget.value}
    return json.dumps(told)


def read_budget(name: str, text: str) -> Budget:
    """The inverse of `definition`."""
    told: Mapping[str, Any] = json.loads(text)
    return Budget(
        name,
        told["limit"],
        f"rolling:{told['span'] // 1000}" if told["period"] == "rolling" else told["period"],
        hard=told["hard"],
        scope=told.get("scope"),
        value=told.get("value", ""),
        timezone=told["zone"],
        default_estimate=told["estimate"],
        owner=told["owner"],
    )


def zone_offsets(name: str, now_ms: int) -> list[list[int]]:
    """From which ms on the zone is how many ms ahead of UTC: what holds at `now_ms` less a month, and each change of it
    within `ZONE_YEARS`."""
    zone = ZoneInfo(name)

    def offset(at: int) -> int:
        moment = (_EPOCH + timedelta(seconds=at)).astimezone(zone)
        told = moment.utcoffset()
        return 0 if told is None else round(told.total_seconds() * 1000)

    step = 86400  # no zone changes twice in a day
    first = now_ms // 1000 - 31 * 86400
    found = [[first * 1000, offset(first)]]
    at = first
    for following in range(first + step, first + ZONE_YEARS * 366 * 86400, step):
        if offset(following) != found[-1][1]:
            low, high = at, following
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if offset(middle) != found[-1][1] else (middle, high)
            found.append([high * 1000, offset(high)])
        at = following
    return found
