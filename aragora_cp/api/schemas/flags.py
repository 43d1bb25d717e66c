"""Requests and answers about feature flags."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields

from aragora_cp.api.schemas.fields import Named, Text, Whole, at_most
from aragora_cp.api.schemas.tenancy import QueryTruth
from aragora_cp.policy.flag_checks import FLAG_NAME, FLAG_NAME_RULE

_JSON_SCHEMA = "https://flagd.dev/schema/v0/flags.json"


class HomeSchema(ma.Schema):
    """Query of what is done with flags."""

    platform = QueryTruth(
        load_default=False,
        metadata={"description": "The platform's flag (role admin), not the workspace's own, which overrides it."},
    )


class NewFlagSchema(ma.Schema):
    """One flag of flagd's schema; it is checked against that schema, and in itself."""

    class Meta:
        title = "Flag"

    state = fields.String(required=True, metadata={"enum": ["ENABLED", "DISABLED"]})
    variants = fields.Dict(required=True, metadata={"description": "Values of one type, by name."})
    defaultVariant = fields.String(  # noqa: N815 - flagd's name
        allow_none=True, metadata={"description": "One of the variants; null or absent: the asker's default."}
    )
    targeting = fields.Dict(metadata={"description": f"JSON Logic with flagd's operations: {_JSON_SCHEMA}."})
    metadata = fields.Dict()


class RollBackSchema(ma.Schema):
    version = Whole(1, 2**53, required=True, metadata={"description": "The version that it shall say again."})


class EvaluateSchema(ma.Schema):
    name = Named(FLAG_NAME, FLAG_NAME_RULE, required=True)
    default = fields.Raw(allow_none=True, metadata={"description": "Answers when the flag cannot; of the flag's type."})
    targeting_key = Text(256, least=1, metadata={"description": "What shares are of; without, the workspace."})
    context = fields.Dict(
        keys=Text(64, least=1),
        load_default=dict,
        validate=at_most(64),
        metadata={"description": "What rules can ask, such as `task_type`; `workspace` is always the request's."},
    )


class FlagVersionSchema(ma.Schema):
    version = fields.Integer(required=True)
    at = fields.String(required=True, metadata={"format": "date-time"})
    by = fields.String(required=True, allow_none=True)
    flag = fields.Dict(required=True, allow_none=True, metadata={"description": "Null: it was deleted."})


class FlagSchema(ma.Schema):
    """`flag` and `by` are null for a workspace's token when the flag is the platform's."""

    name = fields.String(required=True)
    source = fields.String(required=True, metadata={"enum": ["platform", "override"]})
    version = fields.Integer(required=True)
    at = fields.String(required=True, metadata={"format": "date-time"})
    by = fields.String(required=True, allow_none=True)
    flag = fields.Dict(required=True, allow_none=True)


class WholeFlagSchema(FlagSchema):
    versions = fields.List(
        fields.Nested(FlagVersionSchema), required=True, metadata={"description": "Newest first, at most 50."}
    )


class FlagPageSchema(ma.Schema):
    items = fields.List(fields.Nested(FlagSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class EvaluationSchema(ma.Schema):
    name = fields.String(required=True)
    value = fields.Raw(required=True, allow_none=True)
    variant = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True, metadata={"description": "OpenFeature's: STATIC, TARGETING_MATCH, …"})
    version = fields.Integer(required=True, allow_none=True)
    source = fields.String(required=True, allow_none=True, metadata={"enum": ["platform", "override", None]})
    error = fields.String(required=True, allow_none=True, metadata={"description": "Why the default answered."})
