"""Cancelling and running again."""

from __future__ import annotations

import pytest

from aragora_cp.errors import AlreadyFinal, Conflict, NotFound, StaleAttempt
from aragora_cp.model import Claim, Task, TaskStatus
from tests.crowds import at_once
from tests.fleet import HANDLER_ERROR, PROCESS_LOST, REJECTED, Fleet
from tests.invariants import broken_invariants
from tests.servers import EVERY_SERVER

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)


def test_what_waits_is_never_started(fleet: Fleet) -> None:
    spec = fleet.agent()
    released = fleet.submit()
    ticket = fleet.broker.take()
    assert ticket is not None
    backlogged, delayed = fleet.submit("nobody"), fleet.submit(delay=60.0, queue_timeout=60.0)
    for task in (released, backlogged, delayed):
        cancelled = fleet.scheduler.cancel("acme", task.task_id, actor="token:x")
        assert cancelled.status is TaskStatus.CANCELLED
        assert cancelled.finished_at is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "final"
    assert fleet.broker.cancelled == []
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


def test_a_running_attempt_is_told_and_its_writes_are_refused(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    assert fleet.scheduler.cancel("acme", claim.hold.task_id).agent_id == "a1"
    assert fleet.broker.cancelled == [("a1", claim.hold.task_id, 1)]
    with pytest.raises(StaleAttempt):
        fleet.finish(claim, spec)
    with pytest.raises(StaleAttempt):
        fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "a1")
    with pytest.raises(StaleAttempt):
        fleet.scheduler.hand_back(claim.hold)
    assert fleet.get(claim.hold.task_id).status is TaskStatus.CANCELLED
    assert fleet.client.hgetall(fleet.keys("load")) == {}


def test_a_lost_attempt_that_is_cancelled_stays_cancelled(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    fleet.scheduler.fail(claim.hold, PROCESS_LOST, "a1")
    fleet.scheduler.cancel("acme", claim.hold.task_id)
    with pytest.raises(StaleAttempt):
        fleet.finish(claim, spec)
    assert fleet.registry.heartbeat("a1", fleet.session(spec), [claim.hold]).cancel == (claim.hold,)


def test_sub_tasks_of_sub_tasks_end_too(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=9)
    parent = fleet.running(spec)
    child = fleet.running(spec, parent_id=parent.hold.task_id)
    done = fleet.running(spec, parent_id=parent.hold.task_id)
    fleet.finish(done, spec)
    grandchild = fleet.submit(parent_id=child.hold.task_id)
    other = fleet.submit()
    fleet.scheduler.cancel("acme", parent.hold.task_id)
    told = fleet.scheduler.statuses("acme", [child.hold.task_id, grandchild.task_id, done.hold.task_id, other.task_id])
    assert told == [TaskStatus.CANCELLED, TaskStatus.CANCELLED, TaskStatus.COMPLETED, TaskStatus.PENDING]
    assert {task_id for _, task_id, _ in fleet.broker.cancelled} == {parent.hold.task_id, child.hold.task_id}


def test_what_has_ended_or_is_not_there_cannot_be_cancelled(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    fleet.finish(claim, spec)
    with pytest.raises(AlreadyFinal, match="COMPLETED"):
        fleet.scheduler.cancel("acme", claim.hold.task_id)
    task = fleet.submit()
    with pytest.raises(NotFound):
        fleet.scheduler.cancel("other", task.task_id)
    assert fleet.get(task.task_id).status is TaskStatus.PENDING


def test_of_a_cancel_and_a_result_at_once_one_wins_and_both_know(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=999)
    winners: set[TaskStatus] = set()
    for _ in range(200):
        claim = fleet.running(spec)
        task_id = claim.hold.task_id
        finished, cancelled = at_once(
            [lambda c=claim: fleet.finish(c, spec), lambda t=task_id: fleet.scheduler.cancel("acme", t)]  # type: ignore[misc]
        )
        task = fleet.get(task_id)
        winners.add(task.status)
        if task.status is TaskStatus.COMPLETED:
            assert isinstance(finished, Task)
            assert finished.status is TaskStatus.COMPLETED
            assert isinstance(cancelled, AlreadyFinal)
        else:
            assert task.status is TaskStatus.CANCELLED
            assert isinstance(finished, StaleAttempt)
            assert isinstance(cancelled, Task)
            assert task.result is None
    assert winners <= {TaskStatus.COMPLETED, TaskStatus.CANCELLED}
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


def test_of_a_cancel_and_a_claim_at_once_no_run_is_left_over(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=999)
    for _ in range(50):
        task = fleet.submit()
        ticket = fleet.broker.take_for(task.task_id)
        assert ticket is not None
        hold = fleet.hold(ticket)
        claimed, cancelled = at_once(
            [lambda h=hold: fleet.scheduler.claim(h, spec), lambda t=task.task_id: fleet.scheduler.cancel("acme", t)]  # type: ignore[misc]
        )
        assert isinstance(cancelled, Task)
        assert isinstance(claimed, Claim) or claimed == "final"
        assert fleet.get(task.task_id).status is TaskStatus.CANCELLED
        if isinstance(claimed, Claim):
            assert ("a1", task.task_id, 1) in fleet.broker.cancelled
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


def test_a_failed_task_runs_again_with_a_fresh_allowance(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, max_retries=0)
    fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "a1")
    task = fleet.scheduler.rerun("acme", claim.hold.task_id, actor="token:x")
    assert (task.status, task.retries, task.attempt, task.finished_at) == (TaskStatus.PENDING, 0, 1, None)
    assert task.error is not None
    assert len(task.error["history"]) == 1
    again = fleet.claim(spec)
    assert again.hold.attempt == 2
    with pytest.raises(StaleAttempt):
        fleet.finish(claim, spec)
    done = fleet.finish(again, spec)
    assert done.status is TaskStatus.COMPLETED
    assert done.error is not None
    assert (done.error["code"], len(done.error["history"])) == (None, 1)


def test_a_cancelled_task_runs_again_at_once_whatever_it_waited_for(fleet: Fleet) -> None:
    spec = fleet.agent()
    task = fleet.submit(delay=600.0, queue_timeout=60.0)
    fleet.scheduler.cancel("acme", task.task_id)
    fleet.scheduler.rerun("acme", task.task_id)
    assert broken_invariants(fleet.client, fleet.config, "acme") == []
    assert fleet.claim(spec).task.task_id == task.task_id


def test_only_what_ended_without_a_result_runs_again(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=9)
    done, running = fleet.running(spec), fleet.running(spec)
    fleet.finish(done, spec)
    waiting = fleet.submit()
    for task_id in (done.hold.task_id, running.hold.task_id, waiting.task_id):
        with pytest.raises(Conflict):
            fleet.scheduler.rerun("acme", task_id)
    with pytest.raises(NotFound):
        fleet.scheduler.rerun("acme", "nobodys")


def test_a_rerun_task_is_found_by_the_monitor_when_its_ticket_is_not_sent(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    fleet.scheduler.fail(claim.hold, REJECTED, "a1")
    monitor = fleet.monitor()
    monitor.tick()
    fleet.registry.drain("a1", None)
    fleet.scheduler.rerun("acme", claim.hold.task_id)
    fleet.registry.resume("a1", None)
    monitor.tick()
    assert fleet.claim(spec).task.task_id == claim.hold.task_id


def test_a_cancel_and_a_rerun_that_are_sent_twice_answer_as_the_first_time(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver sends a command again when the connection broke before its answer."""
    claim = fleet.running(fleet.agent())
    task_id = claim.hold.task_id
    monkeypatch.setattr("aragora_cp.store.tasks._call_id", lambda: "one")
    for _ in range(2):
        assert fleet.scheduler.cancel("acme", task_id).status is TaskStatus.CANCELLED
    monkeypatch.setattr("aragora_cp.store.tasks._call_id", lambda: "two")
    with pytest.raises(AlreadyFinal):
        fleet.scheduler.cancel("acme", task_id)
    for _ in range(2):
        assert fleet.scheduler.rerun("acme", task_id).status is TaskStatus.PENDING
    monkeypatch.setattr("aragora_cp.store.tasks._call_id", lambda: "three")
    with pytest.raises(Conflict):
        fleet.scheduler.rerun("acme", task_id)
    actions = [entry["action"] for entry in fleet.plane.audit.list("acme").items if entry["outcome"] == "accepted"]
    assert (actions.count("task.cancel"), actions.count("task.retry")) == (1, 1)
