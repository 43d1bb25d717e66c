"""Held tasks in a real store: quorum, expiry, rebinding, and every way out."""

from __future__ import annotations

import pytest

from aragora_cp.errors import AlreadyFinal, Conflict, Forbidden, NotFound, PolicyDenied, QuotaExceeded
from aragora_cp.model import Caller, Claim, Hold, Priority, Role, Task, TaskStatus
from aragora_cp.store.inspection import Inspector
from tests.crowds import at_once
from tests.fleet import Fleet
from tests.invariants import broken_invariants
from tests.policies import ALL, NO_ROOT, ONE_FOR_ALL, TWO_FOR_CRITICAL, judge, publish, submit
from tests.servers import EVERY_SERVER

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

S = TaskStatus


def person(name: str, role: Role = Role.OPERATOR) -> Caller:
    return Caller(name, "acme", role)


def held(fleet: Fleet, **more: object) -> Task:
    task = submit(fleet, priority=Priority.CRITICAL, **more)
    assert task.status is S.HELD
    return task


@pytest.fixture
def rules(fleet: Fleet) -> Fleet:
    fleet.agent()
    publish(fleet, ALL + TWO_FOR_CRITICAL)
    return fleet


def sound(fleet: Fleet) -> None:
    assert broken_invariants(fleet.client, fleet.config, "acme") == []
    assert list(Inspector(fleet.client, fleet.config).inspect("acme")) == []


class TestHolding:
    def test_a_held_task_has_no_ticket_no_slot_and_no_place(self, rules: Fleet) -> None:
        task = held(rules)
        assert rules.broker.sent == []
        assert rules.sweep().tickets == ()
        assert task.approval is not None
        assert (task.approval.required, task.approval.approved_by, task.approval.rules) == (
            2,
            (),
            ("rules/all", "rules/two"),
        )
        assert [each.task_id for each in rules.approvals.list("acme").items] == [task.task_id]
        sound(rules)

    def test_what_no_rule_holds_goes_out(self, rules: Fleet) -> None:
        task = submit(rules)
        assert (task.status, task.approval) == (S.PENDING, None)
        assert len(rules.broker.sent) == 1

    def test_held_tasks_count_as_waiting(self, rules: Fleet) -> None:
        rules.plane.workspaces.create("acme", {"max_pending": 2})
        held(rules)
        submit(rules)
        with pytest.raises(QuotaExceeded):
            held(rules)

    def test_a_stray_ticket_claims_nothing(self, rules: Fleet) -> None:
        spec = rules.agent()
        task = held(rules)
        assert rules.scheduler.claim(Hold("acme", task.task_id, 1, "lease"), spec) == "not-due"


class TestApproving:
    def test_enough_people_let_it_go(self, rules: Fleet) -> None:
        spec = rules.agent()
        task = held(rules)
        first = rules.approvals.approve("acme", task.task_id, person("op-1"))
        assert first.status is S.HELD
        assert rules.broker.sent == []
        second = rules.approvals.approve("acme", task.task_id, person("op-2"))
        assert second.status is S.PENDING
        assert second.approval is not None
        assert second.approval.approved_by == ("token:op-1", "token:op-2")
        assert isinstance(rules.scheduler.claim(rules.hold(rules.broker.sent[0]), spec), Claim)
        sound(rules)

    def test_one_person_counts_once(self, rules: Fleet) -> None:
        task = held(rules)
        for _ in range(3):
            assert rules.approvals.approve("acme", task.task_id, person("op-1")).status is S.HELD

    def test_nobody_approves_or_rejects_their_own(self, rules: Fleet) -> None:
        task = held(rules)
        with pytest.raises(Forbidden, match="that they submitted"):
            rules.approvals.approve("acme", task.task_id, person("submitter-1"))
        with pytest.raises(Forbidden, match="that they submitted"):
            rules.approvals.reject("acme", task.task_id, person("submitter-1"), "")
        assert rules.get(task.task_id).status is S.HELD

    def test_nor_a_sub_task_of_their_own(self, rules: Fleet) -> None:
        parent = rules.submit(actor="token:op-1")
        new = rules.new(actor=f"task:{parent.task_id}", parent_id=parent.task_id, priority=Priority.CRITICAL)
        task, _ = rules.scheduler.submit(new, decision=judge(rules, new))
        with pytest.raises(Forbidden, match="that they submitted"):
            rules.approvals.approve("acme", task.task_id, person("op-1"))
        with pytest.raises(Forbidden, match="that they submitted"):
            rules.approvals.reject("acme", task.task_id, person("op-1"), "")
        assert rules.approvals.approve("acme", task.task_id, person("op-2")).status is S.HELD

    def test_of_many_at_once_it_is_let_go_once(self, rules: Fleet) -> None:
        task = held(rules)
        works = [lambda n=n: rules.approvals.approve("acme", task.task_id, person(f"op-{n}")) for n in range(12)]
        answers = at_once(works)
        tasks = [answer for answer in answers if isinstance(answer, Task)]
        assert len(tasks) == 2
        assert {type(answer) for answer in answers} <= {Task, Conflict}
        assert len(rules.broker.sent) == 1
        sound(rules)

    def test_the_last_approval_twice_is_answered_twice(self, rules: Fleet) -> None:
        task = held(rules)
        rules.approvals.approve("acme", task.task_id, person("op-1"))
        for _ in range(2):
            assert rules.approvals.approve("acme", task.task_id, person("op-2")).status is S.PENDING
        assert len(rules.broker.sent) == 1

    def test_rules_say_who_may_approve(self, rules: Fleet) -> None:
        publish(
            rules,
            ALL + TWO_FOR_CRITICAL + '@id("chief") forbid(principal, action == Action::"approve", resource) '
            'unless { principal == Token::"chief" };',
        )
        task = held(rules)
        with pytest.raises(PolicyDenied, match="rules/chief"):
            rules.approvals.approve("acme", task.task_id, person("op-1"))
        assert rules.approvals.approve("acme", task.task_id, person("chief")).status is S.HELD

    def test_another_workspaces_task_is_not_there(self, rules: Fleet) -> None:
        task = held(rules)
        with pytest.raises(NotFound):
            rules.approvals.approve("beta", task.task_id, Caller("op", "beta", Role.OPERATOR))

    def test_a_delay_is_kept(self, rules: Fleet) -> None:
        task = held(rules, delay=600.0)
        for name in ("op-1", "op-2"):
            released = rules.approvals.approve("acme", task.task_id, person(name))
        assert released.status is S.PENDING
        assert released.next_attempt_at == released.run_at == task.run_at
        assert rules.broker.sent == []
        sound(rules)

    def test_waiting_for_people_is_not_waiting_for_agents(self, rules: Fleet) -> None:
        task = held(rules, queue_timeout=600.0)
        assert rules.client.zcard(rules.keys("deadlines")) == 0
        for name in ("op-1", "op-2"):
            rules.approvals.approve("acme", task.task_id, person(name))
        assert rules.client.zcard(rules.keys("deadlines")) == 1


class TestRebinding:
    def test_another_policy_version_voids_what_was_approved(self, rules: Fleet) -> None:
        task = held(rules)
        rules.approvals.approve("acme", task.task_id, person("op-1"))
        publish(rules, ALL + TWO_FOR_CRITICAL + NO_ROOT)
        with pytest.raises(Conflict, match="asked anew"):
            rules.approvals.approve("acme", task.task_id, person("op-2"))
        now = rules.get(task.task_id)
        assert now.status is S.HELD
        assert now.approval is not None
        assert (now.approval.approved_by, now.approval.version) == ((), "p0.w2")
        for name in ("op-2", "op-1"):
            released = rules.approvals.approve("acme", task.task_id, person(name))
        assert released.status is S.PENDING

    def test_another_payload_voids_what_was_approved(self, rules: Fleet) -> None:
        task = held(rules)
        rules.approvals.approve("acme", task.task_id, person("op-1"))
        rules.client.hset(rules.keys("task", task.task_id), "payload", b'{"n":2}')
        with pytest.raises(Conflict, match="asked anew"):
            rules.approvals.approve("acme", task.task_id, person("op-2"))
        assert rules.broker.sent == []

    def test_what_the_policy_forbids_by_now_is_not_let_go(self, rules: Fleet) -> None:
        task = held(rules)
        publish(rules, ALL + '@id("none") forbid(principal, action == Action::"submit", resource);')
        with pytest.raises(PolicyDenied, match="rules/none"):
            rules.approvals.approve("acme", task.task_id, person("op-1"))
        assert rules.get(task.task_id).status is S.HELD

    def test_what_no_rule_holds_by_now_still_needs_one_person(self, rules: Fleet) -> None:
        task = held(rules)
        publish(rules, ALL)
        with pytest.raises(Conflict, match="asked anew"):
            rules.approvals.approve("acme", task.task_id, person("op-1"))
        assert rules.approvals.approve("acme", task.task_id, person("op-1")).status is S.PENDING


class TestEnding:
    def test_rejecting_fails_it_with_the_reason(self, rules: Fleet) -> None:
        task = held(rules)
        for _ in range(2):
            rejected = rules.approvals.reject("acme", task.task_id, person("op-1"), "too dear")
            assert rejected.status is S.FAILED
            assert rejected.error is not None
            assert (rejected.error["code"], rejected.error["message"]) == ("rejected", "too dear")
        with pytest.raises(Conflict, match="this one is FAILED"):
            rules.approvals.approve("acme", task.task_id, person("op-2"))
        sound(rules)

    def test_too_late_is_rejected_by_the_monitor(self, rules: Fleet) -> None:
        task = held(rules)
        look = rules.sweep()
        assert look.next_look is not None
        rules.client.zadd(rules.keys("held"), {task.task_id: 1})
        assert rules.sweep().repairs["not-approved"] == 1
        done = rules.get(task.task_id)
        assert (done.status, done.error["code"]) == (S.FAILED, "rejected")
        sound(rules)

    def test_too_late_is_too_late_before_the_monitor_looks(self, rules: Fleet) -> None:
        task = held(rules)
        rules.client.hset(rules.keys("task", task.task_id), "hold_until", 1)
        with pytest.raises(Conflict, match="over"):
            rules.approvals.approve("acme", task.task_id, person("op-1"))
        assert rules.get(task.task_id).status is S.FAILED
        sound(rules)

    def test_cancelling(self, rules: Fleet) -> None:
        task = held(rules)
        assert rules.scheduler.cancel("acme", task.task_id).status is S.CANCELLED
        with pytest.raises(AlreadyFinal):
            rules.scheduler.cancel("acme", task.task_id)
        sound(rules)

    def test_run_again_it_is_held_again(self, rules: Fleet) -> None:
        """Else rejecting would be undone by running again."""
        task = held(rules)
        rules.approvals.reject("acme", task.task_id, person("op-1"), "")
        assert rules.scheduler.rerun("acme", task.task_id).status is S.HELD
        sound(rules)
        for name in ("op-1", "op-2"):
            again = rules.approvals.approve("acme", task.task_id, person(name))
        assert again.status is S.PENDING
        sound(rules)

    def test_a_waiter_waits_through_it(self, rules: Fleet) -> None:
        task = held(rules)
        future = rules.plane.waiter.future("acme", task.task_id)
        assert not future.done()
        rules.approvals.reject("acme", task.task_id, person("op-1"), "no")
        assert future.result(5) is S.FAILED

    def test_every_step_is_audited_and_told(self, rules: Fleet) -> None:
        publish(rules, ALL + ONE_FOR_ALL, name="rules")
        task = submit(rules)
        rules.approvals.approve("acme", task.task_id, person("op-1"))
        rows = rules.client.xrange(rules.keys("audit"))
        told = [row[b"action"].decode() for _, row in rows if row[b"target"].decode() == task.task_id]
        assert told == ["task.submit", "task.approve"]
        events = [row[b"event"] for _, row in rules.client.xrange(rules.keys("events"))]
        assert events == [b"submitted", b"held", b"approved", b"released"]


def test_a_cached_result_does_not_go_round_an_approval(fleet: Fleet) -> None:
    spec = fleet.agent()
    fleet.finish(fleet.running(spec, cache_ttl=60.0), spec)
    assert fleet.submit(cache_ttl=60.0).status is TaskStatus.COMPLETED
    publish(fleet, ONE_FOR_ALL)
    assert submit(fleet, cache_ttl=60.0).status is TaskStatus.HELD
