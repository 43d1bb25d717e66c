"""Answers of the probes, and the problem document."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields


class HealthSchema(ma.Schema):
    status = fields.String(required=True, metadata={"enum": ["healthy", "degraded", "unhealthy"]})
    reasons = fields.List(fields.String(), required=True, metadata={"description": "Why it is not healthy."})
    computed_at = fields.String(
        required=True,
        allow_none=True,
        metadata={"format": "date-time", "description": "When the leading monitor made its last report."},
    )
    age_seconds = fields.Float(required=True, allow_none=True, metadata={"description": "How old that report is."})
    checks = fields.Dict(keys=fields.String(), values=fields.Dict(), required=True)
    instances = fields.Dict(
        keys=fields.String(), values=fields.Dict(), required=True, metadata={"description": "Processes, by their kind."}
    )


class ReadinessQuerySchema(ma.Schema):
    """Query of `GET /readyz`."""

    without = fields.List(
        fields.String(validate=ma.validate.Length(max=40)),
        data_key="exclude",
        load_default=list,
        metadata={"description": "Checks that shall not count, as `leader`; may be repeated."},
    )


class ReadySchema(ma.Schema):
    status = fields.String(required=True, metadata={"enum": ["ready", "not-ready"]})
    reasons = fields.List(fields.String(), required=True)
    checks = fields.Dict(keys=fields.String(), values=fields.String(metadata={"enum": ["pass", "fail"]}), required=True)


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
