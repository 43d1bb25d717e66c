"""/audit: who did what, and whether that record still holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, json_answer
from aragora_cp.api.schemas.audit import (
    AuditExportSchema,
    AuditFilterSchema,
    AuditPageSchema,
    TrailSchema,
    VerificationSchema,
)
from aragora_cp.api.services import services, tenant
from aragora_cp.api.views import page_view
from aragora_cp.audit import PLATFORM
from aragora_cp.errors import Conflict, Forbidden, MalformedRequest, NotFound
from aragora_cp.model import Role

blueprint = Resource("audit", __name__)


@blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR, MalformedRequest)
@blueprint.arguments(AuditFilterSchema, location="query")
@blueprint.response(200, AuditPageSchema)
def list_audit(query: dict[str, Any]) -> Response:
    """List audit entries, newest first

    A page may be short and still name a next one.
    """
    trail = _trail(query.pop("platform"))
    page = services().plane.audit.list(trail, **query)
    return json_answer(page_view(page, list(page.items)))


@blueprint.route("/verify", methods=["GET"])
@requires(Role.OPERATOR, MalformedRequest, NotFound, Conflict)
@blueprint.arguments(TrailSchema, location="query")
@blueprint.response(200, VerificationSchema)
def verify_audit(query: dict[str, Any]) -> Response:
    """Verify that the trail is as it was sealed

    A long trail is verified in several calls: go on at `next_cursor`. Who does not trust the server verifies an export.
    """
    trail = _trail(query["platform"])
    report, following = services().plane.audit.verify(trail, query.get("cursor"))
    head = report.head
    return json_answer(
        {
            "holds": report.ok,
            "first_break": asdict(report.breaks[0]) if report.breaks else None,
            "entries": report.entries,
            "seals": report.seals,
            "unsealed": report.unsealed,
            "last_seal": head.seal if head else None,
            "head": head.hash if head else None,
            "keys": report.keys,
            "notes": report.notes,
            "next_cursor": following,
        }
    )


@blueprint.route("/export", methods=["GET"])
@requires(Role.OPERATOR, MalformedRequest, Conflict)
@blueprint.arguments(TrailSchema, location="query")
@blueprint.response(200, AuditExportSchema)
def export_audit(query: dict[str, Any]) -> Response:
    """Export the trail with its seals, oldest first

    All pages together, one item a line, are what `aragora-cp audit verify` reads.
    """
    part = services().plane.audit.export(_trail(query["platform"]), query.get("cursor"))
    return json_answer({"items": list(part.records), "next_cursor": part.next_cursor, "total": part.total})


def _trail(platform: bool) -> str:
    """Raises Forbidden."""
    if not platform:
        return tenant().workspace
    if tenant().caller.role is not Role.ADMIN:
        raise Forbidden("only a token with the role admin may read the platform's trail")
    return PLATFORM
