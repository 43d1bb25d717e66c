"""Tasks that wait for others: parked without a slot, woken when the last of them has ended."""

from __future__ import annotations

import pytest

from aragora_cp.model import Claim, Priority, TaskStatus
from tests.fleet import REJECTED, Fleet
from tests.servers import EVERY_SERVER
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)


def parked(fleet: Fleet, children: int) -> tuple[Claim, list[str]]:
    spec = fleet.agent(concurrency=9)
    parent = fleet.running(spec, priority=Priority.HIGH)
    ids = [fleet.submit(parent_id=parent.hold.task_id).task_id for _ in range(children)]
    fleet.scheduler.hand_back(parent.hold, awaits=ids)
    return parent, ids


def test_a_parked_task_runs_again_when_its_sub_tasks_have_ended_however(fleet: Fleet) -> None:
    parent, ids = parked(fleet, 3)
    spec = fleet.agent(concurrency=9)
    fleet.sweep()
    assert {ticket.task_id for ticket in fleet.broker.queued()} == set(ids)
    fleet.finish(fleet.claim(spec), spec)
    fleet.scheduler.fail(fleet.claim(spec).hold, REJECTED, "a1")
    fleet.sweep()
    assert fleet.get(parent.hold.task_id).status is TaskStatus.PENDING
    assert fleet.client.zcard(fleet.keys("backlog", "code", 1)) == 0
    fleet.scheduler.cancel("acme", ids[2])
    fleet.sweep()
    again = eventually(lambda: fleet.broker.take("shared.code"), 1, "the parent's ticket")
    assert (again.task_id, again.attempt) == (parent.hold.task_id, 2)
    claim = fleet.claim(spec, again)
    assert (claim.task.retries, claim.task.losses) == (0, 0)


def test_the_last_result_sends_the_parents_ticket(fleet: Fleet) -> None:
    parent, _ = parked(fleet, 1)
    spec = fleet.agent(concurrency=9)
    fleet.finish(fleet.claim(spec), spec)
    ticket = fleet.broker.take()
    assert ticket is not None
    assert ticket.task_id == parent.hold.task_id


def test_a_sub_task_that_ended_before_is_not_waited_for(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=9)
    parent = fleet.running(spec)
    child = fleet.submit(parent_id=parent.hold.task_id)
    fleet.finish(fleet.claim(spec), spec)
    fleet.scheduler.hand_back(parent.hold, awaits=[child.task_id, "nobodys"])
    assert fleet.claim(spec).task.task_id == parent.hold.task_id


def test_a_task_that_is_not_its_own_is_waited_for_too(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=9)
    waiting = [fleet.running(spec) for _ in range(2)]
    other = fleet.submit()
    for claim in waiting:
        fleet.scheduler.hand_back(claim.hold, awaits=[other.task_id])
    fleet.finish(fleet.claim(spec), spec)
    fleet.sweep()
    assert {fleet.claim(spec).task.task_id for _ in waiting} == {claim.hold.task_id for claim in waiting}


def test_a_parked_task_that_is_cancelled_is_not_woken(fleet: Fleet) -> None:
    parent, ids = parked(fleet, 1)
    fleet.scheduler.cancel("acme", parent.hold.task_id)
    assert fleet.get(ids[0]).status is TaskStatus.CANCELLED
    fleet.sweep()
    assert fleet.get(parent.hold.task_id).status is TaskStatus.CANCELLED
    assert fleet.client.exists(fleet.keys("awaiting", parent.hold.task_id)) == 0


def test_cancelling_a_delayed_sub_task_wakes_the_parent_soon(fleet: Fleet) -> None:
    """Nothing else happens in the workspace that would bring the monitor to look at it."""
    spec = fleet.agent(concurrency=9)
    parent = fleet.running(spec)
    child = fleet.submit(parent_id=parent.hold.task_id, delay=600.0)
    fleet.scheduler.hand_back(parent.hold, awaits=[child.task_id])
    monitor = fleet.monitor()
    for _ in range(3):
        monitor.tick()
    fleet.scheduler.cancel("acme", child.task_id)
    eventually(lambda: monitor.tick() and fleet.broker.queued(), 2, "the parent is released")
    assert fleet.claim(spec).task.task_id == parent.hold.task_id
