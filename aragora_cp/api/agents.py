"""/agents: registration, heartbeats, and what people do with agents."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

from flask import Response, url_for

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.schemas.agents import (
    AgentFilterSchema,
    AgentPageSchema,
    AgentSchema,
    BeatSchema,
    HeartbeatSchema,
    RegisteredAgentSchema,
    RegisterSchema,
)
from aragora_cp.api.services import services, tenant
from aragora_cp.api.sessions import own_agent, read_session
from aragora_cp.api.views import agent_view, page_view
from aragora_cp.errors import (
    Conflict,
    MalformedRequest,
    NotFound,
    PolicyDenied,
    QuotaExceeded,
    StaleSession,
    WorkspaceMismatch,
)
from aragora_cp.lanes import AGENT_ID
from aragora_cp.model import Agent, AgentSpec, AgentStatus, Hold, Role, read_handle
from aragora_cp.policy.requests import Principal, register_request
from aragora_cp.tenancy.scopes import require_agent

blueprint = Resource("agents", __name__)


@blueprint.route("/register", methods=["POST"])
@requires(Role.AGENT, Conflict, QuotaExceeded, PolicyDenied)
@blueprint.arguments(RegisterSchema)
@blueprint.response(201, RegisteredAgentSchema)
@blueprint.alt_response(200, schema=RegisteredAgentSchema, success=True, description="Known: it has a new session.")
def register_agent(body: dict[str, Any]) -> Response:
    """Register an agent

    A workspace's token registers for its workspace, the platform's for all. The same token again starts a new session.
    """
    plane, caller = services().plane, tenant().caller
    require_agent(caller, body["capabilities"], body["task_types"])
    spec = AgentSpec(
        agent_id=body["agent_id"],
        capabilities=tuple(body["capabilities"]),
        model=body["model"],
        workspace=caller.workspace,
        concurrency=body["concurrency"],
        labels=body["labels"],
        version=body["version"],
        task_types=body["task_types"],
        kind="http",
    )
    plane.policy.require(
        register_request(Principal.of(caller), tenant().workspace, spec),
        actor=caller.actor,
        correlation_id=caller.correlation_id,
        target=spec.agent_id,
    )
    agent, created = plane.registry.register(spec, owner=caller.actor, takeover=True)
    view = agent_view(agent, whole=True) | {
        "heartbeat_interval": plane.config.heartbeat_interval,
        "heartbeat_timeout": plane.config.heartbeat_timeout,
    }
    location = url_for("agents.get_agent", agent_id=agent.agent_id)
    return json_answer(view, 201 if created else 200, {"Location": location})


@blueprint.route("", methods=["GET"])
@requires(Role.VIEWER, MalformedRequest)
@blueprint.arguments(AgentFilterSchema, location="query")
@blueprint.response(200, AgentPageSchema)
def list_agents(query: dict[str, Any]) -> Response:
    """List the agents that the workspace may use, by id"""
    cursor = query.get("cursor")
    if cursor is not None and not AGENT_ID.fullmatch(cursor):
        raise MalformedRequest("the cursor is not one of ours")
    page = services().plane.registry.list(tenant().workspace, **query, as_seen=_as_seen)
    return json_answer(page_view(page, _views(page.items)))


@blueprint.route("/<agent_id>", methods=["GET"])
@requires(Role.VIEWER)
@blueprint.response(200, AgentSchema)
def get_agent(agent_id: str) -> Response:
    """Get an agent"""
    if not AGENT_ID.fullmatch(agent_id):
        raise NotFound(f"there is no agent {agent_id[:128]!r}")
    agent = services().plane.registry.get(agent_id, tenant().workspace)
    return json_answer(_views(_as_seen([agent]))[0])


@blueprint.route("/<agent_id>/heartbeat", methods=["POST"])
@requires(Role.AGENT, StaleSession)
@blueprint.arguments(HeartbeatSchema)
@blueprint.response(200, BeatSchema)
def heartbeat(body: dict[str, Any], agent_id: str) -> Response:
    """Say that an agent is alive, and renew its leases

    The answer names what the agent must stop.
    """
    registry = services().plane.registry
    own_agent(agent_id)
    handle, session = read_session(body["session"])
    named, workspace = read_handle(handle)
    if named != agent_id:
        raise StaleSession("this is another agent's session")
    beat = registry.heartbeat(handle, session, [_hold(entry) for entry in body["running"]])
    drain, status = beat.drain, body.get("status")
    if status is AgentStatus.DRAINING and not drain:
        registry.drain(agent_id, workspace)
        drain = True
    elif status is AgentStatus.OFFLINE:
        registry.leave(handle, session)
    cancel, lost = ([hold.task_id for hold in holds] for holds in (beat.cancel, beat.lost))
    standing = beat.standing
    told: dict[str, Any] = {"cancel": cancel, "lost": lost, "drain": drain}
    if standing.pause:
        told |= {"breaker": standing.state, "pause": standing.pause}
    return json_answer(told)


@blueprint.route("/<agent_id>/drain", methods=["POST"])
@requires(Role.OPERATOR)
@blueprint.response(200, AgentSchema)
def drain_agent(agent_id: str) -> Response:
    """Let an agent take no new task and finish what it runs"""
    expect_no_body()
    agent = own_agent(agent_id)
    return json_answer(_views([services().plane.registry.drain(agent.agent_id, agent.workspace)])[0])


@blueprint.route("/<agent_id>/resume", methods=["POST"])
@requires(Role.OPERATOR)
@blueprint.response(200, AgentSchema)
def resume_agent(agent_id: str) -> Response:
    """Let a drained agent take tasks again"""
    expect_no_body()
    agent = own_agent(agent_id)
    return json_answer(_views([services().plane.registry.resume(agent.agent_id, agent.workspace)])[0])


@blueprint.route("/<agent_id>", methods=["DELETE"])
@requires(Role.OPERATOR)
@blueprint.response(204)
def remove_agent(agent_id: str) -> Response:
    """Forget an agent

    What it still runs is lost to it, and runs again elsewhere when its lease ends.
    """
    expect_no_body()
    agent = own_agent(agent_id)
    services().plane.registry.remove(agent.agent_id, agent.workspace)
    return Response(status=204)


def _hold(entry: dict[str, Any]) -> Hold:
    """One entry of a heartbeat. Raises WorkspaceMismatch: a workspace's agent holds tasks of its own workspace only."""
    workspace = entry.get("workspace", tenant().workspace)
    if not tenant().of_platform and workspace != tenant().workspace:
        raise WorkspaceMismatch
    return Hold(workspace, str(entry["task_id"]), entry["attempt"], entry["lease"])


def _views(agents: Sequence[Agent]) -> list[dict[str, Any]]:
    return [agent_view(agent, whole=agent.workspace is not None or tenant().of_platform) for agent in agents]


def _as_seen(agents: Sequence[Agent]) -> Sequence[Agent]:
    """A shared agent runs tasks of many workspaces; a workspace's token sees its own among them, and whether it is busy
    by these. One round trip when any of `agents` runs something and the token is a workspace's."""
    shared = {agent.agent_id: agent.running for agent in agents if agent.workspace is None and agent.running}
    if tenant().of_platform or not shared:
        return agents
    running = sorted({task_id for tasks in shared.values() for task_id in tasks})
    found = services().plane.scheduler.statuses(tenant().workspace, running)
    own = {task_id for task_id, status in zip(running, found, strict=True) if status is not None}
    return [_narrowed(agent, own) if agent.agent_id in shared else agent for agent in agents]


def _narrowed(agent: Agent, own: Container[str]) -> Agent:
    running = tuple(task_id for task_id in agent.running if task_id in own)
    idle = agent.status is AgentStatus.BUSY and not running
    return replace(agent, running=running, status=AgentStatus.IDLE if idle else agent.status)
