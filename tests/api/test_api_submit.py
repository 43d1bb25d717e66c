"""POST /tasks/submit: what is accepted, what comes back, idempotency and caching."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aragora_cp.model import Role

from .conftest import SUBMIT, Caller, MakeCaller, RecordingBroker


def test_a_minimal_submit_is_accepted_and_says_where_the_task_is(submitter: Caller) -> None:
    answer = submitter.post("/tasks/submit", dict(SUBMIT))
    task = answer.json
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/control-plane/tasks/{task['task_id']}"
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", task["task_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", task["created_at"])
    assert task | {"task_id": "", "created_at": "", "correlation_id": ""} == {
        "task_id": "",
        "workspace": "acme",
        "task_type": "code.review",
        "status": "PENDING",
        "priority": "normal",
        "required_capabilities": ["code"],
        "attempt": 0,
        "max_retries": 3,
        "agent_id": None,
        "payload": {"n": 1},
        "result": None,
        "error": None,
        "approval": None,
        "progress": None,
        "usage": None,
        "cost": None,
        "cached": False,
        "created_at": "",
        "run_at": None,
        "started_at": None,
        "finished_at": None,
        "next_attempt_at": None,
        "correlation_id": "",
        "metadata": {},
    }


def test_every_field_reaches_the_task(submitter: Caller) -> None:
    task = submitter.submit(
        priority="critical",
        required_capabilities=["search", "code", "code"],
        timeout=12.5,
        queue_timeout=60,
        max_retries=7,
        retry_backoff={"initial": 0.5, "jitter": False},
        run_at="2099-01-31T10:00:00+01:00",
        metadata={"ticket": "A-1", "empty": ""},
        placement="auto",
    )
    assert task["priority"] == "critical"
    assert task["required_capabilities"] == ["code", "search"]
    assert task["max_retries"] == 7
    assert task["run_at"] == task["next_attempt_at"] == "2099-01-31T09:00:00.000Z"
    assert task["metadata"] == {"ticket": "A-1", "empty": ""}
    assert submitter.get(f"/tasks/{task['task_id']}").json == task


def test_a_task_is_released_to_a_lane_that_serves_it(agent: Caller, submitter: Caller, broker: RecordingBroker) -> None:
    agent.register("code-1", ["code", "code.python"])
    task = submitter.submit()
    assert [(ticket.task_id, ticket.workspace, ticket.attempt) for ticket in broker.sent] == [
        (task["task_id"], "acme", 1)
    ]


@pytest.mark.parametrize(
    "value",
    [
        2**63 + 1,
        12345678901234567890123456789,
        -(2**70),
        1e300,
        0.1,
        [],
        {},
        "nul \0 and \u2028 and \U0001f600",
        None,
        [[[]], {"": ""}],
    ],
)
def test_a_payload_comes_back_as_it_was(submitter: Caller, value: Any) -> None:
    task = submitter.submit(payload={"value": value})
    found = submitter.get(f"/tasks/{task['task_id']}").json["payload"]
    assert found == {"value": value}
    assert type(found["value"]) is type(value)


def test_duplicate_keys_keep_the_last(submitter: Caller) -> None:
    raw = b'{"task_type": "x", "task_type": "code.review", "payload": {"a": 1, "a": 2}}'
    answer = submitter.post("/tasks/submit", data=raw, content_type="application/json")
    assert answer.status_code == 202
    assert (answer.json["task_type"], answer.json["payload"]) == ("code.review", {"a": 2})


class TestIdempotency:
    def test_the_same_key_and_body_answer_with_the_same_task(self, submitter: Caller, viewer: Caller) -> None:
        first = submitter.post("/tasks/submit", dict(SUBMIT), headers={"Idempotency-Key": "k1"})
        again = submitter.post("/tasks/submit", dict(SUBMIT), headers={"Idempotency-Key": '"k1"'})
        field = submitter.post("/tasks/submit", {**SUBMIT, "idempotency_key": "k1"})
        assert (first.status_code, again.status_code, field.status_code) == (202, 200, 200)
        assert first.json["task_id"] == again.json["task_id"] == field.json["task_id"]
        assert again.headers["Location"] == first.headers["Location"]
        assert again.json["payload"] == {"n": 1}
        assert len(viewer.get("/tasks").json["items"]) == 1

    def test_the_same_key_with_another_body_is_a_conflict(self, submitter: Caller, viewer: Caller) -> None:
        submitter.submit(idempotency_key="k1")
        answer = submitter.post("/tasks/submit", {**SUBMIT, "payload": {"n": 2}, "idempotency_key": "k1"})
        assert (answer.status_code, answer.json["code"]) == (409, "idempotency-conflict")
        assert len(viewer.get("/tasks").json["items"]) == 1

    def test_workspaces_do_not_share_keys(self, submitter: Caller, caller: MakeCaller) -> None:
        other = caller(Role.SUBMITTER, "beta")
        assert submitter.submit(idempotency_key="k")["task_id"] != other.submit(idempotency_key="k")["task_id"]

    def test_header_and_field_must_agree(self, submitter: Caller) -> None:
        body = {**SUBMIT, "idempotency_key": "a"}
        answer = submitter.post("/tasks/submit", body, headers={"Idempotency-Key": "b"})
        assert answer.status_code == 422
        assert "idempotency_key" in answer.json["errors"]
        assert submitter.post("/tasks/submit", body, headers={"Idempotency-Key": "a"}).status_code == 202

    @pytest.mark.parametrize("key", ["", "x" * 256, "é"])
    def test_a_key_that_is_none_is_refused(self, submitter: Caller, key: str) -> None:
        header = submitter.post("/tasks/submit", dict(SUBMIT), headers={"Idempotency-Key": key})
        assert header.status_code == 400


def test_a_cached_result_answers(submitter: Caller, agent: Caller, claim: Any) -> None:
    session = agent.register("code-1")["session"]
    first = submitter.submit(cache_ttl=60)
    held = claim(first["task_id"], "code-1").hold
    report = {"session": session, "attempt": held.attempt, "lease": held.lease, "result": [1]}
    assert agent.post(f"/tasks/{first['task_id']}/complete", report).status_code == 200
    again = submitter.post("/tasks/submit", {**SUBMIT, "cache_ttl": 60})
    assert again.status_code == 200
    assert (again.json["task_id"], again.json["cached"], again.json["result"]) == (first["task_id"], True, [1])
