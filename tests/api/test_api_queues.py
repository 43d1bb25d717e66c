"""What waits and runs, by required capabilities."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from aragora_cp.model import AgentSpec, Claim, NewTask, Role
from aragora_cp.wiring import ControlPlane

from .conftest import Caller, MakeCaller

NOTHING = {"critical": 0, "high": 0, "normal": 0, "low": 0}


def test_nothing_waits_at_first(viewer: Caller) -> None:
    found = viewer.get("/queues").json
    assert found.pop("measured_at").endswith("Z")
    assert found == {
        "items": [],
        "lanes": [],
        "pending": 0,
        "running": 0,
        "delayed": 0,
        "last_minute": {"completed": 0, "failed": 0, "cancelled": 0},
        "complete": True,
    }


def test_tasks_are_counted_by_what_they_require_and_how_urgent_they_are(
    caller: MakeCaller, submitter: Caller, viewer: Caller, claim: Callable[..., Claim], plane: ControlPlane
) -> None:
    caller(Role.AGENT).register("own-1", concurrency=3)
    caller(Role.AGENT, None).register("shared-1", ["code", "gpu"])
    caller(Role.AGENT, "beta").register("theirs-1", ["code"])
    ran = [submitter.submit()["task_id"] for _ in range(2)]
    claim(ran[0], "own-1")
    done = claim(ran[1], "own-1")
    plane.scheduler.finish(done.hold, b"1", AgentSpec("own-1", ("code",), workspace="acme"))
    for priority in ("critical", "normal", "normal"):
        submitter.submit(priority=priority)
    for n in range(6):  # more than a window lets out
        submitter.submit(required_capabilities=["gpu"], priority="low", payload={"n": n})
    plane.scheduler.submit(NewTask("acme", "code.review", b"1", ("gpu",), placement="private"))
    submitter.submit(agent_id="own-1", required_capabilities=[])
    submitter.submit(required_capabilities=["nobody", "has"])
    submitter.submit(delay=60)

    found = viewer.get("/queues").json
    by_class = {(*item["required_capabilities"], item["placement"], item["agent_id"]): item for item in found["items"]}
    assert set(by_class) == {
        ("code", "auto", None),
        ("gpu", "auto", None),
        ("gpu", "private", None),
        ("auto", "own-1"),
        ("has", "nobody", "auto", None),
    }
    code = by_class["code", "auto", None]
    assert code["waiting"] == NOTHING | {"critical": 1, "normal": 2}
    assert code["running"] == 1
    assert code["lanes"] == ["acme.code", "shared.code+gpu"]
    assert code["agents"] == 2
    assert by_class["gpu", "auto", None]["waiting"] == NOTHING | {"low": 6}
    assert by_class["gpu", "auto", None]["lanes"] == ["shared.code+gpu"]
    assert by_class["gpu", "private", None]["lanes"] == []
    assert by_class["auto", "own-1"]["waiting"] == NOTHING | {"normal": 1}
    assert (by_class["has", "nobody", "auto", None]["agents"], found["delayed"]) == (0, 1)
    assert (found["pending"], found["running"]) == (13, 1)
    assert found["last_minute"] == {"completed": 1, "failed": 0, "cancelled": 0}
    assert found["complete"] is True
    assert [lane["lane"] for lane in found["lanes"]] == ["acme.code", "shared.code+gpu"]
    own = found["lanes"][0]
    assert (own["pool"], own["agents"], own["slots"], own["running"]) == ("acme", 1, 3, 1)


def test_the_longest_wait_stands_first(submitter: Caller, viewer: Caller) -> None:
    submitter.submit(required_capabilities=["first"])
    time.sleep(0.05)
    submitter.submit(required_capabilities=["second"])
    items = viewer.get("/queues").json["items"]
    assert [item["required_capabilities"] for item in items] == [["first"], ["second"]]
    assert 60 > items[0]["oldest_wait"] >= items[1]["oldest_wait"] + 0.04


def test_another_workspaces_tasks_are_not_counted(caller: MakeCaller, viewer: Caller, plane: ControlPlane) -> None:
    caller(Role.AGENT, None).register("shared-1")
    for _ in range(3):
        caller(Role.SUBMITTER, "beta").submit()
    found = viewer.get("/queues").json
    assert (found["items"], found["pending"]) == ([], 0)
    assert [(lane["running"], lane["tickets"]) for lane in found["lanes"]] == [(0, 0)]
    assert viewer.call("GET", "/queues", headers={"X-Workspace-ID": "beta"}).status_code == 403


def test_a_reading_is_bounded_and_says_so(
    submitter: Caller, viewer: Caller, caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller(Role.AGENT).register("own-1", ["code", "docs"])
    for n in range(4):
        submitter.submit(required_capabilities=[f"c{n}"])
    monkeypatch.setattr("aragora_cp.store.queues.MOST_CLASSES", 3)
    found = viewer.get("/queues").json
    assert (len(found["items"]), found["complete"], found["pending"]) == (3, False, 4)

    monkeypatch.undo()
    for _ in range(4):
        submitter.submit()
    assert viewer.get("/queues").json["complete"] is True
    monkeypatch.setattr("aragora_cp.store.queues.MOST_LOOKS", 3)
    assert viewer.get("/queues").json["complete"] is False


def test_who_may_look(caller: MakeCaller, anyone: Caller) -> None:
    assert anyone.get("/queues").status_code == 401
    assert caller(Role.AGENT).get("/queues").status_code == 403
    assert caller(Role.ADMIN, None, named="acme").get("/queues").status_code == 200
