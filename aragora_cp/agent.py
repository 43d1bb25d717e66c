"""What an agent's author uses: Agent, @agent.task, Context."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from aragora_cp.agent_host import Handler, LocalAgentHost
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.context import Context
from aragora_cp.engine.app import run_worker
from aragora_cp.errors import ConfigError
from aragora_cp.lanes import AGENT_ID, TASK_TYPE, canonical

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["Agent", "Context"]

F = TypeVar("F", bound=Callable[..., Any])


class Agent:
    """An agent: its capabilities and a handler for each task type that it runs.

    ``agent.app`` is a Celery app, so ``celery -A workers.code worker`` runs it as it is, and
    ``aragora-cp worker workers.code:agent`` does the same with options of its own. Nothing is opened or read from the
    environment before one of these.
    """

    def __init__(
        self,
        agent_id: str | None = None,
        *,
        capabilities: list[str] | tuple[str, ...],
        model: str = "",
        concurrency: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """`agent_id` defaults to ``<module>-<host>-<n>`` with the first n that is free; `concurrency` (tasks at once)
        to 1. Every argument can be overridden where the agent is started. Raises ConfigError."""
        if agent_id is not None and not AGENT_ID.fullmatch(agent_id):
            raise ConfigError(f"{agent_id!r} is not an agent id: 1 to 128 of letters, digits and . _ - are")
        if concurrency is not None and concurrency < 1:
            raise ConfigError("an agent's concurrency must be at least 1")
        try:
            self.capabilities = canonical(capabilities)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self.agent_id = agent_id
        self.model = model
        self.concurrency = concurrency
        self.labels = dict(labels or {})
        self.module = _callers_module()
        self.handlers: dict[str, Handler] = {}
        self._app: Celery | None = None
        self._lock = threading.Lock()

    def task(self, task_type: str, *, schema: Any = None) -> Callable[[F], F]:
        """Make a function the handler of `task_type`: ``handler(payload, ctx)`` answers JSON; it may be ``async``.

        `schema` is a marshmallow Schema, class or instance: a payload that does not fit fails as `invalid-payload`,
        without retries, and the handler gets the loaded one. Raises ConfigError for a bad or doubled name."""
        if not TASK_TYPE.fullmatch(task_type):
            raise ConfigError(f"{task_type!r} is not a task type: 1 to 128 of letters, digits and . _ : - are")
        if task_type in self.handlers:
            raise ConfigError(f"there are two handlers for {task_type!r}")

        def register(function: F) -> F:
            self.handlers[task_type] = Handler(task_type, function, schema() if isinstance(schema, type) else schema)
            return function

        return register

    @property
    def app(self) -> Celery:
        """The Celery app that runs this agent, configured from the environment."""
        with self._lock:
            if self._app is None:
                self._app = LocalAgentHost(self, ControlPlaneConfig.from_env()).make_app()
            return self._app

    def numbered_id(self, n: int) -> str:
        """``<module>-<host>-<n>`` with what an agent id allows."""
        name = f"{self.module.rsplit('.', 1)[-1]}-{socket.gethostname().split('.')[0]}-{n}"
        return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)[:128]

    def run(
        self,
        *,
        agent_id: str | None = None,
        concurrency: int | None = None,
        pool: str = "prefork",
        token: str | None = None,
        config: ControlPlaneConfig | None = None,
    ) -> int:
        """Run until told to stop; answers the exit status. Raises ConfigError."""
        if pool not in ("prefork", "threads"):
            raise ConfigError(f"the pool must be prefork or threads, not {pool!r}")
        host = LocalAgentHost(self, config or ControlPlaneConfig.from_env(), agent_id=agent_id, token=token)
        self._app = host.make_app()
        return run_worker(self._app, pool=pool, concurrency=concurrency)


def _callers_module() -> str:
    name = str(sys._getframe(2).f_globals.get("__name__", "agent"))
    if name == "__main__":
        return os.path.splitext(os.path.basename(sys.argv[0] or "agent"))[0]
    return name
