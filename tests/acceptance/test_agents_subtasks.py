"""Sub-tasks of a handler: through the control plane, without a parent in its child's way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from aragora_cp.model import TaskStatus
from tests.acceptance.cluster.caller import Caller
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("celery_worker")]
AGENTS = {"solo": {}, "nanny": {"capabilities": "children"}}


def family(of: str, *children: object, **more: object) -> dict[str, object]:
    return {"of": of, "children": list(children), "needs": ["work"], **more}


def test_a_parent_that_steps_aside_leaves_its_slot_to_its_children(caller: Caller) -> None:
    task = caller.run("family", family("echo", 1, 2, 3, aside=True))

    assert task.status is TaskStatus.COMPLETED, task.error
    assert [child["got"] for child in task.result] == [1, 2, 3]
    assert (task.attempt, task.retries, task.losses) == (2, 0, 0)


def test_a_child_that_fails_fails_its_parent(caller: Caller) -> None:
    task = caller.run("family", family("reject", None, aside=True))

    assert task.status is TaskStatus.FAILED
    assert "handler-error" in task.error["message"]


def test_waiting_in_the_only_slot_is_refused_at_once(caller: Caller) -> None:
    asked_at = time.monotonic()
    task = caller.run("family", family("echo", 1), max_retries=3)

    assert time.monotonic() - asked_at < 3
    assert (task.status, task.attempt) == (TaskStatus.FAILED, 1)
    assert "no slot beside this one can run 'echo'; wait with step_aside=True" in task.error["message"]


def test_waiting_is_fine_where_another_slot_can_run_the_child(caller: Caller) -> None:
    task = caller.run("family", family("echo", 1, 2) | {"needs": ["children"]})

    assert task.status is TaskStatus.COMPLETED, task.error
    assert [child["agent"] for child in task.result] == ["nanny", "nanny"]
    assert task.attempt == 1


@pytest.mark.parametrize("aside", [True, False])
def test_cancelling_a_parent_cancels_its_children(caller: Caller, tmp_path: Path, aside: bool) -> None:
    files = [{name: f"{tmp_path}/{name}-{n}" for name in ("started", "open", "cleaned")} for n in range(2)]
    parent = caller.submit("family", family("gate", *files, aside=aside) | {"needs": ["children"]})
    eventually(Path(files[0]["started"]).exists, 5, "a child runs")

    assert caller.cancel(parent).status is TaskStatus.CANCELLED

    page = caller.plane.scheduler.list(caller.workspace, limit=10)
    children = [task for task in page.items if task.parent_id == parent]
    assert [task.status for task in children] == [TaskStatus.CANCELLED] * 2
    eventually(Path(files[0]["cleaned"]).exists, 2, "the child that ran has stopped")
    assert not Path(files[1]["started"]).exists()
    assert caller.run("echo").status is TaskStatus.COMPLETED
