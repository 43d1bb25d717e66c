"""Agents' circuit breakers, asked of the real server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from aragora_cp.model import AgentSpec, Claim, ErrorCode, Failure, TaskStatus
from tests.breakers import HASTY, beats, breaker, does_well, fails, fleet_with, slots, state, takes, tries
from tests.crowds import at_once
from tests.fleet import HANDLER_ERROR, PROCESS_LOST, Fleet
from tests.servers import EVERY_SERVER, StoreServer
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

TIMEOUT = Failure(ErrorCode.TIMEOUT, "too long", retryable=True)
NOT_JSON = Failure(ErrorCode.RESULT_NOT_SERIALISABLE, "a file handle", retryable=False)
NO_HANDLER = Failure(ErrorCode.NO_HANDLER, "unknown type", retryable=True)
REJECTION = Failure(ErrorCode.HANDLER_ERROR, "the question makes no sense", retryable=False)
BAD_PAYLOAD = Failure(ErrorCode.INVALID_PAYLOAD, "no name", retryable=False)
TOO_LARGE = Failure(ErrorCode.RESULT_TOO_LARGE, "much", retryable=False)


@pytest.fixture
def fleet(server: StoreServer) -> Iterator[Fleet]:
    with fleet_with(server) as parts:
        yield parts


@pytest.fixture
def pair(fleet: Fleet) -> tuple[AgentSpec, AgentSpec]:
    """Two agents of one lane: it can spare one."""
    return fleet.agent("bad", concurrency=4), fleet.agent("good", concurrency=4)


@pytest.fixture
def hasty(server: StoreServer) -> Iterator[Fleet]:
    """Its breakers are open for times that a test can wait for; agents `bad` and `good` are there."""
    with fleet_with(server, **HASTY) as parts:
        for agent_id in ("bad", "good"):
            parts.agent(agent_id, concurrency=4)
        yield parts


BAD = AgentSpec("bad", ("code",), concurrency=4)


def half_open(fleet: Fleet, spec: AgentSpec) -> None:
    fails(fleet, spec, 5)
    eventually(lambda: state(fleet, spec) == "half-open", 3, "the open time is over", pause=0.01)


def trail(fleet: Fleet, action: str) -> list[Any]:
    return list(fleet.plane.audit.list("@", action=action).items)


# --- what opens it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [HANDLER_ERROR, TIMEOUT, NOT_JSON, NO_HANDLER, PROCESS_LOST])
def test_what_the_agent_did_opens_it(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec], failure: Failure) -> None:
    bad, good = pair
    fails(fleet, bad, 4, failure)
    assert state(fleet, bad) == "closed"
    fails(fleet, bad, 1, failure)

    assert state(fleet, bad) == "open"
    assert state(fleet, good) == "closed"
    assert slots(fleet) == 4, "only the other one's count"
    assert [entry["target"] for entry in trail(fleet, "agent.trip")] == ["bad"]


@pytest.mark.parametrize("failure", [REJECTION, BAD_PAYLOAD, TOO_LARGE])
def test_what_the_task_did_does_not(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec], failure: Failure) -> None:
    fails(fleet, pair[0], 10, failure)
    assert state(fleet, pair[0]) == "closed"
    assert breaker(fleet, pair[0]).calls == 0


def test_an_open_one_takes_nothing_and_its_task_loses_nothing(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    bad, good = pair
    fails(fleet, bad, 5)
    task = fleet.submit()
    ticket = fleet.broker.take_for(task.task_id)
    assert ticket is not None

    assert fleet.scheduler.claim(fleet.hold(ticket), bad) == "breaker-open"

    found = fleet.get(task.task_id)
    assert (found.status, found.retries, found.agent_id) == (TaskStatus.PENDING, 0, None)
    again = fleet.broker.take_for(task.task_id)
    assert again is not None, "its ticket is out again"
    assert isinstance(fleet.scheduler.claim(fleet.hold(again), good), Claim)


def test_it_judges_by_the_share_that_failed(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    does_well(fleet, pair[0], 6)
    fails(fleet, pair[0], 5)
    assert state(fleet, pair[0]) == "open", "5 of the last 10"
    does_well(fleet, pair[1], 6)
    for _ in range(10):
        fails(fleet, pair[1])
        does_well(fleet, pair[1], 2)
    assert state(fleet, pair[1]) == "closed", "a third of the last 10"


def test_old_outcomes_do_not_count(server: StoreServer) -> None:
    with fleet_with(server, breaker_window=0.2) as fleet:
        bad, _ = fleet.agent("bad"), fleet.agent("good")
        fails(fleet, bad, 4)
        time.sleep(0.25)  # the window's own length: it must pass
        fails(fleet, bad, 4)
        assert state(fleet, bad) == "closed"
        assert breaker(fleet, bad).failed == 4


def test_slow_calls_open_it_too(server: StoreServer) -> None:
    with fleet_with(server, breaker_slow_time=0.02, breaker_slow_rate=0.8) as fleet:
        slow, _ = fleet.agent("slow", concurrency=9), fleet.agent("good", concurrency=9)
        claims = [takes(fleet, slow) for _ in range(5)]
        time.sleep(0.03)  # how long they take, by the store's clock
        for claim in claims:
            fleet.finish(claim, slow)
        assert state(fleet, slow) == "open"


def test_switched_off_it_counts_nothing(server: StoreServer) -> None:
    with fleet_with(server, breaker_mode="off") as fleet:
        bad, _ = fleet.agent("bad"), fleet.agent("good")
        fails(fleet, bad, 20)
        assert (state(fleet, bad), breaker(fleet, bad).calls) == ("closed", 0)


# --- each attempt once -----------------------------------------------------------------------------------------------


def test_an_outcome_told_again_counts_once(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    claim = takes(fleet, pair[0])
    tellings = [lambda: fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "bad")] * 20
    at_once(tellings)
    assert (breaker(fleet, pair[0]).calls, breaker(fleet, pair[0]).failed) == (1, 1)


def test_50_failures_at_once_open_it_once(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    claims = [takes(fleet, pair[0]) for _ in range(50)]

    def failing(claim: Claim) -> Callable[[], object]:
        return lambda: fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "bad")

    answers = at_once([failing(claim) for claim in claims])
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert breaker(fleet, pair[0]).trips == 1
    assert len(trail(fleet, "agent.trip")) == 1


def test_a_claim_that_is_refused_leaves_nothing_in_hand(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    claim = takes(fleet, pair[0])
    taken = fleet.scheduler.claim(fleet.hold(claim_ticket(fleet, claim)), pair[0])
    assert taken == "taken"
    assert fleet.client.hlen(fleet.fleet_keys("calls", "bad")) == 1, "what it runs"
    fleet.finish(claim, pair[0])
    assert fleet.client.hlen(fleet.fleet_keys("calls", "bad")) == 0
    assert breaker(fleet, pair[0]).calls == 1


def claim_ticket(fleet: Fleet, claim: Claim):
    return next(ticket for ticket in fleet.broker.sent if ticket.task_id == claim.task.task_id)


def test_claims_and_reports_are_one_round_trip(
    fleet: Fleet, pair: tuple[AgentSpec, AgentSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(fleet, pair[0])  # the server knows the scripts
    does_well(fleet, pair[0])
    trips: list[int] = []
    real = redis.Connection.send_packed_command

    def counting(*args: Any, **more: Any) -> Any:
        trips.append(1)
        return real(*args, **more)

    monkeypatch.setattr(redis.Connection, "send_packed_command", counting)
    task = fleet.submit()
    ticket = fleet.broker.take_for(task.task_id)
    assert ticket is not None
    fleet.registry.lanes()

    def counted(work: Callable[[], object]) -> int:
        trips.clear()
        work()
        return len(trips)

    hold = fleet.hold(ticket)
    assert counted(lambda: fleet.scheduler.claim(hold, pair[0])) == 1
    assert counted(lambda: fleet.scheduler.finish(hold, b"1", pair[0])) == 1
    claim = takes(fleet, pair[0])
    assert counted(lambda: fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "bad")) == 1


# --- losses ----------------------------------------------------------------------------------------------------------


def test_a_process_that_starts_again_lost_what_it_had(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    for _ in range(5):
        takes(fleet, pair[0])
    fleet.agent("bad", concurrency=4)
    assert state(fleet, pair[0]) == "open"
    assert slots(fleet) == 4, "starting again cures nothing"


def test_a_silent_agent_lost_what_it_had(server: StoreServer) -> None:
    with fleet_with(server, heartbeat_timeout=0.2, heartbeat_interval=0.1) as fleet:
        bad, good = fleet.agent("bad"), fleet.agent("good")
        for _ in range(5):
            takes(fleet, bad)
        epoch = fleet.sweeps.lead("m", lease_ms=5000, gap_ms=5000).epoch
        eventually(lambda: beats(fleet, good) and "bad" in fleet.sweeps.retire(epoch), 3, "it is retired")
        beats(fleet, bad)
        assert state(fleet, bad) == "open"


def test_an_attempt_that_nobody_speaks_of_is_lost(server: StoreServer) -> None:
    with fleet_with(server, heartbeat_timeout=0.2, heartbeat_interval=0.1) as fleet:
        bad, _ = fleet.agent("bad"), fleet.agent("good")
        held, forgotten = takes(fleet, bad), takes(fleet, bad)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            beats(fleet, bad, held)
            time.sleep(0.02)
        assert (breaker(fleet, bad).calls, breaker(fleet, bad).failed) == (1, 1)
        fleet.finish(forgotten, bad)
        fleet.finish(held, bad)
        assert (breaker(fleet, bad).calls, breaker(fleet, bad).failed) == (2, 1), "what is judged stays judged"


def test_a_cancelled_task_is_nobodys_fault(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    claims = [takes(fleet, pair[0]) for _ in range(5)]
    for claim in claims:
        fleet.scheduler.cancel("acme", claim.task.task_id)
    assert len(beats(fleet, pair[0], *claims).cancel) == 5
    assert fleet.client.hlen(fleet.fleet_keys("calls", "bad")) == 0
    assert breaker(fleet, pair[0]).calls == 0


def test_a_time_limit_that_the_monitor_keeps_counts(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    claim = takes(fleet, pair[0])
    fleet.expire(claim.task.task_id)
    fleet.sweep()
    assert beats(fleet, pair[0], claim).lost == (claim.hold,)
    assert breaker(fleet, pair[0]).failed == 1


# --- half-open -------------------------------------------------------------------------------------------------------


def test_after_the_open_time_only_probes_pass(hasty: Fleet) -> None:
    half_open(hasty, BAD)
    answers = at_once([lambda: tries(hasty, BAD)] * 20)
    probes = [answer for answer in answers if isinstance(answer, Claim)]
    assert len(probes) == 2
    assert [answer for answer in answers if not isinstance(answer, Claim)] == ["breaker-open"] * 18
    for probe in probes:
        hasty.finish(probe, BAD)
    assert state(hasty, BAD) == "closed"
    assert slots(hasty) == 8


def test_a_probe_that_fails_opens_it_for_twice_as_long(hasty: Fleet) -> None:
    for trip in range(4):
        fails(hasty, BAD, 1 if trip else 5)
        eventually(lambda: state(hasty, BAD) == "half-open", 3, "the open time is over", pause=0.01)
    assert [entry["after"]["seconds"] for entry in trail(hasty, "agent.trip")[::-1]] == [0.3, 0.6, 1, 1]
    assert breaker(hasty, BAD).trips == 4


def test_a_probe_rejecting_its_task_decides_nothing(hasty: Fleet) -> None:
    half_open(hasty, BAD)
    fails(hasty, BAD, 5, REJECTION)
    assert state(hasty, BAD) == "half-open"
    does_well(hasty, BAD, 2)
    assert state(hasty, BAD) == "closed"


def test_probes_that_die_do_not_stick(hasty: Fleet) -> None:
    half_open(hasty, BAD)
    for _ in range(2):
        takes(hasty, BAD)
    assert tries(hasty, BAD) == "breaker-open"
    hasty.agent("bad", concurrency=4)
    assert (state(hasty, BAD), breaker(hasty, BAD).trips) == ("open", 2)


def test_a_probes_lease_lasts_as_long_as_heartbeats_name_it(server: StoreServer) -> None:
    with fleet_with(server, heartbeat_timeout=0.3, heartbeat_interval=0.1, **HASTY) as fleet:
        bad, _ = fleet.agent("bad"), fleet.agent("good")
        half_open(fleet, bad)
        probe = takes(fleet, bad)
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            beats(fleet, bad, probe)
            time.sleep(0.02)
        assert state(fleet, bad) == "half-open"
        eventually(lambda: beats(fleet, bad).standing.state == "open", 3, "its lease ran out", pause=0.02)
        assert breaker(fleet, bad).trips == 2


def test_a_heartbeat_says_for_how_long_to_take_nothing(hasty: Fleet) -> None:
    assert beats(hasty, BAD).standing.pause == 0
    fails(hasty, BAD, 5)
    told = beats(hasty, BAD).standing
    assert told.state == "open"
    assert 0 < told.pause <= 0.3
    time.sleep(told.pause)
    assert (beats(hasty, BAD).standing.state, beats(hasty, BAD).standing.pause) == ("half-open", 0)
    assert slots(hasty) == 6, "its probes and the other's own"


# --- forced ----------------------------------------------------------------------------------------------------------


def test_forced_open_until_it_expires(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    told = fleet.registry.force_breaker("good", None, "open", reason="looks odd", seconds=0.3)
    assert (told.state, told.forced, told.reason) == ("open", True, "looks odd")
    assert tries(fleet, pair[1]) == "breaker-open"
    assert slots(fleet) == 4
    eventually(lambda: state(fleet, pair[1]) == "closed", 3, "it is its own again", pause=0.01)
    beats(fleet, pair[1])
    assert slots(fleet) == 8
    does_well(fleet, pair[1])


def test_forced_closed_it_does_not_open(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    fails(fleet, pair[0], 5)
    fleet.registry.force_breaker("bad", None, "closed", reason="we know", seconds=0.5)
    fails(fleet, pair[0], 10)
    assert state(fleet, pair[0]) == "closed"
    eventually(lambda: not breaker(fleet, pair[0]).forced, 3, "it is its own again", pause=0.01)
    fails(fleet, pair[0], 5)
    assert state(fleet, pair[0]) == "open"


def test_given_back_to_itself_it_is_fresh(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    fails(fleet, pair[0], 5)
    found = fleet.registry.force_breaker("bad", None, "auto", reason="mended", seconds=0)
    assert (found.state, found.trips, found.calls, found.forced) == ("closed", 0, 0, False)
    assert slots(fleet) == 8
    (entry,) = trail(fleet, "agent.breaker")
    assert (entry["target"], entry["after"]["reason"]) == ("bad", "mended")


# --- how many at once ------------------------------------------------------------------------------------------------


def test_no_more_than_the_share_is_out_at_once(fleet: Fleet) -> None:
    specs = [fleet.agent(f"a{n}", concurrency=9) for n in range(10)]
    claims = [(spec, takes(fleet, spec)) for spec in specs for _ in range(6)]

    def failing(spec: AgentSpec, claim: Claim) -> Callable[[], object]:
        return lambda: fleet.scheduler.fail(claim.hold, HANDLER_ERROR, spec.agent_id)

    at_once([failing(*each) for each in claims])
    found = [breaker(fleet, spec) for spec in specs]
    assert sum(each.state == "open" for each in found) == 5
    assert sum(each.spared for each in found) == 5
    assert slots(fleet) == 5 * 9
    assert len(trail(fleet, "agent.spare")) == 5, "noted once each"


def test_the_last_agent_of_a_lane_goes_on_until_another_comes(fleet: Fleet) -> None:
    last = fleet.agent("last", concurrency=4)
    fails(fleet, last, 8)
    assert (state(fleet, last), breaker(fleet, last).spared, slots(fleet)) == ("closed", True, 4)
    fleet.agent("second", concurrency=4)
    fails(fleet, last)
    assert (state(fleet, last), slots(fleet)) == ("open", 4)


def test_when_the_others_leave_it_is_let_in_again(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    fails(fleet, pair[0], 5)
    fleet.registry.leave("good", fleet.session(pair[1]))
    assert slots(fleet) == 0
    beats(fleet, pair[0])
    assert (state(fleet, pair[0]), slots(fleet)) == ("closed", 4)
    assert [entry["target"] for entry in trail(fleet, "agent.close")] == ["bad"]


def test_lanes_do_not_spare_agents_for_each_other(server: StoreServer) -> None:
    with fleet_with(server, max_ejection_share=0.25) as fleet:
        specs = [fleet.agent(f"a{n}") for n in range(4)] + [fleet.agent(f"d{n}", "draw") for n in range(3)]
        for spec in specs:
            fails(fleet, spec, 5)
        assert [spec.agent_id for spec in specs if state(fleet, spec) == "open"] == ["a0"]


def test_a_removed_agent_leaves_nothing(fleet: Fleet, pair: tuple[AgentSpec, AgentSpec]) -> None:
    fails(fleet, pair[0], 5)
    takes(fleet, pair[1])
    for spec in pair:
        fleet.registry.remove(spec.agent_id, None)
    left = [key.decode() for key in fleet.client.scan_iter(f"{fleet.fleet_keys.root}*")]
    assert not [key for key in left if "bad" in key or "good" in key or ":lanes:ejected" in key or "calls" in key]
