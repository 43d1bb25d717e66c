"""Caller: what tests do with a control plane, with bounds on every wait."""

from __future__ import annotations

from typing import Any

from aragora_cp.model import Agent, NewTask, Priority, Task, TaskStatus
from aragora_cp.store.codec import dumps
from aragora_cp.wiring import ControlPlane
from tests.waiting import eventually


class Caller:
    """Submits in the workspace `default` and watches the records."""

    workspace = "default"

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def submit(
        self,
        task_type: str,
        payload: Any = None,
        *,
        needs: tuple[str, ...] = ("work",),
        timeout: float = 30.0,
        max_retries: int = 0,
        priority: Priority = Priority.NORMAL,
        correlation_id: str = "",
    ) -> str:
        new = NewTask(
            self.workspace,
            task_type,
            dumps(payload),
            needs,
            priority,
            timeout=timeout,
            max_retries=max_retries,
            correlation_id=correlation_id,
        )
        return self.plane.scheduler.submit(new)[0].task_id

    def get(self, task_id: str) -> Task:
        return self.plane.scheduler.get(self.workspace, task_id)

    def ended(self, task_id: str, timeout: float = 10.0) -> Task:
        """The task once it is final."""
        assert self.plane.waiter.wait(self.workspace, task_id, timeout), f"not final: {self.get(task_id)}"
        return self.get(task_id)

    def started(self, task_id: str, timeout: float = 5.0) -> Task:
        """The task once an agent has claimed it."""
        eventually(lambda: self.get(task_id).status is not TaskStatus.PENDING, timeout, "the task is claimed")
        return self.get(task_id)

    def run(self, task_type: str, payload: Any = None, **options: Any) -> Task:
        """Submit and wait for the end."""
        return self.ended(self.submit(task_type, payload, **options))

    def cancel(self, task_id: str) -> Task:
        return self.plane.scheduler.cancel(self.workspace, task_id)

    def agent(self, agent_id: str) -> Agent:
        return self.plane.registry.get(agent_id, None)

    def slots_freed(self, agent_id: str, timeout: float) -> None:
        """Until the agent runs nothing."""
        eventually(lambda: not self.agent(agent_id).running, timeout, f"{agent_id} has nothing running")


def history(task: Task) -> list[str]:
    """The codes of a task's failed attempts."""
    return [entry["code"] for entry in (task.error or {"history": []})["history"]]
