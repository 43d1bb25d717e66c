"""Rate limits as they are set: how many submits within which time, by name. The scripts count them. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
#: What a limit is counted for: all submits of the workspace, or those of each token by itself.
PER = ("workspace", "token")
MOST_LIMITS = 8
MOST_SUBMITS = 1_000_000
LONGEST_PERIOD = 31 * 86400.0
#: Submits a second that a limit may come to: the scripts count in whole microseconds, and are then true to 1 %.
MOST_A_SECOND = 10_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`limit` submits in `period` seconds, of which `burst` (None: all) may come at once. One in `shadow` counts what
    it would refuse, and refuses nothing."""

    limit: int
    period: float
    burst: int | None = None
    per: str = "workspace"
    shadow: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError, its message for people."""
        _check(_whole(self.limit, 1, MOST_SUBMITS), f"limit must be a whole number from 1 to {MOST_SUBMITS}")
        number = isinstance(self.period, int | float) and not isinstance(self.period, bool)
        _check(
            number and math.isfinite(self.period) and 0.001 <= self.period <= LONGEST_PERIOD,
            f"period must be seconds from 0.001 to {LONGEST_PERIOD:g}",
        )
        _check(self.limit / self.period <= MOST_A_SECOND, f"limit and period are more than {MOST_A_SECOND} a second")
        _check(
            self.burst is None or _whole(self.burst, 1, self.limit), "burst must be a whole number from 1 to the limit"
        )
        _check(self.per in PER, f"per must be one of: {', '.join(PER)}")
        _check(isinstance(self.shadow, bool), "shadow must be true or false")


def read_limits(told: Any) -> dict[str, RateLimit]:
    """By name, of an object of objects. Raises ValueError saying what is wrong with which."""
    _check(isinstance(told, Mapping), "must be an object, from names to limits")
    _check(len(told) <= MOST_LIMITS, f"must have at most {MOST_LIMITS} entries")
    found = {}
    for name, limit in told.items():
        _check(
            isinstance(name, str) and NAME.fullmatch(name) is not None,
            f"{str(name)[:64]!r} is no name: 1 to 32 of a-z, 0-9 and . _ -, beginning with a letter or a digit",
        )
        if isinstance(limit, RateLimit):
            found[name] = limit
            continue
        try:
            found[name] = RateLimit(**limit)
        except TypeError:
            known = "limit, period, burst, per, shadow"
            raise ValueError(f"{name} must be an object of {known}; limit and period are needed") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return dict(sorted(found.items()))


def parse_limits(text: str) -> dict[str, RateLimit]:
    """Of JSON, empty text for none. Raises ValueError."""
    try:
        told = json.loads(text) if text else {}
    except ValueError:
        raise ValueError('must be JSON such as {"submit": {"limit": 100, "period": 60}}') from None
    return read_limits(told)


def shown(limits: Mapping[str, RateLimit]) -> dict[str, dict[str, Any]]:
    """As they are shown and set: by name."""
    return {name: asdict(limit) for name, limit in limits.items()}


def limits_json(limits: Mapping[str, RateLimit]) -> str:
    """As the scripts read them: a list, the burst filled in."""
    rows = [
        {
            "name": name,
            "limit": limit.limit,
            "period": limit.period,
            "burst": limit.burst or limit.limit,
            "per": limit.per,
            "shadow": limit.shadow,
        }
        for name, limit in sorted(limits.items())
    ]
    return json.dumps(rows)


def from_json(text: str) -> dict[str, RateLimit]:
    """The inverse of `limits_json`."""
    return {row.pop("name"): RateLimit(**row) for row in json.loads(text)}


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _check(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)
