"""Tickets get lost, come twice, or are none."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest

from aragora_cp.errors import BrokerUnavailable
from aragora_cp.lanes import queue_name
from aragora_cp.model import NewTask, Priority, TaskStatus, Ticket
from aragora_cp.scheduler import TaskScheduler
from aragora_cp.store.tasks import TaskStore
from tests.faults.world import World
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

LANE = "shared.chaos"


def queues(world: World) -> list[bytes]:
    """The keys of the lane's queues at every priority."""
    return list(world.plane.client.scan_iter(f"{world.config.key_prefix}{queue_name(LANE)}*"))


def ticket_of(world: World, task_id: str, attempt: int = 1) -> Ticket:
    task = world.task(task_id)
    return Ticket("default", task_id, attempt, LANE, task.priority, task.task_type, task.timeout, "")


def test_wiped_queues_cost_time_and_no_task(world: World) -> None:
    world.monitor()
    world.agent("one", "--concurrency", "1")
    world.ready("one")
    blocker = world.hold()
    world.started(blocker)
    tasks = [world.submit("work", payload={"n": n, "seconds": 0}, priority=Priority(n % 4)) for n in range(40)]
    wiped = queues(world)
    assert wiped
    world.plane.client.delete(*wiped)
    world.open_gate()
    done = world.final(blocker, *tasks)
    assert {task.status for task in done} == {TaskStatus.COMPLETED}
    assert {task.attempt for task in done} == {1}
    assert set(Counter(task for task, _, _ in world.lines("start")).values()) == {1}
    world.assert_sound()


def test_every_ticket_three_times(world: World) -> None:
    world.monitor()
    world.agent("one", "--concurrency", "2")
    world.ready("one")
    tasks = [world.submit("work", payload={"n": n, "seconds": 0.05}) for n in range(40)]
    for task_id in tasks:
        world.plane.broker.send([ticket_of(world, task_id)] * 2)
    done = world.final(*tasks)
    assert {(task.status, task.attempt) for task in done} == {(TaskStatus.COMPLETED, 1)}
    assert set(Counter(task for task, _, _ in world.lines("start")).values()) == {1}
    assert set(world.completions().values()) == {1}
    world.assert_sound()


def test_a_redelivery_while_the_first_run_goes_on_is_dropped(world: World) -> None:
    world.monitor()
    world.agent("one", "--concurrency", "2")
    world.ready("one")
    task_id = world.hold()
    world.started(task_id)
    world.plane.broker.send([ticket_of(world, task_id)])
    eventually(lambda: "ticket dropped" in world.members["one"].text(), 10, "the second ticket is dropped")
    world.open_gate()
    assert world.final(task_id)[0].attempt == 1
    assert len(world.lines("start", task_id)) == 1
    world.assert_sound()


def test_web_dies_between_record_and_ticket(world: World) -> None:
    """The same as a broker that takes nothing: the record stands, and the monitor sends the ticket within seconds."""

    class Dead:
        def send(self, tickets: Any) -> None:
            raise BrokerUnavailable

        def depths(self, lanes: Any) -> Any:
            raise BrokerUnavailable

        def cancel(self, agent_id: str, task_id: str, attempt: int) -> None: ...
        def close(self) -> None: ...

    world.agent("one")
    world.ready("one")
    dying = TaskScheduler(TaskStore(world.plane.client, world.config), Dead(), world.plane.registry, world.config)
    new = NewTask("default", "chaos.work", b'{"n": 1, "seconds": 0}', ("chaos",))
    task_id = dying.submit(new)[0].task_id
    world.monitor()
    began = time.monotonic()
    assert world.final(task_id)[0].status is TaskStatus.COMPLETED
    assert time.monotonic() - began < 10
    world.assert_sound()


def test_what_is_no_ticket_is_put_aside(world: World) -> None:
    world.monitor()
    agent = world.agent("one", "--concurrency", "1")
    world.ready("one")
    client, prefix = world.plane.client, world.config.key_prefix
    key = f"{prefix}{queue_name(LANE)}"
    foreign: dict[str, Any] = {"body": "", "headers": {"task": "evil", "id": "x"}, "properties": {}}
    for item in (b"not json", b'{"a": 1}', b"\xff" * 1_000_000, b"[]", json.dumps(foreign).encode()):
        client.lpush(key, item)
    unknown = Ticket("default", "0190-nobody", 1, LANE, Priority.CRITICAL, "chaos.work", 5.0, "")
    world.plane.broker.send([unknown])
    task_id = world.submit("work", payload={"n": 1, "seconds": 0})
    assert world.final(task_id)[0].status is TaskStatus.COMPLETED
    eventually(lambda: client.llen(f"{prefix}{{@}}:quarantine") == 5, 10, "five messages are put aside")
    eventually(lambda: '"unknown"' in agent.text(), 10, "the ticket of an unknown task is dropped")
    assert agent.process is not None
    assert agent.process.poll() is None
    assert agent.starts == 1
    world.assert_sound()


def test_a_ticket_in_the_wrong_lane_is_handed_back(world: World) -> None:
    world.monitor()
    world.agent("one")
    world.ready("one")
    new = NewTask("default", "chaos.work", b'{"n": 1, "seconds": 0}', ("gpu",))
    task_id = world.plane.scheduler.submit(new)[0].task_id
    world.plane.broker.send([ticket_of(world, task_id)])
    eventually(lambda: world.audit("task.claim", "incapable") == [task_id], 10, "the claim is refused and noted")
    assert world.task(task_id).status is TaskStatus.PENDING
    assert world.lines("start", task_id) == []
    world.assert_sound()
