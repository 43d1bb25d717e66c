"""/tasks/{task_id}/complete, /fail, /progress: what agents report about their attempts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, as_json, carries_result, json_answer, result_limit
from aragora_cp.api.schemas.agents import THROTTLED, CompleteSchema, FailSchema, ProgressSchema
from aragora_cp.api.schemas.tasks import TaskSchema
from aragora_cp.api.services import services, tenant
from aragora_cp.api.sessions import reporting_agent
from aragora_cp.api.tasks import known_form
from aragora_cp.api.views import task_view
from aragora_cp.errors import PayloadTooLarge, StaleAttempt, StaleSession, TaskCancelled
from aragora_cp.model import Agent, AgentSpec, ErrorCode, Failure, Hold, Role, Usage

blueprint = Resource("reports", __name__)

_TAGS = ["tasks"]


@blueprint.route("/<task_id>/complete", methods=["POST"], tags=_TAGS)
@requires(Role.AGENT, StaleSession, StaleAttempt, PayloadTooLarge)
@carries_result
@blueprint.arguments(CompleteSchema)
@blueprint.response(200, TaskSchema)
def complete_task(body: dict[str, Any], task_id: str) -> Response:
    """Report an attempt's result

    The same report again is answered again.
    """
    plane = services().plane
    agent, hold = reporting_agent(body["session"]), _hold(body, task_id)
    result = as_json(body["result"], "result", result_limit())
    task = plane.scheduler.finish(hold, result, _spec(agent), usage=Usage.of(**body.get("usage", {})))
    _count(agent, hold, completed=1)
    return json_answer(task_view(task))


@blueprint.route("/<task_id>/fail", methods=["POST"], tags=_TAGS)
@requires(Role.AGENT, StaleSession, StaleAttempt)
@blueprint.arguments(FailSchema)
@blueprint.response(200, TaskSchema)
def fail_task(body: dict[str, Any], task_id: str) -> Response:
    """Report that an attempt failed

    The task comes back PENDING with `next_attempt_at` while retries are left, else FAILED.
    """
    agent, hold = reporting_agent(body["session"]), _hold(body, task_id)
    if body["code"] == THROTTLED:
        return _give_back(agent, hold, body["retry_after"])
    failure = Failure(ErrorCode(body["code"]), body["message"], body["retryable"])
    task = services().plane.scheduler.fail(hold, failure, agent.agent_id, handle=agent.handle)
    _count(agent, hold, failed=1)
    return json_answer(task_view(task))


@blueprint.route("/<task_id>/progress", methods=["POST"], tags=_TAGS)
@requires(Role.AGENT, StaleSession, StaleAttempt)
@blueprint.arguments(ProgressSchema)
@blueprint.response(200, TaskSchema)
def report_progress(body: dict[str, Any], task_id: str) -> Response:
    """Report how far an attempt is, and what it used since the report before"""
    reporting_agent(body["session"])
    hold = _hold(body, task_id)
    usage = dict(body.get("usage", {}))
    if "cost" in body:
        usage["cost"] = body["cost"]
    _note(hold, usage, percent=body.get("percent"), message=body.get("message"))
    return json_answer(task_view(services().plane.scheduler.get(hold.workspace, hold.task_id)))


def _give_back(agent: Agent, hold: Hold, retry_after: float) -> Response:
    scheduler = services().plane.scheduler
    scheduler.throttled(hold, _spec(agent), retry_after)
    _count(agent, hold)
    return json_answer(task_view(scheduler.get(hold.workspace, hold.task_id)))


def _hold(body: Mapping[str, Any], task_id: str) -> Hold:
    return Hold(tenant().workspace, known_form(task_id), body["attempt"], body["lease"])


def _note(hold: Hold, usage: Mapping[str, Any], *, percent: float | None = None, message: str | None = None) -> None:
    try:
        services().plane.scheduler.progress(hold, percent=percent, message=message, **usage)
    except TaskCancelled as error:
        raise StaleAttempt(f"{error} Stop this attempt.") from None


def _count(agent: Agent, hold: Hold, *, completed: int = 0, failed: int = 0) -> None:
    """A report is a sign of life as good as a heartbeat; it also says at once that a slot is free."""
    left = [task_id for task_id in agent.running if task_id != hold.task_id]
    services().plane.registry.heartbeat(agent.handle, agent.session, running=left, completed=completed, failed=failed)


def _spec(agent: Agent) -> AgentSpec:
    return AgentSpec(
        agent_id=agent.agent_id,
        capabilities=agent.capabilities,
        model=agent.model,
        workspace=agent.workspace,
        concurrency=agent.concurrency,
    )
