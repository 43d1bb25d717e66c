"""StopSignals: Ctrl-C and its relatives as something to look at, instead of an exception anywhere."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_WORDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While it is entered, SIGINT, SIGTERM and SIGHUP only count; the first calls `on_first`. Main thread only."""

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        self.count = 0
        self._on_first = on_first
        self._before: dict[signal.Signals, Any] = {}

    @property
    def asked(self) -> bool:
        return self.count > 0

    @property
    def asked_again(self) -> bool:
        return self.count > 1

    def __enter__(self) -> StopSignals:
        for word in _WORDS:
            if word is not signal.SIGHUP or signal.getsignal(word) is not signal.SIG_IGN:  # nohup wants it ignored
                self._before[word] = signal.signal(word, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for word, handler in self._before.items():
            signal.signal(word, handler)

    def _heard(self, _word: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            self._on_first()
