"""Reading, listing, waiting for, cancelling and running tasks again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aragora_cp.api.services import services
from aragora_cp.model import ErrorCode as Code
from aragora_cp.model import Failure, Role
from aragora_cp.wiring import ControlPlane

from .conftest import Caller, MakeCaller, RecordingBroker


def _wait_is_under_way(app: Any) -> None:
    """Returns when a request waits; its subscription may still be on its way, which must not matter."""
    end = time.monotonic() + 10
    while not services(app).waits._under_way:
        assert time.monotonic() < end
        threading.Event().wait(0.005)


class TestWait:
    def test_the_answer_comes_as_soon_as_the_task_is_final(
        self, app: Any, agent: Caller, submitter: Caller, claim: Any
    ) -> None:
        session = agent.register("code-1")["session"]
        task_id = submitter.submit()["task_id"]
        held = claim(task_id, "code-1").hold
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(submitter.get, f"/tasks/{task_id}?wait=30")
            _wait_is_under_way(app)
            report = {"session": session, "attempt": 1, "lease": held.lease, "result": {"ok": True}}
            assert agent.post(f"/tasks/{task_id}/complete", report).status_code == 200
            finished = time.monotonic()
            answer = waiting.result(10)
        assert time.monotonic() - finished < 0.2
        assert (answer.status_code, answer.json["status"], answer.json["result"]) == (200, "COMPLETED", {"ok": True})

    def test_a_wait_that_ends_answers_with_what_there_is(self, submitter: Caller) -> None:
        task_id = submitter.submit()["task_id"]
        started = time.monotonic()
        answer = submitter.get(f"/tasks/{task_id}?wait=0.2")
        assert 0.2 <= time.monotonic() - started < 2
        assert (answer.status_code, answer.json["status"]) == (200, "PENDING")

    def test_prefer_is_a_synonym(self, submitter: Caller) -> None:
        task_id = submitter.submit()["task_id"]
        submitter.post(f"/tasks/{task_id}/cancel")
        answer = submitter.get(f"/tasks/{task_id}", headers={"Prefer": 'respond-async, wait="90"; x=1'})
        assert answer.headers["Preference-Applied"] == "wait=60"
        assert "Preference-Applied" not in submitter.get(f"/tasks/{task_id}?wait=1").headers
        assert submitter.get(f"/tasks/{task_id}", headers={"Prefer": "wait=soon"}).status_code == 200

    def test_a_final_task_is_answered_at_once(self, submitter: Caller) -> None:
        task_id = submitter.submit()["task_id"]
        submitter.post(f"/tasks/{task_id}/cancel")
        started = time.monotonic()
        assert submitter.get(f"/tasks/{task_id}?wait=30").json["status"] == "CANCELLED"
        assert time.monotonic() - started < 1

    def test_an_unknown_task_is_not_waited_for(self, submitter: Caller) -> None:
        assert submitter.get("/tasks/0196f9a0-0000-7000-8000-000000000000?wait=30").status_code == 404

    def test_a_process_that_stops_lets_go_of_its_waits(self, app: Any, submitter: Caller) -> None:
        task_id = submitter.submit()["task_id"]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(submitter.get, f"/tasks/{task_id}?wait=30")
            _wait_is_under_way(app)
            services(app).waits.stop()
            assert waiting.result(5).json["status"] == "PENDING"
        assert submitter.get(f"/tasks/{task_id}?wait=30").json["status"] == "PENDING"


class TestPayload:
    @pytest.mark.parametrize(("role", "shown"), [(Role.OPERATOR, True), (Role.SUBMITTER, True), (Role.VIEWER, False)])
    def test_roles_that_may_read_it(self, submitter: Caller, caller: MakeCaller, role: Role, shown: bool) -> None:
        task_id = submitter.submit()["task_id"]
        assert ("payload" in caller(role).get(f"/tasks/{task_id}").json) is shown

    def test_a_page_has_neither_payloads_nor_results(self, submitter: Caller, operator: Caller) -> None:
        submitter.submit()
        (task,) = operator.get("/tasks").json["items"]
        assert not {"payload", "result"} & task.keys()


class TestList:
    def test_pages_newest_first_without_gap_or_repeat(self, submitter: Caller, viewer: Caller) -> None:
        made = [submitter.submit(payload={"n": n})["task_id"] for n in range(7)]
        seen: list[str] = []
        cursor, pages = "", 0
        while cursor is not None:
            page = viewer.get(f"/tasks?limit=3{cursor and f'&cursor={cursor}'}").json
            seen += [task["task_id"] for task in page["items"]]
            cursor, pages = page["next_cursor"], pages + 1
            assert pages < 6
        assert seen == made[::-1]

    def test_filters(self, submitter: Caller, viewer: Caller, agent: Caller, claim: Any) -> None:
        agent.register("code-1")
        review = submitter.submit()["task_id"]
        other = submitter.submit(task_type="code.lint")["task_id"]
        claim(review, "code-1")

        def found(query: str) -> list[str]:
            return [task["task_id"] for task in viewer.get(f"/tasks?{query}").json["items"]]

        assert found("status=RUNNING") == [review]
        assert found("status=PENDING") == [other]
        assert found("task_type=code.lint") == [other]
        assert found("agent_id=code-1") == [review]
        assert found("agent_id=code-1&status=PENDING") == []


class TestCancel:
    def test_a_waiting_task(self, submitter: Caller) -> None:
        task_id = submitter.submit()["task_id"]
        answer = submitter.post(f"/tasks/{task_id}/cancel")
        assert (answer.status_code, answer.json["status"]) == (200, "CANCELLED")
        again = submitter.post(f"/tasks/{task_id}/cancel", {})
        assert (again.status_code, again.json["code"]) == (409, "already-final")

    def test_a_running_task_stops_its_agent(
        self, submitter: Caller, agent: Caller, claim: Any, broker: RecordingBroker
    ) -> None:
        session = agent.register("code-1")["session"]
        task_id = submitter.submit()["task_id"]
        held = claim(task_id, "code-1").hold
        running = [{"task_id": task_id, "attempt": 1, "lease": held.lease}]
        assert submitter.post(f"/tasks/{task_id}/cancel").status_code == 200
        assert broker.cancelled == [("acme/code-1", task_id, 1)]
        beat = agent.post("/agents/code-1/heartbeat", {"session": session, "running": running}).json
        assert beat == {"cancel": [task_id], "lost": [], "drain": False}


class TestRetry:
    def test_a_failed_task_runs_again(
        self, submitter: Caller, operator: Caller, agent: Caller, claim: Any, plane: ControlPlane
    ) -> None:
        agent.register("code-1")
        task_id = submitter.submit(max_retries=0)["task_id"]
        hold = claim(task_id, "code-1").hold
        plane.scheduler.fail(hold, Failure(Code.HANDLER_ERROR, "broke", retryable=True), "code-1")
        failed = operator.get(f"/tasks/{task_id}").json
        assert failed["error"]["code"] == "handler-error"
        assert failed["error"]["history"][0]["at"].endswith("Z")
        answer = operator.post(f"/tasks/{task_id}/retry")
        assert (answer.status_code, answer.json["status"], answer.json["task_id"]) == (202, "PENDING", task_id)
        assert answer.headers["Location"].endswith(task_id)

    def test_a_task_that_has_not_failed_does_not(self, submitter: Caller, operator: Caller) -> None:
        answer = operator.post(f"/tasks/{submitter.submit()['task_id']}/retry")
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")
