"""The records of the control plane: frozen, without I/O. States and their legal moves stand here, once.

Times are integer milliseconds since the epoch by the *store's* clock; durations in records are milliseconds
too (`_ms`), and seconds (float) only where a person or a caller names them. Payloads, results and errors are
opaque bytes (JSON) on their way through the store: Lua must never parse them, it would change large integers,
floats and empty lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, Generic, TypeVar

from aragora_cp.budgets import MOST_MICROS
from aragora_cp.ratelimits import RateLimit

T = TypeVar("T")

#: Money is counted in millionths of the currency's unit.
MICROS = 1_000_000


def to_micros(amount: Decimal | str) -> int:
    """Millionths of an amount in the currency's unit."""
    return round(Decimal(amount) * MICROS)


#: Written in place of a workspace for agents and tokens that belong to the platform.
PLATFORM = None


class TaskStatus(StrEnum):
    #: A policy holds it until people have approved it: it has no slot, no window, no place in a queue.
    HELD = "HELD"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        return self in FINAL


FINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})

#: The one table of legal moves. The scripts carry a copy rendered from it; the diagram in docs is drawn from it.
#: What was held once is held again when it is to run again: its approval was for one time.
#: PENDING → COMPLETED is the late result of an attempt whose lease ran out before anyone else claimed.
LEGAL_MOVES: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.HELD: frozenset({TaskStatus.PENDING, TaskStatus.FAILED, TaskStatus.CANCELLED}),
    TaskStatus.PENDING: frozenset({TaskStatus.RUNNING, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.PENDING, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}),
    TaskStatus.COMPLETED: frozenset(),
    TaskStatus.FAILED: frozenset({TaskStatus.PENDING, TaskStatus.HELD}),
    TaskStatus.CANCELLED: frozenset({TaskStatus.PENDING, TaskStatus.HELD}),
}


class Priority(IntEnum):
    """Smaller is more urgent, as on Celery's Redis transport; `engine.tickets` turns it round for RabbitMQ."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @property
    def label(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Priority:
        """Raises ValueError when `text` is not one of the four lower-case names."""
        for priority in cls:
            if priority.label == text:
                return priority
        raise ValueError(f"must be one of: {', '.join(p.label for p in cls)}")


class AgentStatus(StrEnum):
    IDLE = "IDLE"
    BUSY = "BUSY"
    DRAINING = "DRAINING"
    OFFLINE = "OFFLINE"


class ErrorCode(StrEnum):
    """`error.code` of a task that did not complete, and of each entry of its history."""

    HANDLER_ERROR = "handler-error"
    INVALID_PAYLOAD = "invalid-payload"
    NO_HANDLER = "no-handler"
    TIMEOUT = "timeout"
    AGENT_LOST = "agent-lost"
    EXPIRED = "expired"
    POISONED = "poisoned"
    RESULT_TOO_LARGE = "result-too-large"
    RESULT_NOT_SERIALISABLE = "result-not-serialisable"
    REJECTED = "rejected"
    BUDGET_EXCEEDED = "budget-exceeded"
    UNREADABLE = "unreadable"
    UPSTREAM_ERROR = "upstream-error"


class Role(StrEnum):
    ADMIN = "admin"
    OPERATOR = "operator"
    SUBMITTER = "submitter"
    VIEWER = "viewer"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Scopes:
    """What a token is narrowed to, beside its role; None: not narrowed in that respect. `networks` in CIDR notation."""

    task_types: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, as tenancy found out: `workspace` is None for the platform itself."""

    token_id: str
    workspace: str | None
    role: Role
    correlation_id: str = ""
    scopes: Scopes = Scopes()

    @property
    def actor(self) -> str:
        return f"token:{self.token_id}"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds: the n-th retry waits `initial * factor**(n-1)`, at most `maximum`; with jitter a uniform share of it."""

    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 60.0
    jitter: bool = True


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a caller asks for, validated, before the store has seen it. Durations in seconds."""

    workspace: str
    task_type: str
    payload: bytes
    required_capabilities: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL
    #: The handle of the one agent that may run it.
    agent_id: str | None = None
    timeout: float = 300.0
    queue_timeout: float | None = None
    max_retries: int = 3
    retry: RetryPolicy = RetryPolicy()
    delay: float | None = None
    run_at_ms: int | None = None
    idempotency_key: str | None = None
    cache_ttl: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    correlation_id: str = ""
    actor: str = ""
    parent_id: str | None = None
    #: Which agents may run it: auto, private or shared; empty: as the workspace has it.
    placement: str = ""
    #: What it may cost, in millionths; None: the caller does not know.
    estimate_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """What a rule demands before a task may run: so many people's approval, within so many ms."""

    quorum: int
    expires_ms: int


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"
    #: Allowed as soon as enough people have approved it.
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says of one request. `rules` decided it, in this version; `request` is what was judged (JSON
    without payload), `differing` are policies in shadow mode, as `<name>@<version>`, that would have decided
    otherwise."""

    decision_id: str
    effect: Effect
    rules: tuple[str, ...]
    version: str
    reason: str
    request: str
    demand: Demand | None = None
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """How far the approval of a task is that a policy held; `approved_by` are actors, `expires_at` is ms. It is for
    the payload with this digest, under this version of the policy."""

    required: int
    approved_by: tuple[str, ...]
    expires_at: int
    rules: tuple[str, ...]
    version: str
    digest: str
    submitted_by: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt has used since it said so last; reports add up. Money in millionths of the currency's unit, None
    when it is to be worked out from the tokens; `price` is the version of the price that did. `cached_tokens` are those
    of the input tokens that came from a cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""
    cost_micros: int | None = None
    cached_tokens: int = 0
    price: str = ""

    @classmethod
    def of(
        cls,
        input_tokens: int = 0,
        output_tokens: int = 0,
        model: str = "",
        cost: Decimal | str | None = None,
        cached_tokens: int = 0,
    ) -> Usage:
        """With `cost` in the currency's unit. Raises ValueError for one that cannot be counted."""
        micros = None if cost is None else to_micros(cost)
        if micros is not None and not 0 <= micros <= MOST_MICROS:
            raise ValueError("cost must be from 0 to 1000000000")
        return cls(input_tokens, output_tokens, model, micros, cached_tokens)


@dataclass(frozen=True, slots=True)
class RateStanding:
    """A rate limit as it stands: `limit` submits in `period` seconds, of which `left` may come at once now; all of them
    again in `reset` seconds."""

    name: str
    limit: int
    period: float
    left: int
    reset: float


@dataclass(frozen=True, slots=True)
class Workspace:
    """One tenant and its settings. None is no limit, or the configuration's; `retention` is seconds."""

    workspace: str
    name: str = ""
    status: str = "active"
    weight: int = 1
    max_pending: int | None = None
    max_running: int | None = None
    max_payload_bytes: int | None = None
    max_result_bytes: int | None = None
    max_agents: int | None = None
    max_tokens: int | None = None
    retention: float | None = None
    placement: str = "auto"
    encryption: bool = False
    #: By name; None: the platform's.
    rate_limits: Mapping[str, RateLimit] | None = None
    #: What a million tokens of a model without a price cost, as decimal text, or `refuse`; None: nothing.
    unknown_price: str | None = None
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a submit: the task that answers for it, whether it is a new one, and for a new one the rate limits
    as they stand after it."""

    task: Task
    created: bool
    rate_limits: tuple[RateStanding, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One task as the store has it. `payload`, `result` and `error` are decoded JSON; `payload` is None unless asked
    for."""

    task_id: str
    workspace: str
    task_type: str
    status: TaskStatus
    priority: Priority
    required_capabilities: tuple[str, ...]
    attempt: int
    max_retries: int
    retries: int
    losses: int
    timeout: float
    queue_timeout: float | None
    agent_id: str | None
    #: The handle of the one agent that may run it.
    target_agent_id: str | None
    lane: str | None
    payload: Any
    result: Any
    error: Mapping[str, Any] | None
    progress: Mapping[str, Any] | None
    usage: Mapping[str, Any] | None
    cost: str | None
    cached: bool
    created_at: int
    run_at: int | None
    started_at: int | None
    finished_at: int | None
    next_attempt_at: int | None
    parent_id: str | None
    correlation_id: str
    metadata: Mapping[str, str]
    #: Of a task that a policy held, also after it was let go.
    approval: Approval | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a broker message says. It gives no right to the task: its holder must still claim."""

    workspace: str
    task_id: str
    attempt: int
    lane: str
    priority: Priority
    task_type: str
    timeout: float
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Hold:
    """An agent's hold on one attempt: every write carries it, and a write with an old one changes nothing."""

    workspace: str
    task_id: str
    attempt: int
    lease: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A granted claim. `task.payload` is filled; `deadline_ms` is when this attempt's time limit ends."""

    hold: Hold
    task: Task
    lease_expires_at: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not complete. `lost` marks what the delivery lost (process or agent gone), not the handler."""

    code: ErrorCode
    message: str
    retryable: bool
    lost: bool = False


def agent_handle(agent_id: str, workspace: str | None) -> str:
    """What tells an agent from all others of the fleet: `<id>` for a shared one (`workspace` None), `<workspace>/<id>`
    for a private one. So no workspace can see which ids another one uses."""
    return agent_id if workspace is None else f"{workspace}/{agent_id}"


def read_handle(handle: str) -> tuple[str, str | None]:
    """The inverse of `agent_handle`: id and workspace."""
    workspace, slash, agent_id = handle.rpartition("/")
    return agent_id, workspace if slash else None


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What an agent declares when it registers. `workspace` None: shared by all workspaces."""

    agent_id: str
    capabilities: tuple[str, ...]
    model: str = ""
    workspace: str | None = None
    concurrency: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    task_types: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "celery"

    @property
    def handle(self) -> str:
        return agent_handle(self.agent_id, self.workspace)


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent as the registry has it; `running` are task ids, no more than a second old."""

    agent_id: str
    workspace: str | None
    capabilities: tuple[str, ...]
    model: str
    status: AgentStatus
    concurrency: int
    running: tuple[str, ...]
    breaker: str
    labels: Mapping[str, str]
    version: str
    session: str
    registered_at: int
    last_heartbeat: int
    completed: int
    failed: int
    lane: str
    task_types: Mapping[str, Any]

    @property
    def handle(self) -> str:
        return agent_handle(self.agent_id, self.workspace)


@dataclass(frozen=True, slots=True)
class Standing:
    """What an agent's circuit breaker lets it do: `state` is closed, open, half-open or paused (its model's breaker is
    open, or its upstream asked for a pause), `pause` the seconds for which it shall take nothing."""

    state: str = "closed"
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """An agent's circuit breaker, and its model's. `until`: end of the open or forced time. `calls`, `failed` and
    `slow` are the window's; `spared`: it would be open if its lane could spare it. `paused_until`: of the upstream's
    pause, or the model's breaker."""

    state: str
    until: int | None
    forced: bool
    reason: str
    actor: str
    trips: int
    calls: int
    failed: int
    slow: int
    spared: bool
    model: str
    model_state: str
    paused_until: int | None


@dataclass(frozen=True, slots=True)
class Beat:
    """What an agent is told in answer to a heartbeat: of which attempts the task was cancelled, and which it does not
    hold (any more). By hold, not by task: it may have a doubled ticket of a task in hand that it rightly runs."""

    cancel: tuple[Hold, ...]
    lost: tuple[Hold, ...]
    drain: bool
    standing: Standing = Standing()


@dataclass(frozen=True, slots=True)
class Lane:
    """All live agents of one pool with the same capabilities. `slots` counts what may take new work,
    `running` and `tickets` are the leader's last count over all workspaces (at most a second old). `off`: what its
    agents could do beside `capabilities`, and is switched off for the workspace at hand. `ejected`: agents that their
    own breakers keep out."""

    name: str
    pool: str
    capabilities: frozenset[str]
    slots: int
    running: int = 0
    tickets: int = 0
    off: frozenset[str] = frozenset()
    ejected: int = 0

    @property
    def free(self) -> int:
        return max(0, self.slots - self.running)


@dataclass(frozen=True, slots=True)
class FlagVersion:
    """What a feature flag says since `at`, in flagd's JSON; '' when it was deleted then. `by` is the actor."""

    name: str
    version: int
    at: int
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: tuple[T, ...]
    next_cursor: str | None
