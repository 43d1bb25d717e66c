"""What waits, what runs, and who could take it: one workspace's queues at one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.lanes import SHARED_POOL, serves
from aragora_cp.model import Priority, read_handle
from aragora_cp.store import scripts
from aragora_cp.store.agents import read_lanes
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys, workspace_keys

#: Sets of required capabilities that one reading tells apart, and tasks that it looks at: tickets and leases.
MOST_CLASSES = 500
MOST_LOOKS = 2000


@dataclass(frozen=True, slots=True)
class LaneNow:
    """A lane that the workspace's tasks can go to. `agents` are those that are not offline, `slots` what may take new
    work; `running` and `tickets` are the workspace's own."""

    name: str
    pool: str
    capabilities: tuple[str, ...]
    agents: int
    slots: int
    running: int
    tickets: int


@dataclass(frozen=True, slots=True)
class QueueNow:
    """One class of tasks: the capabilities that they require, where they may run (auto, private, shared), the one agent
    that they are for (None: any). Those whose ticket is out count as waiting. `oldest_wait` is in seconds, of the task
    at the head of a line or with a ticket that waits longest; None when none waits."""

    required_capabilities: tuple[str, ...]
    placement: str
    agent_id: str | None
    waiting: Mapping[Priority, int]
    oldest_wait: float | None
    running: int
    lanes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Queues:
    """`delayed` wait for a time. `complete` is False when there is more than one reading looks at. `at` is ms."""

    at: int
    complete: bool
    pending: int
    running: int
    delayed: int
    last_minute: Mapping[str, int]
    queues: tuple[QueueNow, ...]
    lanes: tuple[LaneNow, ...]


class QueueStore:
    """Reads them. Raises StoreUnavailable."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._fleet = fleet_keys(config.key_prefix)
        self._prefix = config.key_prefix

    def read(self, workspace: str) -> Queues:
        """Of `workspace`, those that wait longest first. Two round trips; the cost is bounded by MOST_CLASSES and
        MOST_LOOKS, whatever waits."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for name in ("lanes", "slots", "members"):
                pipe.hgetall(self._fleet(name))
            described, slots, members = pipe.execute()
            root = workspace_keys(self._prefix, workspace).root
            call = scripts.Call(scripts.script("read_queues"), root, (MOST_CLASSES, MOST_LOOKS))
            now, complete, pending, running, delayed, completed, failed, cancelled, load, rows = scripts.run(
                self._client, call
            )
        own = {load[n].decode(): int(load[n + 1]) for n in range(0, len(load), 2)}
        lanes = tuple(
            LaneNow(
                name=lane.name,
                pool=lane.pool,
                capabilities=tuple(sorted(lane.capabilities)),
                agents=max(0, int(members.get(lane.name.encode(), 0))),
                slots=lane.slots,
                running=own.get(f"running:{lane.name}", 0),
                tickets=own.get(f"tickets:{lane.name}", 0),
            )
            for lane in read_lanes(described, slots, {})
            if lane.pool in (SHARED_POOL, workspace)
        )
        queues = sorted((_queue(row, now, lanes) for row in rows), key=lambda queue: -(queue.oldest_wait or 0))
        return Queues(
            at=now,
            complete=bool(complete),
            pending=pending,
            running=running,
            delayed=delayed,
            last_minute={"completed": completed, "failed": failed, "cancelled": cancelled},
            queues=tuple(queues),
            lanes=lanes,
        )


def _queue(row: list[Any], now: int, lanes: tuple[LaneNow, ...]) -> QueueNow:
    name, *waiting, since, running = row
    placement, required, agent_id = _class(name.decode())
    able = () if agent_id else tuple(lane.name for lane in lanes if _may_serve(lane, required, placement))
    return QueueNow(
        required_capabilities=required,
        placement=placement,
        agent_id=agent_id,
        waiting=dict(zip(Priority, waiting, strict=True)),
        oldest_wait=max(0, now - int(since)) / 1000 if since else None,
        running=running,
        lanes=able,
    )


def _class(name: str) -> tuple[str, tuple[str, ...], str | None]:
    """The inverse of `class_of` in lib/backlog.lua: placement, required capabilities, agent."""
    if name.startswith("@"):
        return "auto", (), read_handle(name[1:])[0]
    placement, mark, capabilities = name.rpartition("!")
    return placement if mark else "auto", tuple(filter(None, capabilities.split("+"))), None


def _may_serve(lane: LaneNow, required: tuple[str, ...], placement: str) -> bool:
    shared = lane.pool == SHARED_POOL
    allowed = placement == "auto" or (placement == "shared") == shared
    return allowed and serves(lane.capabilities, required)
