"""Many threads at the same line at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")


def at_once(works: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run all of `works`, each in a thread of its own, released together; what each answered or raised, in order."""
    gate = Barrier(len(works))

    def go(work: Callable[[], T]) -> T | Exception:
        gate.wait(10)
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(go, works))
