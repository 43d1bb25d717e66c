"""CacheKeeper: one thread that hears what has changed, for the caches; and tells the store when tokens were used."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from aragora_cp.errors import StoreUnavailable

log = logging.getLogger(__name__)

#: Seconds between two notes of uses, and before the store is tried again.
_PAUSE = 1.0
#: Seconds after which the thread looks whether it shall end.
_LOOK = 0.1


class Changes(Protocol):
    """A subscription. Raises StoreUnavailable from `hear`; then a new one is opened."""

    def hear(self, timeout: float) -> tuple[str, str] | None:
        """The next change, as kind and name; None after `timeout` seconds without one."""
        ...

    def close(self) -> None: ...


class CacheKeeper:
    """Starts with the first `start`; again is harmless. While the store is away the caches live by their own bound."""

    def __init__(
        self,
        subscribe: Callable[[], Changes],
        forget: Callable[[str | None, str | None], None],
        take_uses: Callable[[], Mapping[str, int]],
        note_uses: Callable[[Mapping[str, int]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`subscribe` opens a subscription that stands when it returns; raises StoreUnavailable."""
        self._subscribe = subscribe
        self._forget = forget
        self._take_uses = take_uses
        self._note_uses = note_uses
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="aragora-cp-caches", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread; what was used is noted."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        if thread is not None:
            thread.join()
            self._flush()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                changes = self._subscribe()
            except StoreUnavailable:
                self._stop.wait(_PAUSE)
                continue
            try:
                self._forget(None, None)  # what was said before the subscription stood is not known
                self._listen(changes)
            except StoreUnavailable as error:
                log.info("changes are not heard for now", extra={"reason": str(error)})
                self._stop.wait(_PAUSE)
            finally:
                changes.close()

    def _listen(self, changes: Changes) -> None:
        noted = self._clock()
        while not self._stop.is_set():
            change = changes.hear(_LOOK)
            if change is not None:
                self._forget(*change)
            if self._clock() - noted >= _PAUSE:
                self._flush()
                noted = self._clock()

    def _flush(self) -> None:
        uses = self._take_uses()
        if uses:
            try:
                self._note_uses(uses)
            except StoreUnavailable:
                log.debug("uses of tokens not noted")
