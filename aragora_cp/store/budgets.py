"""Budgets in the store: set, read, deleted; and what was used day by day."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from aragora_cp.budgets import MOST_BUDGETS, Budget, BudgetStanding, definition, read_budget
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import as_record
from aragora_cp.store.keys import workspace_keys

#: Days of one question about usage: its longest answer, and the most that is kept.
MOST_DAYS = 400
#: What is counted of each day, and by what.
MEASURES = ("tasks", "cost", "input_tokens", "output_tokens", "cached_tokens")
DIMENSIONS = ("day", "task_type", "model", "token")

#: By day (since 1970-01-01), by dimension, by value: the measures.
Usage = dict[int, dict[str, dict[str, dict[str, int]]]]


class BudgetStore:
    """Raises StoreUnavailable from every method."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._prefix = config.key_prefix

    def put(self, workspace: str, budget: Budget, *, by_platform: bool) -> tuple[str, BudgetStanding | None]:
        """Answers made, put, platforms (it is the platform's to change) or too-many. One round trip."""
        text = definition(budget, round(time.time() * 1000))
        word, *more = self._run(
            "put_budget", workspace, budget.name, text, uuid.uuid4().hex[:12], int(by_platform), MOST_BUDGETS
        )
        return word.decode(), read_row(*more) if more else None

    def read(self, workspace: str, name: str = "") -> list[BudgetStanding]:
        """The one of that name, or all, by name. One round trip."""
        return [read_row(*found) for found in self._run("read_budgets", workspace, name)]

    def delete(self, workspace: str, name: str, *, by_platform: bool) -> str:
        """Answers deleted, platforms or unknown. One round trip."""
        return self._run("delete_budget", workspace, name, int(by_platform)).decode()

    def usage(self, workspace: str, days: Sequence[int]) -> Usage:
        """Of each of `days`. One round trip."""
        keys = workspace_keys(self._prefix, workspace)
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for day in days:
                pipe.hgetall(keys("usage", day))
            return {day: _read_day(as_record(found)) for day, found in zip(days, pipe.execute(), strict=True)}

    def _run(self, name: str, workspace: str, *args: Any) -> Any:
        root = workspace_keys(self._prefix, workspace).root
        with translated():
            return scripts.run(self._client, scripts.Call(scripts.script(name), root, args))


def read_row(row: Sequence[bytes], text: bytes) -> BudgetStanding:
    """A budget's row as the scripts answer it, with its definition."""
    name, _, spent, reserved, overrun, resets, _ = (part.decode() for part in row)
    return BudgetStanding(read_budget(name, text.decode()), int(spent), int(reserved), int(overrun), int(resets))


def _read_day(record: Mapping[str, bytes]) -> dict[str, dict[str, dict[str, int]]]:
    found: dict[str, dict[str, dict[str, int]]] = {}
    for field, number in record.items():
        dimension, _, rest = field.partition("|")
        value, _, measure = rest.rpartition("|")
        if measure in MEASURES:
            found.setdefault(dimension, {}).setdefault(value, {})[measure] = int(number)
    return found
