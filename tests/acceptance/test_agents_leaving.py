"""How an agent's process ends: told to, too slowly, or by force; its tasks never go with it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import AgentStatus, TaskStatus
from tests.acceptance.cluster.caller import Caller, history
from tests.acceptance.cluster.nodes import AgentNode
from tests.acceptance.conftest import StartAgent
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def gate(tmp_path: Path) -> dict[str, str]:
    return {name: str(tmp_path / name) for name in ("started", "open", "cleaned")}


def running(caller: Caller, gate: dict[str, object], **options: object) -> str:
    """A task that an agent runs and that waits at its gate."""
    task_id = caller.submit("gate", gate, **options)
    eventually(Path(str(gate["started"])).exists, 5, "the handler runs")
    return task_id


def test_told_to_stop_it_finishes_what_it_runs(caller: Caller, start_agent: StartAgent, gate: dict[str, str]) -> None:
    node: AgentNode = start_agent("polite")
    task_id = running(caller, gate)

    node.kill("SIGTERM")
    eventually(lambda: caller.agent("polite").status is AgentStatus.DRAINING, 3, "it says that it takes nothing new")
    waiting = caller.submit("echo")
    Path(gate["open"]).touch()

    assert node.wait_for_exit(5) == 0
    task = caller.get(task_id)
    assert (task.status, task.attempt, task.agent_id) == (TaskStatus.COMPLETED, 1, "polite")
    assert caller.agent("polite").status is AgentStatus.OFFLINE
    assert caller.get(waiting).status is TaskStatus.PENDING
    caller.cancel(waiting)


def test_idle_it_ends_at_once(start_agent: StartAgent) -> None:
    node: AgentNode = start_agent("idle")
    node.kill("SIGTERM")
    assert node.wait_for_exit(3) == 0


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_it_cannot_finish_in_time_another_agent_runs(
    caller: Caller, start_agent: StartAgent, gate: dict[str, str], pool: str
) -> None:
    node: AgentNode = start_agent("slow", "-P", pool, ARAGORA_CP_DRAIN_TIMEOUT="1")
    task_id = running(caller, gate | {"until": 1})
    start_agent("other")

    told_at = time.monotonic()
    node.kill("SIGTERM")
    assert node.wait_for_exit(5) == 0
    task = caller.ended(task_id, 3)
    assert time.monotonic() - told_at < 5
    assert (task.status, task.result, task.agent_id) == (TaskStatus.COMPLETED, "attempt 2", "other")
    assert (task.retries, task.losses, history(task)) == (0, 0, [])


def test_told_twice_it_hands_back_at_once(caller: Caller, start_agent: StartAgent, gate: dict[str, str]) -> None:
    node: AgentNode = start_agent("hurried", ARAGORA_CP_DRAIN_TIMEOUT="60")
    task_id = running(caller, gate | {"until": 1})

    node.kill("SIGTERM")
    eventually(lambda: caller.agent("hurried").status is AgentStatus.DRAINING, 3, "it was told once")
    node.kill("SIGTERM")
    assert node.wait_for_exit(3) == 0
    task = caller.get(task_id)
    assert (task.status, task.attempt, task.retries) == (TaskStatus.PENDING, 1, 0)
    caller.cancel(task_id)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_killed_its_task_is_completed_by_another(
    caller: Caller, start_agent: StartAgent, config: ControlPlaneConfig, gate: dict[str, str], pool: str
) -> None:
    node: AgentNode = start_agent("victim", "-P", pool)
    task_id = running(caller, gate | {"until": 1}, max_retries=1)
    start_agent("heir")

    killed_at = time.monotonic()
    node.kill()
    task = caller.ended(task_id, config.heartbeat_timeout + 2)
    assert time.monotonic() - killed_at < config.heartbeat_timeout + 2
    assert (task.status, task.result, task.agent_id) == (TaskStatus.COMPLETED, "attempt 2", "heir")
    assert (task.attempt, task.losses, task.retries, history(task)) == (2, 1, 1, ["agent-lost"])
    eventually(lambda: caller.agent("victim").status is AgentStatus.OFFLINE, 2, "it is known to be gone")
