"""A child tells its parent that the agent's breaker lets it take nothing: one byte of memory that they share.

The parent hears it before it acknowledges the attempt and so before it would take the next ticket; what its other slots
have taken by then is given back by their claims."""

from __future__ import annotations

import mmap
import time

_told = mmap.mmap(-1, 1)

#: The parent looks this often at the least, so a child waits for it a little longer.
_LONGEST_WAIT = 0.5


def tell() -> None:
    """In a child: take nothing more."""
    _told[0] = 1


def told() -> bool:
    """In the parent: whether a child has said so."""
    return _told[0] == 1


def heard() -> None:
    """In the parent: it takes nothing any more, or the pause is over."""
    _told[0] = 0


def wait_until_heard() -> None:
    """In a child that has a ticket although nothing shall be taken: give the parent the time to stop taking more, or
    tickets would go round in circles. Bounded."""
    end = time.monotonic() + _LONGEST_WAIT
    while told() and time.monotonic() < end:
        time.sleep(0.02)
