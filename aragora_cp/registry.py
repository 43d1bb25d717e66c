"""AgentRegistry: who is there, what they can do, whether they are alive."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import AgentConflict, Conflict, NotFound, StaleSession
from aragora_cp.health.breaker import Outcome, rules
from aragora_cp.model import Agent, AgentSpec, AgentStatus, Beat, Breaker, Hold, Lane, Page, agent_handle, read_handle
from aragora_cp.store.agents import AgentStore, read_agent

#: What the states of leases that a heartbeat finds say of an attempt.
_ENDS = {"cancelled": Outcome.NONE, "lost": Outcome.LOST, "late": Outcome.LOST, "ended": Outcome.LOST}

#: How old the local copy of the lanes may be, in seconds.
LANES_FRESH = 0.5


class AgentRegistry:
    """Registration, heartbeats, and the lanes that follow from them. Safe to share between threads.

    Implements `ports.LaneDirectory`. A workspace sees the shared agents and its own, which hide shared ones of the same
    id; another workspace's agent is NotFound. An agent's own process is known by its handle (`model.agent_handle`).
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
        AgentConflict. An id that another owner holds in the same pool is a Conflict. Raises QuotaExceeded when the
        workspace has as many agents that are not offline as it may have.
        """
        word, record = self._store.register(
            spec, session=self._new_session(), owner=owner, takeover=takeover, rules=rules(self._config)
        )
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
        handle: str,
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
        word, standing, found = self._store.beat(
            handle, session, holds, running=ids, completed=completed, failed=failed, stuck=stuck
        )
        if word == "unknown":
            raise _no_agent(read_handle(handle)[0])
        if word == "stale":
            raise StaleSession
        self._settle(handle, found)
        return Beat(
            cancel=tuple(hold for hold, state in found.items() if state == "cancelled"),
            lost=tuple(hold for hold, state in found.items() if state in ("lost", "late", "ended")),
            drain=word == "drain",
            standing=standing,
        )

    def _settle(self, handle: str, found: Mapping[Hold, str]) -> None:
        """Tell the breaker of attempts that ended without the agent's word: by a time limit or a lease that ran out, or
        because the task was cancelled, which is nobody's fault. A round trip when there are any."""
        ends = {hold: _ENDS[state] for hold, state in found.items() if state in _ENDS}
        if ends:
            breakers = self._store.breakers
            breakers.tell([breakers.end(handle, hold, outcome) for hold, outcome in ends.items()])

    def force_breaker(self, agent_id: str, workspace: str | None, word: str, *, reason: str, seconds: float) -> Breaker:
        """Hold an agent's breaker ``open`` or ``closed`` for so long, or ``auto``: give it back to itself, fresh.
        Raises NotFound. Five round trips."""
        handle = self.get(agent_id, workspace).handle
        if not self._store.breakers.force(handle, word, reason=reason, seconds=seconds):
            raise _no_agent(agent_id)
        return self.breaker(agent_id, workspace)

    def breaker(self, agent_id: str, workspace: str | None) -> Breaker:
        """An agent's breaker, and its model's. Raises NotFound. Three round trips."""
        handle = self.get(agent_id, workspace).handle
        found = self._store.breakers.find(handle)
        if found is None:
            raise _no_agent(agent_id)
        return found

    def leave(self, handle: str, session: str) -> None:
        """The agent's process ends: it is offline from now on. A newer session is left alone. One round trip."""
        self._store.leave(handle, session)

    def own(self, handle: str) -> Agent:
        """The agent of this very handle; unlike `get` it looks at no record of another pool, which a private agent's
        process may not read. Raises NotFound. One round trip."""
        records, now = self._store.find([handle])
        agent_id = read_handle(handle)[0]
        if records[0] is None:
            raise _no_agent(agent_id)
        return read_agent(agent_id, records[0], now, self._config.heartbeat_timeout_ms)

    def stop_taking(self, handle: str) -> None:
        """The agent's own process takes nothing new: it is about to leave. Raises NotFound. One round trip."""
        if self._store.drain(handle, True) is None:
            raise _no_agent(read_handle(handle)[0])

    def remove(self, agent_id: str, workspace: str | None) -> None:
        """Forget an agent. Raises NotFound. Two round trips."""
        self._store.leave(self.get(agent_id, workspace).handle, remove=True)

    def drain(self, agent_id: str, workspace: str | None) -> Agent:
        """No new task for this agent; what runs is finished. Raises NotFound. Three round trips."""
        return self._set_drain(agent_id, workspace, True)

    def resume(self, agent_id: str, workspace: str | None) -> Agent:
        """Undo `drain`. Raises NotFound. Three round trips."""
        return self._set_drain(agent_id, workspace, False)

    def get(self, agent_id: str, workspace: str | None) -> Agent:
        """One agent, as `workspace` may see it; None: a shared one. Raises NotFound. One round trip."""
        scopes = [None] if workspace is None else [workspace, None]
        records, now = self._store.find([agent_handle(agent_id, scope) for scope in scopes])
        for record in records:
            if record is not None:
                return read_agent(agent_id, record, now, self._config.heartbeat_timeout_ms)
        raise _no_agent(agent_id)

    def list(
        self,
        workspace: str,
        *,
        status: AgentStatus | None = None,
        capability: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        as_seen: Callable[[Sequence[Agent]], Sequence[Agent]] = tuple,
    ) -> Page[Agent]:
        """Shared agents and those of `workspace`, by id. `cursor` is the last id of the page before; `as_seen` makes of
        agents what the caller may know of them, before they are filtered. Two round trips a page, more while a filter
        leaves few (bounded)."""
        found: list[Agent] = []
        after = cursor or ""
        for _ in range(_MOST_LOOKS):
            rows, now = self._store.page(workspace, after, limit)
            timeout = self._config.heartbeat_timeout_ms
            for agent in as_seen([read_agent(agent_id, record, now, timeout) for agent_id, record in rows]):
                if (status is None or agent.status == status) and (
                    capability is None or capability in agent.capabilities
                ):
                    found.append(agent)
                    if len(found) == limit:
                        last_row = agent.agent_id == rows[-1][0] and len(rows) < limit
                        return Page(tuple(found), None if last_row else agent.agent_id)
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

    def _set_drain(self, agent_id: str, workspace: str | None, drain: bool) -> Agent:
        if self._store.drain(self.get(agent_id, workspace).handle, drain) is None:
            raise _no_agent(agent_id)
        return self.get(agent_id, workspace)


def _no_agent(agent_id: str) -> NotFound:
    return NotFound(f"there is no agent {agent_id!r}")


_MOST_LOOKS = 10
