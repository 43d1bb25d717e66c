"""Requests and answers about audit trails."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields

from aragora_cp.api.schemas.fields import Instant, QueryWhole, Text
from aragora_cp.api.schemas.tenancy import QueryTruth


class TrailSchema(ma.Schema):
    platform = QueryTruth(load_default=False, metadata={"description": "The platform's own trail; for its admins."})
    cursor = fields.String(metadata={"description": "`next_cursor` of the page before."})


class AuditFilterSchema(TrailSchema):
    """Query of `GET /audit`."""

    earliest = Instant(data_key="from", metadata={"format": "date-time"})
    latest = Instant(data_key="to", metadata={"format": "date-time"})
    actor = Text(200, metadata={"description": "As `token:<id>`, `agent:<id>` or `monitor`."})
    action = Text(100, metadata={"description": "As `task.submit`; `task.*` is every action on tasks."})
    limit = QueryWhole(1, 200, load_default=50)


class EntrySchema(ma.Schema):
    """One thing that somebody did, or was refused. All members are part of what is sealed."""

    class Meta:
        unknown = ma.INCLUDE

    type = fields.String(required=True, metadata={"enum": ["entry"]})
    trail = fields.String(required=True)
    id = fields.String(required=True)
    time = fields.String(required=True, metadata={"format": "date-time"})
    actor = fields.String(required=True)
    action = fields.String(required=True)
    kind = fields.String(required=True)
    target = fields.String(required=True)
    outcome = fields.String(required=True)
    correlation_id = fields.String(required=True)
    address = fields.String(required=True, metadata={"description": "Of the HTTP caller, where there is one."})
    before = fields.Raw(required=True, allow_none=True)
    after = fields.Raw(required=True, allow_none=True)


class AuditPageSchema(ma.Schema):
    items = fields.List(fields.Nested(EntrySchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class AuditExportSchema(ma.Schema):
    items = fields.List(fields.Dict(), required=True, metadata={"description": "Entries and seals, in their order."})
    next_cursor = fields.String(required=True, allow_none=True)
    total = fields.Integer(required=True, metadata={"description": "Entries that were ever sealed, and the rest."})


class BreakSchema(ma.Schema):
    kind = fields.String(required=True)
    where = fields.String(required=True)
    detail = fields.String(required=True)


class VerificationSchema(ma.Schema):
    holds = fields.Boolean(required=True)
    first_break = fields.Nested(BreakSchema, required=True, allow_none=True)
    entries = fields.Integer(required=True, metadata={"description": "Sealed ones that were looked at."})
    seals = fields.Integer(required=True)
    unsealed = fields.Integer(required=True)
    last_seal = fields.Integer(required=True, allow_none=True)
    head = fields.String(required=True, allow_none=True, metadata={"description": "Hash of the last seal."})
    keys = fields.List(fields.String(), required=True, metadata={"description": "Public keys that signed."})
    notes = fields.List(fields.String(), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
