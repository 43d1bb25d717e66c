"""An agent's session as agents see it: it names its agent, because a report's body has no other place for that."""

from __future__ import annotations

from aragora_cp.api.services import services, tenant
from aragora_cp.errors import Forbidden, NotFound, StaleSession
from aragora_cp.lanes import AGENT_ID
from aragora_cp.model import Agent, read_handle

_UNKNOWN = "there is no such session; register first"


def session_of(agent: Agent) -> str:
    """What the agent sends along with its calls; opaque to it."""
    return f"{agent.handle}/{agent.session}"


def read_session(text: str) -> tuple[str, str]:
    """The agent's handle and the registry's session, when the present caller may act for that agent. Raises
    StaleSession, also for what was never a session of ours."""
    handle, _, session = text.rpartition("/")
    agent_id, workspace = read_handle(handle)
    mine = workspace == tenant().workspace or (workspace is None and tenant().of_platform)
    if not session or not AGENT_ID.fullmatch(agent_id) or not mine:
        raise StaleSession(_UNKNOWN)
    return handle, session


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
    """The agent whose present session `text` is. Raises StaleSession. One round trip."""
    handle, session = read_session(text)
    try:
        agent = services().plane.registry.get(*read_handle(handle))
    except NotFound:
        raise StaleSession(_UNKNOWN) from None
    if (agent.handle, agent.session) != (handle, session):
        raise StaleSession
    return agent
