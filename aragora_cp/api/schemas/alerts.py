"""Requests and answers about alerts."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from aragora_cp.api.schemas.fields import QueryWhole, Seconds, Text
from aragora_cp.health.rules import RULES

_LONGEST_SILENCE = 366 * 86400


class AlertFilterSchema(ma.Schema):
    """Query of `GET /alerts`."""

    state = fields.String(load_default="open", validate=validate.OneOf(["open", "ended"]))
    limit = QueryWhole(1, 200, load_default=100)


class AlertSchema(ma.Schema):
    """One incident: from the moment that its condition held until it no longer did."""

    incident = fields.String(required=True)
    rule = fields.String(required=True, metadata={"enum": sorted(RULES)})
    meaning = fields.String(required=True)
    subject = fields.String(required=True, metadata={"description": "What it is about, within the rule."})
    workspace = fields.String(required=True, metadata={"description": "Whose it is; empty: the platform's."})
    severity = fields.String(required=True, metadata={"enum": ["warning", "critical"]})
    state = fields.String(required=True, metadata={"enum": ["pending", "firing", "resolved"]})
    text = fields.String(required=True)
    since = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    fired_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    ended_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    silenced = fields.Boolean(required=True)


class AlertPageSchema(ma.Schema):
    items = fields.List(fields.Nested(AlertSchema), required=True)


class SetSilenceSchema(ma.Schema):
    """What is silenced, and for how long. Neither rule nor subject: everything of the workspace."""

    class Meta:
        unknown = ma.RAISE

    rule = fields.String(load_default="", validate=validate.OneOf(["", *sorted(RULES)]))
    subject = Text(200, load_default="")
    duration = Seconds(_LONGEST_SILENCE, required=True)
    reason = Text(500, load_default="")


class SilenceSchema(ma.Schema):
    name = fields.String(required=True)
    rule = fields.String(required=True)
    subject = fields.String(required=True)
    workspace = fields.String(required=True)
    ends = fields.String(required=True, metadata={"format": "date-time"})
    reason = fields.String(required=True)
    by = fields.String(required=True)


class SilencePageSchema(ma.Schema):
    items = fields.List(fields.Nested(SilenceSchema), required=True)


class DeliveryFilterSchema(ma.Schema):
    """Query of `GET /alerts/deliveries`."""

    state = fields.String(load_default="dead", validate=validate.OneOf(["waiting", "dead"]))
    limit = QueryWhole(1, 200, load_default=100)


class DeliverySchema(ma.Schema):
    sink = fields.String(required=True)
    kind = fields.String(required=True, metadata={"enum": ["firing", "resolved", "test"]})
    incident = fields.String(required=True)
    attempts = fields.Integer(required=True)
    created = fields.String(required=True, metadata={"format": "date-time"})
    reason = fields.String(required=True, metadata={"description": "Why the last try failed."})


class DeliveryPageSchema(ma.Schema):
    items = fields.List(fields.Nested(DeliverySchema), required=True)


class TestedSchema(ma.Schema):
    sinks = fields.List(fields.String(), required=True)
