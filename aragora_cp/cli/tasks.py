"""`aragora-cp tasks`: submit, look, wait, cancel."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.output import moment, print_fields, print_json, print_table, progress
from aragora_cp.cli.session import LONGEST_WAIT, Session, segment, with_session

_FINAL = ("COMPLETED", "FAILED", "CANCELLED")
_STATUSES = ("HELD", "PENDING", "RUNNING", *_FINAL)

as_json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def tasks() -> None:
    """Submit tasks and follow them."""


@tasks.command()
@click.argument("task_type", metavar="TYPE")
@click.option("--payload", default="{}", help="JSON, @FILE that holds it, or - for standard input.")
@click.option("--capability", "capabilities", multiple=True, help="One that the agent must have; may be repeated.")
@click.option("--priority", type=click.Choice(["critical", "high", "normal", "low"]), default="normal")
@click.option(
    "--placement", type=click.Choice(["auto", "private", "shared"]), help="Agents that may run it, if not as usual."
)
@click.option("--timeout", type=float, metavar="SECONDS", help="Limit of one attempt.")
@click.option("--max-retries", type=int)
@click.option("--idempotency-key", help="The same key again answers with the same task.")
@click.option(
    "--wait",
    type=float,
    is_flag=False,
    flag_value=math.inf,
    metavar="[SECONDS]",
    help="Wait for the result, so long at most.",
)
@as_json_option
@with_session
def submit(
    session: Session,
    task_type: str,
    payload: str,
    capabilities: tuple[str, ...],
    priority: str,
    placement: str | None,
    timeout: float | None,
    max_retries: int | None,
    idempotency_key: str | None,
    wait: float | None,
    as_json: bool,
) -> None:
    """Submit a task of TYPE, for example `code.review`.

    With --wait the exit status is 0 only when the task completed.
    """
    optional = {
        "placement": placement,
        "timeout": timeout,
        "max_retries": max_retries,
        "idempotency_key": idempotency_key,
    }
    task = session.request(
        "POST",
        "/tasks/submit",
        body={
            "task_type": task_type,
            "payload": read_payload(payload),
            "required_capabilities": list(capabilities),
            "priority": priority,
            **{name: value for name, value in optional.items() if value is not None},
        },
    )
    if wait is None:
        _show(task, as_json)
    else:
        _finish(wait_for(session, task["task_id"], wait), as_json)


@tasks.command()
@click.argument("task_id")
@as_json_option
@with_session
def get(session: Session, task_id: str, as_json: bool) -> None:
    """Show a task."""
    _show(session.task(task_id), as_json)


@tasks.command()
@click.argument("task_id")
@as_json_option
@with_session
def why(session: Session, task_id: str, as_json: bool) -> None:
    """Say why a task is not running: one first reason, and what holds beside it."""
    found = session.request("GET", f"/tasks/{segment(task_id)}/why")
    if as_json:
        print_json(found)
        return
    rows = [("reason", found["reason"]), *(("also", each) for each in found["also"])]
    print_fields({"task": found["task_id"], "status": found["status"]})
    print_table(["", "code", "detail", "more"], ((name, *_told(each)) for name, each in rows), empty="")


@tasks.command()
@click.argument("task_id")
@click.option("--timeout", type=float, default=math.inf, metavar="SECONDS", help="Longest wait; without, no limit.")
@as_json_option
@with_session
def wait(session: Session, task_id: str, timeout: float, as_json: bool) -> None:
    """Wait until a task is final and show it; the exit status is 0 only when it completed."""
    _finish(wait_for(session, task_id, timeout), as_json)


@tasks.command()
@click.argument("task_id")
@as_json_option
@with_session
def cancel(session: Session, task_id: str, as_json: bool) -> None:
    """Cancel a task."""
    _show(session.request("POST", f"/tasks/{segment(task_id)}/cancel"), as_json)


@tasks.command()
@click.argument("task_id")
@as_json_option
@with_session
def approve(session: Session, task_id: str, as_json: bool) -> None:
    """Approve a task that a policy holds; nobody approves their own."""
    _show(session.request("POST", f"/tasks/{segment(task_id)}/approve"), as_json)


@tasks.command()
@click.argument("task_id")
@click.option("--reason", default="", help="Stands in the task's error.")
@as_json_option
@with_session
def reject(session: Session, task_id: str, reason: str, as_json: bool) -> None:
    """Reject a task that a policy holds: it has failed."""
    _show(session.request("POST", f"/tasks/{segment(task_id)}/reject", body={"reason": reason}), as_json)


@tasks.command()
@click.argument("task_ids", nargs=-1)
@click.option("--status", type=click.Choice(["FAILED", "CANCELLED"], case_sensitive=False), help="All that ended so.")
@click.option("--type", "task_type", help="With --status: only tasks of this type.")
@click.option("--code", help="With --status: only tasks whose error has this code, for example poisoned.")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="With --status: at most so many."
)
@as_json_option
@with_session
def retry(
    session: Session,
    task_ids: tuple[str, ...],
    status: str | None,
    task_type: str | None,
    code: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Run FAILED or CANCELLED tasks again, each under its own id: those named, or all that a filter finds.

    The exit status is 0 only when every one of them runs again.
    """
    if bool(task_ids) == bool(status):
        raise click.UsageError("name tasks, or give --status")
    chosen = list(task_ids)
    if status:
        ended = session.pages("/tasks", {"status": status, "task_type": task_type}, limit)
        chosen = [task["task_id"] for task in ended if code in (None, (task.get("error") or {}).get("code"))]
    again, refused = [], {}
    with progress(f"0 of {len(chosen)} …") as tell:
        for n, task_id in enumerate(chosen, start=1):
            try:
                again.append(session.request("POST", f"/tasks/{segment(task_id)}/retry")["task_id"])
            except CommandFailed as error:
                refused[task_id] = error.message
            tell(f"{n} of {len(chosen)}")
    if as_json:
        print_json({"retried": again, "refused": refused})
    else:
        rows = [*((task_id, "runs again") for task_id in again), *refused.items()]
        print_table(["task", "outcome"], rows, empty="no tasks")
    if refused:
        raise CommandFailed(f"{len(refused)} of {len(chosen)} do not run again")


@tasks.command(name="list")
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False))
@click.option("--type", "task_type", help="Only tasks of this type.")
@click.option("--agent", "agent_id", help="Only tasks of this agent.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@as_json_option
@with_session
def list_(
    session: Session, status: str | None, task_type: str | None, agent_id: str | None, limit: int, as_json: bool
) -> None:
    """List tasks, newest first."""
    wanted = {"status": status, "task_type": task_type, "agent_id": agent_id}
    found = list(session.pages("/tasks", wanted, limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ["task", "type", "status", "priority", "attempt", "agent", "created"],
        (
            (
                task["task_id"],
                task["task_type"],
                task["status"],
                task["priority"],
                f"{task['attempt']}",
                task["agent_id"],
                moment(task["created_at"]),
            )
            for task in found
        ),
        empty="no tasks",
    )


def read_payload(given: str) -> Any:
    """The payload that --payload means. Raises CommandFailed."""
    try:
        if given == "-":
            text = sys.stdin.buffer.read().decode()
        elif given.startswith("@"):
            text = Path(given[1:]).read_text(encoding="utf-8")
        else:
            text = given
    except OSError as error:
        raise CommandFailed(f"cannot read {given[1:]}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandFailed("the payload is not UTF-8") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"the payload is not JSON: {error}") from error


def wait_for(
    session: Session, task_id: str, timeout: float, clock: Callable[[], float] = time.monotonic
) -> dict[str, Any]:
    """The task once it is final, or as it is after `timeout` seconds; its progress shown meanwhile."""
    end = clock() + timeout
    with progress(f"{task_id} …") as tell:
        while True:
            task = session.task(task_id, wait=max(0.0, min(LONGEST_WAIT, end - clock())))
            if task["status"] in _FINAL or clock() >= end:
                return task
            step = task.get("progress") or {}
            said = " ".join(str(step[key]) for key in ("percent", "message") if step.get(key) is not None)
            tell(f"{task['task_type']} {task['status'].lower()} {said}")


def _approvals(told: dict[str, Any] | None) -> str:
    return f"{len(told['approved_by'])} of {told['required']}, until {moment(told['expires_at'])}" if told else ""


def _finish(task: dict[str, Any], as_json: bool) -> None:
    _show(task, as_json)
    if task["status"] != "COMPLETED":
        ended = task["status"] in _FINAL
        raise CommandFailed(f"the task {'ended' if ended else 'is still'} {task['status']}")


def _told(reason: dict[str, Any]) -> tuple[str, str, str]:
    more = {name: value for name, value in reason.items() if name not in ("code", "detail")}
    shown = "; ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in more.items()
    )
    return reason["code"], reason["detail"], shown


def _show(task: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(task)
        return
    error = task.get("error") or {}
    print_fields(
        {
            "task": task["task_id"],
            "type": task["task_type"],
            "status": task["status"],
            "priority": task["priority"],
            "needs": task["required_capabilities"],
            "attempt": f"{task['attempt']} of up to {task['max_retries'] + 1}" if task["attempt"] else "",
            "approvals": _approvals(task.get("approval")),
            "agent": task.get("agent_id"),
            "created": moment(task["created_at"]),
            "finished": moment(task["finished_at"]) if task.get("finished_at") else "",
            "next attempt": moment(task["next_attempt_at"]) if task.get("next_attempt_at") else "",
            "error": f"{error.get('code')}: {error.get('message')}" if error else "",
            "result": task.get("result"),
        }
    )
