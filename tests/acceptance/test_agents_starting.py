"""How an agent's process starts: as it is, under another name, on another pool, and again after it was killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pytest_celery import CeleryWorkerCluster

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import AgentStatus, Role, TaskStatus
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane
from tests.acceptance.cluster.caller import Caller
from tests.acceptance.cluster.nodes import AgentContainer
from tests.acceptance.conftest import StartAgent
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("celery_worker_cluster")]
START_UP = 5000  # ms that an interpreter with all its imports may need on a busy machine
AGENTS = {
    "another": {"options": "-c 3", "capabilities": "another"},
    "threaded": {"options": "-P threads -c 2", "capabilities": "threads"},
}


def test_without_any_option_it_is_the_agent_of_its_module_until_it_is_told_to_stop(
    caller: Caller, agent_env: Mapping[str, str], folder: Path
) -> None:
    container = AgentContainer("plain", env=agent_env, folder=folder)
    container.start()
    try:
        container.ready()
        agent = caller.agent("helper")
        assert (agent.status, agent.concurrency, agent.capabilities) == (AgentStatus.IDLE, 1, ("work",))
        assert (agent.labels["pool"], agent.workspace) == ("prefork", None)
        assert "echo" in agent.task_types
        assert caller.run("echo").agent_id == "helper"
        container.kill("SIGTERM")
        assert container.wait(3) == 0
    finally:
        container.teardown()


def test_its_name_and_its_slots_are_those_of_the_command_line(caller: Caller, tmp_path: Path) -> None:
    assert caller.agent("another").concurrency == 3
    tasks = [caller.submit("gate", {"open": f"{tmp_path}/open"}, needs=("another",)) for _ in range(4)]
    eventually(lambda: len(caller.agent("another").running) == 3, 5, "three run at once")
    assert sum(caller.get(task).status is TaskStatus.RUNNING for task in tasks) == 3
    (tmp_path / "open").touch()
    assert {caller.ended(task).agent_id for task in tasks} == {"another"}


def test_on_threads(caller: Caller) -> None:
    agent = caller.agent("threaded")
    assert (agent.labels["pool"], agent.concurrency) == ("threads", 2)
    assert caller.run("echo", "on a thread", needs=("threads",)).result["got"] == "on a thread"
    assert caller.run("later", "b", needs=("threads",)).result == ["a", "b"]
    assert caller.run("greet", {}, needs=("threads",)).error["code"] == "invalid-payload"


def test_an_agent_of_one_workspace_runs_its_tasks_only(
    caller: Caller, start_agent: StartAgent, plane: ControlPlane
) -> None:
    token = TokenIssuer(plane.tokens).issue(workspace="acme", role=Role.AGENT).text
    start_agent("private", capabilities="private", ARAGORA_CP_AGENT_TOKEN=token)

    theirs = caller.submit("echo", needs=("private",))
    caller.workspace = "acme"
    assert caller.run("echo", needs=("private",)).status is TaskStatus.COMPLETED
    caller.workspace = "default"
    assert caller.get(theirs).status is TaskStatus.PENDING
    caller.cancel(theirs)


def test_after_kill_9_the_same_agent_starts_again(
    caller: Caller, celery_worker_cluster: CeleryWorkerCluster, config: ControlPlaneConfig
) -> None:
    """At most two seconds after it is known as dead, or when the interpreter has started, if that takes longer."""
    node = celery_worker_cluster[0]
    node.kill()
    before = caller.agent("another")
    node.restart()

    after = caller.agent("another")
    assert after.session != before.session
    assert after.registered_at - before.last_heartbeat <= (config.heartbeat_timeout + 2) * 1000 + START_UP
    assert caller.run("echo", needs=("another",)).agent_id == "another"
