"""/limits: the rate limits that count for the workspace's submits."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, json_answer
from aragora_cp.api.schemas.limits import LimitsSchema
from aragora_cp.api.services import services, tenant
from aragora_cp.model import Role
from aragora_cp.store.limits import LimitReport

blueprint = Resource("limits", __name__)


@blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.response(200, LimitsSchema)
def list_limits() -> Response:
    """List the rate limits, and what they have refused

    They are set with the workspace, `rate_limits`.
    """
    return json_answer({"items": [_view(each) for each in services().plane.limits.read(tenant().workspace)]})


def _view(report: LimitReport) -> dict[str, Any]:
    return {
        "name": report.name,
        **asdict(report.limit),
        "left": report.standing.left if report.standing else None,
        "refused": report.refused,
        "would_refuse": report.would_refuse,
    }
