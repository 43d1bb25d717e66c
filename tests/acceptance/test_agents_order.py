"""Who gets which task, and when: priorities, capabilities, idle lanes, tasks that wait for an agent."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from pytest_celery import CeleryTestSetup

from aragora_cp.lanes import queue_name
from aragora_cp.model import AgentSpec, Priority, TaskStatus
from aragora_cp.wiring import ControlPlane
from tests.acceptance.cluster.caller import Caller
from tests.acceptance.conftest import StartAgent
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("celery_worker_cluster")]
AGENTS = {
    "helper": {},
    "code": {"capabilities": "code"},
    "search": {"capabilities": "search"},
    "left": {"capabilities": "draw"},
    "right": {"capabilities": "draw+paint"},
}

SOON = 2000  # ms within which a waiting task starts once an agent for it has registered


def at_a_gate(caller: Caller, place: Path, **options: object) -> str:
    """A task that occupies a slot until `place`/open is there."""
    place.mkdir()
    task_id = caller.submit("gate", {"started": f"{place}/started", "open": f"{place}/open"}, **options)
    eventually((place / "started").exists, 5, "the slot is taken")
    return task_id


def test_200_tasks_start_by_priority_and_first_come_first_served(caller: Caller, tmp_path: Path) -> None:
    at_a_gate(caller, tmp_path / "gate")
    levels = list(itertools.islice(itertools.cycle(reversed(Priority)), 200))
    tasks = [
        caller.submit("note", {"file": f"{tmp_path}/notes", "line": n}, priority=level)
        for n, level in enumerate(levels)
    ]
    (tmp_path / "gate" / "open").touch()
    for task_id in tasks:
        assert caller.ended(task_id, 20).status is TaskStatus.COMPLETED

    noted = [int(line) for line in (tmp_path / "notes").read_text().split()]
    assert noted == sorted(range(200), key=lambda n: (levels[n], n))


def test_a_task_that_needs_two_capabilities_waits_for_an_agent_that_has_both(
    caller: Caller, start_agent: StartAgent
) -> None:
    tasks = [caller.submit("echo", n, needs=("code", "search")) for n in range(8)]
    # Each of the two is offered other work, and takes it, while these wait.
    for name in ("code", "search", "code", "search"):
        assert caller.run("echo", needs=(name,)).agent_id == name
    assert {caller.get(task).status for task in tasks} == {TaskStatus.PENDING}

    start_agent("both", capabilities="code+search")
    done = [caller.ended(task) for task in tasks]
    assert {task.agent_id for task in done} == {"both"}
    assert min(task.started_at for task in done) - caller.agent("both").registered_at <= SOON


def test_a_task_nobody_can_run_stays_pending_and_starts_when_somebody_can(
    caller: Caller, start_agent: StartAgent
) -> None:
    task_id = caller.submit("echo", needs=("telepathy",))
    assert caller.get(task_id).status is TaskStatus.PENDING
    assert caller.get(task_id).lane is None

    start_agent("medium", capabilities="telepathy+work")
    task = caller.ended(task_id)
    assert (task.status, task.agent_id) == (TaskStatus.COMPLETED, "medium")
    assert task.started_at - caller.agent("medium").registered_at <= SOON


def test_a_waiting_task_moves_to_the_lane_that_becomes_idle(caller: Caller, tmp_path: Path) -> None:
    places = {}
    for n in range(2):
        busy = caller.get(at_a_gate(caller, tmp_path / f"gate-{n}", needs=("draw",)))
        places[busy.lane] = tmp_path / f"gate-{n}", busy.task_id
    assert len(places) == 2, "each lane has a task"

    waiting = caller.submit("echo", needs=("draw",))
    stuck_in = caller.get(waiting).lane
    (idle,) = places.keys() - {stuck_in}
    place, freed_by = places[idle]
    (place / "open").touch()

    task = caller.ended(waiting)
    assert task.started_at - caller.ended(freed_by).finished_at <= 1000
    assert caller.get(places[stuck_in][1]).status is TaskStatus.RUNNING
    (places[stuck_in][0] / "open").touch()
    assert caller.ended(places[stuck_in][1]).status is TaskStatus.COMPLETED


def test_with_one_lane_busy_a_new_task_starts_on_the_idle_one(caller: Caller, tmp_path: Path) -> None:
    busy = caller.get(at_a_gate(caller, tmp_path / "gate", needs=("draw",)))

    task = caller.run("echo", needs=("draw",))

    assert {busy.agent_id, task.agent_id} == {"left", "right"}
    assert task.started_at - task.created_at <= 1000
    (tmp_path / "gate" / "open").touch()


def test_a_ticket_carries_the_tasks_type_as_its_name(
    caller: Caller, plane: ControlPlane, celery_setup: CeleryTestSetup
) -> None:
    """What Flower and Celery's events call a task."""
    plane.registry.register(AgentSpec("nobody", ("shadow",)), owner="test", takeover=True)
    eventually(lambda: any("shadow" in lane.capabilities for lane in plane.registry.lanes()), 2, "the lane is known")
    task = caller.get(caller.submit("report.write", needs=("shadow",), correlation_id="c-1"))

    with celery_setup.app.connection_for_read() as connection, connection.channel() as channel:
        message = channel.basic_get(queue_name(task.lane), no_ack=True)
    assert message.headers["shadow"] == "report.write"
    assert message.headers["id"] == task.task_id
    assert message.headers["argsrepr"] == "workspace=default attempt=1"
    caller.cancel(task.task_id)
