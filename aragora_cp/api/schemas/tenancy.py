"""Requests and answers about workspaces and tokens."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from aragora_cp.api.schemas.fields import (
    LONGEST_TIME,
    Capabilities,
    Named,
    Number,
    QueryWhole,
    Seconds,
    Text,
    Truth,
    Whole,
    at_most,
)
from aragora_cp.api.schemas.tasks import TASK_TYPE_RULE
from aragora_cp.lanes import TASK_TYPE, WORKSPACE
from aragora_cp.model import Role
from aragora_cp.ratelimits import LONGEST_PERIOD, MOST_LIMITS, MOST_SUBMITS, PER
from aragora_cp.ratelimits import NAME as RATE_NAME
from aragora_cp.tenancy.scopes import MOST_ENTRIES
from aragora_cp.tenancy.tokens import LONGEST_OVERLAP, OVERLAP
from aragora_cp.tenancy.workspaces import BOUNDS, LONGEST_NAME, LONGEST_RETENTION, PLACEMENTS, STATUSES

WORKSPACE_RULE = "must be 1 to 63 of a-z, 0-9 and -"

_MEANINGS = {
    "max_pending": "Tasks that may wait; null: any number.",
    "max_running": "Tasks that may run at a time; null: any number.",
    "max_payload_bytes": "Null: the server's own limit.",
    "max_result_bytes": "Null: the server's own limit.",
    "max_agents": "Private agents that are not offline; null: any number.",
    "max_tokens": "Tokens that are good; null: any number.",
}


class RateLimitSchema(ma.Schema):
    """So many submits in so many seconds. It fills evenly: after `burst` at once, one more every period / limit."""

    limit = Whole(1, MOST_SUBMITS, required=True)
    period = Number(0.001, LONGEST_PERIOD, required=True, metadata={"description": "Seconds."})
    burst = Whole(
        1, MOST_SUBMITS, load_default=None, allow_none=True, metadata={"description": "At once; null: the limit."}
    )
    per = fields.String(
        validate=validate.OneOf(PER), load_default=PER[0], metadata={"description": "Counted together, or by token."}
    )
    shadow = Truth(load_default=False, metadata={"description": "Count what it would refuse, refuse nothing."})


def _limit(name: str) -> Whole:
    return Whole(*BOUNDS[name], allow_none=True, metadata={"description": _MEANINGS[name]})


class SettingsSchema(ma.Schema):
    """The settings of a workspace; only what is given is changed."""

    name = Text(LONGEST_NAME)
    weight = Whole(*BOUNDS["weight"], metadata={"description": "Its share beside the others'."})
    max_pending = _limit("max_pending")
    max_running = _limit("max_running")
    max_payload_bytes = _limit("max_payload_bytes")
    max_result_bytes = _limit("max_result_bytes")
    max_agents = _limit("max_agents")
    max_tokens = _limit("max_tokens")
    retention = Number(
        1,
        LONGEST_RETENTION,
        allow_none=True,
        metadata={"description": "Seconds for which a finished task is kept; null: the server's own."},
    )
    placement = fields.String(
        validate=validate.OneOf(PLACEMENTS), metadata={"description": "Which agents run its tasks."}
    )
    encryption = Truth(metadata={"description": "Nothing of its payloads and results is kept unencrypted."})
    rate_limits = fields.Dict(
        keys=Named(RATE_NAME, "must be 1 to 32 of a-z, 0-9 and . _ -, beginning with a letter or a digit"),
        values=fields.Nested(RateLimitSchema),
        allow_none=True,
        validate=at_most(MOST_LIMITS),
        metadata={"description": "All of them, by name; null: the platform's.", "maxProperties": MOST_LIMITS},
    )

    unknown_price = fields.String(
        allow_none=True,
        metadata={"description": "Of a million tokens of a model without a price; `refuse`; null: nothing."},
    )


class NewWorkspaceSchema(SettingsSchema):
    workspace = Named(WORKSPACE, WORKSPACE_RULE, required=True)


class ChangeWorkspaceSchema(SettingsSchema):
    status = fields.String(
        validate=validate.OneOf(STATUSES),
        metadata={"description": "suspended: nothing is submitted or claimed; what runs is finished."},
    )


class WorkspaceSchema(ma.Schema):
    workspace = fields.String(required=True)
    name = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": [*STATUSES, "deleting"]})
    weight = fields.Integer(required=True)
    max_pending = fields.Integer(required=True, allow_none=True)
    max_running = fields.Integer(required=True, allow_none=True)
    max_payload_bytes = fields.Integer(required=True, allow_none=True)
    max_result_bytes = fields.Integer(required=True, allow_none=True)
    max_agents = fields.Integer(required=True, allow_none=True)
    max_tokens = fields.Integer(required=True, allow_none=True)
    retention = fields.Float(required=True, allow_none=True)
    placement = fields.String(required=True, metadata={"enum": list(PLACEMENTS)})
    encryption = fields.Boolean(required=True)
    rate_limits = fields.Dict(
        keys=fields.String(), values=fields.Nested(RateLimitSchema), required=True, allow_none=True
    )
    unknown_price = fields.String(required=True, allow_none=True)
    created_at = fields.String(required=True, metadata={"format": "date-time"})


class WorkspacePageSchema(ma.Schema):
    items = fields.List(fields.Nested(WorkspaceSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class PageSchema(ma.Schema):
    """Query of a listing."""

    limit = QueryWhole(1, 200, load_default=50)
    cursor = fields.String(metadata={"description": "`next_cursor` of the page before."})


class QueryTruth(fields.Boolean):
    """true or false in a query."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Any:
        if value not in ("true", "false"):
            raise self.make_error("invalid", input=value)
        return value == "true"


class TokenFilterSchema(PageSchema):
    platform = QueryTruth(load_default=False, metadata={"description": "The platform's own tokens (role admin)."})


class NewTokenSchema(ma.Schema):
    """Without `task_types`, `capabilities` or `networks` the token is not narrowed in that respect, unless the token
    that makes it is."""

    role = fields.Enum(Role, by_value=True, required=True)
    name = Text(128, required=True, metadata={"description": "What it is for."})
    expires_in = Seconds(LONGEST_TIME, metadata={"description": "Seconds; without, until it is revoked."})
    task_types = fields.List(
        Named(TASK_TYPE, TASK_TYPE_RULE),
        validate=validate.Length(max=MOST_ENTRIES),
        metadata={"description": "Types of the tasks that it may submit, or an agent may register for."},
    )
    capabilities = Capabilities(
        metadata={"description": "Capabilities that its tasks may require, or its agents may have."}
    )
    networks = fields.List(
        Text(64, least=1),
        validate=validate.Length(max=MOST_ENTRIES),
        metadata={"description": "Networks, such as 10.0.0.0/8, from which it may be used."},
    )
    platform = Truth(
        load_default=False,
        metadata={"description": "A token of the platform, good for every workspace (role admin)."},
    )


class RotateSchema(ma.Schema):
    overlap = Number(
        0,
        LONGEST_OVERLAP,
        load_default=OVERLAP,
        metadata={"description": "Seconds for which the present secret stays good."},
    )


class TokenSchema(ma.Schema):
    token_id = fields.String(required=True)
    workspace = fields.String(required=True, allow_none=True, metadata={"description": "null: the platform."})
    role = fields.String(required=True, metadata={"enum": [role.value for role in Role]})
    name = fields.String(required=True)
    task_types = fields.List(fields.String(), required=True, allow_none=True)
    capabilities = fields.List(fields.String(), required=True, allow_none=True)
    networks = fields.List(fields.String(), required=True, allow_none=True)
    created_at = fields.String(required=True, metadata={"format": "date-time"})
    expires_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    rotated_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    last_used_at = fields.String(
        required=True, allow_none=True, metadata={"format": "date-time", "description": "To about a minute."}
    )


class IssuedTokenSchema(TokenSchema):
    token = fields.String(required=True, metadata={"description": "The bearer token; shown this once."})


class TokenPageSchema(ma.Schema):
    items = fields.List(fields.Nested(TokenSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
