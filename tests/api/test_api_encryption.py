"""What callers see of encryption: nothing, unless a key is missing; and then a problem or a null, never a 500."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from aragora_cp.api.app import create_app
from aragora_cp.api.services import services
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import AgentSpec, Claim, Hold, Role
from aragora_cp.store.keys import workspace_keys
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane, build
from tests.api.conftest import Caller, RecordingBroker

K1 = f"k1:{base64.b64encode(bytes(32)).decode()}"
SECRET = "c4nary"


@pytest.fixture
def config(config: ControlPlaneConfig) -> ControlPlaneConfig:
    return replace(config, encryption_keys=K1)


@pytest.fixture
def without(plane: ControlPlane, config: ControlPlaneConfig, broker: RecordingBroker) -> Iterator[Caller]:
    """An operator's calls to a server of the same control plane that has no root key."""
    other = build(replace(config, encryption_keys=""), broker=broker)
    app = create_app(other)
    token = TokenIssuer(plane.tokens).issue(workspace="acme", role=Role.OPERATOR).text
    yield Caller(app.test_client(), token)
    services(app).close()
    other.close()


def completed(plane: ControlPlane, operator: Caller, leases: Iterator[int] = itertools.count()) -> str:  # noqa: B008
    task_id = operator.submit(payload={"ask": SECRET}, idempotency_key=f"k{next(leases)}")["task_id"]
    spec = AgentSpec("a1", ("code",), workspace="acme")
    claim = plane.scheduler.claim(Hold("acme", task_id, 1, f"lease-{next(leases)}"), spec)
    assert isinstance(claim, Claim)
    plane.scheduler.progress(claim.hold, percent=5, message=SECRET)
    plane.scheduler.finish(claim.hold, f'"{SECRET}"'.encode(), spec)
    return task_id


def test_with_the_key_nothing_is_different(plane: ControlPlane, operator: Caller) -> None:
    task = operator.get(f"/tasks/{completed(plane, operator)}").json
    assert (task["payload"], task["result"], task["error"]) == ({"ask": SECRET}, SECRET, None)
    assert task["progress"] == {"percent": 5.0, "message": SECRET}


def test_a_server_without_the_key_shows_the_task_without_what_it_says(
    plane: ControlPlane, operator: Caller, without: Caller
) -> None:
    task_id = completed(plane, operator)
    answer = without.get(f"/tasks/{task_id}")
    assert answer.status_code == 200
    assert (answer.json["status"], answer.json["payload"], answer.json["result"]) == ("COMPLETED", None, None)
    assert answer.json["error"]["code"] == "unreadable"
    page = without.get("/tasks")
    assert page.status_code == 200
    assert [item["task_id"] for item in page.json["items"]] == [task_id]
    assert SECRET not in page.text + answer.text


def test_destroyed_keys_are_no_fault_of_the_server(plane: ControlPlane, operator: Caller) -> None:
    done = completed(plane, operator)
    waiting = operator.submit(payload={"ask": SECRET})["task_id"]
    plane.scheduler._store.vault.destroy("acme")
    for task_id in (done, waiting):
        answer = operator.get(f"/tasks/{task_id}")
        assert (answer.status_code, answer.json["payload"]) == (200, None)
        assert answer.json["error"]["code"] == "unreadable"
    assert operator.get("/tasks").status_code == 200
    assert operator.post(f"/tasks/{waiting}/cancel").status_code == 200
    assert operator.post(f"/tasks/{waiting}/retry").status_code == 202


def test_a_server_without_keys_takes_no_task_that_must_be_encrypted(plane: ControlPlane, without: Caller) -> None:
    key = workspace_keys(plane.config.key_prefix, "acme")("workspace")
    plane.client.hset(key, "encryption", "1")
    answer = without.post("/tasks/submit", {"task_type": "t", "payload": {"ask": SECRET}, "required_capabilities": []})
    assert (answer.status_code, answer.json["code"]) == (503, "encryption-unavailable")
    assert "Retry-After" in answer.headers
    assert plane.client.zcard(workspace_keys(plane.config.key_prefix, "acme")("tasks")) == 0
