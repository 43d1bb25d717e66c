"""Agents and lanes in the store: one method, one round trip (said where it is more)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import Conflict, QuotaExceeded
from aragora_cp.lanes import SHARED_POOL, agent_lane, lane_name
from aragora_cp.model import Agent, AgentSpec, AgentStatus, Hold, Lane, Standing, agent_handle, read_handle
from aragora_cp.store import scripts
from aragora_cp.store.breakers import read_word, state_of
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import Record, as_record
from aragora_cp.store.keys import fleet_keys, workspace_keys
from aragora_cp.store.tasks import TaskStore

SHARED_SCOPE = "*"


class AgentStore:
    """The fleet's records. Raises StoreUnavailable from every method."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig, tasks: TaskStore) -> None:
        self._client = client
        self._config = config
        self._tasks = tasks
        self.breakers = tasks.breakers
        self._keys = fleet_keys(config.key_prefix)

    def register(
        self, spec: AgentSpec, *, session: str, owner: str, takeover: bool, rules: str
    ) -> tuple[str, Record | None]:
        """Answers created, replaced, alive (refused; the record is the live one's) or foreign (refused). `rules`: its
        breaker's. Raises QuotaExceeded, Conflict when the workspace is being deleted. One round trip, two for a
        workspace's agent."""
        pool = spec.workspace or SHARED_POOL
        lane = lane_name(pool, spec.capabilities)
        lane_json = json.dumps({"pool": pool, "capabilities": list(spec.capabilities)})
        record = {
            "capabilities": "+".join(spec.capabilities),
            "model": spec.model,
            "version": spec.version,
            "labels": json.dumps(dict(spec.labels)),
            "task_types": json.dumps(dict(spec.task_types)),
            "kind": spec.kind,
            "lane_json": lane_json,
            "rules": rules,
        }
        if self._config.breaker_mode == "off":
            record["breaker"] = ""
        answer = self._run(
            "register_agent",
            spec.handle,
            spec.workspace or SHARED_SCOPE,
            session,
            lane,
            spec.concurrency,
            owner,
            int(takeover),
            self._config.heartbeat_timeout_ms,
            self._most_agents(spec.workspace),
            *(part for pair in record.items() for part in pair),
        )
        if answer[0] == b"quota":
            raise QuotaExceeded("max_agents", *answer[1:])
        return answer[0].decode(), as_record(answer[1]) if len(answer) > 1 else None

    def beat(
        self,
        handle: str,
        session: str,
        holds: Sequence[Hold],
        *,
        running: Sequence[str],
        completed: int,
        failed: int,
        stuck: int,
    ) -> tuple[str, Standing, dict[Hold, str]]:
        """One heartbeat and the renewal of all leases of the agent: one round trip, whatever it runs.

        Answers (ok, drain, stale or unknown; how its breaker stands; what became of each hold). A stale session's
        leases are renewed too: whether an attempt is still its own is for the attempt's fence to say, not for the
        agent's session."""
        call = self._call("beat_agent", handle, session, json.dumps(list(running)), completed, failed, stuck)
        renewals = self._tasks.renew_calls(holds)
        with translated():
            told, *answers = scripts.run_all(self._client, [call, *(each for _, each in renewals)])
        found: dict[Hold, str] = {}
        for (group, _), words in zip(renewals, answers, strict=True):
            found |= {hold: text.decode() for hold, text in zip(group, words, strict=True)}
        standing = read_word(told).standing if len(told) > 1 else Standing()
        return told[0].decode(), standing, found

    def leave(self, handle: str, session: str = "", *, remove: bool = False) -> str:
        """Answers left, stale or unknown. One round trip."""
        return self._run("leave_agent", handle, session, int(remove)).decode()

    def drain(self, handle: str, drain: bool) -> Record | None:
        """The record after it, None when there is no such agent. One round trip."""
        answer = self._run("drain_agent", handle, int(drain))
        return as_record(answer[1]) if answer[0] == b"ok" else None

    def find(self, handles: Sequence[str]) -> tuple[list[Record | None], int]:
        """The record of each, None where there is none, and the store's time in ms. One round trip."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for handle in handles:
                pipe.hgetall(self._keys("agent", handle))
            pipe.time()
            *records, (seconds, micros) = pipe.execute()
        return [as_record(rec) if rec else None for rec in records], seconds * 1000 + micros // 1000

    def page(self, workspace: str, after: str, most: int) -> tuple[list[tuple[str, Record]], int]:
        """Up to `most` shared agents and agents of `workspace` whose ids come after `after`, by id, and the store's
        time. A workspace's own agent hides a shared one of the same id. Two round trips."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for scope in (None, workspace):
                start = f"({agent_handle(after, scope)}" if after else "-"
                pipe.zrangebylex(self._keys("agents", scope or SHARED_SCOPE), start, "+", start=0, num=most)
            handles = [found.decode() for group in pipe.execute() for found in group]
        by_id = {read_handle(handle)[0]: handle for handle in handles}
        ids = sorted(by_id)[:most]
        records, now = self.find([by_id[agent_id] for agent_id in ids])
        return [(agent_id, rec) for agent_id, rec in zip(ids, records, strict=True) if rec], now

    def lanes(self) -> list[Lane]:
        """Every lane that has an agent which is not offline, with the leader's last count. One round trip."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            pipe.hgetall(self._keys("lanes"))
            pipe.hgetall(self._keys("slots"))
            pipe.hgetall(self._keys("ejected"))
            pipe.get(self._keys("lanes_load"))
            lanes, slots, ejected, load = pipe.execute()
        return read_lanes(lanes, slots, json.loads(load) if load else {}, ejected)

    def _most_agents(self, workspace: str | None) -> str:
        """The workspace's limit, '' for none."""
        if workspace is None:
            return ""
        key = workspace_keys(self._config.key_prefix, workspace)("workspace")
        with translated():
            status, limit = cast(list[bytes | None], self._client.hmget(key, ["status", "max_agents"]))
        if status == b"deleting":
            raise Conflict(f"the workspace {workspace!r} is being deleted")
        return limit.decode() if limit else ""

    def _call(self, name: str, *args: Any) -> scripts.Call:
        return scripts.Call(scripts.script(name), self._keys.root, args)

    def _run(self, name: str, *args: Any) -> Any:
        with translated():
            return scripts.run(self._client, self._call(name, *args))


def read_lanes(
    lanes: dict[bytes, bytes],
    slots: dict[bytes, bytes],
    load: dict[str, int],
    ejected: Mapping[bytes, bytes] = MappingProxyType({}),
) -> list[Lane]:
    """Lanes from their hashes; `load` has `running:<lane>` and `tickets:<lane>`."""
    found = []
    for name, text in lanes.items():
        told = json.loads(text)
        lane = name.decode()
        found.append(
            Lane(
                name=lane,
                pool=told["pool"],
                capabilities=frozenset(told["capabilities"]),
                slots=max(0, int(slots.get(name, 0))),
                running=load.get(f"running:{lane}", 0),
                tickets=load.get(f"tickets:{lane}", 0),
                ejected=int(ejected.get(name, 0)),
            )
        )
    return sorted(found, key=lambda lane: lane.name)


def read_agent(agent_id: str, record: Record, now: int, timeout_ms: int) -> Agent:
    """The Agent of one record, its status as of `now`."""
    running = tuple(json.loads(record.get("running", b"[]")))
    last = int(record["last_heartbeat"])
    if not record.get("counted_lane") or now - last > timeout_ms:
        status, running = AgentStatus.OFFLINE, ()
    elif record.get("drain") == b"1":
        status = AgentStatus.DRAINING
    else:
        status = AgentStatus.BUSY if running else AgentStatus.IDLE
    scope = record["scope"].decode()
    return Agent(
        agent_id=agent_id,
        workspace=None if scope == SHARED_SCOPE else scope,
        capabilities=tuple(filter(None, record["capabilities"].decode().split("+"))),
        model=record["model"].decode(),
        status=status,
        concurrency=int(record["concurrency"]),
        running=running,
        breaker=state_of(record, now),
        labels=json.loads(record["labels"]),
        version=record["version"].decode(),
        session=record["session"].decode(),
        registered_at=int(record["registered_at"]),
        last_heartbeat=last,
        completed=int(record.get("completed", 0)),
        failed=int(record.get("failed", 0)),
        lane=record["lane"].decode(),
        task_types=json.loads(record["task_types"]),
    )


def lanes_of(agent: AgentSpec) -> tuple[Lane, Lane]:
    """The agent's own lane and its direct one, as the claim's script wants them."""
    pool = agent.workspace or SHARED_POOL
    own = Lane(lane_name(pool, agent.capabilities), pool, frozenset(agent.capabilities), agent.concurrency)
    return own, Lane(agent_lane(agent.handle), pool, frozenset(agent.capabilities), agent.concurrency)
