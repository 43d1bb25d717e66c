"""What encryption costs: submit, claim and finish in one process and one thread, with it off and on, by turns.

python -m bench.encryption [tasks a round, default 500] [bytes of payload and result, default 1024]
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store.codec import dumps
from tests.fleet import Fleet
from tests.servers import StoreServer

ROUNDS = 9


def one_round(fleet: Fleet, tasks: int, body: bytes) -> tuple[float, float]:
    """Seconds a task: by the clock, and of this process's processor time (steadier on a busy machine)."""
    spec = fleet.agent()
    begun, used = time.perf_counter(), time.process_time()
    for _ in range(tasks):
        task = fleet.submit(payload=body)
        claim = fleet.claim(spec, fleet.broker.take_for(task.task_id))
        fleet.scheduler.finish(claim.hold, body, spec)
    return (time.perf_counter() - begun) / tasks, (time.process_time() - used) / tasks


def main(tasks: int = 500, size: int = 1024) -> None:
    key = f"k1:{base64.b64encode(os.urandom(32)).decode()}"
    body = dumps({"text": "x" * size})
    with tempfile.TemporaryDirectory() as folder:
        server = StoreServer("valkey", Path(folder)).start()
        fleets = {
            word: Fleet(ControlPlaneConfig(redis_url=server.url, key_prefix=f"{word}:", encryption_keys=keys))
            for word, keys in (("off", ""), ("on", key))
        }
        times: dict[str, list[tuple[float, float]]] = {word: [] for word in fleets}
        for n in range(ROUNDS + 1):
            for word, fleet in fleets.items():
                took = one_round(fleet, tasks, body)
                if n:  # the first is for warming up
                    times[word].append(took)
        for fleet in fleets.values():
            fleet.close()
        server.stop()
    for what, which in (("clock", 0), ("processor", 1)):
        off, on = (median(took[which] for took in times[word]) for word in ("off", "on"))
        print(f"{size} bytes, {what}: off {off * 1e6:.0f} µs, on {on * 1e6:.0f} µs a task; {on / off:.2f} times")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
