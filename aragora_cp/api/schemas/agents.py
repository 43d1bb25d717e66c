"""Requests and answers about agents, and the reports that agents make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from aragora_cp.api.schemas.fields import (
    Capabilities,
    Labels,
    Money,
    Named,
    Number,
    QueryWhole,
    Seconds,
    Text,
    Truth,
    Whole,
    at_most,
)
from aragora_cp.api.schemas.tasks import AGENT_ID_RULE, TASK_TYPE_RULE, ReportSchema
from aragora_cp.errors import Throttled
from aragora_cp.lanes import AGENT_ID, CAPABILITY, TASK_TYPE, WORKSPACE
from aragora_cp.model import AgentStatus, ErrorCode

MOST_RUNNING = 1000
MOST_TASK_TYPES = 200
_MOST_TOKENS = 10**12

#: What an agent can say of its own attempt; the other codes are the control plane's to give.
REPORTABLE = (
    ErrorCode.HANDLER_ERROR,
    ErrorCode.INVALID_PAYLOAD,
    ErrorCode.NO_HANDLER,
    ErrorCode.TIMEOUT,
    ErrorCode.RESULT_TOO_LARGE,
    ErrorCode.RESULT_NOT_SERIALISABLE,
    ErrorCode.UPSTREAM_ERROR,
)
#: Beside them: no failure, the upstream's wish for a pause (its 429).
THROTTLED = "throttled"


class RegisterSchema(ma.Schema):
    agent_id = Named(AGENT_ID, AGENT_ID_RULE, required=True)
    capabilities = Capabilities(required=True)
    model = Text(128, required=True)
    concurrency = Whole(1, MOST_RUNNING, load_default=1)
    labels = Labels(load_default=dict)
    version = Text(64, load_default="")
    task_types = fields.Dict(
        keys=Named(TASK_TYPE, TASK_TYPE_RULE),
        values=fields.Dict(),
        validate=at_most(MOST_TASK_TYPES),
        load_default=dict,
        metadata={
            "maxProperties": MOST_TASK_TYPES,
            "description": "Names of task types, each with a JSON Schema of its payload.",
        },
    )


class RunningSchema(ma.Schema):
    """One attempt that the agent has in hand. `workspace` for agents that serve several; else the call's own."""

    task_id = fields.UUID(required=True)
    attempt = Whole(1, 1_000_000, required=True)
    lease = Text(256, least=1, required=True)
    workspace = Named(WORKSPACE, "must be 1 to 63 of a-z, 0-9 and -")


class HeartbeatSchema(ma.Schema):
    session = Text(256, least=1, required=True)
    running = fields.List(fields.Nested(RunningSchema), required=True, validate=validate.Length(max=MOST_RUNNING))
    status = fields.Enum(
        AgentStatus,
        by_value=True,
        metadata={
            "description": "DRAINING: send me no more; OFFLINE: I am leaving. IDLE and BUSY follow from `running`."
        },
    )


class AgentFilterSchema(ma.Schema):
    """Query of `GET /agents`."""

    status = fields.Enum(AgentStatus, by_value=True)
    capability = Named(CAPABILITY, "must be 1 to 64 of letters, digits and . _ : -")
    limit = QueryWhole(1, 200, load_default=50)
    cursor = fields.String(metadata={"description": "`next_cursor` of the page before."})


_SHARED = "Attempts; null for a workspace's token that looks at a shared agent."


class AgentSchema(ma.Schema):
    agent_id = fields.String(required=True)
    workspace = fields.String(required=True, allow_none=True, metadata={"description": "null: shared by all."})
    capabilities = fields.List(fields.String(), required=True)
    model = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": [status.value for status in AgentStatus]})
    concurrency = fields.Integer(required=True)
    running = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Task ids; for a workspace's token its own tasks only."},
    )
    breaker = fields.String(required=True, metadata={"enum": ["closed", "open", "half-open"]})
    labels = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    version = fields.String(required=True)
    session = fields.String(required=True)
    registered_at = fields.String(required=True, metadata={"format": "date-time"})
    last_heartbeat = fields.String(required=True, metadata={"format": "date-time"})
    completed = fields.Integer(required=True, allow_none=True, metadata={"description": _SHARED})
    failed = fields.Integer(required=True, allow_none=True, metadata={"description": _SHARED})


class RegisteredAgentSchema(AgentSchema):
    heartbeat_interval = fields.Float(required=True, metadata={"description": "Seconds between two heartbeats."})
    heartbeat_timeout = fields.Float(required=True, metadata={"description": "Seconds of silence that mean gone."})


class AgentPageSchema(ma.Schema):
    items = fields.List(fields.Nested(AgentSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class BeatSchema(ma.Schema):
    cancel = fields.List(fields.String(), required=True, metadata={"description": "Cancelled: stop these."})
    lost = fields.List(fields.String(), required=True, metadata={"description": "No longer this agent's: drop these."})
    drain = fields.Boolean(required=True, metadata={"description": "Take no new task."})
    breaker = fields.String(metadata={"enum": ["open", "half-open", "paused"], "description": "Why there is a pause."})
    pause = fields.Float(
        metadata={"description": "Take no new task for so many seconds: a circuit breaker or an upstream says so."}
    )


class UsageSchema(ma.Schema):
    input_tokens = Whole(0, _MOST_TOKENS, load_default=0)
    output_tokens = Whole(0, _MOST_TOKENS, load_default=0)
    cached_tokens = Whole(0, _MOST_TOKENS, load_default=0, metadata={"description": "Of the input tokens."})
    model = Text(128, load_default="")
    cost = Money(
        metadata={"description": "What this use cost; adds up in millionths. Without, the prices of its model say."}
    )


class CompleteSchema(ReportSchema):
    result = fields.Raw(required=True, allow_none=True, metadata={"description": "Any JSON."})
    usage = fields.Nested(UsageSchema)


class FailSchema(ReportSchema):
    """`throttled` is no failure: the upstream takes no more for `retry_after` seconds. The task goes back to its place
    and loses no retry, and the agents of this one's model take nothing for so long."""

    code = fields.String(validate=validate.OneOf([*REPORTABLE, THROTTLED]), load_default=ErrorCode.HANDLER_ERROR.value)
    message = Text(4096, required=True)
    retryable = Truth(required=True)
    retry_after = Seconds(Throttled.LONGEST, metadata={"description": "Seconds; with `throttled`, and only with it."})

    @ma.validates_schema
    def _time_of_pause(self, told: Mapping[str, Any], **_: Any) -> None:
        if (told["code"] == THROTTLED) != ("retry_after" in told):
            raise ma.ValidationError("goes with the code throttled, and only with it", "retry_after")


class ProgressSchema(ReportSchema):
    """`usage` and `cost` are what was used since the report before: they add up."""

    percent = Number(0, 100)
    message = Text(1024)
    usage = fields.Nested(UsageSchema)
    cost = Money()

    @ma.validates_schema
    def _one_cost(self, told: Mapping[str, Any], **_: Any) -> None:
        if "cost" in told and "cost" in told.get("usage", {}):
            raise ma.ValidationError("stands here and in usage; it belongs in one of them", "cost")
