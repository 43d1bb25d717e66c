"""Answers about queues."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields


class WaitingSchema(ma.Schema):
    critical = fields.Integer(required=True)
    high = fields.Integer(required=True)
    normal = fields.Integer(required=True)
    low = fields.Integer(required=True)


class QueueSchema(ma.Schema):
    required_capabilities = fields.List(fields.String(), required=True)
    placement = fields.String(required=True, metadata={"enum": ["auto", "private", "shared"]})
    agent_id = fields.String(required=True, allow_none=True, metadata={"description": "The one agent it is for."})
    waiting = fields.Nested(WaitingSchema, required=True)
    oldest_wait = fields.Float(required=True, allow_none=True, metadata={"description": "Seconds."})
    running = fields.Integer(required=True)
    lanes = fields.List(fields.String(), required=True, metadata={"description": "Lanes that can serve it."})
    agents = fields.Integer(required=True, metadata={"description": "Agents in these lanes that are not offline."})


class LaneSchema(ma.Schema):
    lane = fields.String(required=True)
    pool = fields.String(required=True, metadata={"description": "`shared`, or the workspace."})
    capabilities = fields.List(fields.String(), required=True)
    agents = fields.Integer(required=True, metadata={"description": "Not offline."})
    slots = fields.Integer(required=True, metadata={"description": "Of all its agents that take new work."})
    running = fields.Integer(required=True, metadata={"description": "Of this workspace."})
    tickets = fields.Integer(
        required=True, metadata={"description": "Released and not yet claimed; of this workspace."}
    )


class LastMinuteSchema(ma.Schema):
    completed = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    cancelled = fields.Integer(required=True)


class QueuesSchema(ma.Schema):
    items = fields.List(fields.Nested(QueueSchema), required=True)
    lanes = fields.List(fields.Nested(LaneSchema), required=True)
    pending = fields.Integer(required=True)
    running = fields.Integer(required=True)
    delayed = fields.Integer(required=True, metadata={"description": "Pending until a time that is yet to come."})
    last_minute = fields.Nested(LastMinuteSchema, required=True)
    complete = fields.Boolean(required=True, metadata={"description": "False: more than one reading looks at."})
    measured_at = fields.String(required=True)
