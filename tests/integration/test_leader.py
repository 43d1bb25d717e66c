"""Monitors: which of them leads, and when it looks at what."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import AgentStatus, TaskStatus
from aragora_cp.store.sweeps import Deposed
from tests.conftest import short_config
from tests.fleet import Fleet
from tests.keeper import Keeper
from tests.servers import EVERY_SERVER, StoreServer
from tests.waiting import eventually

pytestmark = [
    pytest.mark.parametrize("server", EVERY_SERVER, indirect=True),
    pytest.mark.usefixtures("short_spans"),
]

HEARTBEAT_TIMEOUT = 0.4


@pytest.fixture
def config(server: StoreServer) -> ControlPlaneConfig:
    return short_config(server, heartbeat_timeout=HEARTBEAT_TIMEOUT, heartbeat_interval=0.1)


def test_one_of_two_leads(fleet: Fleet) -> None:
    first, second = fleet.monitor(), fleet.monitor()
    for _ in range(3):
        assert first.tick()
        assert not second.tick()


def test_a_leader_that_is_silent_is_followed(fleet: Fleet) -> None:
    first, second = fleet.monitor(), fleet.monitor()
    assert first.tick()
    eventually(second.tick, 2, "the second leads")
    assert not first.tick()


def test_one_that_stops_lets_another_lead_at_once(fleet: Fleet) -> None:
    stop = Event()
    first, second = fleet.monitor(), fleet.monitor()
    thread = Thread(target=first.run, args=(stop,))
    thread.start()
    eventually(lambda: fleet.client.exists(fleet.fleet_keys("leader")), 2, "the first leads")
    assert not second.tick()
    stop.set()
    thread.join(5)
    assert second.tick()


def test_resigning_is_the_leaders_own_affair(fleet: Fleet) -> None:
    assert fleet.monitor().tick()
    fleet.sweeps.resign("somebody else")
    assert not fleet.monitor().tick()


def test_what_a_deposed_leader_still_does_changes_nothing(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    old = fleet.sweeps.lead("old", lease_ms=60_000, gap_ms=60_000)
    fleet.client.delete(fleet.fleet_keys("leader"))
    new = fleet.sweeps.lead("new", lease_ms=60_000, gap_ms=60_000)
    assert new.epoch == old.epoch + 1
    assert new.new
    fleet.sweep(epoch=new.epoch)
    fleet.expire(claim.hold.task_id)
    with pytest.raises(Deposed):
        fleet.sweep(epoch=old.epoch)
    assert fleet.get(claim.hold.task_id).status is TaskStatus.RUNNING
    eventually(lambda: fleet.registry.get("a1", None).status is AgentStatus.OFFLINE, 2, "the agent is silent")
    with pytest.raises(Deposed):
        fleet.sweeps.retire(old.epoch)
    assert fleet.registry.lanes() != ()
    assert fleet.sweeps.retire(new.epoch) == ["a1"]


def test_a_new_leader_looks_at_every_workspace(fleet: Fleet) -> None:
    first = fleet.monitor()
    for workspace in ("acme", "other"):
        fleet.scheduler.submit(fleet.new(workspace=workspace, delay=600.0))
    first.tick()
    active = fleet.fleet_keys("active")
    planned = [score for _, score in fleet.client.zrange(active, 0, -1, withscores=True)]
    eventually(fleet.monitor().tick, 2, "the second leads")
    assert [score for _, score in fleet.client.zrange(active, 0, -1, withscores=True)] == planned
    assert fleet.client.get(fleet.keys("epoch")) == b"2"


def test_it_looks_when_something_is_due_and_not_before(fleet: Fleet) -> None:
    monitor = fleet.monitor()
    task = fleet.submit(delay=600.0)
    monitor.tick()
    assert fleet.client.zscore(fleet.fleet_keys("active"), "acme") == task.next_attempt_at
    fleet.scheduler.cancel("acme", task.task_id)
    monitor.tick()
    score = fleet.client.zscore(fleet.fleet_keys("active"), "acme")
    finished = fleet.get(task.task_id).finished_at
    assert finished is not None
    assert score == finished + round(fleet.config.result_retention * 1000)


def test_what_is_submitted_while_it_looks_is_not_overlooked(fleet: Fleet) -> None:
    """Between the look and the note of the next one."""
    fleet.submit(delay=600.0)
    leadership = fleet.sweeps.lead("monitor", lease_ms=60_000, gap_ms=60_000)
    due = fleet.sweeps.due({})
    (look,) = fleet.sweeps.sweep(
        leadership.epoch,
        [workspace for workspace, _ in due.workspaces],
        judge=True,
        lanes=(),
        short=(),
        idle=(),
        chance=0,
    )
    sooner = fleet.submit(delay=60.0)
    fleet.sweeps.schedule({}, [(*due.workspaces[0], look.next_look)])
    assert [workspace for workspace, _ in fleet.sweeps.due({}).workspaces] == ["acme"]
    assert fleet.sweep().next_look == sooner.next_attempt_at


def test_more_busy_workspaces_than_one_tick_takes_are_all_looked_at(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aragora_cp.store.sweeps.MOST_WORKSPACES", 3)
    names = [f"w{n}" for n in range(10)]
    for name in names:
        fleet.scheduler.submit(fleet.new(workspace=name))
    for _ in range(2):
        Keeper(fleet).monitor.tick()
    Keeper(fleet, fleet.agent()).until(
        lambda: {t.workspace for t in fleet.broker.sent} == set(names), "each has its ticket"
    )


def test_a_leader_key_without_an_end_keeps_nobody_from_leading(fleet: Fleet) -> None:
    """Whatever left it there: a lock that never expires is how recovery stops for good."""
    fleet.client.set(fleet.fleet_keys("leader"), "a-ghost")
    assert fleet.monitor(token="living").tick()
    assert fleet.client.pttl(fleet.fleet_keys("leader")) > 0
