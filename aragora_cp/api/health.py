"""/health, /livez, /readyz: for load balancers, supervisors and people. No token, so no names, no addresses."""

from __future__ import annotations

from typing import Any

from flask import Response

from aragora_cp.api.access import public
from aragora_cp.api.bodies import Resource, json_answer
from aragora_cp.api.schemas.health import HealthSchema, LiveSchema, ReadinessQuerySchema, ReadySchema
from aragora_cp.api.services import services
from aragora_cp.api.views import moment
from aragora_cp.health.monitor import UNHEALTHY, Health, store_fault

blueprint = Resource("health", __name__)

_RETRY_AFTER = {"Retry-After": "1"}


@blueprint.route("/health", methods=["GET"])
@public
@blueprint.response(200, HealthSchema)
@blueprint.alt_response(503, schema=HealthSchema, description="Unhealthy.")
def health() -> Response:
    """How the control plane is as a whole

    From the leading monitor's last report, and from what this process sees of the store and the broker.
    """
    found = services().health.health()
    unwell = found.status == UNHEALTHY
    answer = {
        "status": found.status,
        "reasons": list(found.reasons),
        "computed_at": moment(found.computed_at),
        "age_seconds": found.age,
        "checks": _checks(found),
        "instances": {kind: dict(counts) for kind, counts in found.instances.items()},
    }
    return json_answer(answer, 503 if unwell else 200, _RETRY_AFTER if unwell else None)


@blueprint.route("/livez", methods=["GET"])
@public
@blueprint.response(200, LiveSchema)
def livez() -> Response:
    """Whether this process answers; asks nothing of anyone else"""
    return json_answer({"status": "alive"})


@blueprint.route("/readyz", methods=["GET"])
@public
@blueprint.arguments(ReadinessQuerySchema, location="query")
@blueprint.response(200, ReadySchema)
@blueprint.alt_response(503, schema=ReadySchema, description="Send requests elsewhere for now.")
def readyz(query: dict[str, Any]) -> Response:
    """Whether this process can serve requests now"""
    found = services().health.readiness().without(*query["without"])
    answer = {
        "status": "ready" if found.ready else "not-ready",
        "reasons": [check.reason for check in found.failing],
        "checks": {check.name: "pass" if check.passes else "fail" for check in found.checks},
    }
    return json_answer(answer, 200 if found.ready else 503, None if found.ready else _RETRY_AFTER)


def _checks(found: Health) -> dict[str, dict[str, Any]]:
    store = found.store
    return {
        "store": {
            "status": "unhealthy" if store_fault(store) else "healthy",
            "reachable": store.reachable,
            "writable": store.writable,
            "eviction_policy": store.eviction_policy,
            "duration_ms": round(store.seconds * 1000, 1),
        },
        "broker": {"status": "healthy" if found.broker else "degraded", "reachable": found.broker},
        "monitor": {"status": "healthy" if store.has_leader else "degraded", "has_leader": store.has_leader},
        "agents": {"status": "healthy" if store.agents_online else "degraded", "online": bool(store.agents_online)},
    }
