"""Rate limits over HTTP: set with the workspace, told with every submit."""

from __future__ import annotations

from typing import Any

import pytest

from aragora_cp.model import Role

from .conftest import SUBMIT, Caller, MakeCaller

LIMITS: dict[str, Any] = {
    "day": {"limit": 5, "period": 86400},
    "token": {"limit": 2, "period": 86400, "per": "token"},
}


@pytest.fixture
def admin(caller: MakeCaller) -> Caller:
    return caller(Role.ADMIN, None)


def limit(admin: Caller, limits: Any) -> Any:
    answer = admin.call("PATCH", "/workspaces/acme", json={"rate_limits": limits})
    assert answer.status_code == 200, answer.json
    return answer.json["rate_limits"]


def test_every_submit_is_told_what_is_left(admin: Caller, submitter: Caller) -> None:
    shown = limit(admin, LIMITS)
    assert shown == {
        "day": {"limit": 5, "period": 86400, "burst": 5, "per": "workspace", "shadow": False},
        "token": {"limit": 2, "period": 86400, "burst": 2, "per": "token", "shadow": False},
    }
    assert admin.get("/workspaces/acme").json["rate_limits"] == shown
    first = submitter.post("/tasks/submit", dict(SUBMIT))
    assert first.status_code == 202
    assert first.headers["RateLimit-Policy"] == '"day";q=5;w=86400, "token";q=2;w=86400'
    assert first.headers["RateLimit"] == '"day";r=4;t=17280, "token";r=1;t=43200'
    submitter.post("/tasks/submit", dict(SUBMIT))
    refused = submitter.post("/tasks/submit", dict(SUBMIT))
    assert (refused.status_code, refused.json["code"]) == (429, "rate-limited")
    assert (refused.json["policy"], refused.json["limit"], refused.json["window"]) == ("token", 2, 86400)
    assert 43190 <= int(refused.headers["Retry-After"]) <= 43200
    assert refused.headers["RateLimit"].startswith('"day";r=3;t=')
    assert '"token";r=0;t=' in refused.headers["RateLimit"]


def test_another_workspace_has_its_own(admin: Caller, submitter: Caller, caller: MakeCaller) -> None:
    limit(admin, {"day": {"limit": 1, "period": 86400}})
    submitter.submit()
    other = caller(Role.SUBMITTER, "beta")
    for _ in range(3):
        answer = other.post("/tasks/submit", dict(SUBMIT))
        assert answer.status_code == 202
        assert "RateLimit" not in answer.headers


def test_a_repeated_submit_is_answered_without_counting(admin: Caller, submitter: Caller) -> None:
    limit(admin, {"day": {"limit": 1, "period": 86400}})
    key = {"Idempotency-Key": "k"}
    first = submitter.post("/tasks/submit", dict(SUBMIT), headers=key)
    again = submitter.post("/tasks/submit", dict(SUBMIT), headers=key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json["task_id"] == again.json["task_id"]


def test_the_list_of_limits(admin: Caller, submitter: Caller, operator: Caller, viewer: Caller) -> None:
    limit(admin, {**LIMITS, "tried": {"limit": 1, "period": 86400, "shadow": True}})
    for _ in range(3):
        submitter.post("/tasks/submit", dict(SUBMIT))
    found = {each["name"]: each for each in operator.get("/limits").json["items"]}
    assert list(found) == ["day", "token", "tried"]
    assert found["day"] == {
        "name": "day", "limit": 5, "period": 86400.0, "burst": 5, "per": "workspace", "shadow": False,
        "left": 3, "refused": 0, "would_refuse": 0,
    }  # fmt: skip
    assert (found["token"]["left"], found["token"]["refused"]) == (None, 1)
    assert found["tried"]["would_refuse"] == 2
    assert viewer.get("/limits").status_code == 403


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ([], "rate_limits"),
        ({"Day": {"limit": 1, "period": 1}}, "rate_limits.Day.key"),
        ({"day": {"limit": 1}}, "rate_limits.day.value.period"),
        ({"day": {"limit": "1", "period": 1}}, "rate_limits.day.value.limit"),
        ({"day": {"limit": 1, "period": 1, "burst": 2}}, "rate_limits"),
        ({"day": {"limit": 1, "period": 1, "unknown": 2}}, "rate_limits.day.value.unknown"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(admin: Caller, limits: Any, field: str) -> None:
    answer = admin.call("PATCH", "/workspaces/acme", json={"rate_limits": limits})
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [field]
    assert admin.get("/workspaces/acme").json["rate_limits"] is None


def test_an_operator_cannot_lift_them(operator: Caller) -> None:
    assert operator.call("PATCH", "/workspaces/acme", json={"rate_limits": {}}).status_code == 403
