"""/health, /livez, /readyz: for load balancers, supervisors and people. No token, so no names, no addresses."""

from __future__ import annotations

from typing import Any

from flask import Response

from aragora_cp.api.access import public
from aragora_cp.api.bodies import Resource, json_answer
from aragora_cp.api.schemas.health import HealthSchema, LiveSchema, ReadySchema
from aragora_cp.api.services import services
from aragora_cp.store.probes import StoreReport

blueprint = Resource("health", __name__)

_RETRY_AFTER = {"Retry-After": "1"}


def shortcomings(report: StoreReport) -> tuple[list[str], list[str]]:
    """Why this process cannot serve; and what else is amiss, which does not keep it from accepting tasks."""
    if not report.reachable:
        return ["the store cannot be reached"], []
    grave: list[str] = []
    slight: list[str] = []
    if not report.writable:
        grave.append("the store refuses writes")
    if report.eviction_policy not in (None, "noeviction"):
        grave.append(f"the store may drop records: its maxmemory-policy is {report.eviction_policy}, not noeviction")
    if not report.has_leader:
        slight.append("no monitor leads: retries, time limits and lost tasks are not looked after")
    if report.agents_online == 0:
        slight.append("no agent is online")
    return grave, slight


@blueprint.route("/health", methods=["GET"])
@public
@blueprint.response(200, HealthSchema)
@blueprint.alt_response(503, schema=HealthSchema, description="Unhealthy.")
def health() -> Response:
    """How the control plane is as a whole"""
    report = services().probes.report()
    grave, slight = shortcomings(report)
    status = "unhealthy" if grave else "degraded" if slight else "healthy"
    checks: dict[str, dict[str, Any]] = {
        "store": {
            "status": "unhealthy" if grave else "healthy",
            "reachable": report.reachable,
            "writable": report.writable,
            "eviction_policy": report.eviction_policy,
            "duration_ms": round(report.seconds * 1000, 1),
        },
        "monitor": {"status": "healthy" if report.has_leader else "degraded", "has_leader": report.has_leader},
        "agents": {"status": "healthy" if report.agents_online else "degraded", "online": bool(report.agents_online)},
    }
    answer = {"status": status, "reasons": grave + slight, "checks": checks}
    return json_answer(answer, 503 if grave else 200, _RETRY_AFTER if grave else None)


@blueprint.route("/livez", methods=["GET"])
@public
@blueprint.response(200, LiveSchema)
def livez() -> Response:
    """Whether this process answers; asks nothing of anyone else"""
    return json_answer({"status": "alive"})


@blueprint.route("/readyz", methods=["GET"])
@public
@blueprint.response(200, ReadySchema)
@blueprint.alt_response(503, schema=ReadySchema, description="Send requests elsewhere for now.")
def readyz() -> Response:
    """Whether this process can serve requests now"""
    grave, slight = shortcomings(services().probes.report())
    answer = {"status": "not-ready" if grave else "ready", "reasons": grave + slight}
    return json_answer(answer, 503 if grave else 200, _RETRY_AFTER if grave else None)
