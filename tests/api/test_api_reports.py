"""What agents report: complete, fail, progress; fences and sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from aragora_cp.model import Role
from aragora_cp.wiring import ControlPlane

from .conftest import Caller, MakeCaller


@dataclass
class Attempt:
    """A task that runs on `code-1`, and the calls of its agent."""

    agent: Caller
    task_id: str
    body: dict[str, Any]

    def report(self, action: str, **fields: Any) -> Any:
        return self.agent.post(f"/tasks/{self.task_id}/{action}", {**self.body, **fields})


@pytest.fixture
def attempt(agent: Caller, submitter: Caller, claim: Any) -> Attempt:
    session = agent.register("code-1")["session"]
    task_id = submitter.submit(retry_backoff={"initial": 30, "jitter": False})["task_id"]
    hold = claim(task_id, "code-1").hold
    return Attempt(agent, task_id, {"session": session, "attempt": 1, "lease": hold.lease})


class TestComplete:
    @pytest.mark.parametrize("result", [{"n": 2**70}, [], None, 0, "text", 1.5, False])
    def test_the_result_is_kept_as_it_is(self, attempt: Attempt, viewer: Caller, result: Any) -> None:
        answer = attempt.report("complete", result=result)
        assert (answer.status_code, answer.json["status"], answer.json["attempt"]) == (200, "COMPLETED", 1)
        assert answer.json["agent_id"] == "code-1"
        assert "payload" not in answer.json
        assert viewer.get(f"/tasks/{attempt.task_id}").json["result"] == result

    def test_the_same_report_again_is_answered_again(self, attempt: Attempt) -> None:
        first = attempt.report("complete", result=1, usage={"input_tokens": 5})
        again = attempt.report("complete", result=1, usage={"input_tokens": 5})
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.json == first.json
        assert again.json["usage"]["input_tokens"] == 5

    def test_usage_and_cost(self, attempt: Attempt) -> None:
        usage = {"input_tokens": 812, "output_tokens": 90, "model": "small", "cost": "0.0031"}
        task = attempt.report("complete", result=1, usage=usage).json
        assert task["usage"] == {"input_tokens": 812, "output_tokens": 90, "model": "small"}
        assert task["cost"] == "0.0031"

    def test_the_agent_is_free_again_at_once(self, attempt: Attempt, viewer: Caller) -> None:
        running = [{"task_id": attempt.task_id, "attempt": 1, "lease": attempt.body["lease"]}]
        attempt.agent.post("/agents/code-1/heartbeat", {"session": attempt.body["session"], "running": running})
        assert viewer.get("/agents/code-1").json["status"] == "BUSY"
        attempt.report("complete", result=1)
        found = viewer.get("/agents/code-1").json
        assert (found["status"], found["running"], found["completed"]) == ("IDLE", [], 1)

    def test_a_result_may_be_larger_than_a_payload_and_has_its_own_limit(
        self, attempt: Attempt, plane: ControlPlane
    ) -> None:
        most = plane.config.max_result_bytes
        assert attempt.report("complete", result="x" * (most - 1)).json["code"] == "payload-too-large"
        assert attempt.report("complete", result="x" * 2**20).json["code"] == "payload-too-large"
        assert attempt.report("complete", result="x" * (most - 2)).status_code == 200


class TestFail:
    def test_a_retryable_failure_waits_for_its_retry(self, attempt: Attempt) -> None:
        task = attempt.report("fail", message="broke", retryable=True).json
        assert (task["status"], task["agent_id"]) == ("PENDING", None)
        assert task["next_attempt_at"] > task["created_at"]
        assert task["error"]["code"] == "handler-error"
        (entry,) = task["error"]["history"]
        assert entry | {"at": ""} == {
            "attempt": 1,
            "at": "",
            "agent_id": "code-1",
            "code": "handler-error",
            "retryable": True,
            "message": "broke",
        }

    def test_a_final_failure_is_final(self, attempt: Attempt, viewer: Caller) -> None:
        task = attempt.report("fail", code="invalid-payload", message="a|b\n", retryable=False).json
        assert (task["status"], task["error"]["code"], task["error"]["message"]) == (
            "FAILED",
            "invalid-payload",
            "a|b\n",
        )
        assert task["error"]["retryable"] is False
        assert viewer.get("/agents/code-1").json["failed"] == 1

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"code": "agent-lost"}, "code"),
            ({"retryable": "no"}, "retryable"),
            ({"message": None}, "message"),
            ({"message": "x" * 4097}, "message"),
        ],
    )
    def test_what_an_agent_cannot_say(self, attempt: Attempt, changes: dict[str, Any], field: str) -> None:
        answer = attempt.report("fail", **{"message": "m", "retryable": True, **changes})
        assert list(answer.json["errors"]) == [field]


class TestProgress:
    def test_percent_and_message_replace_and_usage_adds_up(self, attempt: Attempt) -> None:
        first = attempt.report("progress", percent=10, message="reading", usage={"input_tokens": 5}, cost="0.1")
        assert first.json["progress"] == {"percent": 10, "message": "reading"}
        second = attempt.report("progress", percent=20.5, usage={"input_tokens": 7, "cost": "0.000001"})
        assert second.json["progress"] == {"percent": 20.5, "message": "reading"}
        assert second.json["usage"]["input_tokens"] == 12
        assert second.json["cost"] == "0.100001"

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"percent": 101}, "percent"),
            ({"percent": -1}, "percent"),
            ({"percent": "5"}, "percent"),
            ({"cost": 0.1}, "cost"),
            ({"cost": "-1"}, "cost"),
            ({"cost": "1e3"}, "cost"),
            ({"cost": "1", "usage": {"cost": "1"}}, "cost"),
            ({"usage": {"input_tokens": -1}}, "usage.input_tokens"),
            ({"usage": {"input_tokens": 1.0}}, "usage.input_tokens"),
        ],
    )
    def test_wrong_fields(self, attempt: Attempt, viewer: Caller, changes: dict[str, Any], field: str) -> None:
        answer = attempt.report("progress", **changes)
        assert list(answer.json["errors"]) == [field]
        task = viewer.get(f"/tasks/{attempt.task_id}").json
        assert (task["progress"], task["usage"], task["cost"]) == (None, None, None)


REPORTS = {"complete": {"result": 1}, "fail": {"message": "m", "retryable": True}, "progress": {"percent": 1}}


@pytest.mark.parametrize("action", REPORTS)
class TestFences:
    @pytest.mark.parametrize("changes", [{"attempt": 2}, {"lease": "another"}])
    def test_an_attempt_that_does_not_hold_the_task_changes_nothing(
        self, attempt: Attempt, viewer: Caller, action: str, changes: dict[str, Any]
    ) -> None:
        before = viewer.get(f"/tasks/{attempt.task_id}").json
        answer = attempt.report(action, **REPORTS[action], **changes)
        assert (answer.status_code, answer.json["code"]) == (409, "stale-attempt")
        assert viewer.get(f"/tasks/{attempt.task_id}").json == before

    def test_a_cancelled_tasks_attempt_is_stale(self, attempt: Attempt, submitter: Caller, action: str) -> None:
        submitter.post(f"/tasks/{attempt.task_id}/cancel")
        answer = attempt.report(action, **REPORTS[action])
        assert (answer.status_code, answer.json["code"]) == (409, "stale-attempt")

    def test_an_old_session_is_stale(self, attempt: Attempt, viewer: Caller, action: str) -> None:
        attempt.agent.register("code-1")
        answer = attempt.report(action, **REPORTS[action])
        assert (answer.status_code, answer.json["code"]) == (409, "stale-session")
        assert viewer.get(f"/tasks/{attempt.task_id}").json["status"] == "RUNNING"

    @pytest.mark.parametrize("session", ["x", "nobody/x", "code-1/x"])
    def test_a_session_that_never_was_is_stale(self, attempt: Attempt, action: str, session: str) -> None:
        answer = attempt.report(action, **REPORTS[action], session=session)
        assert answer.json["code"] == "stale-session"

    def test_a_private_agent_of_another_workspace_is_nobody(
        self, attempt: Attempt, caller: MakeCaller, action: str
    ) -> None:
        attempt.agent = caller(Role.AGENT, "beta")
        assert attempt.report(action, **REPORTS[action]).json["code"] == "stale-session"

    def test_a_shared_agent_reports_where_the_task_is(
        self, caller: MakeCaller, submitter: Caller, claim: Any, action: str
    ) -> None:
        shared = caller(Role.AGENT, None)
        session = shared.register("code-1")["session"]
        task_id = submitter.submit()["task_id"]
        body = {"session": session, "attempt": 1, "lease": claim(task_id, "code-1").hold.lease, **REPORTS[action]}
        path = f"/tasks/{task_id}/{action}"
        assert shared.post(path, body).status_code == 404
        answer = shared.post(path, body, headers={"X-Workspace-ID": "acme"})
        assert (answer.status_code, answer.json["workspace"]) == (200, "acme")
