"""A real terminal for a program under test: a pseudo terminal of a given size, and what a person would see on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyte

from tests.waiting import eventually


class Terminal:
    """Runs one program; `text` is the screen as it is now, without the spaces at the ends of its lines."""

    def __init__(
        self, argv: Sequence[str], columns: int, rows: int, *, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = os.openpty()
        self.resize(columns, rows, tell=False)
        self.raw = b""
        self.process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**env, "TERM": "xterm-256color"}, cwd=cwd,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)

    @property
    def text(self) -> str:
        self._read()
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def until(self, words: str, timeout: float = 15.0) -> str:
        """The screen, once `words` stand on it."""
        eventually(lambda: words in self.text, timeout, f"{words!r} on the screen:\n{self.text}")
        return self.text

    def resize(self, columns: int, rows: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def ended(self, timeout: float = 10.0) -> int:
        """The exit status, once it has ended."""
        end = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < end:
            self._read()
        status = self.process.wait(0.1)
        self._read()
        return status

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._ours >= 0:
            os.close(self._ours)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # nobody writes any more
            while select.select([self._ours], [], [], 0.05)[0]:
                said = os.read(self._ours, 65536)
                self.raw += said
                self._stream.feed(said)
