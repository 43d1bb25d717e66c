"""Short ways to drive circuit breakers in tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from aragora_cp.model import AgentSpec, Beat, Breaker, Claim, Failure, Hold
from tests.conftest import short_config
from tests.fleet import HANDLER_ERROR, Fleet
from tests.servers import StoreServer

#: Five failures open a breaker, for longer than a test takes.
SHORT = {
    "breaker_window_calls": 10,
    "breaker_window": 60.0,
    "breaker_min_calls": 5,
    "breaker_open_time": 60.0,
    "breaker_max_open_time": 200.0,
    "breaker_probes": 2,
}
#: As long as a test can wait for.
HASTY = {"breaker_open_time": 0.3, "breaker_max_open_time": 1.0}


@contextmanager
def fleet_with(server: StoreServer, **settings: object) -> Iterator[Fleet]:
    """A fleet whose breakers have short times, changed by `settings`; its keys go with it."""
    config = short_config(server, **(SHORT | settings))
    fleet = Fleet(config)
    try:
        yield fleet
    finally:
        fleet.close()
        with redis.Redis.from_url(server.url) as plain:
            for key in plain.scan_iter(match=f"{config.key_prefix}*", count=1000):
                plain.unlink(key)


def tries(fleet: Fleet, spec: AgentSpec) -> Claim | str:
    """The agent's claim of a new task, granted or not. By a ticket made for it: a closed lane gives out none."""
    task = fleet.submit(*spec.capabilities)
    return fleet.scheduler.claim(Hold(fleet.workspace, task.task_id, 1, uuid.uuid4().hex), spec)


def takes(fleet: Fleet, spec: AgentSpec) -> Claim:
    claim = tries(fleet, spec)
    assert isinstance(claim, Claim), claim
    return claim


def fails(fleet: Fleet, spec: AgentSpec, times: int = 1, failure: Failure = HANDLER_ERROR) -> None:
    """New tasks end in `failure` with this agent."""
    for _ in range(times):
        fleet.scheduler.fail(takes(fleet, spec).hold, failure, spec.agent_id, handle=spec.handle)


def does_well(fleet: Fleet, spec: AgentSpec, times: int = 1) -> None:
    for _ in range(times):
        fleet.finish(takes(fleet, spec), spec)


def breaker(fleet: Fleet, spec: AgentSpec) -> Breaker:
    return fleet.registry.breaker(spec.agent_id, spec.workspace)


def state(fleet: Fleet, spec: AgentSpec) -> str:
    """As the list of agents has it."""
    return fleet.registry.get(spec.agent_id, spec.workspace).breaker


def slots(fleet: Fleet, lane: str = "shared.code") -> int:
    """Of a lane, that may take new work; 0 when it has none."""
    return next((each.slots for each in fleet.registry.lanes() if each.name == lane), 0)


def beats(fleet: Fleet, spec: AgentSpec, *running: Claim) -> Beat:
    return fleet.registry.heartbeat(spec.handle, fleet.session(spec), [claim.hold for claim in running])
