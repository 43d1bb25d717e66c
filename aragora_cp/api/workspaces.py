"""/workspaces: the tenants and their settings."""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.schemas.tenancy import (
    ChangeWorkspaceSchema,
    NewWorkspaceSchema,
    PageSchema,
    WorkspacePageSchema,
    WorkspaceSchema,
)
from aragora_cp.api.services import services
from aragora_cp.api.views import page_view, workspace_view
from aragora_cp.errors import Conflict, MalformedRequest
from aragora_cp.lanes import WORKSPACE
from aragora_cp.model import Role

blueprint = Resource("workspaces", __name__)


@blueprint.route("", methods=["POST"])
@requires(Role.ADMIN, Conflict)
@blueprint.arguments(NewWorkspaceSchema)
@blueprint.response(201, WorkspaceSchema)
def create_workspace(body: dict[str, Any]) -> Response:
    """Create a workspace"""
    made = services().plane.workspaces.create(body.pop("workspace"), body)
    location = url_for("workspaces.get_workspace", workspace=made.workspace)
    return json_answer(workspace_view(made), 201, {"Location": location})


@blueprint.route("", methods=["GET"])
@requires(Role.ADMIN, MalformedRequest)
@blueprint.arguments(PageSchema, location="query")
@blueprint.response(200, WorkspacePageSchema)
def list_workspaces(query: dict[str, Any]) -> Response:
    """List workspaces, by name"""
    cursor = query.get("cursor")
    if cursor is not None and not WORKSPACE.fullmatch(cursor):
        raise MalformedRequest("the cursor is not one of ours")
    page = services().plane.workspaces.list(**query)
    return json_answer(page_view(page, [workspace_view(each) for each in page.items]))


@blueprint.route("/<workspace>", methods=["GET"])
@requires(Role.ADMIN)
@blueprint.response(200, WorkspaceSchema)
def get_workspace(workspace: str) -> Response:
    """Get a workspace"""
    return json_answer(workspace_view(services().plane.workspaces.get(workspace)))


@blueprint.route("/<workspace>", methods=["PATCH"])
@requires(Role.ADMIN, Conflict)
@blueprint.arguments(ChangeWorkspaceSchema)
@blueprint.response(200, WorkspaceSchema)
def change_workspace(body: dict[str, Any], workspace: str) -> Response:
    """Change settings of a workspace, suspend it or let it go on

    What is not given stays as it is. A change holds everywhere within 2 seconds.
    """
    return json_answer(workspace_view(services().plane.workspaces.change(workspace, body)))


@blueprint.route("/<workspace>", methods=["DELETE"])
@requires(Role.ADMIN, Conflict)
@blueprint.response(202, WorkspaceSchema)
def delete_workspace(workspace: str) -> Response:
    """Delete a workspace with all that it has

    Its tokens are worthless at once, its keys and tasks are gone within seconds, the rest is removed step by step. It
    is there, `deleting`, until nothing is left but its audit trail.
    """
    expect_no_body()
    return json_answer(workspace_view(services().plane.workspaces.delete(workspace)), 202)
