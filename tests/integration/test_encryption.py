"""Encryption at rest over the whole life of a task: nothing readable in the store, everything readable with the key."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import EncryptionUnavailable, IdempotencyConflict, StaleAttempt
from aragora_cp.model import AgentSpec, Claim, ErrorCode, Failure, TaskStatus
from aragora_cp.store.tasks import TaskStore
from aragora_cp.store.vault import FRESH, Vault
from tests.conftest import short_config
from tests.crowds import at_once
from tests.dump import dump
from tests.fleet import Fleet
from tests.servers import StoreServer

K1, K2 = (f"k{n}:{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
SECRET = "c4nary"
PAYLOAD = f'{{"ask":"{SECRET}"}}'.encode()
FAILURE = Failure(ErrorCode.HANDLER_ERROR, f"it was {SECRET}", retryable=True)


@pytest.fixture
def config(server: StoreServer) -> ControlPlaneConfig:
    return short_config(server, encryption_keys=K1)


@pytest.fixture
def fleet_with(config: ControlPlaneConfig, fleet: Fleet) -> Iterator[Callable[[str], Fleet]]:
    """More parts of the same control plane, with other root keys: a process that was configured otherwise."""
    made: list[Fleet] = []

    def make(keys: str) -> Fleet:
        other = Fleet(dataclasses.replace(config, encryption_keys=keys))
        other.broker = fleet.broker
        other.scheduler._broker = fleet.broker
        made.append(other)
        return other

    yield make
    for each in made:
        each.close()


@pytest.fixture
def spec(fleet: Fleet) -> AgentSpec:
    return fleet.agent()


def payload_of(fleet: Fleet, task_id: str) -> object:
    return fleet.scheduler.get(fleet.workspace, task_id, with_payload=True).payload


def require(fleet: Fleet) -> None:
    fleet.client.hset(fleet.keys("workspace"), "encryption", "1")


def test_nothing_of_a_life_is_readable_in_the_store(fleet: Fleet, spec: AgentSpec) -> None:
    claim = fleet.running(spec, payload=PAYLOAD, idempotency_key="k", cache_ttl=60)
    assert claim.task.payload == {"ask": SECRET}
    fleet.scheduler.progress(claim.hold, percent=5, message=f"at {SECRET}")
    failed = fleet.scheduler.fail(claim.hold, FAILURE, "a1")
    assert failed.error is not None
    assert failed.error["message"] == f"it was {SECRET}"
    fleet.client.zadd(fleet.keys("delayed"), {failed.task_id: 1})
    fleet.sweep()
    again = fleet.claim(spec)
    done = fleet.finish(again, spec, {"answer": SECRET})
    assert (done.result, done.progress) == ({"answer": SECRET}, {"percent": 5.0, "message": f"at {SECRET}"})
    assert done.error is not None
    assert [entry["message"] for entry in done.error["history"]] == [f"it was {SECRET}"]
    assert payload_of(fleet, done.task_id) == {"ask": SECRET}
    assert fleet.submit(payload=PAYLOAD, cache_ttl=60).result == {"answer": SECRET}
    (listed,) = fleet.scheduler.list("acme").items
    assert listed.progress == done.progress
    assert SECRET.encode() not in dump(fleet.client, fleet.config.key_prefix)


def test_a_task_that_failed_for_good(fleet: Fleet, spec: AgentSpec) -> None:
    claim = fleet.running(spec, max_retries=0)
    fleet.scheduler.fail(claim.hold, FAILURE, "a1")
    error = fleet.get(claim.task.task_id).error
    assert error is not None
    assert (error["message"], error["history"][0]["message"]) == (f"it was {SECRET}", f"it was {SECRET}")
    rerun = fleet.scheduler.rerun("acme", claim.task.task_id)
    assert rerun.error is not None
    assert rerun.error["history"][0]["message"] == f"it was {SECRET}"


def test_what_the_store_says_itself_is_plain(fleet: Fleet, spec: AgentSpec) -> None:
    claim = fleet.running(spec)
    fleet.expire(claim.task.task_id)
    fleet.sweep()
    error = fleet.get(claim.task.task_id).error
    assert error is not None
    assert (error["code"], error["message"]) == ("agent-lost", "the agent stopped renewing its lease")


def test_values_of_before_are_readable_and_new_ones_encrypted(
    fleet: Fleet, spec: AgentSpec, fleet_with: Callable[[str], Fleet]
) -> None:
    task = fleet_with("").submit(payload=PAYLOAD)
    assert SECRET.encode() in fleet.record(task.task_id)["payload"]
    claim = fleet.claim(spec)
    assert claim.task.payload == {"ask": SECRET}
    assert fleet.finish(claim, spec, SECRET).result == SECRET
    assert SECRET.encode() not in fleet.record(task.task_id)["result"]


# --- keys ----------------------------------------------------------------------------------------------------------


def test_many_first_submits_make_one_key(fleet: Fleet, config: ControlPlaneConfig) -> None:
    vaults = [Vault(fleet.client, config) for _ in range(16)]
    at_once([partial(vault.seal, "acme", "t", "payload", b"x") for vault in vaults])
    assert len(vaults[0].look("acme").wrapped) == 2
    assert len({vault.current("acme") for vault in vaults}) == 1


def test_workspaces_have_keys_of_their_own(fleet: Fleet) -> None:
    vault = fleet.tasks.vault
    sealed = vault.seal("acme", "t", "payload", b"x")
    for workspace in ("acme", "other"):
        vault.seal(workspace, "t", "payload", b"x")
    assert set(vault.look("acme").wrapped) & set(vault.look("other").wrapped) == {"digest"}
    fleet.client.copy(fleet.keys("keys"), fleet.keys("keys").replace("{acme}", "{third}"))
    record = fleet.record(fleet.submit().task_id)
    assert sealed.startswith(record["payload"][:4])
    assert vault.look("third").locked == set(vault.look("acme").wrapped)


def test_rotating_keeps_what_there_is(fleet: Fleet, spec: AgentSpec) -> None:
    before = fleet.submit(payload=PAYLOAD, idempotency_key="k")
    vault = fleet.tasks.vault
    first = vault.current("acme")
    assert vault.rotate("acme")
    assert vault.current("acme") != first
    after = fleet.submit(payload=PAYLOAD)
    assert payload_of(fleet, before.task_id) == payload_of(fleet, after.task_id) == {"ask": SECRET}
    assert fleet.submit(payload=PAYLOAD, idempotency_key="k").task_id == before.task_id
    with pytest.raises(IdempotencyConflict):
        fleet.submit(payload=b"{}", idempotency_key="k")


def test_a_rotation_holds_elsewhere_soon(fleet: Fleet, config: ControlPlaneConfig) -> None:
    times = [0.0]
    elsewhere = Vault(fleet.client, config, clock=lambda: times[0])
    old = elsewhere.current("acme")
    fleet.tasks.vault.rotate("acme")
    assert elsewhere.current("acme") == old
    assert elsewhere.open("acme", "t", "f", fleet.tasks.vault.seal("acme", "t", "f", b"new")) == b"new"
    sealed = Vault(fleet.client, config).seal("acme", "t", "f", b"x")
    times[0] = FRESH
    assert elsewhere.current("acme") == fleet.tasks.vault.current("acme")
    assert elsewhere.open("acme", "t", "f", sealed) == b"x"


def test_a_key_that_is_gone_is_asked_for_once(fleet: Fleet, config: ControlPlaneConfig) -> None:
    ids = [fleet.submit(payload=PAYLOAD).task_id for _ in range(5)]
    fleet.tasks.vault.destroy("acme")
    asked = fleet.client.info("commandstats")["cmdstat_hgetall"]["calls"]
    assert [payload_of(fleet, task_id) for task_id in ids] == [None] * 5
    assert fleet.client.info("commandstats")["cmdstat_hgetall"]["calls"] - asked <= 5 + 2


def test_a_digest_of_before_still_counts(fleet: Fleet, fleet_with: Callable[[str], Fleet]) -> None:
    before = fleet_with("").submit(payload=PAYLOAD, idempotency_key="k")
    assert fleet.submit(payload=PAYLOAD, idempotency_key="k").task_id == before.task_id
    with pytest.raises(IdempotencyConflict):
        fleet.submit(payload=b"{}", idempotency_key="k")


def test_equal_bodies_of_two_workspaces_look_different(fleet: Fleet, config: ControlPlaneConfig) -> None:
    other = Fleet(config, "other")
    try:
        for each in (fleet, other):
            each.submit(payload=PAYLOAD, idempotency_key="k", cache_ttl=9)
        (key,) = fleet.client.keys(f"{config.key_prefix}{{acme}}:idem:*")
        twin = fleet.client.get(key.replace(b"{acme}", b"{other}"))
        assert twin is not None
        assert fleet.client.get(key).split()[0] != twin.split()[0]  # type: ignore[union-attr]
    finally:
        other.close()


# --- without the key -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", ["", K2, f"k1:{K2[3:]}"])
def test_without_the_root_key_a_task_is_there_and_cannot_be_read(
    fleet: Fleet, spec: AgentSpec, fleet_with: Callable[[str], Fleet], keys: str
) -> None:
    claim = fleet.running(spec, payload=PAYLOAD)
    fleet.scheduler.progress(claim.hold, message=SECRET)
    fleet.finish(claim, spec, SECRET)
    task = fleet_with(keys).scheduler.get("acme", claim.task.task_id, with_payload=True)
    assert (task.status, task.payload, task.result) == (TaskStatus.COMPLETED, None, None)
    assert task.error is not None
    assert (task.error["code"], task.error["retryable"]) == ("unreadable", False)
    assert task.error["message"] == "the payload and the result cannot be read: encrypted, and the key is not here"
    assert task.progress == {"percent": None, "message": "(encrypted, and its key is not here)"}


@pytest.mark.parametrize("keys", ["", K2])
def test_an_agent_that_lacks_the_key_leaves_the_task_to_others(
    fleet: Fleet, spec: AgentSpec, fleet_with: Callable[[str], Fleet], keys: str
) -> None:
    task = fleet.submit(payload=PAYLOAD, max_retries=0)
    without = fleet_with(keys)
    ticket = fleet.broker.take()
    assert ticket is not None
    assert without.scheduler.claim(fleet.hold(ticket), spec) == "no-key"
    left = fleet.get(task.task_id)
    assert (left.status, left.retries, left.error) == (TaskStatus.PENDING, 0, None)
    assert left.next_attempt_at is not None  # later, so that nobody takes it again and again
    fleet.client.zadd(fleet.keys("delayed"), {task.task_id: 1})
    fleet.sweep()
    assert fleet.claim(spec).task.payload == {"ask": SECRET}


def test_a_submit_under_a_foreign_root_key_is_refused(fleet: Fleet, fleet_with: Callable[[str], Fleet]) -> None:
    fleet.submit()
    with pytest.raises(EncryptionUnavailable):
        fleet_with(K2).submit()
    assert fleet.client.zcard(fleet.keys("tasks")) == 1


def test_destroyed_keys_take_everything_with_them(fleet: Fleet, spec: AgentSpec) -> None:
    claim = fleet.running(spec, payload=PAYLOAD)
    fleet.finish(claim, spec, SECRET)
    waiting = fleet.submit(payload=PAYLOAD)
    ticket = fleet.broker.take()
    assert ticket is not None
    assert fleet.tasks.vault.destroy("acme") == 1
    assert fleet.tasks.vault.destroy("acme") == 0
    done = fleet.scheduler.get("acme", claim.task.task_id, with_payload=True)
    assert (done.payload, done.result) == (None, None)
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "unreadable"
    failed = fleet.get(waiting.task_id)
    assert (failed.status, failed.retries) == (TaskStatus.FAILED, 0)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["retryable"]) == ("unreadable", False)
    assert failed.error["message"].startswith("the payload cannot be read")
    assert not fleet.client.exists(fleet.keys("keys"))
    assert payload_of(fleet, fleet.submit(payload=PAYLOAD).task_id) == {"ask": SECRET}  # under a new key


def test_a_value_that_was_moved_or_changed_is_not_taken(fleet: Fleet, spec: AgentSpec) -> None:
    one, two = fleet.submit(payload=PAYLOAD), fleet.submit(payload=b'{"ask":"other"}')
    fleet.client.hset(fleet.keys("task", two.task_id), "payload", fleet.record(one.task_id)["payload"])
    assert payload_of(fleet, two.task_id) is None
    fleet.broker.take_for(one.task_id)
    ticket = fleet.broker.take_for(two.task_id)
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "unreadable"


# --- required ------------------------------------------------------------------------------------------------------


def test_a_workspace_that_requires_it_takes_no_plain_task(
    fleet: Fleet, fleet_with: Callable[[str], Fleet], spec: AgentSpec
) -> None:
    require(fleet)
    with pytest.raises(EncryptionUnavailable) as refused:
        fleet_with("").submit(payload=PAYLOAD)
    assert (refused.value.status, refused.value.code) == (503, "encryption-unavailable")
    assert not fleet.client.zcard(fleet.keys("tasks"))
    claim = fleet.running(spec, payload=PAYLOAD)
    fleet.scheduler.progress(claim.hold, message=SECRET)
    assert fleet.finish(claim, spec, SECRET).result == SECRET


def test_an_agent_without_keys_gets_none_of_its_tasks_not_even_plain_ones(
    fleet: Fleet, fleet_with: Callable[[str], Fleet], spec: AgentSpec
) -> None:
    without = fleet_with("")
    task = without.submit(payload=PAYLOAD)
    require(fleet)
    ticket = fleet.broker.take()
    assert ticket is not None
    assert without.scheduler.claim(fleet.hold(ticket), spec) == "no-key"
    assert fleet.get(task.task_id).attempt == 0
    fleet.client.zadd(fleet.keys("delayed"), {task.task_id: 1})
    fleet.sweep()
    assert fleet.claim(spec).task.payload == {"ask": SECRET}


def test_required_while_it_runs(fleet: Fleet, fleet_with: Callable[[str], Fleet], spec: AgentSpec) -> None:
    """Nothing plain is taken from then on; the attempt is given to an agent that can."""
    without = fleet_with("")
    failing, finishing = without.running(spec), without.running(spec)
    require(fleet)
    without.scheduler.progress(failing.hold, message=SECRET)
    without.scheduler.fail(failing.hold, FAILURE, "a1")
    with pytest.raises(StaleAttempt):
        without.finish(finishing, spec, SECRET)
    assert SECRET.encode() not in dump(fleet.client, fleet.config.key_prefix)
    error = fleet.get(failing.task.task_id).error
    assert error is not None
    assert error["message"] == "the message was not encrypted, and has been left out"
    fleet.sweep()
    again = fleet.claim(spec, fleet.broker.take_for(finishing.task.task_id))
    assert isinstance(again, Claim)
    assert fleet.finish(again, spec, SECRET).retries == 0


def test_an_outcome_that_cannot_be_encrypted_is_kept_for_later(
    fleet: Fleet, fleet_with: Callable[[str], Fleet], spec: AgentSpec
) -> None:
    """As when the store is away: the agent tries again, and nothing is lost."""
    claim = fleet.running(spec)
    fleet.tasks.vault.rewrap("acme")
    with pytest.raises(EncryptionUnavailable):
        fleet_with(K2).finish(claim, spec)
    assert fleet.finish(claim, spec).status is TaskStatus.COMPLETED


def test_a_store_of_tasks_makes_its_own_vault(fleet: Fleet, client: redis.Redis) -> None:
    assert TaskStore(client, fleet.config).vault.seals
