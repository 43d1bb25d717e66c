"""The contract of `ports.TaskOutcomes`: what the engine may rely on. The TaskScheduler is its only implementation."""

from __future__ import annotations

import pytest

from aragora_cp.errors import NotFound, StaleAttempt
from aragora_cp.model import AgentSpec, Claim, ErrorCode, Failure, Hold, TaskStatus
from aragora_cp.ports import TaskOutcomes
from tests.fleet import Fleet

FAILURE = Failure(ErrorCode.HANDLER_ERROR, "m", retryable=True)


@pytest.fixture
def outcomes(fleet: Fleet) -> TaskOutcomes:
    return fleet.scheduler


@pytest.fixture
def spec(fleet: Fleet) -> AgentSpec:
    return fleet.agent(concurrency=9)


@pytest.fixture
def hold(fleet: Fleet, spec: AgentSpec) -> Hold:
    fleet.submit(max_retries=1)
    ticket = fleet.broker.take()
    assert ticket is not None
    return fleet.hold(ticket)


@pytest.fixture
def held(outcomes: TaskOutcomes, hold: Hold, spec: AgentSpec) -> Hold:
    assert isinstance(outcomes.claim(hold, spec), Claim)
    return hold


def test_a_claim_is_granted_or_answered_with_a_word(outcomes: TaskOutcomes, hold: Hold, spec: AgentSpec) -> None:
    claim = outcomes.claim(hold, spec)
    assert isinstance(claim, Claim)
    assert claim.hold == hold
    assert claim.task.payload == {"n": 1}
    assert claim.deadline_ms > 0
    assert outcomes.claim(Hold(hold.workspace, hold.task_id, hold.attempt, "other"), spec) == "taken"


def test_finishing(outcomes: TaskOutcomes, held: Hold, spec: AgentSpec) -> None:
    assert outcomes.finish(held, b"[1]", spec).status is TaskStatus.COMPLETED
    assert outcomes.get(held.workspace, held.task_id).result == [1]
    assert outcomes.finish(held, b"[1]", spec).status is TaskStatus.COMPLETED


def test_failing(outcomes: TaskOutcomes, held: Hold) -> None:
    task = outcomes.fail(held, FAILURE, "a1")
    assert (task.status, task.retries) == (TaskStatus.PENDING, 1)
    assert task.next_attempt_at is not None
    assert outcomes.fail(held, FAILURE, "a1") == task


def test_handing_back(outcomes: TaskOutcomes, held: Hold) -> None:
    outcomes.hand_back(held)
    outcomes.hand_back(held)
    task = outcomes.get(held.workspace, held.task_id)
    assert (task.status, task.retries) == (TaskStatus.PENDING, 0)


def test_handing_back_until_others_end(outcomes: TaskOutcomes, held: Hold, fleet: Fleet, spec: AgentSpec) -> None:
    child = fleet.submit(parent_id=held.task_id)
    outcomes.hand_back(held, awaits=[child.task_id])
    assert {ticket.task_id for ticket in fleet.broker.queued()} == {child.task_id}
    fleet.finish(fleet.claim(spec), spec)
    assert {ticket.task_id for ticket in fleet.broker.queued()} == {held.task_id}


@pytest.mark.parametrize("how", ["finish", "fail", "hand_back"])
def test_what_is_not_held_is_refused(
    outcomes: TaskOutcomes, held: Hold, spec: AgentSpec, fleet: Fleet, how: str
) -> None:
    def write(hold: Hold) -> None:
        if how == "finish":
            outcomes.finish(hold, b"1", spec)
        elif how == "fail":
            outcomes.fail(hold, FAILURE, "a1")
        else:
            outcomes.hand_back(hold)

    for stale in (
        Hold(held.workspace, held.task_id, held.attempt, "another"),
        Hold(held.workspace, held.task_id, held.attempt, ""),
        Hold(held.workspace, held.task_id, held.attempt + 1, held.lease),
    ):
        with pytest.raises(StaleAttempt):
            write(stale)
    for unknown in (Hold("other", held.task_id, 1, held.lease), Hold(held.workspace, "nobodys", 1, held.lease)):
        with pytest.raises(NotFound):
            write(unknown)
    assert outcomes.get(held.workspace, held.task_id).status is TaskStatus.RUNNING


def test_what_is_not_there(outcomes: TaskOutcomes, spec: AgentSpec) -> None:
    with pytest.raises(NotFound):
        outcomes.get("acme", "nobodys")
    assert outcomes.claim(Hold("acme", "nobodys", 1, "l"), spec) == "unknown"
