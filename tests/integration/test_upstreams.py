"""An upstream's 429, and the breakers of models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aragora_cp.model import AgentSpec, Claim, ErrorCode, Failure, TaskStatus
from tests.breakers import HASTY, beats, breaker, does_well, fails, fleet_with, slots, state, takes, tries
from tests.crowds import at_once
from tests.fleet import Fleet
from tests.servers import EVERY_SERVER, StoreServer
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

UPSTREAM = Failure(ErrorCode.UPSTREAM_ERROR, "502", retryable=True)


@pytest.fixture
def fleet(server: StoreServer) -> Iterator[Fleet]:
    with fleet_with(server, **HASTY) as parts:
        yield parts


def is_throttled(fleet: Fleet, spec: AgentSpec, seconds: float = 0.4) -> str:
    """An attempt of a new task meets the upstream's 429; answers the task."""
    claim = takes(fleet, spec)
    fleet.scheduler.throttled(claim.hold, spec, seconds)
    return claim.task.task_id


def test_the_models_agents_pause_for_the_time_it_names(fleet: Fleet) -> None:
    one, two = (fleet.agent(f"g{n}", model="gpt", concurrency=2) for n in range(2))
    other = fleet.agent("c", model="claude", concurrency=2)
    task_id = is_throttled(fleet, one)

    assert [tries(fleet, spec) for spec in (one, two)] == ["breaker-open"] * 2
    does_well(fleet, other)
    told = beats(fleet, two).standing
    assert told.state == "paused"
    assert 0 < told.pause <= 0.4
    beats(fleet, one)
    assert slots(fleet) == 2, "the other model's"
    eventually(lambda: breaker(fleet, one).paused_until is None, 3, "the pause is over", pause=0.01)
    for spec in (one, two):
        assert beats(fleet, spec).standing.pause == 0
        does_well(fleet, spec)
    assert slots(fleet) == 6
    assert fleet.get(task_id).status is TaskStatus.PENDING


def test_the_task_goes_back_to_its_place_and_loses_no_retry(fleet: Fleet) -> None:
    one = fleet.agent("g", model="gpt")
    other = fleet.agent("c", model="claude")
    first = fleet.submit()
    claim = fleet.claim(one, fleet.broker.take_for(first.task_id))
    later = [fleet.submit().task_id for _ in range(3)]
    fleet.scheduler.throttled(claim.hold, one, 5)

    found = fleet.get(first.task_id)
    assert (found.status, found.retries, found.next_attempt_at) == (TaskStatus.PENDING, 0, None)
    assert int(fleet.record(first.task_id)["seq"]) < min(int(fleet.record(each)["seq"]) for each in later)
    again = fleet.broker.take_for(first.task_id)
    assert again is not None
    assert isinstance(fleet.scheduler.claim(fleet.hold(again), other), Claim)


def test_it_is_no_failure(fleet: Fleet) -> None:
    one, _ = fleet.agent("g", model="gpt"), fleet.agent("h", model="gpt")
    for _ in range(6):
        is_throttled(fleet, one, 0.01)
        eventually(lambda: breaker(fleet, one).paused_until is None, 1, "the pause is over", pause=0.01)
    found = breaker(fleet, one)
    assert (found.state, found.calls, found.model_state) == ("closed", 0, "closed")


def test_told_twice_it_pauses_once_and_a_longer_pause_stands(fleet: Fleet) -> None:
    one = fleet.agent("g", model="gpt", concurrency=20)
    claims = [takes(fleet, one) for _ in range(20)]
    at_once([lambda claim=claim: fleet.scheduler.throttled(claim.hold, one, 30) for claim in claims])
    first = breaker(fleet, one).paused_until
    fleet.scheduler.throttled(claims[0].hold, one, 60)
    assert breaker(fleet, one).paused_until == first, "it was told before"
    assert len(fleet.plane.audit.list("@", action="model.pause").items) == 1


def test_pools_do_not_pause_each_other(fleet: Fleet) -> None:
    private = fleet.agent("g", model="gpt", workspace="acme")
    shared = fleet.agent("g", model="gpt")
    is_throttled(fleet, private, 30)
    assert tries(fleet, private) == "breaker-open"
    does_well(fleet, shared)


def test_without_a_models_name_the_agent_alone_pauses(fleet: Fleet) -> None:
    one, two = fleet.agent("a"), fleet.agent("b")
    is_throttled(fleet, one, 30)
    assert tries(fleet, one) == "breaker-open"
    does_well(fleet, two)


def test_an_upstream_that_fails_opens_its_models_breaker(fleet: Fleet) -> None:
    agents = [fleet.agent(f"g{n}", model="gpt") for n in range(5)]
    other = fleet.agent("c", model="claude")
    for spec in agents:
        fails(fleet, spec, 1, UPSTREAM)

    assert [state(fleet, spec) for spec in agents] == ["closed"] * 5, "it is not the agents' fault"
    assert [tries(fleet, spec) for spec in agents] == ["breaker-open"] * 5
    does_well(fleet, other)
    assert breaker(fleet, agents[0]).model_state == "open"
    eventually(lambda: breaker(fleet, agents[0]).model_state == "half-open", 3, "the open time is over", pause=0.01)

    answers = at_once([lambda spec=spec: tries(fleet, spec) for spec in agents])
    probes = [(spec, answer) for spec, answer in zip(agents, answers, strict=True) if isinstance(answer, Claim)]
    assert len(probes) == 2
    for spec, claim in probes:
        fleet.finish(claim, spec)
    assert breaker(fleet, agents[0]).model_state == "closed"


def test_a_models_probes_do_not_stick(server: StoreServer) -> None:
    with fleet_with(server, heartbeat_timeout=0.2, heartbeat_interval=0.1, **HASTY) as fleet:
        one, two = (fleet.agent(f"g{n}", model="gpt", concurrency=9) for n in range(2))
        fails(fleet, one, 5, UPSTREAM)
        eventually(lambda: breaker(fleet, one).model_state == "half-open", 3, "the open time is over", pause=0.01)
        for _ in range(2):
            takes(fleet, one)
        assert tries(fleet, two) == "breaker-open"
        eventually(lambda: isinstance(tries(fleet, two), Claim), 3, "their leases ran out", pause=0.02)
