"""Waiting for ends: woken by the store, one connection and one thread for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import pytest
import redis

from aragora_cp.errors import NotFound
from aragora_cp.model import Task, TaskStatus
from aragora_cp.store.completions import CompletionFeed, TaskRef
from aragora_cp.waiter import Waiter
from tests.conftest import short_config
from tests.fleet import REJECTED, Fleet
from tests.servers import StoreServer
from tests.waiting import eventually

CROWD = 1000


def connections(client: redis.Redis) -> int:
    return len(client.client_list())


def subscriptions(fleet: Fleet) -> int:
    return len(fleet.client.pubsub_channels(f"{fleet.config.key_prefix}*"))


def is_quiet(client: redis.Redis) -> bool:
    """Whether the server gets a handful of commands in a while, this question included."""
    before = client.info("stats")["total_commands_processed"]
    threading.Event().wait(0.3)
    return client.info("stats")["total_commands_processed"] - before < 20


def ended(fleet: Fleet) -> Task:
    spec = fleet.agent()
    return fleet.finish(fleet.running(spec), spec)


def test_a_wait_ends_with_the_task_however_it_ends(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=9)
    done, failed, cancelled = (fleet.running(spec) for _ in range(3))
    futures = [fleet.plane.waiter.future("acme", claim.hold.task_id) for claim in (done, failed, cancelled)]
    eventually(lambda: subscriptions(fleet) == 3, 5, "the subscriptions stand")
    fleet.finish(done, spec)
    fleet.scheduler.fail(failed.hold, REJECTED, "a1")
    fleet.scheduler.cancel("acme", cancelled.hold.task_id)
    assert [future.result(5) for future in futures] == [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED]


def test_a_task_that_has_ended_before_is_not_waited_for(fleet: Fleet) -> None:
    task = ended(fleet)
    assert fleet.plane.waiter.wait("acme", task.task_id, 5)
    assert fleet.plane.waiter.future("acme", task.task_id).result(5) is TaskStatus.COMPLETED


def test_what_is_not_there_is_said_at_once(fleet: Fleet) -> None:
    task = fleet.submit()
    with pytest.raises(NotFound):
        fleet.plane.waiter.wait("acme", "nobodys", 5)
    with pytest.raises(NotFound):
        fleet.plane.waiter.wait("other", task.task_id, 5)


def test_a_wait_has_its_bound_and_leaves_nothing(fleet: Fleet) -> None:
    task = fleet.submit()
    began = time.monotonic()
    assert not fleet.plane.waiter.wait("acme", task.task_id, 0.2)
    assert 0.2 <= time.monotonic() - began < 2
    eventually(lambda: subscriptions(fleet) == 0, 5, "the subscription is gone")


def test_it_can_be_used_again_after_the_last_wait_has_ended(fleet: Fleet) -> None:
    """With no subscription left the listener's connection must stay usable, and cost nothing."""
    for _ in range(3):
        task = fleet.submit()
        assert not fleet.plane.waiter.wait("acme", task.task_id, 0.05)
        eventually(lambda: subscriptions(fleet) == 0, 5, "the subscription is gone")
        future = fleet.plane.waiter.future("acme", task.task_id)
        eventually(lambda: subscriptions(fleet) == 1, 5, "the subscription stands")
        fleet.scheduler.cancel("acme", task.task_id)
        assert future.result(5) is TaskStatus.CANCELLED
    eventually(lambda: subscriptions(fleet) == 0, 5, "the subscription is gone")
    before, wall = time.process_time(), time.monotonic()
    threading.Event().wait(0.3)
    assert time.process_time() - before < 0.5 * (time.monotonic() - wall)


def test_several_may_wait_for_one_task_and_one_may_stop(fleet: Fleet) -> None:
    task = fleet.submit()
    waiter = fleet.plane.waiter
    first, second, third = (waiter.future("acme", task.task_id) for _ in range(3))
    eventually(lambda: subscriptions(fleet) == 1, 5, "one subscription for all")
    assert second.cancel()
    fleet.scheduler.cancel("acme", task.task_id)
    assert first.result(5) is third.result(5) is TaskStatus.CANCELLED


def test_a_thousand_waits_cost_one_connection_and_one_thread(fleet: Fleet) -> None:
    fleet.agent(concurrency=CROWD)
    ids = [fleet.submit().task_id for _ in range(CROWD)]
    connected, threads = connections(fleet.client), threading.active_count()
    futures = [fleet.plane.waiter.future("acme", task_id) for task_id in ids]
    eventually(lambda: subscriptions(fleet) == CROWD, 20, "the subscriptions stand")
    # One of its own; and one of the pool, whose connections serve every other call as well.
    assert connections(fleet.client) <= connected + 2
    assert threading.active_count() <= threads + 1
    eventually(lambda: is_quiet(fleet.client), 10, "woken, not asking: nothing ends and hardly a command is sent")
    assert not any(future.done() for future in futures)
    for task_id in ids:
        fleet.scheduler.cancel("acme", task_id)
    assert {future.result(20) for future in futures} == {TaskStatus.CANCELLED}
    eventually(lambda: subscriptions(fleet) == 0, 20, "the subscriptions are gone")


def test_a_wake_up_takes_no_time(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=99)
    delays = []
    for _ in range(20):
        claim = fleet.running(spec)
        future = fleet.plane.waiter.future("acme", claim.hold.task_id)
        eventually(lambda: subscriptions(fleet) == 1, 5, "the subscription stands", pause=0.002)
        fleet.finish(claim, spec)
        began = time.monotonic()
        future.result(5)
        delays.append(time.monotonic() - began)
        eventually(lambda: subscriptions(fleet) == 0, 5, "the subscription is gone", pause=0.002)
    assert sorted(delays)[len(delays) // 2] < 0.1


def test_no_end_is_missed_between_asking_and_listening(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=999)
    for _ in range(100):
        claim = fleet.running(spec)
        future = fleet.plane.waiter.future("acme", claim.hold.task_id)
        fleet.finish(claim, spec)
        assert future.result(5) is TaskStatus.COMPLETED


def test_closing_ends_every_wait(fleet: Fleet) -> None:
    task = fleet.submit()
    waiter = Waiter(lambda: CompletionFeed(fleet.config, fleet.client))
    threads = threading.active_count()
    future = waiter.future("acme", task.task_id)
    waiter.close()
    assert future.cancelled()
    assert threading.active_count() == threads
    with pytest.raises(RuntimeError, match="closed"):
        waiter.future("acme", task.task_id)
    waiter.close()


class BreakingOnce(CompletionFeed):
    """Fails in a way that nobody thought of, the first time that it is subscribed to."""

    broken = False

    async def subscribe(self, refs: Iterable[TaskRef]) -> None:
        if not BreakingOnce.broken:
            BreakingOnce.broken = True
            raise RuntimeError("two readers of one stream")
        await super().subscribe(refs)


def test_no_fault_of_the_listener_leaves_the_waits_alone(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BreakingOnce, "broken", False)
    waiter = Waiter(lambda: BreakingOnce(fleet.config, fleet.client))
    task = ended(fleet)
    assert waiter.future("acme", task.task_id).result(5) is TaskStatus.COMPLETED
    assert BreakingOnce.broken
    waiter.close()


@pytest.fixture
def restartable(own_server: StoreServer) -> Iterator[Fleet]:
    parts = Fleet(short_config(own_server, redis_timeout=1.0))
    yield parts
    parts.close()


def test_it_outlives_the_stores_restart(restartable: Fleet, own_server: StoreServer) -> None:
    fleet = restartable
    before, during = fleet.submit().task_id, fleet.submit().task_id
    futures = [fleet.plane.waiter.future("acme", task_id) for task_id in (before, during)]
    eventually(lambda: subscriptions(fleet) == 2, 5, "the subscriptions stand")
    own_server.kill()
    asked_meanwhile = fleet.plane.waiter.future("acme", before)
    own_server.start()
    # Ends that nobody could hear of, before the listener is back, count as well.
    fleet.scheduler.cancel("acme", during)
    assert futures[1].result(10) is TaskStatus.CANCELLED
    assert not futures[0].done()
    fleet.scheduler.cancel("acme", before)
    assert futures[0].result(10) is asked_meanwhile.result(10) is TaskStatus.CANCELLED
