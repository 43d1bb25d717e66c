"""The debate agent: debaters argue a question in rounds, as sub-tasks of their own, and a judge concludes.

It asks a model when OPENAI_BASE_URL is set, and otherwise argues from the documents given, by quoting them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from aragora_cp import Agent, Context, RejectTask
from aragora_cp.errors import ConfigError, TaskFailed
from workers.chat import ModelRefusedError, Reply, complete, settings_from
from workers.debaters import Argument, Debater
from workers.debating import ARGUE, debate
from workers.extractive import ExtractiveDebater
from workers.model_debater import ModelDebater

try:
    CHAT = settings_from(os.environ)
except ValueError as wrong:
    raise ConfigError(str(wrong)) from wrong

agent = Agent(
    "debate-1",
    capabilities=["debate"],
    model=CHAT.model if CHAT else ExtractiveDebater.model,
    concurrency=2,
)
app = agent.app

_QUESTION = validate.Length(min=1, max=2_000)
_POSITION = validate.Length(min=1, max=500)
_ROUND = validate.Range(min=1, max=5)


def _distinct(positions: Sequence[str]) -> None:
    if len({position.strip().casefold() for position in positions}) < len(positions):
        raise ValidationError("Positions must differ.")


class PassageSchema(Schema):
    class Meta:
        unknown = RAISE

    id = fields.String(required=True, validate=validate.Length(min=1, max=200))
    text = fields.String(required=True, validate=validate.Length(max=200_000))


class StatementSchema(Schema):
    class Meta:
        unknown = RAISE

    round = fields.Integer(required=True, strict=True, validate=_ROUND)
    position = fields.String(required=True, validate=_POSITION)
    text = fields.String(required=True, validate=validate.Length(max=20_000))
    sources = fields.List(fields.String(), required=True)
    quotes = fields.List(fields.Nested(PassageSchema), required=True)
    stance = fields.String(required=True, validate=_POSITION)
    support = fields.Float(required=True, validate=validate.Range(min=0))
    model = fields.String(required=True, validate=validate.Length(max=200))


class DebatePayload(Schema):
    class Meta:
        unknown = RAISE

    question = fields.String(required=True, validate=_QUESTION)
    documents = fields.List(fields.Nested(PassageSchema), load_default=list, validate=validate.Length(max=1_000))
    positions = fields.List(
        fields.String(validate=_POSITION),
        load_default=list,
        validate=[validate.Length(min=2, max=6), _distinct],
    )
    rounds = fields.Integer(strict=True, load_default=2, validate=_ROUND)


class ArgumentPayload(Schema):
    """What `debate.run` gives its debaters; `workers.debaters.Argument` says what it means."""

    class Meta:
        unknown = RAISE

    question = fields.String(required=True, validate=_QUESTION)
    positions = fields.List(fields.String(validate=_POSITION), required=True, validate=validate.Length(min=2, max=6))
    position = fields.String(required=True, validate=_POSITION)
    evidence = fields.List(fields.Nested(PassageSchema), required=True, validate=validate.Length(max=200))
    round = fields.Integer(required=True, strict=True, validate=_ROUND)
    statements = fields.List(fields.Nested(StatementSchema), required=True, validate=validate.Length(max=30))


@agent.task("debate.run", schema=DebatePayload)
def run(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    try:
        return debate(
            payload["question"],
            documents=payload["documents"],
            positions=payload["positions"],
            rounds=payload["rounds"],
            debater=_debater(ctx),
            conference=ctx,
        )
    except TaskFailed as failed:
        # Running the debate again would meet the same failed sub-task again.
        raise RejectTask(f"a debater's task {failed.task_id} ended {failed.status}: {failed}") from failed
    except ModelRefusedError as refused:
        raise RejectTask(str(refused)) from refused


@agent.task(ARGUE, schema=ArgumentPayload)
def argue(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    try:
        return _debater(ctx).argue(Argument.from_json(payload)).to_json()
    except ModelRefusedError as refused:
        raise RejectTask(str(refused)) from refused


def _debater(ctx: Context) -> Debater:
    chat = CHAT
    if chat is None:
        return ExtractiveDebater()

    def ask(messages: Sequence[Mapping[str, str]]) -> Reply:
        reply = complete(chat, messages, deadline=ctx.deadline)
        ctx.usage(reply.input_tokens, reply.output_tokens, model=chat.model, cost=f"{reply.cost:f}")
        return reply

    return ModelDebater(chat.model, ask)
