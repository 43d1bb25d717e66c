"""Answers of the probes, and the problem document."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields


class HealthSchema(ma.Schema):
    status = fields.String(required=True, metadata={"enum": ["healthy", "degraded", "unhealthy"]})
    reasons = fields.List(fields.String(), required=True, metadata={"description": "Why it is not healthy."})
    checks = fields.Dict(keys=fields.String(), values=fields.Dict(), required=True)


class ReadySchema(ma.Schema):
    status = fields.String(required=True, metadata={"enum": ["ready", "not-ready"]})
    reasons = fields.List(fields.String(), required=True)


class LiveSchema(ma.Schema):
    status = fields.String(required=True, metadata={"enum": ["alive"]})


class ProblemSchema(ma.Schema):
    """RFC 9457."""

    type = fields.String(required=True, metadata={"description": "urn:aragora-cp:problem:<code>"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True)
    correlation_id = fields.String(required=True)
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "For 422: what is wrong, by field."},
    )
