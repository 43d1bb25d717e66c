"""Keys turned over and records encrypted anew, beside normal work."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import EncryptionUnavailable
from aragora_cp.model import AgentSpec, ErrorCode, Failure
from aragora_cp.store.rewrap import STEP, Rewrapper
from aragora_cp.store.sealing import is_sealed, key_id_of
from aragora_cp.store.vault import Vault
from aragora_cp.telemetry.origin import Origin, called_by
from tests.conftest import short_config
from tests.dump import dump
from tests.fleet import Fleet
from tests.servers import StoreServer

K1, K2 = (f"k{n}:{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
SECRET = "c4nary"
PAYLOAD = f'{{"ask":"{SECRET}"}}'.encode()
FAILURE = Failure(ErrorCode.HANDLER_ERROR, SECRET, retryable=False)


@pytest.fixture
def config(server: StoreServer) -> ControlPlaneConfig:
    return short_config(server, encryption_keys=K1, window=1000)


@pytest.fixture
def fleet_with(config: ControlPlaneConfig, fleet: Fleet) -> Iterator[Callable[[str], Fleet]]:
    made: list[Fleet] = []

    def make(keys: str) -> Fleet:
        made.append(Fleet(replace(config, encryption_keys=keys)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def rewrapper(fleet: Fleet) -> Rewrapper:
    return Rewrapper(fleet.client, fleet.config, fleet.tasks.vault)


def lives(fleet: Fleet, spec: AgentSpec) -> list[str]:
    """One task that completed after a failure, one that failed, one that waits."""
    done = fleet.running(spec, payload=PAYLOAD)
    fleet.scheduler.progress(done.hold, message=SECRET)
    fleet.scheduler.fail(done.hold, replace(FAILURE, retryable=True), "a1")
    fleet.client.zadd(fleet.keys("delayed"), {done.task.task_id: 1})
    fleet.sweep()
    fleet.finish(fleet.claim(spec), spec, SECRET)
    failed = fleet.running(spec, payload=PAYLOAD)
    fleet.scheduler.fail(failed.hold, FAILURE, "a1")
    return [done.task.task_id, failed.task.task_id, fleet.submit(payload=PAYLOAD).task_id]


def views(fleet: Fleet, ids: list[str]) -> list[object]:
    return [fleet.scheduler.get("acme", task_id, with_payload=True) for task_id in ids]


def test_a_new_root_key_while_the_old_one_is_still_there(fleet: Fleet, fleet_with: Callable[[str], Fleet]) -> None:
    ids = lives(fleet, fleet.agent())
    before = views(fleet, ids)
    both = fleet_with(f"{K2},{K1}")
    assert views(both, ids) == before
    with called_by(Origin(actor="local:me")):
        assert both.tasks.vault.rewrap("acme") == 2
    assert both.tasks.vault.rewrap("acme") == 0
    alone = fleet_with(K2)
    assert views(alone, ids) == before
    assert views(fleet_with(K1), ids) != before
    with pytest.raises(EncryptionUnavailable):
        fleet_with(K1).tasks.vault.rewrap("acme")
    actions = [
        entry[b"action"] for _, entry in fleet.client.xrange(fleet.keys("audit")) if entry[b"actor"] == b"local:me"
    ]
    assert actions == [b"keys.rewrap"]


@pytest.mark.parametrize("before", ["", K1])
def test_every_value_comes_under_the_newest_key(fleet: Fleet, fleet_with: Callable[[str], Fleet], before: str) -> None:
    old = fleet_with(before)
    ids = lives(old, old.agent())
    told = views(fleet, ids)
    fleet.tasks.vault.rotate("acme")
    (step,) = rewrapper(fleet).renew("acme")
    # payloads, the result, the note, two messages in histories, the one of the task that failed
    assert (step.looked_at, step.renewed, step.unreadable) == (3, 3 + 1 + 1 + 2 + 1, 0)
    assert views(fleet, ids) == told
    assert SECRET.encode() not in dump(fleet.client, fleet.config.key_prefix)
    current = fleet.tasks.vault.current("acme")
    for task_id in ids:
        for value in fleet.record(task_id).values():
            assert not is_sealed(value) or key_id_of(value).hex() == current
    assert [step.renewed for step in rewrapper(fleet).renew("acme")] == [0]
    (entry,) = fleet.plane.audit.list("acme", action="records.rewrap").items
    assert entry["after"] == {"records": 3, "key": current}


def test_it_goes_in_steps(fleet: Fleet) -> None:
    for _ in range(300):
        fleet.submit(payload=PAYLOAD)
    fleet.tasks.vault.rotate("acme")
    assert rewrapper(fleet).count("acme") == 300
    steps = list(rewrapper(fleet).renew("acme"))
    assert len(steps) >= 300 // STEP
    assert max(step.looked_at for step in steps) <= STEP
    assert sum(step.renewed for step in steps) == 300


def test_what_cannot_be_read_is_counted_and_left_alone(fleet: Fleet) -> None:
    task = fleet.submit(payload=PAYLOAD)
    fleet.tasks.vault.destroy("acme")
    record = fleet.record(task.task_id)
    assert [(step.renewed, step.unreadable) for step in rewrapper(fleet).renew("acme")] == [(0, 1)]
    assert fleet.record(task.task_id) == record


def test_work_goes_on_beside_it(fleet: Fleet, config: ControlPlaneConfig) -> None:
    """Tasks are claimed, report, fail, finish and run again while every record is encrypted anew, over and over."""
    spec = fleet.agent(concurrency=200)
    ids = [fleet.submit(payload=PAYLOAD, max_retries=0).task_id for _ in range(30)]
    stop, faults = threading.Event(), list[str]()
    rounds = 0

    def turn_over() -> None:
        nonlocal rounds
        vault = Vault(fleet.client, config)
        while not stop.is_set():
            vault.rotate("acme")
            for step in Rewrapper(fleet.client, config, vault).renew("acme"):
                if step.unreadable:
                    faults.append(f"unreadable: {step}")
            rounds += 1

    thread = threading.Thread(target=turn_over)
    thread.start()
    try:
        for n, task_id in enumerate(ids):
            for again in (True, False):
                fleet.sweep()
                ticket = fleet.broker.take_for(task_id)
                assert ticket is not None
                claim = fleet.claim(spec, ticket)
                assert claim.task.payload == {"ask": SECRET}
                fleet.scheduler.progress(claim.hold, message=f"{SECRET} {n}")
                if again:
                    failed = fleet.scheduler.fail(claim.hold, FAILURE, "a1")
                    assert failed.error is not None
                    assert failed.error["message"] == SECRET
                    fleet.scheduler.rerun("acme", task_id)
            fleet.finish(claim, spec, f"{SECRET} {n}")
    finally:
        stop.set()
        thread.join()
    assert rounds >= 2
    assert not faults
    for n, task_id in enumerate(ids):
        task = fleet.scheduler.get("acme", task_id, with_payload=True)
        assert (task.payload, task.result) == ({"ask": SECRET}, f"{SECRET} {n}")
        assert task.progress == {"percent": None, "message": f"{SECRET} {n}"}
        assert task.error is not None
        assert [entry["message"] for entry in task.error["history"]] == [SECRET]
    assert SECRET.encode() not in dump(fleet.client, config.key_prefix)
