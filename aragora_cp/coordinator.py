"""ControlPlaneCoordinator: the control plane for asyncio programs, with no HTTP in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import InvalidRequest, TaskFailed
from aragora_cp.lanes import AGENT_ID, TASK_TYPE, canonical
from aragora_cp.model import Agent, AgentSpec, NewTask, Priority, Role, Task, TaskStatus
from aragora_cp.policy.requests import Principal, submit_request
from aragora_cp.store.codec import NotJson, dumps
from aragora_cp.tenancy.workspaces import DEFAULT_WORKSPACE
from aragora_cp.wiring import ControlPlane, build

R = TypeVar("R")


class ControlPlaneCoordinator:
    """Register agents, submit tasks, wait for results; the same parts and promises as over HTTP, in one workspace.

    Nothing is opened before the first call. Use it as ``async with ControlPlaneCoordinator(config) as plane`` or call
    `close`. Any number of waits share one connection and one thread. Every method raises StoreUnavailable when the
    store is away.
    """

    def __init__(
        self,
        config: ControlPlaneConfig | None = None,
        *,
        workspace: str = DEFAULT_WORKSPACE,
        plane: ControlPlane | None = None,
    ) -> None:
        """`config` is read from the environment when it is not given; `plane` shares the parts of an existing one,
        which then stays open on `close`."""
        self.config = plane.config if plane else config or ControlPlaneConfig.from_env()
        self.workspace = workspace
        self._shared = plane is not None
        self._plane = plane or build(self.config)

    async def register_agent(
        self,
        agent_id: str,
        capabilities: list[str],
        model: str,
    ) -> None:
        """Enter an agent that all workspaces share; it is live until `heartbeat_timeout` after its last `heartbeat`.
        The same id again starts a new session. Raises InvalidRequest, Conflict when the id belongs to someone
        else."""
        errors: dict[str, list[str]] = {}
        if not AGENT_ID.fullmatch(agent_id):
            errors["agent_id"] = ["must be 1 to 128 of letters, digits and . _ -"]
        spec = AgentSpec(agent_id, _capabilities(capabilities, "capabilities", errors), model, kind="coordinator")
        _raise(errors)
        await self._call(lambda: self._plane.registry.register(spec, owner="coordinator", takeover=True))

    async def submit_task(
        self,
        task_type: str,
        payload: dict[str, Any],
        required_capabilities: list[str],
        *,
        priority: str | Priority = Priority.NORMAL,
        timeout: float | None = None,
        max_retries: int | None = None,
        idempotency_key: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> str:
        """Submit a task; answers its id. `timeout` (seconds, one attempt) and `max_retries` default to the
        configuration's. Raises InvalidRequest, IdempotencyConflict, QuotaExceeded, PolicyDenied, Conflict for a
        workspace that is suspended."""
        errors: dict[str, list[str]] = {}
        if not TASK_TYPE.fullmatch(task_type):
            errors["task_type"] = ["must be 1 to 128 of letters, digits and . _ : -"]
        required = _capabilities(required_capabilities, "required_capabilities", errors)
        level, body = Priority.NORMAL, b""
        try:
            level = priority if isinstance(priority, Priority) else Priority.parse(priority)
        except ValueError as error:
            errors["priority"] = [str(error)]
        try:
            body = dumps(payload)
        except NotJson as error:
            errors["payload"] = [str(error)]
        own = await self._call(lambda: self._plane.workspaces.find(self.workspace))
        most = (own and own.max_payload_bytes) or self.config.max_payload_bytes
        if len(body) > most:
            errors["payload"] = [f"is larger than {most} bytes"]
        limit = self.config.task_timeout if timeout is None else timeout
        if not 0 < limit < float("inf"):
            errors["timeout"] = ["must be a positive number of seconds"]
        retries = self.config.max_task_retries if max_retries is None else max_retries
        if not 0 <= retries <= 100:
            errors["max_retries"] = ["must be 0 to 100"]
        _raise(errors)
        new = NewTask(
            workspace=self.workspace,
            task_type=task_type,
            payload=body,
            required_capabilities=required,
            priority=level,
            timeout=limit,
            max_retries=retries,
            idempotency_key=idempotency_key,
            metadata=metadata or {},
            actor="coordinator",
        )
        return await self._call(lambda: self._submit(new))

    async def wait_for_result(self, task_id: str, timeout: float) -> Any:
        """The task's result, as soon as it is there: woken by the store, not polled. Raises TimeoutError after
        `timeout` seconds, TaskFailed when the task ended without a result, NotFound."""
        future = self._plane.waiter.future(self.workspace, task_id)
        await asyncio.wait_for(asyncio.wrap_future(future), timeout)
        task = await self.get_task(task_id)
        if task.status is TaskStatus.COMPLETED:
            return task.result
        error = task.error or {}
        raise TaskFailed(
            f"task {task_id} ended as {task.status}: {error.get('message') or error.get('code') or 'no reason given'}",
            task_id=task_id,
            status=task.status.value,
            code=error.get("code"),
        )

    async def get_task(self, task_id: str) -> Task:
        """Raises NotFound."""
        return await self._call(lambda: self._plane.scheduler.get(self.workspace, task_id))

    async def cancel_task(self, task_id: str) -> Task:
        """Raises NotFound, AlreadyFinal."""
        return await self._call(lambda: self._plane.scheduler.cancel(self.workspace, task_id, actor="coordinator"))

    async def list_agents(self) -> list[Agent]:
        """The agents that this workspace may use."""
        agents: list[Agent] = []
        cursor: str | None = None
        while True:
            page = await self._call(lambda at=cursor: self._plane.registry.list(self.workspace, cursor=at))  # type: ignore[misc]
            agents.extend(page.items)
            if (cursor := page.next_cursor) is None:
                return agents

    async def heartbeat(self, agent_id: str) -> None:
        """Say that an agent registered with `register_agent` is alive. Raises NotFound."""

        def beat() -> None:
            agent = self._plane.registry.get(agent_id, self.workspace)
            self._plane.registry.heartbeat(agent.handle, agent.session)

        await self._call(beat)

    async def close(self) -> None:
        """Give back threads and connections; waits under way are cancelled."""
        if not self._shared:
            await asyncio.to_thread(self._plane.close)

    async def __aenter__(self) -> ControlPlaneCoordinator:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _submit(self, new: NewTask) -> str:
        """Judged by the rules as any submit; blocks."""
        who = Principal("Service", new.actor, Role.ADMIN.value, platform=True)
        decision = self._plane.policy.require(submit_request(who, new), actor=new.actor)
        return self._plane.scheduler.submit(new, decision=decision)[0].task_id

    async def _call(self, work: Callable[[], R]) -> R:
        """Run a blocking call of the parts in a thread: the loop never blocks on the store."""
        return await asyncio.to_thread(work)


def _capabilities(given: list[str], name: str, errors: dict[str, list[str]]) -> tuple[str, ...]:
    try:
        return canonical(given)
    except (TypeError, ValueError) as error:
        errors[name] = [str(error)]
        return ()


def _raise(errors: dict[str, list[str]]) -> None:
    if errors:
        raise InvalidRequest(errors)
