"""GuessGuard: whoever tries one token after another is refused for a while, and written down."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from aragora_cp.errors import RateLimited
from aragora_cp.tenancy.sources import neighbourhood

#: Seconds over which failures are counted.
WINDOW = 60.0
#: Sources that one process remembers as refused, and tokens that it remembers as good; the oldest goes first.
_KEPT = 10_000


class FailureCounter(Protocol):
    """Counts over all processes. Raises StoreUnavailable."""

    def count_failure(self, source: str, most: int, window_ms: int) -> tuple[int, int]:
        """Count one failure of `source`; answers how many there are in this window, and the ms left of it."""
        ...


class GuessGuard:
    """Costs a caller who is known nothing, and a guess one round trip. Safe to share between threads.

    A token that was good before in this process is let through from a refused source too: its holder may share the
    address with a guesser.
    """

    def __init__(self, counter: FailureCounter, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`most` failures of one source a minute are answered as such."""
        self._counter = counter
        self._most = most
        self._clock = clock
        self._lock = Lock()
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()

    def check(self, source: str, token: str) -> None:
        """Raises RateLimited while `source` is refused. No round trip."""
        name = neighbourhood(source)
        with self._lock:
            until = self._refused.get(name)
            if until is not None and until <= self._clock():
                del self._refused[name]
                until = None
            known = until is None or _digest(token) in self._good
        if until is not None and not known:
            raise self._refusal(until - self._clock())

    def passed(self, token: str) -> None:
        """This token is good."""
        digest = _digest(token)
        with self._lock:
            self._good[digest] = None
            self._good.move_to_end(digest)
            if len(self._good) > _KEPT:
                self._good.popitem(last=False)

    def failed(self, source: str) -> None:
        """Count a failure. Raises RateLimited when it was one too many. One round trip."""
        name = neighbourhood(source)
        count, left_ms = self._counter.count_failure(name, self._most, round(WINDOW * 1000))
        if count <= self._most:
            return
        with self._lock:
            self._refused[name] = self._clock() + left_ms / 1000
            self._refused.move_to_end(name)
            if len(self._refused) > _KEPT:
                self._refused.popitem(last=False)
        raise self._refusal(left_ms / 1000)

    def _refusal(self, left: float) -> RateLimited:
        return RateLimited(
            "too many failed attempts to authenticate from this address",
            policy="authentication",
            limit=self._most,
            window=WINDOW,
            retry_after=max(left, 0.001),
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
