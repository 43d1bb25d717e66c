"""Fixtures for every suite: one store server a session, a key prefix of its own for every test."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, settings

from aragora_cp.config import ControlPlaneConfig
from tests.fleet import Fleet
from tests.servers import StoreServer

settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), max_examples=150)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")

_numbers = itertools.count()


@pytest.fixture(scope="session")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, StoreServer]]:
    started: dict[str, StoreServer] = {}
    yield started
    for server in started.values():
        server.stop()


@pytest.fixture
def server(
    request: pytest.FixtureRequest, _servers: dict[str, StoreServer], tmp_path_factory: pytest.TempPathFactory
) -> StoreServer:
    """The session's server: Valkey, or what a suite is parametrised with. It outlives the test; leave it running."""
    kind = getattr(request, "param", "valkey")
    if kind not in _servers:
        _servers[kind] = StoreServer(kind, tmp_path_factory.mktemp(kind)).start()
    return _servers[kind]


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """A server of the test's own, to be killed and started again; it keeps its data."""
    server = StoreServer("valkey", tmp_path_factory.mktemp("own"), keep=True).start()
    yield server
    server.stop()


def short_config(server: StoreServer, **more: object) -> ControlPlaneConfig:
    """Settings with times that a test can wait for, under a prefix of their own."""
    given = {
        "redis_url": server.url,
        "key_prefix": f"t{next(_numbers)}-{uuid.uuid4().hex[:8]}:",
        "heartbeat_timeout": 10.0,
        "heartbeat_interval": 1.0,
        "monitor_interval": 0.02,
        "redis_timeout": 2.0,
        "kill_grace": 0.2,
    }
    return ControlPlaneConfig(**(given | more))  # type: ignore[arg-type]


@pytest.fixture
def config(server: StoreServer) -> ControlPlaneConfig:
    return short_config(server)


@pytest.fixture
def client(server: StoreServer, config: ControlPlaneConfig) -> Iterator[redis.Redis]:
    """A plain client of the session's server; the test's keys go with it."""
    with redis.Redis.from_url(server.url) as plain:
        yield plain
        for key in plain.scan_iter(match=f"{config.key_prefix}*", count=1000):
            plain.unlink(key)


@pytest.fixture
def fleet(config: ControlPlaneConfig, client: redis.Redis) -> Iterator[Fleet]:
    """The parts of a control plane over the session's server and a recording broker."""
    parts = Fleet(config)
    yield parts
    parts.close()


@pytest.fixture
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """The monitor's own spans, short enough to wait for. Its leader's lease is longer than the gap that it forgives."""
    monkeypatch.setattr("aragora_cp.reconciler.COUNT_QUEUES", 0.02)
    monkeypatch.setattr("aragora_cp.reconciler.LEADER_LEASE", 0.3)
    monkeypatch.setattr("aragora_cp.reconciler.TICK_GAP", 0.2)
    monkeypatch.setattr("aragora_cp.store.sweeps.RESEND_MS", 150)
    monkeypatch.setattr("aragora_cp.store.sweeps.MOVE_MS", 40)
