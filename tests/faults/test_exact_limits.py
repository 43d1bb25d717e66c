"""A thousand submits over HTTP while web processes are killed: exactly as many get in as there is room for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from aragora_cp.budgets import Budget
from aragora_cp.model import Role
from aragora_cp.store.inspection import Inspector
from aragora_cp.store.keys import workspace_keys
from aragora_cp.tenancy.tokens import TokenIssuer
from tests.faults.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SUBMITS = 1000
ROUNDS = int(os.environ.get("FAULTS_ROUNDS", "1"))
SEED = int(os.environ.get("FAULTS_SEED", "0")) or int.from_bytes(os.urandom(3), "big")
UNIT = 1_000_000
WEB_WORKERS, KILLS = 2, 2
#: So many are under way at the same time.
CONNECTIONS = 64


def test_exactly_as_many_as_there_is_room_for(world: World) -> None:
    print(f"seed {SEED}")
    chance, resent = Random(SEED), 0
    web = world.web("--workers", str(WEB_WORKERS))
    for n in range(ROUNDS):
        for workspace, limited, refusal, room in (
            (f"rate-{n}", {"rate_limits": {"submit": {"limit": 100, "period": 86400}}}, 429, 100),
            (f"money-{n}", {}, 402, 33),
        ):
            world.plane.workspaces.create(workspace, limited)
            if not limited:
                world.plane.budgets.put(workspace, Budget("all", 10 * UNIT, "month"), by_platform=False)
            answers, again = asyncio.run(submit_all(world, workspace, web.pid, chance))
            resent += again
            told = Counter(status for status, _ in answers)
            accepted = {task_id for _, task_id in answers if task_id}
            assert (len(accepted), told[refusal]) == (room, SUBMITS - room), (workspace, told)
            assert ledger(world, workspace) == accepted
            assert not list(Inspector(world.plane.client, world.config).inspect(workspace))
            for standing in world.plane.budgets.read(workspace):
                assert (standing.spent, standing.reserved) == (0, room * 300_000)
    print(f"{ROUNDS} rounds of 2 × {SUBMITS} submits, {KILLS} kills in each; {resent} sent again")
    assert resent


async def submit_all(
    world: World, workspace: str, web: int, chance: Random
) -> tuple[list[tuple[int, str | None]], int]:
    """All of them, and -9 for a worker process of `web` when so many have been answered as chance has it; what each was
    told in the end, and how many sends met a process that died."""
    token = TokenIssuer(world.plane.tokens).issue(workspace=workspace, role=Role.SUBMITTER).text
    again = answered = 0
    turn = asyncio.Semaphore(CONNECTIONS)
    moments = set(chance.sample(range(1, SUBMITS), KILLS))

    async def submit(n: int) -> tuple[int, str | None]:
        nonlocal again, answered
        body = {"task_type": "t", "payload": {"n": n}, "estimated_cost": "0.30", "idempotency_key": f"key-{n}"}
        while True:
            try:
                async with turn:  # the client's own queue takes a time that grows with its square
                    answer = await client.post(f"{world.url}/tasks/submit", json=body)
            except httpx.TransportError:
                again += 1
                await asyncio.sleep(0.05)
                continue
            answered += 1
            if answered in moments and (workers := children(web)):
                os.kill(chance.choice(workers), signal.SIGKILL)
            told: dict[str, Any] = answer.json()
            assert answer.status_code in (200, 202, 402, 429), told
            return answer.status_code, told.get("task_id")

    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=httpx.Timeout(30, pool=None)) as client:
        return list(await asyncio.gather(*(submit(n) for n in range(SUBMITS)))), again


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ledger(world: World, workspace: str) -> set[str]:
    """Every task that the audit trail says was accepted."""
    entries: Any = world.plane.client.xrange(workspace_keys(world.config.key_prefix, workspace)("audit"))
    return {
        entry[b"target"].decode()
        for _, entry in entries
        if (entry[b"action"], entry[b"outcome"]) == (b"task.submit", b"accepted")
    }
