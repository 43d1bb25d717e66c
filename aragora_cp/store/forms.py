"""What goes into the scripts about tasks, and what comes out of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aragora_cp.backoff import retry_ceilings
from aragora_cp.lanes import capability_key
from aragora_cp.model import Lane, NewTask, Priority, Ticket, Usage

Record = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a submit: `outcome` is created, existing, cached or conflict, and the record the answering task's;
    or quota (`quota`: its name, the limit, what is used), or not-encrypted, or the state of a workspace that takes no
    tasks."""

    outcome: str
    task_id: str = ""
    record: Record = field(default_factory=dict)
    tickets: tuple[Ticket, ...] = ()
    quota: tuple[str, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A script's word, the record after it (None when there is none) and the tickets to send."""

    word: str
    record: Record | None = None
    tickets: tuple[Ticket, ...] = ()
    #: What the breaker said to the call that went along.
    beside: Any = None


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


def usage_args(usage: Usage) -> tuple[int, int, str, int]:
    """Usage as the scripts take it."""
    return usage.input_tokens, usage.output_tokens, usage.model, usage.cost_micros


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
        "meta": json.dumps(dict(new.metadata)) if new.metadata else None,
        "cache": cache_digest or None,
        "cache_ms": round(new.cache_ttl * 1000) if new.cache_ttl else None,
    }
    return record | {name: value for name, value in optional.items() if value is not None}
