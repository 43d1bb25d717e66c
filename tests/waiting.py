"""The one way tests wait: on a condition, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], timeout: float, what: str, *, pause: float = 0.05) -> T:
    """The first true answer of `check`. Fails naming `what` when there is none for `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(pause)
