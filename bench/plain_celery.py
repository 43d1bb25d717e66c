"""The plain Celery that the noisy neighbour is measured beside: one queue, the same pool, late acknowledgement."""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("plain", broker=os.environ.get("PLAIN_BROKER", "memory://"), backend=os.environ.get("PLAIN_BROKER"))
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)


@app.task
def work(seconds: float, sent: float) -> float:
    """Answers how long it waited."""
    waited = time.time() - sent
    time.sleep(seconds)
    return waited
