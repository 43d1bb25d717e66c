"""Approvals: people let held tasks go, or reject them. The policy says who may, and is asked anew each time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from aragora_cp.errors import Conflict, Forbidden, NotFound, StoreUnavailable
from aragora_cp.model import Caller, Decision, Demand, Page, Task, TaskStatus
from aragora_cp.policy.engine import PolicyEngine
from aragora_cp.policy.requests import Principal, approve_request, parse_request
from aragora_cp.policy.rules import APPROVAL_EXPIRES
from aragora_cp.scheduler import TaskScheduler
from aragora_cp.store.approvals import ApprovalStore
from aragora_cp.store.forms import Answer, Record

#: A payload that is stored anew (under a new key) while it is being approved is read again so often.
_TRIES = 3
#: Asked of a task that a rule held and none holds any more: it was to be seen by somebody.
_ONE_PERSON = Demand(1, APPROVAL_EXPIRES * 1000)


class Approvals:
    """Safe to share between threads. Raises StoreUnavailable, PolicyUnavailable from every method."""

    def __init__(self, store: ApprovalStore, scheduler: TaskScheduler, policy: PolicyEngine) -> None:
        self._store = store
        self._scheduler = scheduler
        self._policy = policy

    def list(self, workspace: str, *, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        """A page of held tasks, newest first. One round trip."""
        return self._scheduler.list(workspace, status=TaskStatus.HELD, limit=limit, cursor=cursor)

    def approve(self, workspace: str, task_id: str, caller: Caller) -> Task:
        """The caller's approval; HELD while more are needed, else PENDING. Three round trips: the record, the script,
        the tickets.

        It is for the payload and the version of the policy that are there now: when the approvals so far were for
        others they are void, and this raises Conflict which says so; then it is asked anew. Raises NotFound, Conflict
        when the task is not held (any more), Forbidden for its own submitter, PolicyDenied when the rules do not let
        the caller approve it, or do not allow the task at all any more.
        """
        for _ in range(_TRIES):
            record, digest = self._read(workspace, task_id)
            self._may(workspace, task_id, record, caller)
            decision = self._judged_anew(workspace, task_id, record, caller)
            answer = self._store.approve(
                workspace,
                task_id,
                actor=caller.actor,
                correlation_id=caller.correlation_id,
                record=record,
                digest=digest,
                decision=decision,
                demand=decision.demand or _ONE_PERSON,
                lanes=self._scheduler.lanes_for(
                    workspace,
                    [each for each in record["caps"].decode().split("+") if each],
                    record["target"].decode() if record.get("target") else None,
                ),
            )
            if answer.word != "moved":
                break
        else:
            raise StoreUnavailable("the payload is being stored anew; try again")
        if answer.word not in ("released", "approved"):
            _refuse(task_id, answer)
        self._scheduler.send(answer.tickets)
        return self._task(workspace, task_id, answer)

    def reject(self, workspace: str, task_id: str, caller: Caller, reason: str) -> Task:
        """The task has failed: `rejected`, with this reason. Two round trips. Raises as `approve`."""
        record, _ = self._read(workspace, task_id)
        self._may(workspace, task_id, record, caller)
        answer = self._store.reject(
            workspace,
            task_id,
            actor=caller.actor,
            correlation_id=caller.correlation_id,
            message=reason or "an operator rejected it",
            attempt=int(record["attempt"]),
        )
        if answer.word != "rejected":
            _refuse(task_id, answer)
        return self._task(workspace, task_id, answer)

    def _read(self, workspace: str, task_id: str) -> tuple[Record, str]:
        found = self._store.read(workspace, task_id)
        if found is None:
            raise NotFound(f"there is no task {task_id!r}")
        return found

    def _may(self, workspace: str, task_id: str, record: Record, caller: Caller) -> None:
        task = self._scheduler.read(workspace, task_id, record)
        request = approve_request(Principal.of(caller), task, record["actor"].decode())
        self._policy.require(request, actor=caller.actor, correlation_id=caller.correlation_id, target=task_id)

    def _judged_anew(self, workspace: str, task_id: str, record: Record, caller: Caller) -> Decision:
        """What the policy says now of the submit that was held."""
        if "hold_request" not in record:
            raise Conflict("the task was never held")
        told: Mapping[str, Any] = json.loads(record["hold_request"])
        request = parse_request(told, workspace)
        return self._policy.require(request, actor=caller.actor, correlation_id=caller.correlation_id, target=task_id)

    def _task(self, workspace: str, task_id: str, answer: Answer) -> Task:
        assert answer.record is not None
        return self._scheduler.read(workspace, task_id, answer.record)


def _refuse(task_id: str, answer: Answer) -> NoReturn:
    if answer.word == "own":
        raise Forbidden("nobody approves or rejects a task that they submitted")
    if answer.word == "asked-again":
        raise Conflict(
            "the policy or the payload has changed since approval was asked: the approvals so far are void, "
            "and it is asked anew; look at the task again, then approve"
        )
    if answer.word == "late":
        raise Conflict("the time for approval is over: the task has failed")
    if answer.record is None:
        raise NotFound(f"there is no task {task_id!r}")
    raise Conflict(f"only a HELD task is approved or rejected; this one is {answer.record['status'].decode()}")
