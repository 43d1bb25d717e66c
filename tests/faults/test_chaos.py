"""Kill -9 at random moments, everything that can be killed; then count."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from random import Random

import httpx
import pytest

from aragora_cp.model import TaskStatus
from tests.faults.world import World
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

AGENTS = ("chaos-1", "chaos-2", "chaos-3")
#: The whole run (`make faults`) or a short one (`make test`).
TASKS, KILLS = (1000, 60) if os.environ.get("FAULTS_FULL") else (150, 10)
SEED = int(os.environ.get("FAULTS_SEED", "0")) or int.from_bytes(os.urandom(3), "big")


class Submitter(threading.Thread):
    """A caller that behaves: one key for each task, and the same again until it is told 2xx."""

    def __init__(self, world: World, seconds: float, chance: Random) -> None:
        super().__init__(daemon=True)
        self.world, self.pause, self.chance = world, seconds / TASKS, chance
        self.task_ids: list[str] = []
        self.refused: Counter[int] = Counter()

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.world.admin_token}"}
        with httpx.Client(headers=headers, timeout=5) as client:
            for n in range(TASKS):
                body = {
                    "task_type": "chaos.work",
                    "required_capabilities": ["chaos"],
                    "payload": {"n": n, "seconds": self.chance.uniform(0.02, 0.15)},
                    "priority": self.chance.choice(["critical", "high", "normal", "low"]),
                    "max_retries": 50,
                    "idempotency_key": f"task-{n}",
                }
                self.task_ids.append(self._submit(client, body))
                time.sleep(self.pause)

    def _submit(self, client: httpx.Client, body: dict[str, object]) -> str:
        while True:
            try:
                answer = client.post(f"{self.world.url}/tasks/submit", json=body)
            except httpx.HTTPError:
                self.refused[0] += 1
            else:
                if answer.status_code in (200, 202):
                    return str(answer.json()["task_id"])
                assert answer.status_code == 503, answer.text
                self.refused[503] += 1
            time.sleep(0.2)


def strike(world: World, chance: Random) -> str:
    """Kill one of them and start it again."""
    victim = chance.choices([*AGENTS, "web", "monitor", "store"], weights=[3, 3, 3, 2, 2, 2])[0]
    member = world.members[victim]
    member.kill_group()
    time.sleep(chance.uniform(0, 0.5))
    if victim == "store":
        world.start_store()
    else:
        member.start()
    return victim


def test_nothing_is_lost_and_nothing_is_done_twice(make_world: Callable[..., World]) -> None:
    print(f"FAULTS_SEED={SEED}")
    chance = Random(SEED)
    world = make_world()
    world.web()
    world.monitor()
    for name in AGENTS:
        world.agent(name)
    world.ready(*AGENTS)

    submitter = Submitter(world, seconds=KILLS * 1.8, chance=Random(SEED + 1))
    submitter.start()
    kills: Counter[str] = Counter()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.5, 2.5))
        kills[strike(world, chance)] += 1
    submitter.join(120)
    assert not submitter.is_alive()

    def all_final() -> bool:
        statuses = world.plane.scheduler.statuses("default", submitter.task_ids)
        return all(status is not None and status.final for status in statuses)

    began = time.monotonic()
    eventually(all_final, 120, "every task is final", pause=0.5)
    statuses = Counter(world.plane.scheduler.statuses("default", submitter.task_ids))
    starts, completions = world.lines("start"), world.completions()
    print(
        f"kills {dict(kills)}; refused {dict(submitter.refused)}; {len(submitter.task_ids)} tasks {dict(statuses)}; "
        f"{len(starts)} starts; settled {time.monotonic() - began:.1f} s after the last kill"
    )
    assert len(set(submitter.task_ids)) == TASKS
    assert statuses == {TaskStatus.COMPLETED: TASKS}
    assert {task: n for task, n in completions.items() if n != 1} == {}
    assert len(completions) == TASKS
    assert max(Counter((task, attempt) for task, attempt, _ in starts).values()) == 1, "an attempt started twice"
    world.assert_sound()
