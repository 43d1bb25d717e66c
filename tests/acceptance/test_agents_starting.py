"""How an agent's process starts: as it is, under another name, on another pool; and when it must not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.embedded import free_port
from aragora_cp.model import AgentStatus, Role, TaskStatus
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane
from tests.acceptance.cluster.caller import Caller
from tests.acceptance.cluster.nodes import AGENT_MODULE, AgentContainer, AgentNode
from tests.acceptance.conftest import StartAgent
from tests.waiting import eventually

pytestmark = pytest.mark.slow


def words(env: Mapping[str, str], *options: str, module: str = AGENT_MODULE) -> list[str]:
    """The lines with which ``celery worker`` says why it does not start."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "celery", "-A", module, "worker", *options],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode > 0, ended.stderr
    return ended.stderr.strip().splitlines()


def refusal(env: Mapping[str, str], *options: str, module: str = AGENT_MODULE) -> str:
    """Its only line."""
    (line,) = words(env, *options, module=module)
    return line


def test_without_any_option_it_is_the_agent_of_its_module(
    caller: Caller, agent_env: Mapping[str, str], folder: object
) -> None:
    container = AgentContainer("plain", env=agent_env, folder=folder)
    container.start()
    try:
        container.ready()
        agent = caller.agent("helper")
        assert (agent.status, agent.concurrency, agent.capabilities) == (AgentStatus.IDLE, 1, ("work",))
        assert agent.labels["pool"] == "prefork"
        assert "echo" in agent.task_types
        assert agent.workspace is None
        assert caller.run("echo").agent_id == "helper"
    finally:
        container.teardown()


def test_its_name_and_its_slots_are_those_of_the_command_line(
    caller: Caller, start_agent: StartAgent, tmp_path: object
) -> None:
    start_agent("another", "-c", "3")

    assert caller.agent("another").concurrency == 3
    tasks = [caller.submit("gate", {"open": f"{tmp_path}/open"}) for _ in range(4)]
    eventually(lambda: len(caller.agent("another").running) == 3, 5, "three run at once")
    assert sum(caller.get(task).status is TaskStatus.RUNNING for task in tasks) == 3
    (tmp_path / "open").touch()
    assert {caller.ended(task).agent_id for task in tasks} == {"another"}


def test_on_threads(caller: Caller, start_agent: StartAgent) -> None:
    start_agent("threaded", "-P", "threads", "-c", "2")

    agent = caller.agent("threaded")
    assert (agent.labels["pool"], agent.concurrency) == ("threads", 2)
    assert caller.run("echo", "on a thread").result["got"] == "on a thread"
    assert caller.run("later", "b").result == ["a", "b"]
    assert caller.run("greet", {}).error["code"] == "invalid-payload"


def test_an_agent_of_one_workspace_runs_its_tasks_only(
    caller: Caller, start_agent: StartAgent, plane: ControlPlane
) -> None:
    token = TokenIssuer(plane.tokens).issue(workspace="acme", role=Role.AGENT).text
    start_agent("private", ARAGORA_CP_AGENT_TOKEN=token)

    theirs = caller.submit("echo")
    caller.workspace = "acme"
    assert caller.run("echo").status is TaskStatus.COMPLETED
    caller.workspace = "default"
    assert caller.get(theirs).status is TaskStatus.PENDING
    caller.cancel(theirs)


def test_no_token(agent_env: Mapping[str, str]) -> None:
    env = {name: value for name, value in agent_env.items() if name != "ARAGORA_CP_AGENT_TOKEN"}
    assert refusal(env) == "aragora-cp worker: an agent needs a token; set ARAGORA_CP_AGENT_TOKEN"


def test_a_wrong_token(agent_env: Mapping[str, str]) -> None:
    token = agent_env["ARAGORA_CP_AGENT_TOKEN"]
    wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
    assert refusal({**agent_env, "ARAGORA_CP_AGENT_TOKEN": wrong}) == "aragora-cp worker: the token is not valid"


def test_a_token_of_the_wrong_role(agent_env: Mapping[str, str], plane: ControlPlane) -> None:
    token = TokenIssuer(plane.tokens).issue(workspace="acme", role=Role.VIEWER).text
    line = refusal({**agent_env, "ARAGORA_CP_AGENT_TOKEN": token})
    assert line == "aragora-cp worker: the agent's token has the role viewer; it needs the role agent"


def test_no_store(agent_env: Mapping[str, str]) -> None:
    line = refusal({**agent_env, "ARAGORA_CP_REDIS_URL": f"redis://127.0.0.1:{free_port()}"})
    assert line.startswith("aragora-cp worker: The store cannot be reached")


def test_no_handler(agent_env: Mapping[str, str]) -> None:
    line = refusal(agent_env, module="tests.acceptance.agents.idler")
    assert line == "aragora-cp worker: the agent has no handler; decorate one with @agent.task(...)"


def test_a_pool_that_cannot_keep_time_limits(agent_env: Mapping[str, str]) -> None:
    line = refusal(agent_env, "-P", "solo")
    assert line == "aragora-cp worker: the solo pool cannot keep time limits; use prefork or threads"


def test_slots_that_are_no_number(agent_env: Mapping[str, str]) -> None:
    line = refusal(agent_env, "-c", "auto")
    assert line == "aragora-cp worker: an agent's concurrency is a whole number, not 'auto'"


def test_an_unknown_setting_names_the_one_that_was_meant(agent_env: Mapping[str, str]) -> None:
    told = words({**agent_env, "ARAGORA_CP_HEARTBEAT_TIMOUT": "3"})
    assert "did you mean ARAGORA_CP_HEARTBEAT_TIMEOUT?" in told[-1]


def test_a_second_process_of_a_live_agent_is_refused(
    caller: Caller, start_agent: StartAgent, agent_env: Mapping[str, str]
) -> None:
    start_agent("only-one")
    line = refusal(agent_env, "-n", "only-one@elsewhere")
    assert line == (
        "aragora-cp worker: an agent called 'only-one' is alive already; stop it first, or choose another id"
    )
    assert caller.run("echo").agent_id == "only-one"


def test_after_kill_9_the_same_agent_may_start_again(
    caller: Caller, start_agent: StartAgent, config: ControlPlaneConfig
) -> None:
    node: AgentNode = start_agent("phoenix")
    before = caller.agent("phoenix").session

    killed_at = time.monotonic()
    node.kill()
    node.restart()
    assert time.monotonic() - killed_at < config.heartbeat_timeout + 2 + 2  # and what the interpreter takes to start
    after = caller.agent("phoenix")
    assert after.session != before
    assert after.registered_at - caller.agent("phoenix").last_heartbeat <= 0
    assert caller.run("echo").agent_id == "phoenix"
