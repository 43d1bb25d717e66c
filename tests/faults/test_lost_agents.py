"""An agent dies, freezes, is cut off; a task kills every process that it meets."""

from __future__ import annotations

import signal
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import pytest

from aragora_cp.model import AgentStatus, Priority, TaskStatus
from tests.faults.proxy import Proxy
from tests.faults.world import HEARTBEAT_TIMEOUT, World
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

#: What the promise allows: one heartbeat timeout and two seconds.
BOUND = HEARTBEAT_TIMEOUT + 2.0


def test_a_killed_agents_tasks_run_elsewhere_at_their_old_place(world: World) -> None:
    world.monitor()
    world.agent("first", "--concurrency", "2")
    world.ready("first")
    lost = [world.hold(priority=Priority.NORMAL) for _ in range(2)]
    for task_id in lost:
        world.started(task_id)
    behind = [world.hold() for _ in range(6)]
    world.agent("second", "--concurrency", "1")
    world.ready("second")
    busy = world.started(behind[0])
    assert busy == "second"

    died = world.now()
    world.members["first"].kill_group()
    eventually(lambda: all(world.task(t).losses == 1 for t in lost), BOUND, "both losses are counted")
    assert world.now() - died <= BOUND
    world.open_gate()
    done = world.final(*lost, *behind)
    assert {task.status for task in done} == {TaskStatus.COMPLETED}
    for task_id in lost:
        task = world.task(task_id)
        assert (task.attempt, task.retries, task.losses) == (2, 1, 1)
        assert task.error is not None
        assert [entry["code"] for entry in task.error["history"]] == ["agent-lost"]
    # Not behind the backlog: those that waited in the window aside, nothing submitted later starts before them.
    order = [task for task, attempt, who in world.lines("start") if who == "second"]
    assert max(order.index(t) for t in lost) <= 1 + world.config.window + 1
    world.assert_sound()


def test_a_lost_task_waits_when_nobody_else_is_there(world: World) -> None:
    world.monitor()
    member = world.agent("only")
    world.ready("only")
    task_id = world.hold()
    world.started(task_id)
    member.kill_group()
    eventually(lambda: world.task(task_id).status is TaskStatus.PENDING, BOUND, "the task is pending again")
    eventually(lambda: not world.live_agents(), BOUND, "the agent is offline")
    assert world.plane.registry.get("only", None).status is AgentStatus.OFFLINE
    assert world.plane.registry.get("only", None).running == ()
    member.start()
    world.open_gate()
    assert world.final(task_id)[0].status is TaskStatus.COMPLETED
    world.assert_sound()


def test_a_frozen_agent_thaws_too_late(world: World) -> None:
    """SIGSTOP beyond the lease, then SIGCONT: every write of the old attempt is refused and noted."""
    world.monitor()
    frozen = world.agent("frozen", "--concurrency", "1")
    world.ready("frozen")
    task_id = world.hold()
    world.started(task_id)
    _signal_tree(frozen.pid, signal.SIGSTOP)
    world.agent("healthy", "--concurrency", "1")
    assert world.started(task_id, attempt=2, timeout=BOUND + 10) == "healthy"
    world.open_gate()
    done = world.final(task_id)[0]
    assert done.result == {"agent": "healthy", "attempt": 2}
    _signal_tree(frozen.pid, signal.SIGCONT)
    eventually(
        lambda: task_id in world.audit("task.finish", "stale-attempt") + world.audit("task.renew", "stale-attempt"),
        15,
        "the late write is refused and noted",
    )
    assert world.task(task_id).result == {"agent": "healthy", "attempt": 2}
    assert world.completions()[task_id] == 1
    eventually(lambda: "frozen" in world.live_agents(), 15, "the thawed agent takes work again")
    again = world.submit("work", payload={"n": 1, "seconds": 0})
    assert world.final(again)[0].status is TaskStatus.COMPLETED
    world.assert_sound()


@pytest.mark.parametrize("way", ["cut", "hush"])
def test_an_agent_that_is_cut_off(make_world: Callable[..., World], way: str) -> None:
    world = make_world()
    world.monitor()
    parts = urlsplit(world.config.redis_url)
    assert parts.port
    line = Proxy(parts.port)
    url = urlunsplit(parts._replace(netloc=parts.netloc.replace(str(parts.port), str(line.port))))
    world.agent("remote", "--concurrency", "1", ARAGORA_CP_REDIS_URL=url)
    world.ready("remote")
    task_id = world.hold()
    world.started(task_id)
    getattr(line, way)()
    world.agent("near", "--concurrency", "1")
    assert world.started(task_id, attempt=2, timeout=BOUND + 10) == "near"
    world.open_gate()
    assert world.final(task_id)[0].result == {"agent": "near", "attempt": 2}
    line.heal()
    eventually(lambda: "remote" in world.live_agents(), 60, "the agent is back")
    world.members["near"].end()
    again = world.submit("work", payload={"n": 1, "seconds": 0})
    assert world.final(again, timeout=60)[0].status is TaskStatus.COMPLETED
    assert world.completions()[task_id] == 1
    world.assert_sound()
    line.close()


def test_a_poisonous_task_ends_and_takes_nobody_with_it(world: World) -> None:
    world.monitor()
    world.agent("brave", "--concurrency", "2")
    world.ready("brave")
    neighbour = world.hold()
    world.started(neighbour)
    poison = world.submit("die", payload={"times": 99}, max_retries=2)
    done = world.final(poison)[0]
    assert (done.status, done.attempt, done.losses) == (TaskStatus.FAILED, 3, 3)
    assert done.error is not None
    assert done.error["code"] == "poisoned"
    assert len(done.error["history"]) == 3
    assert len(world.lines("start", poison)) == 3
    world.open_gate()
    assert world.final(neighbour)[0].attempt == 1
    assert "brave" in world.live_agents()
    world.assert_sound()


def test_one_child_that_dies_is_reported_at_once(world: World) -> None:
    world.monitor()
    world.agent("parent")
    world.ready("parent")
    began = world.now()
    task_id = world.submit("die", payload={"times": 1})
    done = world.final(task_id)[0]
    assert (done.status, done.attempt) == (TaskStatus.COMPLETED, 2)
    assert world.now() - began < HEARTBEAT_TIMEOUT, "it did not wait for the lease"
    world.assert_sound()


def _signal_tree(pid: int, word: signal.Signals) -> None:
    import psutil

    process = psutil.Process(pid)
    for each in [*process.children(recursive=True), process]:
        each.send_signal(word)
