"""/workspaces: who may, what changes, what holds when."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from aragora_cp.api.app import create_app
from aragora_cp.api.services import services
from aragora_cp.model import Role
from aragora_cp.wiring import ControlPlane
from tests.waiting import eventually

from .conftest import SUBMIT, Caller, MakeCaller


@pytest.fixture
def admin(caller: MakeCaller) -> Caller:
    return caller(Role.ADMIN, None)


@pytest.fixture
def second(plane: ControlPlane) -> Any:
    """Another process over the same store."""
    app = create_app(plane)
    yield app
    services(app).close()


def test_a_workspaces_life(admin: Caller) -> None:
    made = admin.post("/workspaces", {"workspace": "new", "name": "New", "weight": 3, "max_pending": 10})
    assert made.status_code == 201
    assert made.json | {"created_at": ""} == {
        "workspace": "new", "name": "New", "status": "active", "weight": 3, "max_pending": 10, "max_running": None,
        "max_payload_bytes": None, "max_result_bytes": None, "max_agents": None, "max_tokens": None,
        "retention": None, "placement": "auto", "encryption": False, "rate_limits": None,
        "unknown_price": None, "created_at": "",
    }  # fmt: skip
    assert made.headers["Location"].endswith("/workspaces/new")
    assert admin.get("/workspaces/new").json == made.json
    assert admin.post("/workspaces", {"workspace": "new"}).json["code"] == "conflict"
    changed = admin.call("PATCH", "/workspaces/new", json={"max_pending": None, "retention": 60})
    assert changed.json == made.json | {"max_pending": None, "retention": 60.0}
    gone = admin.delete("/workspaces/new")
    assert (gone.status_code, gone.json["status"]) == (202, "deleting")
    assert admin.delete("/workspaces/new").status_code == 202
    assert admin.call("PATCH", "/workspaces/new", json={"weight": 1}).status_code == 409
    assert admin.get("/tasks", headers={"X-Workspace-ID": "new"}).status_code == 404


def test_pages(admin: Caller) -> None:
    names, path = [], "/workspaces?limit=2"
    while True:
        page = admin.get(path).json
        names += [each["workspace"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        path = f"/workspaces?limit=2&cursor={page['next_cursor']}"
    assert names == ["acme", "beta", "default"]
    assert admin.get("/workspaces?cursor=A!").status_code == 400


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "workspace"),
        ({"workspace": "A"}, "workspace"),
        ({"workspace": "shared"}, "workspace"),
        ({"workspace": "x", "weight": 101}, "weight"),
        ({"workspace": "x", "weight": None}, "weight"),
        ({"workspace": "x", "max_pending": "5"}, "max_pending"),
        ({"workspace": "x", "placement": "else"}, "placement"),
        ({"workspace": "x", "status": "suspended"}, "status"),
        ({"workspace": "x", "max_colours": 5}, "max_colours"),
    ],
)
def test_bad_settings(admin: Caller, body: dict[str, Any], named: str) -> None:
    answer = admin.post("/workspaces", body)
    assert (answer.status_code, list(answer.json["errors"])) == (422, [named])


@pytest.mark.parametrize("status", ["deleting", "gone", None])
def test_bad_states(admin: Caller, status: str | None) -> None:
    assert admin.call("PATCH", "/workspaces/acme", json={"status": status}).status_code == 422


@pytest.mark.parametrize("name", ["nowhere", "A", "a%20b", "{x}"])
def test_what_is_not_there(admin: Caller, name: str) -> None:
    for method, body in (("GET", None), ("PATCH", {"weight": 1}), ("DELETE", None)):
        answer = admin.call(method, f"/workspaces/{name}", **({"json": body} if body else {}))
        assert (answer.status_code, answer.json["code"]) == (404, "not-found")


def test_a_workspace_has_its_own_limit_of_payloads(admin: Caller, submitter: Caller) -> None:
    """The server's is 4,096 here; what is around a payload may have 96 KiB beside."""
    large = {**SUBMIT, "payload": {"text": "x" * 5000}}
    huge = {**SUBMIT, "payload": {"text": "x" * 300_000}}
    assert submitter.post("/tasks/submit", large).status_code == 413
    admin.call("PATCH", "/workspaces/acme", json={"max_payload_bytes": 400_000})
    eventually(lambda: submitter.post("/tasks/submit", huge).status_code == 202, 2, "the larger limit holds")
    admin.call("PATCH", "/workspaces/acme", json={"max_payload_bytes": 10})
    eventually(lambda: submitter.post("/tasks/submit", dict(SUBMIT)).status_code == 202, 2, "the smaller one too")
    assert submitter.post("/tasks/submit", {**SUBMIT, "payload": {"text": "more"}}).json["code"] == "payload-too-large"


def test_a_workspace_has_its_own_limit_of_results(admin: Caller, agent: Caller, submitter: Caller, claim: Any) -> None:
    admin.call("PATCH", "/workspaces/acme", json={"max_result_bytes": 20})
    session = agent.register("a1")["session"]
    task = submitter.submit()["task_id"]
    held = claim(task, "a1").hold
    report = {"session": session, "attempt": 1, "lease": held.lease}
    assert agent.post(f"/tasks/{task}/complete", {**report, "result": "x" * 20}).status_code == 413
    assert agent.post(f"/tasks/{task}/complete", {**report, "result": "x" * 18}).status_code == 200


def test_suspending_holds_in_every_process_and_reading_goes_on(admin: Caller, second: Flask, submitter: Caller) -> None:
    elsewhere = Caller(second.test_client(), submitter.token)
    task = elsewhere.submit()["task_id"]
    admin.call("PATCH", "/workspaces/acme", json={"status": "suspended"})
    for each in (submitter, elsewhere):
        refused = each.post("/tasks/submit", dict(SUBMIT))
        assert (refused.status_code, refused.json["code"]) == (409, "conflict")
        assert "suspended" in refused.json["detail"]
        assert each.get(f"/tasks/{task}").status_code == 200
    admin.call("PATCH", "/workspaces/acme", json={"status": "active"})
    assert elsewhere.submit()["status"] == "PENDING"


def test_a_deleted_workspaces_tokens_are_worthless_everywhere(admin: Caller, second: Flask, viewer: Caller) -> None:
    elsewhere = Caller(second.test_client(), viewer.token)
    assert elsewhere.get("/tasks").status_code == viewer.get("/tasks").status_code == 200
    admin.delete("/workspaces/acme")
    for each in (viewer, elsewhere):
        eventually(lambda each=each: each.get("/tasks").status_code == 401, 2, "the token is worthless")


def test_quotas_are_named(admin: Caller, submitter: Caller, agent: Caller, operator: Caller) -> None:
    admin.call("PATCH", "/workspaces/acme", json={"max_pending": 1, "max_agents": 1, "max_tokens": 3})
    submitter.submit()
    agent.register("a1")
    calls = {
        "max_pending": lambda: submitter.post("/tasks/submit", dict(SUBMIT)),
        "max_agents": lambda: agent.post(
            "/agents/register", {"agent_id": "a2", "capabilities": ["code"], "model": "m"}
        ),
        "max_tokens": lambda: operator.post("/tokens", {"role": "viewer", "name": "n"}),
    }
    for quota, call in calls.items():
        answer = call()
        assert (answer.status_code, answer.json["code"], answer.json["quota"]) == (429, "quota-exceeded", quota)
        assert answer.json["limit"] == answer.json["used"]
        assert answer.headers["Retry-After"]
