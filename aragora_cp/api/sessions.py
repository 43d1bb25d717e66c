"""An agent's session as agents see it: it names its agent, because a report's body has no other place for that."""

from __future__ import annotations

from aragora_cp.api.services import services, tenant
from aragora_cp.errors import Forbidden, NotFound, StaleSession
from aragora_cp.lanes import AGENT_ID
from aragora_cp.model import Agent

_BETWEEN = "/"  # stands in no agent id


def session_of(agent: Agent) -> str:
    """What the agent sends along with its calls; opaque to it."""
    return f"{agent.agent_id}{_BETWEEN}{agent.session}"


def read_session(text: str) -> tuple[str, str]:
    """Agent id and the registry's session. Raises StaleSession for what was never a session of ours."""
    agent_id, _, session = text.partition(_BETWEEN)
    if not session or not AGENT_ID.fullmatch(agent_id):
        raise StaleSession("there is no such session; register first")
    return agent_id, session


def own_agent(agent_id: str) -> Agent:
    """The agent, when the present caller may act for it or on it: its workspace's own; a shared one for the platform's
    tokens. Raises NotFound, Forbidden. One round trip."""
    caller = tenant()
    if not AGENT_ID.fullmatch(agent_id):
        raise NotFound(f"there is no agent {agent_id[:128]!r}")
    agent = services().plane.registry.get(agent_id, caller.workspace)
    if agent.workspace is None and not caller.of_platform:
        raise Forbidden("this agent serves all workspaces; only a token of the platform may act on it")
    return agent


def reporting_agent(text: str) -> Agent:
    """The agent whose present session `text` is. Raises StaleSession, Forbidden. One round trip."""
    agent_id, session = read_session(text)
    try:
        agent = own_agent(agent_id)
    except NotFound:
        raise StaleSession("there is no such session; register first") from None
    if agent.session != session:
        raise StaleSession
    return agent
