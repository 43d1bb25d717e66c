"""Capabilities, lanes and queue names. Pure: no clock, no store.

A *lane* is all agents of one pool with the same capabilities. It has one Celery queue. A task for one named agent
travels in that agent's own lane, written `@<handle>`. Agents' ids are their pool's own: the *handle* tells apart the
agents of all pools (`model.agent_handle`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace

from aragora_cp.model import Lane, agent_handle, read_handle

SHARED_POOL = "shared"
#: First part of a queue name beside a pool's; neither may be a workspace's id.
RESERVED_WORKSPACES = frozenset({SHARED_POOL, "agent"})

CAPABILITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
TASK_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
AGENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
TASK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WORKSPACE = re.compile(r"[a-z0-9-]{1,63}")

_LONGEST_SLUG = 80


def canonical(capabilities: Iterable[str]) -> tuple[str, ...]:
    """Sorted, each once. Raises ValueError naming the first that is not a capability."""
    found = sorted(set(capabilities))
    for capability in found:
        if not CAPABILITY.fullmatch(capability):
            shown = capability if len(capability) <= 70 else capability[:67] + "..."
            raise ValueError(f"{shown!r} is not a capability: 1 to 64 of letters, digits and . _ : - are")
    return tuple(found)


def capability_key(capabilities: Iterable[str]) -> str:
    """The name of a set of capabilities in keys: sorted, joined by `+`, which no capability contains."""
    return "+".join(canonical(capabilities))


def lane_name(pool: str, capabilities: Iterable[str]) -> str:
    """`<pool>.<slug>`; readable as long as it is short, else its start and a digest. Equal sets give equal names."""
    slug = capability_key(capabilities) or "any"
    if len(slug) > _LONGEST_SLUG:
        slug = f"{slug[:40]}~{hashlib.sha256(slug.encode()).hexdigest()[:16]}"
    return f"{pool}.{slug}"


def agent_lane(handle: str) -> str:
    """The lane of tasks for one named agent."""
    return f"@{handle}"


def queue_name(lane: str) -> str:
    """The Celery queue of a lane: `cp.<pool>.<slug>`; `cp.agent.<id>` for one shared agent, `cp.<workspace>.@<id>` for
    a private one."""
    if not lane.startswith("@"):
        return f"cp.{lane}"
    agent_id, workspace = read_handle(lane[1:])
    return f"cp.agent.{agent_id}" if workspace is None else f"cp.{workspace}.@{agent_id}"


def lane_of_queue(queue: str) -> str:
    """The inverse of `queue_name`. Raises ValueError for a queue that is not ours."""
    if queue.startswith("cp.agent."):
        return "@" + queue.removeprefix("cp.agent.")
    if not queue.startswith("cp."):
        raise ValueError(f"{queue!r} is not a queue of the control plane")
    pool, _, slug = queue.removeprefix("cp.").partition(".")
    return agent_lane(agent_handle(slug[1:], pool)) if slug.startswith("@") else f"{pool}.{slug}"


def serves(capabilities: Iterable[str], required: Iterable[str]) -> bool:
    """Whether an agent with `capabilities` may run a task that needs `required`."""
    return set(required) <= set(capabilities)


def narrowed(lane: Lane, off: frozenset[str]) -> Lane:
    """`lane` without the capabilities that are switched `off`."""
    if not off & lane.capabilities:
        return lane
    return replace(lane, capabilities=lane.capabilities - off, off=lane.capabilities & off)
