"""Real store servers for tests: Valkey from its wheel, Redis where it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from aragora_cp.embedded import find_server, free_port
from tests.waiting import eventually

#: What a suite that must hold on every supported server is parametrised with.
EVERY_SERVER = ("valkey", "redis")


def program(kind: str) -> Path:
    """The server's program. One that is missing skips the test at home and fails it in CI."""
    if kind == "valkey":
        return find_server()
    found = shutil.which("redis-server")
    if found is None:
        told = "redis-server is not on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    return Path(found)


class StoreServer:
    """One server process on a port of its own; the port and the data stay the same over `kill` and `start`."""

    def __init__(self, kind: str, folder: Path, *, keep: bool = False) -> None:
        """`keep`: with an append-only file that is written at once."""
        self._program = program(kind)
        self._folder = folder
        self._keep = keep
        self._process: subprocess.Popen[bytes] | None = None
        self.kind = kind
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"

    def settings(self) -> dict[str, str]:
        """By name, as in the server's own settings file."""
        return {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._folder),
            "save": "",
            "appendonly": "yes" if self._keep else "no",
            "appendfsync": "always",
            "logfile": str(self._folder / "server.log"),
        }

    def start(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        arguments = [part for name, value in self.settings().items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([str(self._program), *arguments], stdin=subprocess.DEVNULL)
        eventually(self.answers, 15, "the server takes commands")
        return self

    def client(self) -> redis.Redis:
        """With a short bound, and without retries."""
        return redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), socket_timeout=1, **self.options())

    def options(self) -> dict[str, Any]:
        """What the driver wants to know beside the URL."""
        return {}

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """As a power cut would: no goodbye to anyone."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It stays connected and answers nothing until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, word: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(word)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
