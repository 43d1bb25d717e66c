"""/tasks: what callers do with tasks."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from flask import Response, request, url_for

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.problems import limit_headers
from aragora_cp.api.schemas.tasks import (
    ExplanationSchema,
    SubmitSchema,
    TaskFilterSchema,
    TaskPageSchema,
    TaskSchema,
    WaitSchema,
)
from aragora_cp.api.services import services, tenant
from aragora_cp.api.submission import new_task
from aragora_cp.api.tracing import say
from aragora_cp.api.views import explanation_view, listed_task_view, page_view, task_view
from aragora_cp.api.waits import LONGEST
from aragora_cp.errors import (
    AlreadyFinal,
    BudgetExceeded,
    Conflict,
    EncryptionUnavailable,
    IdempotencyConflict,
    InvalidRequest,
    MalformedRequest,
    NotFound,
    PayloadTooLarge,
    PolicyDenied,
    QuotaExceeded,
)
from aragora_cp.lanes import TASK_ID
from aragora_cp.model import NewTask, Role
from aragora_cp.policy.requests import Principal, submit_request
from aragora_cp.registry import AgentRegistry
from aragora_cp.tenancy.roles import READS_PAYLOADS, allows

blueprint = Resource("tasks", __name__)

CURSOR = re.compile(rf"[0-9]{{1,16}}-{TASK_ID.pattern}")
_PREFERENCE = re.compile(r"wait\s*=\s*\"?([0-9]{1,9})\"?", re.IGNORECASE)

_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "maxLength": 255},
    "description": "The same key with the same body answers with the same task, for 24 hours.",
}
LIMIT_HEADERS = {
    "RateLimit-Policy": {
        "schema": {"type": "string"},
        "description": "The rate limits that this submit counts against.",
    },
    "RateLimit": {"schema": {"type": "string"}, "description": "What is left of each of them."},
}
_PREFER = {
    "in": "header",
    "name": "Prefer",
    "schema": {"type": "string"},
    "description": "`wait=<seconds>` (RFC 7240), the same as the query's `wait`.",
}


def known_form(task_id: str) -> str:
    """`task_id`, when a task could have it. Raises NotFound: what is no id names no task."""
    if not TASK_ID.fullmatch(task_id):
        raise NotFound(f"there is no task {task_id[:64]!r}")
    return task_id


def _for_agent(new: NewTask, registry: AgentRegistry) -> tuple[NewTask, str]:
    """`new` with its agent's handle, and that agent's model. Raises InvalidRequest when there is none, or not where the
    task is placed."""
    assert new.agent_id is not None
    try:
        agent = registry.get(new.agent_id, new.workspace)
    except NotFound:
        raise InvalidRequest({"agent_id": ["there is no such agent"]}) from None
    pool = "shared" if agent.workspace is None else "private"
    if new.placement in ("private", "shared") and new.placement != pool:
        raise InvalidRequest({"placement": [f"is not where the agent is, which is {pool}"]})
    return replace(new, agent_id=agent.handle), agent.model


@blueprint.route("/submit", methods=["POST"], parameters=[_IDEMPOTENCY_KEY])
@requires(
    Role.SUBMITTER,
    IdempotencyConflict,
    Conflict,
    PayloadTooLarge,
    BudgetExceeded,
    QuotaExceeded,
    EncryptionUnavailable,
    PolicyDenied,
)
@blueprint.arguments(SubmitSchema)
@blueprint.response(202, TaskSchema, description="The task; `Location` says where it is.", headers=LIMIT_HEADERS)
@blueprint.alt_response(
    200, schema=TaskSchema, success=True, description="An earlier task, which answers for this one."
)
def submit_task(body: dict[str, Any]) -> Response:
    """Submit a task"""
    plane = services().plane
    new = new_task(body, tenant(), plane.config, request.headers.get("Idempotency-Key"))
    model = None
    if new.agent_id is not None:
        new, model = _for_agent(new, plane.registry)
    judged = submit_request(Principal.of(tenant().caller), new, model=model)
    decision = plane.policy.require(judged, actor=new.actor, correlation_id=new.correlation_id)
    done = plane.scheduler.admit(new, decision=decision)
    say(task_id=done.task.task_id)
    headers = {"Location": url_for("tasks.get_task", task_id=done.task.task_id), **limit_headers(done.rate_limits)}
    # Whichever task answers, its payload is the one that was sent.
    view = task_view(done.task) | {"payload": body["payload"]}
    return json_answer(view, 202 if done.created else 200, headers)


@blueprint.route("", methods=["GET"])
@requires(Role.VIEWER, MalformedRequest)
@blueprint.arguments(TaskFilterSchema, location="query")
@blueprint.response(200, TaskPageSchema)
def list_tasks(query: dict[str, Any]) -> Response:
    """List tasks, newest first

    Without their payloads and results. A page may be short and still name a next one.
    """
    cursor = query.get("cursor")
    if cursor is not None and not CURSOR.fullmatch(cursor):
        raise MalformedRequest("the cursor is not one of ours")
    page = services().plane.scheduler.list(tenant().workspace, **query)
    return json_answer(page_view(page, [listed_task_view(task) for task in page.items]))


@blueprint.route("/<task_id>", methods=["GET"], parameters=[_PREFER])
@requires(Role.VIEWER)
@blueprint.arguments(WaitSchema, location="query")
@blueprint.response(200, TaskSchema, headers={"Preference-Applied": {"schema": {"type": "string"}}})
def get_task(query: dict[str, Any], task_id: str) -> Response:
    """Get a task

    With `wait` the answer comes as soon as the task is final, or after so many seconds (at most 60) with what it is.
    """
    workspace, scheduler = tenant().workspace, services().plane.scheduler
    with_payload = allows(tenant().caller.role, READS_PAYLOADS)
    preferred = None if "wait" in query else _preferred_wait()
    seconds = min(preferred if preferred is not None else query.get("wait", 0), LONGEST)
    task = scheduler.get(workspace, known_form(task_id), with_payload=with_payload)
    if seconds > 0 and not task.status.final:
        services().waits.wait(workspace, task_id, seconds)
        task = scheduler.get(workspace, task_id, with_payload=with_payload)
    applied = {"Preference-Applied": f"wait={math.floor(seconds)}"} if preferred is not None else {}
    return json_answer(task_view(task, payload=with_payload), headers=applied)


@blueprint.route("/<task_id>/why", methods=["GET"])
@requires(Role.VIEWER)
@blueprint.response(200, ExplanationSchema)
def explain_task(task_id: str) -> Response:
    """Say why a task is not running

    One first reason, which is true, and what holds beside it.
    """
    found = services().plane.explainer().why(tenant().workspace, known_form(task_id))
    return json_answer(explanation_view(found))


@blueprint.route("/<task_id>/cancel", methods=["POST"])
@requires(Role.SUBMITTER, AlreadyFinal)
@blueprint.response(200, TaskSchema)
def cancel_task(task_id: str) -> Response:
    """Cancel a task that has not ended, and its sub-tasks"""
    expect_no_body()
    caller = tenant().caller
    task = services().plane.scheduler.cancel(
        tenant().workspace, known_form(task_id), actor=caller.actor, correlation_id=caller.correlation_id
    )
    return json_answer(task_view(task))


@blueprint.route("/<task_id>/retry", methods=["POST"])
@requires(Role.OPERATOR, Conflict, BudgetExceeded)
@blueprint.response(202, TaskSchema)
def retry_task(task_id: str) -> Response:
    """Run a FAILED or CANCELLED task again, with a fresh retry allowance"""
    expect_no_body()
    caller = tenant().caller
    task = services().plane.scheduler.rerun(
        tenant().workspace, known_form(task_id), actor=caller.actor, correlation_id=caller.correlation_id
    )
    return json_answer(task_view(task), 202, {"Location": url_for("tasks.get_task", task_id=task.task_id)})


def _preferred_wait() -> float | None:
    """Seconds of `Prefer: wait=N`; a preference that cannot be read is no preference (RFC 7240)."""
    for preference in request.headers.get("Prefer", "").split(","):
        if found := _PREFERENCE.fullmatch(preference.partition(";")[0].strip()):
            return float(found[1])
    return None
