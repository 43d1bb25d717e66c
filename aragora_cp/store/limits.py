"""Rate limits as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import RateStanding
from aragora_cp.ratelimits import RateLimit, from_json, limits_json, parse_limits
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import as_record, read_standings
from aragora_cp.store.keys import workspace_keys


@dataclass(frozen=True, slots=True)
class LimitReport:
    """One rate limit: how it stands (None when it is counted for each token), and how many submits it has refused, or
    would have in shadow, since the workspace's limits were last set."""

    name: str
    limit: RateLimit
    standing: RateStanding | None
    refused: int
    would_refuse: int


class LimitStore:
    """Raises StoreUnavailable from every method."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._prefix = config.key_prefix
        self._defaults = limits_json(parse_limits(config.rate_limits))

    def read(self, workspace: str) -> list[LimitReport]:
        """Those that count in `workspace`, by name. One round trip."""
        call = scripts.Call(
            scripts.script("read_limits"), workspace_keys(self._prefix, workspace).root, (self._defaults,)
        )
        with translated():
            told, rows, counts = scripts.run(self._client, call)
        standings = {each.name: each for each in read_standings(rows)}
        counted = {name: int(n) for name, n in as_record(counts).items()}
        return [
            _report(name, limit, standings.get(name), counted)
            for name, limit in sorted(from_json(told.decode()).items())
        ]


def _report(name: str, limit: RateLimit, standing: RateStanding | None, counted: Mapping[str, Any]) -> LimitReport:
    return LimitReport(name, limit, standing, counted.get(f"{name}:refused", 0), counted.get(f"{name}:would-refuse", 0))
