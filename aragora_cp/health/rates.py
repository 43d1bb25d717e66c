"""How many of the tasks that ended lately failed, by workspace: a window that slides in steps, in memory."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

#: The window, and one of its steps, in seconds.
WINDOW = 300.0
STEP = 15.0
#: Fewer ended tasks than this say nothing.
LEAST = 20


class FailureRates:
    """Of a leader that has just begun nothing is known for one window: then nothing is said, so that an alert neither
    begins nor ends by it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steps: deque[tuple[float, Counter[tuple[str, str]]]] = deque()
        self._sums: Counter[tuple[str, str]] = Counter()
        self._since = clock()

    def begin(self) -> None:
        """Know nothing, as of now."""
        self._steps.clear()
        self._sums.clear()
        self._since = self._clock()

    def add(self, workspace: str, counted: Mapping[str, int]) -> None:
        """What a look at the workspace has counted (`telemetry.meters`)."""
        for outcome in ("completed", "failed"):
            if count := counted.get(f"tasks_ended|{outcome}", 0):
                self._step()[workspace, outcome] += count
                self._sums[workspace, outcome] += count

    def shares(self) -> dict[str, tuple[float, int]] | None:
        """Workspace: the share that failed, and how many ended. None: it is too early to say."""
        self._forget()
        if self._clock() - self._since < WINDOW:
            return None
        found = {}
        for workspace in {name for name, _ in self._sums}:
            failed, done = self._sums[workspace, "failed"], self._sums[workspace, "completed"]
            if failed + done >= LEAST:
                found[workspace] = (failed / (failed + done), failed + done)
        return found

    def _step(self) -> Counter[tuple[str, str]]:
        now = self._clock()
        if not self._steps or now - self._steps[-1][0] >= STEP:
            self._steps.append((now, Counter()))
        return self._steps[-1][1]

    def _forget(self) -> None:
        while self._steps and self._clock() - self._steps[0][0] > WINDOW:
            _, old = self._steps.popleft()
            self._sums.subtract(old)
            self._sums = +self._sums
