"""Requests and answers about budgets, usage and prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from aragora_cp.api.schemas.fields import Instant, Money, QueryWhole, Text, Truth, at_most
from aragora_cp.api.schemas.tenancy import QueryTruth
from aragora_cp.budgets import SCOPES
from aragora_cp.prices import MOST_MODELS
from aragora_cp.store.budgets import DIMENSIONS

_MONEY = {"description": "A decimal text, never a float."}


class ScopeSchema(ma.Schema):
    """What a budget is for: one of them; without, for all of the workspace."""

    task_type = Text(128, least=1)
    model = Text(128, least=1, metadata={"description": "Counted when a model is used: nothing is reserved for it."})
    token_id = Text(64, least=1)

    @ma.validates_schema
    def _one(self, told: Mapping[str, Any], **_: Any) -> None:
        if len(told) != 1:
            raise ma.ValidationError(f"must be one of: {', '.join(SCOPES)}")


class PutBudgetSchema(ma.Schema):
    limit = Money(required=True, metadata=_MONEY)
    period = Text(32, least=1, required=True, metadata={"description": "day, week, month or rolling:<seconds>."})
    hard = Truth(load_default=True, metadata={"description": "Refuses; a soft one only tells."})
    scope = fields.Nested(ScopeSchema, allow_none=True, load_default=None)
    timezone = Text(64, least=1, load_default="UTC", metadata={"description": "Where its days begin."})
    default_estimate = Money(
        load_default="0", metadata={"description": "What a task is taken to cost when nobody knows better."}
    )


class BudgetSchema(ma.Schema):
    name = fields.String(required=True)
    limit = fields.String(required=True, metadata=_MONEY)
    period = fields.String(required=True)
    hard = fields.Boolean(required=True)
    scope = fields.Dict(keys=fields.String(), values=fields.String(), required=True, allow_none=True)
    timezone = fields.String(required=True)
    default_estimate = fields.String(required=True, metadata=_MONEY)
    owner = fields.String(required=True, metadata={"enum": ["workspace", "platform"]})
    spent = fields.String(required=True, metadata=_MONEY)
    reserved = fields.String(required=True, metadata=_MONEY)
    overrun = fields.String(
        required=True, metadata={"description": "What running tasks cost beyond the limit, before they were stopped."}
    )
    resets_at = fields.String(required=True, metadata={"format": "date-time"})


class BudgetListSchema(ma.Schema):
    items = fields.List(fields.Nested(BudgetSchema), required=True)


class UsageQuerySchema(ma.Schema):
    """Query of `GET /usage`. Whole UTC days, at most 400."""

    from_ = Instant(data_key="from", metadata={"format": "date-time", "description": "Default: 30 days before `to`."})
    to = Instant(metadata={"format": "date-time", "description": "Its day is the last one. Default: now."})
    group_by = fields.String(validate=validate.OneOf(DIMENSIONS), load_default="day")


class UsageRowSchema(ma.Schema):
    value = fields.String(required=True, metadata={"description": "A day, a task type, a model or a token id."})
    tasks = fields.Integer(required=True, metadata={"description": "That have ended."})
    cost = fields.String(required=True, metadata=_MONEY)
    input_tokens = fields.Integer(required=True)
    output_tokens = fields.Integer(required=True)
    cached_tokens = fields.Integer(required=True)


class UsageAnswerSchema(ma.Schema):
    from_ = fields.String(required=True, data_key="from", metadata={"format": "date"})
    to = fields.String(required=True, metadata={"format": "date"})
    group_by = fields.String(required=True)
    items = fields.List(fields.Nested(UsageRowSchema), required=True)
    total = fields.Nested(UsageRowSchema, required=True)


class PriceSchema(ma.Schema):
    """Of a million tokens each."""

    input = Money(required=True, metadata=_MONEY)
    output = Money(required=True, metadata=_MONEY)
    cached_input = Money(allow_none=True, load_default=None, metadata={"description": "null: as input."})


class PutPricesSchema(ma.Schema):
    prices = fields.Dict(
        keys=Text(128, least=1),
        values=fields.Nested(PriceSchema),
        required=True,
        validate=at_most(MOST_MODELS),
        metadata={"description": "All of them, by model.", "maxProperties": MOST_MODELS},
    )


class PriceOwnerSchema(ma.Schema):
    platform = QueryTruth(load_default=False, metadata={"description": "The platform's own table (role admin)."})


class PriceQuerySchema(PriceOwnerSchema):
    version = QueryWhole(1, 1_000_000, metadata={"description": "An earlier one; the last 50 are kept."})


class PriceTableSchema(ma.Schema):
    version = fields.Integer(required=True, metadata={"description": "0: they were never set."})
    set_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    prices = fields.Dict(keys=fields.String(), values=fields.Dict(), required=True)


class PricesSchema(ma.Schema):
    """A model's price is the workspace's own, else the platform's."""

    workspace = fields.Nested(PriceTableSchema, required=True)
    platform = fields.Nested(PriceTableSchema, required=True)
