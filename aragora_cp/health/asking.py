"""Asking something that may not answer, without waiting for it longer than a probe can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: How long one asker waits for an answer, in seconds; and for how long an answer stands.
PATIENCE = 1.5
FRESH = 0.5


class BoundedQuestion:
    """One question at a time, asked in a thread of its own; who asks meanwhile waits for the same answer. No answer in
    time is a no. Safe to share between threads."""

    def __init__(
        self,
        ask: Callable[[], bool],
        *,
        patience: float = PATIENCE,
        fresh: float = FRESH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._patience = patience
        self._fresh = fresh
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: threading.Event | None = None
        self._answer = False
        self._at = float("-inf")

    def begin(self) -> threading.Event | None:
        """Ask, unless it is being asked or was a moment ago; answers what to wait for, None for nothing."""
        with self._lock:
            if self._clock() - self._at < self._fresh:
                return None
            if self._pending is None:
                self._pending = threading.Event()
                # A daemon: a question without an answer must not keep its process alive.
                threading.Thread(target=self._put, args=(self._pending,), name="aragora-cp-ask", daemon=True).start()
            return self._pending

    def answer(self) -> bool:
        """Never raises; takes `patience` at most."""
        pending = self.begin()
        return self._answer if pending is None or pending.wait(self._patience) else False

    def _put(self, pending: threading.Event) -> None:
        try:
            answer = self._ask()
        except Exception:  # whatever it is, it is no yes
            answer = False
        with self._lock:
            self._answer, self._at, self._pending = answer, self._clock(), None
        pending.set()
