"""A world in which A has possessions, and the same one without them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from aragora_cp.api.app import create_app
from aragora_cp.api.services import services
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.wiring import build
from tests.api.conftest import RecordingBroker
from tests.isolation.estate import A, B, Estate, settle
from tests.isolation.worlds import World
from tests.servers import StoreServer


def _world(server: StoreServer) -> Iterator[World]:
    config = ControlPlaneConfig(redis_url=server.url, key_prefix=f"t{uuid.uuid4().hex}:")
    plane = build(config, broker=RecordingBroker())
    for workspace in (A, B):
        plane.workspaces.create(workspace, {})
    app = create_app(plane)
    try:
        yield World.make(plane, app)
    finally:
        services(app).close()
        plane.close()


@pytest.fixture
def bare(server: StoreServer) -> Iterator[World]:
    yield from _world(server)


@pytest.fixture
def full(server: StoreServer) -> Iterator[World]:
    yield from _world(server)


@pytest.fixture
def estate(full: World) -> Estate:
    return settle(full.plane, full.operator_of_a())
