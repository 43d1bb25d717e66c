"""Clean-up keeps memory flat."""

from __future__ import annotations

import os
import time
from threading import Event, Thread

import pytest
import redis

from aragora_cp.model import AgentSpec, Hold, NewTask
from tests.faults.world import World
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TASKS = int(os.environ.get("FAULTS_MEMORY_TASKS", "5000"))
RETENTION = 2.0
PAYLOAD = b'{"text": "' + b"x" * 1000 + b'"}'


def finish_one(world: World, agent: AgentSpec) -> None:
    scheduler = world.plane.scheduler
    task, _ = scheduler.submit(NewTask("default", "memory", PAYLOAD, ("memory",), actor="test"))
    hold = Hold("default", task.task_id, 1, f"lease-{task.task_id}")
    assert not isinstance(scheduler.claim(hold, agent), str)
    scheduler.finish(hold, PAYLOAD, agent)


def lasting(client: redis.Redis) -> int:
    """Keys that do not end by themselves."""
    return sum(client.ttl(key) == -1 for key in client.scan_iter(count=1000))


def test_finished_tasks_leave_nothing_behind(world: World) -> None:
    """All keys go, and the memory with them; the trail's streams keep what their own bounds allow."""
    plane, client = world.plane, world.plane.client
    config = type(world.config)(**{**vars(world.config), "result_retention": RETENTION})
    monitor = type(plane)(**{**vars(plane), "config": config}).monitor()
    agent = AgentSpec("memory-1", ("memory",))
    for _ in range(200):
        finish_one(world, agent)
    stop = Event()
    thread = Thread(target=monitor.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: not world.plane.scheduler.list("default").items, 60, "the first tasks are removed")
        keys, memory = lasting(client), client.info("memory")["used_memory"]
        began = time.monotonic()
        for _ in range(TASKS):
            finish_one(world, agent)
        took = time.monotonic() - began
        peak = client.info("memory")["used_memory"]
        eventually(lambda: not world.plane.scheduler.list("default").items, 120, "all are removed", pause=0.5)
    finally:
        stop.set()
        thread.join()
    events = client.memory_usage(f"{world.config.key_prefix}{{default}}:events", samples=0) or 0
    audit = client.memory_usage(f"{world.config.key_prefix}{{default}}:audit", samples=0) or 0
    left = client.info("memory")["used_memory"] - events - audit
    print(
        f"{TASKS} tasks at {TASKS / took:.0f}/s; keys {keys} -> {lasting(client)}; "
        f"memory {memory} -> peak {peak} -> {left} beside the streams ({events + audit})"
    )
    assert lasting(client) <= keys
    assert left < memory + 2_000_000
    world.assert_sound()
