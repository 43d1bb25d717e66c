"""An agent that starts where root keys are missing says so, in one line."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from aragora_cp import Agent
from aragora_cp.agent_host import LocalAgentHost
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import ConfigError
from aragora_cp.model import Role
from aragora_cp.tenancy.tokens import TokenIssuer
from tests.conftest import short_config
from tests.fleet import Fleet
from tests.servers import StoreServer

K1, K2 = (f"k{n}:{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))


@pytest.fixture
def config(server: StoreServer) -> ControlPlaneConfig:
    return short_config(server, encryption_keys=K1)


def enter(fleet: Fleet, **settings: str) -> None:
    fleet.client.hset(fleet.keys("workspace"), mapping={"status": "active", **settings})
    fleet.client.zadd(fleet.fleet_keys("workspaces"), {fleet.workspace: 0})


def start(fleet: Fleet, keys: str, workspace: str | None) -> list[str]:
    """Have an agent register; answers the warnings that it logs."""
    agent = Agent(capabilities=["code"], model="m")
    agent.task("t")(lambda payload, ctx: None)
    token = TokenIssuer(fleet.plane.tokens).issue(workspace=workspace, role=Role.AGENT).text
    host = LocalAgentHost(agent, replace(fleet.config, encryption_keys=keys), agent_id="a1", token=token)
    with capture_logs() as lines:
        host.prepare(node=None, concurrency=1, pool="prefork")
    host.leave()
    host._parts().close()
    return [f"{line['event']} {line.get('workspaces')}" for line in lines if line["log_level"] == "warning"]


@pytest.mark.parametrize("keys", ["", K2])
def test_a_private_agent_without_its_workspaces_key_does_not_start(fleet: Fleet, keys: str) -> None:
    enter(fleet)
    fleet.submit()
    with pytest.raises(
        ConfigError, match="the workspace acme is encrypted and its root key is not here; set ARAGORA_CP_"
    ):
        start(fleet, keys, "acme")


def test_nor_one_of_a_workspace_that_requires_encryption(fleet: Fleet) -> None:
    enter(fleet, encryption="1")
    with pytest.raises(ConfigError, match="acme is encrypted"):
        start(fleet, "", "acme")
    assert start(fleet, K1, "acme") == []


def test_a_shared_agent_says_for_whom_it_cannot_work(fleet: Fleet) -> None:
    fleet.submit()
    assert start(fleet, "", None) == ["no work for workspaces whose root key is not here acme"]
    assert start(fleet, K1, None) == []
