"""Simulated agents that only beat: what does it cost the store and the leading monitor?

python -m bench.heartbeats [--agents 1000 2500 5000] [--seconds 30]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from aragora_cp.model import AgentSpec
from aragora_cp.store.agents import AgentStore
from aragora_cp.store.tasks import TaskStore
from tests.faults.world import World, pause
from tests.waiting import eventually

#: As it is by default: one beat in ten seconds.
INTERVAL = 10.0
TIMEOUT = 30.0


def busy(pids: dict[str, int]) -> dict[str, float]:
    """Processor time of each, in seconds."""
    return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in pids.items()}


def beats(store: AgentStore, handles: list[str], until: float) -> Iterator[float]:
    """One agent's beat after the other, evenly over each interval; answers how long each took."""
    turn = 0
    begun = time.monotonic()
    while time.monotonic() < until:
        due = begun + turn * INTERVAL / len(handles)
        if (early := due - time.monotonic()) > 0:
            time.sleep(early)
        at = time.perf_counter()
        word, _ = store.beat(handles[turn % len(handles)], "s", [], running=[], completed=0, failed=0, stuck=0)
        assert word == "ok", word
        yield time.perf_counter() - at
        turn += 1


def measure(agents: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), {"heartbeat_interval": INTERVAL, "heartbeat_timeout": TIMEOUT})
        try:
            config = world.config
            store = AgentStore(world.plane.client, config, TaskStore(world.plane.client, config))
            handles = []
            for n in range(agents):
                spec = AgentSpec(f"agent-{n}", (f"skill-{n % 20}",), concurrency=1)
                store.register(spec, session="s", owner="bench", takeover=True)
                handles.append(spec.handle)
            world.monitor()
            world.web()
            eventually(lambda: httpx.get(f"{world.url}/health").json()["status"] == "healthy", 30, "it is healthy")
            pids = {name: world.members[name].pid for name in ("store", "monitor")} | {"beats": os.getpid()}
            before, begun = busy(pids), time.monotonic()
            took = sorted(beats(store, handles, begun + seconds))
            lasted = time.monotonic() - begun
            used = {name: (after - before[name]) / lasted for name, after in busy(pids).items()}
            online = world.plane.client.zcard(f"{config.key_prefix}{{@}}:agents:beats")
            with httpx.Client() as client:
                asked = sorted(health(client, world) for _ in range(200))
            print(
                f"{agents} agents ({online} online), {len(took) / lasted:.0f} beats/s, "
                f"p99 {took[len(took) * 99 // 100] * 1e3:.1f} ms; "
                f"of one core: store {used['store']:.1%}, leader {used['monitor']:.1%}; "
                f"/health p50 {asked[100] * 1e3:.1f} ms, p99 {asked[198] * 1e3:.1f} ms"
            )
        finally:
            world.close()


def health(client: httpx.Client, world: World) -> float:
    """Seconds that `GET /health` takes."""
    pause(0.02)
    begun = time.perf_counter()
    assert client.get(f"{world.url}/health").status_code == 200
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[1000, 2500, 5000])
    parser.add_argument("--seconds", type=float, default=30)
    told = parser.parse_args()
    for agents in told.agents:
        measure(agents, told.seconds)


if __name__ == "__main__":
    main()
