"""The one file that picks implementations."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from aragora_cp.approvals import Approvals
from aragora_cp.audit import AuditTrail
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.engine.app import make_app
from aragora_cp.engine.tickets import CeleryBroker
from aragora_cp.health.delivery import Deliverer
from aragora_cp.health.monitor import HealthMonitor
from aragora_cp.health.pulse import Pulse
from aragora_cp.health.rules import RULES
from aragora_cp.health.sinks import Sink, make_sinks
from aragora_cp.lookout import Lookout
from aragora_cp.notary import Notary
from aragora_cp.policy.engine import PolicyEngine
from aragora_cp.policy.flags import SHADOW_RULES, Flags
from aragora_cp.policy.publishing import PolicyPublisher
from aragora_cp.ports import TicketBroker
from aragora_cp.reconciler import Monitor
from aragora_cp.registry import AgentRegistry
from aragora_cp.scheduler import TaskScheduler
from aragora_cp.store.agents import AgentStore
from aragora_cp.store.alerts import AlertStore
from aragora_cp.store.approvals import ApprovalStore
from aragora_cp.store.budgets import BudgetStore
from aragora_cp.store.completions import CompletionFeed
from aragora_cp.store.connection import connect
from aragora_cp.store.facts import FactStore
from aragora_cp.store.flags import FlagStore
from aragora_cp.store.health import HealthStore
from aragora_cp.store.limits import LimitStore
from aragora_cp.store.policies import PolicyStore
from aragora_cp.store.prices import PriceStore
from aragora_cp.store.queues import QueueStore
from aragora_cp.store.sweeps import SweepStore
from aragora_cp.store.tasks import TaskStore
from aragora_cp.store.tokens import TokenStore
from aragora_cp.store.trails import TrailStore
from aragora_cp.store.workspaces import WorkspaceStore
from aragora_cp.telemetry.meters import Tally
from aragora_cp.tenancy.cache import FreshCache
from aragora_cp.tenancy.pricing import Pricing
from aragora_cp.tenancy.signing import read_signer
from aragora_cp.tenancy.workspaces import Workspaces
from aragora_cp.waiter import Waiter
from aragora_cp.why import Explainer


@dataclass(frozen=True)
class HealthParts:
    """What a process tells of its own health and of the whole's."""

    store: HealthStore
    alerts: AlertStore
    sinks: tuple[Sink, ...]
    tally: Tally

    def pulse(self, kind: str, health: HealthMonitor) -> Pulse:
        return Pulse(kind, health, self.store, self.alerts, self.tally)

    def deliverer(self) -> Deliverer:
        return Deliverer(self.alerts, self.sinks, self.tally)


@dataclass(frozen=True)
class ControlPlane:
    """All parts of one process, over one pool of connections. Close it when done; do not carry it over a fork."""

    config: ControlPlaneConfig
    client: redis.Redis
    broker: TicketBroker
    registry: AgentRegistry
    scheduler: TaskScheduler
    tokens: TokenStore
    workspaces: Workspaces
    audit: AuditTrail
    flags: Flags
    limits: LimitStore
    budgets: BudgetStore
    prices: PriceStore
    pricing: Pricing
    waiter: Waiter
    policy: PolicyEngine
    policies: PolicyPublisher
    approvals: Approvals

    @property
    def queues(self) -> QueueStore:
        return QueueStore(self.client, self.config)

    def watch(self) -> HealthParts:
        """What tells of this control plane's health, made anew. Raises ConfigError when alerts are to go where they
        cannot."""
        sinks = make_sinks(self.config)
        refreshed = [sink.name for sink in sinks if sink.refreshed]
        alerts = AlertStore(self.client, self.config, RULES, [sink.name for sink in sinks], refreshed)
        return HealthParts(HealthStore(self.client, self.config), alerts, sinks, Tally())

    def monitor(self) -> Monitor:
        """Raises ConfigError when the key that is to sign the audit trail cannot be read."""
        signer = read_signer(self.config.audit_key_file) if self.config.audit_key_file else None
        notary = Notary(TrailStore(self.client, self.config), self.config, signer)
        watch = self.watch()
        lookout = Lookout(watch.store, watch.alerts, self.config, seal_lag=notary.lag)
        sweeps = SweepStore(self.client, self.config, self.flags)
        return Monitor(sweeps, self.broker, self.config, notary=notary, lookout=lookout)

    def explainer(self) -> Explainer:
        return Explainer(FactStore(self.client, self.config), self.registry, self.registry, self.flags)

    def close(self) -> None:
        """End the waits, the threads and the connections of this process."""
        self.waiter.close()
        self.flags.close()
        self.broker.close()
        self.client.close()


def build(config: ControlPlaneConfig, *, broker: TicketBroker | None = None) -> ControlPlane:
    """Put the parts together. Opens no connection yet."""
    client = connect(config)
    broker = broker or CeleryBroker(make_app(config))
    tasks = TaskStore(client, config)
    registry = AgentRegistry(AgentStore(client, config, tasks), config)
    flags = Flags(FlagStore(client, config))
    workspaces = Workspaces(WorkspaceStore(client, config))
    prices = PriceStore(client, config)
    pricing = Pricing(prices, workspaces)
    scheduler = TaskScheduler(tasks, broker, registry, config, switches=flags, price=pricing.priced)
    policies = PolicyStore(client, config)
    policy = PolicyEngine(
        policies,
        FreshCache(),
        shadows_on=lambda workspace: flags.flag_enabled(SHADOW_RULES, workspace, default=True),
    )
    return ControlPlane(
        config=config,
        client=client,
        broker=broker,
        registry=registry,
        scheduler=scheduler,
        tokens=TokenStore(client, config),
        workspaces=workspaces,
        audit=AuditTrail(TrailStore(client, config)),
        flags=flags,
        limits=LimitStore(client, config),
        budgets=BudgetStore(client, config),
        prices=prices,
        pricing=pricing,
        waiter=Waiter(lambda: CompletionFeed(config, client)),
        policy=policy,
        policies=PolicyPublisher(policies, policy),
        approvals=Approvals(ApprovalStore(tasks, config.window), scheduler, policy),
    )
