"""LocalAgentHost: an agent in this process, as the engine wants it (`ports.AgentHost`)."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from aragora_cp._version import __version__
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.context import Context
from aragora_cp.engine.agent_step import install_steps
from aragora_cp.engine.app import make_app
from aragora_cp.engine.backend import SchedulerBackend
from aragora_cp.engine.task import register_task
from aragora_cp.errors import AgentConflict, AragoraError, AttemptFailed, ConfigError, StoreUnavailable, Unauthenticated
from aragora_cp.lanes import AGENT_ID
from aragora_cp.model import AgentSpec, Beat, Caller, Claim, ErrorCode, Hold, Role
from aragora_cp.policy.requests import Principal, register_request
from aragora_cp.scheduler import TaskScheduler
from aragora_cp.store.codec import NotJson, dumps
from aragora_cp.store.inspection import Inspector
from aragora_cp.store.vault import MOST_WORKSPACES, Vault
from aragora_cp.telemetry import subject
from aragora_cp.tenancy.scopes import require_agent
from aragora_cp.tenancy.tokens import check_token
from aragora_cp.tenancy.workspaces import DEFAULT_WORKSPACE
from aragora_cp.wiring import ControlPlane, build

if TYPE_CHECKING:
    from celery import Celery

    from aragora_cp.agent import Agent

#: How often a process that finds its id taken looks whether the other one still beats, in seconds.
_LOOK_EVERY = 0.5
_MOST_NUMBERS = 1000
_SET_KEYS = "set ARAGORA_CP_ENCRYPTION_KEYS or ARAGORA_CP_ENCRYPTION_KEY_FILE"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Handler:
    """A task type's function and the schema of its payload (None: any)."""

    task_type: str
    function: Callable[..., Any]
    schema: Any = None


class LocalAgentHost:
    """Knows the agent's identity in its parent process, and performs attempts in its children."""

    def __init__(
        self, agent: Agent, config: ControlPlaneConfig, *, agent_id: str | None = None, token: str | None = None
    ) -> None:
        self.config = config
        self._agent = agent
        self._named = agent_id
        self._token = token or config.agent_token
        self._spec: AgentSpec | None = None
        self._session = ""
        self._plane: ControlPlane | None = None
        self._pid = 0

    def make_app(self) -> Celery:
        """The Celery app that runs this agent."""
        app = make_app(self.config, backend=SchedulerBackend)
        app.conf.worker_concurrency = self._agent.concurrency or 1
        register_task(app, self)
        install_steps(app, self)
        return app

    @property
    def spec(self) -> AgentSpec:
        if self._spec is None:
            raise ConfigError("the agent has not registered yet")
        return self._spec

    @property
    def scheduler(self) -> TaskScheduler:
        return self._parts().scheduler

    def prepare(self, *, node: str | None, concurrency: int | None, pool: str) -> str:
        """See the port. Raises ConfigError, Unauthenticated, Forbidden, PolicyDenied, PolicyUnavailable, AgentConflict,
        QuotaExceeded, StoreUnavailable."""
        if pool not in ("prefork", "threads"):
            raise ConfigError(f"the {pool} pool cannot keep time limits; use prefork or threads")
        if not self._agent.handlers:
            raise ConfigError("the agent has no handler; decorate one with @agent.task(...)")
        if not isinstance(concurrency, int | None):
            raise ConfigError(f"an agent's concurrency is a whole number, not {concurrency!r}")
        named = self._named or node or self._agent.agent_id
        if named is not None and not AGENT_ID.fullmatch(named):
            raise ConfigError(f"{named!r} is not an agent id")
        caller = self._caller()
        require_agent(caller, self._agent.capabilities, self._agent.handlers)
        self._look_for_keys(caller.workspace)
        draft = AgentSpec(
            agent_id=named or "",
            capabilities=self._agent.capabilities,
            model=self._agent.model,
            workspace=caller.workspace,
            concurrency=concurrency or self._agent.concurrency or 1,
            labels=self._agent.labels | {"pool": pool},
            version=__version__,
            task_types={name: {} for name in sorted(self._agent.handlers)},
        )
        self._parts().policy.require(
            register_request(Principal.of(caller), caller.workspace or DEFAULT_WORKSPACE, draft),
            actor=caller.actor,
            target=draft.agent_id,
        )
        self._spec = self._enter(draft) if named else self._enter_numbered(draft)
        return self._spec.agent_id

    def beat(self, holds: Sequence[Hold], *, completed: int, failed: int, stuck: int) -> Beat:
        return self._parts().registry.heartbeat(
            self.spec.handle, self._session, holds, completed=completed, failed=failed, stuck=stuck
        )

    def drain(self) -> None:
        try:
            self._parts().registry.stop_taking(self.spec.handle)
        except AragoraError:
            structlog.get_logger(__name__).debug("draining without saying so")

    def leave(self) -> None:
        if not self._session or self._pid != os.getpid():
            return
        try:
            self._parts().registry.leave(self.spec.handle, self._session)
        except AragoraError:
            structlog.get_logger(__name__).debug("left without saying so")

    def perform(self, claim: Claim, interrupted: Callable[[], bool]) -> bytes:
        """See the port."""
        task = claim.task
        handler = self._agent.handlers.get(task.task_type)
        if handler is None:
            # Another agent of the lane may know it (a rolling deployment), so it is retried.
            raise AttemptFailed(
                ErrorCode.NO_HANDLER,
                f"agent {self.spec.agent_id} has no handler for {task.task_type!r}",
                retryable=True,
            )
        payload = _validated(handler, task.payload)
        context = Context(self._parts(), self.spec, claim, interrupted)
        with subject.about(claim.hold, task.correlation_id, agent_id=self.spec.agent_id):
            result = handler.function(payload, context)
            if inspect.isawaitable(result):
                result = asyncio.run(_awaited(result))
        try:
            body = dumps(result)
        except NotJson as error:
            raise AttemptFailed(
                ErrorCode.RESULT_NOT_SERIALISABLE, f"the handler's result is not JSON: {error}", retryable=False
            ) from None
        most = self._most_bytes(task.workspace)
        if len(body) > most:
            raise AttemptFailed(
                ErrorCode.RESULT_TOO_LARGE,
                f"the result has {len(body)} bytes, {most} are allowed",
                retryable=False,
            )
        return body

    def _most_bytes(self, workspace: str) -> int:
        """Of a result. While the store is away it is the configuration's limit: the attempt shall be reported later."""
        try:
            own = self._parts().workspaces.find(workspace)
        except StoreUnavailable:
            own = None
        return (own and own.max_result_bytes) or self.config.max_result_bytes

    # --- identity --------------------------------------------------------------------------------------------------

    def _caller(self) -> Caller:
        if not self._token:
            raise ConfigError("an agent needs a token; set ARAGORA_CP_AGENT_TOKEN")
        plane = self._parts()
        caller = check_token(plane.tokens, self._token)
        if caller.role not in (Role.AGENT, Role.ADMIN):
            raise Unauthenticated(f"the agent's token has the role {caller.role}; it needs the role agent")
        if caller.workspace is not None and plane.workspaces.find(caller.workspace) is None:
            raise Unauthenticated("the token's workspace is deleted")
        return caller

    def _look_for_keys(self, workspace: str | None) -> None:
        """Say in one line that a root key is missing here; of no use without it is an agent of one workspace only."""
        plane = self._parts()
        names = [workspace] if workspace else Inspector(plane.client, self.config).workspaces()[:MOST_WORKSPACES]
        closed = Vault(plane.client, self.config).closed(names)
        if closed and workspace:
            raise ConfigError(f"the workspace {workspace} is encrypted and its root key is not here; {_SET_KEYS}")
        if closed:
            told = ", ".join(closed[:3]) + (f" and {len(closed) - 3} more" if len(closed) > 3 else "")
            log.warning("no work for workspaces whose root key is not here", workspaces=told, advice=_SET_KEYS)

    def _enter(self, spec: AgentSpec) -> AgentSpec:
        """Register; while another process is alive under this id, wait until it has been silent for long enough."""
        give_up = time.monotonic() + self.config.heartbeat_timeout + 2
        last: int | None = None
        while True:
            try:
                agent, _ = self._parts().registry.register(spec, owner="celery", takeover=False)
            except AgentConflict:
                beat = self._parts().registry.own(spec.handle).last_heartbeat
                if (last is not None and beat != last) or time.monotonic() >= give_up:
                    raise
                last = beat
                time.sleep(_LOOK_EVERY)
            else:
                self._session = agent.session
                return spec

    def _enter_numbered(self, spec: AgentSpec) -> AgentSpec:
        for n in range(1, _MOST_NUMBERS):
            numbered = replace(spec, agent_id=self._agent.numbered_id(n))
            try:
                agent, _ = self._parts().registry.register(numbered, owner="celery", takeover=False)
            except AgentConflict:
                continue
            self._session = agent.session
            return numbered
        raise AgentConflict("too many agents of this module on this host")

    def _parts(self) -> ControlPlane:
        """This process's parts: connections do not survive a fork."""
        if self._plane is None or self._pid != os.getpid():
            self._plane, self._pid = build(self.config), os.getpid()
        return self._plane


def _validated(handler: Handler, payload: Any) -> Any:
    if handler.schema is None:
        return payload
    try:
        return handler.schema.load(payload)
    except Exception as error:
        # marshmallow's ValidationError, known by what it can tell: agents may bring another schema library.
        told = getattr(error, "normalized_messages", None)
        if told is None:
            raise
        text = "; ".join(f"{name}: {why}" for name, why in told().items())
        raise AttemptFailed(
            ErrorCode.INVALID_PAYLOAD, f"the payload does not fit {handler.task_type}: {text}", retryable=False
        ) from None


async def _awaited(result: Any) -> Any:
    return await result
