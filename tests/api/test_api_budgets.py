"""Budgets, usage and prices over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aragora_cp.model import Claim, Role

from .conftest import SUBMIT, Caller, MakeCaller, RecordingBroker

MONTH = {"limit": "10.00", "period": "month"}


@pytest.fixture
def admin(caller: MakeCaller) -> Caller:
    return caller(Role.ADMIN, None, named="acme")


def put(caller: Caller, name: str = "all", **changes: Any) -> Any:
    answer = caller.call("PUT", f"/budgets/{name}", json={**MONTH, **changes})
    assert answer.status_code in (200, 201), answer.json
    return answer.json


def test_a_budgets_life(operator: Caller) -> None:
    made = operator.call("PUT", "/budgets/all", json={**MONTH, "timezone": "Europe/Berlin"})
    assert made.status_code == 201
    assert made.json | {"resets_at": ""} == {
        "name": "all", "limit": "10", "period": "month", "hard": True, "scope": None, "timezone": "Europe/Berlin",
        "default_estimate": "0", "owner": "workspace", "spent": "0", "reserved": "0", "overrun": "0", "resets_at": "",
    }  # fmt: skip
    assert operator.get("/budgets/all").json == made.json
    assert operator.call("PUT", "/budgets/all", json={**MONTH, "limit": "12.5"}).status_code == 200
    put(operator, "code", scope={"task_type": "code.review"}, hard=False, period="rolling:3600")
    found = operator.get("/budgets").json["items"]
    assert [(each["name"], each["limit"], each["scope"]) for each in found] == [
        ("all", "12.5", None),
        ("code", "10", {"task_type": "code.review"}),
    ]
    assert operator.delete("/budgets/all").status_code == 204
    for answer in (operator.get("/budgets/all"), operator.delete("/budgets/all"), operator.get("/budgets/NO")):
        assert (answer.status_code, answer.json["code"]) == (404, "not-found")


def test_a_refusal_says_which_budget_and_how_it_stands(operator: Caller, submitter: Caller) -> None:
    shown = put(operator, limit="1.00")
    for _ in range(3):
        submitter.submit(estimated_cost="0.30")
    refused = submitter.post("/tasks/submit", {**SUBMIT, "estimated_cost": "0.30"})
    assert (refused.status_code, refused.json["code"]) == (402, "budget-exceeded")
    told = {name: refused.json[name] for name in ("budget", "limit", "spent", "reserved", "asked", "resets_at")}
    assert told == {
        "budget": "all", "limit": "1", "spent": "0", "reserved": "0.9", "asked": "0.3", "resets_at": shown["resets_at"],
    }  # fmt: skip
    assert int(refused.headers["Retry-After"]) > 0
    assert len(operator.get("/tasks").json["items"]) == 3


def test_an_agent_over_http_is_stopped(
    operator: Caller, submitter: Caller, agent: Caller, claim: Callable[..., Claim], broker: RecordingBroker
) -> None:
    put(operator, limit="1.00")
    session = agent.register("a1")["session"]
    task_id = submitter.submit(estimated_cost="0.50")["task_id"]
    hold = claim(task_id, "a1").hold
    body = {
        "session": session,
        "attempt": 1,
        "lease": hold.lease,
        "usage": {"cost": "0.75", "model": "m", "input_tokens": 10},
    }
    assert agent.post(f"/tasks/{task_id}/progress", body).status_code == 200
    stopped = agent.post(f"/tasks/{task_id}/progress", body)
    assert (stopped.status_code, stopped.json["code"]) == (409, "stale-attempt")
    assert "budget all" in stopped.json["detail"]
    assert [told[1:] for told in broker.cancelled] == [(task_id, 1)]
    task = operator.get(f"/tasks/{task_id}").json
    assert (task["status"], task["error"]["code"]) == ("FAILED", "budget-exceeded")
    found = operator.get("/budgets/all").json
    assert (found["spent"], found["reserved"], found["overrun"]) == ("1", "0", "0.5")
    by_model = operator.get("/usage", query_string={"group_by": "model"}).json
    assert by_model["total"]["cost"] == "1.5"
    assert [(row["value"], row["tasks"], row["input_tokens"]) for row in by_model["items"]] == [("m", 1, 20)]


def test_what_the_platform_sets_the_workspace_cannot_change(admin: Caller, operator: Caller) -> None:
    assert put(admin)["owner"] == "platform"
    for answer in (operator.call("PUT", "/budgets/all", json=MONTH), operator.delete("/budgets/all")):
        assert answer.status_code == 403
    assert operator.get("/budgets/all").json["limit"] == "10"
    assert admin.delete("/budgets/all").status_code == 204


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit": 10.0}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1000000001"}, "limit"),
        ({"period": "year"}, "period"),
        ({"period": "rolling:99999999"}, "period"),
        ({"timezone": "Mars"}, "timezone"),
        ({"scope": {"task_type": "a", "model": "b"}}, "scope._schema"),
        ({"scope": {"agent": "a"}}, "scope.agent"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(operator: Caller, body: dict[str, Any], field: str) -> None:
    answer = operator.call("PUT", "/budgets/all", json={**MONTH, **body})
    assert answer.status_code == 422
    assert [name.removesuffix("._schema") for name in answer.json["errors"]] == [field.removesuffix("._schema")]
    assert operator.get("/budgets").json == {"items": []}


def test_there_is_an_end_of_budgets(operator: Caller) -> None:
    for n in range(32):
        put(operator, f"b{n}")
    assert operator.call("PUT", "/budgets/more", json=MONTH).status_code == 409
    assert operator.call("PUT", "/budgets/b1", json=MONTH).status_code == 200


def test_prices_have_versions(admin: Caller, operator: Caller) -> None:
    first = operator.call("PUT", "/prices", json={"prices": {"m": {"input": "3.00", "output": "15.00"}}})
    assert (first.status_code, first.json["version"]) == (200, 1)
    assert first.json["prices"] == {"m": {"input": "3", "output": "15", "cached_input": None}}
    operator.call("PUT", "/prices", json={"prices": {}})
    assert operator.get("/prices").json["workspace"]["version"] == 2
    assert operator.get("/prices?version=1").json["workspace"] == first.json
    assert operator.get("/prices?version=3").status_code == 404
    platform = {"prices": {"n": {"input": "1", "output": "1", "cached_input": "0.1"}}}
    assert operator.call("PUT", "/prices?platform=true", json=platform).status_code == 403
    assert admin.call("PUT", "/prices?platform=true", json=platform).status_code == 200
    assert operator.get("/prices").json["platform"]["prices"]["n"]["cached_input"] == "0.1"


def test_usage_asks_for_days_that_can_be(operator: Caller) -> None:
    for query in ({"from": "2020-01-01T00:00:00Z"}, {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}):
        assert operator.get("/usage", query_string=query).status_code == 422
    assert operator.get("/usage", query_string={"group_by": "agent"}).status_code == 422
