"""/approvals, and approving or rejecting a task that a policy holds."""

from __future__ import annotations

from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.schemas.policies import ApprovalFilterSchema, RejectSchema
from aragora_cp.api.schemas.tasks import TaskPageSchema, TaskSchema
from aragora_cp.api.services import services, tenant
from aragora_cp.api.tasks import CURSOR, known_form
from aragora_cp.api.views import listed_task_view, page_view, task_view
from aragora_cp.errors import Conflict, MalformedRequest, PolicyDenied
from aragora_cp.model import Role

blueprint = Resource("approvals", __name__)
of_tasks = Resource("decisions", __name__)


@blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR, MalformedRequest, PolicyDenied)
@blueprint.arguments(ApprovalFilterSchema, location="query")
@blueprint.response(200, TaskPageSchema)
def list_approvals(query: dict[str, Any]) -> Response:
    """List the tasks that wait for approval, newest first"""
    cursor = query.get("cursor")
    if cursor is not None and not CURSOR.fullmatch(cursor):
        raise MalformedRequest("the cursor is not one of ours")
    page = services().plane.approvals.list(tenant().workspace, **query)
    return json_answer(page_view(page, [listed_task_view(task) for task in page.items]))


@of_tasks.route("/<task_id>/approve", methods=["POST"])
@requires(Role.OPERATOR, Conflict, PolicyDenied)
@of_tasks.response(200, TaskSchema)
def approve_task(task_id: str) -> Response:
    """Approve a task that a policy holds

    It runs as soon as enough people have. Nobody approves their own. When the policy or the payload has changed since,
    the approvals so far are void: the answer is 409, and approval is asked anew.
    """
    expect_no_body()
    return json_answer(
        task_view(services().plane.approvals.approve(tenant().workspace, known_form(task_id), tenant().caller))
    )


@of_tasks.route("/<task_id>/reject", methods=["POST"])
@requires(Role.OPERATOR, Conflict, PolicyDenied)
@of_tasks.arguments(RejectSchema)
@of_tasks.response(200, TaskSchema)
def reject_task(body: dict[str, Any], task_id: str) -> Response:
    """Reject a task that a policy holds: it has failed"""
    approvals = services().plane.approvals
    task = approvals.reject(tenant().workspace, known_form(task_id), tenant().caller, body["reason"])
    return json_answer(task_view(task))
