"""What goes into the scripts about tasks, and what comes out of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aragora_cp.backoff import retry_ceilings
from aragora_cp.lanes import capability_key
from aragora_cp.model import Decision, Demand, Lane, NewTask, Priority, RateStanding, Ticket, Usage

Record = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class ShortBudget:
    """A budget that has no room for what a task would reserve; money in millionths, `resets_at` ms, which is in
    `wait` seconds."""

    name: str
    limit: int
    spent: int
    reserved: int
    resets_at: int
    wait: float
    asked: int

    @classmethod
    def of(cls, row: Sequence[bytes], asked: bytes) -> ShortBudget:
        """As the scripts answer it."""
        name, limit, spent, reserved, _, resets, wait = row
        return cls(name.decode(), int(limit), int(spent), int(reserved), int(resets), int(wait) / 1000, int(asked))


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a submit: `outcome` is created, existing, cached or conflict, and the record the answering task's;
    or quota (`quota`: its name, the limit, what is used), or rate-limited (`closed`: the limit's name, its number, its
    period and when it lets one more in, in seconds), or budget, or not-encrypted, or the state of
    a workspace that takes no tasks.
    `rate_limits` as they stand after it."""

    outcome: str
    task_id: str = ""
    record: Record = field(default_factory=dict)
    tickets: tuple[Ticket, ...] = ()
    quota: tuple[str, int, int] | None = None
    closed: tuple[str, int, float, float] | None = None
    budget: ShortBudget | None = None
    rate_limits: tuple[RateStanding, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A script's word, the record after it (None when there is none) and the tickets to send; `budget` that refused."""

    word: str
    record: Record | None = None
    tickets: tuple[Ticket, ...] = ()
    budget: ShortBudget | None = None
    #: What the breaker said to the call that went along.
    beside: Any = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """A task that was stopped because it went beyond `budget`: who runs it, in which lane, and which attempt."""

    budget: str
    agent_id: str
    lane: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Cancellation:
    """`word` is cancelled, final or unknown; `agent_id` is who ran it ('' nobody)."""

    word: str
    agent_id: str
    attempt: int
    children: tuple[str, ...]
    record: Record | None


def error_field(attempt: int) -> str:
    """The field under which the message of a failed attempt is sealed, wherever the record keeps it."""
    return f"error:{attempt}"


def lanes_json(lanes: Iterable[Lane]) -> str:
    """Lanes as the scripts read them."""
    return json.dumps(
        [
            {
                "name": lane.name,
                "pool": lane.pool,
                "capabilities": sorted(lane.capabilities),
                "off": sorted(lane.off),
                "slots": lane.slots,
                "running": lane.running,
                "tickets": lane.tickets,
            }
            for lane in lanes
        ]
    )


def as_record(flat: Any) -> Record:
    """A hash's answer, flat or as a mapping, as a dictionary."""
    if isinstance(flat, Mapping):
        return {name.decode(): value for name, value in flat.items()}
    return {flat[n].decode(): flat[n + 1] for n in range(0, len(flat), 2)}


def read_standings(rows: Sequence[Sequence[Any]]) -> tuple[RateStanding, ...]:
    """Rate limits as the scripts answer them."""
    return tuple(RateStanding(row[0].decode(), row[1], row[2] / 1000, row[3], row[4] / 1000) for row in rows)


def read_admission(workspace: str, answer: Sequence[Any]) -> Admission:
    """What a submit's script answers."""
    word = answer[0].decode()
    if len(answer) == 1:
        return Admission(word)
    if word == "quota":
        _, limits, name, most, used = answer
        return Admission(word, quota=(name.decode(), most, used), rate_limits=read_standings(limits))
    if word == "rate-limited":
        _, limits, name, most, period, wait = answer
        closed = (name.decode(), most, period / 1000, wait / 1000)
        return Admission(word, closed=closed, rate_limits=read_standings(limits))
    if word == "budget":
        _, limits, row, asked = answer
        return Admission(word, budget=ShortBudget.of(row, asked), rate_limits=read_standings(limits))
    _, answering, tickets, record, *limits = answer
    standings = read_standings(limits[0]) if limits else ()
    return Admission(
        word, answering.decode(), as_record(record), read_tickets(workspace, tickets), rate_limits=standings
    )


def read_tickets(workspace: str, rows: Sequence[Sequence[Any]]) -> tuple[Ticket, ...]:
    """Tickets as the scripts answer them."""
    return tuple(
        Ticket(
            workspace=workspace,
            task_id=row[0].decode(),
            attempt=row[1],
            lane=row[2].decode(),
            priority=Priority(row[3]),
            task_type=row[4].decode(),
            timeout=row[5] / 1000,
            correlation_id=row[6].decode(),
        )
        for row in rows
    )


def usage_args(usage: Usage) -> tuple[int, int, str, int, int, str]:
    """Usage as the scripts take it."""
    cost = usage.cost_micros or 0
    return usage.input_tokens, usage.output_tokens, usage.model, cost, usage.cached_tokens, usage.price


def decision_control(decision: Decision) -> dict[str, Any]:
    """What the policy said, as `lib/decisions.lua` wants it."""
    return {
        "id": decision.decision_id,
        "effect": decision.effect.value,
        "rules": list(decision.rules),
        "version": decision.version,
        "reason": decision.reason,
        "request": decision.request,
        "differing": list(decision.differing),
    }


def hold_control(demand: Demand, digest: str) -> dict[str, Any]:
    """Which approval a task needs, and for which payload."""
    return {"quorum": demand.quorum, "expires_ms": demand.expires_ms, "digest": digest}


def flat_pairs(record: Mapping[str, Any]) -> list[Any]:
    """Fields and values by turns, as a hash takes them."""
    return [part for pair in record.items() for part in pair]


def new_record(new: NewTask, cache_digest: str) -> dict[str, Any]:
    """The fields of a new task's record, without its payload and what the script sets."""
    record: dict[str, Any] = {
        "type": new.task_type,
        "prio": int(new.priority),
        "caps": capability_key(new.required_capabilities),
        "attempt": 0,
        "retries": 0,
        "losses": 0,
        "max_retries": new.max_retries,
        "backoff": ",".join(map(str, retry_ceilings(new.retry, new.max_retries))),
        "jitter": int(new.retry.jitter),
        "timeout": round(new.timeout * 1000),
        "waited": 0,
        "corr": new.correlation_id,
        "actor": new.actor,
    }
    optional = {
        "target": new.agent_id,
        "queue_timeout": None if new.queue_timeout is None else round(new.queue_timeout * 1000),
        "parent": new.parent_id,
        "placement": new.placement or None,
        "estimate": new.estimate_micros,
        "meta": json.dumps(dict(new.metadata)) if new.metadata else None,
        "cache": cache_digest or None,
        "cache_ms": round(new.cache_ttl * 1000) if new.cache_ttl else None,
    }
    return record | {name: value for name, value in optional.items() if value is not None}
