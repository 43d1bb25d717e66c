"""Why a task waits: one true first reason, and what else holds.

The rules below are asked in order; the first that holds is the reason. Each is true of the state as it was read: when
its cause goes away the task runs, or another reason comes first. Read are, in this order: the lanes, from the
directory's local copy (at most half a second old, its counts of other workspaces' load at most a second more), less
what flags have switched off (a copy at most 2 s old); the task and its workspace, in one script on the workspace's
slot; and, for a task that names its agent, that agent's record from the fleet's slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aragora_cp.errors import NotFound
from aragora_cp.lanes import SHARED_POOL, agent_lane, narrowed, serves
from aragora_cp.model import FINAL, Agent, AgentStatus, Lane, TaskStatus, read_handle
from aragora_cp.ports import LaneDirectory, Switches
from aragora_cp.registry import AgentRegistry
from aragora_cp.store.facts import Facts, FactStore

#: What is said of a task that comes back by itself at a time, by the code that the pause was given.
PAUSES: Mapping[str, str] = {
    "backoff": "the last attempt did not complete; the next one is not due yet",
    "delayed": "it was submitted to run later",
    "capability-off": "a capability that it requires is switched off; it is looked at again then",
    "no-key": "the agent that took it lacks the workspace's key; it is left to other agents",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """`code` is for programs, `detail` for people; `facts` are what the code is about, times in ms of the store."""

    code: str
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """`also`: what holds beside the first reason, most important first."""

    task_id: str
    status: str
    reason: Reason
    also: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """All that was read. `lanes` are those that the workspace may use; `agent` is the one the task names, None when it
    names none or that one is gone; `off` are capabilities that are switched off for the workspace."""

    task: Facts
    lanes: Sequence[Lane]
    agent: Agent | None = None
    off: frozenset[str] = frozenset()

    @property
    def serving(self) -> list[Lane]:
        """Lanes whose agents may run the task and take new work."""
        return [lane for lane in self.lanes if lane.slots > 0 and lane.name in self.task.lanes]

    def taken(self, lane: Lane) -> int:
        """Slots of a lane that run something: the leader's count, or this workspace's own when that is more."""
        return max(lane.running, self.task.lanes[lane.name].running)

    @property
    def open_windows(self) -> int:
        """How many more tickets of the task's priority its workspace may have out in the lanes that serve it."""
        names = [agent_lane(self.task.target)] if self.task.target else [lane.name for lane in self.serving]
        free = sum(max(0, self.task.window - self.task.lanes[name].tickets) for name in names)
        return free if self.task.room is None else min(free, self.task.room)


class Explainer:
    """Safe to share between threads. Raises StoreUnavailable."""

    def __init__(self, facts: FactStore, directory: LaneDirectory, registry: AgentRegistry, switches: Switches) -> None:
        self._facts = facts
        self._directory = directory
        self._registry = registry
        self._switches = switches

    def why(self, workspace: str, task_id: str) -> Explanation:
        """Raises NotFound, also for another workspace's task. One round trip, two when the task names its agent."""
        off = self._switches.switched_off(workspace)
        lanes = [narrowed(lane, off) for lane in self._directory.lanes() if lane.pool in (SHARED_POOL, workspace)]
        task = self._facts.read(workspace, task_id, lanes)
        if task is None:
            raise NotFound(f"there is no task {task_id!r}")
        agent = self._named(task.target) if task.target else None
        first, *rest = reasons(Scene(task, lanes, agent, off))
        return Explanation(task_id, task.status, first, tuple(rest))

    def _named(self, handle: str) -> Agent | None:
        try:
            return self._registry.get(*read_handle(handle))
        except NotFound:
            return None


def reasons(scene: Scene) -> list[Reason]:
    """Every reason that holds, the first one first. Never empty."""
    if scene.task.status != TaskStatus.PENDING:
        return [_not_waiting(scene.task)]
    found = [reason for rule in RULES for reason in [rule(scene)] if reason is not None]
    # With no rule left there is nothing in its way: only the next look of the monitor.
    return found or [Reason("release-due", "nothing is in its way: it goes out with the monitor's next look")]


def _not_waiting(task: Facts) -> Reason:
    if task.status in FINAL:
        return Reason("final", f"it has ended: {task.status}", {"since": task.finished})
    if task.status == TaskStatus.RUNNING:
        told = {"agent_id": task.agent_id, "attempt": task.attempt, "since": task.started}
        return Reason("running", f"{task.agent_id} runs it", told)
    return Reason("held", "a policy holds it until somebody approves it")


# --- in the order in which they are asked ----------------------------------------------------------------------------


def _paused(scene: Scene) -> Reason | None:
    task = scene.task
    if task.due is None:
        return None
    told: dict[str, Any] = {"until": task.due}
    if task.due_for == "backoff":
        told |= {"attempt": task.attempt, "error_code": task.error_code}
    return Reason(task.due_for, PAUSES.get(task.due_for, "it is not due yet"), told)


def _parked(scene: Scene) -> Reason | None:
    task = scene.task
    if task.parked is None:
        return None
    told = {"since": task.parked, "count": task.waits_for_count, "waits_for": list(task.waits_for)}
    return Reason("sub-tasks", f"it waits for {_many(task.waits_for_count, 'sub-task')} to end", told)


def _suspended(scene: Scene) -> Reason | None:
    status = scene.task.workspace_status
    if status == "active":
        return None
    return Reason("suspended", f"the workspace is {status}: nothing of it starts", {"workspace_status": status})


def _switched_off(scene: Scene) -> Reason | None:
    off = sorted(scene.off & set(scene.task.required))
    if not off:
        return None
    return Reason("capability-off", f"switched off for the workspace: {_listed(off)}", {"capabilities": off})


def _named_agent(scene: Scene) -> Reason | None:
    """Of a task that only one agent may run."""
    task, agent = scene.task, scene.agent
    if not task.target:
        return None
    agent_id = read_handle(task.target)[0]
    told: dict[str, Any] = {"agent_id": agent_id}
    if agent is None:
        return Reason("agent-gone", f"it is for {agent_id}, which is not registered any more", told)
    if agent.status is AgentStatus.OFFLINE:
        told["since"] = agent.last_heartbeat
        return Reason("agent-offline", f"it is for {agent_id}, which is offline", told)
    if agent.status is AgentStatus.DRAINING:
        return Reason("agent-draining", f"it is for {agent_id}, which takes no new task", told)
    if agent.breaker == "open":
        return Reason("agent-breaker-open", f"it is for {agent_id}, which its circuit breaker keeps out", told)
    if not serves(agent.capabilities, task.required):
        told["missing"] = sorted(set(task.required) - set(agent.capabilities))
        return Reason("agent-incapable", f"it is for {agent_id}, which lacks {_listed(told['missing'])}", told)
    if len(agent.running) >= agent.concurrency:
        told["slots"] = agent.concurrency
        return Reason("agent-busy", f"it is for {agent_id}, whose {_many(agent.concurrency, 'slot')} are taken", told)
    return None


def _no_agent(scene: Scene) -> Reason | None:
    task = scene.task
    if task.target or scene.serving:
        return None
    able = [lane for lane in scene.lanes if serves(lane.capabilities, task.required)]
    if ejected := [lane for lane in able if lane.name in task.lanes and lane.ejected]:
        told = {"lanes": [lane.name for lane in ejected], "agents": sum(lane.ejected for lane in ejected)}
        return Reason("breakers-open", "circuit breakers keep out the agents that could run it", told)
    if draining := [lane.name for lane in able if lane.name in task.lanes]:
        return Reason("draining", "all agents that could run it take no new task", {"lanes": draining})
    if able:
        where = {"placement": task.placement, "lanes": [lane.name for lane in able]}
        return Reason("placement", f"only {task.placement} agents may run it, and none of them can", where)
    lacks = [(sorted(set(task.required) - lane.capabilities), lane) for lane in scene.lanes if lane.slots > 0]
    if not lacks:
        missing = list(task.required)
        return Reason("no-agent", "there is no agent that takes work", {"missing": missing, "nearest": None})
    missing, nearest = min(lacks, key=lambda each: (len(each[0]), each[1].name))
    told = {"missing": missing, "nearest": {"lane": nearest.name, "capabilities": sorted(nearest.capabilities)}}
    return Reason("no-agent", f"no agent has all it needs; the nearest lacks {_listed(missing)}", told)


def _max_running(scene: Scene) -> Reason | None:
    task = scene.task
    if task.max_running is None:
        return None
    # A ticket that is out counts itself as on its way.
    reached = task.running >= task.max_running if task.lane else task.room == 0
    if not reached:
        return None
    told = {"limit": task.max_running, "running": task.running}
    return Reason("max-running", f"the workspace may run {_many(task.max_running, 'task')} at a time", told)


def _busy(scene: Scene) -> Reason | None:
    lanes = scene.serving
    if scene.task.target or not lanes or any(scene.taken(lane) < lane.slots for lane in lanes):
        return None
    slots = sum(lane.slots for lane in lanes)
    own = sum(scene.task.lanes[lane.name].running for lane in lanes)
    return Reason(
        "busy", f"all agents that can run it are busy: {slots} of {slots} slots", {"slots": slots, "own": own}
    )


def _ticket_out(scene: Scene) -> Reason | None:
    task = scene.task
    if not task.lane:
        return None
    told = {"lane": task.lane, "since": task.ticket_since}
    return Reason("ticket-out", f"its ticket is in the lane {task.lane}: the next free agent takes it", told)


def _behind(scene: Scene) -> Reason | None:
    ahead = scene.task.ahead
    if not ahead or ahead < scene.open_windows:
        return None
    told = {"ahead": ahead, "priority": scene.task.priority.label}
    return Reason("behind", f"{_many(ahead, 'task')} of its kind and priority came before it", told)


def _window(scene: Scene) -> Reason | None:
    task = scene.task
    if task.ahead is None or scene.open_windows > 0 or not (scene.serving or task.target):
        return None
    names = [agent_lane(task.target)] if task.target else [lane.name for lane in scene.serving]
    told = {"window": task.window, "tickets": sum(task.lanes[name].tickets for name in names)}
    return Reason("window", f"as many tickets of the workspace are out as may be: {task.window} in each lane", told)


RULES: Sequence[Callable[[Scene], Reason | None]] = (
    _paused,
    _parked,
    _suspended,
    _switched_off,
    _named_agent,
    _no_agent,
    _max_running,
    _busy,
    _ticket_out,
    _behind,
    _window,
)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
