"""The scheduler in a page of Python: what the state machine holds the store against."""

from __future__ import annotations

from dataclasses import dataclass, field

from aragora_cp.lanes import SHARED_POOL, lane_name
from aragora_cp.model import AgentSpec, Hold, TaskStatus

S = TaskStatus

SPECS = {
    "coder": AgentSpec("coder", ("code",)),
    "searcher": AgentSpec("searcher", ("search",), concurrency=2),
    "both": AgentSpec("both", ("code", "search"), concurrency=3),
    "private": AgentSpec("private", ("code", "search"), workspace="acme"),
}


def lane_of(spec: AgentSpec) -> str:
    return lane_name(spec.workspace or SHARED_POOL, spec.capabilities)


@dataclass
class Expected:
    """What the model knows of one task."""

    status: TaskStatus = S.PENDING
    attempt: int = 0
    retries: int = 0
    max_retries: int = 0
    hold: Hold | None = None
    late: Hold | None = None
    result: int | None = None
    history: set[int] = field(default_factory=set)
    awaits: set[str] = field(default_factory=set)
    #: How many people must approve it, 0 for none; and who has.
    quorum: int = 0
    approved: set[str] = field(default_factory=set)

    def end(self, status: TaskStatus) -> None:
        self.status, self.hold, self.late = status, None, None
        self.awaits.clear()

    def lose(self) -> None:
        """What the delivery lost: a late result still counts while retries are left."""
        self.history.add(self.attempt)
        if self.retries >= self.max_retries:
            self.end(S.FAILED)
        else:
            self.retries += 1
            self.status, self.late, self.hold = S.PENDING, self.hold, None


class Model(dict[str, Expected]):
    """Every task by its id."""

    def end(self, task_id: str, status: TaskStatus) -> None:
        """It is final: whoever waited for it waits no more."""
        self[task_id].end(status)
        for told in self.values():
            told.awaits.discard(task_id)

    def lose(self, task_id: str) -> None:
        self[task_id].lose()
        if self[task_id].status.final:
            self.end(task_id, S.FAILED)

    def running(self) -> list[str]:
        return [task_id for task_id, told in self.items() if told.status is S.RUNNING]
