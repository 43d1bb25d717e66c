"""/policies and /approvals over HTTP: what is refused, what is held, and what nobody may do."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from aragora_cp.errors import StoreUnavailable
from aragora_cp.model import Role
from aragora_cp.wiring import ControlPlane
from tests.api.conftest import SUBMIT, Caller, MakeCaller, RecordingBroker
from tests.policies import ALL, NO_ROOT, ONE_FOR_ALL, OVERFLOWS, TWO_FOR_CRITICAL, told

ALLOWED = {"request": told(), "expect": "allow"}


def put(caller: Caller, source: str, *, tests: Any = (ALLOWED,), query: str = "", **more: Any) -> Any:
    answer = caller.call("PUT", f"/policies/rules{query}", json={"source": source, "tests": list(tests), **more})
    assert answer.status_code == 200, answer.json
    return answer.json


@pytest.fixture
def operator(caller: MakeCaller) -> Caller:
    return caller(Role.OPERATOR)


def test_a_refusal_names_rule_and_reason(operator: Caller, submitter: Caller, plane: ControlPlane) -> None:
    put(operator, ALL + NO_ROOT)
    answer = submitter.post("/tasks/submit", {**SUBMIT, "required_capabilities": ["root"]})
    assert (answer.status_code, answer.json["code"]) == (403, "policy-denied")
    assert answer.json["rules"] == ["rules/no-root"]
    assert answer.json["detail"] == "the rule rules/no-root forbids submit"
    assert answer.json["policy_version"] == "p0.w1"
    rows = operator.get("/audit?action=policy.submit").json["items"]
    assert [row["outcome"] for row in rows] == [f"policy-denied {answer.json['decision_id']}"]
    assert operator.get("/audit?action=task.submit").json["items"] == []
    assert operator.get("/tasks").json["items"] == []


def test_a_forbid_that_fails_denies(operator: Caller, submitter: Caller) -> None:
    """Cedar alone would pass over it, and allow."""
    put(operator, ALL + OVERFLOWS)
    submitter.submit(timeout=1)
    answer = submitter.post("/tasks/submit", {**SUBMIT, "timeout": 60})
    assert (answer.status_code, answer.json["code"]) == (403, "policy-denied")
    assert answer.json["rules"] == ["rules/broken"]
    assert "could not be evaluated" in answer.json["detail"]


def test_without_rules_the_role_decides(submitter: Caller) -> None:
    assert submitter.submit()["status"] == "PENDING"


def test_the_platforms_rules_stand_above(caller: MakeCaller, operator: Caller, submitter: Caller) -> None:
    put(operator, ALL)
    put(caller(Role.ADMIN, None), ALL + NO_ROOT, query="?platform=true")
    answer = submitter.post("/tasks/submit", {**SUBMIT, "required_capabilities": ["root"]})
    assert answer.json["rules"] == ["platform:rules/no-root"]
    assert operator.get("/policies?platform=true").status_code == 403


def test_rules_about_registering_and_reading(operator: Caller, caller: MakeCaller) -> None:
    put(
        operator,
        ALL + '@id("own") forbid(principal, action == Action::"register", resource) when { context.model == "m" };'
        '@id("blind") forbid(principal, action == Action::"read", resource) '
        'when { context.kind == "tasks" && principal.role == "viewer" };',
    )
    body = {"agent_id": "a-1", "capabilities": ["code"], "model": "m"}
    assert caller(Role.AGENT).post("/agents/register", body).json["rules"] == ["rules/own"]
    assert operator.post("/agents/register", body | {"model": "n"}).status_code == 201
    viewer = caller(Role.VIEWER)
    assert viewer.get("/tasks").json["rules"] == ["rules/blind"]
    assert viewer.get("/agents").status_code == 200
    assert operator.get("/tasks").status_code == 200


@pytest.mark.parametrize(
    ("source", "tests", "field", "says"),
    [
        ("permit(", [ALLOWED], "source", "is not Cedar"),
        ("permit(principal, action, resource);", [ALLOWED], "source", "needs a name"),
        (ALL + ALL, [ALLOWED], "source", "two rules are called"),
        (
            '@id("x") permit(principal, action == Action::"submit", resource) when { context.nonsense == 1 };',
            [ALLOWED],
            "source",
            "nonsense",
        ),
        ('@id("x") @aproval("1") permit(principal, action, resource);', [ALLOWED], "source", "no annotation"),
        (ALL, [{"request": told(), "expect": "deny"}], "tests", "expected deny, got allow"),
        (ALL, [], "tests", "1 to"),
    ],
)
def test_what_is_not_sound_is_not_published(operator: Caller, source: str, tests: Any, field: str, says: str) -> None:
    answer = operator.call("PUT", "/policies/rules", json={"source": source, "tests": tests})
    assert answer.status_code == 422
    assert says in " ".join(answer.json["errors"][field])
    assert operator.get("/policies").json["items"] == []
    assert operator.get("/policies/rules/versions").status_code == 404


def test_versions_rollback_and_delete(operator: Caller, submitter: Caller) -> None:
    root = {**SUBMIT, "required_capabilities": ["root"]}
    assert put(operator, ALL)["version"] == 1
    assert put(operator, ALL + NO_ROOT)["version"] == 2
    assert submitter.post("/tasks/submit", root).status_code == 403
    assert operator.post("/policies/rules/rollback", {}).json["version"] == 1
    assert submitter.post("/tasks/submit", root).status_code == 202
    assert operator.post("/policies/rules/rollback", {"version": 2}).json["version"] == 2
    assert submitter.post("/tasks/submit", root).status_code == 403
    assert operator.post("/policies/rules/rollback", {"version": 9}).status_code == 404
    assert [each["version"] for each in operator.get("/policies/rules/versions").json["items"]] == [2, 1]
    assert operator.delete("/policies/rules").status_code == 204
    assert operator.delete("/policies/rules").status_code == 404
    assert submitter.post("/tasks/submit", root).status_code == 202


def test_a_shadow_only_watches(operator: Caller, submitter: Caller) -> None:
    put(operator, ALL)
    put(operator, ALL + NO_ROOT, mode="shadow")
    task = submitter.submit(required_capabilities=["root"])
    submitter.submit()
    found = operator.get("/policies/rules").json
    assert [(each["version"], each["mode"]) for each in found["versions"]] == [(1, "enforce"), (2, "shadow")]
    assert found["mismatches"] == [{"version": 2, "count": 1}]
    assert [each["target"] for each in found["differing"]] == [task["task_id"]]


def test_shadows_can_be_switched_off(
    caller: MakeCaller, operator: Caller, submitter: Caller, plane: ControlPlane
) -> None:
    admin = caller(Role.ADMIN, workspace=None)
    put(operator, ALL)
    put(operator, ALL + NO_ROOT, mode="shadow")
    off = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    assert admin.put("/flags/rules.shadow?platform=true", off).status_code in (200, 201)
    plane.flags.forget(None)
    submitter.submit(required_capabilities=["root"])
    assert operator.get("/policies/rules").json["mismatches"] == []


def test_a_replay_tells_what_would_change_and_changes_nothing(operator: Caller, submitter: Caller) -> None:
    put(operator, ALL)
    task = submitter.submit(required_capabilities=["root"])
    submitter.submit()
    found = operator.post("/policies/rules/replay", {"source": ALL + NO_ROOT}).json
    assert (found["replayed"], found["differing"], found["unreadable"]) == (2, 1, 0)
    assert found["differences"][0]["decision"]["target"] == task["task_id"]
    assert found["differences"][0]["rules"] == ["rules/no-root"]
    assert submitter.submit(required_capabilities=["root"])["status"] == "PENDING"


def test_asking_keeps_nothing(operator: Caller) -> None:
    put(operator, ALL + NO_ROOT)
    root = told(capabilities=["root"])
    assert operator.post("/policies/test", {"request": root}).json["rules"] == ["rules/no-root"]
    assert operator.post("/policies/test", {"request": root, "source": ALL}).json["effect"] == "allow"
    assert operator.post("/policies/test", {"request": {"action": "fly"}}).status_code == 422
    assert operator.post("/policies/rules/replay", {"source": ALL}).json["replayed"] == 0


def test_hold_approve_and_reject(
    caller: MakeCaller, operator: Caller, submitter: Caller, broker: RecordingBroker
) -> None:
    operator.register("a-1")
    put(operator, ALL + TWO_FOR_CRITICAL)
    first, second = (submitter.submit(priority="critical", payload={"n": n}) for n in (1, 2))
    assert first["status"] == "HELD"
    assert first["approval"]["required"] == 2
    assert broker.sent == []
    assert len(operator.get("/approvals").json["items"]) == 2
    assert submitter.post(f"/tasks/{first['task_id']}/approve").status_code == 403
    assert operator.post(f"/tasks/{first['task_id']}/approve").json["status"] == "HELD"
    assert caller(Role.OPERATOR).post(f"/tasks/{first['task_id']}/approve").json["status"] == "PENDING"
    assert [ticket.task_id for ticket in broker.sent] == [first["task_id"]]
    rejected = operator.post(f"/tasks/{second['task_id']}/reject", {"reason": "no"}).json
    assert (rejected["status"], rejected["error"]["message"]) == ("FAILED", "no")
    assert operator.post(f"/tasks/{second['task_id']}/approve").status_code == 409
    assert operator.get("/approvals").json["items"] == []


def test_nobody_approves_their_own(operator: Caller) -> None:
    put(operator, ALL + ONE_FOR_ALL, tests=[{"request": told(), "expect": "hold"}])
    task = operator.submit()
    answer = operator.post(f"/tasks/{task['task_id']}/approve")
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    rows = operator.get("/audit?action=task.approve").json["items"]
    assert [row["outcome"] for row in rows] == ["forbidden"]


def test_without_the_policy_store_nothing_is_let_through_and_nothing_is_denied(
    operator: Caller, submitter: Caller, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(operator, ALL + NO_ROOT)
    submitter.submit()
    plane.policy.forget()

    def away(_: Any) -> Any:
        raise StoreUnavailable("the store is away") from RedisConnectionError()

    with monkeypatch.context() as outage:
        outage.setattr(plane.policy._records, "read", away)
        for capability in ("code", "root"):
            answer = submitter.post("/tasks/submit", {**SUBMIT, "required_capabilities": [capability]})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        plane.policy.forget()
    assert len(operator.get("/tasks").json["items"]) == 1
    assert submitter.submit()["status"] == "PENDING"
    assert submitter.post("/tasks/submit", {**SUBMIT, "required_capabilities": ["root"]}).status_code == 403


def test_policy_on_costs_no_more_commands_than_off(operator: Caller, submitter: Caller, plane: ControlPlane) -> None:
    def commands() -> int:
        """The fewest of several: a copy that grows old in between is read again, with policy and without."""
        return min(once() for _ in range(5))

    def once() -> int:
        before = plane.client.info("commandstats")
        submitter.submit()
        after = plane.client.info("commandstats")
        return sum(
            after[name]["calls"] - before.get(name, {"calls": 0})["calls"]
            for name in after
            if name in ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_hgetall", "cmdstat_get", "cmdstat_mget")
        )

    off = commands()
    put(operator, ALL + NO_ROOT)
    assert commands() == off
