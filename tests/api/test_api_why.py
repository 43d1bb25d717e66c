"""GET /tasks/{id}/why."""

from __future__ import annotations

from aragora_cp.model import Role
from tests.api.conftest import Caller, MakeCaller

NOBODY = "00000000-0000-7000-8000-000000000000"


def test_the_reason_in_the_contracts_shape(submitter: Caller, viewer: Caller) -> None:
    task = submitter.submit(required_capabilities=["code", "gpu"])
    answer = viewer.get(f"/tasks/{task['task_id']}/why")
    assert answer.status_code == 200
    assert answer.json == {
        "task_id": task["task_id"],
        "status": "PENDING",
        "reason": {
            "code": "no-agent",
            "detail": "there is no agent that takes work",
            "missing": ["code", "gpu"],
            "nearest": None,
        },
        "also": [],
    }


def test_times_are_the_contracts(submitter: Caller, operator: Caller) -> None:
    operator.register("a1")
    task = submitter.submit(delay=60)
    reason = submitter.get(f"/tasks/{task['task_id']}/why").json["reason"]
    assert reason == {"code": "delayed", "detail": "it was submitted to run later", "until": task["run_at"]}


def test_what_is_not_there_and_who_may_not(
    caller: MakeCaller, submitter: Caller, viewer: Caller, agent: Caller
) -> None:
    task = submitter.submit()["task_id"]
    assert agent.get(f"/tasks/{task}/why").json["code"] == "forbidden"
    theirs = caller(Role.OPERATOR, "beta").get(f"/tasks/{task}/why")
    nobodys = viewer.get(f"/tasks/{NOBODY}/why")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json["detail"].replace(task, NOBODY) == nobodys.json["detail"]
    assert viewer.get("/tasks/none/why").status_code == 404
