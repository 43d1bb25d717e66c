"""What health is made of in the store: instances' beats, the leader's report, the fleet's counters."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys

#: How long an instance that says nothing is remembered; and an agent that was lost is news.
INSTANCE_KEPT_MS = 30_000
LOST_NEWS_MS = 3600 * 1000
MOST_LOST = 50
MOST_INSTANCES = 500
#: Longer than any call of ours is repeated for.
_COUNTED_KEPT_MS = 120_000


@dataclass(frozen=True, slots=True)
class Lost:
    """An agent that fell silent; `workspace` is None for a shared one."""

    handle: str
    workspace: str | None
    since: int


@dataclass(frozen=True, slots=True)
class Instance:
    """A process that is no agent. `failing`: its checks of readiness that fail."""

    kind: str
    silent_ms: int
    ready: bool
    failing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gathered:
    """`now` and times in ms by the store's clock; memory in bytes, `memory_limit` 0 where the server names none."""

    now: int
    online: int
    lost_count: int
    lost: tuple[Lost, ...]
    instances: tuple[Instance, ...]
    memory_used: int
    memory_limit: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The leader's last report (None: there is none) with its age, and every counter by its field."""

    report: Mapping[str, Any] | None
    age_ms: int
    counters: Mapping[str, int]


class HealthStore:
    """Raises StoreUnavailable from every method. One round trip each."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._keys = fleet_keys(config.key_prefix)

    def beat(self, instance: str, told: Mapping[str, Any]) -> None:
        """One instance says how it is: `kind`, `ready`, `failing`."""
        self._run("beat_instance", instance, json.dumps(dict(told)), INSTANCE_KEPT_MS)

    def leave(self, instance: str) -> None:
        """An instance ends on purpose."""
        self._run("beat_instance", instance, "", INSTANCE_KEPT_MS)

    def add(self, counts: Mapping[str, int]) -> None:
        """Add to the fleet's counters; sent twice by the driver, they are added once."""
        if counts:
            flat = (part for pair in counts.items() for part in pair)
            self._run("add_counts", uuid.uuid4().hex, _COUNTED_KEPT_MS, *flat)

    def gather(self) -> Gathered:
        """What the leader's report is made of."""
        call = self._call("gather_health", LOST_NEWS_MS, MOST_LOST, MOST_INSTANCES)
        with translated():
            pipe = self._client.pipeline(transaction=False)
            pipe.info("memory")
            pipe.evalsha(call.script.sha, 1, call.root, *call.argv)
            memory, answer = pipe.execute(raise_on_error=False)
            if isinstance(answer, redis.exceptions.NoScriptError):
                answer = self._client.eval(call.script.source, 1, call.root, *call.argv)
            for each in (memory, answer):
                if isinstance(each, Exception):
                    raise each
        now, online, lost_count, lost, instances = answer
        return Gathered(
            now=now,
            online=online,
            lost_count=lost_count,
            lost=tuple(_lost(*lost[n : n + 3]) for n in range(0, len(lost), 3)),
            instances=tuple(
                _instance(now, *instances[n + 1 : n + 3]) for n in range(0, len(instances), 3) if instances[n + 2]
            ),
            memory_used=int(memory.get("used_memory", 0)),
            memory_limit=int(memory.get("maxmemory", 0) or 0),
        )

    def tell(self, epoch: int, report: Mapping[str, Any]) -> bool:
        """Keep the leader's report; False when another monitor leads."""
        return bool(self._run("tell_health", epoch, json.dumps(dict(report))))

    def figures(self) -> Figures:
        """What a scrape shows."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            pipe.get(self._keys("health"))
            pipe.hgetall(self._keys("metrics"))
            pipe.time()
            report, counters, (seconds, micros) = pipe.execute()
        told, at = read_report(cast("bytes | None", report))
        age = seconds * 1000 + micros // 1000 - at
        return Figures(told, age, {name.decode(): int(count) for name, count in counters.items()})

    def _call(self, name: str, *args: Any) -> scripts.Call:
        return scripts.Call(scripts.script(name), self._keys.root, args)

    def _run(self, name: str, *args: Any) -> Any:
        with translated():
            return scripts.run(self._client, self._call(name, *args))


def read_report(kept: bytes | None) -> tuple[dict[str, Any] | None, int]:
    """The leader's report and its time in ms, as they are kept; None and 0 where there is none."""
    if kept is None:
        return None, 0
    at, _, told = kept.partition(b" ")
    return json.loads(told), int(at)


def _lost(handle: bytes, scope: bytes, since: bytes) -> Lost:
    return Lost(handle.decode(), None if scope == b"*" else scope.decode(), int(float(since)))


def _instance(now: int, beat: bytes, told: bytes) -> Instance:
    said = json.loads(told)
    return Instance(said["kind"], now - int(float(beat)), said["ready"], tuple(said["failing"]))
