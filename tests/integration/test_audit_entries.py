"""Every operation leaves an entry, in the very script that does it; without the entry it does not happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from aragora_cp.errors import AlreadyFinal, Conflict, IdempotencyConflict, QuotaExceeded
from aragora_cp.model import AgentSpec, RetryPolicy, Role
from aragora_cp.store.inspection import Inspector
from aragora_cp.telemetry.origin import Origin, called_by
from aragora_cp.tenancy.tokens import TokenIssuer
from tests.fleet import HANDLER_ERROR, PROCESS_LOST, REJECTED, Fleet
from tests.servers import EVERY_SERVER

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

AT_ONCE = RetryPolicy(initial=0.0)


def told(fleet: Fleet, trail: str = "acme") -> list[tuple[Any, ...]]:
    """Actor, action, outcome, and what changed: oldest first."""
    names = ("actor", "action", "outcome", "before", "after")
    return [tuple(entry[name] for name in names) for entry in fleet.plane.audit.list(trail, limit=200).items[::-1]]


def test_a_task_from_submit_to_its_end(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, actor="token:x", correlation_id="c-1")
    fleet.finish(claim, spec)
    assert told(fleet) == [
        ("token:x", "task.submit", "accepted", None, {"status": "PENDING"}),
        ("agent:a1", "task.claim", "accepted", {"status": "PENDING"}, {"status": "RUNNING", "attempt": 1}),
        ("agent:a1", "task.finish", "accepted", {"status": "RUNNING", "attempt": 1}, {"status": "COMPLETED"}),
    ]
    entries = fleet.plane.audit.list("acme").items
    assert {(entry["target"], entry["correlation_id"]) for entry in entries} == {(claim.hold.task_id, "c-1")}
    fleet.finish(claim, spec)
    fleet.scheduler.claim(claim.hold, spec)
    assert len(told(fleet)) == 3  # the same write again is no new operation


def test_failing_retrying_and_running_again(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, max_retries=1, retry=AT_ONCE)
    fleet.scheduler.fail(claim.hold, PROCESS_LOST, "a1")
    fleet.sweep()
    claim = fleet.claim(spec)
    fleet.scheduler.fail(claim.hold, REJECTED, "a1")
    fleet.scheduler.rerun("acme", claim.hold.task_id, actor="token:x")
    claim = fleet.claim(spec)
    fleet.scheduler.hand_back(claim.hold)
    fleet.scheduler.cancel("acme", claim.hold.task_id, actor="token:y")
    running = [{"status": "RUNNING", "attempt": n} for n in range(4)]
    assert [each for each in told(fleet) if each[1] not in ("task.submit", "task.claim")] == [
        ("agent:a1", "task.fail", "retry", running[1], {"code": "agent-lost", "status": "PENDING"}),
        ("agent:a1", "task.fail", "failed", running[2], {"code": "rejected", "status": "FAILED"}),
        ("token:x", "task.retry", "accepted", {"status": "FAILED"}, {"status": "PENDING"}),
        ("agent:a1", "task.hand-back", "accepted", running[3], {"status": "PENDING"}),
        ("token:y", "task.cancel", "accepted", {"status": "PENDING"}, {"status": "CANCELLED"}),
    ]


def test_what_the_monitor_does(fleet: Fleet) -> None:
    spec = fleet.agent()
    lost = fleet.running(spec).hold.task_id
    fleet.expire(lost)
    late = fleet.submit("nobody", queue_timeout=0.001).task_id
    fleet.client.zadd(fleet.keys("deadlines"), {late: 1})
    fleet.sweep()
    found = [each[:3] for each in told(fleet) if each[0] == "monitor"]
    assert sorted(found) == [("monitor", "task.expire", "failed"), ("monitor", "task.fail", "retry")]


def test_refusals_of_scripts(fleet: Fleet) -> None:
    spec = fleet.agent()
    task = fleet.submit(idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        fleet.submit(idempotency_key="k", payload=b'{"n":2}')
    with pytest.raises(Conflict):
        fleet.scheduler.rerun("acme", task.task_id, actor="token:x")
    fleet.finish(fleet.claim(spec), spec)
    with pytest.raises(AlreadyFinal):
        fleet.scheduler.cancel("acme", task.task_id, actor="token:x")
    fleet.client.hset(fleet.keys("workspace"), mapping={"status": "active", "max_pending": 0})
    with pytest.raises(QuotaExceeded):
        fleet.submit()
    fleet.client.hset(fleet.keys("workspace"), "status", "suspended")
    with pytest.raises(Conflict):
        fleet.submit()
    assert [each[1:3] for each in told(fleet) if each[2] != "accepted"] == [
        ("task.submit", "idempotency-conflict"),
        ("task.retry", "conflict"),
        ("task.cancel", "already-final"),
        ("task.submit", "quota-exceeded"),
        ("task.submit", "suspended"),
    ]


def test_the_fleets_own_are_in_the_platforms_trail(fleet: Fleet) -> None:
    with called_by(Origin("token:x", "192.0.2.7", "c-2")):
        fleet.agent("a1", "code")
        fleet.registry.drain("a1", None)
        fleet.registry.remove("a1", None)
    spec = fleet.agent("a2", "code")
    fleet.registry.leave("a2", fleet.session(spec))
    with pytest.raises(Conflict):
        fleet.registry.register(AgentSpec("a2", ("code",)), owner="another", takeover=True)
    issued = TokenIssuer(fleet.plane.tokens).issue(workspace=None, role=Role.VIEWER, name="n")
    found = fleet.plane.audit.list("@").items[::-1]
    assert [(each["actor"], each["action"], each["outcome"]) for each in found] == [
        ("token:x", "agent.register", "accepted"),
        ("token:x", "agent.drain", "accepted"),
        ("token:x", "agent.remove", "accepted"),
        ("tests", "agent.register", "accepted"),
        ("agent:a2", "agent.leave", "accepted"),
        ("another", "agent.register", "conflict"),
        ("", "token.issue", "accepted"),
    ]
    assert {(each["address"], each["correlation_id"]) for each in found[:3]} == {("192.0.2.7", "c-2")}
    assert issued.text.split("_")[2] not in str(found)
    assert told(fleet) == []


def test_mending_is_an_operation(fleet: Fleet) -> None:
    fleet.submit("nobody")
    with called_by(Origin("local:ann")):
        list(Inspector(fleet.client, fleet.config).inspect("acme"))
        list(Inspector(fleet.client, fleet.config).inspect("acme", fix=True))
    assert [each[:2] for each in told(fleet) if each[1] != "task.submit"] == [("local:ann", "workspace.mend")]


# --- without the entry it does not happen ----------------------------------------------------------------------------


def contents(fleet: Fleet) -> dict[bytes, Any]:
    return {key: fleet.client.dump(key) for key in fleet.client.scan_iter(f"{fleet.config.key_prefix}*", count=1000)}


def operations(fleet: Fleet) -> dict[str, Callable[[], object]]:
    """One of each, ready to be done."""
    spec = fleet.agent(concurrency=9)
    finishing, failing, retrying, giving_up = (fleet.running(spec) for _ in range(4))
    again = fleet.submit("nobody").task_id
    fleet.scheduler.cancel("acme", again)
    pending = fleet.submit().task_id
    ticket = fleet.broker.take_for(pending)
    assert ticket is not None
    lost = fleet.running(spec).hold.task_id
    token = TokenIssuer(fleet.plane.tokens).issue(workspace=None, role=Role.VIEWER, name="n").record.token_id
    return {
        "submit": fleet.submit,
        "claim": lambda: fleet.scheduler.claim(fleet.hold(ticket), spec),
        "finish": lambda: fleet.finish(finishing, spec),
        "fail": lambda: fleet.scheduler.fail(failing.hold, REJECTED, "a1"),
        "retry": lambda: fleet.scheduler.fail(retrying.hold, HANDLER_ERROR, "a1"),
        "hand back": lambda: fleet.scheduler.hand_back(giving_up.hold),
        "cancel": lambda: fleet.scheduler.cancel("acme", pending),
        "run again": lambda: fleet.scheduler.rerun("acme", again),
        "lose": lambda: (fleet.expire(lost), fleet.sweep()),
        "register": lambda: fleet.agent("a9"),
        "drain": lambda: fleet.registry.drain("a1", None),
        "leave": lambda: fleet.registry.remove("a1", None),
        "issue": lambda: TokenIssuer(fleet.plane.tokens).issue(workspace=None, role=Role.VIEWER, name="m"),
        "revoke": lambda: fleet.plane.tokens.revoke(token),
    }


def test_a_store_that_takes_no_entry_takes_no_change(fleet: Fleet) -> None:
    ready = operations(fleet)
    streams = [fleet.keys("audit"), fleet.fleet_keys("audit")]
    kept = [fleet.client.dump(key) for key in streams]
    for key in streams:
        fleet.client.set(key, "no stream")
    for name, operation in ready.items():
        before = contents(fleet)
        if name == "lose":
            fleet.expire(next(iter(fleet.client.zrange(fleet.keys("running"), 0, 0))).decode())
            before = contents(fleet)
            with pytest.raises(ValueError, match="not enough values"):
                fleet.sweep()
        else:
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                operation()
        changed = {key for key, value in contents(fleet).items() if before.get(key) != value}
        # Who must look at the workspace is told beside the script; a look that finds nothing is harmless. So is the
        # agent's breaker: it counts an attempt once, however often its report is made.
        beside = {fleet.fleet_keys(*key).encode() for key in (("active",), ("calls", "a1"), ("agent", "a1"))}
        assert changed <= beside | {fleet.keys("epoch").encode()}, name
        assert before.keys() <= contents(fleet).keys(), name
    for key, value in zip(streams, kept, strict=True):
        fleet.client.restore(key, 0, value, replace=True)  # type: ignore[arg-type]
    for name, operation in ready.items():
        count = len(told(fleet)) + len(told(fleet, "@"))
        if name != "cancel":  # the claim has taken it
            operation()
            assert len(told(fleet)) + len(told(fleet, "@")) > count, name
