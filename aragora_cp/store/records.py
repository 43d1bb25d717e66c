"""A stored task record as a Task: the one place that knows the names of a record's fields."""

from __future__ import annotations

import json
from typing import Any

from aragora_cp.model import MICROS, Priority, Task, TaskStatus
from aragora_cp.store.codec import loads
from aragora_cp.store.tasks import Record


def read_task(workspace: str, task_id: str, record: Record, *, with_payload: bool = False) -> Task:
    """The Task of one record. `cached` is for the caller to set."""
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
        payload=loads(record["payload"]) if with_payload and "payload" in record else None,
        result=loads(record["result"]) if "result" in record else None,
        error=_error(record),
        progress=_progress(record),
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
    )


def format_micros(micros: int) -> str:
    """Millionths of the currency's unit as a decimal string: 3100 is "0.0031"."""
    whole, part = divmod(micros, MICROS)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".") if part else str(whole)


def _text(record: Record, name: str) -> str:
    return record.get(name, b"").decode(errors="replace")


def _moment(record: Record, name: str) -> int | None:
    return int(float(record[name])) if record.get(name) else None


def _error(record: Record) -> dict[str, Any] | None:
    history = []
    for name in sorted((n for n in record if n[0] == "h" and n[1:].isdigit()), key=lambda n: int(n[1:])):
        at, code, agent, retryable, message = record[name].decode(errors="replace").split("|", 4)
        history.append(
            {
                "attempt": int(name[1:]),
                "at": int(at),
                "agent_id": agent or None,
                "code": code,
                "retryable": retryable == "1",
                "message": message,
            }
        )
    if "err_code" in record:
        return {
            "code": _text(record, "err_code"),
            "message": _text(record, "err_message"),
            "retryable": _text(record, "err_retryable") == "1",
            "history": history,
        }
    if not history:
        return None
    if record["status"] == b"COMPLETED":
        return {"code": None, "message": None, "retryable": False, "history": history}
    last = history[-1]
    return {name: last[name] for name in ("code", "message", "retryable")} | {"history": history}


def _progress(record: Record) -> dict[str, Any] | None:
    if "percent" not in record and "note" not in record:
        return None
    percent = float(record["percent"]) if "percent" in record else None
    return {"percent": percent, "message": _text(record, "note") or None}


def _usage(record: Record) -> dict[str, Any] | None:
    if not record.keys() & {"input_tokens", "output_tokens", "model"}:
        return None
    return {
        "input_tokens": int(record.get("input_tokens", 0)),
        "output_tokens": int(record.get("output_tokens", 0)),
        "model": _text(record, "model") or None,
    }
