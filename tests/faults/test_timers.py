"""Nothing waits in a worker's memory, and no host's clock counts."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable

import psutil
import pytest

from aragora_cp.model import RetryPolicy, TaskStatus
from tests.faults.world import World
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_delays_outlive_agents_store_and_monitor(world: World) -> None:
    world.monitor()
    world.agent("one", "--concurrency", "2")
    world.ready("one")
    due = world.now() + 5
    delayed = [world.submit("work", payload={"n": n, "seconds": 0}, delay=5.0) for n in range(20)]
    a_year = world.submit("work", payload={"n": 99, "seconds": 0}, delay=365 * 86400.0)
    for name in ("one", "monitor"):
        world.members[name].kill_group()
    world.store.kill()
    world.start_store()
    for name in ("monitor", "one"):
        world.members[name].start()
    done = world.final(*delayed)
    assert all(task.started_at is not None and task.started_at / 1000 >= due - 0.1 for task in done)
    assert set(Counter(task for task, _, _ in world.lines("start")).values()) == {1}
    assert world.task(a_year).status is TaskStatus.PENDING
    world.assert_sound()


def test_many_delayed_tasks_cost_an_agent_no_memory(world: World) -> None:
    world.monitor()
    agent = world.agent("one", "--concurrency", "1")
    world.ready("one")
    before = psutil.Process(agent.pid).memory_info().rss
    filler = "x" * 5000
    for n in range(2000):
        world.submit("work", payload={"n": n, "seconds": 0, "filler": filler}, delay=3600.0)
    now = world.submit("work", payload={"n": 1, "seconds": 0})
    assert world.final(now, timeout=5)[0].status is TaskStatus.COMPLETED
    assert psutil.Process(agent.pid).memory_info().rss - before < 10_000_000
    world.assert_sound()


def test_backoff_is_kept_in_the_store(world: World) -> None:
    """The agent dies while its task backs off; another one runs it when it is due, not before."""
    world.monitor()
    agent = world.agent("one", "--concurrency", "1")
    world.ready("one")
    policy = RetryPolicy(initial=4.0, factor=1.0, maximum=4.0, jitter=False)
    task_id = world.submit("nothing-handles-this", retry=policy, max_retries=1)
    eventually(lambda: world.task(task_id).next_attempt_at, 10, "it backs off")
    due = world.task(task_id).next_attempt_at
    agent.kill_group()
    agent.start()
    done = world.final(task_id)[0]
    assert done.error is not None
    assert [entry["code"] for entry in done.error["history"]] == ["no-handler", "no-handler"]
    assert done.started_at is not None
    assert due is not None
    assert done.started_at >= due
    world.assert_sound()


def test_queue_timeout(world: World) -> None:
    world.monitor()
    began = world.now()
    task_id = world.submit("work", payload={"n": 1, "seconds": 0}, queue_timeout=1.0)
    done = world.final(task_id)[0]
    assert done.error is not None
    assert (done.status, done.error["code"]) == (TaskStatus.FAILED, "expired")
    assert 1.0 <= world.now() - began < 4
    world.assert_sound()


@pytest.mark.parametrize("shift", ["+600s", "-600s"])
def test_a_wrong_clock_changes_nothing(make_world: Callable[..., World], shift: str) -> None:
    faketime = shutil.which("faketime")
    if faketime is None:
        if os.environ.get("CI"):
            pytest.fail("faketime is not installed")
        pytest.skip("faketime is not installed")
    world = make_world()
    world.monitor()
    world.agent("wrong", "--concurrency", "2", prefix=(faketime, "-f", shift))
    world.ready("wrong")
    began = world.now()
    held = world.hold()
    world.started(held)
    delayed = world.submit("work", payload={"n": 1, "seconds": 0}, delay=2.0)
    late = world.submit("clean", timeout=1.0, max_retries=0)
    done, timed_out = world.final(delayed, late)
    assert done.started_at is not None
    assert 2.0 <= done.started_at / 1000 - began < 4.0
    assert timed_out.error is not None
    assert timed_out.error["code"] == "timeout"
    eventually(lambda: world.now() - began > 5, 10, "more than one lease has passed")
    assert (world.task(held).status, world.task(held).attempt) == (TaskStatus.RUNNING, 1)
    world.open_gate()
    assert world.final(held)[0].losses == 0
    world.assert_sound()
