"""Tickets popped by a process that then ends; routing on every way back; a line that stutters."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from random import Random
from urllib.parse import urlsplit, urlunsplit

import pytest

from aragora_cp.model import Priority, TaskStatus
from tests.faults.proxy import Proxy
from tests.faults.world import World
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_tickets_popped_while_an_agent_shuts_down(world: World) -> None:
    """Between SIGTERM and the end of the process a ticket may be popped whose answer nobody reads."""
    world.monitor()
    chance = Random(3)
    tasks = []
    for n in range(8):
        member = world.agent(f"stopping-{n % 2}", "--concurrency", "1")
        world.ready(f"stopping-{n % 2}")
        assert member.process is not None
        member.process.terminate()
        for _ in range(10):
            tasks.append(world.submit("work", payload={"n": n, "seconds": 0}))
            time.sleep(chance.uniform(0, 0.03))
        member.process.wait(20)
    world.agent("last")
    done = world.final(*tasks)
    assert {(task.status, task.retries) for task in done} == {(TaskStatus.COMPLETED, 0)}
    assert set(Counter(task for task, _, _ in world.lines("end")).values()) == {1}
    world.assert_sound()


def test_many_agents_die_at_once(world: World) -> None:
    """Every slot of six processes is lost in one moment; a leader key without an end lies in the way."""
    monitor = world.monitor()
    names = [f"mortal-{n}" for n in range(3)]
    for name in names:
        world.agent(name, "--concurrency", "4")
    world.ready(*names)
    held = [world.hold() for _ in range(12)]
    for task_id in held:
        world.started(task_id)
    for name in names:
        world.members[name].kill_group()
    monitor.kill()
    world.plane.client.set(f"{world.config.key_prefix}{{@}}:monitor:leader", "a-ghost")
    monitor.start()
    world.agent("heir", "--concurrency", "4")
    world.open_gate()
    done = world.final(*held, timeout=40)
    assert {(task.status, task.losses) for task in done} == {(TaskStatus.COMPLETED, 1)}
    world.assert_sound()


@pytest.mark.parametrize("way", ["retry", "lost", "handed back", "run again"])
def test_routing_survives(world: World, way: str) -> None:
    """Priority, capabilities, lane, correlation id and limits are the same on every way back."""
    world.monitor()
    member = world.agent("one", "--concurrency", "1")
    world.ready("one")
    kind = {"retry": "base-exception", "run again": "base-exception"}.get(way, "hold")
    payload = {"gate": str(world.folder / "gate")}
    task_id = world.submit(
        kind, payload=payload, priority=Priority.HIGH, timeout=77.0, correlation_id="corr-1",
        max_retries=0 if way == "run again" else 1,
    )  # fmt: skip
    before = world.task(task_id)
    world.started(task_id)
    if way == "lost":
        member.kill_group()
        world.agent("two")
    elif way == "handed back":
        assert member.process is not None
        member.process.terminate()
        eventually(lambda: "stopping" in member.text(), 10, "it stops")
        member.process.terminate()
        world.agent("two")
    elif way == "run again":
        world.final(task_id)
        world.plane.scheduler.rerun("default", task_id)
    world.started(task_id, attempt=2)
    world.open_gate()
    after = world.final(task_id)[0]
    same = ("priority", "required_capabilities", "timeout", "correlation_id", "lane", "max_retries", "created_at")
    assert {name: getattr(after, name) for name in same} == {
        name: "shared.chaos" if name == "lane" else getattr(before, name) for name in same
    }
    world.assert_sound()


def test_cancelling_needs_no_subscription(make_world: Callable[..., World]) -> None:
    """The agent's pub/sub connection is dead without knowing it: the next heartbeat says what was cancelled."""
    world = make_world()
    world.monitor()
    parts = urlsplit(world.config.redis_url)
    assert parts.port
    line = Proxy(parts.port)
    url = urlunsplit(parts._replace(netloc=parts.netloc.replace(str(parts.port), str(line.port))))
    world.agent("remote", "--concurrency", "1", ARAGORA_CP_REDIS_URL=url)
    world.ready("remote")
    task_id = world.submit("clean")
    world.started(task_id)
    line.hush_subscribers()
    world.plane.scheduler.cancel("default", task_id)
    eventually(lambda: world.lines("cleaned", task_id), 5, "the heartbeat tells it")
    after = world.submit("work", payload={"n": 1, "seconds": 0})
    assert world.final(after)[0].status is TaskStatus.COMPLETED
    line.close()
    world.assert_sound()


def test_a_line_that_stutters(make_world: Callable[..., World]) -> None:
    """Five resets within three seconds: the agent takes work again by itself."""
    world = make_world()
    world.monitor()
    parts = urlsplit(world.config.redis_url)
    assert parts.port
    line = Proxy(parts.port)
    url = urlunsplit(parts._replace(netloc=parts.netloc.replace(str(parts.port), str(line.port))))
    agent = world.agent("remote", "--concurrency", "2", ARAGORA_CP_REDIS_URL=url)
    world.ready("remote")
    for _ in range(5):
        line.cut()
        time.sleep(0.3)
        line.heal()
        time.sleep(0.3)
    tasks = [world.submit("work", payload={"n": n, "seconds": 0}) for n in range(10)]
    assert {task.status for task in world.final(*tasks, timeout=60)} == {TaskStatus.COMPLETED}
    running = world.submit("clean")
    world.started(running)
    world.plane.scheduler.cancel("default", running)
    eventually(lambda: world.lines("cleaned", running), 10, "cancelling works")
    assert agent.starts == 1
    line.close()
    world.assert_sound()
