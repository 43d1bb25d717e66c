"""A store that is gone, silent, full, read-only or locked: StoreUnavailable, soon, and nothing half done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from aragora_cp.errors import StoreUnavailable
from aragora_cp.model import AgentSpec, Claim, Hold, TaskStatus
from tests.conftest import short_config
from tests.crowds import at_once
from tests.fleet import HANDLER_ERROR, Fleet
from tests.invariants import broken_invariants
from tests.servers import StoreServer

HOLD = Hold("acme", "t1", 1, "lease")
SPEC = AgentSpec("a1", ("code",))

#: One of each family of public methods.
CALLS: dict[str, Callable[[Fleet], object]] = {
    "submit": lambda fleet: fleet.submit(),
    "get": lambda fleet: fleet.get("t1"),
    "list": lambda fleet: fleet.scheduler.list("acme"),
    "cancel": lambda fleet: fleet.scheduler.cancel("acme", "t1"),
    "rerun": lambda fleet: fleet.scheduler.rerun("acme", "t1"),
    "statuses": lambda fleet: fleet.scheduler.statuses("acme", ["t1"]),
    "claim": lambda fleet: fleet.scheduler.claim(HOLD, SPEC),
    "progress": lambda fleet: fleet.scheduler.progress(HOLD, percent=1),
    "finish": lambda fleet: fleet.scheduler.finish(HOLD, b"1", SPEC),
    "fail": lambda fleet: fleet.scheduler.fail(HOLD, HANDLER_ERROR, "a1"),
    "hand_back": lambda fleet: fleet.scheduler.hand_back(HOLD),
    "register": lambda fleet: fleet.agent(),
    "heartbeat": lambda fleet: fleet.registry.heartbeat("a1", "s", [HOLD]),
    "leave": lambda fleet: fleet.registry.leave("a1", "s"),
    "agent": lambda fleet: fleet.registry.get("a1", None),
    "agents": lambda fleet: fleet.registry.list("acme"),
    "drain": lambda fleet: fleet.registry.drain("a1", None),
    "lanes": lambda fleet: fleet.registry.lanes(),
    "tick": lambda fleet: fleet.monitor().tick(),
    "sweep": lambda fleet: fleet.sweep(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> StoreServer:
    server = StoreServer("valkey", tmp_path_factory.mktemp("gone")).start()
    server.kill()
    return server


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    server = StoreServer("valkey", tmp_path_factory.mktemp("silent")).start()
    server.pause()
    yield server
    server.stop()


def refused(fleet: Fleet, call: Callable[[Fleet], object], bound: float) -> StoreUnavailable:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as told:
        call(fleet)
    assert time.monotonic() - began < bound
    assert told.value.__cause__ is not None
    fleet.close()
    return told.value


@every_call
def test_a_store_that_is_gone(gone: StoreServer, call: Callable[[Fleet], object]) -> None:
    error = refused(Fleet(short_config(gone, redis_timeout=0.3)), call, 5)
    assert (error.code, error.status, error.retry_after) == ("store-unavailable", 503, 1.0)


@every_call
def test_a_store_that_is_silent(silent: StoreServer, call: Callable[[Fleet], object]) -> None:
    """Also when connecting is what is not answered: the driver's retries must not multiply."""
    refused(Fleet(short_config(silent, redis_timeout=0.15)), call, 1.5)


@pytest.fixture
def fleet_of_own(own_server: StoreServer) -> Iterator[Fleet]:
    parts = Fleet(short_config(own_server, redis_timeout=1.0))
    yield parts
    parts.close()


def test_it_is_found_again_after_a_restart(fleet_of_own: Fleet, own_server: StoreServer) -> None:
    fleet = fleet_of_own
    spec = fleet.agent()
    claim = fleet.running(spec)
    waiting = fleet.submit()
    own_server.kill()
    own_server.start()
    assert fleet.finish(claim, spec, "kept").status is TaskStatus.COMPLETED
    assert fleet.claim(spec).task.task_id == waiting.task_id
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


def test_a_full_store_takes_no_task_and_keeps_what_runs(fleet_of_own: Fleet) -> None:
    fleet = fleet_of_own
    spec = fleet.agent()
    claim = fleet.running(spec)
    other = fleet.submit()
    ticket = fleet.broker.take()
    assert ticket is not None
    before = fleet.client.zcard(fleet.keys("tasks"))
    fleet.client.config_set("maxmemory", 1)
    for call in (
        fleet.submit,
        lambda: fleet.submit(idempotency_key="k"),
        lambda: fleet.finish(claim, spec),
        lambda: fleet.scheduler.progress(claim.hold, percent=5),
    ):
        with pytest.raises(StoreUnavailable):
            call()
    assert fleet.client.zcard(fleet.keys("tasks")) == before
    assert broken_invariants(fleet.client, fleet.config, "acme") == []
    try:
        claimed = fleet.scheduler.claim(fleet.hold(ticket), spec)
    except StoreUnavailable:
        claimed = None
    assert broken_invariants(fleet.client, fleet.config, "acme") == []
    fleet.client.config_set("maxmemory", 0)
    if not isinstance(claimed, Claim):
        claimed = fleet.claim(spec, ticket)
    assert claimed.task.task_id == other.task_id
    assert fleet.finish(claim, spec).status is TaskStatus.COMPLETED
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


def test_a_store_that_turned_read_only(fleet_of_own: Fleet) -> None:
    fleet = fleet_of_own
    spec = fleet.agent()
    claim = fleet.running(spec)
    fleet.client.config_set("replica-serve-stale-data", "yes")
    fleet.client.replicaof("127.0.0.1", "1")
    for call in (fleet.submit, lambda: fleet.finish(claim, spec), lambda: fleet.agent("a2"), fleet.monitor().tick):
        with pytest.raises(StoreUnavailable):
            call()
    assert fleet.get(claim.hold.task_id).status is TaskStatus.RUNNING
    fleet.client.replicaof("NO", "ONE")
    assert fleet.finish(claim, spec).status is TaskStatus.COMPLETED


def test_a_store_that_wants_other_credentials(fleet_of_own: Fleet, own_server: StoreServer) -> None:
    fleet_of_own.client.config_set("requirepass", "s3cret")
    for url in (own_server.url, own_server.url.replace("//", "//:wr0ng@")):
        fleet = Fleet(short_config(own_server, redis_url=url, redis_timeout=0.5))
        with pytest.raises(StoreUnavailable) as told:
            fleet.submit()
        assert "wr0ng" not in str(told.value)
        fleet.close()


def test_more_callers_than_connections_wait_their_turn(server: StoreServer) -> None:
    fleet = Fleet(short_config(server, redis_pool_size=4))
    answers = at_once([fleet.submit] * 40)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    mine = [entry for entry in fleet.client.client_list() if entry["name"] == "aragora-cp"]
    assert len(mine) <= 5
    fleet.close()


def test_closing_gives_back_every_connection(server: StoreServer) -> None:
    fleet = Fleet(short_config(server))
    task = fleet.submit()
    fleet.plane.waiter.wait("acme", task.task_id, 0.05)
    local = {entry["id"] for entry in fleet.client.client_list()}
    fleet.close()
    probe = Fleet(short_config(server))
    left = {entry["id"] for entry in probe.client.client_list() if entry["name"] == "aragora-cp"} & local
    probe.close()
    assert left == set()
