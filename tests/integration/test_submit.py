"""Admission: one script, all or nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from aragora_cp.errors import IdempotencyConflict, NotFound
from aragora_cp.model import Priority, RetryPolicy, Task, TaskStatus
from tests.crowds import at_once
from tests.fleet import Fleet
from tests.servers import EVERY_SERVER

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)


def test_a_task_is_there_as_it_was_submitted(fleet: Fleet) -> None:
    fleet.agent("a1", "code", "search")
    payload = b'{"big":123456789012345678901,"f":1e-7,"empty":[],"o":{}}'
    new = fleet.new(
        "search",
        "code",
        payload=payload,
        priority=Priority.HIGH,
        timeout=1.5,
        queue_timeout=60.0,
        max_retries=2,
        retry=RetryPolicy(0.5, 3, 9),
        metadata={"who": "é"},
        correlation_id="c-1",
    )
    task, created = fleet.scheduler.submit(new)
    assert created
    got = fleet.scheduler.get("acme", task.task_id, with_payload=True)
    assert (got.status, got.attempt, got.retries, got.losses) == (TaskStatus.PENDING, 0, 0, 0)
    assert got.payload == {"big": 123456789012345678901, "f": 1e-7, "empty": [], "o": {}}
    assert (got.priority, got.timeout, got.queue_timeout, got.max_retries) == (Priority.HIGH, 1.5, 60.0, 2)
    assert (got.required_capabilities, got.metadata, got.correlation_id) == (("code", "search"), {"who": "é"}, "c-1")
    assert got.lane == "shared.code+search"
    assert replace(got, payload=None) == task
    (ticket,) = fleet.broker.sent
    assert (ticket.task_id, ticket.attempt, ticket.lane) == (task.task_id, 1, "shared.code+search")
    assert (ticket.priority, ticket.task_type, ticket.timeout, ticket.correlation_id) == (
        Priority.HIGH,
        "t",
        1.5,
        "c-1",
    )


def test_ids_are_in_the_order_of_creation(fleet: Fleet) -> None:
    ids = [fleet.submit().task_id for _ in range(50)]
    assert ids == sorted(ids)


def test_a_submit_leaves_an_event_and_an_audit_entry(fleet: Fleet) -> None:
    task = fleet.submit(actor="token:x", correlation_id="c-9")
    ((_, event),) = fleet.client.xrange(fleet.keys("events"))
    assert (event[b"event"], event[b"task_id"]) == (b"submitted", task.task_id.encode())
    ((_, entry),) = fleet.client.xrange(fleet.keys("audit"))
    assert (entry[b"actor"], entry[b"action"], entry[b"corr"]) == (b"token:x", b"task.submit", b"c-9")


def test_another_workspaces_task_is_not_there(fleet: Fleet) -> None:
    task = fleet.submit()
    with pytest.raises(NotFound):
        fleet.scheduler.get("other", task.task_id)
    with pytest.raises(NotFound):
        fleet.scheduler.get("acme", "no-such-task")


def test_the_same_id_is_admitted_once(fleet: Fleet) -> None:
    fleet.agent()
    first, created = fleet.scheduler.submit(fleet.new(), task_id="mine")
    again, created_again = fleet.scheduler.submit(fleet.new(), task_id="mine")
    assert (created, created_again) == (True, True)
    assert first == again
    assert len(fleet.broker.sent) == 1
    assert fleet.client.zcard(fleet.keys("tasks")) == 1


def test_a_broker_that_is_away_is_no_reason_to_refuse(fleet: Fleet) -> None:
    fleet.agent()
    fleet.broker.away = True
    assert fleet.submit().status is TaskStatus.PENDING


def test_an_idempotency_key_answers_with_the_first_task(fleet: Fleet) -> None:
    first, created = fleet.scheduler.submit(fleet.new(idempotency_key="k", correlation_id="1", actor="x"))
    again, created_again = fleet.scheduler.submit(fleet.new(idempotency_key="k", correlation_id="2", actor="y"))
    assert (created, created_again) == (True, False)
    assert first.task_id == again.task_id


@pytest.mark.parametrize(
    "change",
    [
        {"payload": b'{"n":2}'},
        {"priority": Priority.LOW},
        {"task_type": "u"},
        {"metadata": {"a": "b"}},
        {"timeout": 1.0},
        {"delay": 1.0},
        {"cache_ttl": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_same_key_with_another_body_is_a_conflict(fleet: Fleet, change: dict[str, object]) -> None:
    first = fleet.submit(idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        fleet.submit(idempotency_key="k", **change)
    assert fleet.client.zrange(fleet.keys("tasks"), 0, -1) == [first.task_id.encode()]


def test_the_same_key_in_another_workspace_is_another_task(fleet: Fleet) -> None:
    mine = fleet.submit(idempotency_key="k")
    theirs, created = fleet.scheduler.submit(fleet.new(workspace="other", idempotency_key="k"))
    assert created
    assert mine.task_id != theirs.task_id


def test_a_key_whose_task_is_gone_may_be_used_again(fleet: Fleet) -> None:
    first = fleet.submit(idempotency_key="k")
    fleet.client.delete(fleet.keys("task", first.task_id))
    again, created = fleet.scheduler.submit(fleet.new(idempotency_key="k"))
    assert created
    assert again.task_id != first.task_id


def test_a_hundred_submits_of_one_key_are_one_task(fleet: Fleet) -> None:
    fleet.agent()
    new = fleet.new(idempotency_key="k")
    answers = at_once([lambda: fleet.scheduler.submit(new)] * 100)
    tasks = [answer[0] for answer in answers if isinstance(answer, tuple)]
    assert len(tasks) == 100, [answer for answer in answers if isinstance(answer, Exception)]
    assert len({task.task_id for task in tasks}) == 1
    assert [created for _, created in answers].count(True) == 1  # type: ignore[misc]
    assert fleet.client.zcard(fleet.keys("tasks")) == 1
    assert len(fleet.broker.sent) == 1


def completed(fleet: Fleet, **more: object) -> Task:
    spec = fleet.agent()
    return fleet.finish(fleet.running(spec, **more), spec, {"answer": 42})


def test_a_cached_result_answers_for_an_equal_task(fleet: Fleet) -> None:
    first = completed(fleet, cache_ttl=60.0)
    again, created = fleet.scheduler.submit(fleet.new(cache_ttl=60.0, priority=Priority.LOW))
    assert not created
    assert (again.task_id, again.cached, again.status) == (first.task_id, True, TaskStatus.COMPLETED)
    assert again.result == {"answer": 42}


def test_no_cached_result_without_asking_or_for_other_work(fleet: Fleet) -> None:
    first = completed(fleet, cache_ttl=60.0)
    others = [fleet.new(), fleet.new(cache_ttl=60.0, payload=b"{}"), fleet.new("search", cache_ttl=60.0)]
    others.append(fleet.new(cache_ttl=60.0, workspace="other"))
    for new in others:
        task, created = fleet.scheduler.submit(new)
        assert created
        assert task.task_id != first.task_id


def test_a_cached_result_ends_with_its_time(fleet: Fleet) -> None:
    completed(fleet, cache_ttl=60.0)
    (key,) = fleet.client.scan_iter(match=fleet.keys("cache", "*"))
    assert 59_000 < fleet.client.pttl(key) <= 60_000
    fleet.client.delete(key)
    assert fleet.scheduler.submit(fleet.new(cache_ttl=60.0))[1]


def test_a_key_that_a_cached_result_answered_keeps_its_answer(fleet: Fleet) -> None:
    first = completed(fleet, cache_ttl=60.0)
    new = fleet.new(cache_ttl=60.0, idempotency_key="k")
    assert fleet.scheduler.submit(new)[0].task_id == first.task_id
    for key in fleet.client.scan_iter(match=fleet.keys("cache", "*")):
        fleet.client.delete(key)
    assert fleet.scheduler.submit(new)[0].task_id == first.task_id
    with pytest.raises(IdempotencyConflict):
        fleet.scheduler.submit(dataclasses.replace(new, payload=b"{}"))


def test_scripts_come_back_after_the_server_forgot_them(fleet: Fleet) -> None:
    spec = fleet.agent()
    fleet.client.script_flush()
    claim = fleet.running(spec)
    fleet.client.script_flush()
    fleet.registry.heartbeat("a1", fleet.session(spec), [claim.hold])
    fleet.client.script_flush()
    assert fleet.finish(claim, spec).status is TaskStatus.COMPLETED
    fleet.client.script_flush()
    assert fleet.monitor().tick()


def test_every_key_of_a_workspace_has_its_tag(fleet: Fleet) -> None:
    spec = fleet.agent()
    parent = fleet.running(spec, idempotency_key="k", cache_ttl=60.0, queue_timeout=60.0)
    child = fleet.submit(parent_id=parent.hold.task_id)
    fleet.submit(delay=60.0)
    fleet.submit("nobody", priority=Priority.LOW)
    fleet.scheduler.hand_back(parent.hold, awaits=[child.task_id])
    fleet.finish(fleet.claim(spec), spec)
    fleet.finish(fleet.claim(spec), spec)
    fleet.running(spec)
    fleet.monitor().tick()
    found = {key.decode() for key in fleet.client.scan_iter(match=f"{fleet.config.key_prefix}*", count=1000)}
    mine = {key for key in found if key.startswith(fleet.keys.root)}
    fleets = {key for key in found if key.startswith(fleet.fleet_keys.root)}
    assert found == mine | fleets
    assert len(mine) > 12
    assert len(fleets) > 6
