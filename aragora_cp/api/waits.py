"""Requests that wait for a task: each holds one thread of the server, and none outlives its process's wish to stop."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future

from aragora_cp.model import TaskStatus
from aragora_cp.waiter import Waiter

#: The longest wait of one request, in seconds.
LONGEST = 60.0


class Waits:
    """Safe to share between threads."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter
        self._lock = threading.Lock()
        self._under_way: set[Future[TaskStatus]] = set()
        self._stopped = False

    def wait(self, workspace: str, task_id: str, seconds: float) -> None:
        """Return when the task is final, after `seconds`, or when this process stops. Raises NotFound."""
        with self._lock:
            if self._stopped:
                return
            future = self._waiter.future(workspace, task_id)
            self._under_way.add(future)
        try:
            future.result(min(seconds, LONGEST))
        except (TimeoutError, CancelledError):
            future.cancel()
        finally:
            with self._lock:
                self._under_way.discard(future)

    def stop(self) -> None:
        """Let every wait return now, and no new one begin."""
        with self._lock:
            self._stopped = True
            under_way = list(self._under_way)
        for future in under_way:
            future.cancel()
