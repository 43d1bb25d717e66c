"""Requests and answers about policies, and questions about approvals."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from aragora_cp.api.schemas.fields import QueryWhole, Text, Whole
from aragora_cp.api.schemas.tenancy import QueryTruth
from aragora_cp.model import Effect
from aragora_cp.policy.publishing import MODES, MOST_REPLAYED
from aragora_cp.policy.rules import MOST_SOURCE

_EFFECTS = [effect.value for effect in Effect]


class ScopeSchema(ma.Schema):
    platform = QueryTruth(
        load_default=False, metadata={"description": "The platform's policies, above all; for its admins."}
    )


class CaseSchema(ma.Schema):
    request = fields.Dict(
        required=True, metadata={"description": "`action`, `principal` with a `role`, and the action's `context`."}
    )
    expect = fields.String(required=True, validate=validate.OneOf(_EFFECTS))


class NewPolicySchema(ma.Schema):
    """Body of `PUT /policies/{name}`."""

    source = Text(MOST_SOURCE, required=True, metadata={"description": "Rules in Cedar, each with an `@id`."})
    tests = fields.List(fields.Nested(CaseSchema), required=True)
    mode = fields.String(validate=validate.OneOf(MODES), load_default=MODES[0])


class PolicySchema(ma.Schema):
    """One version of a policy; it never changes."""

    name = fields.String(required=True)
    version = fields.Integer(required=True)
    mode = fields.String(required=True, metadata={"enum": list(MODES)})
    source = fields.String(required=True)
    tests = fields.List(fields.Nested(CaseSchema), required=True)
    author = fields.String(required=True)
    created_at = fields.String(required=True, metadata={"format": "date-time"})


class PoliciesSchema(ma.Schema):
    items = fields.List(fields.Nested(PolicySchema), required=True)


class JudgedSchema(ma.Schema):
    """A decision of the past."""

    decision_id = fields.String(required=True)
    effect = fields.String(required=True, metadata={"enum": _EFFECTS})
    rules = fields.List(fields.String(), required=True)
    policy_version = fields.String(required=True)
    reason = fields.String(required=True)
    request = fields.Dict(required=True)
    actor = fields.String(required=True)
    target = fields.String(required=True)
    at = fields.String(required=True, metadata={"format": "date-time"})


class MismatchSchema(ma.Schema):
    version = fields.Integer(required=True)
    count = fields.Integer(required=True)


class PolicyDetailSchema(ma.Schema):
    """What is in force, what only watches, and where the watcher would have decided otherwise in this workspace."""

    name = fields.String(required=True)
    versions = fields.List(fields.Nested(PolicySchema), required=True)
    mismatches = fields.List(fields.Nested(MismatchSchema), required=True)
    differing = fields.List(fields.Nested(JudgedSchema), required=True)


class PolicyTestSchema(ma.Schema):
    """Body of `POST /policies/test`."""

    request = fields.Dict(required=True)
    source = Text(MOST_SOURCE, metadata={"description": "Judge by these rules alone, not by what is in force."})


class DecisionSchema(ma.Schema):
    decision_id = fields.String(required=True)
    effect = fields.String(required=True, metadata={"enum": _EFFECTS})
    rules = fields.List(fields.String(), required=True)
    policy_version = fields.String(required=True)
    reason = fields.String(required=True)
    approvals = fields.Integer(required=True, allow_none=True, metadata={"description": "How many must approve it."})
    differing = fields.List(fields.String(), required=True)


class RollbackSchema(ma.Schema):
    version = Whole(1, 10**9, metadata={"description": "Default: what was in force before the present one."})


class ReplaySchema(ma.Schema):
    source = Text(MOST_SOURCE, required=True)
    last = Whole(1, MOST_REPLAYED, load_default=MOST_REPLAYED)


class DifferenceSchema(ma.Schema):
    decision = fields.Nested(JudgedSchema, required=True)
    effect = fields.String(required=True, metadata={"enum": _EFFECTS})
    rules = fields.List(fields.String(), required=True)


class ReplayedSchema(ma.Schema):
    replayed = fields.Integer(required=True)
    differing = fields.Integer(required=True)
    unreadable = fields.Integer(required=True)
    differences = fields.List(fields.Nested(DifferenceSchema), required=True)


class ApprovalFilterSchema(ma.Schema):
    limit = QueryWhole(1, 200, load_default=50)
    cursor = fields.String(metadata={"description": "`next_cursor` of the page before."})


class RejectSchema(ma.Schema):
    reason = Text(500, load_default="")
