"""Due times, waiting times, retention: kept in the store, by the store's clock."""

from __future__ import annotations

import pytest
import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Priority, TaskStatus
from tests.conftest import short_config
from tests.fleet import PROCESS_LOST, REJECTED, Fleet
from tests.invariants import broken_invariants
from tests.servers import EVERY_SERVER, StoreServer
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)


@pytest.fixture
def config(server: StoreServer) -> ControlPlaneConfig:
    return short_config(server, result_retention=0.15)


def now_ms(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000


def statuses(fleet: Fleet, *ids: str) -> list[TaskStatus | None]:
    fleet.sweep()
    return fleet.scheduler.statuses("acme", ids)


def test_a_delayed_task_waits_in_the_store(fleet: Fleet) -> None:
    spec = fleet.agent()
    before = now_ms(fleet.client)
    task = fleet.submit(delay=0.2)
    assert task.run_at == task.next_attempt_at
    assert task.run_at is not None
    assert before + 200 <= task.run_at <= now_ms(fleet.client) + 200
    assert fleet.sweep().next_look == task.run_at
    assert fleet.broker.queued() == []
    eventually(lambda: fleet.sweep() and fleet.broker.queued(), 2, "the task is released", pause=0.01)
    assert task.run_at <= now_ms(fleet.client)
    assert fleet.claim(spec).task.run_at == task.run_at


def test_a_time_of_its_own_and_one_that_has_passed(fleet: Fleet) -> None:
    fleet.agent()
    now = now_ms(fleet.client)
    later = fleet.submit(run_at_ms=now + 60_000)
    assert later.next_attempt_at == now + 60_000
    assert fleet.submit(run_at_ms=now - 1).next_attempt_at is None
    assert len(fleet.broker.queued()) == 1
    assert fleet.submit(run_at_ms=now - 1, delay=60.0).next_attempt_at is not None


def test_due_tasks_are_let_out_in_their_old_order(fleet: Fleet) -> None:
    spec = fleet.agent()
    ids = [fleet.submit(delay=0.1 - n / 100).task_id for n in range(6)]
    eventually(lambda: now_ms(fleet.client) > max(fleet.get(i).run_at or 0 for i in ids), 2, "all are due")
    fleet.sweep()
    assert [fleet.claim(spec).task.task_id for _ in ids] == ids


def test_a_task_that_nobody_takes_expires(fleet: Fleet) -> None:
    task = fleet.submit("nobody", queue_timeout=0.05)
    kept = fleet.submit("nobody", queue_timeout=60.0)
    eventually(lambda: statuses(fleet, task.task_id) == [TaskStatus.FAILED], 2, "it expires", pause=0.01)
    error = fleet.get(task.task_id).error
    assert error is not None
    assert (error["code"], error["history"]) == ("expired", [])
    assert fleet.get(kept.task_id).status is TaskStatus.PENDING


def test_a_released_task_expires_too(fleet: Fleet) -> None:
    fleet.agent()
    task = fleet.submit(queue_timeout=0.05)
    assert len(fleet.broker.queued()) == 1
    eventually(lambda: statuses(fleet, task.task_id) == [TaskStatus.FAILED], 2, "it expires", pause=0.01)
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


def test_only_waiting_counts(fleet: Fleet) -> None:
    spec = fleet.agent()
    running = fleet.running(spec, queue_timeout=0.1, max_retries=3)
    delayed = fleet.submit(queue_timeout=0.1, delay=60.0)
    probe = fleet.submit("nobody", queue_timeout=0.15)
    eventually(lambda: statuses(fleet, probe.task_id) == [TaskStatus.FAILED], 2, "more than its time has passed")
    told = fleet.scheduler.statuses("acme", [running.hold.task_id, delayed.task_id])
    assert told == [TaskStatus.RUNNING, TaskStatus.PENDING]
    # Back in the queue it has what it had not used before.
    task = fleet.scheduler.fail(running.hold, PROCESS_LOST, "a1")
    deadline = fleet.client.zscore(fleet.keys("deadlines"), task.task_id)
    assert deadline is not None
    waited = int(fleet.record(task.task_id)["waited"])
    assert deadline == int(fleet.record(task.task_id)["waiting_since"]) + 100 - waited
    eventually(lambda: statuses(fleet, task.task_id) == [TaskStatus.FAILED], 2, "it expires", pause=0.01)


def test_a_lane_that_goes_does_not_give_the_waiting_time_back(fleet: Fleet) -> None:
    fleet.agent()
    task = fleet.submit(queue_timeout=60.0)
    before = fleet.client.zscore(fleet.keys("deadlines"), task.task_id)
    since = fleet.record(task.task_id)["waiting_since"]
    fleet.registry.drain("a1", None)
    eventually(lambda: now_ms(fleet.client) > int(since) + 20, 1, "some time passes", pause=0.01)
    assert fleet.sweep().repairs == {"lane-gone": 1}
    assert fleet.client.zscore(fleet.keys("deadlines"), task.task_id) == before
    assert fleet.record(task.task_id)["waiting_since"] == since


def test_an_expired_task_that_is_run_again_has_its_time_again(fleet: Fleet) -> None:
    task = fleet.submit("nobody", queue_timeout=0.1)
    eventually(lambda: statuses(fleet, task.task_id) == [TaskStatus.FAILED], 2, "it expires", pause=0.01)
    fleet.scheduler.rerun("acme", task.task_id)
    fleet.sweep()
    assert fleet.get(task.task_id).status is TaskStatus.PENDING


def test_finished_tasks_leave_nothing_behind(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=9)

    def keys() -> set[str]:
        found = {key.decode() for key in fleet.client.scan_iter(match=f"{fleet.keys.root}*", count=1000)}
        return {
            key for key in found if not key.startswith(fleet.keys("usage", ""))
        }  # one a day, with an end of its own

    kept = {fleet.keys(name) for name in ("seq", "epoch", "events", "audit")}
    if fleet.tasks.vault.seals:
        kept.add(fleet.keys("keys"))  # the workspace's own, for what comes next
    parent = fleet.running(spec, queue_timeout=9.0, priority=Priority.HIGH)
    child = fleet.submit(parent_id=parent.hold.task_id)
    fleet.submit(parent_id="nobodys", delay=0.01)
    fleet.scheduler.hand_back(parent.hold, awaits=[child.task_id])
    fleet.finish(fleet.claim(spec), spec)
    fleet.finish(fleet.claim(spec), spec)
    fleet.scheduler.fail(fleet.running(spec).hold, REJECTED, "a1")
    fleet.scheduler.cancel("acme", fleet.submit("nobody").task_id)
    eventually(lambda: fleet.sweep() and fleet.broker.queued(), 2, "the delayed task is released")
    fleet.finish(fleet.claim(spec), spec)
    assert keys() > kept
    eventually(lambda: fleet.sweep() and keys() == kept, 2, "all is cleaned up")
    assert fleet.sweep().next_look is None


def test_what_is_open_is_never_cleaned_up(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    waiting, done = fleet.submit("nobody"), fleet.submit()
    fleet.finish(fleet.claim(spec), spec)
    eventually(lambda: statuses(fleet, done.task_id) == [None], 2, "the finished one is removed")
    told = statuses(fleet, claim.hold.task_id, waiting.task_id)
    assert told == [TaskStatus.RUNNING, TaskStatus.PENDING]
    assert broken_invariants(fleet.client, fleet.config, "acme") == []
