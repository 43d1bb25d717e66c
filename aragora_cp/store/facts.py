"""What decides whether a task runs, read from its workspace's slot at one moment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Lane, Priority
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import lanes_json
from aragora_cp.store.keys import workspace_keys

#: Sub-tasks that are named to whoever asks what a task waits for; the rest is counted.
MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class LaneUse:
    """What the workspace itself has in a lane: tickets out at the task's priority, and attempts that run."""

    tickets: int
    running: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Times are ms by the store's clock. `lane` and `ticket_since`: of a ticket that is out. `ahead`: tasks before it
    in its class, None when it is not in a backlog. `lanes`: those that serve its class. `room`: how many more of the
    workspace's tasks may be on their way to running, None without a limit."""

    status: str
    priority: Priority
    required: tuple[str, ...]
    placement: str
    target: str
    attempt: int
    agent_id: str
    started: int | None
    finished: int | None
    due: int | None
    due_for: str
    error_code: str
    parked: int | None
    waits_for: tuple[str, ...]
    waits_for_count: int
    lane: str
    ticket_since: int | None
    ahead: int | None
    lanes: Mapping[str, LaneUse]
    window: int
    workspace_status: str
    max_running: int | None
    running: int
    room: int | None


class FactStore:
    """Raises StoreUnavailable from every method."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._config = config

    def read(self, workspace: str, task_id: str, lanes: Sequence[Lane]) -> Facts | None:
        """None when there is no such task. `lanes`: those that the workspace may use. One round trip; its cost does not
        grow with the number of tasks."""
        root = workspace_keys(self._config.key_prefix, workspace).root
        args = (task_id, lanes_json(lanes), self._config.window, MOST_NAMED)
        with translated():
            answer = scripts.run(self._client, scripts.Call(scripts.script("explain_task"), root, args))
        return None if answer is None else _facts(json.loads(answer))


def _facts(told: Mapping[str, Any]) -> Facts:
    return Facts(
        status=told["status"],
        priority=Priority(int(told["prio"])),
        required=tuple(filter(None, told["required"].split("+"))),
        placement=told["placement"],
        target=told["target"],
        attempt=int(told["attempt"]),
        agent_id=told["agent"],
        started=_number(told["started"]),
        finished=_number(told["finished"]),
        due=_number(told["due"]),
        due_for=told["due_for"],
        error_code=told["error_code"],
        parked=_number(told["parked"]),
        waits_for=tuple(sorted(told["waits_for"])),
        waits_for_count=told["waits_for_count"],
        lane=told["lane"],
        ticket_since=_number(told["ticket_since"]),
        ahead=_number(told["ahead"]),
        lanes={name: LaneUse(use["tickets"], use["running"]) for name, use in dict(told["lanes"]).items()},
        window=told["window"],
        workspace_status=told["workspace_status"],
        max_running=_number(told["max_running"]),
        running=told["running"],
        room=_number(told["room"]),
    )


def _number(told: Any) -> int | None:
    return None if told == "" else int(told)
