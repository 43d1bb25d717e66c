"""Real servers and real workers for the acceptance tests, behind pytest-celery's nodes and clusters.

The plugin's own fixtures make a setup of `celery_broker`, `celery_backend` and `celery_worker`; those three are ours.
A test module gets one server, one monitor, and the agents that its tests share: `AGENTS` in the module names them, with
what `start_agent` takes. Tests that stop or kill agents start their own with it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from pytest_celery import CeleryTestSetup, CeleryWorkerCluster

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Role
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane, build
from tests.acceptance.cluster.caller import Caller
from tests.acceptance.cluster.nodes import (
    AgentContainer,
    AgentNode,
    ControlPlaneSetup,
    ValkeyBackend,
    ValkeyBroker,
    ValkeyContainer,
)

StartAgent = Callable[..., AgentNode]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def celery_broker(folder: Path) -> Iterator[ValkeyBroker]:
    container = ValkeyContainer(folder)
    container.start()
    broker = ValkeyBroker(container)
    try:
        broker.ready()
        yield broker
    finally:
        broker.teardown()


@pytest.fixture(scope="module")
def celery_backend(celery_broker: ValkeyBroker) -> ValkeyBackend:
    return ValkeyBackend(celery_broker.container)


@pytest.fixture
def celery_setup_cls() -> type[CeleryTestSetup]:
    return ControlPlaneSetup


@pytest.fixture(scope="module")
def config(celery_broker: ValkeyBroker) -> ControlPlaneConfig:
    """Short heartbeats and a short grace: the tests wait for both."""
    return ControlPlaneConfig(
        redis_url=celery_broker.config()["url"], heartbeat_timeout=3.0, heartbeat_interval=1.0, kill_grace=1.0
    )


@pytest.fixture(scope="module")
def plane(config: ControlPlaneConfig) -> Iterator[ControlPlane]:
    """The parts of the control plane in this process, and a monitor over them."""
    plane = build(config)
    plane.workspaces.create("acme", {})
    stop = threading.Event()
    monitor = threading.Thread(target=plane.monitor().run, args=(stop,), name="monitor")
    monitor.start()
    try:
        yield plane
    finally:
        stop.set()
        monitor.join()
        plane.close()


@pytest.fixture
def caller(plane: ControlPlane) -> Caller:
    return Caller(plane)


@pytest.fixture(scope="module")
def agent_env(config: ControlPlaneConfig, plane: ControlPlane) -> dict[str, str]:
    """The environment of an agent of the platform."""
    token = TokenIssuer(plane.tokens).issue(workspace=None, role=Role.AGENT, name="acceptance").text
    outside = {name: value for name, value in os.environ.items() if not name.startswith("ARAGORA_CP_")}
    return outside | config.to_env() | {"ARAGORA_CP_AGENT_TOKEN": token}


def _agents(folder: Path, env: Mapping[str, str]) -> Iterator[StartAgent]:
    nodes: list[AgentNode] = []

    def start(
        agent_id: str, options: str = "", *, capabilities: str = "work", ready: bool = True, **more: str
    ) -> AgentNode:
        """``celery worker -n <agent_id>@h <options>``; `more` are further variables of its environment. Without `ready`
        it is still starting when this answers."""
        container = AgentContainer(
            agent_id,
            *("-n", f"{agent_id}@h", *options.split()),
            env={**env, "HELPER_CAPABILITIES": capabilities, **more},
            folder=folder,
        )
        node = AgentNode(container, app=None)
        nodes.append(node)
        container.start()
        if ready:
            node.ready()
        return node

    try:
        yield start
    finally:
        for node in nodes:
            node.teardown()


@pytest.fixture
def start_agent(folder: Path, agent_env: Mapping[str, str]) -> Iterator[StartAgent]:
    """Starts agents that end with the test."""
    yield from _agents(folder, agent_env)


@pytest.fixture(scope="module")
def celery_worker_cluster(
    request: pytest.FixtureRequest, folder: Path, agent_env: Mapping[str, str]
) -> Iterator[CeleryWorkerCluster]:
    """The agents that the module's tests share; they start side by side."""
    for start in _agents(folder, agent_env):
        launches = request.module.AGENTS.items()
        cluster = CeleryWorkerCluster(*(start(agent_id, ready=False, **launch) for agent_id, launch in launches))
        cluster.ready()
        yield cluster


@pytest.fixture(scope="module")
def celery_worker(celery_worker_cluster: CeleryWorkerCluster) -> AgentNode:
    """The first of them."""
    return celery_worker_cluster[0]
