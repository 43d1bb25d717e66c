"""Cancelling, stopping, rolling on, and handlers that hurt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from random import Random

import pytest

from aragora_cp.errors import AlreadyFinal
from aragora_cp.model import RetryPolicy, TaskStatus
from tests.faults.world import World
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

AT_ONCE = RetryPolicy(initial=0, maximum=0)


def test_a_task_cancelled_while_nobody_listens_never_starts(world: World) -> None:
    world.monitor()
    tasks = [world.submit("work", payload={"n": n, "seconds": 0}) for n in range(5)]
    delayed = world.submit("work", payload={"n": 9, "seconds": 0}, delay=1.0)
    for task_id in [*tasks, delayed]:
        world.plane.scheduler.cancel("default", task_id)
    world.agent("late")
    world.ready("late")
    live = world.submit("work", payload={"n": 10, "seconds": 0}, delay=1.5)
    assert world.final(live)[0].status is TaskStatus.COMPLETED
    assert {task for task, _, _ in world.lines("start")} == {live}
    world.assert_sound()


def test_a_running_task_is_told_and_may_clean_up(world: World) -> None:
    world.monitor()
    world.agent("one", "--concurrency", "1")
    world.ready("one")
    task_id = world.submit("clean")
    world.started(task_id)
    world.plane.scheduler.cancel("default", task_id)
    eventually(lambda: world.lines("cleaned", task_id), 1.0, "the handler is told within a second", pause=0.02)
    after = world.submit("work", payload={"n": 1, "seconds": 0})
    world.final(after)
    assert (world.task(task_id).status, world.task(task_id).attempt) == (TaskStatus.CANCELLED, 1)
    world.assert_sound()


def test_cancels_at_random_moments_hit_nobody_else(world: World) -> None:
    """A hundred times around the end of a task; its neighbours' outcomes do not change."""
    world.monitor()
    world.agent("one", "--concurrency", "2")
    world.ready("one")
    chance = Random(5)
    cancelled, kept, told = [], [], Counter[str]()
    for n in range(100):
        victim = world.submit("work", payload={"n": n, "seconds": 0.01})
        kept.append(world.submit("work", payload={"n": n, "seconds": 0.01}))
        cancelled.append(victim)

        def cancel(task_id: str = victim) -> None:
            try:
                world.plane.scheduler.cancel("default", task_id)
                told[task_id] = 1
            except AlreadyFinal:
                told[task_id] = 2

        threading.Timer(chance.uniform(0, 0.08), cancel).start()
        world.final(kept[-1])
    eventually(lambda: len(told) == 100, 10, "every cancel was answered")
    assert {task.status for task in world.final(*kept)} == {TaskStatus.COMPLETED}
    for task in world.final(*cancelled):
        want = TaskStatus.CANCELLED if told[task.task_id] == 1 else TaskStatus.COMPLETED
        assert task.status is want
    assert len(world.members["one"].text().split("child killed")) == 1
    world.assert_sound()


def test_a_rolling_restart_loses_and_doubles_nothing(world: World) -> None:
    """500 tasks in flight, every agent stopped with SIGTERM and started again, one after the other."""
    world.monitor()
    names = ("one", "two", "three")
    for name in names:
        world.agent(name, "--concurrency", "2")
    world.ready(*names)
    tasks = [world.submit("work", payload={"n": n, "seconds": 0.08}) for n in range(500)]
    for name in names:
        assert world.members[name].end(30) == 0
        world.members[name].start()
        world.ready(name)
    done = world.final(*tasks, timeout=90)
    assert {(task.status, task.retries) for task in done} == {(TaskStatus.COMPLETED, 0)}
    assert set(Counter(task for task, _, _ in world.lines("end")).values()) == {1}
    assert set(world.completions().values()) == {1}
    world.assert_sound()


def test_a_second_sigterm_hands_back_at_once(world: World) -> None:
    world.monitor()
    leaving = world.agent("leaving", "--concurrency", "1")
    world.ready("leaving")
    task_id = world.hold()
    world.started(task_id)
    assert leaving.process is not None
    leaving.process.terminate()
    eventually(lambda: "stopping: taking nothing new" in leaving.text(), 10, "it takes nothing new")
    leaving.process.terminate()
    assert leaving.process.wait(15) == 0
    world.agent("next", "--concurrency", "1")
    world.ready("next")
    world.open_gate()
    task = world.final(task_id)[0]
    assert (task.status, task.attempt, task.retries, task.losses) == (TaskStatus.COMPLETED, 2, 0, 0)
    world.assert_sound()


@pytest.mark.parametrize("kind", ["fork", "closed-stdout", "signals", "base-exception", "huge", "not-json", "nan"])
def test_handlers_that_hurt(world: World, kind: str) -> None:
    world.monitor()
    agent = world.agent("one", "--concurrency", "1")
    world.ready("one")
    hurting = world.submit(kind, max_retries=0)
    done = world.final(hurting)[0]
    want = {
        "fork": None,
        "closed-stdout": "handler-error",
        "signals": None,
        "base-exception": "handler-error",
        "huge": "result-too-large",
        "not-json": "result-not-serialisable",
        "nan": "result-not-serialisable",
    }[kind]
    assert (done.error or {}).get("code") == want
    assert world.completions()[hurting] == (1 if want is None else 0)
    # The agent goes on, can still be told to stop, and runs each task once.
    after = world.submit("clean")
    world.started(after)
    world.plane.scheduler.cancel("default", after)
    eventually(lambda: world.lines("cleaned", after), 5, "the next task can be cancelled")
    last = [world.submit("work", payload={"n": n, "seconds": 0}) for n in range(5)]
    world.final(*last)
    assert set(Counter(task for task, _, _ in world.lines("start")).values()) == {1}
    assert agent.end() == 0
    world.assert_sound()


def test_what_failed_is_listed_with_its_reason_and_runs_again_by_filter(world: World) -> None:
    world.web()
    world.monitor()
    world.agent("one", "--concurrency", "1")
    world.ready("one")
    failed = [world.submit("base-exception", max_retries=1, retry=AT_ONCE) for _ in range(3)]
    poisoned = world.submit("die", payload={"times": 2}, max_retries=1)
    world.final(*failed, poisoned)

    def cli(*args: str) -> str:
        env = os.environ | {"ARAGORA_CP_URL": world.url.removesuffix("/api/control-plane")}
        command = [sys.executable, "-m", "aragora_cp.cli", "tasks", *args, "--json"]
        env["ARAGORA_CP_TOKEN"] = world.admin_token
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=60).stdout

    listed = json.loads(cli("list", "--status", "FAILED"))
    assert {(task["error"]["code"], len(task["error"]["history"])) for task in listed} == {
        ("handler-error", 2),
        ("poisoned", 2),
    }
    again = json.loads(cli("retry", "--status", "FAILED", "--code", "poisoned"))
    assert again == {"retried": [poisoned], "refused": {}}
    assert world.final(poisoned)[0].status is TaskStatus.COMPLETED, "its third attempt does not die"
    assert set(json.loads(cli("retry", *failed[:2]))["retried"]) == set(failed[:2])
    done = world.final(*failed[:2])
    assert {(task.status, task.attempt) for task in done} == {(TaskStatus.FAILED, 4)}
    world.assert_sound()
