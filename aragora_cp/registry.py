"""AgentRegistry: who is there, what they can do, whether they are alive."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import AgentConflict, Conflict, NotFound, StaleSession
from aragora_cp.model import Agent, AgentSpec, AgentStatus, Beat, Hold, Lane, Page
from aragora_cp.store.agents import SHARED_SCOPE, AgentStore, read_agent

#: How old the local copy of the lanes may be, in seconds.
LANES_FRESH = 0.5


class AgentRegistry:
    """Registration, heartbeats, and the lanes that follow from them. Safe to share between threads.

    Implements `ports.LaneDirectory`. A workspace sees the shared agents and its own; another workspace's agent is
    NotFound.
    Raises StoreUnavailable from every method.
    """

    def __init__(
        self,
        store: AgentStore,
        config: ControlPlaneConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        new_session: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._new_session = new_session
        self._lock = threading.Lock()
        self._lanes: tuple[Lane, ...] = ()
        self._lanes_at = float("-inf")

    def register(self, spec: AgentSpec, *, owner: str, takeover: bool) -> tuple[Agent, bool]:
        """Enter an agent; answers it (with its new session) and whether it is new. One round trip.

        With `takeover` a live process of the same `owner` gives way (its calls are StaleSession from then on); without,
        AgentConflict. An id that another owner or workspace holds is a Conflict.
        """
        word, record = self._store.register(spec, session=self._new_session(), owner=owner, takeover=takeover)
        if word == "foreign" or record is None:
            raise Conflict(f"the agent id {spec.agent_id!r} is taken")
        if word == "alive":
            raise AgentConflict(
                f"an agent called {spec.agent_id!r} is alive already; stop it first, or choose another id"
            )
        agent = read_agent(spec.agent_id, record, int(record["last_heartbeat"]), self._config.heartbeat_timeout_ms)
        return agent, word == "created"

    def heartbeat(
        self,
        agent_id: str,
        session: str,
        holds: Sequence[Hold] = (),
        *,
        running: Sequence[str] | None = None,
        completed: int = 0,
        failed: int = 0,
        stuck: int = 0,
    ) -> Beat:
        """One beat: the agent is alive until `heartbeat_timeout` from now, and all its leases with it. One round trip.

        `completed` and `failed` count attempts since the last beat; `stuck` slots take no new work (their handlers
        outlived
        their attempts and cannot be killed). Raises NotFound for an unknown agent, StaleSession
        when another process has registered under this id (its attempts then end with their leases).
        """
        ids = [hold.task_id for hold in holds] if running is None else running
        word, found = self._store.beat(
            agent_id, session, holds, running=ids, completed=completed, failed=failed, stuck=stuck
        )
        if word == "unknown":
            raise NotFound(f"there is no agent {agent_id!r}")
        if word == "stale":
            raise StaleSession
        return Beat(
            cancel=tuple(hold for hold, state in found.items() if state == "cancelled"),
            lost=tuple(hold for hold, state in found.items() if state in ("lost", "late", "ended")),
            drain=word == "drain",
        )

    def leave(self, agent_id: str, session: str) -> None:
        """The agent's process ends: it is offline from now on. A newer session is left alone. One round trip."""
        self._store.leave(agent_id, session)

    def remove(self, agent_id: str, workspace: str | None) -> None:
        """Forget an agent. Raises NotFound. Two round trips."""
        self.get(agent_id, workspace)
        self._store.leave(agent_id, remove=True)

    def drain(self, agent_id: str, workspace: str | None) -> Agent:
        """No new task for this agent; what runs is finished. Raises NotFound. Three round trips."""
        return self._set_drain(agent_id, workspace, True)

    def resume(self, agent_id: str, workspace: str | None) -> Agent:
        """Undo `drain`. Raises NotFound. Three round trips."""
        return self._set_drain(agent_id, workspace, False)

    def get(self, agent_id: str, workspace: str | None) -> Agent:
        """One agent, as `workspace` may see it (None: the platform sees all). Raises NotFound. One round trip."""
        record, now = self._store.get(agent_id)
        if record is None:
            raise NotFound(f"there is no agent {agent_id!r}")
        agent = read_agent(agent_id, record, now, self._config.heartbeat_timeout_ms)
        if workspace is not None and agent.workspace not in (None, workspace):
            raise NotFound(f"there is no agent {agent_id!r}")
        return agent

    def list(
        self,
        workspace: str,
        *,
        status: AgentStatus | None = None,
        capability: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Agent]:
        """Shared agents and those of `workspace`, by id. `cursor` is the last id of the page before. Two round trips a
        page, more while a filter leaves few (bounded)."""
        found: list[Agent] = []
        after = cursor or ""
        for _ in range(_MOST_LOOKS):
            rows, now = self._store.page((SHARED_SCOPE, workspace), after, limit)
            for agent_id, record in rows:
                agent = read_agent(agent_id, record, now, self._config.heartbeat_timeout_ms)
                if (status is None or agent.status == status) and (
                    capability is None or capability in agent.capabilities
                ):
                    found.append(agent)
                    if len(found) == limit:
                        last_row = agent_id == rows[-1][0] and len(rows) < limit
                        return Page(tuple(found), None if last_row else agent_id)
            if len(rows) < limit:
                return Page(tuple(found), None)
            after = rows[-1][0]
        return Page(tuple(found), after)

    def lanes(self) -> tuple[Lane, ...]:
        """Every lane with an agent that is not offline, from a copy at most half a second old; no round trip then."""
        if self._clock() - self._lanes_at < LANES_FRESH:
            return self._lanes
        with self._lock:
            if self._clock() - self._lanes_at >= LANES_FRESH:
                self._lanes = tuple(self._store.lanes())
                self._lanes_at = self._clock()
        return self._lanes

    def has_agent(self, agent_id: str, workspace: str) -> bool:
        """Whether `workspace` may send tasks to this agent, alive or not. One round trip."""
        try:
            self.get(agent_id, workspace)
        except NotFound:
            return False
        return True

    def _set_drain(self, agent_id: str, workspace: str | None, drain: bool) -> Agent:
        self.get(agent_id, workspace)
        if self._store.drain(agent_id, drain) is None:
            raise NotFound(f"there is no agent {agent_id!r}")
        return self.get(agent_id, workspace)


_MOST_LOOKS = 10
