"""The leader's report: what every web process answers `GET /health` from, and every scrape. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aragora_cp.health.monitor import DEGRADED, HEALTHY, NO_AGENT, UNHEALTHY
from aragora_cp.health.rules import SEAL_LATE, Facts, Signal, memory_share

if TYPE_CHECKING:
    from aragora_cp.model import Lane
    from aragora_cp.store.health import Instance

#: An instance that has been silent for so long hangs, or was killed: ms. It beats every second.
SILENT_MS = 5_000
#: Share of the store's memory from which nothing is well any more.
MEMORY_FULL = 0.95


def report(
    facts: Facts, lanes: Sequence[Lane], tickets: int, found: Sequence[Signal], firing: Mapping[str, int]
) -> dict[str, Any]:
    """As JSON has it; `firing` are alerts by severity. `reasons` name no tenant, no agent and no number of theirs:
    anyone may read them."""
    grave, slight = _reasons(facts)
    return {
        "status": UNHEALTHY if grave else DEGRADED if slight else HEALTHY,
        "reasons": grave + slight,
        "instances": _instances(facts.gathered.instances),
        "alerts": dict(firing),
        "figures": _figures(facts, lanes, tickets, found),
    }


def _reasons(facts: Facts) -> tuple[list[str], list[str]]:
    gathered, grave, slight = facts.gathered, [], []
    if not gathered.online:
        slight.append(NO_AGENT)
    elif any(agent.workspace is None for agent in gathered.lost):
        slight.append("shared agents have fallen silent")
    if memory_share(gathered) > MEMORY_FULL:
        grave.append("the store's memory is full")
    if facts.seal_lag > SEAL_LATE:
        slight.append("audit trails are not sealed in time")
    return grave, slight + list(_of_instances(gathered.instances))


def _of_instances(instances: Iterable[Instance]) -> Iterable[str]:
    """One reason for each way in which instances of a kind fail. One that is silent may have been killed and replaced:
    that is a reason only where none of its kind is left."""
    live: Counter[str] = Counter()
    failing: Counter[tuple[str, str]] = Counter()
    kinds = set()
    for each in instances:
        kinds.add(each.kind)
        if each.silent_ms <= SILENT_MS:
            live[each.kind] += 1
            # Who reports this leads: that somebody missed a leader a moment ago is over.
            failing.update((each.kind, name) for name in each.failing if name != "leader")
    for kind in sorted(kinds - set(live)):
        yield f"no {kind} process is left"
    for (kind, name), count in sorted(failing.items()):
        yield f"{count} of {live[kind]} {kind} processes fail: {name}"


def _instances(instances: Iterable[Instance]) -> dict[str, dict[str, int]]:
    kinds: dict[str, dict[str, int]] = {}
    for each in instances:
        row = kinds.setdefault(each.kind, {"live": 0, "ready": 0, "silent": 0})
        silent = each.silent_ms > SILENT_MS
        row["silent" if silent else "live"] += 1
        row["ready"] += not silent and not set(each.failing) - {"leader"}
    return kinds


def _figures(facts: Facts, lanes: Sequence[Lane], tickets: int, found: Sequence[Signal]) -> Mapping[str, Any]:
    gathered, queues = facts.gathered, list(facts.queues.values())
    since = [queue.oldest_since for queue in queues if queue.oldest_since]
    rules = Counter(signal.rule for signal in found)
    return {
        "agents_online": gathered.online,
        "agents_lost": gathered.lost_count,
        "agent_slots": sum(lane.slots for lane in lanes),
        "lanes": len(lanes),
        "tasks|pending": sum(queue.pending for queue in queues),
        "tasks|delayed": sum(queue.delayed for queue in queues),
        "tasks|running": sum(queue.running for queue in queues),
        "tickets_out": tickets,
        "oldest_wait_seconds": max(0, gathered.now - min(since)) / 1000 if since else 0,
        "capabilities_without_agents": rules["capability-without-agents"],
        "breakers_open": rules["breaker-open"],
        "store_memory_bytes": gathered.memory_used,
        "store_memory_limit_bytes": gathered.memory_limit,
    }
