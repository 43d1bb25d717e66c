"""A stored task record as a Task: the one place that knows the names of a record's fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aragora_cp.model import MICROS, Approval, ErrorCode, Priority, Task, TaskStatus
from aragora_cp.store.codec import loads
from aragora_cp.store.forms import Record, error_field
from aragora_cp.store.sealing import KeyNotHere, Unreadable, is_sealed

#: From a field's name and what is stored in it to what it says. Raises Unreadable.
Opener = Callable[[str, bytes], bytes]

#: What is shown in place of a message that cannot be read.
UNREADABLE_MESSAGE = "(encrypted, and its key is not here)"


def plain_only(field: str, data: bytes) -> bytes:  # noqa: ARG001 - an Opener
    """The Opener of whoever has no key."""
    if is_sealed(data):
        raise KeyNotHere
    return data


def read_task(
    workspace: str, task_id: str, record: Record, *, with_payload: bool = False, opener: Opener = plain_only
) -> Task:
    """The Task of one record. `cached` is for the caller to set.

    What cannot be read is None, or a message that says so; the error then says it too, unless the task has one.
    """
    bodies, lost = _bodies(record, ("payload", "result") if with_payload else ("result",), opener)
    error = _error(record, opener)
    if lost and "err_code" not in record:
        told = f"the {' and the '.join(lost)} cannot be read: encrypted, and the key is not here"
        history = error["history"] if error else []
        error = {"code": ErrorCode.UNREADABLE.value, "message": told, "retryable": False, "history": history}
    return Task(
        task_id=task_id,
        workspace=workspace,
        task_type=_text(record, "type"),
        status=TaskStatus(_text(record, "status")),
        priority=Priority(int(record["prio"])),
        required_capabilities=tuple(filter(None, _text(record, "caps").split("+"))),
        attempt=int(record["attempt"]),
        max_retries=int(record["max_retries"]),
        retries=int(record["retries"]),
        losses=int(record["losses"]),
        timeout=int(record["timeout"]) / 1000,
        queue_timeout=int(record["queue_timeout"]) / 1000 if record.get("queue_timeout") else None,
        agent_id=_text(record, "agent") or None,
        target_agent_id=_text(record, "target") or None,
        lane=_text(record, "lane") or _text(record, "run_lane") or None,
        payload=bodies.get("payload"),
        result=bodies.get("result"),
        error=error,
        progress=_progress(record, opener),
        usage=_usage(record),
        cost=format_micros(int(record["cost"])) if "cost" in record else None,
        cached=False,
        created_at=int(record["created"]),
        run_at=_moment(record, "run_at"),
        started_at=_moment(record, "started"),
        finished_at=_moment(record, "finished"),
        next_attempt_at=_moment(record, "due"),
        parent_id=_text(record, "parent") or None,
        correlation_id=_text(record, "corr"),
        metadata=json.loads(record["meta"]) if "meta" in record else {},
        approval=_approval(record),
    )


def format_micros(micros: int) -> str:
    """Millionths of the currency's unit as a decimal string: 3100 is "0.0031"."""
    whole, part = divmod(micros, MICROS)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".") if part else str(whole)


def _text(record: Record, name: str) -> str:
    return record.get(name, b"").decode(errors="replace")


def _moment(record: Record, name: str) -> int | None:
    return int(float(record[name])) if record.get(name) else None


def history_fields(record: Record) -> list[tuple[str, int]]:
    """The fields that tell of failed attempts, each with its attempt, in order."""
    return sorted(((n, int(n[1:])) for n in record if n[0] == "h" and n[1:].isdigit()), key=lambda pair: pair[1])


def _bodies(record: Record, names: tuple[str, ...], opener: Opener) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    lost = []
    for name in names:
        if name in record:
            try:
                found[name] = loads(opener(name, record[name]))
            except Unreadable:
                lost.append(name)
    return found, lost


def _message(field: str, data: bytes, opener: Opener) -> str:
    try:
        return opener(field, data).decode(errors="replace")
    except Unreadable:
        return UNREADABLE_MESSAGE


def _error(record: Record, opener: Opener) -> dict[str, Any] | None:
    history = []
    for name, attempt in history_fields(record):
        at, code, agent, retryable, message = record[name].split(b"|", 4)
        history.append(
            {
                "attempt": attempt,
                "at": int(at),
                "agent_id": agent.decode(errors="replace") or None,
                "code": code.decode(errors="replace"),
                "retryable": retryable == b"1",
                "message": _message(error_field(attempt), message, opener),
            }
        )
    if "err_code" in record:
        return {
            "code": _text(record, "err_code"),
            "message": _message(error_field(int(record["attempt"])), record.get("err_message", b""), opener),
            "retryable": _text(record, "err_retryable") == "1",
            "history": history,
        }
    if not history:
        return None
    if record["status"] == b"COMPLETED":
        return {"code": None, "message": None, "retryable": False, "history": history}
    last = history[-1]
    return {name: last[name] for name in ("code", "message", "retryable")} | {"history": history}


def _approval(record: Record) -> Approval | None:
    if "hold_quorum" not in record:
        return None
    return Approval(
        required=int(record["hold_quorum"]),
        approved_by=tuple(_text(record, "approved_by").split()),
        expires_at=int(record["hold_until"]),
        rules=tuple(_text(record, "hold_rules").split()),
        version=_text(record, "hold_version"),
        digest=_text(record, "hold_digest"),
        submitted_by=_text(record, "actor"),
    )


def _progress(record: Record, opener: Opener) -> dict[str, Any] | None:
    if "percent" not in record and "note" not in record:
        return None
    percent = float(record["percent"]) if "percent" in record else None
    return {"percent": percent, "message": _message("note", record.get("note", b""), opener) or None}


def _usage(record: Record) -> dict[str, Any] | None:
    if not record.keys() & {"input_tokens", "output_tokens", "model"}:
        return None
    found: dict[str, Any] = {
        "input_tokens": int(record.get("input_tokens", 0)),
        "output_tokens": int(record.get("output_tokens", 0)),
        "model": _text(record, "model") or None,
    }
    if "cached_tokens" in record:
        found["cached_tokens"] = int(record["cached_tokens"])
    if "price" in record:
        found["price"] = _text(record, "price")
    return found
