"""What the monitor repairs, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import AgentStatus, RetryPolicy, TaskStatus
from tests.conftest import short_config
from tests.fleet import HANDLER_ERROR, Fleet
from tests.invariants import broken_invariants
from tests.keeper import Keeper
from tests.servers import EVERY_SERVER, StoreServer

pytestmark = [
    pytest.mark.parametrize("server", EVERY_SERVER, indirect=True),
    pytest.mark.usefixtures("short_spans"),
]

HEARTBEAT_TIMEOUT = 0.4


@pytest.fixture
def config(server: StoreServer) -> ControlPlaneConfig:
    return short_config(server, heartbeat_timeout=HEARTBEAT_TIMEOUT, heartbeat_interval=0.1)


def now_ms(fleet: Fleet) -> int:
    seconds, micros = fleet.client.time()
    return seconds * 1000 + micros // 1000


def is_pending(fleet: Fleet, task_id: str) -> Callable[[], bool]:
    return lambda: fleet.get(task_id).status is TaskStatus.PENDING


def test_a_due_retry_is_released(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, retry=RetryPolicy(initial=0.1, jitter=False))
    fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "a1")
    Keeper(fleet, spec).until(fleet.broker.queued, "the retry's ticket")
    assert fleet.claim(spec).hold.attempt == 2


def test_a_lost_lease_is_judged_and_an_agent_marked(fleet: Fleet) -> None:
    lost, alive = fleet.agent("a1"), fleet.agent("a2")
    claim = fleet.running(lost)
    Keeper(fleet, alive).until(fleet.broker.queued, "the attempt is tried again")
    assert fleet.registry.get("a1", None).status is AgentStatus.OFFLINE
    task = fleet.claim(alive).task
    assert (task.task_id, task.attempt, task.losses, task.retries) == (claim.hold.task_id, 2, 1, 1)
    assert task.error is not None
    entry = task.error["history"][0]
    assert (entry["code"], entry["agent_id"]) == ("agent-lost", "a1")


def test_a_lease_that_is_renewed_is_never_judged(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    lost = fleet.running(fleet.agent("lost")).hold
    keeper = Keeper(fleet, spec, holds=[claim.hold])
    keeper.until(is_pending(fleet, lost.task_id), "the other one is judged")
    assert fleet.get(claim.hold.task_id).status is TaskStatus.RUNNING


def test_an_attempt_past_its_time_limit_ends_though_its_agent_beats(fleet: Fleet) -> None:
    spec = fleet.agent()
    hold = fleet.running(spec, timeout=0.1, max_retries=0).hold
    keeper = Keeper(fleet, spec, holds=[hold])
    keeper.until(lambda: fleet.get(hold.task_id).status is TaskStatus.FAILED, "the time limit ends it")
    error = fleet.get(hold.task_id).error
    assert error is not None
    assert error["code"] == "timeout"
    assert fleet.registry.heartbeat("a1", fleet.session(spec), [hold]).lost == (hold,)


def test_nobody_is_judged_after_a_silence_of_our_own(fleet: Fleet) -> None:
    spec = fleet.agent("a1", concurrency=9)
    keeper = Keeper(fleet, spec)
    keeper.until_judging()
    holds = [fleet.running(spec).hold for _ in range(5)]
    began = now_ms(fleet)
    fleet.client.hset(fleet.fleet_keys("tick"), "at", began - 60_000)  # a minute without a tick
    fleet.client.hset(fleet.fleet_keys("agent", "a1"), "last_heartbeat", began - 60_000)
    fleet.client.zadd(fleet.fleet_keys("beats"), {"a1": began - 60_000})
    for hold in holds:
        fleet.expire(hold.task_id)
    assert keeper.monitor.tick()
    assert not keeper.leadership().judge
    assert {fleet.get(hold.task_id).status for hold in holds} == {TaskStatus.RUNNING}
    assert fleet.registry.lanes() != ()
    *back, lost = holds
    keeper.holds = back
    keeper.until(is_pending(fleet, lost.task_id), "the one that did not come back is judged")
    assert now_ms(fleet) - began >= HEARTBEAT_TIMEOUT * 1000
    assert {fleet.get(hold.task_id).status for hold in back} == {TaskStatus.RUNNING}


def test_a_lost_ticket_is_sent_again(fleet: Fleet) -> None:
    spec = fleet.agent()
    task = fleet.submit()
    fleet.broker.lose()
    Keeper(fleet, spec).until(fleet.broker.queued, "the ticket is sent again")
    assert fleet.claim(spec).task.task_id == task.task_id


def test_a_ticket_that_is_there_is_not_sent_again(fleet: Fleet) -> None:
    spec = fleet.agent()
    fleet.submit()
    probe = fleet.submit(agent_id="a1")
    assert fleet.broker.take_for(probe.task_id) is not None
    Keeper(fleet, spec).until(lambda: fleet.broker.queued("@a1"), "the lost one is sent again")
    assert len(fleet.broker.queued("shared.code")) == 1


def test_a_ticket_that_could_not_be_sent_is_sent(fleet: Fleet) -> None:
    spec = fleet.agent()
    fleet.broker.away = True
    task = fleet.submit()
    keeper = Keeper(fleet, spec)
    keeper.until_judging()
    fleet.broker.away = False
    keeper.until(fleet.broker.queued, "the ticket")
    assert fleet.claim(spec).task.task_id == task.task_id


def test_tickets_of_a_lane_that_is_gone_go_elsewhere(fleet: Fleet) -> None:
    gone = fleet.agent("a1", "code")
    ids = [fleet.submit("code").task_id for _ in range(3)]
    other = fleet.agent("a2", "code", "search")
    fleet.registry.leave("a1", fleet.session(gone))
    fleet.broker.lose()
    Keeper(fleet, other).until(lambda: len(fleet.broker.queued()) == 3, "the tickets")
    assert {ticket.lane for ticket in fleet.broker.queued()} == {"shared.code+search"}
    assert [fleet.claim(other).task.task_id for _ in ids] == ids


def test_what_waits_for_a_busy_lane_moves_to_an_idle_one(fleet: Fleet) -> None:
    busy = fleet.agent("busy", "code")
    held = fleet.running(busy).hold
    ids = [fleet.submit("code").task_id for _ in range(3)]
    assert len(fleet.broker.queued("shared.code")) == 3
    idle = fleet.agent("idle", "code", "search", concurrency=9)
    keeper = Keeper(fleet, busy, idle, holds=[held])
    started: list[str] = []

    def work() -> bool:
        while ticket := fleet.broker.take("shared.code+search"):
            claim = fleet.claim(idle, ticket)
            keeper.holds.append(claim.hold)
            started.append(claim.task.task_id)
        return len(started) == len(ids)

    keeper.until(work, "all that waited has started on the idle lane")
    assert started == ids
    stale = fleet.broker.take("shared.code")
    assert stale is not None
    assert fleet.scheduler.claim(fleet.hold(stale), busy) == "taken"
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


def test_no_more_move_than_the_window_allows(fleet: Fleet) -> None:
    busy = fleet.agent("busy", "code")
    held = fleet.running(busy).hold
    for _ in range(9):
        fleet.submit("code")
    idle = fleet.agent("idle", "code", "search", concurrency=9)
    keeper = Keeper(fleet, busy, idle, holds=[held])

    def moved() -> bool:
        assert broken_invariants(fleet.client, fleet.config, "acme") == []
        return len(fleet.broker.queued("shared.code+search")) >= fleet.config.window

    keeper.until(moved, "tickets move")


def test_what_waits_for_a_capability_starts_when_an_agent_brings_it(fleet: Fleet) -> None:
    task = fleet.submit("code", "search")
    for _ in range(3):
        Keeper(fleet).monitor.tick()
    spec = fleet.agent("a1", "code", "search")
    Keeper(fleet, spec).until(fleet.broker.queued, "the ticket", timeout=2)
    assert fleet.claim(spec).task.task_id == task.task_id


def test_a_run_without_a_lease_is_found(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    fleet.client.zrem(fleet.keys("running"), claim.hold.task_id)
    Keeper(fleet, spec).until(is_pending(fleet, claim.hold.task_id), "it is judged")
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


def test_fifty_lost_agents_are_all_repaired(fleet: Fleet) -> None:
    spec = fleet.agent("dead", concurrency=50)
    claims = [fleet.running(spec) for _ in range(50)]
    alive = fleet.agent("alive", concurrency=5)
    keeper = Keeper(fleet, alive)
    ids = [claim.hold.task_id for claim in claims]

    def back() -> bool:
        return set(fleet.scheduler.statuses("acme", ids)) == {TaskStatus.PENDING}

    keeper.until(back, "all are tried again")
    assert [fleet.claim(alive).task.task_id for _ in ids] == ids


def test_one_workspaces_broken_record_does_not_stop_the_others(fleet: Fleet) -> None:
    spec = fleet.agent()
    broken = fleet.running(spec).hold.task_id
    fleet.client.hset(fleet.keys("task", broken), "deadline", "never")
    fleet.expire(broken)
    keeper = Keeper(fleet, spec)
    keeper.until_judging()
    task, _ = fleet.scheduler.submit(fleet.new(workspace="other", delay=0.05))
    keeper.until(fleet.broker.queued, "the other workspace's ticket")
    assert fleet.claim(spec).task.task_id == task.task_id
