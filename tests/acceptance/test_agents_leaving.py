"""How an agent's process ends: told to, too slowly, or by force; its tasks never go with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import AgentStatus, TaskStatus
from tests.acceptance.cluster.caller import Caller, history
from tests.acceptance.cluster.nodes import AgentNode
from tests.acceptance.conftest import StartAgent
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("celery_worker")]
AGENTS = {"heir": {"capabilities": "work+heir"}}


@pytest.fixture
def gate(tmp_path: Path) -> dict[str, str]:
    return {name: str(tmp_path / name) for name in ("started", "open", "cleaned")}


@pytest.fixture
def heir_busy(caller: Caller, tmp_path: Path) -> Iterator[Path]:
    """The agent that would take everything else: its only slot is taken until the file that this is exists."""
    started, opened = tmp_path / "heir-started", tmp_path / "heir-open"
    task_id = caller.submit("gate", {"started": str(started), "open": str(opened)}, needs=("heir",))
    eventually(started.exists, 5, "the heir is busy")
    yield opened
    opened.touch()
    caller.ended(task_id)


def running(caller: Caller, gate: dict[str, object], **options: object) -> str:
    """A task that an agent runs and that waits at its gate."""
    task_id = caller.submit("gate", gate, **options)
    eventually(Path(str(gate["started"])).exists, 5, "the handler runs")
    return task_id


def test_told_to_stop_it_finishes_what_it_runs(
    caller: Caller, start_agent: StartAgent, gate: dict[str, str], heir_busy: Path
) -> None:
    node: AgentNode = start_agent("polite", "-c 2")
    task_id = running(caller, gate)

    node.kill("SIGTERM")
    node.wait_for_log("stopping: taking nothing new")
    eventually(lambda: caller.agent("polite").status is AgentStatus.DRAINING, 3, "everybody knows")
    waiting = caller.submit("echo")
    Path(gate["open"]).touch()

    assert node.wait_for_exit(5) == 0
    task = caller.get(task_id)
    assert (task.status, task.attempt, task.agent_id) == (TaskStatus.COMPLETED, 1, "polite")
    assert caller.agent("polite").status is AgentStatus.OFFLINE
    assert caller.get(waiting).status is TaskStatus.PENDING
    heir_busy.touch()
    assert caller.ended(waiting, 3).agent_id == "heir"


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_it_cannot_finish_in_time_another_agent_runs(
    caller: Caller, start_agent: StartAgent, gate: dict[str, str], heir_busy: Path, pool: str
) -> None:
    node: AgentNode = start_agent("slow", f"-P {pool}", ARAGORA_CP_DRAIN_TIMEOUT="1")
    task_id = running(caller, gate | {"until": 1})
    heir_busy.touch()

    told_at = time.monotonic()
    node.kill("SIGTERM")
    assert node.wait_for_exit(5) == 0
    task = caller.ended(task_id, 3)
    assert time.monotonic() - told_at < 5
    assert (task.status, task.result, task.agent_id) == (TaskStatus.COMPLETED, "attempt 2", "heir")
    assert (task.retries, task.losses, history(task)) == (0, 0, [])


def test_told_twice_it_hands_back_at_once(
    caller: Caller, start_agent: StartAgent, gate: dict[str, str], heir_busy: Path
) -> None:
    node: AgentNode = start_agent("hurried", ARAGORA_CP_DRAIN_TIMEOUT="60")
    task_id = running(caller, gate | {"until": 1})

    node.kill("SIGTERM")
    eventually(lambda: caller.agent("hurried").status is AgentStatus.DRAINING, 3, "it was told once")
    node.kill("SIGTERM")
    assert node.wait_for_exit(3) == 0
    task = caller.get(task_id)
    assert (task.status, task.attempt, task.retries) == (TaskStatus.PENDING, 1, 0)
    heir_busy.touch()
    assert caller.ended(task_id, 3).result == "attempt 2"


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_killed_its_task_is_completed_by_another(
    caller: Caller,
    start_agent: StartAgent,
    config: ControlPlaneConfig,
    gate: dict[str, str],
    heir_busy: Path,
    pool: str,
) -> None:
    node: AgentNode = start_agent("victim", f"-P {pool}")
    task_id = running(caller, gate | {"until": 1}, max_retries=1)
    heir_busy.touch()

    killed_at = time.monotonic()
    node.kill()
    task = caller.ended(task_id, config.heartbeat_timeout + 2)
    assert time.monotonic() - killed_at < config.heartbeat_timeout + 2
    assert (task.status, task.result, task.agent_id) == (TaskStatus.COMPLETED, "attempt 2", "heir")
    assert (task.attempt, task.losses, task.retries, history(task)) == (2, 1, 1, ["agent-lost"])
    eventually(lambda: caller.agent("victim").status is AgentStatus.OFFLINE, 2, "it is known to be gone")
