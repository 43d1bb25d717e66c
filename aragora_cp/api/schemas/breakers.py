"""Requests and answers about circuit breakers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from aragora_cp.api.schemas.fields import Seconds, Text

_STATES = ("closed", "open", "half-open")
#: A forced state ends by itself: at most after thirty days.
LONGEST_FORCED = 30 * 86400.0


class ForceSchema(ma.Schema):
    """`open` and `closed` need a reason and a time; `auto` gives the breaker back to itself, fresh."""

    state = fields.String(required=True, validate=validate.OneOf(["open", "closed", "auto"]))
    reason = Text(500, load_default="")
    expires_in = Seconds(LONGEST_FORCED, metadata={"description": "Seconds after which the breaker is its own again."})

    @ma.validates_schema
    def _complete(self, told: Mapping[str, Any], **_: Any) -> None:
        if told["state"] == "auto":
            if "expires_in" in told:
                raise ma.ValidationError("is for open and closed", "expires_in")
            return
        missing = {}
        if not told["reason"].strip():
            missing["reason"] = ["say why; whoever looks later wants to know"]
        if "expires_in" not in told:
            missing["expires_in"] = ["say for how long"]
        if missing:
            raise ma.ValidationError(missing)


class BreakerSchema(ma.Schema):
    agent_id = fields.String(required=True)
    state = fields.String(required=True, metadata={"enum": list(_STATES)})
    until = fields.String(
        required=True,
        allow_none=True,
        metadata={"format": "date-time", "description": "End of the open or forced time."},
    )
    forced = fields.Boolean(required=True)
    reason = fields.String(required=True, metadata={"description": "Why it is forced."})
    actor = fields.String(required=True, metadata={"description": "Who forced it."})
    trips = fields.Integer(required=True, metadata={"description": "Times that it opened in a row."})
    calls = fields.Integer(required=True, metadata={"description": "Attempts in its window."})
    failed = fields.Integer(required=True, metadata={"description": "Of these."})
    slow = fields.Integer(required=True, metadata={"description": "Of these."})
    spared = fields.Boolean(
        required=True, metadata={"description": "It would be open, but its lane cannot spare the agent."}
    )
    model = fields.String(required=True)
    model_state = fields.String(required=True, metadata={"enum": list(_STATES)})
    paused_until = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "format": "date-time",
            "description": "The upstream asked for a pause, or the model's breaker is open.",
        },
    )
