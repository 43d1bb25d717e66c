"""Requests and answers about tasks, as callers see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from aragora_cp.api.schemas.fields import (
    LONGEST_TIME,
    Capabilities,
    Instant,
    Labels,
    Money,
    Named,
    Number,
    QuerySeconds,
    QueryWhole,
    Seconds,
    Text,
    Truth,
    Whole,
)
from aragora_cp.lanes import AGENT_ID, TASK_TYPE
from aragora_cp.model import ErrorCode, Priority, RetryPolicy, TaskStatus
from aragora_cp.tenancy.workspaces import PLACEMENTS

AGENT_ID_RULE = "must be 1 to 128 of letters, digits and . _ -, beginning with a letter or a digit"
TASK_TYPE_RULE = "must be 1 to 128 of letters, digits and . _ : -, beginning with a letter or a digit"
MOST_ATTEMPT_SECONDS = 7 * 86400
MOST_BACKOFF_SECONDS = 86400
#: Characters of an idempotency key, in the header and in the body alike.
IDEMPOTENCY_KEY = validate.Length(1, 255)

_BACKOFF = RetryPolicy()
_STATUSES = [status.value for status in TaskStatus]
_PRIORITIES = [priority.label for priority in Priority]


def _not_yet(_value: Any) -> None:
    raise ma.ValidationError("is not supported by this server yet")


class RetryBackoffSchema(ma.Schema):
    initial = Number(0, MOST_BACKOFF_SECONDS, load_default=_BACKOFF.initial)
    factor = Number(1, 1000, load_default=_BACKOFF.factor)
    maximum = Number(0, MOST_BACKOFF_SECONDS, load_default=_BACKOFF.maximum)
    jitter = Truth(load_default=_BACKOFF.jitter)

    @ma.post_load
    def _policy(self, told: Mapping[str, Any], **_: Any) -> RetryPolicy:
        return RetryPolicy(**told)


class SubmitSchema(ma.Schema):
    """The body of a submit. What a server does not do yet is refused, not ignored."""

    task_type = Named(TASK_TYPE, TASK_TYPE_RULE, required=True)
    payload = fields.Dict(required=True, metadata={"description": "What the agent gets: any JSON object."})
    required_capabilities = Capabilities(load_default=list)
    priority = fields.String(validate=validate.OneOf(_PRIORITIES), load_default=Priority.NORMAL.label)
    agent_id = Named(AGENT_ID, AGENT_ID_RULE)
    placement = fields.String(
        validate=validate.OneOf(PLACEMENTS),
        metadata={
            "description": "Which agents may run it: all, the workspace's own or the shared ones; without it, as "
            "the workspace has it."
        },
    )
    timeout = Seconds(MOST_ATTEMPT_SECONDS, metadata={"description": "Seconds that one attempt may take."})
    queue_timeout = Seconds(metadata={"description": "Seconds that the task may wait, all attempts together."})
    max_retries = Whole(0, 100)
    retry_backoff = fields.Nested(RetryBackoffSchema)
    delay = Number(0, LONGEST_TIME, metadata={"description": "Seconds before the first attempt."})
    run_at = Instant(metadata={"format": "date-time"})
    idempotency_key = fields.String(validate=IDEMPOTENCY_KEY)
    cache_ttl = Seconds(metadata={"description": "Seconds for which a result may answer for an equal task."})
    metadata = Labels(load_default=dict)
    estimated_cost = Money(metadata={"description": "What it may cost at most: so much of its budgets is reserved."})
    callback_url = fields.Raw(validate=_not_yet, metadata={"description": "Refused: not supported yet."})

    @ma.validates_schema
    def _one_time(self, told: Mapping[str, Any], **_: Any) -> None:
        if "delay" in told and "run_at" in told:
            raise ma.ValidationError("cannot be combined with delay", "run_at")


class WaitSchema(ma.Schema):
    """Query of `GET /tasks/{task_id}`."""

    wait = QuerySeconds(metadata={"description": "Answer as soon as the task is final, or after so many seconds (60)."})


class TaskFilterSchema(ma.Schema):
    """Query of `GET /tasks`."""

    status = fields.Enum(TaskStatus, by_value=True)
    task_type = Named(TASK_TYPE, TASK_TYPE_RULE)
    agent_id = Named(AGENT_ID, AGENT_ID_RULE)
    limit = QueryWhole(1, 200, load_default=50)
    cursor = fields.String(metadata={"description": "`next_cursor` of the page before."})


class AttemptEndSchema(ma.Schema):
    """How one attempt ended badly."""

    attempt = Whole(1, 10_000)
    at = fields.String(metadata={"format": "date-time"})
    agent_id = fields.String(allow_none=True)
    code = fields.String()
    message = fields.String()
    retryable = fields.Boolean()


class TaskErrorSchema(ma.Schema):
    code = fields.String(allow_none=True, metadata={"enum": [*ErrorCode, None]})
    message = fields.String(allow_none=True)
    retryable = fields.Boolean()
    history = fields.List(fields.Nested(AttemptEndSchema))


class TaskProgressSchema(ma.Schema):
    percent = fields.Float(allow_none=True)
    message = fields.String(allow_none=True)


class TaskUsageSchema(ma.Schema):
    input_tokens = fields.Integer()
    output_tokens = fields.Integer()
    model = fields.String(allow_none=True)
    cached_tokens = fields.Integer(metadata={"description": "Of the input tokens; where any were reported."})
    price = fields.String(metadata={"description": "Whose prices, and which version, the last cost was worked out by."})


class ApprovalSchema(ma.Schema):
    """How far the approval of a task is that a policy held."""

    required = fields.Integer(required=True)
    approved_by = fields.List(fields.String(), required=True)
    expires_at = fields.String(required=True, metadata={"format": "date-time"})
    rules = fields.List(fields.String(), required=True)
    policy_version = fields.String(required=True)
    payload_digest = fields.String(required=True)
    submitted_by = fields.String(required=True)


class ListedTaskSchema(ma.Schema):
    """A task on a page of tasks: without its payload and its result."""

    task_id = fields.UUID(required=True, metadata={"description": "UUIDv7"})
    workspace = fields.String(required=True)
    task_type = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": _STATUSES})
    priority = fields.String(required=True, metadata={"enum": _PRIORITIES})
    required_capabilities = fields.List(fields.String(), required=True)
    attempt = fields.Integer(required=True, metadata={"description": "1 for the first; 0 before it."})
    max_retries = fields.Integer(required=True)
    agent_id = fields.String(required=True, allow_none=True)
    error = fields.Nested(TaskErrorSchema, required=True, allow_none=True)
    approval = fields.Nested(ApprovalSchema, required=True, allow_none=True)
    progress = fields.Nested(TaskProgressSchema, required=True, allow_none=True)
    usage = fields.Nested(TaskUsageSchema, required=True, allow_none=True)
    cost = fields.String(required=True, allow_none=True, metadata={"description": "A decimal text, never a float."})
    cached = fields.Boolean(required=True)
    created_at = fields.String(required=True, metadata={"format": "date-time"})
    run_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    started_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    finished_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    next_attempt_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    correlation_id = fields.String(required=True)
    metadata = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class TaskSchema(ListedTaskSchema):
    """A task. `payload` stands in the answers to a submit and to `GET /tasks/{task_id}`, for roles that may read it."""

    result = fields.Raw(required=True, allow_none=True)
    payload = fields.Dict()


class TaskPageSchema(ma.Schema):
    items = fields.List(fields.Nested(ListedTaskSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ReportSchema(ma.Schema):
    """What every report of an agent about an attempt carries."""

    session = Text(256, least=1, required=True)
    attempt = Whole(1, 1_000_000, required=True)
    lease = Text(256, least=1, required=True)


class ReasonSchema(ma.Schema):
    """Further fields follow from the code: docs/how-to/why-is-it-waiting.md."""

    code = fields.String(required=True, metadata={"description": "For programs."})
    detail = fields.String(required=True, metadata={"description": "For people."})


class ExplanationSchema(ma.Schema):
    task_id = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": _STATUSES})
    reason = fields.Nested(ReasonSchema, required=True)
    also = fields.List(fields.Nested(ReasonSchema), required=True)
