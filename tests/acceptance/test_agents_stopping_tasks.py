"""Time limits and cancelling: a slot is never lost to a handler that goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import TaskStatus
from tests.acceptance.cluster.caller import Caller, history
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("celery_worker")]
AGENTS = {"helper": {}, "threaded": {"options": "-P threads -c 2", "capabilities": "threads"}}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return {name: str(tmp_path / name) for name in ("started", "open", "cleaned")}


def begun(files: dict[str, str]) -> None:
    eventually(Path(files["started"]).exists, 5, "the handler runs")


def test_a_time_limit_ends_the_attempt(caller: Caller, files: dict[str, str]) -> None:
    task = caller.run("gate", files, timeout=0.5)

    assert (task.status, task.error["code"], task.error["retryable"]) == (TaskStatus.FAILED, "timeout", True)
    assert 400 <= task.finished_at - task.started_at < 1500


def test_a_handler_that_swallows_its_time_limit_is_killed(
    caller: Caller, config: ControlPlaneConfig, files: dict[str, str]
) -> None:
    task = caller.run("stubborn", files, timeout=0.5)

    assert (task.status, history(task)) == (TaskStatus.FAILED, ["timeout"])
    assert task.finished_at - task.started_at < (0.5 + config.kill_grace + 0.5) * 1000
    caller.slots_freed("helper", 1)
    assert caller.run("echo").status is TaskStatus.COMPLETED


def test_a_timeout_is_retried(caller: Caller, files: dict[str, str]) -> None:
    task = caller.run("gate", files | {"until": 1}, timeout=0.5, max_retries=1)

    assert (task.status, task.result, history(task)) == (TaskStatus.COMPLETED, "attempt 2", ["timeout"])


def test_cancelling_ends_the_task_at_once_and_frees_the_slot(caller: Caller, files: dict[str, str]) -> None:
    task_id = caller.submit("gate", files)
    begun(files)

    cancelled_at = time.monotonic()
    assert caller.cancel(task_id).status is TaskStatus.CANCELLED
    following = caller.ended(caller.submit("echo"), 2)
    assert time.monotonic() - cancelled_at < 1.5
    assert following.status is TaskStatus.COMPLETED
    assert Path(files["cleaned"]).exists()
    assert caller.get(task_id).status is TaskStatus.CANCELLED


def test_a_handler_that_swallows_the_cancelling_is_killed(
    caller: Caller, config: ControlPlaneConfig, files: dict[str, str]
) -> None:
    task_id = caller.submit("stubborn", files)
    begun(files)

    assert caller.cancel(task_id).status is TaskStatus.CANCELLED
    caller.slots_freed("helper", config.kill_grace + 2)
    assert caller.run("echo").status is TaskStatus.COMPLETED
    task = caller.get(task_id)
    assert (task.status, task.attempt) == (TaskStatus.CANCELLED, 1)


def test_a_task_that_waits_is_cancelled_and_never_runs(caller: Caller, files: dict[str, str]) -> None:
    running = caller.submit("gate", files)
    begun(files)
    waiting = caller.submit("echo")

    assert caller.cancel(waiting).status is TaskStatus.CANCELLED
    Path(files["open"]).touch()
    assert caller.ended(running).status is TaskStatus.COMPLETED
    assert caller.run("echo").status is TaskStatus.COMPLETED
    assert caller.get(waiting).attempt == 0


def test_on_threads_a_handler_sees_the_cancelling_at_its_next_call(caller: Caller, files: dict[str, str]) -> None:
    task_id = caller.submit("watchful", files, needs=("threads",))
    begun(files)

    assert caller.cancel(task_id).status is TaskStatus.CANCELLED
    eventually(Path(files["cleaned"]).exists, 2, "the handler noticed")
    caller.slots_freed("threaded", 3)
    assert caller.run("echo", needs=("threads",)).status is TaskStatus.COMPLETED


def test_on_threads_a_time_limit_ends_the_task_though_not_the_handler(
    caller: Caller, config: ControlPlaneConfig, files: dict[str, str]
) -> None:
    task = caller.ended(caller.submit("gate", files, needs=("threads",), timeout=0.5), 10)
    Path(files["open"]).touch()

    assert (task.status, history(task)) == (TaskStatus.FAILED, ["timeout"])
    assert task.finished_at - task.started_at < (0.5 + config.kill_grace + 1.5) * 1000
