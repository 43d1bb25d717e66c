"""Claiming, renewing and reporting on an attempt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aragora_cp.errors import NotFound, StaleAttempt, TaskCancelled
from aragora_cp.model import Claim, TaskStatus
from tests.crowds import at_once
from tests.fleet import HANDLER_ERROR, PROCESS_LOST, Fleet
from tests.servers import EVERY_SERVER

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)


def test_a_granted_claim(fleet: Fleet) -> None:
    spec = fleet.agent()
    fleet.submit(payload=b'{"x":1}', timeout=70.0)
    claim = fleet.claim(spec)
    task = claim.task
    assert (task.status, task.attempt, task.agent_id, task.payload) == (TaskStatus.RUNNING, 1, "a1", {"x": 1})
    assert task.lane == "shared.code"
    assert task.started_at is not None
    assert claim.deadline_ms == task.started_at + 70_000
    assert claim.lease_expires_at == task.started_at + fleet.config.heartbeat_timeout_ms


def test_a_lease_never_outlives_the_time_limit_and_its_grace(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, timeout=0.1)
    assert claim.lease_expires_at == claim.deadline_ms + 200
    fleet.registry.heartbeat("a1", fleet.session(spec), [claim.hold])
    assert int(fleet.record(claim.hold.task_id)["lease_until"]) == claim.deadline_ms + 200


def test_the_same_lease_again_is_the_same_claim(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    assert fleet.scheduler.claim(claim.hold, spec) == claim
    assert fleet.client.hget(fleet.keys("load"), "running:shared.code") == b"1"


def test_each_refusal_has_its_word(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec)
    hold = claim.hold
    assert fleet.scheduler.claim(replace(hold, task_id="nobodys"), spec) == "unknown"
    assert fleet.scheduler.claim(replace(hold, workspace="other"), spec) == "unknown"
    assert fleet.scheduler.claim(replace(hold, lease="another"), spec) == "taken"
    fleet.finish(claim, spec)
    assert fleet.scheduler.claim(hold, spec) == "final"

    fleet.submit()
    ticket = fleet.broker.take()
    assert ticket is not None
    for attempt in (0, 2, 3):
        assert fleet.scheduler.claim(replace(fleet.hold(ticket), attempt=attempt), spec) == "stale-ticket"

    delayed = fleet.submit(delay=60.0)
    assert fleet.scheduler.claim(replace(hold, task_id=delayed.task_id), spec) == "not-due"

    parent = fleet.claim(spec, ticket)
    child = fleet.submit(parent_id=parent.hold.task_id)
    fleet.scheduler.hand_back(parent.hold, awaits=[child.task_id])
    assert fleet.scheduler.claim(replace(parent.hold, attempt=2, lease="x"), spec) == "not-due"


def test_an_agent_gets_only_what_it_can_do(fleet: Fleet) -> None:
    able, other = fleet.agent("a1", "code", "search"), fleet.agent("a2", "code")
    task = fleet.submit("code", "search")
    ticket = fleet.broker.take()
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), other) == "incapable"
    assert fleet.get(task.task_id).status is TaskStatus.PENDING
    fleet.sweep()
    assert fleet.claim(able).task.task_id == task.task_id
    actions = [(entry[b"action"], entry[b"outcome"]) for _, entry in fleet.client.xrange(fleet.keys("audit"))]
    assert (b"task.claim", b"incapable") in actions


def test_a_private_agent_gets_nothing_of_another_workspace(fleet: Fleet) -> None:
    private = fleet.agent("p1", "code", workspace="other")
    fleet.agent("s1", "code")
    task = fleet.submit("code")
    ticket = fleet.broker.take()
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), private) == "incapable"
    direct = fleet.submit("code", agent_id=private.handle)
    ticket = fleet.broker.take("@other/p1")
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), private) == "incapable"
    assert fleet.get(task.task_id).status is TaskStatus.PENDING
    assert fleet.get(direct.task_id).status is TaskStatus.PENDING


def test_a_direct_task_goes_to_the_agent_that_is_meant(fleet: Fleet) -> None:
    shared, private = fleet.agent("a1", "code"), fleet.agent("a1", "code", workspace="acme")
    for spec, other in ((shared, private), (private, shared)):
        task = fleet.submit("code", agent_id=spec.handle)
        ticket = fleet.broker.take(f"@{spec.handle}")
        assert ticket is not None
        assert fleet.scheduler.claim(fleet.hold(ticket), other) == "incapable"
        assert fleet.get(task.task_id).status is TaskStatus.PENDING
        fleet.sweep()
        claim = fleet.claim(spec, fleet.broker.take(f"@{spec.handle}"))
        fleet.scheduler.cancel("acme", task.task_id)
        assert fleet.broker.cancelled[-1] == (spec.handle, task.task_id, 1)
        assert claim.task.task_id == task.task_id


@pytest.mark.parametrize("crowd", [2, 30])
def test_one_ticket_many_claimants_one_winner(fleet: Fleet, crowd: int) -> None:
    spec = fleet.agent()
    for _ in range(3):
        task = fleet.submit()
        ticket = fleet.broker.take()
        assert ticket is not None
        answers = at_once(
            [lambda n=n, t=ticket: fleet.scheduler.claim(fleet.hold(t, f"l{n}"), spec) for n in range(crowd)]
        )
        winners = [answer for answer in answers if isinstance(answer, Claim)]
        assert len(winners) == 1
        assert [answer for answer in answers if not isinstance(answer, Claim)] == ["taken"] * (crowd - 1)
        assert fleet.record(task.task_id)["lease"].decode() == winners[0].hold.lease
        fleet.finish(winners[0], spec)


def test_a_heartbeat_renews_every_lease_and_says_what_is_lost(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=8)
    session = fleet.session(spec)
    kept, cancelled, ended, late, failed = (fleet.running(spec) for _ in range(5))
    foreign = replace(kept.hold, lease="somebody-elses")
    fleet.scheduler.cancel("acme", cancelled.hold.task_id)
    fleet.finish(ended, spec)
    fleet.scheduler.fail(late.hold, PROCESS_LOST, "a1")
    fleet.scheduler.fail(failed.hold, HANDLER_ERROR, "a1")
    unclaimed = replace(failed.hold, attempt=2, lease="in-hand")
    fleet.expire(kept.hold.task_id)
    holds = [claim.hold for claim in (kept, cancelled, ended, late, failed)]
    beat = fleet.registry.heartbeat("a1", session, [*holds, foreign, unclaimed])
    assert beat.cancel == (cancelled.hold,)
    assert beat.lost == (ended.hold, late.hold, failed.hold, foreign)
    assert not beat.drain
    score = fleet.client.zscore(fleet.keys("running"), kept.hold.task_id)
    assert score == int(fleet.record(kept.hold.task_id)["lease_until"]) > 1


def test_progress_replaces_and_usage_adds_up(fleet: Fleet) -> None:
    spec = fleet.agent()
    hold = fleet.running(spec).hold
    fleet.scheduler.progress(hold, percent=10, message="reading", input_tokens=5, cost="0.001")
    fleet.scheduler.progress(hold, percent=12.5, output_tokens=7, model="m", cost="0.0021")
    task = fleet.get(hold.task_id)
    assert task.progress == {"percent": 12.5, "message": "reading"}
    assert task.usage == {"input_tokens": 5, "output_tokens": 7, "model": "m"}
    assert task.cost == "0.0031"


def test_progress_of_an_attempt_that_is_over_is_refused(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=4)
    cancelled, ended, lost = (fleet.running(spec) for _ in range(3))
    fleet.scheduler.cancel("acme", cancelled.hold.task_id)
    with pytest.raises(TaskCancelled):
        fleet.scheduler.progress(cancelled.hold, percent=1)
    fleet.finish(ended, spec)
    with pytest.raises(StaleAttempt):
        fleet.scheduler.progress(ended.hold, percent=1)
    fleet.scheduler.fail(lost.hold, PROCESS_LOST, "a1")
    fleet.scheduler.progress(lost.hold, percent=1)
    fleet.sweep()
    fleet.claim(spec)
    with pytest.raises(StaleAttempt):
        fleet.scheduler.progress(lost.hold, percent=2)
    with pytest.raises(NotFound):
        fleet.scheduler.progress(replace(ended.hold, task_id="nobodys"), percent=1)
    assert fleet.get(lost.hold.task_id).progress == {"percent": 1.0, "message": None}
