"""Stopping one attempt in a prefork child, and never another one that it has taken since.

The parent writes the attempt's lease token into memory that it shares with its children and sends SIGUSR2; the child
raises TaskCancelled only if that is what it runs. SIGUSR1 is Celery's own (soft time limits).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from aragora_cp.errors import TaskCancelled

LEASE_LENGTH = 32

_slot = mmap.mmap(-1, LEASE_LENGTH)
_current = b""


def stop_attempt(lease: str, pid: int) -> None:
    """In the parent: ask the child `pid` to stop the attempt of `lease`. Repeat it until the attempt has ended: two
    stops at once share one slot."""
    _slot[:] = lease.encode().ljust(LEASE_LENGTH)[:LEASE_LENGTH]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR2)


@contextlib.contextmanager
def stoppable(lease: str) -> Iterator[None]:
    """In the child: while inside, the attempt of `lease` can be stopped. On a thread other than the main one this does
    nothing: there a handler learns of it at its next call of its context."""
    global _current
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _current = lease.encode().ljust(LEASE_LENGTH)[:LEASE_LENGTH]
    signal.signal(signal.SIGUSR2, _on_stop)
    try:
        yield
    finally:
        _current = b""


def was_stopped(lease: str) -> bool:
    """Whether the parent has asked to stop the attempt of `lease` last."""
    return _slot[:] == lease.encode().ljust(LEASE_LENGTH)[:LEASE_LENGTH]


def _on_stop(signum: int, frame: FrameType | None) -> None:
    if _current and _slot[:] == _current:
        raise TaskCancelled
