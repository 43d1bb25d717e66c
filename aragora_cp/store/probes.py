"""What health and readiness want to know of the store: asked with short bounds, over connections of their own."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import StoreUnavailable
from aragora_cp.store.connection import of_transport, translated
from aragora_cp.store.health import read_report
from aragora_cp.store.keys import fleet_keys

#: A probe's own bound on connecting and on each answer, in seconds; one try and one repeat.
PROBE_TIMEOUT = 0.75
#: How old an answer may be: whoever may ask without a token must not be able to load the store by asking.
PROBE_FRESH = 0.5
_PROBE_KEPT_MS = 10_000


@dataclass(frozen=True, slots=True)
class StoreReport:
    """`reachable`: it answers; `writable`: it takes a write. What could not be asked is False, None or 0.

    `eviction_policy` is the server's `maxmemory-policy`: anything but ``noeviction`` loses records and queues.
    """

    reachable: bool
    writable: bool
    has_leader: bool = False
    eviction_policy: str | None = None
    agents_online: int = 0
    seconds: float = 0.0
    #: The store's time, and how far this machine's clock is from it (seconds, ahead is positive).
    now_ms: int = 0
    skew: float = 0.0
    leader_report: Mapping[str, Any] | None = None
    leader_report_at: int = 0


class StoreProbes:
    """Safe to share between threads; many askers at once cost one question. Close it when done."""

    def __init__(
        self,
        config: ControlPlaneConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        fresh: float = PROBE_FRESH,
    ) -> None:
        timeout = min(PROBE_TIMEOUT, config.redis_timeout)
        self._client = redis.Redis.from_url(
            config.redis_url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), retries=1),
            client_name="aragora-cp-probe",
            **of_transport(config),
        )
        self._keys = fleet_keys(config.key_prefix)
        self._id = uuid.uuid4().hex
        self._clock = clock
        self._fresh = fresh
        self._lock = threading.Lock()
        self._report = StoreReport(reachable=False, writable=False)
        self._at = float("-inf")

    def report(self) -> StoreReport:
        """How the store is now, or was up to `fresh` seconds ago. Never raises. Two round trips, bounded by four
        `PROBE_TIMEOUT`."""
        with self._lock:
            if self._clock() - self._at >= self._fresh:
                self._report = self._ask()
                self._at = self._clock()
            return self._report

    def close(self) -> None:
        self._client.close()

    def _ask(self) -> StoreReport:
        started = self._clock()
        try:
            with translated():
                pipe = self._client.pipeline(transaction=False)
                pipe.exists(self._keys("leader"))
                pipe.zcard(self._keys("beats"))
                pipe.info("memory")
                pipe.get(self._keys("health"))
                pipe.time()
                leader, online, memory, kept, (seconds, micros) = pipe.execute()
            here = time.time()
        except StoreUnavailable:
            return StoreReport(reachable=False, writable=False, seconds=self._clock() - started)
        told, told_at = read_report(kept)
        now = seconds + micros / 1e6
        return StoreReport(
            reachable=True,
            writable=self._can_write(),
            has_leader=bool(leader),
            eviction_policy=memory.get("maxmemory_policy"),
            agents_online=online,
            seconds=self._clock() - started,
            now_ms=int(now * 1000),
            skew=here - now,
            leader_report=told,
            leader_report_at=told_at,
        )

    def _can_write(self) -> bool:
        try:
            with translated():
                return bool(self._client.set(self._keys("probe", self._id), 1, px=_PROBE_KEPT_MS))
        except StoreUnavailable:
            return False
