"""How attempts end: with a result, without one, handed back."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from aragora_cp.errors import NotFound, StaleAttempt
from aragora_cp.model import ErrorCode, Failure, RetryPolicy, TaskStatus
from tests.crowds import at_once
from tests.fleet import HANDLER_ERROR, PROCESS_LOST, REJECTED, Fleet
from tests.servers import EVERY_SERVER
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

AT_ONCE = RetryPolicy(initial=0.0)


def audited(fleet: Fleet) -> list[tuple[bytes, bytes]]:
    return [(entry[b"action"], entry[b"outcome"]) for _, entry in fleet.client.xrange(fleet.keys("audit"))]


def test_a_result_comes_back_byte_for_byte(fleet: Fleet) -> None:
    spec = fleet.agent()
    result = {"big": 2**80, "f": 1e-7, "none": None, "empty": [], "deep": {"e": {}}, "text": "é\0💡"}
    claim = fleet.running(spec)
    assert fleet.finish(claim, spec, result).result == result
    task = fleet.get(claim.hold.task_id)
    assert (task.status, task.result, task.agent_id) == (TaskStatus.COMPLETED, result, "a1")
    assert task.finished_at is not None


def test_a_result_is_taken_once_and_the_same_again_is_answered_again(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    first = fleet.finish(claim, spec, 1)
    assert fleet.finish(claim, spec, 2) == first
    assert fleet.get(claim.hold.task_id).result == 1


def test_a_late_result_counts_as_long_as_nobody_has_claimed_since(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    fleet.expire(claim.hold.task_id)
    assert fleet.sweep().repairs == {"lost-lease": 1}
    assert fleet.get(claim.hold.task_id).status is TaskStatus.PENDING
    assert fleet.finish(claim, spec, "late").status is TaskStatus.COMPLETED
    ticket = fleet.broker.take()
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "final"


def test_a_stale_result_is_refused_and_noted(fleet: Fleet) -> None:
    old, new = fleet.agent("a1"), fleet.agent("a2")
    stale = fleet.running(old)
    fleet.expire(stale.hold.task_id)
    fleet.sweep()
    claim = fleet.claim(new)
    assert claim.hold.attempt == 2
    with pytest.raises(StaleAttempt):
        fleet.finish(stale, old, "stale")
    with pytest.raises(StaleAttempt):
        fleet.scheduler.fail(stale.hold, HANDLER_ERROR, "a1")
    with pytest.raises(StaleAttempt):
        fleet.scheduler.hand_back(stale.hold)
    noted = [action for action, outcome in audited(fleet) if outcome == b"stale-attempt"]
    assert noted == [b"task.finish", b"task.fail", b"task.hand-back"]
    assert fleet.finish(claim, new, "fresh").result == "fresh"
    with pytest.raises(StaleAttempt):
        fleet.finish(stale, old, "stale")
    assert fleet.get(stale.hold.task_id).result == "fresh"


def test_endings_of_unknown_tasks(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    unknown = replace(claim, hold=replace(claim.hold, task_id="nobodys"))
    with pytest.raises(NotFound):
        fleet.finish(unknown, spec)
    with pytest.raises(NotFound):
        fleet.scheduler.fail(unknown.hold, HANDLER_ERROR, "a1")
    with pytest.raises(NotFound):
        fleet.scheduler.hand_back(unknown.hold)


def test_a_crowd_of_results_ends_in_one(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    answers = at_once([lambda n=n: fleet.finish(claim, spec, n) for n in range(20)])
    assert len({repr(answer) for answer in answers}) == 1
    events = [e[b"event"] for _, e in fleet.client.xrange(fleet.keys("events"))]
    assert events.count(b"completed") == 1


def test_a_failed_attempt_waits_in_the_store_until_it_is_due(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, retry=RetryPolicy(initial=0.2, jitter=False))
    task = fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "a1")
    assert (task.status, task.retries, task.agent_id, task.attempt) == (TaskStatus.PENDING, 1, None, 1)
    assert task.next_attempt_at == fleet.client.zscore(fleet.keys("delayed"), task.task_id)
    seconds, micros = fleet.client.time()
    assert 0 < task.next_attempt_at - (seconds * 1000 + micros // 1000) <= 200
    assert task.error is not None
    assert (task.error["code"], task.error["history"][0]["agent_id"]) == ("handler-error", "a1")
    assert fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "a1") == task
    assert fleet.broker.queued() == []
    eventually(lambda: fleet.sweep() and fleet.broker.queued(), 2, "the retry is released")
    second = fleet.claim(spec)
    assert second.hold.attempt == 2
    assert second.task.next_attempt_at is None
    assert fleet.client.time()[0] * 1000 + 1000 > task.next_attempt_at


@pytest.mark.parametrize(("retries", "low", "high"), [(0, 0, 100), (1, 0, 200), (2, 0, 400), (3, 0, 400)])
def test_waits_grow_up_to_the_maximum_with_jitter_below(fleet: Fleet, retries: int, low: int, high: int) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, retry=RetryPolicy(0.1, 2, 0.4), max_retries=9)
    fleet.client.hset(fleet.keys("task", claim.hold.task_id), "retries", retries)
    fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "a1")
    record = fleet.record(claim.hold.task_id)
    at = int(record["h1"].split(b"|")[0])
    assert low <= int(float(record["due"])) - at <= high


def test_a_failure_that_is_final_uses_no_retries(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, max_retries=5)
    task = fleet.scheduler.fail(claim.hold, REJECTED, "a1")
    assert (task.status, task.retries) == (TaskStatus.FAILED, 0)
    assert task.error is not None
    assert (task.error["code"], task.error["retryable"]) == ("rejected", False)
    assert fleet.scheduler.fail(claim.hold, REJECTED, "a1") == task


def test_after_its_last_retry_a_task_stays_failed(fleet: Fleet) -> None:
    spec = fleet.agent()
    fleet.submit(max_retries=2, retry=AT_ONCE)
    for attempt in (1, 2, 3):
        eventually(lambda: fleet.sweep() and fleet.broker.queued(), 2, "the retry is released")
        claim = fleet.claim(spec)
        assert claim.hold.attempt == attempt
        task = fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "a1")
    assert (task.status, task.retries, task.attempt) == (TaskStatus.FAILED, 2, 3)
    assert task.error is not None
    assert [entry["attempt"] for entry in task.error["history"]] == [1, 2, 3]
    fleet.sweep()
    assert fleet.broker.queued() == []


def test_losses_and_failures_share_one_allowance(fleet: Fleet) -> None:
    spec = fleet.agent()
    fleet.submit(max_retries=1, retry=AT_ONCE)
    first = fleet.claim(spec)
    fleet.expire(first.hold.task_id)
    fleet.sweep()
    task = fleet.scheduler.fail(fleet.claim(spec).hold, HANDLER_ERROR, "a1")
    assert (task.status, task.losses) == (TaskStatus.FAILED, 1)
    assert task.error is not None
    assert [entry["code"] for entry in task.error["history"]] == ["agent-lost", "handler-error"]


def test_a_lost_attempt_is_tried_at_once_at_its_old_place(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=2)
    lost = fleet.running(spec, retry=RetryPolicy(initial=60))
    later = [fleet.submit().task_id for _ in range(fleet.config.window + 1)]
    task = fleet.scheduler.fail(lost.hold, PROCESS_LOST, "a1")
    assert (task.status, task.next_attempt_at, task.losses, task.retries) == (TaskStatus.PENDING, None, 1, 1)
    # The window is full: it waits, before what came later.
    assert fleet.client.zrange(fleet.keys("backlog", "code", 2), 0, -1) == [
        task.task_id.encode(),
        later[-1].encode(),
    ]
    order = [fleet.claim(spec).task.task_id for _ in range(fleet.config.window + 2)]
    assert order == [*later[:-1], task.task_id, later[-1]]


def test_a_task_that_takes_every_process_down_is_poisoned(fleet: Fleet) -> None:
    spec = fleet.agent()
    fleet.submit(max_retries=2)
    for _ in range(3):
        fleet.sweep()
        task = fleet.scheduler.fail(fleet.claim(spec).hold, PROCESS_LOST, "a1")
    assert (task.status, task.losses) == (TaskStatus.FAILED, 3)
    assert task.error is not None
    assert task.error["code"] == "poisoned"
    assert [entry["code"] for entry in task.error["history"]] == ["agent-lost"] * 3


def test_one_loss_without_retries_is_a_lost_agent_not_poison(fleet: Fleet) -> None:
    spec = fleet.agent()
    task = fleet.scheduler.fail(fleet.running(spec, max_retries=0).hold, PROCESS_LOST, "a1")
    assert task.error is not None
    assert (task.status, task.error["code"]) == (TaskStatus.FAILED, "agent-lost")


def test_a_late_failure_is_noted_and_changes_nothing(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    fleet.expire(claim.hold.task_id)
    fleet.sweep()
    before = fleet.get(claim.hold.task_id)
    task = fleet.scheduler.fail(claim.hold, Failure(ErrorCode.TIMEOUT, "m|n", True), "a1")
    assert (task.status, task.retries, task.lane) == (before.status, before.retries, before.lane)
    assert task.error is not None
    assert task.error["history"][0] | {"at": 0} == {
        "attempt": 1,
        "at": 0,
        "agent_id": "a1",
        "code": "timeout",
        "retryable": True,
        "message": "m|n",
    }


def test_what_is_handed_back_uses_no_retry_and_keeps_its_place(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    later = [fleet.submit().task_id for _ in range(fleet.config.window + 1)]
    fleet.scheduler.hand_back(claim.hold)
    fleet.scheduler.hand_back(claim.hold)
    task = fleet.get(claim.hold.task_id)
    assert (task.status, task.retries, task.attempt, task.agent_id) == (TaskStatus.PENDING, 0, 1, None)
    order = [fleet.claim(spec).task.task_id for _ in range(fleet.config.window + 2)]
    assert order == [*later[:-1], task.task_id, later[-1]]
    with pytest.raises(StaleAttempt):
        fleet.finish(claim, spec)


def test_clocks_are_the_servers(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = fleet.agent()
    monkeypatch.setattr(time, "time", lambda: 1.0)
    claim = fleet.running(spec)
    seconds, _ = fleet.client.time()
    assert claim.task.started_at is not None
    assert abs(claim.task.started_at - seconds * 1000) < 5000
