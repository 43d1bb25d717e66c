"""/queues: what waits, for how long, and who could take it."""

from __future__ import annotations

from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, json_answer
from aragora_cp.api.schemas.queues import QueuesSchema
from aragora_cp.api.services import services, tenant
from aragora_cp.api.views import moment
from aragora_cp.model import Role
from aragora_cp.store.queues import LaneNow, QueueNow

blueprint = Resource("queues", __name__)


@blueprint.route("", methods=["GET"])
@requires(Role.VIEWER)
@blueprint.response(200, QueuesSchema)
def list_queues() -> Response:
    """List what waits and runs, by required capabilities

    The longest wait stands first. Tasks whose ticket is out count as waiting. One reading looks at 500 sets of
    capabilities and 2,000 tasks; `complete` says whether that was all.
    """
    found = services().plane.queues.read(tenant().workspace)
    agents = {lane.name: lane.agents for lane in found.lanes}
    return json_answer(
        {
            "items": [_queue_view(queue, agents) for queue in found.queues],
            "lanes": [_lane_view(lane) for lane in found.lanes],
            "pending": found.pending,
            "running": found.running,
            "delayed": found.delayed,
            "last_minute": dict(found.last_minute),
            "complete": found.complete,
            "measured_at": moment(found.at),
        }
    )


def _queue_view(queue: QueueNow, agents: dict[str, int]) -> dict[str, Any]:
    return {
        "required_capabilities": list(queue.required_capabilities),
        "placement": queue.placement,
        "agent_id": queue.agent_id,
        "waiting": {priority.label: count for priority, count in queue.waiting.items()},
        "oldest_wait": queue.oldest_wait,
        "running": queue.running,
        "lanes": list(queue.lanes),
        "agents": sum(agents[lane] for lane in queue.lanes),
    }


def _lane_view(lane: LaneNow) -> dict[str, Any]:
    return {
        "lane": lane.name,
        "pool": lane.pool,
        "capabilities": list(lane.capabilities),
        "agents": lane.agents,
        "slots": lane.slots,
        "running": lane.running,
        "tickets": lane.tickets,
    }
