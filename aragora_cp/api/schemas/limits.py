"""Answers about rate limits."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields

from aragora_cp.ratelimits import PER


class LimitSchema(ma.Schema):
    name = fields.String(required=True)
    limit = fields.Integer(required=True)
    period = fields.Float(required=True, metadata={"description": "Seconds."})
    burst = fields.Integer(required=True, metadata={"description": "How many may come at once."})
    per = fields.String(required=True, metadata={"enum": list(PER)})
    shadow = fields.Boolean(required=True)
    left = fields.Integer(
        required=True, allow_none=True, metadata={"description": "At once, now; null when counted by token."}
    )
    refused = fields.Integer(required=True, metadata={"description": "Since the workspace's limits were set."})
    would_refuse = fields.Integer(required=True, metadata={"description": "The same, in shadow."})


class LimitsSchema(ma.Schema):
    items = fields.List(fields.Nested(LimitSchema), required=True)
