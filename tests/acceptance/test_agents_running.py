"""An agent's process runs tasks: results, failures, and what a handler may do wrong."""

from __future__ import annotations

import asyncio

import pytest
from celery.result import AsyncResult
from pytest_celery import CeleryTestSetup

from aragora_cp import Agent, ControlPlaneCoordinator
from aragora_cp.model import TaskStatus
from aragora_cp.wiring import ControlPlane
from tests.acceptance.cluster.caller import Caller, history
from tests.acceptance.cluster.nodes import AgentNode

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("celery_worker")]
AGENTS = {"helper": {"options": "-c 2"}}


def test_the_setup_is_made_of_real_processes(celery_setup: CeleryTestSetup) -> None:
    assert celery_setup.ready()
    assert [node.container.status for node in (celery_setup.broker, celery_setup.worker)] == ["running"] * 2
    (answer,) = celery_setup.app.control.ping(destination=["helper@cp"], timeout=5, limit=1)
    assert answer == {"helper@cp": {"ok": "pong"}}


def test_a_coordinator_gets_the_agents_result(plane: ControlPlane) -> None:
    async def ask() -> object:
        async with ControlPlaneCoordinator(plane=plane) as coordinator:
            task_id = await coordinator.submit_task("echo", {"large": 2**70, "none": []}, ["work"])
            return await coordinator.wait_for_result(task_id, 10)

    assert asyncio.run(ask()) == {"got": {"large": 2**70, "none": []}, "agent": "helper", "attempt": 1}


def test_the_record_tells_progress_usage_and_cost(caller: Caller) -> None:
    task = caller.run("echo", "hello")

    assert task.status is TaskStatus.COMPLETED
    assert task.result == {"got": "hello", "agent": "helper", "attempt": 1}
    assert task.progress == {"percent": 90.0, "message": "nearly"}
    assert task.usage == {"input_tokens": 4, "output_tokens": 4, "model": "parrot"}
    assert task.cost == "0.004"
    assert task.error is None
    assert (task.attempt, task.retries, task.losses, task.agent_id) == (1, 0, 0, "helper")
    assert task.created_at <= task.started_at <= task.finished_at


def test_a_failed_attempt_is_tried_again_and_stays_in_the_history(caller: Caller) -> None:
    task = caller.run("fail", {"until": 1, "words": "not yet"}, max_retries=1)

    assert (task.status, task.result) == (TaskStatus.COMPLETED, "attempt 2")
    assert (task.attempt, task.retries, task.losses) == (2, 1, 0)
    (entry,) = task.error["history"]
    assert (entry["attempt"], entry["code"], entry["agent_id"]) == (1, "handler-error", "helper")
    assert entry["message"] == "ValueError: not yet"


def test_a_task_without_retries_left_fails(caller: Caller) -> None:
    task = caller.run("fail", {"until": 9, "words": "never | ever"}, max_retries=0)

    assert (task.status, task.attempt) == (TaskStatus.FAILED, 1)
    assert (task.error["code"], task.error["message"]) == ("handler-error", "ValueError: never | ever")


@pytest.mark.parametrize(
    ("task_type", "payload", "code", "words"),
    [
        ("greet", {"times": "many"}, "invalid-payload", "name: "),
        ("reject", None, "handler-error", "the question makes no sense"),
        ("not_json", None, "result-not-serialisable", "object is not JSON serializable"),
    ],
)
def test_what_trying_again_cannot_help_is_final(
    caller: Caller, task_type: str, payload: object, code: str, words: str
) -> None:
    task = caller.run(task_type, payload, max_retries=3)

    assert (task.status, task.attempt) == (TaskStatus.FAILED, 1)
    assert (task.error["code"], task.error["retryable"]) == (code, False)
    assert words in task.error["message"]


@pytest.mark.parametrize(
    ("task_type", "words"),
    [
        ("unprintable", "Unprintable: (an exception that cannot be printed)"),
        ("leave", "SystemExit: 3"),
    ],
)
def test_an_odd_end_of_a_handler_is_a_failure_like_another(caller: Caller, task_type: str, words: str) -> None:
    task = caller.run(task_type)

    assert (task.status, task.error["code"], task.error["retryable"]) == (TaskStatus.FAILED, "handler-error", True)
    assert task.error["message"] == words


def test_a_type_that_the_agent_does_not_know(caller: Caller) -> None:
    task = caller.run("unheard-of")
    assert (task.status, task.error["code"]) == (TaskStatus.FAILED, "no-handler")


def test_a_schema_loads_the_payload(caller: Caller) -> None:
    assert caller.run("greet", {"name": "you", "times": "2"}).result == "Hello you Hello you"


def test_an_async_handler(caller: Caller) -> None:
    assert caller.run("later", "b").result == ["a", "b"]


def test_a_child_that_dies_costs_an_attempt_and_nothing_else(caller: Caller) -> None:
    task = caller.run("die", {"until": 1}, max_retries=1)

    assert (task.status, task.result) == (TaskStatus.COMPLETED, "attempt 2")
    assert (task.attempt, task.losses, history(task)) == (2, 1, ["agent-lost"])
    assert task.finished_at - task.created_at < 2000  # seen at once, not when the lease has run out


def test_a_task_that_kills_every_child_is_poisoned(caller: Caller) -> None:
    task = caller.run("die", {"until": 9}, max_retries=1)

    assert (task.status, task.error["code"]) == (TaskStatus.FAILED, "poisoned")
    assert history(task) == ["agent-lost", "agent-lost"]
    assert caller.run("echo").status is TaskStatus.COMPLETED


def test_the_log_line_of_a_handler_carries_the_submits_correlation_id(caller: Caller, celery_worker: AgentNode) -> None:
    task = caller.run("echo", correlation_id="request-4711")

    (line,) = [line for line in celery_worker.lines if line.get("task_id") == task.task_id]
    assert line["message"] == "echoing"
    assert (line["correlation_id"], line["agent_id"]) == ("request-4711", "helper")


def test_celerys_own_result_object_works(
    caller: Caller, agent_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in agent_env.items():
        monkeypatch.setenv(name, value)
    app = Agent("reader", capabilities=["work"]).app

    task_id = caller.submit("echo", "by Celery")
    assert AsyncResult(task_id, app=app).get(timeout=10)["got"] == "by Celery"
    failed = AsyncResult(caller.run("reject").task_id, app=app)
    assert failed.state == "FAILURE"
