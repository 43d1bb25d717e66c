"""/tasks: what callers do with tasks."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from flask import Response, request, url_for

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.schemas.tasks import SubmitSchema, TaskFilterSchema, TaskPageSchema, TaskSchema, WaitSchema
from aragora_cp.api.services import services, tenant
from aragora_cp.api.submission import new_task
from aragora_cp.api.views import listed_task_view, page_view, task_view
from aragora_cp.api.waits import LONGEST
from aragora_cp.errors import (
    AlreadyFinal,
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
from aragora_cp.model import Role
from aragora_cp.policy.requests import Principal, submit_request
from aragora_cp.tenancy.roles import READS_PAYLOADS, allows

blueprint = Resource("tasks", __name__)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CURSOR = re.compile(rf"[0-9]{{1,16}}-{_UUID.pattern}")
_PREFERENCE = re.compile(r"wait\s*=\s*\"?([0-9]{1,9})\"?", re.IGNORECASE)

_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "maxLength": 255},
    "description": "The same key with the same body answers with the same task, for 24 hours.",
}
_PREFER = {
    "in": "header",
    "name": "Prefer",
    "schema": {"type": "string"},
    "description": "`wait=<seconds>` (RFC 7240), the same as the query's `wait`.",
}


def known_form(task_id: str) -> str:
    """`task_id`, when a task could have it. Raises NotFound: what is no id names no task."""
    if not _UUID.fullmatch(task_id):
        raise NotFound(f"there is no task {task_id[:64]!r}")
    return task_id


@blueprint.route("/submit", methods=["POST"], parameters=[_IDEMPOTENCY_KEY])
@requires(
    Role.SUBMITTER, IdempotencyConflict, Conflict, PayloadTooLarge, QuotaExceeded, EncryptionUnavailable, PolicyDenied
)
@blueprint.arguments(SubmitSchema)
@blueprint.response(202, TaskSchema, description="The task; `Location` says where it is.")
@blueprint.alt_response(
    200, schema=TaskSchema, success=True, description="An earlier task, which answers for this one."
)
def submit_task(body: dict[str, Any]) -> Response:
    """Submit a task"""
    plane = services().plane
    new = new_task(body, tenant(), plane.config, request.headers.get("Idempotency-Key"))
    model = None
    if new.agent_id is not None:
        try:
            agent = plane.registry.get(new.agent_id, new.workspace)
            new, model = replace(new, agent_id=agent.handle), agent.model
        except NotFound:
            raise InvalidRequest({"agent_id": ["there is no such agent"]}) from None
    request_ = submit_request(Principal.of(tenant().caller), new, model=model)
    decision = plane.policy.require(request_, actor=new.actor, correlation_id=new.correlation_id)
    task, created = plane.scheduler.submit(new, decision=decision)
    location = url_for("tasks.get_task", task_id=task.task_id)
    # Whichever task answers, its payload is the one that was sent.
    view = task_view(task) | {"payload": body["payload"]}
    return json_answer(view, 202 if created else 200, {"Location": location})


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
@requires(Role.OPERATOR, Conflict)
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
