"""Context: what a handler gets beside its payload."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import structlog

from aragora_cp.errors import NotFound, StaleAttempt, StepAside, TaskCancelled, TaskFailed, WaitWouldDeadlock
from aragora_cp.lanes import TASK_TYPE, canonical, serves
from aragora_cp.model import AgentSpec, Claim, NewTask, Priority, Role, TaskStatus
from aragora_cp.policy.requests import Principal, submit_request
from aragora_cp.store.codec import dumps
from aragora_cp.wiring import ControlPlane

#: How old the answer of `cancelled` may be, in seconds.
_CANCELLED_FRESH = 0.5


class Context:
    """One attempt, seen by its handler. Every call raises TaskCancelled once the task was cancelled or the attempt
    lost."""

    def __init__(self, plane: ControlPlane, agent: AgentSpec, claim: Claim, interrupted: Callable[[], bool]) -> None:
        self._plane = plane
        self._agent = agent
        self._claim = claim
        self._interrupted = interrupted
        self._submitted = 0
        self._looked_at = time.monotonic()
        self._cancelled = False
        self.task_id = claim.task.task_id
        self.workspace = claim.task.workspace
        self.attempt = claim.hold.attempt
        self.agent_id = agent.agent_id
        self.correlation_id = claim.task.correlation_id
        self.metadata: Mapping[str, str] = claim.task.metadata
        #: When this attempt's time limit ends: seconds since the epoch, by the store's clock.
        self.deadline = claim.deadline_ms / 1000
        self.log = structlog.get_logger("aragora_cp.agent").bind(
            task_id=self.task_id,
            workspace=self.workspace,
            task_type=claim.task.task_type,
            attempt=self.attempt,
            agent_id=self.agent_id,
            correlation_id=self.correlation_id,
        )

    @property
    def cancelled(self) -> bool:
        """Whether to stop: the task was cancelled, or this attempt does not hold it any more. At most half a second
        old; a round trip when it is older. It never raises; an absent store is no reason to stop."""
        if self._interrupted():
            self._cancelled = True
        if not self._cancelled and time.monotonic() - self._looked_at > _CANCELLED_FRESH:
            self._looked_at = time.monotonic()
            try:
                self.progress()
            except TaskCancelled:
                self._cancelled = True
            except Exception:
                self.log.debug("cannot tell whether the task was cancelled")
        return self._cancelled

    def progress(self, percent: float | None = None, message: str | None = None) -> None:
        """Say how far the attempt is (0 to 100), and with what. One round trip. Raises TaskCancelled, ValueError."""
        if percent is not None and not 0 <= percent <= 100:
            raise ValueError("percent must be from 0 to 100")
        self._report(percent=percent, message=message)

    def usage(
        self,
        input_tokens: int = 0,
        output_tokens: int = 0,
        model: str = "",
        cost: str | Decimal | None = None,
        cached_tokens: int = 0,
    ) -> None:
        """Add to what this task has used: tokens (`cached_tokens` are among the input tokens), and money as a decimal
        string in the currency's unit, never a float; without it the control plane's prices of `model` say what it cost.
        One round trip. Raises TaskCancelled, also when a budget has ended the task, ValueError, InvalidRequest."""
        if isinstance(cost, float):
            raise TypeError("cost must be a decimal string, never a float")
        try:
            amount = None if cost is None else Decimal(cost)
        except InvalidOperation:
            raise ValueError(f"{cost!r} is not a decimal number") from None
        if amount is not None and (not amount.is_finite() or amount < 0):
            raise ValueError("cost must not be negative")
        if min(input_tokens, output_tokens, cached_tokens) < 0:
            raise ValueError("tokens must not be negative")
        self._report(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            model=model,
            cost=amount,
            cached_tokens=cached_tokens,
        )

    def flag(self, name: str, default: Any) -> Any:
        """A feature flag's value for this task, of the type of `default`; `default` when there is none, or when it
        cannot be evaluated. Never raises. From the process's own copy, at most 2 s old: no round trip a call.

        Rules can ask for `workspace`, `task_type` and `agent_id`; a share is a share of tasks."""
        return self._plane.flags.value(
            name,
            default,
            workspace=self.workspace,
            targeting_key=self.task_id,
            attributes={"task_type": self._claim.task.task_type, "agent_id": self.agent_id},
        )

    def submit(
        self,
        task_type: str,
        payload: Any,
        *,
        required_capabilities: Sequence[str] = (),
        priority: str | Priority = Priority.NORMAL,
        timeout: float | None = None,
        max_retries: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Submit a sub-task in the same workspace; answers its id. It is cancelled with this task.

        The n-th submit of an attempt stands for the n-th submit of every other attempt of this task: a handler that
        runs again gets the same sub-tasks, not new ones, so submit in an order that depends on nothing but the
        payload and the results of earlier sub-tasks. Rules about
        submits hold for it as well. Raises TaskCancelled, NotJson, ValueError, PolicyDenied."""
        if self.cancelled:
            raise TaskCancelled
        if not TASK_TYPE.fullmatch(task_type):
            raise ValueError(f"{task_type!r} is not a task type")
        config = self._plane.config
        new = NewTask(
            workspace=self.workspace,
            task_type=task_type,
            payload=dumps(payload),
            required_capabilities=canonical(required_capabilities),
            priority=priority if isinstance(priority, Priority) else Priority.parse(priority),
            timeout=timeout or config.task_timeout,
            max_retries=config.max_task_retries if max_retries is None else max_retries,
            metadata=dict(metadata or {}),
            correlation_id=self.correlation_id,
            actor=f"task:{self.task_id}",
            parent_id=self.task_id,
            idempotency_key=f"sub:{self.task_id}:{self._submitted}",
        )
        who = Principal("Agent", self.agent_id, Role.AGENT.value, self._agent.workspace is None)
        decision = self._plane.policy.require(
            submit_request(who, new), actor=new.actor, correlation_id=self.correlation_id
        )
        self._submitted += 1
        task, _ = self._plane.scheduler.submit(new, decision=decision)
        return task.task_id

    def wait(self, *task_ids: str, timeout: float | None = None, step_aside: bool = False) -> list[Any]:
        """The results of sub-tasks, in the order given.

        With `step_aside` the handler gives its slot back while it waits and is run again from its start when the
        sub-tasks are final; this call then answers at once. Without, it blocks, up to `timeout` seconds
        (TimeoutError), and refuses with WaitWouldDeadlock when no other slot could run the sub-task. Raises
        TaskFailed when one of them ended without a result, TaskCancelled, NotFound."""
        scheduler = self._plane.scheduler
        statuses = scheduler.statuses(self.workspace, task_ids)
        for task_id, status in zip(task_ids, statuses, strict=True):
            if status is None:
                raise NotFound(f"there is no task {task_id!r}")
        still_open = [t for t, s in zip(task_ids, statuses, strict=True) if s is not None and not s.final]
        if still_open and step_aside:
            raise StepAside(still_open)
        if still_open:
            self._wait_here(still_open, timeout)
        return [self._result(task_id) for task_id in task_ids]

    def _wait_here(self, task_ids: Sequence[str], timeout: float | None) -> None:
        give_up = time.monotonic() + timeout if timeout is not None else float("inf")
        for task_id in task_ids:
            self._refuse_deadlock(task_id)
            while not self._plane.waiter.wait(self.workspace, task_id, min(1.0, give_up - time.monotonic())):
                if self.cancelled:
                    raise TaskCancelled
                if time.monotonic() >= give_up:
                    raise TimeoutError(f"sub-task {task_id} is not final after {timeout:g} s")

    def _refuse_deadlock(self, task_id: str) -> None:
        """Waiting is safe while some slot beside this one can run the sub-task."""
        task = self._plane.scheduler.get(self.workspace, task_id)
        if task.status is not TaskStatus.PENDING:
            return
        slots = sum(
            lane.slots
            for lane in self._plane.registry.lanes()
            if lane.pool in ("shared", self.workspace) and serves(lane.capabilities, task.required_capabilities)
        )
        mine = serves(self._agent.capabilities, task.required_capabilities)
        if slots - int(mine) <= 0:
            raise WaitWouldDeadlock(
                f"no slot beside this one can run {task.task_type!r}; wait with step_aside=True, or start another agent"
            )

    def _result(self, task_id: str) -> Any:
        task = self._plane.scheduler.get(self.workspace, task_id)
        if task.status is TaskStatus.COMPLETED:
            return task.result
        error = task.error or {}
        raise TaskFailed(
            f"sub-task {task_id} ended as {task.status}: {error.get('code') or 'no reason given'}",
            task_id=task_id,
            status=task.status.value,
            code=error.get("code"),
        )

    def _report(self, **what: Any) -> None:
        self._looked_at = time.monotonic()
        try:
            self._plane.scheduler.progress(self._claim.hold, **what)
        except (StaleAttempt, NotFound) as error:
            self._cancelled = True
            raise TaskCancelled("this attempt does not hold the task any more") from error
