"""Watcher: a small process that ends what its owner started when the owner dies without a chance to.

The owner holds the writing end of a pipe, the watcher the reading end, which says `+pid` for each process group
started and `-pid` for each that has ended. The pipe closes with the owner, however it dies (kill -9 included); then the
watcher asks what is left to stop and kills what has not stopped a little later. A started process announces itself
before it becomes another program, so none can be missed. Unlike a parent-death signal this works on every Unix and
reaches grandchildren.

The second half runs as a program of its own, with nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

#: How long the groups of a dead owner get between SIGTERM and SIGKILL.
PATIENCE = 3.0


class Watcher:
    """The owner's side. Not for use from several threads."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def ensure(self) -> None:
        """Start the watcher, anew when it was killed."""
        if self._process is not None and self._process.poll() is None:
            return
        self._close()
        self._process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, start_new_session=True
        )
        for pid in self._groups:
            self._write(f"+{pid}\n")

    def announce(self) -> None:
        """Called in a child that leads a group of its own, between fork and exec."""
        self._write(f"+{os.getpid()}\n")

    def started(self, pid: int) -> None:
        self._groups.add(pid)

    def ended(self, pid: int) -> None:
        self._groups.discard(pid)
        self._write(f"-{pid}\n")

    def close(self) -> None:
        """Let the watcher go; it ends what was not reported as ended."""
        self._close()
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _write(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it was killed; `ensure` brings another
                os.write(self._process.stdin.fileno(), line.encode())

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def main() -> None:
    for word in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(word, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        change, pid = line[:1], int(line[1:])
        if change == b"+":
            groups.add(pid)
        else:
            groups.discard(pid)
    _tell(groups, signal.SIGTERM)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and _tell(groups, 0):
        time.sleep(0.05)
    _tell(groups, signal.SIGKILL)


def _tell(groups: Iterable[int], word: int) -> bool:
    """Send `word` to each group; whether any was there."""
    found = False
    for pid in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, word)
            found = True
    return found


if __name__ == "__main__":
    main()
