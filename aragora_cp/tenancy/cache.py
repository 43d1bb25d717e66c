"""FreshCache: copies of what the store has, bounded in number and in age, dropped when the store says so."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

#: How old a copy may be, in seconds. A change must hold within 2 s everywhere, also when nobody says that there was
#: one; the rest is left for the read itself.
FRESH = 1.5
#: Copies that one cache keeps; the one used longest ago goes first.
KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Copy(Generic[T]):
    """A value, and when it was asked for by the cache's own clock."""

    value: T
    at: float


class FreshCache(Generic[T]):
    """By name; what is not there is never remembered, so a new thing is found at once. Safe to share between
    threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, fresh: float = FRESH, kept: int = KEPT) -> None:
        self._clock = clock
        self._fresh = fresh
        self._kept = kept
        self._lock = threading.Lock()
        self._copies: OrderedDict[str, Copy[T]] = OrderedDict()
        self._changes = 0

    def get(self, name: str, read: Callable[[], T | None]) -> Copy[T] | None:
        """The copy when it is fresh, else what `read` answers, which is kept; None when that is None."""
        copy = self.peek(name)
        if copy is not None:
            return copy
        asked, changes = self._clock(), self._changes
        value = read()
        with self._lock:
            if value is None:
                self._copies.pop(name, None)
                return None
            copy = Copy(value, asked)
            if changes == self._changes:  # else it may have been read before the change, and is not kept
                self._copies[name] = copy
                self._copies.move_to_end(name)
                if len(self._copies) > self._kept:
                    self._copies.popitem(last=False)
        return copy

    def peek(self, name: str) -> Copy[T] | None:
        """The copy, when there is a fresh one."""
        now = self._clock()
        with self._lock:
            copy = self._copies.get(name)
            if copy is None or now - copy.at >= self._fresh:
                return None
            self._copies.move_to_end(name)
            return copy

    def forget(self, name: str | None = None) -> None:
        """Read it anew next time; without a name, everything."""
        with self._lock:
            self._changes += 1
            if name is None:
                self._copies.clear()
            else:
                self._copies.pop(name, None)
