"""pytest-celery's nodes as this project needs them: Valkey as broker and backend, agents as workers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery
from pytest_celery import (
    CeleryTestBackend,
    CeleryTestBroker,
    CeleryTestContainer,
    CeleryTestSetup,
    CeleryTestWorker,
)
from pytest_docker_tools.exceptions import ContainerFailed

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.embedded import LOOPBACK, find_server, free_port
from aragora_cp.engine.app import make_app
from tests.acceptance.cluster.processes import ProcessContainer
from tests.waiting import eventually

AGENT_MODULE = "tests.acceptance.agents.helper"
_START_UP = 20.0


class NodeContainer(CeleryTestContainer):
    """Waits more finely than the plugin, which looks once a second."""

    def ready(self) -> bool:
        """Raises ContainerFailed when it ends before it is ready."""
        prompt = self.ready_prompt or ""

        def up() -> bool:
            if self.status == "exited":
                raise ContainerFailed(self, f"{self.name} ended early: {self.logs()}")
            return prompt in self.logs()

        return eventually(up, _START_UP, f"{self.name} is ready")

    def start(self) -> None:
        self._container.start()

    def wait(self, timeout: float) -> int:
        """The exit status, once it has ended."""
        return self._container.wait(timeout)["StatusCode"]

    def teardown(self) -> None:
        self._container.remove(force=True)


class ValkeyContainer(NodeContainer):
    """One server without persistence, for one test module."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(ProcessContainer("valkey", self.command(self.port), env=os.environ, folder=folder))

    @classmethod
    def command(cls, port: int) -> list[str]:  # type: ignore[override]
        return [str(find_server()), "--port", str(port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no"]

    @property
    def ready_prompt(self) -> str:
        return "Ready to accept connections"

    @property
    def celeryconfig(self) -> dict[str, str]:
        url = f"redis://{LOOPBACK}:{self.port}"
        return {"url": url, "host_url": url}


class AgentContainer(NodeContainer):
    """``celery -A <module> worker``, as its user would type it."""

    def __init__(self, name: str, *options: str, env: Mapping[str, str], folder: Path) -> None:
        super().__init__(ProcessContainer(name, self.command(*options), env=env, folder=folder))

    @classmethod
    def command(cls, *options: str) -> list[str]:  # type: ignore[override]
        return [sys.executable, "-m", "celery", "-A", AGENT_MODULE, "worker", *options]

    @property
    def ready_prompt(self) -> str:
        return "agent ready"


class ValkeyBroker(CeleryTestBroker):
    container: ValkeyContainer


class ValkeyBackend(CeleryTestBackend):
    """The same server: what it keeps of results are the control plane's records."""

    container: ValkeyContainer


class AgentNode(CeleryTestWorker):
    """One agent's process."""

    container: AgentContainer

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its log, one record a line."""
        return [json.loads(line) for line in self.logs().splitlines() if line.startswith("{")]

    def wait_for_log(self, log: str, message: str = "", timeout: float = 10) -> None:
        eventually(lambda: log in self.logs(), timeout, message or f"{self.name()} logs {log!r}")

    def wait_for_exit(self, timeout: float) -> int:
        return self.container.wait(timeout)


class ControlPlaneSetup(CeleryTestSetup):
    """Its app is the control plane's own, with the settings that agents have."""

    @classmethod
    def create_setup_app(cls, celery_setup_config: dict[str, Any], celery_setup_app_name: str) -> Celery:
        return make_app(ControlPlaneConfig(redis_url=celery_setup_config["broker_url"]))
