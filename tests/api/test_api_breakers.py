"""/agents/{id}/breaker over HTTP; and an agent over HTTP that meets its upstream's 429."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from flask import Flask

from aragora_cp.cli import cli
from aragora_cp.cli import session as cli_session
from aragora_cp.model import Role

from .conftest import Caller, MakeCaller

OPEN = {"state": "open", "reason": "it answers nonsense", "expires_in": 60}


@pytest.fixture
def session(agent: Caller) -> str:
    """Of code-1, beside another agent of its lane."""
    agent.register("code-2", model="gpt")
    return str(agent.register("code-1", model="gpt")["session"])


@pytest.mark.usefixtures("session")
class TestForcing:
    def test_open_with_reason_actor_and_end(self, operator: Caller, viewer: Caller) -> None:
        told = operator.post("/agents/code-1/breaker", OPEN)
        assert told.status_code == 200
        found = viewer.get("/agents/code-1/breaker").json
        assert found == told.json
        assert (found["state"], found["forced"], found["reason"]) == ("open", True, "it answers nonsense")
        assert found["actor"].startswith("token:")
        assert found["until"].endswith("Z")
        assert viewer.get("/agents/code-1").json["breaker"] == "open"
        assert [each["breaker"] for each in viewer.get("/agents").json["items"]] == ["open", "closed"]

    def test_closed_and_back_to_itself(self, operator: Caller) -> None:
        assert operator.post("/agents/code-1/breaker", OPEN | {"state": "closed"}).json["forced"] is True
        told = operator.post("/agents/code-1/breaker", {"state": "auto"}).json
        assert (told["state"], told["forced"], told["until"]) == ("closed", False, None)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"state": "ajar", "reason": "x", "expires_in": 1},
            {"state": "open", "expires_in": 1},
            {"state": "open", "reason": "  ", "expires_in": 1},
            {"state": "open", "reason": "x"},
            {"state": "open", "reason": "x", "expires_in": 0},
            {"state": "open", "reason": "x", "expires_in": 31 * 86400},
            {"state": "open", "reason": "x", "expires_in": "60"},
            {"state": "open", "reason": "x" * 501, "expires_in": 1},
            {"state": "auto", "expires_in": 1},
            OPEN | {"colour": "red"},
        ],
    )
    def test_what_makes_no_sense_changes_nothing(self, operator: Caller, body: dict[str, Any]) -> None:
        answer = operator.post("/agents/code-1/breaker", body)
        assert (answer.status_code, answer.json["code"]) == (422, "invalid-request")
        assert operator.get("/agents/code-1").json["breaker"] == "closed"

    def test_a_viewer_may_look_only(self, viewer: Caller) -> None:
        assert viewer.post("/agents/code-1/breaker", OPEN).status_code == 403

    def test_of_no_agent(self, operator: Caller) -> None:
        for answer in (operator.get("/agents/nobody/breaker"), operator.post("/agents/nobody/breaker", OPEN)):
            assert (answer.status_code, answer.json["code"]) == (404, "not-found")

    def test_a_shared_agents_is_the_platforms(self, caller: MakeCaller, operator: Caller) -> None:
        caller(Role.AGENT, None).register("shared-1")
        assert operator.post("/agents/shared-1/breaker", OPEN).status_code == 403
        assert caller(Role.ADMIN, None).post("/agents/shared-1/breaker", OPEN).status_code == 200


class TestThrottling:
    def test_the_task_is_pending_and_the_agents_pause(
        self, agent: Caller, submitter: Caller, viewer: Caller, session: str, claim: Any
    ) -> None:
        task_id = submitter.submit()["task_id"]
        hold = claim(task_id, "code-1").hold
        body = {"session": session, "attempt": 1, "lease": hold.lease, "message": "429", "retryable": True}
        told = agent.post(f"/tasks/{task_id}/fail", body | {"code": "throttled", "retry_after": 30})

        assert (told.status_code, told.json["status"], told.json["error"]) == (200, "PENDING", None)
        assert told.json["next_attempt_at"] is None
        beat = agent.post("/agents/code-1/heartbeat", {"session": session, "running": []}).json
        assert beat["breaker"] == "paused"
        assert 0 < beat["pause"] <= 30
        breaker = viewer.get("/agents/code-2/breaker").json
        assert breaker["paused_until"] is not None
        assert (breaker["state"], breaker["calls"]) == ("closed", 0)

    @pytest.mark.parametrize(
        "more",
        [
            {"code": "throttled"},
            {"code": "throttled", "retry_after": 0},
            {"code": "throttled", "retry_after": 3601},
            {"code": "timeout", "retry_after": 5},
        ],
    )
    def test_a_pause_goes_with_its_code(self, agent: Caller, session: str, more: dict[str, Any]) -> None:
        body = {"session": session, "attempt": 1, "lease": "l", "message": "429", "retryable": True}
        answer = agent.post("/tasks/0196f9a0-0000-7000-8000-000000000000/fail", body | more)
        assert (answer.status_code, list(answer.json["errors"])) == (422, ["retry_after"])


@pytest.fixture
def run_cli(app: Flask, operator: Caller, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    """The command line over the app, as an operator."""
    real, transport = httpx.Client, httpx.WSGITransport(app=app)
    monkeypatch.setattr(cli_session.httpx, "Client", lambda: real(transport=transport))
    env = {"ARAGORA_CP_URL": "http://plane", "ARAGORA_CP_TOKEN": operator.token}
    return lambda words: CliRunner(env=env).invoke(cli, words.split())


@pytest.mark.usefixtures("session")
def test_the_commands(operator: Caller, run_cli: Callable[[str], Result]) -> None:
    opened = run_cli("agents force-open code-1 --reason nonsense --for 60")
    assert opened.exit_code == 0, opened.output
    assert "open (forced)" in opened.output
    assert "nonsense" in opened.output
    assert operator.get("/agents/code-1").json["breaker"] == "open"
    assert "closed (forced)" in run_cli("agents force-close code-1 --reason fine --for 60").output
    assert "forced" not in run_cli("agents reset code-1 --reason mended").output
    shown = run_cli("agents breaker code-1")
    assert "0 attempts, 0 failed, 0 slow" in shown.output
    assert run_cli("agents force-open code-1 --for 60").exit_code == 2, "a reason is needed"
    assert run_cli("agents breaker nobody").exit_code == 1
