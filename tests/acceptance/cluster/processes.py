"""A local process that looks like a container to pytest-celery."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class ProcessContainer:
    """What pytest-celery uses of the Docker SDK's ``Container``, over one process and its children.

    This is the seam to containers: the classes of `nodes` take whichever of the two they are given. As in a container,
    killing the main process with SIGKILL takes all others along, every other signal is for the main process alone, and
    the standard streams are one log. Unlike there, the log starts anew with each run.
    """

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str], folder: Path) -> None:
        self.id = uuid.uuid4().hex
        self.name = name
        self._command = list(command)
        self._env = dict(env)
        self._log = folder / f"{name}.{self.id[:8]}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def attrs(self) -> dict[str, Any]:
        return {
            "Config": {"Env": [f"{name}={value}" for name, value in self._env.items()]},
            "NetworkSettings": {"Networks": {}, "Ports": {}},
        }

    @property
    def status(self) -> str:
        if self._process is None:
            return "created"
        return "running" if self._process.poll() is None else "exited"

    def reload(self) -> None:
        """Nothing to fetch: `status` and `attrs` are always of now."""

    def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, signal: str | int | None = None) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        number = _number(signal)
        if number != _KILL:
            os.kill(self._process.pid, number)
            return
        os.killpg(self._process.pid, number)
        self._process.wait()

    def wait(self, timeout: float) -> dict[str, int]:
        """Raises subprocess.TimeoutExpired when it still runs after `timeout` seconds."""
        assert self._process is not None
        return {"StatusCode": self._process.wait(timeout)}

    def stop(self, timeout: float = 10) -> None:
        self.kill("SIGTERM")
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self, timeout: float = 10) -> None:
        if self.status == "running":
            self.stop(timeout)
        self.start()

    def logs(self) -> bytes:
        return self._log.read_bytes() if self._log.exists() else b""

    def remove(self, force: bool = False) -> None:
        if force:
            self.kill()
        self._log.unlink(missing_ok=True)


_KILL = signal.SIGKILL


def _number(name: str | int | None) -> int:
    if name is None:
        return _KILL
    return name if isinstance(name, int) else signal.Signals[name]
