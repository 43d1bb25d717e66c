"""The store is away, full, read-only; the monitor is away. Our own outage is not the agents'."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from aragora_cp.model import TaskStatus
from tests.faults.world import HEARTBEAT_TIMEOUT, World, pause
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


def submit_over_http(world: World) -> httpx.Response:
    body = {"task_type": "chaos.work", "required_capabilities": ["chaos"], "payload": {"n": 1, "seconds": 0}}
    headers = {"Authorization": f"Bearer {world.admin_token}"}
    return httpx.post(f"{world.url}/tasks/submit", json=body, headers=headers, timeout=30)


def test_store_and_monitor_away_for_two_timeouts(world: World) -> None:
    """No healthy task is failed, restarted or doubled."""
    world.monitor()
    world.agent("one", "--concurrency", "3")
    world.ready("one")
    held = [world.hold() for _ in range(3)]
    for task_id in held:
        world.started(task_id)
    world.members["monitor"].kill()
    world.store.kill()
    pause(2 * HEARTBEAT_TIMEOUT)
    world.start_store()
    world.members["monitor"].start()
    pause(HEARTBEAT_TIMEOUT)
    world.open_gate()
    done = world.final(*held)
    assert {(task.status, task.attempt, task.losses) for task in done} == {(TaskStatus.COMPLETED, 1, 0)}
    assert len(world.lines("start")) == 3
    after = world.submit("work", payload={"n": 1, "seconds": 0})
    assert world.final(after)[0].status is TaskStatus.COMPLETED
    world.assert_sound()


def test_tasks_that_end_while_the_store_is_away_are_reported_when_it_is_back(world: World) -> None:
    world.monitor()
    world.agent("one", "--concurrency", "2")
    world.ready("one")
    held = [world.hold() for _ in range(2)]
    for task_id in held:
        world.started(task_id)
    world.store.kill()
    world.open_gate()
    eventually(lambda: len(world.lines("end")) == 2, 10, "both handlers end")
    world.start_store()
    done = world.final(*held)
    assert {(task.status, task.attempt) for task in done} == {(TaskStatus.COMPLETED, 1)}
    assert set(world.completions().values()) == {1}
    world.assert_sound()


def test_the_monitor_alone_away(world: World) -> None:
    monitor = world.monitor()
    world.agent("one", "--concurrency", "1")
    world.ready("one")
    task_id = world.hold()
    world.started(task_id)
    monitor.signal(signal.SIGSTOP)
    pause(2 * HEARTBEAT_TIMEOUT)
    monitor.signal(signal.SIGCONT)
    world.monitor("monitor-2")
    pause(HEARTBEAT_TIMEOUT)
    world.open_gate()
    task = world.final(task_id)[0]
    assert (task.attempt, task.losses) == (1, 0)
    world.assert_sound()


def test_a_full_store_refuses_and_nothing_is_half_done(world: World) -> None:
    world.web()
    world.monitor()
    world.agent("one", "--concurrency", "1")
    world.ready("one")
    task_id = world.hold()
    world.started(task_id)
    client = world.plane.client
    before = client.dbsize()
    client.config_set("maxmemory", "1mb")
    refused = submit_over_http(world)
    assert (refused.status_code, refused.json()["code"]) == (503, "store-unavailable")
    assert "Retry-After" in refused.headers
    assert client.dbsize() <= before
    world.open_gate()
    eventually(lambda: world.lines("end", task_id), 10, "the handler works on")
    client.config_set("maxmemory", "0")
    assert world.final(task_id)[0].attempt == 1
    assert submit_over_http(world).status_code == 202
    world.assert_sound()


def test_a_read_only_store_and_a_wrong_eviction_policy_are_said(world: World) -> None:
    world.web()
    world.monitor()
    world.agent("one")
    world.ready("one")
    client = world.plane.client
    client.config_set("maxmemory-policy", "allkeys-lru")
    eventually(lambda: httpx.get(f"{world.url}/readyz").status_code == 503, 5, "readiness says so")
    assert "noeviction" in httpx.get(f"{world.url}/readyz").text
    client.config_set("maxmemory-policy", "noeviction")
    eventually(lambda: httpx.get(f"{world.url}/readyz").status_code == 200, 5, "readiness is back")

    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    refused = submit_over_http(world)
    assert (refused.status_code, refused.json()["code"]) == (503, "store-unavailable")
    client.execute_command("REPLICAOF", "NO", "ONE")
    eventually(lambda: submit_over_http(world).status_code == 202, 10, "submits are taken again")
    task_id = world.submit("work", payload={"n": 1, "seconds": 0})
    assert world.final(task_id, timeout=60)[0].status is TaskStatus.COMPLETED
    world.assert_sound()


def test_restart_under_load(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.web()
    world.monitor()
    world.agent("one", "--concurrency", "2")
    world.ready("one")
    accepted: list[str] = []
    codes: Counter[int] = Counter()
    for round_ in range(60):
        if round_ == 20:
            world.store.kill()
            world.start_store()
        answer = submit_over_http(world)
        codes[answer.status_code] += 1
        if answer.status_code == 202:
            accepted.append(answer.json()["task_id"])
    assert set(codes) <= {202, 503}
    assert len(accepted) > 30
    done = world.final(*accepted)
    assert {task.status for task in done} == {TaskStatus.COMPLETED}
    assert set(world.completions().values()) == {1}
    world.assert_sound()


def test_an_agent_stops_when_told_though_the_store_is_away(world: World) -> None:
    agent = world.agent("one", "--concurrency", "1")
    world.ready("one")
    world.store.kill()
    eventually(lambda: "Trying again" in agent.text() or "working on" in agent.text(), 20, "it notices")
    assert agent.end(30) == 0
    world.start_store()
