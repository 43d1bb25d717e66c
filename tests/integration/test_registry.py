"""Agents: who is there, whether they live, the lanes that follow."""

from __future__ import annotations

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import AgentConflict, Conflict, NotFound, StaleSession
from aragora_cp.model import Agent, AgentSpec, AgentStatus, Lane
from aragora_cp.registry import AgentRegistry
from aragora_cp.store.agents import AgentStore
from tests.conftest import short_config
from tests.crowds import at_once
from tests.fleet import Fleet
from tests.servers import EVERY_SERVER, StoreServer
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

FULL = AgentSpec(
    "a1",
    ("code", "search"),
    model="m",
    workspace=None,
    concurrency=3,
    labels={"zone": "é"},
    version="1.2",
    task_types={"code.review": {}},
)


@pytest.fixture
def config(server: StoreServer) -> ControlPlaneConfig:
    return short_config(server, heartbeat_timeout=0.4, heartbeat_interval=0.1)


def lanes(fleet: Fleet) -> dict[str, int]:
    return {lane.name: lane.slots for lane in fleet.registry.lanes()}


def offline(fleet: Fleet, *agent_ids: str) -> bool:
    return all(fleet.registry.get(agent_id, None).status is AgentStatus.OFFLINE for agent_id in agent_ids)


def retire(fleet: Fleet) -> list[str]:
    leadership = fleet.sweeps.lead("retiring", lease_ms=10_000, gap_ms=10_000)
    return fleet.sweeps.retire(leadership.epoch)


def test_an_agent_is_there_as_it_registered(fleet: Fleet) -> None:
    agent, created = fleet.registry.register(FULL, owner="tests", takeover=False)
    assert created
    assert (agent.capabilities, agent.model, agent.concurrency, agent.labels) == (
        ("code", "search"),
        "m",
        3,
        {"zone": "é"},
    )
    assert (agent.status, agent.lane, agent.version) == (AgentStatus.IDLE, "shared.code+search", "1.2")
    assert agent.task_types == {"code.review": {}}
    assert (agent.running, agent.completed, agent.failed, agent.workspace) == ((), 0, 0, None)
    assert fleet.registry.get("a1", "acme") == agent
    assert fleet.registry.lanes() == (Lane("shared.code+search", "shared", frozenset({"code", "search"}), 3),)


def test_a_second_process_under_a_live_id_is_refused(fleet: Fleet) -> None:
    first, _ = fleet.registry.register(FULL, owner="tests", takeover=False)
    with pytest.raises(AgentConflict, match="'a1' is alive already"):
        fleet.registry.register(FULL, owner="tests", takeover=False)
    assert fleet.registry.get("a1", None).session == first.session


def test_one_that_takes_over_ends_the_others_session(fleet: Fleet) -> None:
    first, _ = fleet.registry.register(FULL, owner="tests", takeover=False)
    second, created = fleet.registry.register(FULL, owner="tests", takeover=True)
    assert not created
    with pytest.raises(StaleSession):
        fleet.registry.heartbeat("a1", first.session)
    fleet.registry.heartbeat("a1", second.session)
    fleet.registry.leave("a1", first.session)
    assert not offline(fleet, "a1")
    assert lanes(fleet) == {"shared.code+search": 3}


def test_an_id_comes_free_when_its_process_is_silent_or_leaves(fleet: Fleet) -> None:
    first, _ = fleet.registry.register(FULL, owner="tests", takeover=False)
    fleet.registry.leave("a1", first.session)
    fleet.registry.register(FULL, owner="tests", takeover=False)

    def register() -> bool:
        try:
            return not fleet.registry.register(FULL, owner="tests", takeover=False)[1]
        except AgentConflict:
            return False

    eventually(register, 2, "the silent agent's id is free")


def test_an_id_that_belongs_to_someone_else_is_taken(fleet: Fleet) -> None:
    fleet.registry.register(FULL, owner="tests", takeover=False)
    with pytest.raises(Conflict, match="taken"):
        fleet.registry.register(AgentSpec("a1", ("code",)), owner="someone", takeover=True)
    assert fleet.registry.get("a1", None).capabilities == ("code", "search")


def test_every_pool_has_ids_of_its_own(fleet: Fleet) -> None:
    """An agent hides a shared one of the same id from its workspace, and nothing from the others."""
    specs = [AgentSpec("a1", (capability,), workspace=workspace)
             for capability, workspace in (("code", None), ("mine", "acme"), ("theirs", "other"))]  # fmt: skip
    for spec in specs:
        assert fleet.registry.register(spec, owner="tests", takeover=False)[1]
    fleet.agent("a2")
    seen = {name: fleet.registry.list(name, limit=1) for name in ("acme", "other", "third")}
    assert {name: page.items[0].capabilities[0] for name, page in seen.items()} == {
        "acme": "mine",
        "other": "theirs",
        "third": "code",
    }
    assert [agent.agent_id for agent in fleet.registry.list("acme", cursor="a1").items] == ["a2"]
    assert fleet.registry.get("a1", "acme").capabilities == ("mine",)
    fleet.registry.remove("a1", "acme")
    assert fleet.registry.get("a1", "acme").capabilities == ("code",)
    assert fleet.registry.get("a1", "other").status is AgentStatus.IDLE


def test_of_many_that_register_one_id_at_once_one_gets_it(fleet: Fleet) -> None:
    answers = at_once([lambda: fleet.registry.register(FULL, owner="tests", takeover=False)] * 20)
    assert sum(isinstance(answer, tuple) for answer in answers) == 1
    assert sum(isinstance(answer, AgentConflict) for answer in answers) == 19
    assert lanes(fleet) == {"shared.code+search": 3}


def test_heartbeats_tell_what_runs_and_count_what_ended(fleet: Fleet) -> None:
    spec = fleet.agent()
    session = fleet.session(spec)
    claim = fleet.running(spec)
    beat = fleet.registry.heartbeat("a1", session, [claim.hold], completed=2, failed=1)
    assert (beat.cancel, beat.lost, beat.drain) == ((), (), False)
    agent = fleet.registry.get("a1", "acme")
    assert (agent.status, agent.running, agent.completed, agent.failed) == (
        AgentStatus.BUSY,
        (claim.hold.task_id,),
        2,
        1,
    )
    fleet.registry.heartbeat("a1", session, completed=1)
    assert fleet.registry.get("a1", None).completed == 3
    with pytest.raises(NotFound):
        fleet.registry.heartbeat("nobody", session)


def test_stuck_slots_take_no_work(fleet: Fleet) -> None:
    session = fleet.session(fleet.agent(concurrency=3))
    fleet.registry.heartbeat("a1", session, stuck=2)
    assert lanes(fleet) == {"shared.code": 1}
    fleet.registry.heartbeat("a1", session, stuck=5)
    assert lanes(fleet) == {"shared.code": 0}
    fleet.registry.heartbeat("a1", session)
    assert lanes(fleet) == {"shared.code": 3}


def test_a_silent_agent_is_offline_and_its_lane_goes_with_the_last(fleet: Fleet) -> None:
    fleet.agent("a1", "code")
    keeps = fleet.session(fleet.agent("a2", "code", concurrency=2))
    assert lanes(fleet) == {"shared.code": 3}

    def silent() -> bool:
        fleet.registry.heartbeat("a2", keeps)
        return offline(fleet, "a1")

    eventually(silent, 2, "the silent agent is offline")
    assert retire(fleet) == ["a1"]
    assert retire(fleet) == []
    assert lanes(fleet) == {"shared.code": 2}
    fleet.registry.leave("a2", keeps)
    assert lanes(fleet) == {}
    assert offline(fleet, "a1", "a2")


def test_one_taken_for_dead_wrongly_is_back_with_its_next_beat(fleet: Fleet) -> None:
    session = fleet.session(fleet.agent())
    eventually(lambda: retire(fleet) == ["a1"], 2, "it is marked")
    assert lanes(fleet) == {}
    fleet.registry.heartbeat("a1", session)
    assert lanes(fleet) == {"shared.code": 1}
    assert fleet.registry.get("a1", None).status is AgentStatus.IDLE
    assert fleet.registry.lanes()[0].capabilities == {"code"}


def test_a_beat_just_before_the_judgement_counts(fleet: Fleet) -> None:
    session = fleet.session(fleet.agent())
    eventually(lambda: offline(fleet, "a1"), 2, "it is silent")
    fleet.registry.heartbeat("a1", session)
    assert retire(fleet) == []


def test_an_agent_long_offline_is_forgotten(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aragora_cp.store.sweeps.FORGET_AGENT_MS", 50)
    fleet.agent()

    def forgotten() -> bool:
        retire(fleet)
        return fleet.client.exists(fleet.fleet_keys("agent", "a1")) == 0

    eventually(forgotten, 2, "it is forgotten")
    assert fleet.registry.list("acme").items == ()
    assert list(fleet.client.scan_iter(match=f"{fleet.fleet_keys.root}agent*")) == []


def test_draining_and_taking_work_again(fleet: Fleet) -> None:
    session = fleet.session(fleet.agent(concurrency=2))
    assert fleet.registry.drain("a1", "acme").status is AgentStatus.DRAINING
    assert lanes(fleet) == {"shared.code": 0}
    assert fleet.registry.heartbeat("a1", session).drain
    fleet.submit()
    assert fleet.broker.queued() == []
    assert fleet.registry.resume("a1", "acme").status is AgentStatus.IDLE
    assert lanes(fleet) == {"shared.code": 2}
    assert not fleet.registry.heartbeat("a1", session).drain
    for change in (fleet.registry.drain, fleet.registry.resume):
        with pytest.raises(NotFound):
            change("nobody", "acme")


def test_a_draining_agent_that_leaves_or_comes_back(fleet: Fleet) -> None:
    session = fleet.session(fleet.agent(concurrency=2))
    fleet.registry.drain("a1", None)
    fleet.registry.leave("a1", session)
    assert lanes(fleet) == {}
    fleet.agent(concurrency=2)
    assert lanes(fleet) == {"shared.code": 2}


def test_a_new_process_with_other_capabilities_changes_lanes(fleet: Fleet) -> None:
    fleet.agent("a1", "code", concurrency=2)
    fleet.agent("a2", "code")
    fleet.agent("a1", "search", concurrency=4)
    assert lanes(fleet) == {"shared.code": 1, "shared.search": 4}
    fleet.agent("a2", "search", concurrency=2)
    assert lanes(fleet) == {"shared.search": 6}
    fleet.agent("a2", "search", concurrency=3)
    assert lanes(fleet) == {"shared.search": 7}


def test_removing_an_agent(fleet: Fleet) -> None:
    session = fleet.session(fleet.agent())
    fleet.registry.remove("a1", "acme")
    assert lanes(fleet) == {}
    with pytest.raises(NotFound):
        fleet.registry.get("a1", None)
    with pytest.raises(NotFound):
        fleet.registry.heartbeat("a1", session)
    with pytest.raises(NotFound):
        fleet.registry.remove("a1", "acme")


def test_another_workspaces_agent_is_not_there(fleet: Fleet) -> None:
    fleet.agent("theirs", "code", workspace="other")
    fleet.agent("shared", "code")
    assert [agent.agent_id for agent in fleet.registry.list("acme").items] == ["shared"]
    assert [agent.agent_id for agent in fleet.registry.list("other").items] == ["shared", "theirs"]
    for refused in (fleet.registry.get, fleet.registry.drain, fleet.registry.resume, fleet.registry.remove):
        with pytest.raises(NotFound):
            refused("theirs", "acme")
    with pytest.raises(NotFound):
        fleet.registry.get("theirs", None)
    assert fleet.registry.get("theirs", "other").workspace == "other"


@pytest.mark.parametrize("limit", [1, 3, 10, 50])
def test_every_agent_is_on_one_page_by_id(fleet: Fleet, limit: int) -> None:
    for n in range(9):
        fleet.agent(f"n-{n}", "search" if n % 3 else "code", workspace="acme" if n % 2 else None)
    found: list[Agent] = []
    cursor: str | None = None
    for _ in range(12):
        page = fleet.registry.list("acme", limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [agent.agent_id for agent in found] == [f"n-{n}" for n in range(9)]


def test_filters_of_the_list(fleet: Fleet) -> None:
    for n in range(9):
        fleet.agent(f"n-{n}", "search" if n % 3 else "code")
    fleet.registry.drain("n-4", None)

    def ids(**filters: object) -> list[str]:
        return [agent.agent_id for agent in fleet.registry.list("acme", **filters).items]  # type: ignore[arg-type]

    assert ids(capability="code") == ["n-0", "n-3", "n-6"]
    assert ids(status=AgentStatus.DRAINING) == ["n-4"]
    assert ids(capability="search", status=AgentStatus.IDLE, limit=3) == ["n-1", "n-2", "n-5"]
    assert ids(capability="debate") == []


def test_lanes_are_copied_not_asked_for(fleet: Fleet) -> None:
    now = 0.0
    registry = AgentRegistry(AgentStore(fleet.client, fleet.config, fleet.tasks), fleet.config, clock=lambda: now)
    assert registry.lanes() == ()
    fleet.agent()
    assert registry.lanes() == ()
    now = 0.6
    assert [lane.name for lane in registry.lanes()] == ["shared.code"]
