"""/agents/{agent_id}/breaker: an agent's circuit breaker, seen and forced."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, json_answer
from aragora_cp.api.schemas.breakers import BreakerSchema, ForceSchema
from aragora_cp.api.services import services
from aragora_cp.api.sessions import own_agent
from aragora_cp.api.views import moment
from aragora_cp.model import Breaker, Role

blueprint = Resource("breakers", __name__)

_TAGS = ["agents"]


@blueprint.route("/<agent_id>/breaker", methods=["GET"], tags=_TAGS)
@requires(Role.VIEWER)
@blueprint.response(200, BreakerSchema)
def get_breaker(agent_id: str) -> Response:
    """Get an agent's circuit breaker, and its model's"""
    agent = own_agent(agent_id)
    return _answer(agent_id, services().plane.registry.breaker(agent_id, agent.workspace))


@blueprint.route("/<agent_id>/breaker", methods=["POST"], tags=_TAGS)
@requires(Role.OPERATOR)
@blueprint.arguments(ForceSchema)
@blueprint.response(200, BreakerSchema)
def force_breaker(body: dict[str, Any], agent_id: str) -> Response:
    """Hold an agent's circuit breaker open or closed for a time, or give it back to itself

    Open: the agent takes nothing new; what it runs is finished.
    """
    agent = own_agent(agent_id)
    breaker = services().plane.registry.force_breaker(
        agent_id, agent.workspace, body["state"], reason=body["reason"], seconds=body.get("expires_in", 0)
    )
    return _answer(agent_id, breaker)


def _answer(agent_id: str, breaker: Breaker) -> Response:
    times = {"until": moment(breaker.until), "paused_until": moment(breaker.paused_until)}
    return json_answer({"agent_id": agent_id, **asdict(breaker), **times})
