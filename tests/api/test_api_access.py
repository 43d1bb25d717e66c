"""Who may do what, and where: roles, workspaces, tokens."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from aragora_cp.api.app import BASE
from aragora_cp.model import Role
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane

from .conftest import SUBMIT, Caller, MakeCaller

UNKNOWN = "0196f9a0-0000-7000-8000-000000000000"

#: The contract's table, by operation.
NEEDED = {
    "submit_task": Role.SUBMITTER,
    "list_tasks": Role.VIEWER,
    "get_task": Role.VIEWER,
    "explain_task": Role.VIEWER,
    "cancel_task": Role.SUBMITTER,
    "retry_task": Role.OPERATOR,
    "complete_task": Role.AGENT,
    "fail_task": Role.AGENT,
    "report_progress": Role.AGENT,
    "register_agent": Role.AGENT,
    "list_agents": Role.VIEWER,
    "get_agent": Role.VIEWER,
    "heartbeat": Role.AGENT,
    "drain_agent": Role.OPERATOR,
    "resume_agent": Role.OPERATOR,
    "get_breaker": Role.VIEWER,
    "force_breaker": Role.OPERATOR,
    "remove_agent": Role.OPERATOR,
    "create_workspace": Role.ADMIN,
    "list_workspaces": Role.ADMIN,
    "get_workspace": Role.ADMIN,
    "change_workspace": Role.ADMIN,
    "delete_workspace": Role.ADMIN,
    "list_audit": Role.OPERATOR,
    "verify_audit": Role.OPERATOR,
    "export_audit": Role.OPERATOR,
    "list_flags": Role.OPERATOR,
    "get_flag": Role.OPERATOR,
    "set_flag": Role.OPERATOR,
    "delete_flag": Role.OPERATOR,
    "roll_back_flag": Role.OPERATOR,
    "evaluate_flag": Role.OPERATOR,
    "list_queues": Role.VIEWER,
    "list_limits": Role.OPERATOR,
    "put_budget": Role.OPERATOR,
    "list_budgets": Role.OPERATOR,
    "get_budget": Role.OPERATOR,
    "delete_budget": Role.OPERATOR,
    "get_usage": Role.OPERATOR,
    "get_prices": Role.OPERATOR,
    "put_prices": Role.OPERATOR,
    "approve_task": Role.OPERATOR,
    "reject_task": Role.OPERATOR,
    "list_approvals": Role.OPERATOR,
    "list_policies": Role.OPERATOR,
    "get_policy": Role.OPERATOR,
    "publish_policy": Role.OPERATOR,
    "delete_policy": Role.OPERATOR,
    "test_policy": Role.OPERATOR,
    "list_policy_versions": Role.OPERATOR,
    "rollback_policy": Role.OPERATOR,
    "replay_policy": Role.OPERATOR,
    "create_token": Role.OPERATOR,
    "list_tokens": Role.OPERATOR,
    "revoke_token": Role.OPERATOR,
    "rotate_token": Role.OPERATOR,
    "list_alerts": Role.OPERATOR,
    "list_silences": Role.OPERATOR,
    "set_silence": Role.OPERATOR,
    "remove_silence": Role.OPERATOR,
    "list_deliveries": Role.ADMIN,
    "test_alerts": Role.ADMIN,
}
PUBLIC = {"health", "livez", "readyz", "metrics"}
ALLOWED = {
    Role.VIEWER: {Role.VIEWER},
    Role.SUBMITTER: {Role.VIEWER, Role.SUBMITTER},
    Role.OPERATOR: {Role.VIEWER, Role.SUBMITTER, Role.OPERATOR, Role.AGENT},
    Role.AGENT: {Role.AGENT},
    Role.ADMIN: set(Role),
}


def _operations(app: Flask) -> list[tuple[str, str, dict[str, Any]]]:
    """Every operation: method, path below the base with something in its holes, and what the document says of it."""
    paths = app.test_client().get("/openapi.json").json["paths"]
    return [
        (method.upper(), re.sub(r"\{.*?\}", UNKNOWN, path.removeprefix(BASE)), operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method != "parameters"
    ]


def test_the_table_covers_every_operation(app: Flask) -> None:
    for _, _, operation in _operations(app):
        name = operation["operationId"]
        if name in PUBLIC:
            assert operation["security"] == []
        else:
            assert operation["security"] == [{"bearer": []}]
            assert operation["x-role"] == NEEDED[name]


@pytest.mark.parametrize("role", Role)
def test_every_role_on_every_operation(app: Flask, caller: MakeCaller, role: Role) -> None:
    with_role = caller(role, None if role is Role.ADMIN else "acme")
    for method, path, operation in _operations(app):
        answer = with_role.call(method, path)
        name = operation["operationId"]
        refused = answer.status_code == 403 and answer.json["code"] == "forbidden"
        assert refused is (name not in PUBLIC and NEEDED[name] not in ALLOWED[role]), (name, answer.json)
        assert str(answer.status_code) in operation["responses"], (name, answer.status_code)


def test_no_operation_answers_without_a_token(app: Flask, anyone: Caller) -> None:
    for method, path, operation in _operations(app):
        if operation["operationId"] not in PUBLIC:
            answer = anyone.call(method, path, data=b"{" * 1_000_000)
            assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated"), path
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="aragora-cp"'


def test_an_operation_that_says_nothing_is_closed(app: Flask, operator: Caller) -> None:
    app.add_url_rule(f"{BASE}/forgotten", "forgotten", lambda: "open")
    assert operator.get("/forgotten").status_code == 500


class TestTokens:
    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Bearer x",
            "Bearer acp_0123456789abcdef_" + "x" * 43,
            "Bearer acp_0123456789abcdef_" + "x" * 4000,
            "Bearer acp_*_x",
            "acp_0123456789abcdef_" + "x" * 43,
        ],
    )
    def test_what_is_no_token_is_refused(self, anyone: Caller, header: str) -> None:
        answer = anyone.get("/tasks", headers={"Authorization": header})
        assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]

    def test_another_secret_under_a_known_id_is_refused(self, viewer: Caller, anyone: Caller) -> None:
        assert viewer.token
        wrong = viewer.token[:-1] + ("a" if viewer.token[-1] != "a" else "b")
        assert anyone.get("/tasks", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
        assert viewer.get("/tasks").status_code == 200

    def test_the_scheme_is_read_in_any_case(self, viewer: Caller, anyone: Caller) -> None:
        assert anyone.get("/tasks", headers={"Authorization": f"bearer {viewer.token}"}).status_code == 200

    def test_a_revoked_token_is_refused(self, plane: ControlPlane, anyone: Caller) -> None:
        issued = TokenIssuer(plane.tokens).issue(workspace="acme", role=Role.VIEWER)
        assert plane.tokens.revoke(issued.record.token_id)
        answer = anyone.get("/tasks", headers={"Authorization": f"Bearer {issued.text}"})
        assert (answer.status_code, "revoked" in answer.json["detail"]) == (401, True)


class TestWorkspaces:
    def test_a_workspace_token_may_name_its_own_and_no_other(self, viewer: Caller) -> None:
        assert viewer.get("/tasks", headers={"X-Workspace-ID": "acme"}).status_code == 200
        answer = viewer.get("/tasks", headers={"X-Workspace-ID": "beta"})
        assert (answer.status_code, answer.json["code"]) == (403, "workspace-mismatch")

    @pytest.mark.parametrize("name", ["", "Acme", "a b", "a/b", "x" * 64, "shared", "agent", "acme, beta", "{x}", "*"])
    def test_what_cannot_be_a_workspace_is_a_bad_header(self, caller: MakeCaller, name: str) -> None:
        answer = caller(Role.ADMIN, None).get("/tasks", headers={"X-Workspace-ID": name})
        assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")

    def test_a_platform_token_acts_in_default_or_where_it_says(self, caller: MakeCaller, viewer: Caller) -> None:
        admin = caller(Role.ADMIN, None)
        assert admin.submit()["workspace"] == "default"
        assert viewer.get("/tasks").json["items"] == []
        answer = admin.post("/tasks/submit", dict(SUBMIT), headers={"X-Workspace-ID": "acme"})
        assert answer.json["workspace"] == "acme"
        assert len(viewer.get("/tasks").json["items"]) == 1

    def test_anothers_task_is_answered_as_one_that_does_not_exist(
        self, caller: MakeCaller, submitter: Caller, agent: Caller, claim: Any
    ) -> None:
        agent.register("code-1")
        theirs = submitter.submit()["task_id"]
        held = claim(theirs, "code-1").hold
        spy = caller(Role.OPERATOR, "beta")
        session = spy.register("spy-1")["session"]
        report = {"session": session, "attempt": 1, "lease": held.lease}
        calls: list[tuple[str, str, Any]] = [
            ("GET", "", None),
            ("GET", "?wait=5", None),
            ("POST", "/cancel", None),
            ("POST", "/retry", None),
            ("POST", "/complete", {**report, "result": 1}),
            ("POST", "/fail", {**report, "message": "m", "retryable": False}),
            ("POST", "/progress", {**report, "percent": 1}),
        ]
        for method, action, body in calls:
            got = [
                spy.call(method, f"/tasks/{task_id}{action}", **({"json": body} if body else {}))
                for task_id in (theirs, UNKNOWN)
            ]
            assert [answer.status_code for answer in got] == [404, 404], (action, got[0].json)
            shown = [answer.json | {"correlation_id": ""} for answer in got]
            assert shown[1]["detail"].replace(UNKNOWN, theirs) == shown[0]["detail"]
            assert shown[0] | {"detail": ""} == shown[1] | {"detail": ""}
        assert spy.get("/tasks").json["items"] == []
        assert submitter.get(f"/tasks/{theirs}").json["status"] == "RUNNING"

    def test_anothers_agent_is_answered_as_one_that_does_not_exist(self, caller: MakeCaller, agent: Caller) -> None:
        session = agent.register("code-1")["session"]
        spy = caller(Role.OPERATOR, "beta")
        beat = {"session": session, "running": []}
        for agent_id in ("code-1", "nobody"):
            assert spy.get(f"/agents/{agent_id}").status_code == 404
            assert spy.post(f"/agents/{agent_id}/drain").status_code == 404
            assert spy.post(f"/agents/{agent_id}/resume").status_code == 404
            assert spy.post(f"/agents/{agent_id}/heartbeat", beat).status_code == 404
            assert spy.delete(f"/agents/{agent_id}").status_code == 404
        assert spy.get("/agents").json["items"] == []
        assert agent.post("/agents/code-1/heartbeat", beat).status_code == 200
