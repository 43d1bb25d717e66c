"""Records as the HTTP contract shows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from aragora_cp.api.sessions import session_of
from aragora_cp.budgets import BudgetStanding
from aragora_cp.model import Agent, Approval, Page, Task, Workspace
from aragora_cp.store.records import format_micros
from aragora_cp.tenancy.tokens import StoredToken
from aragora_cp.why import Explanation, Reason

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(ms: int | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and Z."""
    if ms is None:
        return None
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def task_view(task: Task, *, payload: bool = False) -> dict[str, Any]:
    """One task; with its payload when `payload`."""
    shown: dict[str, Any] = {
        "task_id": task.task_id,
        "workspace": task.workspace,
        "task_type": task.task_type,
        "status": task.status.value,
        "priority": task.priority.label,
        "required_capabilities": list(task.required_capabilities),
        "attempt": task.attempt,
        "max_retries": task.max_retries,
        "agent_id": task.agent_id,
        "result": task.result,
        "error": _error_view(task.error),
        "approval": _approval_view(task.approval),
        "progress": task.progress,
        "usage": task.usage,
        "cost": task.cost,
        "cached": task.cached,
        "created_at": moment(task.created_at),
        "run_at": moment(task.run_at),
        "started_at": moment(task.started_at),
        "finished_at": moment(task.finished_at),
        "next_attempt_at": moment(task.next_attempt_at),
        "correlation_id": task.correlation_id,
        "metadata": dict(task.metadata),
    }
    if payload:
        shown["payload"] = task.payload
    return shown


def _approval_view(told: Approval | None) -> dict[str, Any] | None:
    if told is None:
        return None
    return {
        "required": told.required,
        "approved_by": list(told.approved_by),
        "expires_at": moment(told.expires_at),
        "rules": list(told.rules),
        "policy_version": told.version,
        "payload_digest": told.digest,
        "submitted_by": told.submitted_by,
    }


def listed_task_view(task: Task) -> dict[str, Any]:
    """One task of a page: without payload and result, which a page does not read."""
    shown = task_view(task)
    del shown["result"]
    return shown


def agent_view(agent: Agent, *, whole: bool) -> dict[str, Any]:
    """One agent; without `whole` not how much it has done: that is also the others'."""
    return {
        "agent_id": agent.agent_id,
        "workspace": agent.workspace,
        "capabilities": list(agent.capabilities),
        "model": agent.model,
        "status": agent.status.value,
        "concurrency": agent.concurrency,
        "running": list(agent.running),
        "breaker": agent.breaker,
        "labels": dict(agent.labels),
        "version": agent.version,
        "session": session_of(agent),
        "registered_at": moment(agent.registered_at),
        "last_heartbeat": moment(agent.last_heartbeat),
        "completed": agent.completed if whole else None,
        "failed": agent.failed if whole else None,
    }


def workspace_view(workspace: Workspace) -> dict[str, Any]:
    return asdict(workspace) | {"created_at": moment(workspace.created_at)}


def budget_view(standing: BudgetStanding) -> dict[str, Any]:
    budget = standing.budget
    return {
        "name": budget.name,
        "limit": format_micros(budget.limit),
        "period": budget.period,
        "hard": budget.hard,
        "scope": {budget.scope: budget.value} if budget.scope else None,
        "timezone": budget.timezone,
        "default_estimate": format_micros(budget.default_estimate),
        "owner": budget.owner,
        "spent": format_micros(standing.spent),
        "reserved": format_micros(standing.reserved),
        "overrun": format_micros(standing.overrun),
        "resets_at": moment(standing.resets_at),
    }


def token_view(token: StoredToken) -> dict[str, Any]:
    """A token without anything of its secret."""
    return {
        "token_id": token.token_id,
        "workspace": token.workspace,
        "role": token.role.value,
        "name": token.name,
        **asdict(token.scopes),
        "created_at": moment(token.created_at),
        "expires_at": moment(token.expires_at),
        "rotated_at": moment(token.rotated_at),
        "last_used_at": moment(token.last_used_at),
    }


def explanation_view(found: Explanation) -> dict[str, Any]:
    """Why a task waits."""
    return {
        "task_id": found.task_id,
        "status": found.status,
        "reason": _reason_view(found.reason),
        "also": [_reason_view(each) for each in found.also],
    }


def _reason_view(reason: Reason) -> dict[str, Any]:
    facts = {name: moment(value) if name in ("since", "until") else value for name, value in reason.facts.items()}
    return {"code": reason.code, "detail": reason.detail, **facts}


def page_view(page: Page[Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"items": items, "next_cursor": page.next_cursor}


def _error_view(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    history = [{**entry, "at": moment(entry["at"])} for entry in error["history"]]
    return {**error, "history": history}
