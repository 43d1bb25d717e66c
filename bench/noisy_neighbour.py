"""One workspace floods, another sends a task a second: how long does the quiet one wait? Plain Celery beside it.

python -m bench.noisy_neighbour [--flood 100000] [--seconds 60]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aragora_cp.model import NewTask, TaskStatus
from aragora_cp.store.codec import dumps
from bench import plain_celery
from tests.faults.world import World
from tests.waiting import eventually

PAYLOAD = dumps({"n": 0, "seconds": 0.05})


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def ours(folder: Path, flood: int, seconds: int) -> list[float]:
    world = World(folder)
    try:
        scheduler = world.plane.scheduler
        with ThreadPoolExecutor(4) as pool:
            list(
                pool.map(lambda _: scheduler.submit(NewTask("flood", "chaos.work", PAYLOAD, ("chaos",))), range(flood))
            )
        empty, full = in_turn(
            lambda n: scheduler.submit(NewTask(f"empty-{n % 100}", "chaos.work", PAYLOAD, ("nobody",))),
            lambda _: scheduler.submit(NewTask("flood", "chaos.work", PAYLOAD, ("nobody",))),
            times=2000,
        )
        print(f"submit p50: {empty * 1e6:.0f} us with none waiting, {full * 1e6:.0f} us with {flood} waiting, "
              f"ratio {full / empty:.2f}")  # fmt: skip
        world.monitor()
        for name in ("one", "two"):
            world.agent(name, "--concurrency", "2")
        world.ready("one", "two")
        eventually(lambda: at_work(world), 30, "the agents are at work")
        ids = []
        for _ in range(seconds):
            ids.append(scheduler.submit(NewTask("quiet", "chaos.work", PAYLOAD, ("chaos",)))[0].task_id)
            time.sleep(1)
        tasks = [scheduler.get("quiet", task_id) for task_id in ids]
        eventually(lambda: scheduler.get("quiet", ids[-1]).started_at, 30, "the last one starts")
        tasks = [scheduler.get("quiet", task_id) for task_id in ids]
        return [((task.started_at or 0) - task.created_at) / 1000 for task in tasks]
    finally:
        world.close()


def at_work(world: World) -> bool:
    """Every process of the pools has started: what a fleet's first second costs is no neighbour's doing."""
    return len(world.plane.scheduler.list("flood", status=TaskStatus.COMPLETED, limit=20).items) == 20


def in_turn(*calls: Callable[[int], object], times: int) -> list[float]:
    """The median of each call in seconds, taken by turns: what else the machine does meets all alike."""
    took: list[list[float]] = [[] for _ in calls]
    for n in range(times):
        for call, times_taken in zip(calls, took, strict=True):
            began = time.perf_counter()
            call(n)
            times_taken.append(time.perf_counter() - began)
    return [quantile(each, 0.5) for each in took]


def celery(folder: Path, flood: int, seconds: int) -> list[float]:
    """The flood is in the queue first, as above; what has not started at the end counts as waiting still."""
    world = World(folder)
    workers = []
    try:
        url = world.embedded.url
        plain_celery.app.conf.update(broker_url=url, result_backend=url)
        env = os.environ | {"PLAIN_BROKER": url}
        with plain_celery.app.producer_pool.acquire() as producer:
            for _ in range(flood):
                plain_celery.work.apply_async((0.05, 0.0), producer=producer, ignore_result=True)
        command = [sys.executable, "-m", "celery", "-A", "bench.plain_celery", "worker", "-c", "2", "-l", "ERROR"]
        workers = [subprocess.Popen([*command, "-n", f"w{n}@bench"], env=env) for n in range(2)]
        sent = []
        for _ in range(seconds):
            sent.append((time.time(), plain_celery.work.apply_async((0.05, time.time()))))
            time.sleep(1)
        return [result.get(timeout=1) if result.ready() else time.time() - at for at, result in sent]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        world.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flood", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=60)
    told = parser.parse_args()
    for name, run in (("ours", ours), ("plain Celery, one queue", celery)):
        with tempfile.TemporaryDirectory() as folder:
            waits = run(Path(folder), told.flood, told.seconds)
        print(f"{name}: wait p50 {quantile(waits, 0.5):.3f} s, p99 {quantile(waits, 0.99):.3f} s, "
              f"longest {', '.join(f'{each:.3f}' for each in sorted(waits)[-3:])} s, {len(waits)} tasks")  # fmt: skip


if __name__ == "__main__":
    main()
