"""A running `aragora-cp dev`, and what is left of it afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from tests.waiting import eventually


class DevProcess:
    """Started in a session of its own, as a terminal would; its output is read all along."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.file = data_dir / "dev.json"
        env = {name: value for name, value in os.environ.items() if not name.startswith("ARAGORA_CP_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aragora_cp.cli", "dev", "--port", "0", "--data-dir", str(data_dir), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.family: list[psutil.Process] = []

    @property
    def said(self) -> str:
        return "".join(self.lines)

    @property
    def told(self) -> dict[str, Any]:
        """What `dev.json` says now."""
        return json.loads(self.file.read_text())

    def until_ready(self) -> dict[str, Any]:
        eventually(lambda: self.file.exists() or self.process.poll() is not None, 100, "dev is ready")
        assert self.file.exists(), self.said
        return self.told

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        told = self.told
        headers = {"Authorization": f"Bearer {told['token']}"}
        return httpx.request(method, f"{told['url']}/api/control-plane{path}", headers=headers, timeout=40, **more)

    def remember_family(self) -> None:
        """Every process that must be gone in the end."""
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, word: signal.Signals = signal.SIGINT) -> int:
        """End it and wait; answers its exit status."""
        self.process.send_signal(word)
        status = self.process.wait(60)
        self._reader.join(10)
        return status

    def kill(self) -> None:
        """However a test ended: nothing of it stays."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.family += psutil.Process(self.process.pid).children(recursive=True)
        for process in self.family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def listens(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0
