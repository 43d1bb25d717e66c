"""The OpenAPI document, the page made of it, and whether answers are what the document says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from aragora_cp.api.app import BASE
from aragora_cp.api.schemas.agents import AgentPageSchema, AgentSchema, BeatSchema, RegisteredAgentSchema
from aragora_cp.api.schemas.health import HealthSchema, LiveSchema, ProblemSchema, ReadySchema
from aragora_cp.api.schemas.tasks import TaskPageSchema, TaskSchema

from .conftest import SUBMIT, Caller


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    return app.test_client().get("/openapi.json").json


def _operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation | {"shared": methods.get("parameters", [])}
        for methods in document["paths"].values()
        for method, operation in methods.items()
        if method != "parameters"
    }


def test_it_is_served_in_both_places(app: Flask, document: dict[str, Any]) -> None:
    assert app.test_client().get(f"{BASE}/openapi.json").json == document
    assert document["openapi"] == "3.1.0"
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_the_decision_records_endpoints_are_there(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert "post" in paths[f"{BASE}/agents/register"]
    assert "get" in paths[f"{BASE}/agents"]
    assert "post" in paths[f"{BASE}/tasks/submit"]
    assert "get" in paths[f"{BASE}/tasks/{{task_id}}"]
    assert "get" in paths[f"{BASE}/health"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', str(document).replace("'", '"')):
        node: Any = document
        for part in reference.split("/"):
            node = node[part]
        assert node


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    operations = _operations(document)
    assert len(operations) == sum(len(set(methods) - {"parameters"}) for methods in document["paths"].values())
    for name, operation in operations.items():
        assert operation["summary"], name
        statuses = set(operation["responses"])
        assert any(status.startswith("2") for status in statuses), name
        assert "500" in statuses, name
        if operation["security"]:
            assert statuses >= {"401", "403", "503"}, name
        if "requestBody" in operation:
            assert statuses >= {"400", "413", "415", "422"}, name
        for status, answer in operation["responses"].items():
            assert answer["description"]
            if status >= "400" and not (name in ("health", "readyz") and status == "503"):
                assert list(answer["content"]) == ["application/problem+json"], (name, status)


def test_headers_and_queries_are_documented(document: dict[str, Any]) -> None:
    operations = _operations(document)
    assert [each["name"] for each in operations["submit_task"]["shared"]] == ["Idempotency-Key"]
    assert {each["name"] for each in operations["get_task"]["shared"]} == {"Prefer", "task_id"}
    queries = {each.get("name") for each in operations["list_tasks"]["parameters"]}
    assert queries >= {"status", "task_type", "agent_id", "limit", "cursor"}


def test_request_bodies_close_the_door_to_unknown_fields(document: dict[str, Any]) -> None:
    for name in ("Submit", "Register", "Heartbeat", "Complete", "Fail", "Progress"):
        assert document["components"]["schemas"][name]["additionalProperties"] is False


def test_answers_have_the_documented_fields_and_no_others(
    app: Flask, agent: Caller, submitter: Caller, operator: Caller, claim: Any
) -> None:
    registered = agent.register("code-1")
    RegisteredAgentSchema().load(registered)
    task = submitter.submit(retry_backoff={"initial": 60})
    TaskSchema().load(task)
    lease = claim(task["task_id"], "code-1").hold.lease
    report = {"session": registered["session"], "attempt": 1, "lease": lease}
    path = f"/tasks/{task['task_id']}"
    usage = {"input_tokens": 1, "output_tokens": 2, "model": "m", "cost": "0.5"}
    TaskSchema().load(agent.post(f"{path}/progress", {**report, "percent": 5, "message": "x", "usage": usage}).json)
    TaskSchema().load(agent.post(f"{path}/fail", {**report, "message": "m", "retryable": True}).json)
    TaskSchema().load(operator.get(path).json)
    TaskSchema().load(operator.post(f"{path}/cancel").json)
    TaskSchema().load(operator.post(f"{path}/retry").json)
    TaskPageSchema().load(operator.get("/tasks").json)
    AgentSchema().load(operator.get("/agents/code-1").json)
    AgentPageSchema().load(operator.get("/agents").json)
    BeatSchema().load(agent.post("/agents/code-1/heartbeat", {"session": registered["session"], "running": []}).json)
    HealthSchema().load(operator.get("/health").json)
    LiveSchema().load(operator.get("/livez").json)
    ReadySchema().load(operator.get("/readyz").json)
    ProblemSchema().load(submitter.post("/tasks/submit", {**SUBMIT, "x": 1}).json)


@pytest.mark.parametrize("path", ["/docs", f"{BASE}/docs"])
def test_the_page_lists_every_operation_and_loads_nothing(app: Flask, document: dict[str, Any], path: str) -> None:
    answer = app.test_client().get(path)
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    for name in _operations(document):
        assert f'id="{name}"' in answer.text
    assert not re.search(r"https?://|<script|<link|<img|@import|url\(", answer.text)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
