"""A control plane over a real store and a recording broker, with short ways to drive it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import redis

from aragora_cp.approvals import Approvals
from aragora_cp.audit import AuditTrail
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.lanes import canonical
from aragora_cp.model import AgentSpec, Claim, ErrorCode, Failure, Hold, NewTask, Task, Ticket
from aragora_cp.policy.engine import PolicyEngine
from aragora_cp.policy.flags import Flags
from aragora_cp.policy.publishing import PolicyPublisher
from aragora_cp.reconciler import Monitor
from aragora_cp.registry import AgentRegistry
from aragora_cp.scheduler import TaskScheduler
from aragora_cp.store.agents import AgentStore
from aragora_cp.store.approvals import ApprovalStore
from aragora_cp.store.budgets import BudgetStore
from aragora_cp.store.completions import CompletionFeed
from aragora_cp.store.connection import connect
from aragora_cp.store.flags import FlagStore
from aragora_cp.store.keys import fleet_keys, workspace_keys
from aragora_cp.store.limits import LimitStore
from aragora_cp.store.policies import PolicyStore
from aragora_cp.store.prices import PriceStore
from aragora_cp.store.sweeps import Look, SweepStore
from aragora_cp.store.tasks import TaskStore
from aragora_cp.store.tokens import TokenStore
from aragora_cp.store.trails import TrailStore
from aragora_cp.store.workspaces import WorkspaceStore
from aragora_cp.tenancy.cache import FreshCache
from aragora_cp.tenancy.pricing import Pricing
from aragora_cp.tenancy.workspaces import Workspaces
from aragora_cp.waiter import Waiter
from aragora_cp.wiring import ControlPlane
from tests.fakes import RecordingBroker

HANDLER_ERROR = Failure(ErrorCode.HANDLER_ERROR, "it did not work", retryable=True)
REJECTED = Failure(ErrorCode.REJECTED, "it never will", retryable=False)
PROCESS_LOST = Failure(ErrorCode.AGENT_LOST, "the process died", retryable=True, lost=True)


class Fleet:
    """Everything of one workspace unless told otherwise. The registry's copy of the lanes is always fresh here."""

    def __init__(self, config: ControlPlaneConfig, workspace: str = "acme") -> None:
        self.config = config
        self.workspace = workspace
        self.broker = RecordingBroker()
        self.client: redis.Redis = connect(config)
        self.tasks = TaskStore(self.client, config)
        ticks = itertools.count(step=10)
        self.registry = AgentRegistry(AgentStore(self.client, config, self.tasks), config, clock=lambda: next(ticks))
        self.flag_store = FlagStore(self.client, config)
        self.flags = Flags(self.flag_store)
        workspaces = Workspaces(WorkspaceStore(self.client, config))
        prices = PriceStore(self.client, config)
        pricing = Pricing(prices, workspaces)
        self.scheduler = TaskScheduler(
            self.tasks, self.broker, self.registry, config, switches=self.flags, price=pricing.priced
        )
        self.trails = TrailStore(self.client, config)
        self.sweeps = SweepStore(self.client, config, self.flags)
        policies = PolicyStore(self.client, config)
        self.policy = PolicyEngine(policies, FreshCache(fresh=0.0))
        self.policies = PolicyPublisher(policies, self.policy)
        self.approvals = Approvals(ApprovalStore(self.tasks, config.window), self.scheduler, self.policy)
        self.plane = ControlPlane(
            config=config,
            client=self.client,
            broker=self.broker,
            registry=self.registry,
            scheduler=self.scheduler,
            tokens=TokenStore(self.client, config),
            workspaces=workspaces,
            audit=AuditTrail(self.trails),
            flags=self.flags,
            limits=LimitStore(self.client, config),
            budgets=BudgetStore(self.client, config),
            prices=prices,
            pricing=pricing,
            waiter=Waiter(lambda: CompletionFeed(config, self.client)),
            policy=self.policy,
            policies=self.policies,
            approvals=self.approvals,
        )
        self.keys = workspace_keys(config.key_prefix, workspace)
        self.fleet_keys = fleet_keys(config.key_prefix)
        self._leases = itertools.count(1)

    def close(self) -> None:
        self.plane.close()

    # --- agents ----------------------------------------------------------------------------------------------------

    def agent(self, agent_id: str = "a1", *capabilities: str, **more: Any) -> AgentSpec:
        """Register an agent; answers what it declared."""
        spec = AgentSpec(agent_id, canonical(capabilities or ("code",)), **more)
        self.registry.register(spec, owner="tests", takeover=True)
        return spec

    def session(self, spec: AgentSpec) -> str:
        return self.registry.get(spec.agent_id, spec.workspace).session

    def set_flag(self, name: str, flag: dict[str, Any], workspace: str | None = None) -> None:
        """The platform's, or the workspace's own; it holds at once."""
        self.flag_store.put(workspace, name, json.dumps(flag))
        self.flags.forget()

    # --- tasks -----------------------------------------------------------------------------------------------------

    def new(self, *capabilities: str, **more: Any) -> NewTask:
        given = {"workspace": self.workspace, "task_type": "t", "payload": b'{"n":1}'} | more
        return NewTask(required_capabilities=canonical(capabilities or ("code",)), **given)

    def submit(self, *capabilities: str, **more: Any) -> Task:
        task, _ = self.scheduler.submit(self.new(*capabilities, **more))
        return task

    def get(self, task_id: str) -> Task:
        return self.scheduler.get(self.workspace, task_id)

    def record(self, task_id: str) -> dict[str, bytes]:
        return self.tasks.get(self.workspace, task_id) or {}

    # --- attempts --------------------------------------------------------------------------------------------------

    def hold(self, ticket: Ticket, lease: str = "") -> Hold:
        return Hold(ticket.workspace, ticket.task_id, ticket.attempt, lease or f"lease-{next(self._leases)}")

    def claim(self, spec: AgentSpec, ticket: Ticket | None = None) -> Claim:
        """Claim what `ticket` names, or the next ticket there is."""
        ticket = ticket or self.broker.take()
        assert ticket is not None, "there is no ticket"
        claim = self.scheduler.claim(self.hold(ticket), spec)
        assert isinstance(claim, Claim), claim
        return claim

    def running(self, spec: AgentSpec, **more: Any) -> Claim:
        """A new task that `spec` has claimed."""
        task = self.submit(*spec.capabilities, **more)
        return self.claim(spec, self.broker.take_for(task.task_id))

    def finish(self, claim: Claim, spec: AgentSpec, result: Any = "done") -> Task:
        return self.scheduler.finish(claim.hold, json.dumps(result).encode(), spec)

    # --- the monitor -----------------------------------------------------------------------------------------------

    def monitor(self, **more: Any) -> Monitor:
        return Monitor(self.sweeps, self.broker, self.config, **more)

    def sweep(
        self,
        *,
        judge: bool = True,
        short: Sequence[str] = (),
        idle: Sequence[str] = (),
        epoch: int = 1,
        workspace: str | None = None,
    ) -> Look:
        """One look at the workspace by a leader of `epoch`; its tickets are sent."""
        (look,) = self.sweeps.sweep(
            epoch,
            [workspace or self.workspace],
            judge=judge,
            lanes=self.registry.lanes(),
            short=short,
            idle=idle,
            chance=0.5,
        )
        self.broker.send(look.tickets)
        return look

    def expire(self, task_id: str) -> None:
        """Its lease has run out: only tests may turn the clock."""
        self.client.zadd(self.keys("running"), {task_id: 1}, xx=True)
