"""Registration, heartbeats, drain and resume, lists of agents."""

from __future__ import annotations

from typing import Any

import pytest

from aragora_cp.model import Role
from aragora_cp.wiring import ControlPlane

from .conftest import Caller, MakeCaller, RecordingBroker


def test_a_registration_answers_with_the_agent_and_its_session(agent: Caller, plane: ControlPlane) -> None:
    answer = agent.post(
        "/agents/register",
        {
            "agent_id": "code-1",
            "capabilities": ["search", "code"],
            "model": "ruff",
            "concurrency": 2,
            "labels": {"zone": "a"},
            "version": "1.2",
            "task_types": {"code.review": {"type": "object"}},
        },
    )
    found = answer.json
    assert answer.status_code == 201
    assert answer.headers["Location"] == "/api/control-plane/agents/code-1"
    assert found.pop("session")
    assert found.pop("registered_at") == found.pop("last_heartbeat")
    assert found == {
        "agent_id": "code-1",
        "workspace": "acme",
        "capabilities": ["code", "search"],
        "model": "ruff",
        "status": "IDLE",
        "concurrency": 2,
        "running": [],
        "breaker": "closed",
        "labels": {"zone": "a"},
        "version": "1.2",
        "completed": 0,
        "failed": 0,
        "heartbeat_interval": plane.config.heartbeat_interval,
        "heartbeat_timeout": plane.config.heartbeat_timeout,
    }


def test_the_same_owner_again_starts_a_new_session(agent: Caller) -> None:
    old = agent.register("code-1")["session"]
    again = agent.post("/agents/register", {"agent_id": "code-1", "capabilities": ["code"], "model": "m"})
    assert again.status_code == 200
    assert again.json["session"] != old
    stale = agent.post("/agents/code-1/heartbeat", {"session": old, "running": []})
    assert (stale.status_code, stale.json["code"]) == (409, "stale-session")
    fresh = agent.post("/agents/code-1/heartbeat", {"session": again.json["session"], "running": []})
    assert fresh.json == {"cancel": [], "lost": [], "drain": False}


def test_another_owner_does_not_get_the_id(agent: Caller, caller: MakeCaller) -> None:
    agent.register("code-1")
    other = caller(Role.AGENT)
    answer = other.post("/agents/register", {"agent_id": "code-1", "capabilities": ["code"], "model": "m"})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


class TestHeartbeat:
    @pytest.mark.parametrize("session", ["x", "code-1/", "code-1/x", "/x", "a b/x"])
    def test_a_session_that_never_was_is_stale(self, agent: Caller, session: str) -> None:
        agent.register("code-1")
        answer = agent.post("/agents/code-1/heartbeat", {"session": session, "running": []})
        assert (answer.status_code, answer.json["code"]) == (409, "stale-session")

    def test_another_agents_session_is_stale(self, agent: Caller) -> None:
        agent.register("code-1")
        session = agent.register("code-2")["session"]
        answer = agent.post("/agents/code-1/heartbeat", {"session": session, "running": []})
        assert answer.json["code"] == "stale-session"

    def test_an_unknown_agent_is_not_found(self, agent: Caller) -> None:
        answer = agent.post("/agents/nobody/heartbeat", {"session": "nobody/x", "running": []})
        assert answer.json["code"] == "not-found"

    def test_it_renews_what_runs_and_names_what_is_lost(
        self, agent: Caller, submitter: Caller, viewer: Caller, claim: Any
    ) -> None:
        session = agent.register("code-1")["session"]
        task_id = submitter.submit()["task_id"]
        lease = claim(task_id, "code-1").hold.lease
        lost = submitter.submit()["task_id"]
        running = [
            {"task_id": task_id, "attempt": 1, "lease": lease},
            {"task_id": lost, "attempt": 1, "lease": "never", "workspace": "acme"},
        ]
        beat = agent.post("/agents/code-1/heartbeat", {"session": session, "running": running})
        assert beat.status_code == 200
        assert task_id not in beat.json["cancel"] + beat.json["lost"]
        found = viewer.get("/agents/code-1").json
        assert (found["status"], found["running"]) == ("BUSY", [task_id, lost])

    def test_a_workspaces_agent_holds_tasks_of_its_own_only(self, agent: Caller) -> None:
        session = agent.register("code-1")["session"]
        entry = {"task_id": "0196f9a0-0000-7000-8000-000000000000", "attempt": 1, "lease": "l", "workspace": "beta"}
        answer = agent.post("/agents/code-1/heartbeat", {"session": session, "running": [entry]})
        assert answer.json["code"] == "workspace-mismatch"

    def test_a_shared_agent_holds_tasks_of_many(
        self, caller: MakeCaller, submitter: Caller, viewer: Caller, claim: Any
    ) -> None:
        shared = caller(Role.AGENT, None)
        session = shared.register("code-1")["session"]
        mine = submitter.submit()["task_id"]
        theirs = caller(Role.SUBMITTER, "beta").submit()["task_id"]
        running = [
            {"task_id": mine, "attempt": 1, "lease": claim(mine, "code-1").hold.lease, "workspace": "acme"},
            {
                "task_id": theirs,
                "attempt": 1,
                "lease": claim(theirs, "code-1", workspace="beta").hold.lease,
                "workspace": "beta",
            },
        ]
        beat = shared.post("/agents/code-1/heartbeat", {"session": session, "running": running})
        assert beat.json == {"cancel": [], "lost": [], "drain": False}
        # Each workspace sees that the agent is busy, and which of its own tasks it runs.
        assert viewer.get("/agents/code-1").json["running"] == [mine]
        assert viewer.get("/agents").json["items"][0]["running"] == [mine]
        assert caller(Role.VIEWER, "beta").get("/agents/code-1").json["running"] == [theirs]
        assert set(caller(Role.ADMIN, None).get("/agents/code-1").json["running"]) == {mine, theirs}

    def test_an_agent_may_ask_for_no_more_and_say_goodbye(self, agent: Caller, viewer: Caller) -> None:
        session = agent.register("code-1")["session"]
        body = {"session": session, "running": []}
        assert agent.post("/agents/code-1/heartbeat", {**body, "status": "IDLE"}).json["drain"] is False
        assert agent.post("/agents/code-1/heartbeat", {**body, "status": "DRAINING"}).json["drain"] is True
        assert viewer.get("/agents/code-1").json["status"] == "DRAINING"
        assert agent.post("/agents/code-1/heartbeat", {**body, "status": "OFFLINE"}).status_code == 200
        assert viewer.get("/agents/code-1").json["status"] == "OFFLINE"
        assert agent.post("/agents/code-1/heartbeat", {**body, "status": "ASLEEP"}).status_code == 422


class TestOperators:
    def test_drain_and_resume(self, agent: Caller, operator: Caller) -> None:
        session = agent.register("code-1")["session"]
        drained = operator.post("/agents/code-1/drain")
        assert (drained.status_code, drained.json["status"]) == (200, "DRAINING")
        assert agent.post("/agents/code-1/heartbeat", {"session": session, "running": []}).json["drain"] is True
        resumed = operator.post("/agents/code-1/resume", {})
        assert (resumed.status_code, resumed.json["status"]) == (200, "IDLE")

    def test_a_drained_agents_lane_gets_nothing(
        self, agent: Caller, operator: Caller, submitter: Caller, broker: RecordingBroker
    ) -> None:
        agent.register("code-1")
        operator.post("/agents/code-1/drain")
        submitter.submit()
        assert broker.sent == []

    def test_removing_forgets(self, agent: Caller, operator: Caller) -> None:
        agent.register("code-1")
        gone = operator.delete("/agents/code-1")
        assert (gone.status_code, gone.data) == (204, b"")
        assert operator.get("/agents/code-1").status_code == 404
        assert operator.delete("/agents/code-1").status_code == 404

    @pytest.mark.parametrize("action", ["drain", "resume"])
    def test_a_shared_agent_is_the_platforms(self, caller: MakeCaller, operator: Caller, action: str) -> None:
        caller(Role.AGENT, None).register("code-1")
        assert operator.get("/agents/code-1").status_code == 200
        assert operator.post(f"/agents/code-1/{action}").json["code"] == "forbidden"
        assert operator.delete("/agents/code-1").json["code"] == "forbidden"
        assert caller(Role.OPERATOR, None).post(f"/agents/code-1/{action}").status_code == 200
        assert caller(Role.ADMIN, None).delete("/agents/code-1").status_code == 204

    def test_a_workspaces_token_does_not_speak_for_a_shared_agent(self, caller: MakeCaller, agent: Caller) -> None:
        session = caller(Role.AGENT, None).register("code-1")["session"]
        beat = agent.post("/agents/code-1/heartbeat", {"session": session, "running": []})
        assert beat.json["code"] == "forbidden"


class TestList:
    def test_pages_by_id(self, agent: Caller, caller: MakeCaller, viewer: Caller) -> None:
        caller(Role.AGENT, None).register("b-shared")
        caller(Role.AGENT, "beta").register("c-theirs")
        for name in ("a", "d", "e"):
            agent.register(name)
        first = viewer.get("/agents?limit=3").json
        assert [found["agent_id"] for found in first["items"]] == ["a", "b-shared", "d"]
        rest = viewer.get(f"/agents?limit=3&cursor={first['next_cursor']}").json
        assert ([found["agent_id"] for found in rest["items"]], rest["next_cursor"]) == (["e"], None)

    def test_filters(self, agent: Caller, operator: Caller) -> None:
        agent.register("a", ["code"])
        agent.register("b", ["search"])
        operator.post("/agents/b/drain")

        def found(query: str) -> list[str]:
            return [each["agent_id"] for each in operator.get(f"/agents?{query}").json["items"]]

        assert found("capability=code") == ["a"]
        assert found("status=DRAINING") == ["b"]
        assert found("status=IDLE&capability=search") == []
